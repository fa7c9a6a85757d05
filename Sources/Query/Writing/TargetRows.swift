// SPDX-License-Identifier: Apache-2.0

import Core
public import DeltaLog
import DuckDB

/// A live data file of the table that a statement changes.
public struct TargetFile: Codable, Sendable, Hashable {
  /// Absolute.
  public var path: String
  /// In bytes; 0: not known.
  public var size: Int64
  /// By physical name, as text; nil is null.
  public var partitionValues: [String: String?]
  /// Rows of the file that are gone already.
  public var deletions: TableScan.Deletions?
  /// Rows in the file, those that are gone included; nil: the log does not say.
  public var physicalRows: Int64?
  /// Row tracking: the id of the first row, and the version of rows that carry none.
  public var baseRowID: Int64?
  public var commitVersion: Int64?

  /// - Parameter path: absolute.
  public init(path: String) {
    self.path = path
    size = 0
    partitionValues = [:]
  }

  /// - Parameters:
  ///   - folder: the table's folder, an absolute path.
  ///   - sharedFolders: where files of other tables may lie that a shallow clone reads.
  /// - Throws: `permissionDenied` for a file or deletion vector outside of the folders; `invalidFile`.
  public init(_ file: AddFile, folder: String, sharedFolders: [String] = []) throws {
    path = try TableScan.path(file.location(), folder, sharedFolders)
    size = file.size
    partitionValues = file.partitionValues
    deletions = try file.deletionVector.map { try TableScan.deletions($0, folder, sharedFolders) }
    physicalRows = file.physicalRowCount
    baseRowID = file.baseRowId
    commitVersion = file.defaultRowCommitVersion
  }

  /// Rows of the table that it holds, where the log tells.
  var rows: Int64? { physicalRows.map { max(0, $0 - (deletions?.cardinality ?? 0)) } }
}

/// The rows of a table under the names that SQL uses, with the place of each: what UPDATE, DELETE and MERGE look at.
struct TargetRows {
  static let file = "__platform_file"
  static let row = "__platform_row"
  static let rowID = "__platform_row_id"
  static let rowVersion = "__platform_row_version"

  let table: TargetTable

  /// Names of the columns that keep row ids in data files; nil: the table does not track rows.
  var trackingColumns: (id: String, version: String)? {
    guard table.properties.hasRowTracking, let id = table.metadata.configuration[RowTracking.rowIdColumnProperty],
      let version = table.metadata.configuration[RowTracking.rowCommitVersionColumnProperty]
    else { return nil }
    return (id, version)
  }

  /// Makes the view `view` of `files`, read as queries read them: see `TableScan.define`.
  func define(_ view: String, _ files: [TargetFile], _ connection: Connection) throws {
    let tracking = trackingColumns.map { names in
      TableScan.Tracking(
        id: names.id, version: names.version,
        files: Dictionary(files.map { ($0.path, .init(baseRowID: $0.baseRowID, commitVersion: $0.commitVersion)) }) { first, _ in first })
    }
    try TableScan(table, files).define(view, places: .init(tracking: tracking), on: connection)
  }
}

extension TableScan {
  /// Files of a table that a statement changes.
  fileprivate init(_ table: TargetTable, _ files: [TargetFile]) throws {
    self.init(files: [], columns: [])
    schemaText = table.metadata.schemaString
    mapping = table.mapping.rawValue
    partitionColumns = table.metadata.partitionColumns
    let physical = partitionColumns.map { name in table.schema.fields.first { $0.name == name }?.physicalName ?? name }
    self.files = files.map { file in
      File(
        path: file.path, size: file.size, rows: file.rows, partitionValues: physical.map { file.partitionValues[$0] ?? nil }, deletions: file.deletions)
    }
  }
}
