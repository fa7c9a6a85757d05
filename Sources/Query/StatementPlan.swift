// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation

/// One SQL statement, taken apart: what it is, which tables it reads and writes, and the query for the executor.
///
/// Tables may carry `VERSION AS OF 3` or `TIMESTAMP AS OF '2026-01-31 12:00:00'` (UTC) behind their name. In `sql` each
/// reference is replaced by a view's name (with the table's name as its alias), so the engine never sees catalogs:
/// columns are qualified by alias or table name (`t.x`), not by schema (`demo.t.x`).
public struct StatementPlan: Sendable {
  /// A table that the query reads.
  public struct Reference: Sendable, Hashable {
    public var name: QualifiedName
    public var version: Int64?
    public var timestampMilliseconds: Int64?
    /// The name to give in `StatementSpec.Table.view`.
    public var view: String
  }

  public internal(set) var kind = StatementKind.select
  /// The query with replaced names; empty for statements that run no query.
  public private(set) var sql = ""
  public internal(set) var references: [Reference] = []
  /// The table that is created, filled, dropped or described; for `showTables` and `createSchema` the name is empty.
  public internal(set) var target: QualifiedName?
  /// Columns that `INSERT INTO t (a, b)` names.
  public internal(set) var insertColumns: [String] = []
  /// The other clauses of an INSERT.
  public internal(set) var insert = InsertOptions()
  /// `WITH SCHEMA EVOLUTION`: columns of the rows that the table lacks are added to it.
  public internal(set) var evolvesSchema = false
  /// What a statement of kind `table` does with `target`.
  public internal(set) var command: TableCommand?
  /// What `CREATE TABLE .. AS` says of the table beside the query.
  public internal(set) var definition: TableDefinition?
  /// `IF EXISTS` or `IF NOT EXISTS`.
  public internal(set) var isConditional = false
  /// `DESCRIBE HISTORY t LIMIT n`.
  public private(set) var limit: Int?
  /// `CREATE OR REPLACE TABLE`, `INSERT OVERWRITE`.
  public internal(set) var replaces = false

  /// Table functions that read nothing from outside.
  static let harmlessFunctions: Set<String> = [
    "range", "generate_series", "unnest", "json_each", "json_tree", "repeat", "repeat_row",
  ]

  /// By `Reference.view`: what each use of the table asks of its rows. `__target` stands for the table whose rows change.
  public internal(set) var filters: [String: [TableFilter]] = [:]

  var change: ChangeStatement?
  let source: SQLTokens
  var position = 0
  let defaults: (catalog: String, schema: String)
  /// Names that are views of the executor's own and no tables.
  private var internalNames: Set<String> = []

  /// - Parameter catalog, schema: complete names of one or two parts.
  /// - Throws: `invalidArgument` for bad SQL, more than one statement, or a statement that is not supported;
  ///   `permissionDenied` for functions that read files.
  public init(parsing text: String, catalog: String, schema: String) throws {
    defaults = (catalog, schema)
    var text = text
    let first = try SQLTokens(text)
    if let last = first.tokens.last, last.isSymbol(";") { text = first.text(0..<last.range.lowerBound) }
    source = try SQLTokens(text)
    try parse()
  }

  /// A query around pieces of another statement, whose references it goes on counting.
  init(
    query text: String, internalNames: Set<String>, references: [Reference], defaults: (catalog: String, schema: String)
  ) throws {
    self.defaults = defaults
    self.internalNames = internalNames
    self.references = references
    source = try SQLTokens(text)
    try parseQuery()
  }

  var token: SQLTokens.Token? { position < source.tokens.count ? source.tokens[position] : nil }

  private func unsupported() -> PlatformError {
    PlatformError(
      .invalidArgument, "the statement is not supported",
      hint:
        "Supported are SELECT, EXPLAIN, CREATE TABLE, ALTER TABLE, INSERT, UPDATE, DELETE, MERGE, TRUNCATE, OPTIMIZE, VACUUM, RESTORE, CREATE SCHEMA, DROP TABLE, SHOW and DESCRIBE."
    )
  }

