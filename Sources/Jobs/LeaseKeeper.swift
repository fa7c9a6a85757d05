// SPDX-License-Identifier: Apache-2.0

import Core
import Synchronization

/// Renews the lease of a leading coordinator, and knows whether it still holds: by a clock of its own, which goes on while the process is stopped.
public final class LeaseKeeper: Sendable {
  private struct State {
    var validUntil: ContinuousClock.Instant
    var isOver = false
    var databaseAnswers = true
  }

  public let epoch: Int64
  private let leadership: Leadership
  private let state: Mutex<State>

  /// - Parameter acquired: when the lease was asked for.
  public init(_ leadership: Leadership, epoch: Int64, acquired: ContinuousClock.Instant) {
    self.leadership = leadership
    self.epoch = epoch
    state = Mutex(State(validUntil: acquired + .seconds(leadership.seconds)))
  }

  /// Whether the last renewal was answered: not while Postgres is away or frozen.
  public var databaseAnswers: Bool { state.withLock { $0.databaseAnswers } }

  /// Whether nobody else can have taken the lease.
  public var holds: Bool { state.withLock { !$0.isOver && $0.validUntil > .now } }

  /// Gives the lease back.
  public func release() async throws {
    state.withLock { $0.isOver = true }
    try await leadership.release(epoch: epoch)
  }

  /// Renews once a second. While Postgres is away nobody else can take the lease either, so that is waited for.
  /// - Throws: `conflict` PLT-1301 when another epoch has begun.
  public func run() async throws {
    while true {
      try await Task.sleep(for: .seconds(1))
      let asked = ContinuousClock.now
      do {
        guard try await leadership.renew(epoch: epoch) else {
          state.withLock { $0.isOver = true }
          throw PlatformError(.conflict, "another coordinator has taken over from epoch \(epoch)", number: "PLT-1301")
        }
        state.withLock { state in
          state.validUntil = asked + .seconds(leadership.seconds)
          state.databaseAnswers = true
        }
      } catch let error as PlatformError where error.isRetryable && error.number != "PLT-1301" {
        state.withLock { $0.databaseAnswers = false }
      }
    }
  }
}
