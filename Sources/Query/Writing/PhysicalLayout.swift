// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB

/// How rows of a table look in its data files: physical names, field ids, partition values as text.
struct PhysicalLayout {
  /// A column that only data files have: row ids, or the kind of change.
  struct Extra {
    /// In the query that is written.
    var name: String
    /// In the file.
    var physicalName: String
    var type: SQLType
  }

  let table: TargetTable
  var extras: [Extra] = []

  /// Whether a select list is needed at all: none when names and types are those of the query.
  var selectList: String {
    var items = table.schema.fields.map { field in
      let name = SQLText.identifier(field.name)
      return (table.isPartition(field.name) ? Self.partitionText(name, field.type) : Self.physical(name, field.type, depth: 0))
        + " AS " + SQLText.identifier(field.physicalName)
    }
    items += extras.map { "CAST(\(SQLText.identifier($0.name)) AS \($0.type.sql)) AS \(SQLText.identifier($0.physicalName))" }
    return items.joined(separator: ", ")
  }

  /// Physical names of the partition columns, in the table's order of them.
  var partitionNames: [String] {
    table.metadata.partitionColumns.compactMap { name in table.schema.fields.first { $0.name == name }?.physicalName }
  }

  /// The FIELD_IDS option; nil where columns are found by name.
  var fieldIDs: String? {
    guard table.mapping != .none else { return nil }
    return Self.ids(StructType(fields: table.schema.fields.filter { !table.isPartition($0.name) }), own: nil)
  }

  /// A partition value's text ("Partition Value Serialization"); an empty text is null there.
  static func partitionText(_ name: String, _ type: DeltaType) -> String {
    guard case .primitive(let kind) = type else { return name }
    switch kind {
    case "string": return "nullif(\(name), '')"
    case "binary":
      // The log holds texts, and its readers take the bytes of the text for the value.
      let refusal = SQLText.literal(
        RowRuleError.marker + "a value of the partition column \(name) is no UTF-8, and the table's log holds nothing else of a BINARY column's values")
      return "CASE WHEN \(name) IS NOT NULL AND try(decode(\(name))) IS NULL THEN error(\(refusal)) ELSE nullif(decode(\(name)), '') END"
    case "timestamp": return "strftime(timezone('UTC', \(name)), '%Y-%m-%dT%H:%M:%S.%fZ')"
    case "timestamp_ntz": return "strftime(\(name), '%Y-%m-%d %H:%M:%S.%f')"
    default: return "CAST(\(name) AS VARCHAR)"
    }
  }

  /// - Parameter values: by physical name.
  /// - Throws: `invalidArgument` for a value that the log cannot hold, such as a day before Christ: no reader could open the table then.
  func checkPartitions(_ values: [String: String?]) throws {
    for field in table.schema.fields where table.isPartition(field.name) {
      guard let text = values[field.physicalName] ?? nil, !text.isEmpty else { continue }
      do { _ = try Literal(partition: text, type: field.type) } catch {
        throw PlatformError(
          .invalidArgument, "the value '\(text.prefix(100))' of the partition column '\(field.name)' cannot be written: the table's log has no form for it")
      }
    }
  }

  private static func needsRename(_ type: DeltaType) -> Bool {
    switch type {
    case .primitive: false
    case .array(let item, _): needsRename(item)
    case .map(let key, let value, _): needsRename(key) || needsRename(value)
    case .structure(let inner): inner.fields.contains { $0.physicalName != $0.name || needsRename($0.type) }
    }
  }

  /// `expression` with the fields of its structs under their physical names.
  private static func physical(_ expression: String, _ type: DeltaType, depth: Int) -> String {
    guard needsRename(type) else { return expression }
    let variable = "__e\(depth)"
    switch type {
    case .primitive: return expression
    case .structure(let inner):
      let members = inner.fields.map {
        SQLText.literal($0.physicalName) + ": " + physical("struct_extract(\(expression), \(SQLText.literal($0.name)))", $0.type, depth: depth + 1)
      }
      return "CASE WHEN \(expression) IS NULL THEN NULL ELSE {\(members.joined(separator: ", "))} END"
    case .array(let item, _): return "list_transform(\(expression), lambda \(variable): \(physical(variable, item, depth: depth + 1)))"
    case .map(let key, let value, _):
      let entry = "{'key': \(physical("\(variable).key", key, depth: depth + 1)), 'value': \(physical("\(variable).value", value, depth: depth + 1))}"
      return "CASE WHEN \(expression) IS NULL THEN NULL ELSE map_from_entries(list_transform(map_entries(\(expression)), lambda \(variable): \(entry))) END"
    }
  }

  private static func ids(_ type: StructType, own: Int64?) -> String {
    var members = own.map { ["__duckdb_field_id: \($0)"] } ?? []
    for field in type.fields {
      if let item = ids(field.type, own: field.columnId) { members.append("\(SQLText.identifier(field.physicalName)): \(item)") }
    }
    return "{" + members.joined(separator: ", ") + "}"
  }

  private static func ids(_ type: DeltaType, own: Int64?) -> String? {
    var members = own.map { ["__duckdb_field_id: \($0)"] } ?? []
    switch type {
    case .primitive: return own.map { String($0) }
    case .structure(let inner): return ids(inner, own: own)
    case .array(let item, _): if let inner = ids(item, own: nil) { members.append("element: \(inner)") }
    case .map(let key, let value, _):
      if let inner = ids(key, own: nil) { members.append("key: \(inner)") }
      if let inner = ids(value, own: nil) { members.append("value: \(inner)") }
    }
    return members.isEmpty ? nil : "{" + members.joined(separator: ", ") + "}"
  }
}
