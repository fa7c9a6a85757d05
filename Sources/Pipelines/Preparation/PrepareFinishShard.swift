// SPDX-License-Identifier: Apache-2.0

public import Core
public import Query
import Tokenizers

/// Work of kind `prepare.finish`: cleaned texts that stay become masked chunks on one side of the split.
public struct PrepareFinishShard: Codable, Sendable, Equatable {
  public static let kind = "prepare.finish"

  public var cleanedPath: String
  /// What `prepare.dedupe` wrote; nil when it dropped nothing.
  public var droppedPath: String?
  public var chunksPath: String
  /// Tokens are counted with the `tokenizer.json` of the model that will read the chunks (WordPiece).
  public var tokenizerPath: String
  public var configuration: PrepareConfiguration

  public init(
    cleanedPath: String, droppedPath: String?, chunksPath: String, tokenizerPath: String, configuration: PrepareConfiguration
  ) {
    self.cleanedPath = cleanedPath
    self.droppedPath = droppedPath
    self.chunksPath = chunksPath
    self.tokenizerPath = tokenizerPath
    self.configuration = configuration
  }
}

public struct PrepareFinishResult: Codable, Sendable, Equatable {
  /// Nil when no document of the shard stays.
  public var chunks: WrittenFile?
  public var documents: Int
  public var droppedDocuments: Int
  public var chunkCount: Int
  public var tokens: Int64
  /// Chunks by split.
  public var splits: [String: Int]
  /// Replaced personal data by kind.
  public var masked: [String: Int]
}

extension PrepareFinishShard {
  /// Rows in order of path and position: chunks(chunk_id, path, position, text, tokens, split).
  public func run(context: any WorkContext, files: any RowFiles) throws -> PrepareFinishResult {
    try configuration.validate()
    let tokenizer = try WordPieceTokenizer(tokenizerJSON: tokenizerPath)
    let chunker = try Chunker(
      tokenizer: tokenizer, maximumTokens: configuration.chunkTokens, overlapTokens: configuration.overlapTokens)
    let dropped = Set(
      try droppedPath.map { try files.read($0, columns: ["path"]).text("path").map { Array($0.utf8) } } ?? [])
    let table = try files.read(cleanedPath, columns: ["path", "content"])
    let (paths, contents) = (try table.text("path"), try table.text("content"))
    var result = PrepareFinishResult(
      chunks: nil, documents: 0, droppedDocuments: 0, chunkCount: 0, tokens: 0, splits: [:], masked: [:])
    var ids: [String] = []
    var chunkPaths: [String] = []
    var positions: [Int64] = []
    var texts: [String] = []
    var tokens: [Int64] = []
    var splits: [String] = []
    let kinds = Set(configuration.masked)
    for (index, path) in paths.enumerated() {
      try context.checkCancelled()
      context.progress(done: Int64(index + 1), total: Int64(paths.count), unit: "documents")
      if dropped.contains(Array(path.utf8)) {
        result.droppedDocuments += 1
        continue
      }
      result.documents += 1
      let masked = PersonalDataMasker.mask(contents[index], kinds: kinds)
      for (kind, count) in masked.counts { result.masked[kind.rawValue, default: 0] += count }
      let side = DocumentSplit.side(path: path, trainShare: configuration.trainShare, seed: configuration.splitSeed)
      for chunk in chunker.chunks(path: path, text: masked.text) {
        ids.append(chunk.id)
        chunkPaths.append(path)
        positions.append(Int64(chunk.position))
        texts.append(chunk.text)
        tokens.append(Int64(chunk.tokens))
        splits.append(side)
        result.tokens += Int64(chunk.tokens)
        result.splits[side, default: 0] += 1
      }
    }
    result.chunkCount = ids.count
    if !ids.isEmpty {
      result.chunks = try files.write(
        RowSet([
          .init("chunk_id", .text(ids)), .init("path", .text(chunkPaths)), .init("position", .integer(positions)),
          .init("text", .text(texts)), .init("tokens", .integer(tokens)), .init("split", .text(splits)),
        ]), to: chunksPath)
    }
    return result
  }
}
