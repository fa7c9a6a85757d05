// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation

/// Work that does nothing but take time: for trying out graphs of tasks, and for measuring what a cluster takes for work of its own.
public struct WaitWork: Codable, Sendable, Equatable {
  public static let kind = "wait"

  /// When it ran, in microseconds since 1970 of its machine's clock.
  public struct Result: Codable, Sendable, Equatable {
    public var began: Int64
    public var ended: Int64
  }

  public var milliseconds: Int

  public init(milliseconds: Int) { self.milliseconds = milliseconds }

  /// - Throws: `CancellationError`.
  public func run(context: some WorkContext) throws -> Result {
    let began = Self.microseconds
    let end = ContinuousClock.now + .milliseconds(milliseconds)
    while true {
      let rest = end - ContinuousClock.now
      guard rest > .zero else { break }
      try context.checkCancelled()
      // In pieces: work has to notice soon that it was cancelled.
      usleep(UInt32(min(rest, .milliseconds(50)) / .microseconds(1)))
    }
    return Result(began: began, ended: Self.microseconds)
  }

  private static var microseconds: Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
  }
}
