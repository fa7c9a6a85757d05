// SPDX-License-Identifier: Apache-2.0

import CHNSW
import Core
import Foundation

/// Parameters of a graph. Defaults give recall@10 above 0.95 on text embeddings up to some millions of rows.
public struct HNSWParameters: Sendable, Codable, Equatable {
  /// Links a row and level; twice as many on the lowest. Memory is about 8 * m + 4 * dimension bytes a row.
  public var m: Int
  /// Candidates looked at when a row is added: build time grows with it, and recall.
  public var efConstruction: Int
  /// Seed of the levels: the same rows in the same order give the same graph (with one thread).
  public var seed: UInt64

  public init(m: Int = 16, efConstruction: Int = 200, seed: UInt64 = 100) {
    self.m = m
    self.efConstruction = efConstruction
    self.seed = seed
  }
}

/// An approximate nearest neighbour index: Malkov and Yashunin 2016, "Efficient and robust approximate nearest neighbor
/// search using Hierarchical Navigable Small World graphs", as implemented by hnswlib.
///
/// Searches run at the same time; adding waits for them and excludes them.
public final class HNSWIndex: VectorIndex, @unchecked Sendable {  // the graph holds a reader-writer lock
  /// `ef` of searches that do not say.
  public static let defaultEf = 100

  public let dimension: Int
  public let metric: VectorMetric
  private let graph: OpaquePointer

  /// An empty index that takes up to `capacity` rows.
  /// - Throws: `invalidArgument` for parameters out of range, `resourceExhausted` when memory is short.
  public init(dimension: Int, metric: VectorMetric, capacity: Int, parameters: HNSWParameters = HNSWParameters()) throws {
    try VectorChecks.dimension(dimension)
    guard (2...256).contains(parameters.m), (1...10_000).contains(parameters.efConstruction), capacity >= 0,
      capacity <= Int(Int32.max)
    else { throw PlatformError(.invalidArgument, "m, efConstruction or capacity of the index is out of range") }
    let made = Self.withMessage { message in
      ph_create(dimension, metric == .l2, capacity, parameters.m, parameters.efConstruction, parameters.seed, message)
    }
    guard let graph = made.value else {
      throw PlatformError(.resourceExhausted, "cannot make an index of \(capacity) rows: \(made.message)")
    }
    self.dimension = dimension
    self.metric = metric
    self.graph = graph
  }

  /// Reads what `save` wrote. The caller has verified the file's digest; its structure is checked here.
  /// - Throws: `invalidFile` (PLT-4601).
  public init(graphFile path: String, dimension: Int, metric: VectorMetric, count: Int) throws {
    try VectorChecks.dimension(dimension)
    guard count >= 0, count <= Int(Int32.max) else {
      throw PlatformError(.invalidFile, "\(count) rows are more than an index holds", number: "PLT-4601", path: path)
    }
    let loaded = Self.withMessage { ph_load(path, dimension, metric == .l2, count, $0) }
    guard let graph = loaded.value else {
      throw PlatformError(
        .invalidFile, loaded.message, hint: "Build the index again.", number: "PLT-4601", path: path)
    }
    self.dimension = dimension
    self.metric = metric
    self.graph = graph
  }

  deinit { ph_destroy(graph) }

  public var count: Int { ph_count(graph) }

  /// Adds rows after those that are there. With one thread the graph depends only on the rows and the parameters.
  /// - Throws: `invalidArgument` for another dimension or values that are not finite (then nothing was added);
  ///   `resourceExhausted` above the capacity.
  public func add(_ vectors: [[Float]], threads: Int = 1) throws {
    var rows: [Float] = []
    rows.reserveCapacity(vectors.count * dimension)
    for vector in vectors { rows.append(contentsOf: try prepared(vector, what: "vector")) }
    let done = Self.withMessage { ph_add(graph, rows, vectors.count, max(1, threads), $0) }
    guard done.value else { throw PlatformError(.resourceExhausted, "cannot add to the index: \(done.message)") }
  }

  public func search(_ query: [Float], k: Int, ef: Int?) throws -> [VectorMatch] {
    try VectorChecks.k(k)
    let query = try prepared(query, what: "query")
    let rows = count
    let wanted = min(k, rows)
    guard wanted > 0 else { return [] }
    let candidates = min(max(ef ?? Self.defaultEf, wanted), rows)
    var labels = [UInt64](repeating: 0, count: wanted)
    var distances = [Float](repeating: 0, count: wanted)
    let found = Self.withMessage { ph_search(graph, query, wanted, candidates, &labels, &distances, $0) }
    guard found.value >= 0 else { throw PlatformError(.internalError, "search failed: \(found.message)") }
    return (0..<found.value).map { VectorMatch(row: Int(labels[$0]), distance: distances[$0]) }
  }

  /// The exact answer, by comparing with every row.
  public func searchExactly(_ query: [Float], k: Int) throws -> [VectorMatch] {
    try VectorChecks.k(k)
    let query = try prepared(query, what: "query")
    var distances = [Float](repeating: 0, count: count)
    ph_distances(graph, query, &distances)
    return NearestRows.choose(distances, k: k)
  }

  /// The stored vector of a row (scaled to length 1 for cosine), or nil.
  public func vector(_ row: Int) -> [Float]? {
    guard row >= 0, let first = ph_vector(graph, row) else { return nil }
    return Array(UnsafeBufferPointer(start: first, count: dimension))
  }

  /// The share of the true `k` nearest that the graph finds, over `sample` queries spread over the rows: each is the mean
  /// of two stored rows, so that no query is itself a row.
  /// Returns 1 for an empty index.
  public func recall(k: Int = 10, ef: Int? = nil, sample: Int = 100) throws -> Double {
    let rows = count
    guard rows > 0, sample > 0 else { return 1 }
    var random = SplitMix64(seed: UInt64(rows))
    var hits = 0
    var total = 0
    for _ in 0..<min(sample, rows) {
      guard let first = vector(Int.random(in: 0..<rows, using: &random)),
        let second = vector(Int.random(in: 0..<rows, using: &random))
      else { continue }
      let query = zip(first, second).map { ($0 + $1) / 2 }
      let exact = try searchExactly(query, k: k)
      let found = try search(query, k: k, ef: ef)
      // By distance, so that rows at the same distance as the last true one count as found.
      let bound = (exact.last?.distance ?? 0) + 1e-6
      hits += min(exact.count, found.filter { $0.distance <= bound }.count)
      total += exact.count
    }
    return total == 0 ? 1 : Double(hits) / Double(total)
  }

  /// Writes the graph with its vectors.
  /// - Throws: `unavailable` when it cannot be written completely.
  public func save(graphFile path: String) throws {
    let saved = Self.withMessage { ph_save(graph, path, $0) }
    guard saved.value else { throw PlatformError(.unavailable, saved.message, path: path) }
  }

  private static func withMessage<T>(_ body: (UnsafeMutablePointer<CChar>) -> T) -> (value: T, message: String) {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: PH_MESSAGE) { buffer in
      buffer.initialize(repeating: 0)
      guard let base = buffer.baseAddress else { preconditionFailure("a message buffer is never empty") }
      let value = body(base)
      return (value, String(cString: base))
    }
  }
}
