// SPDX-License-Identifier: Apache-2.0

public import Core
public import Query

/// Work of kind `ingest`: some files become rows of the tables of documents and of quarantined files.
public struct IngestShard: Codable, Sendable, Equatable {
  public static let kind = "ingest"

  public var files: [IngestFile]
  public var maximumFileBytes: Int64
  /// Absolute paths of the files to write; a file without rows is not written.
  public var documentsPath: String
  public var quarantinePath: String
  /// The time of the run, the same for all rows, so that a second attempt writes the same rows. Microseconds since 1970.
  public var readAt: Int64

  public init(files: [IngestFile], maximumFileBytes: Int64, documentsPath: String, quarantinePath: String, readAt: Int64) {
    self.files = files
    self.maximumFileBytes = maximumFileBytes
    self.documentsPath = documentsPath
    self.quarantinePath = quarantinePath
    self.readAt = readAt
  }
}

public struct IngestResult: Codable, Sendable, Equatable {
  public var documents: WrittenFile?
  public var quarantine: WrittenFile?
  public var documentCount: Int
  /// Bytes of text in UTF-8.
  public var textBytes: Int64
  /// Quarantined files by reason.
  public var quarantined: [String: Int]
}

extension IngestShard {
  /// Rows: documents(path, size, sha256, content, read_at) and quarantine(path, size, reason, read_at), in order of paths.
  /// One bad file never fails the shard. Blocks; looks at cancellation before each file.
  public func run(context: any WorkContext, files rowFiles: any RowFiles) throws -> IngestResult {
    var paths: [String] = []
    var sizes: [Int64] = []
    var digests: [String] = []
    var contents: [String] = []
    var badPaths: [String] = []
    var badSizes: [Int64] = []
    var reasons: [String] = []
    var result = IngestResult(documents: nil, quarantine: nil, documentCount: 0, textBytes: 0, quarantined: [:])
    for (index, file) in files.enumerated() {
      try context.checkCancelled()
      do {
        let document = try DocumentReader.read(file, maximumBytes: maximumFileBytes)
        paths.append(file.path)
        sizes.append(document.sizeBytes)
        digests.append(document.sha256)
        contents.append(document.content)
        result.textBytes += Int64(document.content.utf8.count)
      } catch let problem as DocumentReader.Problem {
        badPaths.append(file.path)
        badSizes.append(file.sizeBytes)
        reasons.append(problem.rawValue)
        result.quarantined[problem.rawValue, default: 0] += 1
        context.log("quarantined (\(problem.rawValue)): \(file.path)")
      }
      context.progress(done: Int64(index + 1), total: Int64(files.count), unit: "files")
    }
    result.documentCount = paths.count
    if !paths.isEmpty {
      result.documents = try rowFiles.write(
        RowSet([
          .init("path", .text(paths)), .init("size", .integer(sizes)), .init("sha256", .text(digests)),
          .init("content", .text(contents)), .init("read_at", .timestamp(paths.map { _ in readAt })),
        ]), to: documentsPath)
    }
    if !badPaths.isEmpty {
      result.quarantine = try rowFiles.write(
        RowSet([
          .init("path", .text(badPaths)), .init("size", .integer(badSizes)), .init("reason", .text(reasons)),
          .init("read_at", .timestamp(badPaths.map { _ in readAt })),
        ]), to: quarantinePath)
    }
    return result
  }
}
