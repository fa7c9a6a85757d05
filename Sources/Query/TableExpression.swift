// SPDX-License-Identifier: Apache-2.0

import Core
public import DuckDB

/// SQL expressions that a table keeps: CHECK conditions, defaults, generated columns, conditions on partitions.
public enum TableExpression {
  /// Longest expression that a table may keep.
  static let lengthLimit = 16 << 10

  /// Judges an expression without evaluating it, but for plain literals: it may name `columns` only, and neither query, nor aggregate, nor look at several rows.
  /// - Parameters:
  ///   - type: what its value is cast to; nil: it is a condition.
  /// - Throws: `invalidArgument` saying what is wrong.
  public static func check(_ text: String, columns: [Column], castTo type: SQLType? = nil, what: String) throws {
    guard text.utf8.count <= lengthLimit else { throw PlatformError(.invalidArgument, "\(what) is longer than \(lengthLimit) bytes") }
    let database = try Database(settings: .init(memoryLimit: "256MB", threads: 1))
    let connection = try database.connect()
    // Nothing is folded or run: the statement is bound over an empty table.
    try connection.execute("SET TimeZone='UTC'; PRAGMA disable_optimizer")
    let query = try "SELECT 1 FROM rows_of_table WHERE (\(native(text))\n) IS NULL"
    try refuseQueries(query, connection, what: what)
    let list = columns.isEmpty ? "__none INTEGER" : columns.map { SQLText.identifier($0.name) + " " + $0.type.sql }.joined(separator: ", ")
    try connection.execute("CREATE TABLE rows_of_table (\(list)); SET enable_external_access=false; SET lock_configuration=true")
    do {
      _ = try connection.query(query)
      let target = type?.sql ?? "BOOLEAN"
      let cast = try connection.query("SELECT CAST((\(native(text))\n) AS \(target)) AS value, (\(native(text))\n) AS given FROM rows_of_table")
      guard type != nil || cast.columns[1].type == .boolean else {
        throw PlatformError(.invalidArgument, "it is \(cast.columns[1].type.sql), not a condition")
      }
      // A text that is no value of the type would fail every row that takes it.
      if type != nil, try isLiteral(text) { _ = try database.connect().rows("SELECT CAST((\(native(text))\n) AS \(target)) AS value") }
    } catch let error as PlatformError {
      if columns.isEmpty, let end = error.message.firstRange(of: "\nCandidate bindings:") {
        // The engine's own words without the table that is none.
        throw PlatformError(.invalidArgument, "\(what): \(error.message[..<end.lowerBound].split(separator: "!")[0])", hint: "It names no columns.")
      }
      throw PlatformError(.invalidArgument, "\(what): \(error.message)", hint: error.hint)
    }
  }

  /// A quoted text or a number, with its sign.
  private static func isLiteral(_ text: String) throws -> Bool {
    let tokens = try SQLTokens(text).tokens
    guard let last = tokens.last, last.kind == .string || last.kind == .number else { return false }
    return tokens.count == 1 || tokens.count == 2 && (tokens[0].isSymbol("-") || tokens[0].isSymbol("+"))
  }

  /// With names in backticks and literals written as the engine reads them.
  public static func native(_ text: String) throws -> String {
    let tokens = try SQLTokens(text)
    var out: [UInt8] = []
    var done = 0
    for token in tokens.tokens where token.kind == .quoted && tokens.bytes[token.range.lowerBound] == UInt8(ascii: "`") {
      out += tokens.bytes[done..<token.range.lowerBound] + Array(SQLText.identifier(token.text).utf8)
      done = token.range.upperBound
    }
    return try SQLLiterals.written(String(decoding: out + tokens.bytes[done...], as: UTF8.self))
  }

  private static func refuseQueries(_ query: String, _ connection: Connection, what: String) throws {
    guard let text = try connection.rows("SELECT CAST(json_serialize_sql(CAST(? AS VARCHAR)) AS VARCHAR)", [.string(query)]).first?[0].stringValue
    else { throw PlatformError(.invalidArgument, "\(what) is no expression") }
    let tree = try JSONValue(parsing: text)
    guard tree["error"]?.boolValue == false, let statements = tree["statements"]?.arrayValue, statements.count == 1 else {
      throw PlatformError(.invalidArgument, "\(what): \(tree["error_message"]?.stringValue ?? "one expression is expected")")
    }
    // A text that closes the parenthesis around it changes the shape of the query.
    guard let node = statements[0]["node"], node["type"] == "SELECT_NODE", node["from_table"]?["type"] == "BASE_TABLE",
      node["where_clause"]?["class"] == "OPERATOR", node["where_clause"]?["type"] == "OPERATOR_IS_NULL"
    else { throw PlatformError(.invalidArgument, "\(what) is no expression") }
    try refuse(node["where_clause"] ?? .null, what: what)
  }

  private static func refuse(_ node: JSONValue, what: String) throws {
    switch node {
    case .array(let items): for item in items { try refuse(item, what: what) }
    case .object(let members):
      if members["class"] == "SUBQUERY" { throw PlatformError(.invalidArgument, "\(what) must not hold a query") }
      if members["class"] == "WINDOW" { throw PlatformError(.invalidArgument, "\(what) must not look at several rows") }
      if members["class"] == "PARAMETER" { throw PlatformError(.invalidArgument, "\(what) must not hold parameters") }
      for value in members.values { try refuse(value, what: what) }
    default: break
    }
  }
}
