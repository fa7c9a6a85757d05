// SPDX-License-Identifier: Apache-2.0

import Core
public import DeltaLog
import DuckDB
import Foundation

/// A live data file of the table that a statement changes.
public struct TargetFile: Codable, Sendable, Hashable {
  /// Absolute.
  public var path: String
  /// By physical name, as text; nil is null.
  public var partitionValues: [String: String?]
  /// Rows of the file that are gone already.
  public var deletionVector: DeletionVectorDescriptor?
  /// Rows in the file, those that are gone included; nil: the log does not say.
  public var physicalRows: Int64?
  /// Row tracking: the id of the first row, and the version of rows that carry none.
  public var baseRowID: Int64?
  public var commitVersion: Int64?

  public init(
    path: String, partitionValues: [String: String?] = [:], deletionVector: DeletionVectorDescriptor? = nil, physicalRows: Int64? = nil,
    baseRowID: Int64? = nil, commitVersion: Int64? = nil
  ) {
    self.path = path
    self.partitionValues = partitionValues
    self.deletionVector = deletionVector
    self.physicalRows = physicalRows
    self.baseRowID = baseRowID
    self.commitVersion = commitVersion
  }

  /// - Parameter path: absolute.
  public init(_ file: AddFile, path: String) {
    self.init(
      path: path, partitionValues: file.partitionValues, deletionVector: file.deletionVector, physicalRows: file.physicalRowCount,
      baseRowID: file.baseRowId, commitVersion: file.defaultRowCommitVersion)
  }

  /// - Parameter folder: the table's.
  func deletedRows(_ folder: String) throws -> DeletionVector? {
    guard let deletionVector else { return nil }
    switch deletionVector.storage {
    case .inline: return try DeletionVectorFile.decodeInline(deletionVector)
    case .relative, .absolute:
      guard let relative = try deletionVector.relativePath() else {
        throw PlatformError(.invalidFile, "a deletion vector lies outside of its table", path: path)
      }
      let range = DeletionVectorFile.range(deletionVector)
      let file = folder + "/" + relative
      guard let handle = FileHandle(forReadingAtPath: file) else {
        throw PlatformError(.invalidFile, "a file of deletion vectors is missing", path: file)
      }
      defer { try? handle.close() }  // only read
      try handle.seek(toOffset: UInt64(range.lowerBound))
      return try DeletionVectorFile.decode(handle.read(upToCount: range.count) ?? Data(), deletionVector)
    }
  }
}

/// The rows of a table under the names that SQL uses, with the place of each: what UPDATE, DELETE and MERGE look at.
struct TargetRows {
  static let file = "__platform_file"
  static let row = "__platform_row"
  static let rowID = "__platform_row_id"
  static let rowVersion = "__platform_row_version"

  let table: TargetTable
  let folder: String

  /// Names of the columns that keep row ids in data files; nil: the table does not track rows.
  var trackingColumns: (id: String, version: String)? {
    guard table.properties.hasRowTracking, let id = table.metadata.configuration[RowTracking.rowIdColumnProperty],
      let version = table.metadata.configuration[RowTracking.rowCommitVersionColumnProperty]
    else { return nil }
    return (id, version)
  }

  /// Makes the view `view` of `files`.
  func define(_ view: String, _ files: [TargetFile], _ connection: Connection) throws {
    guard !files.isEmpty else {
      let list = table.columns.map { "CAST(NULL AS \($0.type.sql)) AS \(SQLText.identifier($0.name))" } + empty
      return try run(connection, "CREATE TEMP VIEW \(view) AS SELECT \(list.joined(separator: ", ")) WHERE false")
    }
    let needsFacts = !table.metadata.partitionColumns.isEmpty || trackingColumns != nil
    if needsFacts { try defineFacts(view, files, connection) }
    let hasDeleted = try defineDeleted(view, files, connection)
    let source = "read_parquet(\(SQLText.list(files.map(\.path))), union_by_name=true, filename=true, file_row_number=true, hive_partitioning=false)"
    let present = Dictionary(try connection.query("SELECT * FROM \(source) LIMIT 0").columns.map { ($0.name, $0.type) }) { first, _ in first }
    var list = zip(table.schema.fields, table.columns).map { field, column in
      var value = "NULL"
      if table.isPartition(field.name) {
        value = "f.\(SQLText.identifier("p_" + field.physicalName))"
      } else if present[field.physicalName] != nil {
        value = Self.logical("t.\(SQLText.identifier(field.physicalName))", field.type, depth: 0)
      }
      return "CAST(\(value) AS \(column.type.sql)) AS \(SQLText.identifier(field.name))"
    }
    list += ["t.filename AS \(Self.file)", "t.file_row_number AS \(Self.row)"]
    if let (id, version) = trackingColumns {
      func own(_ name: String) -> String { present[name] == nil ? "NULL" : "t.\(SQLText.identifier(name))" }
      list.append("CAST(coalesce(\(own(id)), f.base_row_id + t.file_row_number) AS BIGINT) AS \(Self.rowID)")
      list.append("CAST(coalesce(\(own(version)), f.commit_version) AS BIGINT) AS \(Self.rowVersion)")
    }
    var sql = "CREATE TEMP VIEW \(view) AS SELECT \(list.joined(separator: ", ")) FROM \(source) AS t"
    if needsFacts { sql += " JOIN \(view)_files AS f ON f.path = t.filename" }
    if hasDeleted { sql += " ANTI JOIN \(view)_deleted AS d ON d.path = t.filename AND d.row = t.file_row_number" }
    try run(connection, sql)
  }