  mutating func take(_ words: String...) -> Bool {
    let found = words.enumerated().allSatisfy { offset, word in
      position + offset < source.tokens.count && source.tokens[position + offset].isWord(word)
    }
    if found { position += words.count }
    return found
  }

  mutating func name() throws -> [String] {
    var parts: [String] = []
    repeat {
      guard let token, token.isName else { throw PlatformError(.invalidArgument, "a name is expected in the statement") }
      parts.append(token.text)
      position += 1
      guard self.token?.isSymbol(".") == true else { break }
      position += 1
    } while true
    guard parts.count <= 3, parts.allSatisfy({ !$0.isEmpty }) else {
      throw PlatformError(.invalidArgument, "the name '\(parts.joined(separator: "."))' has too many or empty parts")
    }
    return parts
  }

  func qualified(_ parts: [String]) -> QualifiedName {
    QualifiedName(
      catalog: parts.count > 2 ? parts[0] : defaults.catalog,
      schema: parts.count > 1 ? parts[parts.count - 2] : defaults.schema,
      name: parts[parts.count - 1])
  }

  mutating func expectEnd() throws { if token != nil { throw unsupported() } }

  private mutating func parse() throws {
    guard let first = token else { throw PlatformError(.invalidArgument, "the text holds no SQL statement") }
    if try parseTableCommand() { return }
    if take("CREATE", "SCHEMA") {
      kind = .createSchema
      isConditional = take("IF", "NOT", "EXISTS")
      let parts = try name()
      guard parts.count <= 2 else { throw PlatformError(.invalidArgument, "a schema's name has one or two parts") }
      target = QualifiedName(
        catalog: parts.count == 2 ? parts[0] : defaults.catalog, schema: parts[parts.count - 1], name: "")
      try expectEnd()
    } else if take("INSERT") {
      try parseInsert()
    } else if take("DELETE", "FROM") {
      try parseDelete()
    } else if take("UPDATE") {
      try parseUpdate()
    } else if take("MERGE", "WITH", "SCHEMA", "EVOLUTION", "INTO") || take("MERGE", "INTO") {
      evolvesSchema = !source.tokens[1].isWord("INTO")
      try parseMerge()
    } else if take("TRUNCATE", "TABLE") {
      kind = .truncate
      target = qualified(try name())
      try expectEnd()
    } else if take("DROP", "TABLE") {
      kind = .dropTable
      isConditional = take("IF", "EXISTS")
      target = qualified(try name())
      try expectEnd()
    } else if take("SHOW", "TABLES") {
      kind = .showTables
      var parts: [String] = []
      if take("IN") || take("FROM") { parts = try name() }
      target = QualifiedName(
        catalog: parts.count == 2 ? parts[0] : defaults.catalog, schema: parts.last ?? defaults.schema, name: "")
      try expectEnd()
    } else if take("DESCRIBE", "HISTORY") || take("DESCRIBE", "DETAIL") {
      kind = source.tokens[1].isWord("HISTORY") ? .describeHistory : .describeDetail
      target = qualified(try name())
      if kind == .describeHistory, take("LIMIT") {
        guard let number = token.flatMap({ Int($0.text) }), (1...10_000).contains(number) else {
          throw PlatformError(.invalidArgument, "LIMIT needs a number from 1 to 10000")
        }
        limit = number
        position += 1
      }
      try expectEnd()
    } else if take("EXPLAIN") {
      kind = .explain
      try parseQuery()
    } else if ["SELECT", "WITH", "FROM", "VALUES"].contains(where: first.isWord) || first.isSymbol("(") {
      try parseQuery()
    } else {
      throw unsupported()
    }
  }

  mutating func takeSymbol(_ symbol: String) -> Bool {
    guard token?.isSymbol(symbol) == true else { return false }
    position += 1
    return true
  }

