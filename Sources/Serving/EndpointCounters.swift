// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// Totals of one endpoint since this coordinator started, for Prometheus and the console.
public struct EndpointCounters: Sendable, Equatable {
  /// Upper bounds of the latency buckets in seconds; the last bucket is everything above.
  public static let bounds: [Double] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

  public private(set) var requests: Int64 = 0
  public private(set) var errors: Int64 = 0
  public private(set) var promptTokens: Int64 = 0
  public private(set) var completionTokens: Int64 = 0
  /// Requests that needed more than one replica.
  public private(set) var moved: Int64 = 0
  public private(set) var latencySeconds: Double = 0
  public private(set) var firstTokenSeconds: Double = 0
  public private(set) var firstTokens: Int64 = 0
  /// Requests a bucket (not cumulative); one more than `bounds`.
  public private(set) var latencyBuckets = [Int64](repeating: 0, count: bounds.count + 1)
  public private(set) var firstTokenBuckets = [Int64](repeating: 0, count: bounds.count + 1)

  /// When a request last ended.
  public private(set) var lastEnd: Date?

  public init() {}

  mutating func add(_ record: InferenceLogRecord) {
    requests += 1
    lastEnd = Date()
    if record.status >= 400 { errors += 1 }
    promptTokens += Int64(record.promptTokens)
    completionTokens += Int64(record.completionTokens)
    if record.replicas.count > 1 { moved += 1 }
    latencySeconds += record.totalMilliseconds / 1000
    latencyBuckets[Self.bucket(record.totalMilliseconds / 1000)] += 1
    if let first = record.firstTokenMilliseconds {
      firstTokenSeconds += first / 1000
      firstTokens += 1
      firstTokenBuckets[Self.bucket(first / 1000)] += 1
    }
  }

  private static func bucket(_ seconds: Double) -> Int { bounds.firstIndex { seconds <= $0 } ?? bounds.count }
}
