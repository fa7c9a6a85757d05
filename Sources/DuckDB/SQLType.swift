// SPDX-License-Identifier: Apache-2.0

import Core

/// A field of a `STRUCT`.
public struct SQLField: Sendable, Hashable {
  public var name: String
  public var type: SQLType
  public init(name: String, type: SQLType) {
    self.name = name
    self.type = type
  }
}

/// A column type of the SQL engine. Coded as its SQL text, for example `DECIMAL(10,2)` or `FLOAT[]`.
public indirect enum SQLType: Sendable, Hashable, CustomStringConvertible {
  case boolean, tinyint, smallint, integer, bigint, hugeint, float, double
  /// Width and scale, width 1...38.
  case decimal(Int, Int)
  case varchar, blob, date
  /// Microseconds since 1970 without and with a time zone; both hold UTC here.
  case timestamp, timestampTZ
  case list(SQLType)
  case array(SQLType, Int)
  case structure([SQLField])
  case map(SQLType, SQLType)
  /// A type without fast access: read it as text (`CAST(x AS VARCHAR)`).
  case other(String)

  /// The type as SQL writes it.
  public var sql: String {
    switch self {
    case .boolean: "BOOLEAN"
    case .tinyint: "TINYINT"
    case .smallint: "SMALLINT"
    case .integer: "INTEGER"
    case .bigint: "BIGINT"
    case .hugeint: "HUGEINT"
    case .float: "FLOAT"
    case .double: "DOUBLE"
    case .decimal(let width, let scale): "DECIMAL(\(width),\(scale))"
    case .varchar: "VARCHAR"
    case .blob: "BLOB"
    case .date: "DATE"
    case .timestamp: "TIMESTAMP"
    case .timestampTZ: "TIMESTAMP WITH TIME ZONE"
    case .list(let item): item.sql + "[]"
    case .array(let item, let count): item.sql + "[\(count)]"
    case .structure(let fields):
      "STRUCT(" + fields.map { SQLText.identifier($0.name) + " " + $0.type.sql }.joined(separator: ", ") + ")"
    case .map(let key, let value): "MAP(\(key.sql), \(value.sql))"
    case .other(let text): text
    }
  }

  public var description: String { sql }

  /// Whether `Column` reads it without a cast to text.
  public var isDirect: Bool {
    switch self {
    case .other: false
    case .list(let item), .array(let item, _): item.isDirect
    case .structure(let fields): !hasNamelessFields && fields.allSatisfy { $0.type.isDirect }
    case .map(let key, let value): key.isDirect && value.isDirect
    default: true
    }
  }

  /// Whether it is, or holds, a struct of values without names, such as `row(1, 2)`: values are found by name.
  public var hasNamelessFields: Bool {
    switch self {
    case .list(let item), .array(let item, _): item.hasNamelessFields
    case .structure(let fields): fields.contains { $0.name.isEmpty || $0.type.hasNamelessFields }
    case .map(let key, let value): key.hasNamelessFields || value.hasNamelessFields
    default: false
    }
  }
}

/// Quoting of names and texts that go into SQL.
public enum SQLText {
  /// `name` in double quotes.
  public static func identifier(_ name: String) -> String {
    "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
  }
  /// `text` in single quotes.
  public static func literal(_ text: String) -> String {
    "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''") + "'"
  }
  /// A list of quoted texts: `['a', 'b']`.
  public static func list(_ texts: [String]) -> String { "[" + texts.map(literal).joined(separator: ", ") + "]" }
}

extension SQLType: Codable {
  public init(from decoder: any Decoder) throws {
    self = try SQLType(sql: decoder.singleValueContainer().decode(String.self))
  }
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(sql)
  }

  /// Reads the text that `sql` writes, and the usual other names (`text`, `int`, `timestamptz`).
  /// - Throws: `invalidArgument` for what is not a type.
  public init(sql text: String) throws {
    var parser = SQLTypeParser(text: text)
    self = try parser.whole()
  }
}

