// SPDX-License-Identifier: Apache-2.0

import Core

/// A data file together with the deletion vector that it has: what the log counts as one file.
struct LogicalFile: Sendable, Hashable {
  var path: String
  /// `uniqueId` of the deletion vector.
  var vector: String?

  init(_ file: AddFile) { (path, vector) = (file.path, file.deletionVector?.uniqueId) }
  init(_ file: RemoveFile) { (path, vector) = (file.path, file.deletionVector?.uniqueId) }
}

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
  /// Named configuration that is not removed.
  public var domains: [String: DomainMetadata]
  /// Removed files, for checkpoints and vacuum.
  var tombstones: [LogicalFile: RemoveFile]
  /// Of the commit that made this version, when that commit was read.
  public var commitInfo: CommitInfo?

  /// Live files ordered by path.
  public var files: [AddFile] {
    // Files are large to move: their places are sorted.
    let all = Array(filesByPath.values)
    return all.indices.sorted { all[$0].path < all[$1].path }.map { all[$0] }
  }

  /// Rows of all files, or nil when a file has no statistics.
  public var rowCount: Int64? {
    var sum: Int64 = 0
    for file in filesByPath.values {
      guard let rows = file.rowCount else { return nil }
      let (total, overflow) = sum.addingReportingOverflow(rows)
      guard !overflow else { return nil }
      sum = total
    }
    return sum
  }

  /// Bytes of all data files.
  public var sizeInBytes: Int64 { filesByPath.values.reduce(0) { $0.addingReportingOverflow($1.size).partialValue } }

  /// Files that were removed and that a reader of an older version may still need, with the deletion vectors that they had.
  public var removedFiles: [RemoveFile] {
    tombstones.values.sorted { ($0.path, $0.deletionVector?.uniqueId ?? "") < ($1.path, $1.deletionVector?.uniqueId ?? "") }
  }

  public var properties: TableProperties { TableProperties(metadata.configuration) }

  /// `commit` with the removed files under the paths that this version has for them.
  func resolved(_ commit: [Action]) -> [Action] {
    let isKnown = commit.allSatisfy { if case .remove(let file) = $0 { filesByPath[file.path] != nil } else { true } }
    guard !isKnown else { return commit }
    var state = LogReplay()
    state.files = filesByPath
    return commit.map { action in
      guard case .remove(var file) = action else { return action }
      file.path = state.pathInLog(file.path)
      return .remove(file)
    }
  }

  /// Becomes the version that `commit` makes of this one. In place: costs what the commit holds, not what the table holds.
  /// - Throws: `invalidFile` when the new version cannot be read here; the snapshot is of no use then.
  mutating func advance(_ commit: [Action], data: Set<TableFeature>) throws {
    var state = LogReplay()
    swap(&state.files, &filesByPath)
    swap(&state.tombstones, &tombstones)
    swap(&state.transactions, &transactions)
    swap(&state.domains, &domains)
    state.apply(commit)
    swap(&state.files, &filesByPath)
    swap(&state.tombstones, &tombstones)
    swap(&state.transactions, &transactions)
    swap(&state.domains, &domains)
    commitInfo = state.commitInfo
    version += 1
    if let value = state.tableProtocol { tableProtocol = value }
    if let value = state.metadata { metadata = value }
    if state.tableProtocol != nil || state.metadata != nil {
      schema = try LogReplay.checkedSchema(tableProtocol, metadata, data: data)
    }
    if !data.contains(.deletionVectors) {
      for case .add(let file) in commit where file.deletionVector != nil { throw LogReplay.unknownVectors }
    }
  }
}

/// State while the log is replayed, in order of versions ("Action Reconciliation").
struct LogReplay {
  var tableProtocol: TableProtocol?
  var metadata: TableMetadata?
  var files: [String: AddFile] = [:]
  var tombstones: [LogicalFile: RemoveFile] = [:]
  var transactions: [String: AppTransaction] = [:]
  var domains: [String: DomainMetadata] = [:]
  var commitInfo: CommitInfo?
  /// Live files whose path is percent-encoded, by what it means; made when it is first needed.
  private var encoded: [String: String]?

