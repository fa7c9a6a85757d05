// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation

extension TableScan {
  /// What a view tells of its rows besides their columns: `TargetRows.file` (absolute path) and `TargetRows.row` (from 0 in its file).
  struct Places {
    /// Adds `TargetRows.rowID` and `TargetRows.rowVersion`.
    var tracking: Tracking?
  }

  /// Where the ids of rows are found.
  struct Tracking {
    struct Given {
      var baseRowID: Int64?
      var commitVersion: Int64?
    }
    /// Columns of files that hold them where rows were moved.
    var id: String
    var version: String
    /// What the log says of rows that were not, by path of the file.
    var files: [String: Given]
  }

  /// Files that are read alike.
  private struct Arm {
    var files: [File]
    /// Names in the files by id of the column; nil: the files are not asked.
    var names: [Int64: String]?
  }

  /// Makes the view `name` of exactly the table's rows. To be called before the connection is shut off: it reads deletion vectors.
  ///
  /// Files are read with the table's schema (what they lack is NULL, what they have under other types is cast, their other columns are
  /// ignored), so that only files that a query needs are opened, and projections and conditions reach the reader of the files.
  /// - Parameter places: what the view tells of each row's place; nil: nothing.
  /// - Throws: `invalidFile` naming the file; `invalidArgument` with the engine's text.
  func define(_ name: String, places: Places? = nil, on connection: Connection) throws {
    let schema = try StructType(parsing: schemaText)
    guard !schema.fields.isEmpty else { throw PlatformError(.invalidFile, "a table without columns cannot be read") }
    try DamagedFiles.checkSizes(files, isPast: isPast)
    var arms = [false, true].flatMap { isRecorded in
      let own = files.filter { ($0.isRecorded ?? false) == isRecorded }
      return [own.filter { $0.deletions == nil }, own.filter { $0.deletions != nil }]
    }.filter { !$0.isEmpty }.map { Arm(files: $0) }
    // Columns of row ids have a name and no id: such files are read by name.
    if places?.tracking != nil, mapping == ColumnMapping.Mode.id.rawValue { arms = try arms.flatMap { try Self.byNames($0.files, connection) } }
    var selects: [String] = []
    for (index, arm) in arms.enumerated() {
      selects.append(try select(arm, schema, prefix: "\(name)_\(index)", places, connection))
    }
    if selects.isEmpty {
      var list = try schema.fields.map { "CAST(NULL AS \(try TypeMapping.sql($0.type).sql)) AS \(SQLText.identifier($0.name))" }
      if let places {
        list += ["CAST(NULL AS VARCHAR) AS \(TargetRows.file)", "CAST(NULL AS BIGINT) AS \(TargetRows.row)"]
        if places.tracking != nil { list += [TargetRows.rowID, TargetRows.rowVersion].map { "CAST(NULL AS BIGINT) AS \($0)" } }
      }
      selects = ["SELECT \(list.joined(separator: ", ")) WHERE false"]
    }
    try connection.execute("CREATE TEMP VIEW \(SQLText.identifier(name)) AS \(selects.joined(separator: "\nUNION ALL "))")
  }

  private func isPartition(_ field: StructField) -> Int? { partitionColumns.firstIndex { $0.lowercased() == field.name.lowercased() } }

