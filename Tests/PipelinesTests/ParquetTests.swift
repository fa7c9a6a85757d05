// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Query
import TestSupport
import Testing

@testable import Pipelines

@Suite struct ParquetTests {
  @Test func tablesComeBackInOrder() throws {
    let folder = TemporaryDirectory("rows")
    let files = ParquetRowFiles(scratchDirectory: folder.path)
    let rows = RowSet([
      .init("path", .text((0..<5000).map { "/p/\($0) ü '\"" })), .init("n", .integer((0..<5000).map { Int64($0) - 7 })),
      .init("read_at", .timestamp((0..<5000).map { _ in 1_700_000_000_123_456 })),
    ])
    let file = try files.write(rows, to: folder.file("sub/t.parquet"))
    #expect(file.rows == 5000 && file.sizeBytes > 0 && file.statistics["numRecords"] == 5000)
    #expect(try files.read(file.path, columns: ["path", "n", "read_at"]) == rows)
    #expect(throws: PlatformError.self) { try files.read(folder.file("none.parquet"), columns: ["path"]) }
    #expect(throws: PlatformError.self) { try files.read(file.path, columns: ["absent"]) }
  }

  /// The documentation of this machine, from files to chunks.
  @Test func realFilesBecomeChunks() throws {
    let folder = TemporaryDirectory("lifecycle")
    let tokenizer = try ShardTests.tokenizerFile(folder)
    var configuration = IngestConfiguration()
    configuration.directories = ["/usr/share/doc", "/usr/share/common-licenses"].filter {
      FileManager.default.fileExists(atPath: $0)
    }
    configuration.textBytes = 400_000
    configuration.shardBytes = 150_000
    let plan = try IngestPlan.make(configuration)
    let context = QuietContext(scratchDirectory: folder.path)
    let preparation = PrepareConfiguration()
    var cleaned: [String] = []
    var signatures: [String] = []
    for (index, files) in plan.shards.enumerated() {
      let shard = IngestShard(
        files: files, maximumFileBytes: 4 << 20, documentsPath: folder.file("d\(index)"),
        quarantinePath: folder.file("q\(index)"),
        readAt: 1_700_000_000_000_000)
      let ingested = try shard.run(context: context)
      #expect(ingested.documentCount + ingested.quarantined.values.reduce(0, +) == files.count)
      guard let documents = ingested.documents else { continue }
      let clean = try PrepareCleanShard(
        documents: [documents.path], cleanedPath: folder.file("c\(index)"), signaturesPath: folder.file("s\(index)"),
        rejectedPath: folder.file("r\(index)"), configuration: preparation
      ).run(context: context)
      if let file = clean.cleaned { cleaned.append(file.path) }
      if let file = clean.signatures { signatures.append(file.path) }
    }
    let dedupe = try PrepareDedupeShard(signatures: signatures, droppedPath: folder.file("drop"), configuration: preparation)
      .run(context: context)
    #expect(dedupe.kept > 0)
    var chunks = 0
    for (index, path) in cleaned.enumerated() {
      let result = try PrepareFinishShard(
        cleanedPath: path, droppedPath: dedupe.dropped?.path, chunksPath: folder.file("k\(index)"), tokenizerPath: tokenizer,
        configuration: preparation
      ).run(context: context)
      chunks += result.chunkCount
      #expect(Int64(result.chunkCount) == result.chunks?.rows ?? 0)
    }
    #expect(chunks > dedupe.kept)
  }
}