/// Recursive descent over the text of a type, at most 64 levels deep.
private struct SQLTypeParser {
  let text: String
  var rest: Substring

  init(text: String) {
    self.text = text
    rest = Substring(text)
  }

  var failure: PlatformError { PlatformError(.invalidArgument, "'\(text.prefix(200))' is not a column type") }

  mutating func whole() throws -> SQLType {
    let type = try parse(depth: 0)
    skip()
    guard rest.isEmpty else { throw failure }
    return type
  }

  mutating func skip() { while rest.first?.isWhitespace == true { rest.removeFirst() } }

  mutating func take(_ character: Character) -> Bool {
    skip()
    guard rest.first == character else { return false }
    rest.removeFirst()
    return true
  }

  mutating func expect(_ character: Character) throws { if !take(character) { throw failure } }

  mutating func word() -> String {
    skip()
    let found = rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" }
    rest.removeFirst(found.count)
    return String(found)
  }

  mutating func name() throws -> String {
    skip()
    guard take("\"") else { return word() }
    var out = ""
    while let character = rest.popFirst() {
      if character == "\"" {
        if rest.first != "\"" { return out }
        rest.removeFirst()
      }
      out.append(character)
    }
    throw failure
  }

  mutating func number() throws -> Int {
    guard let value = Int(word()), value >= 0 else { throw failure }
    return value
  }

  mutating func parse(depth: Int) throws -> SQLType {
    guard depth < 64 else { throw failure }
    var type = try base(depth: depth)
    while take("[") {
      if take("]") {
        type = .list(type)
      } else {
        let count = try number()
        try expect("]")
        type = .array(type, count)
      }
    }
    return type
  }

  mutating func base(depth: Int) throws -> SQLType {
    skip()
    if rest.hasPrefix("\"NULL\"") {
      rest.removeFirst(6)
      return .other("\"NULL\"")
    }
    let word = word().uppercased()
    switch word {
    case "BOOLEAN", "BOOL": return .boolean
    case "TINYINT": return .tinyint
    case "SMALLINT": return .smallint
    case "INTEGER", "INT": return .integer
    case "BIGINT", "LONG": return .bigint
    case "HUGEINT": return .hugeint
    case "FLOAT", "REAL": return .float
    case "DOUBLE":
      let before = rest
      if self.word().uppercased() != "PRECISION" { rest = before }
      return .double
    case "VARCHAR", "TEXT", "STRING": return .varchar
    case "BLOB", "BINARY", "BYTEA": return .blob
    case "DATE": return .date
    case "TIMESTAMPTZ": return .timestampTZ
    case "TIMESTAMP", "DATETIME":
      let before = rest
      guard self.word().uppercased() == "WITH" else {
        rest = before
        return .timestamp
      }
      guard self.word().uppercased() == "TIME", self.word().uppercased() == "ZONE" else { throw failure }
      return .timestampTZ
    case "DECIMAL", "NUMERIC":
      guard take("(") else { return .decimal(18, 3) }
      let width = try number()
      let scale = take(",") ? try number() : 0
      try expect(")")
      guard (1...38).contains(width), scale <= width else { throw failure }
      return .decimal(width, scale)
    case "STRUCT":
      try expect("(")
      var fields: [SQLField] = []
      repeat { fields.append(SQLField(name: try name(), type: try parse(depth: depth + 1))) } while take(",")
      try expect(")")
      return .structure(fields)
    case "MAP":
      try expect("(")
      let key = try parse(depth: depth + 1)
      try expect(",")
      let value = try parse(depth: depth + 1)
      try expect(")")
      return .map(key, value)
    case "": throw failure
    default:
      let known = [
        "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT", "TIME", "TIMETZ", "INTERVAL", "UUID", "ENUM", "BIT",
        "UNION",
        "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "UNKNOWN",
      ]
      guard known.contains(word) else { throw failure }
      return .other(word)
    }
  }
}