  private func select(_ files: Arm, _ schema: StructType, prefix: String, _ places: Places?, _ connection: Connection) throws -> String {
    let (arm, names) = (files.files, files.names)
    let physical = ColumnMapping.physicalSchema(schema)
    let tracking = places?.tracking
    let own = try ownColumns(arm, physical, also: tracking.map { [$0.id, $0.version] } ?? [], connection)
    let isRecorded = arm[0].isRecorded ?? false
    // What the feed adds has no ids; its files have the physical names.
    let mapping = isRecorded && mapping == ColumnMapping.Mode.id.rawValue ? ColumnMapping.Mode.name.rawValue : mapping
    var read: [String] = []
    var list: [String] = []
    for (field, stored) in zip(schema.fields, physical.fields) {
      let name = SQLText.identifier(field.name)
      if let index = isPartition(field), !(isRecorded && field.name == ChangeDataFeed.changeTypeColumn) {
        let variable = "\(prefix)_p\(index)"
        try setPartitionValues(variable, arm, index, field, connection)
        list.append("getvariable(\(SQLText.literal(variable)))[file_index::BIGINT + 1] AS \(name)")
        continue
      }
      if let own {
        let value = own.contains(stored.name) ? SQLText.identifier(stored.name) : "CAST(NULL AS \(try TypeMapping.sql(stored.type).sql))"
        list.append("\(Self.renamed(value, from: stored.type, to: field.type)) AS \(name)")
        continue
      }
      // A column must not hide those that the engine adds by itself.
      let own = Self.isEngineColumn(stored.name) ? "__platform_c\(list.count)" : stored.name
      let type = try TypeMapping.sql(stored.type).sql
      var key = SQLText.literal(stored.name)
      if mapping == ColumnMapping.Mode.id.rawValue {
        guard let id = field.columnId else { throw PlatformError(.invalidFile, "the column '\(field.name)' has no id") }
        key = String(id)
        if let names {
          guard let found = names[id] else {
            list.append("\(Self.renamed("CAST(NULL AS \(type))", from: stored.type, to: field.type)) AS \(name)")
            continue
          }
          key = SQLText.literal(found)
        }
      }
      read.append("\(key): {name: \(SQLText.literal(own)), type: \(SQLText.literal(type)), default_value: NULL}")
      list.append("\(Self.renamed(SQLText.identifier(own), from: stored.type, to: field.type)) AS \(name)")
    }
    if let places {
      list += ["filename AS \(TargetRows.file)", "file_row_number AS \(TargetRows.row)"]
      if let tracking = places.tracking { list += try Self.rowIDs(tracking, arm, own, prefix, &read, connection) }
    }
    if read.isEmpty && own == nil {
      read = [
        "\(mapping == ColumnMapping.Mode.id.rawValue && names == nil ? "2147483647" : "'__platform_none'"): {name: '__platform_none', type: 'BOOLEAN', default_value: NULL}"
      ]
    }
    if mapping == ColumnMapping.Mode.id.rawValue { try checkNestedNames(arm, physical, connection) }
    var options = ["hive_partitioning=false"]
    if own == nil { options.append("schema=MAP {\(read.joined(separator: ", "))}") }
    // Told its columns, the engine does not look into the files for a guess, and would take a large table for a small one.
    let rows = arm.reduce(Int64(0)) { $0 &+ ($1.rows ?? $1.size / Self.guessedRowBytes) }
    if rows > 0 { options.append("explicit_cardinality=\(rows)") }
    var text = "SELECT \(list.joined(separator: ", ")) FROM read_parquet(\(SQLText.list(arm.map(\.path))), \(options.joined(separator: ", ")))"
    if arm.contains(where: { $0.deletions != nil }) {
      try connection.register(DeletedRows(arm), name: "\(prefix)_keeps")
      text += " WHERE \(prefix)_keeps(file_index, file_row_number)"
    }
    return text
  }

  private static let guessedRowBytes: Int64 = 64

  /// `TargetRows.rowID` and `TargetRows.rowVersion`: what the file says of a row, otherwise what the log says of the file.
  /// - Parameter read: takes the columns that the engine is told to read, where it is.
  private static func rowIDs(
    _ tracking: Tracking, _ arm: [File], _ own: Set<String>?, _ prefix: String, _ read: inout [String], _ connection: Connection
  ) throws -> [String] {
    func list(_ name: String, _ value: (Tracking.Given) -> Int64?) throws -> String {
      let values = arm.map { tracking.files[$0.path].flatMap(value).map { String($0) } ?? "NULL" }
      try connection.execute("SET VARIABLE \(prefix)_\(name) = [\(values.joined(separator: ", "))]::BIGINT[]")
      return "getvariable('\(prefix)_\(name)')[file_index::BIGINT + 1]"
    }
    func stored(_ name: String, as alias: String) -> String {
      if let own { return own.contains(name) ? SQLText.identifier(name) : "NULL" }
      read.append("\(SQLText.literal(name)): {name: '\(alias)', type: 'BIGINT', default_value: NULL}")
      return alias
    }
    let (id, version) = (stored(tracking.id, as: "__platform_own_id"), stored(tracking.version, as: "__platform_own_version"))
    return [
      "CAST(coalesce(\(id), \(try list("i", \.baseRowID)) + file_row_number) AS BIGINT) AS \(TargetRows.rowID)",
      "CAST(coalesce(\(version), \(try list("v", \.commitVersion))) AS BIGINT) AS \(TargetRows.rowVersion)",
    ]
  }

