// SPDX-License-Identifier: Apache-2.0

public import Core

/// How often and when a notice is sent again. A value: the sender tells how an attempt went.
public struct DeliveryPlan: Sendable {
  /// About five hours in all.
  public var attempts = 16
  public var backoff = Backoff(firstMilliseconds: 2_000, limitMilliseconds: 3_600_000)

  public init() {}

  public enum Next: Sendable, Equatable {
    case sent
    case again(afterMilliseconds: Int64)
    case failed
  }

  /// - Parameters:
  ///   - attempts: that were made, with this one.
  ///   - failure: why this one did not succeed.
  ///   - unit: a random number in [0, 1).
  public func next(attempts: Int, failure: PlatformError?, unit: Double) -> Next {
    guard let failure else { return .sent }
    guard failure.isRetryable, attempts < self.attempts else { return .failed }
    return .again(afterMilliseconds: backoff.delayMilliseconds(afterAttempt: attempts, unit: unit))
  }
}
