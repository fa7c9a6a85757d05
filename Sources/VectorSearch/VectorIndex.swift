// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
import Foundation

/// How near two vectors are.
public enum VectorMetric: String, Sendable, Codable, CaseIterable {
  /// Distance 1 - cosine. Vectors and queries are scaled to length 1 when they come in.
  case cosine
  /// Squared Euclidean distance.
  case l2
}

/// One row that a search found.
public struct VectorMatch: Sendable, Equatable, Codable {
  /// Rows count from 0 in the order in which they were added.
  public var row: Int
  /// Smaller is nearer; see `VectorMetric`.
  public var distance: Float

  public init(row: Int, distance: Float) {
    self.row = row
    self.distance = distance
  }

  /// Larger is nearer: the cosine, or minus the squared distance.
  public func score(_ metric: VectorMetric) -> Float { metric == .cosine ? 1 - distance : -distance }
}

/// Vectors of one dimension that can be searched from any number of threads.
public protocol VectorIndex: Sendable {
  var dimension: Int { get }
  var metric: VectorMetric { get }
  var count: Int { get }
  /// The `k` nearest rows (all of them when there are fewer), nearest first. `ef` is how many candidates an approximate
  /// index looks at; an exact one ignores it. Blocks for the search.
  /// - Throws: `invalidArgument` when the query has another dimension, is not finite, or `k` is not positive.
  func search(_ query: [Float], k: Int, ef: Int?) throws -> [VectorMatch]
}

extension VectorIndex {
  public func search(_ query: [Float], k: Int) throws -> [VectorMatch] { try search(query, k: k, ef: nil) }

  /// `vector` as it is stored and compared.
  func prepared(_ vector: [Float], what: String) throws -> [Float] {
    try VectorChecks.prepared(vector, dimension: dimension, metric: metric, what: what)
  }
}

/// The exact index: compares with every row. The oracle for recall, and good enough below some 10 000 rows.
public struct FlatIndex: VectorIndex {
  public let dimension: Int
  public let metric: VectorMetric
  public private(set) var count = 0
  /// [count, dimension]
  private var rows: [Float] = []

  /// - Throws: `invalidArgument` for a dimension outside 1...65536.
  public init(dimension: Int, metric: VectorMetric) throws {
    try VectorChecks.dimension(dimension)
    self.dimension = dimension
    self.metric = metric
  }

  /// Adds a row and returns its number.
  /// - Throws: `invalidArgument` for another dimension or values that are not finite.
  @discardableResult
  public mutating func add(_ vector: [Float]) throws -> Int {
    rows.append(contentsOf: try prepared(vector, what: "vector"))
    count += 1
    return count - 1
  }

  public func search(_ query: [Float], k: Int, ef: Int?) throws -> [VectorMatch] {
    try VectorChecks.k(k)
    let query = try prepared(query, what: "query")
    var distances = [Float](repeating: 0, count: count)
    pk_scan_f32(query, rows, &distances, count, dimension, metric == .l2 ? 1 : 0)
    return NearestRows.choose(distances, k: k)
  }
}

/// Exact choice of the smallest distances.
enum NearestRows {
  /// Nearest first; equal distances by row.
  static func choose(_ distances: [Float], k: Int) -> [VectorMatch] {
    let limit = min(k, distances.count)
    var best: [VectorMatch] = []
    best.reserveCapacity(limit + 1)
    distances.withUnsafeBufferPointer { values in
      for row in 0..<values.count {
        let distance = values[row]
        if best.count == limit, let worst = best.last, distance >= worst.distance { continue }
        var place = best.count
        while place > 0, best[place - 1].distance > distance { place -= 1 }
        best.insert(VectorMatch(row: row, distance: distance), at: place)
        if best.count > limit { best.removeLast() }
      }
    }
    return best
  }
}

enum VectorChecks {
  static func dimension(_ dimension: Int) throws {
    guard (1...65_536).contains(dimension) else {
      throw PlatformError(.invalidArgument, "dimension \(dimension) is not from 1 to 65536")
    }
  }

  static func k(_ k: Int) throws {
    guard k > 0 else { throw PlatformError(.invalidArgument, "k is \(k), it must be at least 1") }
  }

  static func prepared(_ vector: [Float], dimension: Int, metric: VectorMetric, what: String) throws -> [Float] {
    guard vector.count == dimension else {
      throw PlatformError(.invalidArgument, "the \(what) has \(vector.count) numbers, the index has \(dimension)")
    }
    // A NaN or infinity makes the sum of squares NaN or infinite; so does a vector longer than f32 can measure.
    guard pk_dot_f32(vector, vector, dimension).isFinite else {
      throw PlatformError(.invalidArgument, "the \(what) holds a number that is not finite or too large")
    }
    guard metric == .cosine else { return vector }
    var scaled = vector
    pk_normalize_f32(&scaled, dimension)
    return scaled
  }
}
