// SPDX-License-Identifier: Apache-2.0

public import Core

extension CatalogTypeText {
  /// The Delta type of a type as clients of Unity Catalog write it, such as `array<struct<a:bigint,b:decimal(10,2)>>`. Here `timestamp` has a
  /// time zone, as in Spark.
  /// - Throws: `invalidArgument` for what is no type.
  public static func delta(text: String) throws -> JSONValue {
    var parser = SparkTypeParser(bytes: Array(text.utf8)[...])
    guard text.utf8.count <= 65_536, let type = parser.type(depth: 0), parser.isAtEnd else {
      throw PlatformError(.invalidArgument, "'\(text.prefix(100))' is not a type")
    }
    return type
  }
}

/// Reads Spark's type text. Names of fields may be in backticks.
private struct SparkTypeParser {
  var bytes: ArraySlice<UInt8>

  private static let words: [String: String] = [
    "boolean": "boolean", "bool": "boolean", "byte": "byte", "tinyint": "byte", "short": "short", "smallint": "short", "int": "integer",
    "integer": "integer", "long": "long", "bigint": "long", "float": "float", "real": "float", "double": "double", "string": "string",
    "varchar": "string", "char": "string", "binary": "binary", "date": "date", "timestamp": "timestamp", "timestamp_ntz": "timestamp_ntz",
    "variant": "variant",
  ]

  private mutating func skipSpaces() { while bytes.first == 32 { bytes.removeFirst() } }

  var isAtEnd: Bool { bytes.allSatisfy { $0 == 32 } }

  private mutating func take(_ character: Character) -> Bool {
    skipSpaces()
    guard bytes.first == character.asciiValue else { return false }
    bytes.removeFirst()
    return true
  }

  private mutating func word() -> String {
    skipSpaces()
    let word = bytes.prefix { $0 >= 128 || $0 == 95 || (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) }
    bytes = bytes.dropFirst(word.count)
    return String(decoding: word, as: UTF8.self)
  }

  private mutating func fieldName() -> String? {
    guard take("`") else {
      let name = word()
      return name.isEmpty ? nil : name
    }
    var name: [UInt8] = []
    while let next = bytes.popFirst() {
      if next == 96 {
        guard bytes.first == 96 else { return String(decoding: name, as: UTF8.self) }
        bytes.removeFirst()
      }
      name.append(next)
    }
    return nil
  }

  private mutating func number() -> Int? { Int(word()) }

  mutating func type(depth: Int) -> JSONValue? {
    guard depth < 64 else { return nil }
    let name = word().lowercased()
    switch name {
    case "array":
      guard take("<"), let element = type(depth: depth + 1), take(">") else { return nil }
      return ["type": "array", "elementType": element, "containsNull": true]
    case "map":
      guard take("<"), let key = type(depth: depth + 1), take(","), let value = type(depth: depth + 1), take(">") else { return nil }
      return ["type": "map", "keyType": key, "valueType": value, "valueContainsNull": true]
    case "struct":
      guard take("<") else { return nil }
      var fields: [JSONValue] = []
      if take(">") { return ["type": "struct", "fields": []] }
      repeat {
        guard let field = fieldName() else { return nil }
        _ = take(":")
        guard let type = type(depth: depth + 1) else { return nil }
        fields.append(["name": .string(field), "type": type, "nullable": true, "metadata": [:]])
      } while take(",")
      return take(">") ? ["type": "struct", "fields": .array(fields)] : nil
    case "decimal", "dec", "numeric":
      guard take("(") else { return "decimal(10,0)" }
      guard let precision = number(), (1...38).contains(precision) else { return nil }
      var scale = 0
      if take(",") {
        guard let given = number(), (0...precision).contains(given) else { return nil }
        scale = given
      }
      return take(")") ? .string("decimal(\(precision),\(scale))") : nil
    default:
      guard let known = Self.words[name] else { return nil }
      if take("(") { guard (name == "varchar" || name == "char"), number() != nil, take(")") else { return nil } }
      return .string(known)
    }
  }
}
