// SPDX-License-Identifier: Apache-2.0

import Core
public import DeltaLog
import DuckDB

/// Column types as Spark and Databricks write them: `BIGINT`, `ARRAY<STRING>`, `STRUCT<a: INT>`.
public enum SparkType {
  /// The type's text in upper case, as CREATE TABLE takes it.
  public static func sql(_ type: DeltaType) -> String {
    switch type {
    case .primitive("byte"): return "TINYINT"
    case .primitive("short"): return "SMALLINT"
    case .primitive("integer"): return "INT"
    case .primitive("long"): return "BIGINT"
    case .primitive(let name): return name.uppercased()
    case .array(let item, _): return "ARRAY<\(sql(item))>"
    case .map(let key, let value, _): return "MAP<\(sql(key)), \(sql(value))>"
    case .structure(let type):
      return "STRUCT<"
        + type.fields.map { field in
          "\(name(field.name)): \(sql(field.type))" + (field.nullable ? "" : " NOT NULL")
            + (field.metadata["comment"]?.stringValue.map { " COMMENT " + SQLText.literal($0) } ?? "")
        }.joined(separator: ", ") + ">"
    }
  }

  /// The type's text in lower case without what is not type, as DESCRIBE shows it: `struct<a:int>`.
  public static func simple(_ type: DeltaType) -> String {
    switch type {
    case .primitive: return sql(type).lowercased()
    case .array(let item, _): return "array<\(simple(item))>"
    case .map(let key, let value, _): return "map<\(simple(key)),\(simple(value))>"
    case .structure(let type): return "struct<" + type.fields.map { "\($0.name):\(simple($0.type))" }.joined(separator: ",") + ">"
    }
  }

  /// The type of a column: with its length where it has one.
  public static func sql(_ field: StructField) -> String { field.characterLimit?.uppercased() ?? sql(field.type) }
  public static func simple(_ field: StructField) -> String { field.characterLimit ?? simple(field.type) }

  /// A name as SQL writes it: plain where that is the same, in backticks otherwise.
  public static func name(_ text: String) -> String {
    let isPlain =
      text.utf8.first.map { $0 < 48 || $0 > 57 } == true
      && text.utf8.allSatisfy { (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == 95 }
      && !reserved.contains(text.uppercased())
    return isPlain ? text : "`" + text.replacing("`", with: "``") + "`"
  }

  /// Words that begin something else where a column's name may stand.
  private static let reserved: Set<String> = ["CONSTRAINT", "PRIMARY", "FOREIGN", "CHECK", "SELECT", "FROM", "WITH", "VALUES"]
}

extension StatementPlan {
  /// A type at the present place.
  /// - Throws: `invalidArgument` for what is not a type.
  mutating func columnType(depth: Int = 0) throws -> DeltaType {
    guard depth < 32 else { throw PlatformError(.invalidArgument, "a column type is nested too deep") }
    guard let first = token, first.kind == .word else { throw expected("a column type") }
    if depth == 0 { characterLimit = nil }
    var type = try baseType(depth)
    if depth > 0 { characterLimit = nil }
    while takeSymbol("[") {
      guard characterLimit == nil else {
        throw PlatformError(.invalidArgument, "a text with a length cannot be part of another type", hint: "Use STRING inside of it.")
      }
      // A fixed length is not kept: Delta tables have lists of any length.
      if token?.kind == .number { position += 1 }
      guard takeSymbol("]") else { throw expected("]") }
      type = .array(type, containsNull: true)
    }
    return type
  }

  /// The length that the last type was given, as metadata keep it.
  mutating func takeCharacterLimit() -> String? {
    defer { characterLimit = nil }
    return characterLimit
  }

