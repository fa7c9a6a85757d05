// SPDX-License-Identifier: Apache-2.0

import Core
import Synchronization

/// Whether a server still lives behind connections that wait for it: a statement may take long, a server that was stopped or cut off
/// answers nobody.
final class ServerPulse: Sendable {
  private enum Sign {
    case none
    case alive(ContinuousClock.Instant)
    case dead(ContinuousClock.Instant)
  }

  /// How long the verdict of one question counts for all who wait.
  private static let verdictLasts: Duration = .seconds(1)

  private let configuration: PostgresConfiguration
  private let lastHeard = Mutex<ContinuousClock.Instant?>(nil)
  /// Held while asking: the others wait for the answer.
  private let verdict = Mutex<Sign>(.none)

  /// - Returns: nil for a configuration without `silenceLimit`.
  init?(_ configuration: PostgresConfiguration) {
    guard configuration.silenceLimit > .zero else { return nil }
    var probe = configuration
    probe.silenceLimit = .zero
    probe.connectTimeout = .seconds(2)
    probe.applicationName = "platform pulse"
    // A standby that answers is alive.
    probe.requiresWritable = false
    self.configuration = probe
    sliceMilliseconds = Int32(clamping: configuration.silenceLimit.settingMilliseconds)
  }

  /// How long to wait before asking.
  let sliceMilliseconds: Int32

  /// Some connection got an answer.
  func heard() { lastHeard.withLock { $0 = .now } }

  /// Asks the server on a connection of its own, unless somebody has heard of it lately. Blocks for a few seconds at most.
  func isAlive() -> Bool {
    verdict.withLock { verdict in
      let now = ContinuousClock.now
      if let heard = lastHeard.withLock({ $0 }), now - heard < .milliseconds(Int64(sliceMilliseconds)) { return true }
      switch verdict {
      case .alive(let time) where now - time < Self.verdictLasts: return true
      case .dead(let time) where now - time < Self.verdictLasts: return false
      default: break
      }
      do {
        _ = try PostgresConnection(configuration).run("SELECT 1", [], within: .seconds(3))
        verdict = .alive(.now)
        return true
      } catch let error as PostgresError where !error.sqlState.isEmpty {
        // It refuses, so it lives.
        verdict = .alive(.now)
        return true
      } catch {
        verdict = .dead(.now)
        return false
      }
    }
  }
}
