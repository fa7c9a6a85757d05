// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Names and ids of columns that data files keep while the table's own names change ("Column Mapping").
public enum ColumnMapping {
  public enum Mode: String, Sendable, Hashable {
    /// Data files have the display names.
    case none
    /// Data files have the physical names.
    case name
    /// Columns of data files are found by their field id.
    case id
  }

  static let modeProperty = "delta.columnMapping.mode"
  static let maximumProperty = "delta.columnMapping.maxColumnId"
  static let idKey = "delta.columnMapping.id"
  static let physicalNameKey = "delta.columnMapping.physicalName"
  static let nestedIdsKey = "delta.columnMapping.nested.ids"

  /// - Throws: `invalidFile` for a mode that is unknown.
  public static func mode(_ metadata: TableMetadata) throws -> Mode {
    guard let text = metadata.configuration[modeProperty] else { return .none }
    guard let mode = Mode(rawValue: text.lowercased()) else {
      throw PlatformError(.invalidFile, "the column mapping mode '\(text.prefix(50))' is unknown")
    }
    return mode
  }

  /// `schema` with an id and a physical name for every field that has none.
  /// - Parameters:
  ///   - maximum: the highest id given so far.
  ///   - keepsNames: physical names are the display names, for tables that have files already; otherwise they are new.
  /// - Returns: the schema and the highest id.
  public static func assign(_ schema: StructType, maximum: Int64, keepsNames: Bool) throws -> (schema: StructType, maximum: Int64) {
    var highest = maximum
    schema.forEachField { field in
      if let id = field.columnId { highest = max(highest, id) }
    }
    let assigned = try schema.mapFields { field in
      var field = field
      if field.columnId == nil {
        guard highest < Int64(Int32.max) else { throw PlatformError(.resourceExhausted, "the table has no column ids left") }
        highest += 1
        field.metadata[idKey] = .integer(highest)
      }
      if field.metadata[physicalNameKey]?.stringValue == nil {
        field.metadata[physicalNameKey] = .string(keepsNames ? field.name : "col-" + UUID().uuidString.lowercased())
      }
      return field
    }
    return (assigned, highest)
  }

  /// Metadata for a new table with mapped names.
  public static func newTable(_ metadata: TableMetadata, mode: Mode = .name) throws -> TableMetadata {
    guard mode != .none else { return metadata }
    var metadata = metadata
    let plain = try StructType(parsing: metadata.schemaString)
    let (schema, maximum) = try assign(plain, maximum: 0, keepsNames: false)
    metadata.schemaString = schema.schemaString
    metadata.configuration[modeProperty] = mode.rawValue
    metadata.configuration[maximumProperty] = String(maximum)
    return metadata
  }

  /// The actions that turn column mapping by name on for a table that has files under the present names.
  /// - Throws: `invalidArgument` when another mode is on.
  public static func enable(_ snapshot: Snapshot) throws -> [Action] {
    let present = try mode(snapshot.metadata)
    guard present != .name else { return [] }
    guard present == .none else { throw PlatformError(.invalidArgument, "the table's column mapping mode cannot change from id to name") }
    let (schema, maximum) = try assign(snapshot.schema, maximum: 0, keepsNames: true)
    var metadata = snapshot.metadata
    metadata.schemaString = schema.schemaString
    metadata.configuration[modeProperty] = Mode.name.rawValue
    metadata.configuration[maximumProperty] = String(maximum)
    let tableProtocol = snapshot.tableProtocol.adding([.columnMapping])
    return (tableProtocol == snapshot.tableProtocol ? [] : [.protocol(tableProtocol)]) + [.metadata(metadata)]
  }

  /// - Throws: `invalidFile` when a field of a mapped table lacks its id or physical name, or shares one.
  public static func validate(_ schema: StructType, mode: Mode) throws {
    guard mode != .none else { return }
    var ids: Set<Int64> = []
    var problem: String?
    schema.forEachField { field in
      if field.metadata[physicalNameKey]?.stringValue == nil {
        problem = "the column '\(field.name.prefix(100))' has no physical name"
      } else if let id = field.columnId {
        if !ids.insert(id).inserted { problem = "the column id \(id) is there twice" }
      } else {
        problem = "the column '\(field.name.prefix(100))' has no id"
      }
    }
    func checkNames(_ type: StructType) {
      if Set(type.fields.map(\.physicalName)).count != type.fields.count { problem = "a physical column name is there twice" }
    }
    checkNames(schema)
    schema.forEachField { if case .structure(let inner) = $0.type { checkNames(inner) } }
    if let problem { throw PlatformError(.invalidFile, "the table's column mapping is damaged: \(problem)") }
  }

  /// The schema as data files have it: physical names, no metadata but the field ids.
  public static func physicalSchema(_ schema: StructType) -> StructType {
    schema.mapFields { field in
      StructField(
        name: field.physicalName, type: field.type, nullable: field.nullable,
        metadata: field.columnId.map { ["parquet.field.id": .integer($0)] } ?? [:])
    }
  }
}

extension StructField {
  /// The id of a mapped column.
  public var columnId: Int64? {
    guard case .integer(let id)? = metadata[ColumnMapping.idKey], id > 0, id <= Int64(Int32.max) else { return nil }
    return id
  }
}

extension StructType {
  /// Every field, nested ones first within theirs, through `body`.
  func mapFields(_ body: (StructField) throws -> StructField) rethrows -> StructType {
    StructType(
      fields: try fields.map { field in
        var changed = try body(field)
        changed.type = try changed.type.mapFields(body)
        return changed
      })
  }
}

extension DeltaType {
  func mapFields(_ body: (StructField) throws -> StructField) rethrows -> DeltaType {
    switch self {
    case .primitive: self
    case .array(let item, let containsNull): .array(try item.mapFields(body), containsNull: containsNull)
    case .map(let key, let value, let containsNull):
      .map(try key.mapFields(body), try value.mapFields(body), valueContainsNull: containsNull)
    case .structure(let type): .structure(try type.mapFields(body))
    }
  }
}
