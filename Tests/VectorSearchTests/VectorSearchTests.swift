// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import VectorSearch

/// [count][dimension] numbers in [-1, 1).
private func randomVectors(_ count: Int, _ dimension: Int, seed: UInt64) -> [[Float]] {
  var random = SplitMix64(seed: seed)
  return (0..<count).map { _ in (0..<dimension).map { _ in Float(random.nextUnit() * 2 - 1) } }
}

@Suite struct VectorIndexTests {
  @Test(arguments: VectorMetric.allCases) func recallAgainstExactSearchIsHigh(metric: VectorMetric) throws {
    let vectors = randomVectors(5000, 64, seed: 1)
    let index = try HNSWIndex(dimension: 64, metric: metric, capacity: 5000)
    try index.add(vectors, threads: 2)
    var flat = try FlatIndex(dimension: 64, metric: metric)
    for vector in vectors { try flat.add(vector) }
    var hits = 0
    for query in randomVectors(100, 64, seed: 2) {
      let exact = try flat.search(query, k: 10)
      #expect(exact == exact.sorted { $0.distance < $1.distance })
      hits += Set(exact.map(\.row)).intersection(try index.search(query, k: 10, ef: 200).map(\.row)).count
      #expect(try index.searchExactly(query, k: 10).map(\.row) == exact.map(\.row))
    }
    #expect(Double(hits) / 1000 >= 0.95, "recall \(Double(hits) / 1000)")
  }

  @Test func oneThreadGivesTheSameGraphEveryTime() throws {
    let folder = TemporaryDirectory("hnsw")
    let vectors = randomVectors(300, 8, seed: 5)
    let digests = try (0..<2).map { run in
      let index = try HNSWIndex(dimension: 8, metric: .cosine, capacity: 300)
      try index.add(vectors)
      try index.save(graphFile: folder.file("\(run)"))
      return try SHA256Digest.hex(contentsOf: folder.file("\(run)"))
    }
    #expect(digests[0] == digests[1])
  }

  @Test func smallAndWrongUsesAreHandled() throws {
    let index = try HNSWIndex(dimension: 3, metric: .l2, capacity: 2)
    #expect(try index.search([1, 2, 3], k: 5).isEmpty)
    try index.add([[0, 0, 0], [1, 1, 1]])
    let all = try index.search([0.9, 1, 1], k: 50, ef: 1)
    #expect(all.map(\.row) == [1, 0])
    #expect(abs(all[0].distance - 0.01) < 1e-6 && all[0].score(.l2) == -all[0].distance)
    #expect(throws: PlatformError.self) { try index.search([1, 2], k: 1) }
    #expect(throws: PlatformError.self) { try index.search([1, 2, 3], k: 0) }
    #expect(throws: PlatformError.self) { try index.search([1, .nan, 3], k: 1) }
    #expect(throws: PlatformError.self) { try index.add([[1, 2]]) }
    #expect(throws: PlatformError.self) { try index.add([[1, .infinity, 2]]) }
    let full = #expect(throws: PlatformError.self) { try index.add([[1, 2, 3]]) }
    #expect(full?.code == .resourceExhausted && index.count == 2)
    #expect(throws: PlatformError.self) { try HNSWIndex(dimension: 0, metric: .l2, capacity: 1) }
    #expect(throws: PlatformError.self) {
      try HNSWIndex(dimension: 1, metric: .l2, capacity: 1, parameters: HNSWParameters(m: 1))
    }
  }

  @Test func cosineIgnoresLengthAndScoresAreCosines() throws {
    var flat = try FlatIndex(dimension: 2, metric: .cosine)
    try flat.add([10, 0])
    try flat.add([0, 0.1])
    let found = try flat.search([3, 4], k: 2)
    #expect(found.map(\.row) == [1, 0])
    #expect(abs(found[0].score(.cosine) - 0.8) < 1e-6 && abs(found[1].score(.cosine) - 0.6) < 1e-6)
    #expect(try FlatIndex(dimension: 2, metric: .cosine).search([1, 1], k: 3).isEmpty)
  }
}

@Suite struct VectorIndexFolderTests {
  let folder = TemporaryDirectory("vectors")

  private func build(_ name: String, count: Int = 200, metric: VectorMetric = .cosine) throws -> VectorIndexManifest {
    let builder = try VectorIndexBuilder(folder: folder.file(name), dimension: 16, metric: metric, capacity: count)
    let rows = randomVectors(count, 16, seed: 9).enumerated().map { row, vector in
      (vector: vector, payload: VectorPayload(chunkID: "c\(row)", path: "/d/\(row / 10)", text: "text é \(row)"))
    }
    try builder.add(Array(rows.prefix(count / 2)))
    try builder.add(Array(rows.dropFirst(count / 2)))
    return try builder.finish(sourceTable: "main.demo.embeddings", sourceVersion: 3, embeddingModel: "mini")
  }

