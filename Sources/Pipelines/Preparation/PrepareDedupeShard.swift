// SPDX-License-Identifier: Apache-2.0

public import Core
public import Query

/// Work of kind `prepare.dedupe`: the signatures of all shards become one list of documents to drop.
public struct PrepareDedupeShard: Codable, Sendable, Equatable {
  public static let kind = "prepare.dedupe"

  /// Absolute paths of the files that `prepare.clean` wrote.
  public var signatures: [String]
  public var droppedPath: String
  public var configuration: PrepareConfiguration

  public init(signatures: [String], droppedPath: String, configuration: PrepareConfiguration) {
    self.signatures = signatures
    self.droppedPath = droppedPath
    self.configuration = configuration
  }
}

public struct PrepareDedupeResult: Codable, Sendable, Equatable {
  /// Nil when nothing is dropped.
  public var dropped: WrittenFile?
  public var documents: Int
  public var kept: Int
  public var exactDuplicates: Int
  public var nearDuplicates: Int
}

extension PrepareDedupeShard {
  /// Rows in order of paths: dropped(path, kind, kept, similarity_percent). Needs about 700 bytes of memory a document.
  public func run(context: any WorkContext, files: any RowFiles) throws -> PrepareDedupeResult {
    try configuration.validate()
    var documents: [Deduplicator.Document] = []
    for (index, path) in signatures.enumerated() {
      try context.checkCancelled()
      let table = try files.read(path, columns: ["path", "text_sha256", "signature"])
      let (paths, hashes, texts) = (try table.text("path"), try table.text("text_sha256"), try table.text("signature"))
      for row in paths.indices {
        guard let signature = MinHash.decode(texts[row]) else {
          throw PlatformError(.invalidFile, "row \(row) has a damaged signature", number: "PLT-3103", path: path)
        }
        documents.append(Deduplicator.Document(path: paths[row], textHash: hashes[row], signature: signature))
      }
      context.progress(done: Int64(index + 1), total: Int64(signatures.count), unit: "files")
    }
    let dropped = try Deduplicator(threshold: configuration.duplicateThreshold).dropped(documents) { context.isCancelled }
    let exact = dropped.count { $0.kind == "exact" }
    var result = PrepareDedupeResult(
      dropped: nil, documents: documents.count, kept: documents.count - dropped.count, exactDuplicates: exact,
      nearDuplicates: dropped.count - exact)
    if !dropped.isEmpty {
      result.dropped = try files.write(
        RowSet([
          .init("path", .text(dropped.map(\.path))), .init("kind", .text(dropped.map(\.kind))),
          .init("kept", .text(dropped.map(\.kept))),
          .init("similarity_percent", .integer(dropped.map { Int64(($0.similarity * 100).rounded()) })),
        ]), to: droppedPath)
    }
    return result
  }
}