  init() {}

  /// The path under which the log has a live file. Writers encode paths in different ways: what a path means tells which file it is.
  mutating func pathInLog(_ path: String) -> String {
    guard files[path] == nil, case .relative(let meaning)? = try? DeltaPath.location(path) else { return path }  // others stand for themselves
    if files[meaning] != nil, (try? DeltaPath.location(meaning)) == .relative(meaning) { return meaning }
    if encoded == nil {
      var found: [String: String] = [:]
      for key in files.keys where key.utf8.contains(UInt8(ascii: "%")) {
        if case .relative(let text)? = try? DeltaPath.location(key) { found[text] = key }  // a path that means nothing is found by itself only
      }
      encoded = found
    }
    guard let known = encoded?[meaning], files[known] != nil else { return path }
    return known
  }

  init(_ snapshot: consuming Snapshot) {
    tableProtocol = snapshot.tableProtocol
    metadata = snapshot.metadata
    files = snapshot.filesByPath
    tombstones = snapshot.tombstones
    transactions = snapshot.transactions
    domains = snapshot.domains
    commitInfo = snapshot.commitInfo
  }

  mutating func apply(_ action: Action) {
    switch action {
    case .protocol(let value): tableProtocol = value
    case .metadata(let value): metadata = value
    case .transaction(let value): transactions[value.appId] = value
    case .domain(let value): domains[value.domain] = value.removed ? nil : value
    case .add(let value):
      files[value.path] = value
      if !tombstones.isEmpty { tombstones[LogicalFile(value)] = nil }
      if encoded != nil, value.path.utf8.contains(UInt8(ascii: "%")), case .relative(let text)? = try? DeltaPath.location(value.path) {  // as above
        encoded?[text] = value.path
      }
    case .remove(var value):
      value.path = pathInLog(value.path)
      // A commit may name the removal of a file's old vector behind the addition with its new one.
      let key = LogicalFile(value)
      if let present = files[value.path], LogicalFile(present) == key { files[value.path] = nil }
      tombstones[key] = value
    case .commitInfo(let value): commitInfo = value
    case .change, .checkpoint, .sidecar: break
    }
  }

  /// The actions of one commit.
  mutating func apply(_ commit: [Action]) {
    commitInfo = nil
    for action in commit { apply(action) }
  }

  func snapshot(version: Int64, data: Set<TableFeature>) throws -> Snapshot {
    guard let tableProtocol, let metadata else {
      throw PlatformError(.invalidFile, "version \(version) of the table has no protocol or metadata")
    }
    let schema = try Self.checkedSchema(tableProtocol, metadata, data: data)
    if !data.contains(.deletionVectors), files.values.contains(where: { $0.deletionVector != nil }) { throw Self.unknownVectors }
    return Snapshot(
      version: version, tableProtocol: tableProtocol, metadata: metadata, schema: schema, filesByPath: files,
      transactions: transactions, domains: domains, tombstones: tombstones, commitInfo: commitInfo)
  }

  static let unknownVectors = PlatformError(
    .invalidFile, "the table needs the reader feature deletionVectors, which this reader does not know")

  /// The schema of a table that this reader can read.
  /// - Throws: `invalidFile` naming what it cannot.
  static func checkedSchema(_ tableProtocol: TableProtocol, _ metadata: TableMetadata, data: Set<TableFeature>) throws -> StructType {
    try tableProtocol.checkReadable(metadata, data: data)
    guard metadata.format.provider.lowercased() == "parquet" else {
      throw PlatformError(.invalidFile, "the table's files have the format '\(metadata.format.provider.prefix(50))', not parquet")
    }
    let schema = try StructType(parsing: metadata.schemaString)
    try ColumnMapping.validate(schema, mode: ColumnMapping.mode(metadata))
    if tableProtocol.supports(.typeWidening) { try TypeWidening.validate(schema) }
    return schema
  }
}