  private mutating func baseType(_ depth: Int) throws -> DeltaType {
    guard let word = token?.text.uppercased() else { throw expected("a column type") }
    position += 1
    switch word {
    case "BOOLEAN", "BOOL": return .primitive("boolean")
    case "TINYINT", "BYTE": return .primitive("byte")
    case "SMALLINT", "SHORT": return .primitive("short")
    case "INT", "INTEGER": return .primitive("integer")
    case "BIGINT", "LONG": return .primitive("long")
    case "FLOAT", "REAL": return .primitive("float")
    case "DOUBLE":
      _ = take("PRECISION")
      return .primitive("double")
    case "STRING", "TEXT": return .primitive("string")
    case "VARCHAR", "CHAR", "CHARACTER":
      guard takeSymbol("(") else {
        if word != "VARCHAR" { characterLimit = "char(1)" }
        return .primitive("string")
      }
      guard depth == 0 else {
        throw PlatformError(.invalidArgument, "a text with a length cannot be part of another type", hint: "Use STRING inside of it.")
      }
      let length = try wholeNumber(1...1_000_000_000, "characters")
      guard takeSymbol(")") else { throw expected(")") }
      characterLimit = (word == "VARCHAR" ? "varchar" : "char") + "(\(length))"
      return .primitive("string")
    case "BINARY", "BLOB", "BYTEA": return .primitive("binary")
    case "DATE": return .primitive("date")
    case "TIMESTAMP_NTZ": return .primitive("timestamp_ntz")
    case "TIMESTAMP_LTZ", "TIMESTAMPTZ", "DATETIME": return .primitive("timestamp")
    case "TIMESTAMP":
      if take("WITHOUT", "TIME", "ZONE") { return .primitive("timestamp_ntz") }
      _ = take("WITH", "TIME", "ZONE") || take("WITH", "LOCAL", "TIME", "ZONE")
      return .primitive("timestamp")
    case "DECIMAL", "DEC", "NUMERIC":
      var shape = DecimalShape(precision: 10, scale: 0)
      if takeSymbol("(") {
        shape.precision = try wholeNumber(1...38, "digits")
        if takeSymbol(",") { shape.scale = try wholeNumber(0...shape.precision, "digits behind the point") }
        guard takeSymbol(")") else { throw expected(")") }
      }
      return .primitive(shape.name)
    case "ARRAY":
      let close = try opening()
      let item = try columnType(depth: depth + 1)
      guard takeSymbol(close) else { throw expected(close) }
      return .array(item, containsNull: true)
    case "MAP":
      let close = try opening()
      let key = try columnType(depth: depth + 1)
      guard takeSymbol(",") else { throw expected(",") }
      let value = try columnType(depth: depth + 1)
      guard takeSymbol(close) else { throw expected(close) }
      return .map(key, value, valueContainsNull: true)
    case "STRUCT", "ROW":
      let close = try opening()
      var fields: [StructField] = []
      while !takeSymbol(close) {
        if !fields.isEmpty { guard takeSymbol(",") else { throw expected(",") } }
        guard let token, token.isName else { throw expected("a field's name") }
        position += 1
        _ = takeSymbol(":")
        var field = StructField(name: token.text, type: try columnType(depth: depth + 1))
        if take("NOT", "NULL") { field.nullable = false }
        if take("COMMENT") { field.metadata["comment"] = .string(try text("a comment")) }
        guard !fields.contains(where: { $0.name.lowercased() == field.name.lowercased() }) else {
          throw PlatformError(.invalidArgument, "the field '\(field.name)' is there twice")
        }
        fields.append(field)
      }
      guard !fields.isEmpty else { throw PlatformError(.invalidArgument, "a struct needs fields") }
      return .structure(StructType(fields: fields))
    case "VARIANT", "INTERVAL", "VOID", "OBJECT", "GEOMETRY", "GEOGRAPHY":
      throw PlatformError(.invalidArgument, "columns of type \(word) are not supported", hint: "Use STRING with JSON text, or a STRUCT.")
    default:
      guard let known = try? SQLType(sql: word) else {  // the engine's other names; the reason would only repeat the word
        let names = ["STRING", "BIGINT", "INT", "SMALLINT", "TINYINT", "DOUBLE", "FLOAT", "DECIMAL", "BOOLEAN", "BINARY", "DATE", "TIMESTAMP"]
        throw PlatformError(
          .invalidArgument, "'\(word.prefix(60))' is not a column type",
          hint: Spelling.suggestion(for: word, among: names).map { "Did you mean \($0)?" } ?? "")
      }
      return TypeMapping.delta(known)
    }
  }

  /// `<` or `(`.
  /// - Returns: what closes it.
  private mutating func opening() throws -> String {
    if takeSymbol("<") { return ">" }
    guard takeSymbol("(") else { throw expected("'<'") }
    return ")"
  }

  mutating func wholeNumber(_ range: ClosedRange<Int>, _ what: String) throws -> Int {
    guard let token, token.kind == .number, let value = Int(token.text), range.contains(value) else {
      throw PlatformError(.invalidArgument, "\(what): a whole number from \(range.lowerBound) to \(range.upperBound) is expected")
    }
    position += 1
    return value
  }

  /// A text in single quotes.
  mutating func text(_ what: String) throws -> String {
    guard let token, token.kind == .string else { throw expected("\(what) in quotes") }
    position += 1
    return token.text
  }
}
