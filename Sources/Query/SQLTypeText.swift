// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

/// Type names as people who come from Spark write them.
public enum SQLTypeText {
  /// The engine's spelling of a type: `STRING`, `LONG`, `ARRAY<INT>`, `MAP<STRING, INT>`, `STRUCT<a: INT>` and the engine's own.
  /// - Throws: `invalidArgument` for anything else.
  public static func engine(_ text: String) throws -> String {
    var parser = try Parser(text)
    let type = try parser.type(depth: 0)
    guard parser.isAtEnd else { throw parser.unknown() }
    return type
  }

  private static let plain: [String: String] = [
    "BOOLEAN": "BOOLEAN", "BOOL": "BOOLEAN", "TINYINT": "TINYINT", "BYTE": "TINYINT", "SMALLINT": "SMALLINT", "SHORT": "SMALLINT",
    "INT": "INTEGER", "INTEGER": "INTEGER", "BIGINT": "BIGINT", "LONG": "BIGINT", "FLOAT": "FLOAT", "REAL": "FLOAT", "DOUBLE": "DOUBLE",
    "STRING": "VARCHAR", "VARCHAR": "VARCHAR", "CHAR": "VARCHAR", "TEXT": "VARCHAR", "BINARY": "BLOB", "BLOB": "BLOB", "DATE": "DATE",
    "TIMESTAMP": "TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_LTZ": "TIMESTAMP WITH TIME ZONE",
    "TIMESTAMP_NTZ": "TIMESTAMP", "DATETIME": "TIMESTAMP",
  ]

  private struct Parser {
    let text: String
    let tokens: [SQLTokens.Token]
    var at = 0
    init(_ text: String) throws {
      self.text = text
      tokens = try SQLTokens(text).tokens
    }

    var isAtEnd: Bool { at == tokens.count }
    var next: SQLTokens.Token? { at < tokens.count ? tokens[at] : nil }

    func unknown() -> PlatformError {
      PlatformError(
        .invalidArgument, "the type '\(text.prefix(100))' is not known",
        hint: "Known are BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p,s), STRING, BINARY, DATE, TIMESTAMP, TIMESTAMP_NTZ, "
          + "ARRAY<..>, MAP<..> and STRUCT<..>.")
    }

    mutating func take(_ symbol: String) -> Bool {
      guard next?.isSymbol(symbol) == true else { return false }
      at += 1
      return true
    }

    mutating func type(depth: Int) throws -> String {
      guard depth < 32, let word = next, word.kind == .word else { throw unknown() }
      at += 1
      let name = word.text.uppercased()
      var found: String
      switch name {
      case "DECIMAL", "DEC", "NUMERIC":
        found = "DECIMAL(10,0)"
        if take("(") {
          let width = try number()
          let scale = take(",") ? try number() : 0
          guard take(")"), (1...38).contains(width), scale <= width else { throw unknown() }
          found = "DECIMAL(\(width),\(scale))"
        }
      case "ARRAY", "LIST":
        guard take("<") else { throw unknown() }
        found = try type(depth: depth + 1) + "[]"
        guard take(">") else { throw unknown() }
      case "MAP":
        let closing = take("<") ? ">" : ")"
        if closing == ")", !take("(") { throw unknown() }
        let key = try type(depth: depth + 1)
        guard take(",") else { throw unknown() }
        found = "MAP(\(key), \(try type(depth: depth + 1)))"
        guard take(closing) else { throw unknown() }
      case "STRUCT":
        let closing = take("<") ? ">" : ")"
        if closing == ")", !take("(") { throw unknown() }
        var fields: [String] = []
        repeat {
          guard let field = next, field.isName else { throw unknown() }
          at += 1
          _ = take(":")
          fields.append("\(SQLText.identifier(field.text)) \(try type(depth: depth + 1))")
        } while take(",")
        guard take(closing) else { throw unknown() }
        found = "STRUCT(\(fields.joined(separator: ", ")))"
      default:
        guard let known = SQLTypeText.plain[name] else { throw unknown() }
        found = known
        if ["VARCHAR", "CHAR"].contains(name), take("(") {
          _ = try number()
          guard take(")") else { throw unknown() }
        }
        if name == "TIMESTAMP", next?.isWord("WITH") == true, at + 2 < tokens.count, tokens[at + 1].isWord("TIME"), tokens[at + 2].isWord("ZONE") {
          at += 3
        }
      }
      while take("[") {
        guard take("]") else { throw unknown() }
        found += "[]"
      }
      return found
    }

    private mutating func number() throws -> Int {
      guard let token = next, token.kind == .number, let number = Int(token.text) else { throw unknown() }
      at += 1
      return number
    }
  }
}
