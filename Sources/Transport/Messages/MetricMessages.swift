// SPDX-License-Identifier: Apache-2.0

/// Counters that a process tells about itself: its answer to `ReplicaVerb.metrics`.
public struct MetricFrame: Codable, Sendable, Equatable {
  public enum Kind: String, Codable, Sendable { case counter, gauge }

  public struct Sample: Codable, Sendable, Equatable {
    public var labels: [String: String]
    public var value: Double
    public init(_ labels: [String: String], _ value: Double) {
      self.labels = labels
      self.value = value
    }
  }

  /// Samples of one name.
  public struct Family: Codable, Sendable, Equatable {
    public var name: String
    public var kind: Kind
    public var help: String
    public var samples: [Sample]
    public init(_ name: String, _ kind: Kind, _ help: String, _ samples: [Sample]) {
      self.name = name
      self.kind = kind
      self.help = help
      self.samples = samples
    }
  }

  public struct Distribution: Codable, Sendable, Equatable {
    public var name: String
    public var help: String
    /// Upper bounds, ascending.
    public var bounds: [Double]
    /// Values a bucket (not cumulative); the last one is everything above the bounds.
    public var counts: [Int]
    public var sum: Double
    public init(_ name: String, _ help: String, bounds: [Double], counts: [Int], sum: Double) {
      self.name = name
      self.help = help
      self.bounds = bounds
      self.counts = counts
      self.sum = sum
    }
  }

  /// Name of the memory that a replica's process has, in bytes.
  public static let residentBytes = "platform_replica_resident_bytes"

  public var families: [Family] = []
  public var distributions: [Distribution] = []
  public init() {}
}
