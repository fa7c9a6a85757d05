// SPDX-License-Identifier: Apache-2.0

public import Core

/// A column type of the Delta protocol ("Schema Serialization Format").
public indirect enum DeltaType: Sendable, Hashable {
  /// `string`, `long`, `integer`, `short`, `byte`, `float`, `double`, `boolean`, `binary`, `date`, `timestamp`,
  /// `timestamp_ntz`,
  /// `decimal(p,s)`.
  case primitive(String)
  case array(DeltaType, containsNull: Bool)
  case map(DeltaType, DeltaType, valueContainsNull: Bool)
  case structure(StructType)

  static let names: Set<String> = [
    "string", "long", "integer", "short", "byte", "float", "double", "boolean", "binary", "date", "timestamp",
    "timestamp_ntz",
  ]

  /// - Throws: `invalidFile` naming the type that is unknown.
  public init(json: JSONValue, depth: Int = 0) throws {
    guard depth < 64 else { throw PlatformError(.invalidFile, "a table schema is nested too deep") }
    if let name = json.stringValue {
      guard Self.names.contains(name) || (name.hasPrefix("decimal(") && name.hasSuffix(")")) else {
        throw PlatformError(.invalidFile, "column type '\(name.prefix(100))' of the table schema is not supported")
      }
      self = .primitive(name)
      return
    }
    switch json["type"]?.stringValue {
    case "array":
      self = .array(
        try DeltaType(json: json["elementType"] ?? .null, depth: depth + 1),
        containsNull: json["containsNull"]?.boolValue ?? true)
    case "map":
      self = .map(
        try DeltaType(json: json["keyType"] ?? .null, depth: depth + 1),
        try DeltaType(json: json["valueType"] ?? .null, depth: depth + 1),
        valueContainsNull: json["valueContainsNull"]?.boolValue ?? true)
    case "struct": self = .structure(try StructType(json: json, depth: depth + 1))
    default: throw PlatformError(.invalidFile, "the table schema holds an unknown column type")
    }
  }

  public var json: JSONValue {
    switch self {
    case .primitive(let name): .string(name)
    case .array(let item, let containsNull):
      ["type": "array", "elementType": item.json, "containsNull": .bool(containsNull)]
    case .map(let key, let value, let containsNull):
      ["type": "map", "keyType": key.json, "valueType": value.json, "valueContainsNull": .bool(containsNull)]
    case .structure(let type): type.json
    }
  }
}

/// A named column.
public struct StructField: Sendable, Hashable {
  public var name: String
  public var type: DeltaType
  public var nullable: Bool
  public var metadata: [String: JSONValue]

  public init(name: String, type: DeltaType, nullable: Bool = true, metadata: [String: JSONValue] = [:]) {
    self.name = name
    self.type = type
    self.nullable = nullable
    self.metadata = metadata
  }
}

/// A table's schema.
public struct StructType: Sendable, Hashable {
  public var fields: [StructField]
  public init(fields: [StructField]) { self.fields = fields }

  public init(json: JSONValue, depth: Int = 0) throws {
    guard json["type"]?.stringValue == "struct", let items = json["fields"]?.arrayValue else {
      throw PlatformError(.invalidFile, "the table schema is not a struct")
    }
    fields = try items.map { item in
      guard let name = item["name"]?.stringValue else {
        throw PlatformError(.invalidFile, "a column of the table schema has no name")
      }
      return StructField(
        name: name, type: try DeltaType(json: item["type"] ?? .null, depth: depth),
        nullable: item["nullable"]?.boolValue ?? true,
        metadata: item["metadata"]?.objectValue ?? [:])
    }
  }

  /// Reads a `schemaString`.
  public init(parsing text: String) throws { try self.init(json: JSONValue(parsing: text)) }

  public var json: JSONValue {
    [
      "type": "struct",
      "fields": .array(
        fields.map {
          ["name": .string($0.name), "type": $0.type.json, "nullable": .bool($0.nullable), "metadata": .object($0.metadata)]
        }),
    ]
  }

  /// The `schemaString` of a metaData action.
  public var schemaString: String { json.sortedText }
}