  /// Files whose columns are found by id, apart by the names that they have for them.
  private static func byNames(_ files: [File], _ connection: Connection) throws -> [Arm] {
    var names: [String: [Int64: String]] = [:]
    let found = try connection.rows(
      "SELECT file_name, CAST(field_id AS BIGINT), name FROM parquet_schema(\(SQLText.list(files.map(\.path)))) WHERE field_id IS NOT NULL")
    for row in found {
      guard let path = row[0].stringValue, let id = row[1].intValue, let name = row[2].stringValue else { continue }
      names[path, default: [:]][id] = name
    }
    var arms: [Arm] = []
    var numbers: [[Int64: String]: Int] = [:]
    for file in files {
      let own = names[file.path] ?? [:]
      if let number = numbers[own] {
        arms[number].files.append(file)
      } else {
        numbers[own] = arms.count
        arms.append(Arm(files: [file], names: own))
      }
    }
    return arms
  }

  private static func isEngineColumn(_ name: String) -> Bool { ["file_index", "file_row_number", "filename"].contains(name.lowercased()) }

  private static func columns(of path: String, _ connection: Connection) throws -> [ResultStream.Column] {
    let none = try connection.query("SELECT * FROM read_parquet(\(SQLText.list([path])), hive_partitioning=false) LIMIT 0")
    while try none.next() != nil {}  // until then the connection is in the middle of a query
    return none.columns
  }

  /// The table's columns that the only file of `arm` has, when it has them in the table's types; nil: it must be told what to read.
  /// Of `names`, columns of whole numbers that are none of the table's, those that it has are among them.
  ///
  /// The engine reads one file whose columns it was told with one thread and without the file's statistics; many files, it does not.
  private func ownColumns(_ arm: [File], _ physical: StructType, also names: [String], _ connection: Connection) throws -> Set<String>? {
    guard arm.count == 1, mapping != ColumnMapping.Mode.id.rawValue else { return nil }
    // A damaged file is named by the query that needs it.
    guard let found = try? Self.columns(of: arm[0].path, connection), !found.contains(where: { Self.isEngineColumn($0.name) }) else { return nil }
    let types = Dictionary(found.map { ($0.name.lowercased(), $0) }) { first, _ in first }
    var own: Set<String> = []
    for field in physical.fields {
      guard let column = types[field.name.lowercased()] else { continue }
      guard column.name == field.name, column.type == (try TypeMapping.sql(field.type)) else { return nil }
      own.insert(field.name)
    }
    guard !own.isEmpty else { return nil }
    for name in names {
      guard let column = types[name.lowercased()] else { continue }
      guard column.name == name, column.type == .bigint else { return nil }
      own.insert(name)
    }
    return own
  }

