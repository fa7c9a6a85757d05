// SPDX-License-Identifier: Apache-2.0

/// Values counted by size.
public struct EngineHistogram: Codable, Sendable, Equatable {
  /// Upper bounds, ascending; the last bucket is everything above.
  public let bounds: [Double]
  /// Values a bucket (not cumulative); one more than `bounds`.
  public private(set) var counts: [Int]
  public private(set) var sum = 0.0

  public init(_ bounds: [Double]) {
    self.bounds = bounds
    counts = Array(repeating: 0, count: bounds.count + 1)
  }

  public var count: Int { counts.reduce(0, +) }

  mutating func add(_ value: Double, times: Int = 1) {
    counts[bounds.firstIndex { value <= $0 } ?? bounds.count] += times
    sum += value * Double(times)
  }
}

/// The bounds that vLLM uses, so that dashboards made for it show the same rows.
extension EngineHistogram {
  static let firstToken = EngineHistogram([
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
  ])
  static let betweenTokens = EngineHistogram([0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80])
  static let request = EngineHistogram([
    0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
  ])
  static let step = EngineHistogram([1] + (3...14).map { Double(1 << $0) })
  /// 1, 2, 5, 10, ..
  static let tokens = EngineHistogram([1, 10, 100, 1000, 10_000, 100_000].flatMap { [$0, 2 * $0, 5 * $0] }.filter { $0 <= 200_000 })
}
