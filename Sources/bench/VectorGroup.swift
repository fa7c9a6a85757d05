// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import VectorSearch

/// Approximate nearest neighbours by cosine, with the same parameters of the graph on both sides.
enum VectorGroup {
  static let dimension = 384
  static let k = 10

  /// Vectors around 64 centres, as texts about 64 subjects have them.
  static func vectors(_ count: Int, _ generator: inout SplitMix64) -> [[Float]] {
    var centres = SplitMix64(seed: 21)
    let middle = (0..<64).map { _ in (0..<dimension).map { _ in Float(centres.nextUnit() - 0.5) } }
    return (0..<count).map { _ in
      let centre = middle[Int(generator.next() % 64)]
      return centre.map { $0 + 1.2 * Float(generator.nextUnit() - 0.5) }
    }
  }

  static func run(_ setup: Setup, report: Group.Report) async throws {
    var generator = SplitMix64(seed: 22)
    let rows = vectors(5000, &generator)
    let queries = vectors(500, &generator)
    let parameters = HNSWParameters()

    func build(_ threads: Int) throws -> HNSWIndex {
      let index = try HNSWIndex(dimension: dimension, metric: .cosine, capacity: rows.count, parameters: parameters)
      try index.add(rows, threads: threads)
      return index
    }
    let index = try build(1)
    let exact = try queries.map { try index.searchExactly($0, k: k).map { Int32($0.row) } }
    let answer = try setup.peer.call(
      "vectors.load",
      [
        "rows": try setup.write(Array(rows.joined()), "rows"), "queries": try setup.write(Array(queries.joined()), "queries"),
        "exact": try setup.write(Array(exact.joined()), "exact"), "dimension": .integer(Int64(dimension)), "k": .integer(Int64(k)),
        "m": .integer(Int64(parameters.m)), "ef_construction": .integer(Int64(parameters.efConstruction)), "ef": .integer(Int64(HNSWIndex.defaultEf)),
      ])
    func search() throws -> [[VectorMatch]] { try queries.map { try index.search($0, k: k, ef: HNSWIndex.defaultEf) } }
    let hits = zip(try search(), exact).reduce(0) { $0 + Set($1.0.map { Int32($0.row) }).intersection($1.1).count }
    let recall = Double(hits) / Double(queries.count * k)
    let theirs = answer["recall"]?.doubleValue ?? 0
    try check(recall > theirs - 0.02, "recall is \(recall) here and \(theirs) there")

    for threads in [1, 2] {
      try await report(
        Comparison(
          what: "HNSW build, 5000 x 384", ours: "HNSWIndex", peer: "hnswlib", threads: threads, amount: 5000, unit: "rows",
          runOurs: { _ in try seconds { _ = try build(threads) } },
          runPeer: { _ in try setup.peer.time("vectors.build", ["threads": .integer(Int64(threads))]) }))
    }
    try await report(
      Comparison(
        what: "HNSW search, recall \(String(format: "%.3f", recall)) / \(String(format: "%.3f", theirs))", ours: "HNSWIndex", peer: "hnswlib",
        threads: 1, amount: Double(queries.count), unit: "queries", runOurs: { _ in try seconds { _ = try search() } },
        runPeer: { _ in try setup.peer.time("vectors.search") }))
  }
}
