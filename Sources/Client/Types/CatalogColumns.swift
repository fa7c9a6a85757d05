// SPDX-License-Identifier: Apache-2.0

public import Core

/// A column as clients of Unity Catalog read it.
public struct ColumnInfo: Codable, Sendable, Equatable {
  public var name: String
  /// As in `array<bigint>`.
  public var typeText: String
  /// As in `ARRAY`.
  public var typeName: String
  /// The column as a field of a Delta schema, as text.
  public var typeJSON: String
  public var typePrecision: Int
  public var typeScale: Int
  public var position: Int
  public var nullable: Bool
  public var partitionIndex: Int?
  public var comment: String?

  /// - Parameter field: the column's type in the form of the Delta protocol: a text such as `long`, or an object.
  public init(
    name: String, type: JSONValue, position: Int, nullable: Bool = true, partitionIndex: Int? = nil, metadata: [String: JSONValue] = [:]
  ) {
    self.name = name
    self.position = position
    self.nullable = nullable
    self.partitionIndex = partitionIndex
    comment = metadata["comment"]?.stringValue
    typeText = CatalogTypeText.text(type)
    (typeName, typePrecision, typeScale) = CatalogTypeText.name(type)
    if metadata.isEmpty, let word = type.stringValue, (name + word).utf8.allSatisfy({ $0 >= 32 && $0 < 127 && $0 != 34 && $0 != 92 }) {
      // What most columns are, without the way through an encoder; the text is the same.
      typeJSON = #"{"metadata":{},"name":"\#(name)","nullable":\#(nullable),"type":"\#(word)"}"#
    } else {
      let field: JSONValue = ["name": .string(name), "type": type, "nullable": .bool(nullable), "metadata": .object(metadata)]
      typeJSON = field.sortedText
    }
  }

  enum CodingKeys: String, CodingKey {
    case name, position, nullable, comment
    case typeText = "type_text"
    case typeName = "type_name"
    case typeJSON = "type_json"
    case typePrecision = "type_precision"
    case typeScale = "type_scale"
    case partitionIndex = "partition_index"
  }
}

/// Types in three spellings: the Delta protocol's JSON, Unity Catalog's text and name, and the SQL of the catalog's columns.
public enum CatalogTypeText {
  private static let primitives: [(delta: String, text: String, name: String, sql: [String])] = [
    ("boolean", "boolean", "BOOLEAN", ["boolean", "bool"]), ("byte", "tinyint", "BYTE", ["tinyint", "utinyint"]),
    ("short", "smallint", "SHORT", ["smallint"]), ("integer", "int", "INT", ["integer", "int"]),
    ("long", "bigint", "LONG", ["bigint"]), ("float", "float", "FLOAT", ["float", "real"]),
    ("double", "double", "DOUBLE", ["double"]), ("string", "string", "STRING", ["varchar", "text", "string"]),
    ("binary", "binary", "BINARY", ["blob", "binary"]), ("date", "date", "DATE", ["date"]),
    ("timestamp", "timestamp", "TIMESTAMP", ["timestamp with time zone", "timestamptz"]),
    ("timestamp_ntz", "timestamp_ntz", "TIMESTAMP_NTZ", ["timestamp", "timestamp_ntz"]),
  ]

  private static let bySQL = Dictionary(primitives.flatMap { one in one.sql.map { ($0, one.delta) } }, uniquingKeysWith: { first, _ in first })

  /// `array<bigint>` of a Delta type.
  public static func text(_ type: JSONValue) -> String {
    if let word = type.stringValue { return primitives.first { $0.delta == word }?.text ?? word }
    switch type["type"]?.stringValue {
    case "array": return "array<\(text(type["elementType"] ?? .null))>"
    case "map": return "map<\(text(type["keyType"] ?? .null)),\(text(type["valueType"] ?? .null))>"
    case "struct":
      let fields = (type["fields"]?.arrayValue ?? []).map { "\($0["name"]?.stringValue ?? ""):\(text($0["type"] ?? .null))" }
      return "struct<\(fields.joined(separator: ","))>"
    default: return "unknown"
    }
  }

