// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Query
import TestSupport
import Testing
import Tokenizers

@testable import Pipelines

@Suite struct ShardTests {
  /// A WordPiece file whose vocabulary is the ASCII letters, digits and marks.
  static func tokenizerFile(_ folder: TemporaryDirectory) throws -> String {
    var tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    for letter in "abcdefghijklmnopqrstuvwxyz0123456789" { tokens += ["\(letter)", "##\(letter)"] }
    tokens += [".", ",", "[", "]", "the", "of", "and", "##er", "##in"]
    let vocabulary = tokens.enumerated().map { "\"\($1)\":\($0)" }.joined(separator: ",")
    let text = """
      {"added_tokens":[],"normalizer":{"type":"BertNormalizer","lowercase":true},"pre_tokenizer":{"type":"BertPreTokenizer"},
       "post_processor":null,"model":{"type":"WordPiece","unk_token":"[UNK]","vocab":{\(vocabulary)}}}
      """
    let path = folder.file("tokenizer.json")
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    return path
  }

  /// Runs the whole preparation with the documents in `parts` shards; returns all chunk rows by id.
  static func prepare(_ rows: [(String, String)], parts: Int, _ tokenizer: String) throws -> (
    rows: Set<String>, report: [String: Int]
  ) {
    let files = MemoryFiles()
    let configuration = PrepareConfiguration()
    var report: [String: Int] = [:]
    var cleaned: [String] = []
    var signatures: [String] = []
    for part in 0..<parts {
      let mine = rows.enumerated().filter { $0.offset % parts == part }.map(\.element)
      _ = try files.write(
        RowSet([.init("path", .text(mine.map(\.0))), .init("content", .text(mine.map(\.1)))]), to: "doc\(part)")
      let shard = PrepareCleanShard(
        documents: ["doc\(part)"], cleanedPath: "clean\(part)", signaturesPath: "sign\(part)", rejectedPath: "reject\(part)",
        configuration: configuration)
      let result = try shard.run(context: QuietContext(), files: files)
      #expect(result.kept + result.rejections.values.reduce(0, +) == result.read)
      for (reason, count) in result.rejections { report[reason, default: 0] += count }
      if let file = result.cleaned { cleaned.append(file.path) }
      if let file = result.signatures { signatures.append(file.path) }
    }
    let dedupe = try PrepareDedupeShard(signatures: signatures, droppedPath: "drop", configuration: configuration)
      .run(context: QuietContext(), files: files)
    report["exact"] = dedupe.exactDuplicates
    report["near"] = dedupe.nearDuplicates
    var chunks: Set<String> = []
    for (index, path) in cleaned.enumerated() {
      let shard = PrepareFinishShard(
        cleanedPath: path, droppedPath: dedupe.dropped?.path, chunksPath: "chunk\(index)", tokenizerPath: tokenizer,
        configuration: configuration)
      let again = try JSONValue(encoding: shard).decode(PrepareFinishShard.self)
      #expect(again == shard)
      let result = try again.run(context: QuietContext(), files: files)
      for (kind, count) in result.masked { report[kind, default: 0] += count }
      guard let table = result.chunks.flatMap({ files.all($0.path) }) else { continue }
      let (ids, paths, texts) = (try table.text("chunk_id"), try table.text("path"), try table.text("text"))
      let (positions, tokens, splits) = (
        try table.integers("position"), try table.integers("tokens"), try table.text("split")
      )
      for row in ids.indices {
        chunks.insert("\(ids[row])|\(paths[row])|\(positions[row])|\(texts[row])|\(tokens[row])|\(splits[row])")
      }
      #expect(result.chunkCount == ids.count && result.splits.values.reduce(0, +) == ids.count)
      #expect(tokens.allSatisfy { $0 > 0 && $0 <= 200 })
    }
    return (chunks, report)
  }

  @Test func rowsAreTheSameForAnyNumberOfShards() throws {
    let folder = TemporaryDirectory("shards")
    let tokenizer = try Self.tokenizerFile(folder)
    var rows = (0..<40).map {
      ("/doc/\(String(format: "%03d", $0))", document($0 * 30..<$0 * 30 + 30) + " Mail a\($0)@example.org or +49 30 901820.")
    }
    rows.append(("/doc/copy", rows[3].1))
    rows.append(("/doc/near", document(0..<30) + " And one more."))
    rows.append(("/doc/short", "Nothing."))
    rows.append(
      ("/doc/german", String(repeating: "Das Wetter wird morgen schöner als gestern und alle freuen sich sehr. ", count: 8)))
    let one = try Self.prepare(rows, parts: 1, tokenizer)
    #expect(one.report == ["too short": 1, "not English": 1, "exact": 1, "near": 1, "email": 40, "phone": 40])
    for parts in [2, 4, 7] {
      let many = try Self.prepare(rows, parts: parts, tokenizer)
      #expect(many.rows == one.rows && many.report == one.report)
    }
    #expect(one.rows.allSatisfy { !$0.contains("@") && !$0.contains("901820") })
    // No document is on both sides.
    var sides: [Substring: Set<Substring>] = [:]
    for row in one.rows {
      let parts = row.split(separator: "|", omittingEmptySubsequences: false)
      sides[parts[1], default: []].insert(parts.last!)
    }
    #expect(sides.count == 40 && sides.values.allSatisfy { $0.count == 1 })
  }

  @Test func tokenCountsOfChunksAreExact() throws {
    let folder = TemporaryDirectory("tokens")
    let tokenizer = try WordPieceTokenizer(tokenizerJSON: try Self.tokenizerFile(folder))
    let chunks = try Chunker(tokenizer: tokenizer).chunks(path: "/x", text: document(0..<60))
    #expect(chunks.count > 3)
    for chunk in chunks { #expect(chunk.tokens == tokenizer.countTokens(chunk.text) && chunk.tokens <= 200) }
  }

  @Test func damagedInputIsNamed() throws {
    let files = MemoryFiles()
    _ = try files.write(
      RowSet([.init("path", .text(["/a"])), .init("text_sha256", .text(["x"])), .init("signature", .text(["nonsense"]))]),
      to: "s")
    #expect(throws: PlatformError.self) {
      try PrepareDedupeShard(signatures: ["s"], droppedPath: "d", configuration: PrepareConfiguration()).run(
        context: QuietContext(), files: files)
    }
    _ = try files.write(RowSet([.init("path", .text(["/a"]))]), to: "p")
    #expect(throws: PlatformError.self) {
      try PrepareCleanShard(
        documents: ["p"], cleanedPath: "c", signaturesPath: "s", rejectedPath: "r", configuration: PrepareConfiguration()
      )
      .run(context: QuietContext(), files: files)
    }
  }
}
