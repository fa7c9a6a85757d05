// SPDX-License-Identifier: Apache-2.0

public import Core
public import Query

/// Work of kind `prepare.clean`: documents become normalised texts that pass the quality rules, and their signatures.
public struct PrepareCleanShard: Codable, Sendable, Equatable {
  public static let kind = "prepare.clean"

  /// Absolute paths of files with the columns `path` and `content`.
  public var documents: [String]
  /// Files to write; one without rows is not written.
  public var cleanedPath: String
  public var signaturesPath: String
  public var rejectedPath: String
  public var configuration: PrepareConfiguration

  public init(
    documents: [String], cleanedPath: String, signaturesPath: String, rejectedPath: String,
    configuration: PrepareConfiguration
  ) {
    self.documents = documents
    self.cleanedPath = cleanedPath
    self.signaturesPath = signaturesPath
    self.rejectedPath = rejectedPath
    self.configuration = configuration
  }
}

public struct PrepareCleanResult: Codable, Sendable, Equatable {
  public var cleaned: WrittenFile?
  public var signatures: WrittenFile?
  public var rejected: WrittenFile?
  public var read: Int
  public var kept: Int
  /// Rejected documents by reason.
  public var rejections: [String: Int]
}

extension PrepareCleanShard {
  /// Rows in order of paths: cleaned(path, content), signatures(path, text_sha256, signature), rejected(path, reason).
  public func run(context: any WorkContext, files: any RowFiles) throws -> PrepareCleanResult {
    try configuration.validate()
    var rows: [(path: String, content: String)] = []
    for document in documents {
      try context.checkCancelled()
      let table = try files.read(document, columns: ["path", "content"])
      rows += zip(try table.text("path"), try table.text("content")).map { ($0, $1) }
    }
    rows.sort { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
    var result = PrepareCleanResult(cleaned: nil, signatures: nil, rejected: nil, read: rows.count, kept: 0, rejections: [:])
    var paths: [String] = []
    var texts: [String] = []
    var hashes: [String] = []
    var signatures: [String] = []
    var rejectedPaths: [String] = []
    var reasons: [String] = []
    for (index, row) in rows.enumerated() {
      try context.checkCancelled()
      let text = TextNormalizer.normalize(row.content)
      if let rejection = configuration.quality.rejection(of: text) {
        rejectedPaths.append(row.path)
        reasons.append(rejection.rawValue)
        result.rejections[rejection.rawValue, default: 0] += 1
      } else {
        paths.append(row.path)
        texts.append(text)
        hashes.append(SHA256Digest.hex(text))
        signatures.append(MinHash.encode(MinHash.signature(text)))
      }
      context.progress(done: Int64(index + 1), total: Int64(rows.count), unit: "documents")
    }
    result.kept = paths.count
    if !paths.isEmpty {
      result.cleaned = try files.write(
        RowSet([.init("path", .text(paths)), .init("content", .text(texts))]), to: cleanedPath)
      result.signatures = try files.write(
        RowSet([.init("path", .text(paths)), .init("text_sha256", .text(hashes)), .init("signature", .text(signatures))]),
        to: signaturesPath)
    }
    if !rejectedPaths.isEmpty {
      result.rejected = try files.write(
        RowSet([.init("path", .text(rejectedPaths)), .init("reason", .text(reasons))]), to: rejectedPath)
    }
    return result
  }
}
