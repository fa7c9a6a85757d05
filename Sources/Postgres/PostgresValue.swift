// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation

/// One value that goes to or comes from Postgres.
///
/// Parameters travel beside the statement, never inside it. They are sent in text form without a type, so that the server
/// takes the type from the place where `$n` stands (an `int` may go into an `integer`, `bigint` or `numeric` column);
/// `bytes` go as hexadecimal text. Where the place says nothing, write a cast: `SELECT $1::bigint`.
public enum PostgresValue: Sendable, Hashable {
  case null
  case bool(Bool)
  case int(Int)
  case double(Double)
  case text(String)
  case bytes(Data)
  /// JSON text for a `json` or `jsonb` place.
  case json(String)
  /// A moment, kept to the microsecond, for a `timestamptz` place.
  case timestamp(Date)
  case textArray([String])
  /// With NULLs among the texts. Comes back as text.
  case optionalTextArray([String?])

  /// `value` as JSON with sorted keys.
  public static func encoding(_ value: JSONValue) -> PostgresValue { .json(value.sortedText) }
  public static func optional(_ value: Bool?) -> PostgresValue { value.map(PostgresValue.bool) ?? .null }
  public static func optional(_ value: Int?) -> PostgresValue { value.map(PostgresValue.int) ?? .null }
  public static func optional(_ value: Double?) -> PostgresValue { value.map(PostgresValue.double) ?? .null }
  public static func optional(_ value: String?) -> PostgresValue { value.map(PostgresValue.text) ?? .null }
  public static func optional(_ value: Date?) -> PostgresValue { value.map(PostgresValue.timestamp) ?? .null }
  public static func optional(_ value: JSONValue?) -> PostgresValue { value.map(PostgresValue.encoding) ?? .null }

  /// What the value is, for messages; never its content.
  var kind: String {
    switch self {
    case .null: "null"
    case .bool: "bool"
    case .int: "int"
    case .double: "double"
    case .text: "text"
    case .bytes: "bytes"
    case .json: "json"
    case .timestamp: "timestamp"
    case .textArray, .optionalTextArray: "text array"
    }
  }
}

extension PostgresValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
  ExpressibleByBooleanLiteral, ExpressibleByNilLiteral
{
  public init(stringLiteral value: String) { self = .text(value) }
  public init(integerLiteral value: Int) { self = .int(value) }
  public init(floatLiteral value: Double) { self = .double(value) }
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  public init(nilLiteral: ()) { self = .null }
}

extension PostgresValue {
  /// The text form that Postgres reads (input functions of the types; arrays and bytea in their literal syntax), or nil for NULL.
  /// - Throws: `invalidArgument` when a text holds U+0000, which Postgres cannot store. `place` says which value it was.
  func textForm(_ place: @autoclosure () -> String) throws -> String? {
    switch self {
    case .null: return nil
    case .bool(let flag): return flag ? "t" : "f"
    case .int(let number): return String(number)
    case .double(let number):
      if number.isNaN { return "NaN" }
      if number.isInfinite { return number < 0 ? "-Infinity" : "Infinity" }
      return number.description
    case .text(let text):
      try Self.refuseNUL(text, place())
      return text
    case .json(let text):
      try Self.refuseNUL(text, place())
      return StoredJSON.escaped(text)
    case .bytes(let data): return "\\x" + data.hexadecimal
    case .timestamp(let date): return try PostgresTimestamp.text(date)
    case .textArray(let items): return try Self.array(items, place())
    case .optionalTextArray(let items): return try Self.array(items, place())
    }
  }

  private static func array(_ items: [String?], _ place: @autoclosure () -> String) throws -> String {
    var out = "{"
    for (index, item) in items.enumerated() {
      if index > 0 { out += "," }
      guard let item else {
        out += "NULL"
        continue
      }
      try refuseNUL(item, place())
      out += "\""
      if item.utf8.contains(where: { $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") }) {
        for scalar in item.unicodeScalars {
          if scalar == "\"" || scalar == "\\" { out.unicodeScalars.append("\\") }
          out.unicodeScalars.append(scalar)
        }
      } else {
        out += item
      }
      out += "\""
    }
    return out + "}"
  }

  private static func refuseNUL(_ text: String, _ place: String) throws {
    if text.utf8.contains(0) {
      throw PlatformError(
        .invalidArgument, "\(place): the text holds a NUL character (U+0000), which Postgres cannot store",
        hint: "Remove it, or send bytes.", number: "PLT-1108")
    }
  }
}
