// SPDX-License-Identifier: Apache-2.0

import Core

/// A table at one version.
public struct Snapshot: Sendable {
  public var version: Int64
  public var tableProtocol: TableProtocol
  public var metadata: TableMetadata
  public var schema: StructType
  /// Live data files by `path`.
  public var filesByPath: [String: AddFile]
  /// Highest version by application.
  public var transactions: [String: AppTransaction]
  /// Removed files, for the checkpoint.
  var tombstones: [String: RemoveFile]

  /// Live files ordered by path.
  public var files: [AddFile] { filesByPath.values.sorted { $0.path < $1.path } }

  /// Rows of all files, or nil when a file has no statistics.
  public var rowCount: Int64? {
    var sum: Int64 = 0
    for file in filesByPath.values {
      guard let rows = file.rowCount else { return nil }
      sum += rows
    }
    return sum
  }
}

/// State while the log is replayed, in order of versions ("Action Reconciliation").
struct LogReplay {
  var tableProtocol: TableProtocol?
  var metadata: TableMetadata?
  var files: [String: AddFile] = [:]
  var tombstones: [String: RemoveFile] = [:]
  var transactions: [String: AppTransaction] = [:]

  mutating func apply(_ action: ActionLine) throws {
    if let value = action.protocol { tableProtocol = value }
    if let value = action.metaData { metadata = value }
    if let value = action.txn { transactions[value.appId] = value }
    if let value = action.add {
      guard value.deletionVector == nil || value.deletionVector == .null else {
        throw PlatformError(
          .invalidFile, "the table needs the reader feature deletionVectors, which this reader does not know")
      }
      files[value.path] = value
      tombstones[value.path] = nil
    }
    if let value = action.remove {
      files[value.path] = nil
      tombstones[value.path] = value
    }
  }

  func snapshot(version: Int64) throws -> Snapshot {
    guard let tableProtocol, let metadata else {
      throw PlatformError(.invalidFile, "version \(version) of the table has no protocol or metadata")
    }
    try tableProtocol.checkReadable(metadata)
    return Snapshot(
      version: version, tableProtocol: tableProtocol, metadata: metadata,
      schema: try StructType(parsing: metadata.schemaString),
      filesByPath: files, transactions: transactions, tombstones: tombstones)
  }
}
