// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// Renews the lease of a leading coordinator, and knows whether it still holds: by a clock of its own, which goes on while the process is stopped.
public final class LeaseKeeper: Sendable {
  private struct State {
    var validUntil: ContinuousClock.Instant
    var isOver = false
    var databaseAnswers = true
  }

  /// How long what needs the lease waits while Postgres is away.
  private static let patience = Duration.seconds(10)

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

  /// Returns when the lease holds, or Postgres is away and so nobody can tell. A process that was stopped for longer than the lease waits
  /// here until it has asked.
  /// - Throws: `conflict` PLT-1301 when another epoch has begun.
  public func verify() async throws {
    while true {
      let (isOver, mayGoOn) = state.withLock { ($0.isOver, $0.validUntil > .now || !$0.databaseAnswers) }
      if isOver { throw Self.over(epoch) }
      if mayGoOn { return }
      try await Task.sleep(for: .milliseconds(20))
    }
  }

  /// Blocks until the lease holds, for a few seconds: to be called before what no transaction can protect.
  /// - Throws: `conflict` PLT-1301 when another epoch has begun; `unavailable` PLT-1109 while Postgres is away.
  public func require() throws {
    let end = ContinuousClock.now + Self.patience
    while true {
      let (isOver, holds) = state.withLock { ($0.isOver, $0.validUntil > .now) }
      if isOver { throw Self.over(epoch) }
      if holds { return }
      guard ContinuousClock.now < end else {
        throw PlatformError(
          .unavailable, "Postgres is away: whether this coordinator still leads is not known, so nothing is written", hint: "Try again in a moment.",
          number: "PLT-1109")
      }
      Thread.sleep(forTimeInterval: 0.02)
    }
  }

  /// Gives the lease back.
  public func release() async throws {
    state.withLock { $0.isOver = true }
    try await leadership.release(epoch: epoch)
  }

  /// Renews once a second. While Postgres is away nobody else can take the lease either, so that is waited for.
  /// - Throws: `conflict` PLT-1301 when another epoch has begun.
  public func run() async throws {
    while true {
      let asked = ContinuousClock.now
      do {
        guard try await leadership.renew(epoch: epoch) else {
          state.withLock { $0.isOver = true }
          throw Self.over(epoch)
        }
        state.withLock { state in
          state.validUntil = asked + .seconds(leadership.seconds)
          state.databaseAnswers = true
        }
      } catch let error as PlatformError where error.isRetryable && error.number != "PLT-1301" {
        state.withLock { $0.databaseAnswers = false }
      }
      try await Task.sleep(for: .seconds(1))
    }
  }

  static func over(_ epoch: Int64) -> PlatformError {
    PlatformError(
      .conflict, "this coordinator's epoch \(epoch) is over: another one leads", hint: "Ask again: the request goes to the one that leads now.",
      number: "PLT-1301")
  }
}