  @Test(arguments: VectorMetric.allCases) func savedIndexAnswersTheSame(metric: VectorMetric) throws {
    let manifest = try build("a", metric: metric)
    #expect(manifest.count == 200 && manifest.recallAt10 >= 0.95 && manifest.sourceVersion == 3)
    let stored = try StoredVectorIndex(path: folder.file("a"))
    #expect(stored.manifest == manifest)
    for (row, vector) in randomVectors(200, 16, seed: 9).enumerated() {
      let hits = try stored.search(vector, k: 3)
      #expect(hits.count == 3 && hits[0].row == row)
      #expect(hits[0].payload == VectorPayload(chunkID: "c\(row)", path: "/d/\(row / 10)", text: "text é \(row)"))
      #expect(abs(hits[0].score - (metric == .cosine ? 1 : 0)) < 1e-5)
    }
    #expect(try stored.search(randomVectors(1, 16, seed: 1)[0], k: 1000).count == 200)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["a"])
  }

  @Test func emptyIndexCanBeStored() throws {
    let manifest = try build("empty", count: 0)
    #expect(manifest.recallAt10 == 1)
    #expect(try StoredVectorIndex(path: folder.file("empty")).search([Float](repeating: 1, count: 16), k: 5).isEmpty)
  }

  @Test func existingFolderIsNotOverwrittenAndAbandonedOnesVanish() throws {
    _ = try build("a", count: 4)
    let error = #expect(throws: PlatformError.self) { try build("a", count: 4) }
    #expect(error?.code == .alreadyExists)
    do {
      let builder = try VectorIndexBuilder(folder: folder.file("b"), dimension: 2, capacity: 1)
      #expect(throws: PlatformError.self) {
        try builder.add([(vector: [1], payload: VectorPayload(chunkID: "", path: "", text: ""))])
      }
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["a"])
  }

  @Test(arguments: ["graph.hnsw", "payload.bin", "manifest.json"]) func damagedFilesAreRefused(name: String) throws {
    _ = try build("a", count: 20)
    let path = folder.file("a/\(name)")
    let whole = try Data(contentsOf: URL(fileURLWithPath: path))
    func refused(_ bytes: Data?) throws {
      if let bytes {
        try bytes.write(to: URL(fileURLWithPath: path))
      } else {
        try FileManager.default.removeItem(atPath: path)
      }
      let error = #expect(throws: PlatformError.self) { try StoredVectorIndex(path: folder.file("a")) }
      #expect(error?.code == (bytes == nil && name == "manifest.json" ? .notFound : .invalidFile))
    }
    try refused(whole.dropLast(1))
    try refused(whole.prefix(whole.count / 2))
    try refused(Data())
    var flipped = whole
    flipped[whole.count / 3] ^= 0x80
    try refused(flipped)
    if name != "manifest.json" { try refused(whole + [0]) }
    try refused(Data(#"{"format":"other/1"}"#.utf8))
    try refused(nil)
    try whole.write(to: URL(fileURLWithPath: path))
    #expect(try StoredVectorIndex(path: folder.file("a")).manifest.count == 20)
  }

  /// Below the digest: a file that passes it (made by somebody else) must still not be followed out of bounds.
  @Test func everyCutAndManyMutationsOfAGraphAreRefusedOrHarmless() throws {
    _ = try build("a", count: 40)
    let whole = try Data(contentsOf: URL(fileURLWithPath: folder.file("a/graph.hnsw")))
    let path = folder.file("mutant")
    for count in stride(from: 0, to: whole.count, by: 97) {
      try whole.prefix(count).write(to: URL(fileURLWithPath: path))
      #expect(throws: PlatformError.self) { try HNSWIndex(graphFile: path, dimension: 16, metric: .cosine, count: 40) }
    }
    var random = SplitMix64(seed: 11)
    for round in 0..<400 {
      var mutant = whole
      let limit = round % 2 == 0 ? 96 : whole.count
      mutant[Int.random(in: 0..<limit, using: &random)] = UInt8.random(in: 0...255, using: &random)
      try mutant.write(to: URL(fileURLWithPath: path))
      if let index = try? HNSWIndex(graphFile: path, dimension: 16, metric: .cosine, count: 40) {
        _ = try index.search([Float](repeating: 0.5, count: 16), k: 10)
      }
    }
    try whole.write(to: URL(fileURLWithPath: path))
    #expect(throws: PlatformError.self) { try HNSWIndex(graphFile: path, dimension: 17, metric: .cosine, count: 40) }
    #expect(throws: PlatformError.self) { try HNSWIndex(graphFile: path, dimension: 16, metric: .cosine, count: 41) }
  }

  @Test func damagedPayloadsAreRefusedOrHarmless() throws {
    _ = try build("a", count: 10)
    let whole = try Data(contentsOf: URL(fileURLWithPath: folder.file("a/payload.bin")))
    let path = folder.file("payload")
    for count in 0..<whole.count {
      try whole.prefix(count).write(to: URL(fileURLWithPath: path))
      #expect(throws: PlatformError.self) { try PayloadStore(path: path) }
    }
    for place in whole.indices {
      var mutant = whole
      mutant[place] ^= 0xFF
      try mutant.write(to: URL(fileURLWithPath: path))
      guard let store = try? PayloadStore(path: path) else { continue }
      for row in 0..<store.count { _ = try? store.payload(row) }  // must not crash; a damaged row may throw
    }
  }
}