  /// `DECIMAL` of a Delta type, with precision and scale, which are 0 for all others.
  public static func name(_ type: JSONValue) -> (name: String, precision: Int, scale: Int) {
    if let word = type.stringValue {
      if let known = primitives.first(where: { $0.delta == word }) { return (known.name, 0, 0) }
      if word.hasPrefix("decimal("), word.hasSuffix(")") {
        let numbers = word.dropFirst(8).dropLast().split(separator: ",").compactMap { Int($0.filter { $0 != " " }) }
        if numbers.count == 2 { return ("DECIMAL", numbers[0], numbers[1]) }
      }
      return (word == "variant" ? "VARIANT" : "USER_DEFINED_TYPE", 0, 0)
    }
    switch type["type"]?.stringValue {
    case "array": return ("ARRAY", 0, 0)
    case "map": return ("MAP", 0, 0)
    case "struct": return ("STRUCT", 0, 0)
    default: return ("USER_DEFINED_TYPE", 0, 0)
    }
  }

  /// The Delta type of a SQL type as the catalog keeps it, such as `struct(a bigint, b varchar[])`. What has no Delta type stays as text.
  public static func delta(sql: String) -> JSONValue {
    if let word = bySQL[sql] { return .string(word) }
    var parser = SQLTypeParser(sql)
    if let type = parser.type(depth: 0), parser.isAtEnd { return type }
    return .string(sql)
  }

  static func primitive(sql: String) -> String? { primitives.first { $0.sql.contains(sql) }?.delta }
}

/// Reads the type text that `DESCRIBE` shows. Names in double quotes may hold anything.
private struct SQLTypeParser {
  private let bytes: [Character]
  private var at = 0

  init(_ text: String) { bytes = Array(text) }

  var isAtEnd: Bool { bytes[at...].allSatisfy(\.isWhitespace) }

  private mutating func take(_ character: Character) -> Bool {
    while at < bytes.count, bytes[at].isWhitespace { at += 1 }
    guard at < bytes.count, bytes[at] == character else { return false }
    at += 1
    return true
  }

  private mutating func word() -> String {
    while at < bytes.count, bytes[at].isWhitespace { at += 1 }
    let start = at
    while at < bytes.count, bytes[at].isLetter || bytes[at].isNumber || bytes[at] == "_" { at += 1 }
    return String(bytes[start..<at])
  }

  private mutating func fieldName() -> String? {
    guard take("\"") else {
      let plain = word()
      return plain.isEmpty ? nil : plain
    }
    var name = ""
    while at < bytes.count {
      let next = bytes[at]
      at += 1
      if next == "\"" {
        guard at < bytes.count, bytes[at] == "\"" else { return name }
        at += 1
      }
      name.append(next)
    }
    return nil
  }

  mutating func type(depth: Int) -> JSONValue? {
    guard depth < 64 else { return nil }
    var result: JSONValue
    let head = word().lowercased()
    switch head {
    case "struct":
      guard take("(") else { return nil }
      var fields: [JSONValue] = []
      repeat {
        guard let name = fieldName(), let type = type(depth: depth + 1) else { return nil }
        fields.append(["name": .string(name), "type": type, "nullable": true, "metadata": [:]])
      } while take(",")
      guard take(")") else { return nil }
      result = ["type": "struct", "fields": .array(fields)]
    case "map":
      guard take("("), let key = type(depth: depth + 1), take(","), let value = type(depth: depth + 1), take(")") else { return nil }
      result = ["type": "map", "keyType": key, "valueType": value, "valueContainsNull": true]
    case "decimal", "numeric":
      guard take("("), let precision = Int(word()), take(","), let scale = Int(word()), take(")") else { return nil }
      result = .string("decimal(\(precision),\(scale))")
    case "timestamp":
      let before = at
      if word().lowercased() == "with", word().lowercased() == "time", word().lowercased() == "zone" {
        result = "timestamp"
      } else {
        at = before
        result = "timestamp_ntz"
      }
    default:
      guard let known = CatalogTypeText.primitive(sql: head) else { return nil }
      result = .string(known)
    }
    while take("[") {
      _ = word()
      guard take("]") else { return nil }
      result = ["type": "array", "elementType": result, "containsNull": true]
    }
    return result
  }
}
