// SPDX-License-Identifier: Apache-2.0

import Core
public import DeltaLog
import DuckDB
import Foundation

/// A Delta table at one version, or some of its files, with all that an executor needs to read exactly its rows: partition values,
/// deletion vectors, and under which names and ids the columns are in the files. Small enough to travel with a unit of work.
public struct TableScan: Codable, Sendable, Hashable {
  /// A data file that is read.
  public struct File: Codable, Sendable, Hashable {
    /// Absolute.
    public var path: String
    public var size: Int64
    /// Rows of the table that it holds, where the log tells.
    public var rows: Int64?
    /// In the order of `partitionColumns`, as the log writes them; nil is NULL.
    public var partitionValues: [String?]
    public var deletions: Deletions?
    /// A file of the change data feed, which says of each row what happened to it.
    public var isRecorded: Bool?

    public init(path: String, size: Int64 = 0, rows: Int64? = nil, partitionValues: [String?] = [], deletions: Deletions? = nil) {
      self.path = path
      self.size = size
      self.rows = rows
      self.partitionValues = partitionValues
      self.deletions = deletions
    }
  }

  /// Where the deletion vector of a file is.
  public struct Deletions: Codable, Sendable, Hashable {
    /// The vector itself as the log has it; nil: it is in a file.
    public var inline: String?
    /// Absolute path of the vector's file.
    public var path: String?
    public var offset: Int?
    public var sizeInBytes: Int
    public var cardinality: Int64
  }

  /// What was left out, because no row of it can match the statement's conditions.
  public struct Skipped: Codable, Sendable, Hashable {
    public var files = 0
    public var bytes: Int64 = 0
    public init() {}
  }

  public var version: Int64
  /// The schema as the log has it, mapped names and ids included.
  public var schemaText: String
  /// How columns are found in files: `none`, `name` or `id`.
  public var mapping: String
  /// Names of the table, not of the files.
  public var partitionColumns: [String]
  public var files: [File]
  public var skipped = Skipped()
  /// Whether the statement asked for a version or a time: files that only older versions have may be gone.
  public var isPast: Bool?

  /// The files of `snapshot` that can hold rows of `predicate`.
  /// - Parameters:
  ///   - folder: the table's folder, an absolute path.
  ///   - sharedFolders: where files of other tables may lie that a shallow clone reads.
  /// - Throws: `invalidFile` for a file or deletion vector outside of the folder, or a partition column that the schema lacks.
  public init(_ snapshot: Snapshot, folder: String, sharedFolders: [String] = [], matching predicate: FilePredicate = .all) throws {
    version = snapshot.version
    schemaText = snapshot.metadata.schemaString
    mapping = try ColumnMapping.mode(snapshot.metadata).rawValue
    partitionColumns = snapshot.metadata.partitionColumns
    let physical = try partitionColumns.map { name in
      guard let field = snapshot.schema.fields.first(where: { $0.name.lowercased() == name.lowercased() }) else {
        throw PlatformError(.invalidFile, "the table is partitioned by '\(name)', which is none of its columns", path: folder)
      }
      return field.physicalName
    }
    let skipper = FileSkipper(snapshot)
    files = []
    for file in snapshot.files {
      guard predicate == .all || skipper.mayMatch(file, predicate) else {
        skipped.files += 1
        skipped.bytes += file.size
        continue
      }
      files.append(
        File(
          path: try Self.path(file.location(), folder, sharedFolders), size: file.size, rows: file.rowCount,
          partitionValues: physical.map { file.partitionValues[$0] ?? nil },
          deletions: try file.deletionVector.map { try Self.deletions($0, folder, sharedFolders) }))
    }
  }

  /// Plain files that have the columns under their own names.
  public init(files: [String], columns: [Column]) {
    version = 0
    schemaText = TypeMapping.schema(columns).schemaString
    mapping = ColumnMapping.Mode.none.rawValue
    partitionColumns = []
    self.files = files.map { File(path: $0) }
  }

  /// The same table, only those of its files.
  public func only(_ paths: some Sequence<String>) -> TableScan {
    let wanted = Set(paths)
    var part = self
    part.files = files.filter { wanted.contains($0.path) }
    return part
  }

  /// The table's columns, partition columns included.
  /// - Throws: `invalidFile`.
  public func columns() throws -> [Column] { try TypeMapping.columns(StructType(parsing: schemaText)) }

  /// Absolute paths of the data files.
  public var paths: [String] { files.map(\.path) }

  /// Whether the files alone are the table: nothing is to be added, renamed or left out on reading.
  public var isPlain: Bool { partitionColumns.isEmpty && mapping == ColumnMapping.Mode.none.rawValue && files.allSatisfy { $0.deletions == nil } }

  /// Rows, where the log tells for each file.
  public var rows: Int64? { files.reduce(Int64(0)) { sum, file in sum.flatMap { sum in file.rows.map { sum &+ $0 } } } }
  public var sizeInBytes: Int64 { files.reduce(0) { $0 &+ $1.size } }

  /// Where a file of a table lies. Files outside of the table's folder, which a shallow clone shares, have to be below one of
  /// `sharedFolders`: a log must not lead executors to files that are nobody's table.
  /// - Throws: `permissionDenied`.
  public static func path(_ location: FileLocation, _ folder: String, _ sharedFolders: [String]) throws -> String {
    switch location {
    case .relative(let path): return folder + "/" + path
    case .absolute(let uri):
      var text = Substring(uri)
      for prefix in ["file://localhost/", "file:///", "file:/"] where text.hasPrefix(prefix) {
        text = text.dropFirst(prefix.count - 1)
        break
      }
      let path = uri.hasPrefix("file:") ? text.removingPercentEncoding ?? "" : String(text)
      let parts = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
      guard parts.first == "", !parts.contains(".."), !parts.contains("."), !path.utf8.contains(0),
        ([folder] + sharedFolders).contains(where: { path.utf8.starts(with: ($0 + "/").utf8) })
      else {
        throw PlatformError(.permissionDenied, "the table refers to a file outside of the lake and of all external locations", path: uri)
      }
      return path
    }
  }

  /// Reads a deletion vector on this machine's disks. Blocks.
  /// - Throws: `permissionDenied` for one outside of the folders; `invalidFile` for one that is missing or damaged.
  public static func deletionVector(_ vector: DeletionVectorDescriptor, folder: String, sharedFolders: [String]) throws -> DeletionVector {
    try DeletedRows.read(deletions(vector, folder, sharedFolders), of: folder)
  }

  static func deletions(_ vector: DeletionVectorDescriptor, _ folder: String, _ sharedFolders: [String]) throws -> Deletions {
    var found = Deletions(offset: vector.offset, sizeInBytes: vector.sizeInBytes, cardinality: vector.cardinality)
    switch vector.storage {
    case .inline: found.inline = vector.pathOrInlineDv
    case .relative: found.path = try vector.relativePath().map { folder + "/" + $0 }
    case .absolute: found.path = try path(.absolute(vector.pathOrInlineDv), folder, sharedFolders)
    }
    return found
  }
}
