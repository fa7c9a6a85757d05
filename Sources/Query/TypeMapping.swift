// SPDX-License-Identifier: Apache-2.0

import Core
public import DeltaLog
public import DuckDB

/// Column types between the SQL engine and Delta tables. A `TIMESTAMP` is stored as Delta's `timestamp` (UTC).
public enum TypeMapping {
  /// The type that values of `type` are stored as: what Delta lacks becomes a wider type or text.
  public static func stored(_ type: SQLType) -> SQLType {
    switch type {
    case .timestamp: .timestampTZ
    case .hugeint: .decimal(38, 0)
    case .other("UTINYINT"): .smallint
    case .other("USMALLINT"): .integer
    case .other("UINTEGER"): .bigint
    case .other("UBIGINT"): .decimal(20, 0)
    case .other("TIMESTAMP_S"), .other("TIMESTAMP_MS"), .other("TIMESTAMP_NS"): .timestampTZ
    case .other: .varchar
    case .list(let item), .array(let item, _): .list(stored(item))
    case .map(let key, let value): .map(stored(key), stored(value))
    case .structure(let fields): .structure(fields.map { SQLField(name: $0.name, type: stored($0.type)) })
    default: type
    }
  }

  public static func delta(_ type: SQLType) -> DeltaType {
    switch stored(type) {
    case .boolean: .primitive("boolean")
    case .tinyint: .primitive("byte")
    case .smallint: .primitive("short")
    case .integer: .primitive("integer")
    case .bigint: .primitive("long")
    case .float: .primitive("float")
    case .double: .primitive("double")
    case .decimal(let width, let scale): .primitive("decimal(\(width),\(scale))")
    case .blob: .primitive("binary")
    case .date: .primitive("date")
    case .timestampTZ, .timestamp: .primitive("timestamp")
    case .list(let item), .array(let item, _): .array(delta(item), containsNull: true)
    case .map(let key, let value): .map(delta(key), delta(value), valueContainsNull: true)
    case .structure(let fields):
      .structure(StructType(fields: fields.map { StructField(name: $0.name, type: delta($0.type)) }))
    case .varchar, .hugeint, .other: .primitive("string")
    }
  }

  public static func schema(_ columns: [Column]) -> StructType {
    StructType(fields: columns.map { StructField(name: $0.name, type: delta($0.type)) })
  }

  /// - Throws: `invalidFile` for a type that is unknown.
  public static func sql(_ type: DeltaType) throws -> SQLType {
    switch type {
    case .primitive("boolean"): return .boolean
    case .primitive("byte"): return .tinyint
    case .primitive("short"): return .smallint
    case .primitive("integer"): return .integer
    case .primitive("long"): return .bigint
    case .primitive("float"): return .float
    case .primitive("double"): return .double
    case .primitive("string"), .primitive("void"): return .varchar
    case .primitive("binary"): return .blob
    case .primitive("date"): return .date
    case .primitive("timestamp"): return .timestampTZ
    case .primitive("timestamp_ntz"): return .timestamp
    case .primitive(let name):
      guard let decimal = try? SQLType(sql: name), case .decimal = decimal else {  // the reason adds nothing to the name
        throw PlatformError(.invalidFile, "column type '\(name)' is not supported")
      }
      return decimal
    case .array(let item, _): return .list(try sql(item))
    case .map(let key, let value, _): return .map(try sql(key), try sql(value))
    case .structure(let type): return .structure(try type.fields.map { SQLField(name: $0.name, type: try sql($0.type)) })
    }
  }

  public static func columns(_ schema: StructType) throws -> [Column] {
    try schema.fields.map { Column($0.name, try sql($0.type)) }
  }
}
