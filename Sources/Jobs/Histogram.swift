// SPDX-License-Identifier: Apache-2.0

/// Times, counted by how long they were.
public struct Histogram: Sendable, Equatable {
  /// Upper ends in seconds; what is longer is counted behind them.
  public static let bounds: [Double] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1]

  public private(set) var counts = [Int64](repeating: 0, count: bounds.count + 1)
  /// Of all times, in seconds.
  public private(set) var sum = 0.0

  public init() {}

  public mutating func add(_ time: Duration) {
    let seconds = time / .seconds(1)
    sum += seconds
    counts[Self.bounds.firstIndex { seconds <= $0 } ?? Self.bounds.count] += 1
  }
}