  /// Whether the parenthesis ahead holds names and not a query.
  func isColumnList() -> Bool {
    let next = source.tokens[position + 1]
    return next.isName && !["SELECT", "WITH", "FROM", "VALUES"].contains(where: next.isWord)
  }

  // MARK: the query

  /// Takes over the query of a plan that was made for it, references and all.
  mutating func adopt(query plan: StatementPlan) { (sql, references, filters) = (plan.sql, plan.references, plan.filters) }

  private struct Travel {
    var version: Int64?
    var timestamp: String?
  }

  /// Takes the rest of the text as a query: cuts out time travel, finds the tables, replaces their names.
  mutating func parseQuery() throws {
    guard let start = token?.range.lowerBound else { throw unsupported() }
    var bytes = source.bytes
    var travels: [Int: Travel] = [:]  // by the name's offset
    let tokens = source.tokens
    for token in tokens.dropFirst(position) where token.kind == .quoted && bytes[token.range.lowerBound] == UInt8(ascii: "`") {
      guard !token.text.contains("\""), !token.text.contains("`") else {
        throw PlatformError(.invalidArgument, "a name in backticks cannot hold quotes", hint: "Write it in double quotes.")
      }
      bytes[token.range.lowerBound] = UInt8(ascii: "\"")
      bytes[token.range.upperBound - 1] = UInt8(ascii: "\"")
    }
    for index in tokens.indices.dropFirst(position) where index + 3 < tokens.count && index > position {
      guard tokens[index].isWord("VERSION") || tokens[index].isWord("TIMESTAMP"), tokens[index + 1].isWord("AS"),
        tokens[index + 2].isWord("OF"), tokens[index - 1].isName
      else { continue }
      var first = index - 1
      while first - 2 >= position, tokens[first - 1].isSymbol("."), tokens[first - 2].isName { first -= 2 }
      var travel = Travel()
      if tokens[index].isWord("VERSION") {
        guard tokens[index + 3].kind == .number, let version = Int64(tokens[index + 3].text) else {
          throw PlatformError(.invalidArgument, "VERSION AS OF needs a whole number")
        }
        travel.version = version
      } else {
        guard tokens[index + 3].kind == .string else {
          throw PlatformError(.invalidArgument, "TIMESTAMP AS OF needs a quoted time")
        }
        travel.timestamp = tokens[index + 3].text
      }
      travels[tokens[first].range.lowerBound] = travel
      for offset in tokens[index].range.lowerBound..<tokens[index + 3].range.upperBound { bytes[offset] = 32 }
    }
    let query = String(decoding: bytes[start...], as: UTF8.self)
    let connection = try Database(settings: .init(threads: 1)).connect()
    try connection.execute("SET TimeZone='UTC'")
    guard
      let text = try connection.rows("SELECT CAST(json_serialize_sql(CAST(? AS VARCHAR)) AS VARCHAR)", [.string(query)])
        .first?[0].stringValue
    else {
      throw unsupported()
    }
    let tree = try JSONValue(parsing: text)
    guard tree["error"]?.boolValue == false, tree["statements"]?.arrayValue?.count == 1 else {
      throw PlatformError(.invalidArgument, tree["error_message"]?.stringValue ?? "exactly one query is expected")
    }
    var found = Found()
    try Self.walk(tree, &found)
    found.filters = TableFilterFinder(tree).filters
    try replace(found, in: bytes, from: start, travels, connection)
  }

  private struct Found {
    struct Table {
      var parts: [String]
      var hasAlias: Bool
      var offset: Int?
    }
    var tables: [Table] = []
    var commonTables: Set<String> = []
    /// By the offset of the table's name.
    var filters: [Int: TableFilter] = [:]
  }

