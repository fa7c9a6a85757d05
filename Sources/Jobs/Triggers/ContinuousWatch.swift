// SPDX-License-Identifier: Apache-2.0

public import Core
public import Scheduling

/// What is known of a job that always has a run. A value, stored before and after each start.
public struct ContinuousWatch: Codable, Sendable, Equatable {
  public var series: String
  public var starts = 0
  public var isStarting = false
  /// Runs that failed, one after the other.
  public var failures = 0
  /// Not to be started before.
  public var notBefore: Instant?
  /// The last run, until its end was taken note of.
  public var run: String?

  public static let backoff = Backoff(firstMilliseconds: 4_000, limitMilliseconds: 3_600_000)

  public init(series: String) { self.series = series }

  public func key(job: Int64) -> String { "trigger:\(job):\(series):\(starts)" }

  /// - Parameters:
  ///   - last: how `run` stands.
  ///   - isActive: whether any run of the job has not ended.
  ///   - unit: a random number in [0, 1).
  public mutating func look(last: RunState?, isActive: Bool, at time: Instant, unit: Double) {
    if let last, last.isTerminal, run != nil {
      run = nil
      // Whoever cancels a run wants a new one; whoever wants none pauses the job.
      failures = last == .failed ? failures + 1 : 0
      notBefore = failures > 0 ? time + Self.backoff.delayMilliseconds(afterAttempt: failures, unit: unit) : nil
    }
    guard !isStarting, !isActive, run == nil, time >= notBefore ?? .min else { return }
    starts += 1
    isStarting = true
  }
}
