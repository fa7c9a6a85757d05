// SPDX-License-Identifier: Apache-2.0

/// Exponential back-off with full jitter. A value: the caller waits.
public struct Backoff: Sendable, Equatable, Codable {
  public var firstMilliseconds: Int64
  public var limitMilliseconds: Int64

  public init(firstMilliseconds: Int64 = 200, limitMilliseconds: Int64 = 10_000) {
    self.firstMilliseconds = firstMilliseconds
    self.limitMilliseconds = limitMilliseconds
  }

  /// Delay before attempt `attempt` + 1 (attempt counts from 1), between half of and the whole exponential delay.
  /// `unit` is a random number in [0, 1), given by the caller so that decisions stay reproducible.
  public func delayMilliseconds(afterAttempt attempt: Int, unit: Double) -> Int64 {
    let doubled = firstMilliseconds << Int64(min(max(attempt - 1, 0), 30))
    let whole = min(limitMilliseconds, doubled <= 0 ? limitMilliseconds : doubled)
    return whole / 2 + Int64(Double(whole / 2) * unit)
  }
}