  private static func walk(_ node: JSONValue, _ found: inout Found) throws {
    switch node {
    case .array(let items): for item in items { try walk(item, &found) }
    case .object(let members):
      if let entries = members["cte_map"]?["map"]?.arrayValue {
        for entry in entries { if let key = entry["key"]?.stringValue { found.commonTables.insert(key.lowercased()) } }
      }
      if members["type"] == "BASE_TABLE" {
        guard members["at_clause"] ?? .null == .null else {
          throw PlatformError(.invalidArgument, "write VERSION AS OF or TIMESTAMP AS OF instead of AT")
        }
        let parts = ["catalog_name", "schema_name", "table_name"].compactMap { members[$0]?.stringValue }.filter {
          !$0.isEmpty
        }
        found.tables.append(
          Found.Table(
            parts: parts, hasAlias: members["alias"]?.stringValue?.isEmpty == false,
            offset: members["query_location"]?.intValue))
      }
      if members["type"] == "TABLE_FUNCTION" {
        let name = members["function"]?["function_name"]?.stringValue?.lowercased() ?? ""
        guard harmlessFunctions.contains(name) else {
          throw PlatformError(
            .permissionDenied, "the table function '\(name)' is not allowed", hint: "Read tables of the catalog.")
        }
      }
      for value in members.values { try walk(value, &found) }
    default: break
    }
  }

  /// A use of a table of which nothing is known asks for all of its rows.
  private mutating func note(_ found: Found, _ table: Found.Table, view: String) {
    filters[view, default: []].append(
      table.offset.flatMap { found.filters[$0] } ?? TableFilter(alias: view, ownsBareNames: false, conditions: []))
  }

  private mutating func replace(
    _ found: Found, in bytes: [UInt8], from start: Int, _ travels: [Int: Travel], _ connection: Connection
  ) throws {
    var unused = Set(travels.keys)
    var edits: [(range: Range<Int>, text: String)] = []
    // In the order of the text, whatever order the tree was walked in.
    for table in found.tables.sorted(by: { ($0.offset ?? 0) < ($1.offset ?? 0) }) {
      if table.parts.count == 1, found.commonTables.contains(table.parts[0].lowercased()) || internalNames.contains(table.parts[0]) {
        note(found, table, view: table.parts[0])
        continue
      }
      let offset = start + (table.offset ?? -1)
      guard let index = source.tokens.firstIndex(where: { $0.range.lowerBound == offset }), source.tokens[index].isName
      else {
        throw PlatformError(
          .invalidArgument, "the table '\(table.parts.joined(separator: "."))' cannot be located in the statement")
      }
      var last = index
      for _ in table.parts.dropFirst() where last + 2 < source.tokens.count && source.tokens[last + 1].isSymbol(".") {
        last += 2
      }
      let travel = travels[offset]
      unused.remove(offset)
      var time: Int64?
      if let text = travel?.timestamp {
        time = try connection.rows("SELECT epoch_ms(CAST(? AS TIMESTAMPTZ))", [.string(text)]).first?[0].intValue
      }
      var reference = Reference(
        name: qualified(table.parts), version: travel?.version, timestampMilliseconds: time, view: "")
      if let known = references.first(where: {
        $0.name == reference.name && $0.version == reference.version && $0.timestampMilliseconds == time
      }) {
        reference = known
      } else {
        reference.view = "__table_\(references.count)"
        references.append(reference)
      }
      note(found, table, view: reference.view)
      let alias = table.hasAlias ? "" : " AS " + SQLText.identifier(table.parts.last ?? "")
      edits.append((offset..<source.tokens[last].range.upperBound, reference.view + alias))
    }
    guard unused.isEmpty else {
      throw PlatformError(.invalidArgument, "VERSION AS OF and TIMESTAMP AS OF stand behind a table's name")
    }
    var out: [UInt8] = []
    var done = start
    for edit in edits.sorted(by: { $0.range.lowerBound < $1.range.lowerBound }) where edit.range.lowerBound >= done {
      out += bytes[done..<edit.range.lowerBound] + Array(edit.text.utf8)
      done = edit.range.upperBound
    }
    sql = String(decoding: out + bytes[done...], as: UTF8.self)
  }
}