  private func run(_ connection: Connection, _ sql: String) throws { try connection.execute(sql) }

  private var empty: [String] {
    var list = ["CAST(NULL AS VARCHAR) AS \(Self.file)", "CAST(NULL AS BIGINT) AS \(Self.row)"]
    if trackingColumns != nil { list += ["CAST(NULL AS BIGINT) AS \(Self.rowID)", "CAST(NULL AS BIGINT) AS \(Self.rowVersion)"] }
    return list
  }

  /// A table with the partition values and row ids of each file.
  private func defineFacts(_ view: String, _ files: [TargetFile], _ connection: Connection) throws {
    let partitions = zip(table.schema.fields, table.columns).filter { table.isPartition($0.0.name) }
    let columns = partitions.map { "\(SQLText.identifier("p_" + $0.physicalName)) \($1.type.sql)" }
    try connection.execute(
      "CREATE TEMP TABLE \(view)_files (\((["path VARCHAR", "base_row_id BIGINT", "commit_version BIGINT"] + columns).joined(separator: ", ")))")
    for start in stride(from: 0, to: files.count, by: 500) {
      let rows = files[start..<min(files.count, start + 500)].map { file in
        let values = partitions.map { field, column in
          guard let text = file.partitionValues[field.physicalName] ?? nil, !text.isEmpty else { return "NULL" }
          return "CAST(\(SQLText.literal(text)) AS \(column.type.sql))"
        }
        let facts = [SQLText.literal(file.path), file.baseRowID.map { String($0) } ?? "NULL", file.commitVersion.map { String($0) } ?? "NULL"]
        return "(" + (facts + values).joined(separator: ", ") + ")"
      }
      try connection.execute("INSERT INTO \(view)_files VALUES \(rows.joined(separator: ", "))")
    }
  }

  /// A table of the rows that are gone already. Returns false when there are none.
  private func defineDeleted(_ view: String, _ files: [TargetFile], _ connection: Connection) throws -> Bool {
    let worn = files.filter { $0.deletionVector != nil }
    guard !worn.isEmpty else { return false }
    try connection.execute("CREATE TEMP TABLE \(view)_deleted (path VARCHAR, row BIGINT)")
    let appender = try Appender(connection, table: "\(view)_deleted")
    for file in worn {
      try file.deletedRows(folder)?.forEach { row in
        try appender.append(.string(file.path))
        try appender.append(.int(Int64(clamping: row)))
        try appender.endRow()
      }
    }
    try appender.close()
    return true
  }

  private static func needsRename(_ type: DeltaType) -> Bool {
    switch type {
    case .primitive: false
    case .array(let item, _): needsRename(item)
    case .map(let key, let value, _): needsRename(key) || needsRename(value)
    case .structure(let inner): inner.fields.contains { $0.physicalName != $0.name || needsRename($0.type) }
    }
  }

  /// `expression` with the fields of its structs under the table's names: the inverse of `PhysicalLayout`.
  private static func logical(_ expression: String, _ type: DeltaType, depth: Int) -> String {
    guard needsRename(type) else { return expression }
    let variable = "__e\(depth)"
    switch type {
    case .primitive: return expression
    case .structure(let inner):
      let members = inner.fields.map {
        SQLText.literal($0.name) + ": " + logical("struct_extract(\(expression), \(SQLText.literal($0.physicalName)))", $0.type, depth: depth + 1)
      }
      return "CASE WHEN \(expression) IS NULL THEN NULL ELSE {\(members.joined(separator: ", "))} END"
    case .array(let item, _): return "list_transform(\(expression), lambda \(variable): \(logical(variable, item, depth: depth + 1)))"
    case .map(let key, let value, _):
      let entry = "{'key': \(logical("\(variable).key", key, depth: depth + 1)), 'value': \(logical("\(variable).value", value, depth: depth + 1))}"
      return "CASE WHEN \(expression) IS NULL THEN NULL ELSE map_from_entries(list_transform(map_entries(\(expression)), lambda \(variable): \(entry))) END"
    }
  }
}