  /// One value for each file of the list, as a variable of the engine: rows find theirs by the number of their file.
  private func setPartitionValues(_ variable: String, _ arm: [File], _ index: Int, _ field: StructField, _ connection: Connection) throws {
    let texts = try arm.map { file in
      // "An empty string for any type translates to a null partition value."
      guard index < file.partitionValues.count, let text = file.partitionValues[index], !text.isEmpty else { return "NULL" }
      let value: Literal
      do { value = try Literal(partition: text, type: field.type) } catch {
        throw PlatformError(
          .invalidFile, "the value of the partition column '\(field.name)' is no \(try TypeMapping.sql(field.type).sql.lowercased())", path: file.path)
      }
      switch value {
      case .binary(let bytes): return SQLText.literal(bytes.map { "\\x" + ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) }.joined())
      case .timestamp, .date: return SQLText.literal(value.partitionText(type: field.type))
      default: return SQLText.literal(text)
      }
    }
    let type = try TypeMapping.sql(field.type).sql
    try connection.execute("SET VARIABLE \(variable) = CAST([\(texts.joined(separator: ", "))]::VARCHAR[] AS \(type)[])")
  }

  /// An expression with the value of `source`, its nested fields under the table's names instead of the files'.
  static func renamed(_ source: String, from stored: DeltaType, to type: DeltaType, depth: Int = 0) -> String {
    guard !sameNames(stored, type) else { return source }
    let item = "__x\(depth)"
    switch (stored, type) {
    case (.structure(let own), .structure(let wanted)):
      let fields = zip(own.fields, wanted.fields).map { own, wanted in
        "\(SQLText.identifier(wanted.name)) := "
          + renamed("struct_extract(\(source), \(SQLText.literal(own.name)))", from: own.type, to: wanted.type, depth: depth + 1)
      }
      return "CASE WHEN \(source) IS NULL THEN NULL ELSE struct_pack(\(fields.joined(separator: ", "))) END"
    case (.array(let own, _), .array(let wanted, _)):
      return "list_transform(\(source), lambda \(item): \(renamed(item, from: own, to: wanted, depth: depth + 1)))"
    case (.map(let ownKey, let own, _), .map(let wantedKey, let wanted, _)):
      let key = renamed("\(item).key", from: ownKey, to: wantedKey, depth: depth + 1)
      let value = renamed("\(item).value", from: own, to: wanted, depth: depth + 1)
      return
        "CASE WHEN \(source) IS NULL THEN NULL ELSE map_from_entries(list_transform(map_entries(\(source)), lambda \(item): struct_pack(k := \(key), v := \(value)))) END"
    default: return source
    }
  }

  private static func sameNames(_ left: DeltaType, _ right: DeltaType) -> Bool {
    switch (left, right) {
    case (.structure(let a), .structure(let b)):
      a.fields.count == b.fields.count && zip(a.fields, b.fields).allSatisfy { $0.name == $1.name && sameNames($0.type, $1.type) }
    case (.array(let a, _), .array(let b, _)): sameNames(a, b)
    case (.map(let a, let b, _), .map(let c, let d, _)): sameNames(a, c) && sameNames(b, d)
    default: true
    }
  }

  /// Nested columns are found by name. Writers give them the physical names; a file that came from elsewhere may have others.
  private func checkNestedNames(_ arm: [File], _ physical: StructType, _ connection: Connection) throws {
    var names: [Int64: String] = [:]
    func collect(_ type: DeltaType) {
      switch type {
      case .structure(let inner):
        for field in inner.fields {
          if case .integer(let id)? = field.metadata["parquet.field.id"] { names[id] = field.name }
          collect(field.type)
        }
      case .array(let item, _): collect(item)
      case .map(let key, let value, _):
        collect(key)
        collect(value)
      case .primitive: break
      }
    }
    for field in physical.fields { collect(field.type) }
    guard !names.isEmpty else { return }
    let found = try connection.rows(
      "SELECT file_name, CAST(field_id AS BIGINT), name FROM parquet_schema(\(SQLText.list(arm.map(\.path)))) WHERE field_id IS NOT NULL")
    for row in found {
      guard let id = row[1].intValue, let wanted = names[id], let own = row[2].stringValue, own.lowercased() != wanted.lowercased() else { continue }
      throw PlatformError(
        .invalidFile, "a nested column of the file has the name '\(own)', the table's column mapping says '\(wanted)'",
        hint: "Have the table written anew by its owner.", path: row[0].stringValue)
    }
  }
}
