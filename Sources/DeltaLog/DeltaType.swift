// SPDX-License-Identifier: Apache-2.0

public import Core

/// A column type of the Delta protocol ("Schema Serialization Format").
public indirect enum DeltaType: Sendable, Hashable {
  /// `string`, `long`, `integer`, `short`, `byte`, `float`, `double`, `boolean`, `binary`, `date`, `timestamp`,
  /// `timestamp_ntz`, `decimal(p,s)`; `void` for a column that is always null.
  case primitive(String)
  case array(DeltaType, containsNull: Bool)
  case map(DeltaType, DeltaType, valueContainsNull: Bool)
  case structure(StructType)

  static let names: Set<String> = [
    "string", "long", "integer", "short", "byte", "float", "double", "boolean", "binary", "date", "timestamp",
    "timestamp_ntz", "void",
  ]

  /// - Throws: `invalidFile` naming the type that is unknown.
  public init(json: JSONValue, depth: Int = 0) throws {
    guard depth < 64 else { throw PlatformError(.invalidFile, "a table schema is nested too deep") }
    if let name = json.stringValue {
      if let decimal = DecimalShape(name) {
        self = .primitive(decimal.name)
        return
      }
      guard Self.names.contains(name) else {
        throw PlatformError(.invalidFile, "the type '\(name.prefix(100))' is not supported")
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

/// Digits of a decimal type.
public struct DecimalShape: Sendable, Hashable {
  /// All digits, 1 to 38.
  public var precision: Int
  /// Digits behind the point.
  public var scale: Int

  public init(precision: Int, scale: Int) {
    self.precision = precision
    self.scale = scale
  }

  /// `decimal(10,2)`, also with spaces; `decimal` alone has ten digits and no fraction. nil for anything else.
  public init?(_ name: String) {
    guard name.hasPrefix("decimal") else { return nil }
    if name == "decimal" {
      self.init(precision: 10, scale: 0)
      return
    }
    guard name.hasPrefix("decimal("), name.hasSuffix(")") else { return nil }
    let parts = name.dropFirst(8).dropLast().split(separator: ",", omittingEmptySubsequences: false).map { Int($0.trimmedSpaces) }
    guard parts.count == 2, let precision = parts[0], let scale = parts[1], (1...38).contains(precision), (0...precision).contains(scale)
    else { return nil }
    self.init(precision: precision, scale: scale)
  }

  public var name: String { "decimal(\(precision),\(scale))" }
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
      let type: DeltaType
      do { type = try DeltaType(json: item["type"] ?? .null, depth: depth) } catch {
        throw PlatformError(.invalidFile, "column '\(name.prefix(100))': \(PlatformError.from(error).message)")
      }
      return StructField(
        name: name, type: type,
        nullable: item["nullable"]?.boolValue ?? true,
        metadata: item["metadata"]?.objectValue ?? [:])
    }
  }

  /// Reads a `schemaString`.
  public init(parsing text: String) throws {
    do { try self.init(json: JSONScanner.value(text)) } catch {
      throw PlatformError(.invalidFile, "the table schema cannot be read: \(PlatformError.from(error).message)")
    }
  }

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
  public var schemaString: String { JSONText.text(of: json) }
}
