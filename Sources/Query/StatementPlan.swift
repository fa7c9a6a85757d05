// SPDX-License-Identifier: Apache-2.0

public import Core
import DuckDB
import Foundation

/// One SQL statement, taken apart: what it is, which tables it reads and writes, and the query for the executor.
///
/// Tables may carry `VERSION AS OF 3` or `TIMESTAMP AS OF '2026-01-31 12:00:00'` (UTC) behind their name. In `sql` each
/// reference is replaced by a view's name (with the table's name as its alias), so the engine never sees catalogs: columns that are
/// qualified by schema (`demo.t.x`) are so by the table's name alone (see `QualifiedColumns`).
public struct StatementPlan: Sendable {
  /// A table that the query reads.
  public struct Reference: Sendable, Hashable {
    public var name: QualifiedName
    public var version: Int64?
    public var timestampMilliseconds: Int64?
    /// The name to give in `StatementSpec.Table.view`.
    public var view: String
    /// The statement gave the last part of the name alone.
    public var isPlain = false
    /// `table_changes(..)`: not the table's rows but what happened to them.
    public var changes: ChangeRange?
  }

  /// A call of a function that is not one of the engine's.
  public struct FunctionCall: Sendable, Hashable {
    public var name: QualifiedName
    /// Called in FROM.
    public var isTable: Bool
    /// The name that `sql` uses.
    public var macro: String
    public var positional: Int
    /// In small letters.
    public var named: [String]
  }

  public internal(set) var kind = StatementKind.select
  /// The query with replaced names; empty for statements that run no query.
  public private(set) var sql = ""
  public internal(set) var references: [Reference] = []
  /// Calls of functions that the catalog has to know.
  public internal(set) var functions: [FunctionCall] = []
  /// Functions of other engines that the query uses: names of `SQLExtensions`.
  public internal(set) var extensions: Set<String> = []
  /// A statement about the catalog's objects, when `kind` says so.
  public internal(set) var catalogCommand: CatalogCommand?
  /// The engine's reading of the query, for lineage; null for statements that run no query.
  public internal(set) var tree = JSONValue.null
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

  /// Calls of `read_files`, in the order of the statement; `sql` has their views instead.
  public private(set) var fileRequests: [FileRead.Request] = []

  /// For `copyInto`.
  public internal(set) var copy: CopyStatement?

  /// Functions that show or change the engine's own state, which is none of a statement's business.
  static let refusedFunctions: Set<String> = ["current_setting", "getenv", "write_log", "parse_duckdb_log_message", "sleep_ms", "pg_sleep"]

  /// Table functions that read nothing from outside.
  static let harmlessFunctions: Set<String> = [
    "range", "generate_series", "unnest", "json_each", "json_tree", "repeat", "repeat_row",
  ]

  /// By `Reference.view`: what each use of the table asks of its rows. `__target` stands for the table whose rows change.
  public internal(set) var filters: [String: [TableFilter]] = [:]

  var change: ChangeStatement?
  /// Written anew where the query names columns with the schema of their table.
  private(set) var source: SQLTokens
  var position = 0
  /// Of the type that was read last.
  var characterLimit: String?
  let defaults: (catalog: String, schema: String)
  /// Names that are views of the executor's own and no tables.
  private var internalNames: Set<String> = []
  /// Those of them that stand for a table which columns may be qualified with.
  private var standIns: [String: QualifiedName] = [:]
  /// Columns are named by their tables' aliases alone.
  private var hasOwnNames = false
  /// What the engine says of the text before it was written in its words.
  private var fault: PlatformError?
  private var firstReference = 0
  private var firstFunction = 0

  /// - Parameter catalog, schema: complete names of one or two parts.
  /// - Throws: `invalidArgument` for bad SQL, more than one statement, or a statement that is not supported;
  ///   `permissionDenied` for functions that read files.
  public init(parsing text: String, catalog: String, schema: String) throws {
    defaults = (catalog, schema)
    var text = text
    let first = try SQLTokens(text)
    if let last = first.tokens.last, last.isSymbol(";") { text = first.text(0..<last.range.lowerBound) }
    source = try QueryHeads.wrapped(SQLTokens(text))
    try parse()
  }

  /// A query that is part of a view or function, whose references are counted on from `first`.
  /// - Throws: as `init(parsing:catalog:schema:)`; also for what is no query.
  public init(query text: String, catalog: String, schema: String, first: (reference: Int, function: Int)) throws {
    defaults = (catalog, schema)
    firstReference = first.reference
    firstFunction = first.function
    source = try SQLTokens(text)
    guard let word = token, ["SELECT", "WITH", "FROM", "VALUES"].contains(where: word.isWord) || word.isSymbol("(") else {
      throw PlatformError(.invalidArgument, "a query is expected")
    }
    try parseQuery()
    try refuseFiles()
  }

  /// A text that is no statement, whose tokens the parsers of parts take.
  /// - Throws: `invalidArgument` for an open quote.
  init(partsOf text: String) throws {
    defaults = ("", "")
    source = try SQLTokens(text)
  }

  /// A query around pieces of another statement, whose references it goes on counting.
  init(
    query text: String, internalNames: Set<String>, standIns: [String: QualifiedName] = [:], references: [Reference], functions: [FunctionCall],
    extensions: Set<String>, defaults: (catalog: String, schema: String)
  ) throws {
    self.defaults = defaults
    self.internalNames = internalNames
    self.standIns = standIns
    self.references = references
    self.functions = functions
    self.extensions = extensions
    source = try SQLTokens(text)
    try parseQuery()
    try refuseFiles()
  }

  private func refuseFiles() throws {
    guard fileRequests.isEmpty else {
      throw PlatformError(
        .invalidArgument, "read_files cannot be part of this statement", hint: "Use it in SELECT, INSERT or CREATE TABLE AS.", number: "PLT-3115")
    }
  }

  var token: SQLTokens.Token? { position < source.tokens.count ? source.tokens[position] : nil }

  private func unsupported() -> PlatformError {
    let words = source.tokens.prefix(2).map { String($0.text.prefix(40)) }.joined(separator: " ")
    if position < 2, let first = source.tokens.first?.text.uppercased(),
      let full = ["TRUNCATE TABLE", "DELETE FROM"].first(where: { $0.hasPrefix(first + " ") })
    {
      return PlatformError(.invalidArgument, "no statement begins with '\(words)'", hint: "Write \(full) before the table's name.")
    }
    return PlatformError(
      .invalidArgument, "no statement begins with '\(words)'",
      hint: """
        Statements begin with SELECT, WITH, VALUES, TABLE, PIVOT, UNPIVOT, SUMMARIZE, EXPLAIN, INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY INTO, CREATE, ALTER, DROP, UNDROP, \
        COMMENT ON, USE, SHOW, DESCRIBE, OPTIMIZE, REORG, FSCK, VACUUM or RESTORE.
        """)
  }

  /// Statements of Databricks for which there is another way here.
  private mutating func refuseNeedless() throws {
    if take("ANALYZE", "TABLE") || take("ANALYZE", "TABLES") {
      throw PlatformError(
        .invalidArgument, "ANALYZE TABLE is not supported, nor needed: every file is written with its statistics, and queries read them from the log",
        hint: "For files of other writers that have none: OPTIMIZE writes small ones anew, INSERT OVERWRITE t SELECT * FROM t all of them.",
        number: "PLT-3273")
    }
    if take("CONVERT", "TO", "DELTA") {
      throw PlatformError(
        .invalidArgument, "CONVERT TO DELTA is not supported: a table's files are copied and not taken over",
        hint: "CREATE TABLE t AS SELECT * FROM read_files('/folder', format => 'parquet'), or COPY INTO a table that is there.", number: "PLT-3273")
    }
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

  mutating func expectEnd() throws {
    guard let token else { return }
    throw PlatformError(
      .invalidArgument, "the statement is complete before '\(token.text.prefix(40))'",
      hint: "Leave the rest out; RETURNING is not supported.")
  }

  private mutating func parse() throws {
    guard let first = token else { throw PlatformError(.invalidArgument, "the text holds no SQL statement") }
    try refuseNeedless()
    if try parseCatalog() { return }
    if try parseTableCommand() { return }
    if take("INSERT") {
      try parseInsert()
    } else if take("COPY", "INTO") {
      try parseCopyInto()
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
      if token?.isWord("ANALYZE") == true {
        throw PlatformError(.invalidArgument, "EXPLAIN ANALYZE is not supported", hint: "EXPLAIN shows the plan and which files it reads.", number: "PLT-3273")
      }
      _ = take("EXTENDED") || take("FORMATTED") || take("COST") || take("CODEGEN")
      try parseQuery()
    } else if ["SELECT", "WITH", "FROM", "VALUES", "TABLE"].contains(where: first.isWord) || first.isSymbol("(") {
      try QueryHeads.refuseChanges(source)
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
  mutating func adopt(query plan: StatementPlan) {
    adopt(plan)
    (sql, tree) = (plan.sql, plan.tree)
  }

  /// Which version of a table is meant.
  struct Travel {
    var version: Int64?
    var timestamp: String?

    /// `[FOR] VERSION AS OF 3`, `[FOR] TIMESTAMP AS OF '..'`, also with SYSTEM_VERSION and SYSTEM_TIME, or `@v3`, and the index of its last token.
    static func read(_ tokens: [SQLTokens.Token], at index: Int) throws -> (travel: Travel, last: Int)? {
      if tokens[index].isSymbol("@"), index + 1 < tokens.count, tokens[index - 1].range.upperBound == tokens[index].range.lowerBound,
        tokens[index].range.upperBound == tokens[index + 1].range.lowerBound, tokens[index + 1].text.lowercased().hasPrefix("v"),
        let version = Int64(tokens[index + 1].text.dropFirst())
      {
        return (Travel(version: version), index + 1)
      }
      let first = tokens[index].isWord("FOR") ? index + 1 : index
      guard first + 3 < tokens.count, tokens[first + 1].isWord("AS"), tokens[first + 2].isWord("OF") else { return nil }
      let value = tokens[first + 3]
      if tokens[first].isWord("VERSION") || first > index && tokens[first].isWord("SYSTEM_VERSION") {
        guard value.kind == .number, let version = Int64(value.text) else {
          throw PlatformError(.invalidArgument, "VERSION AS OF needs a whole number")
        }
        return (Travel(version: version), first + 3)
      }
      guard tokens[first].isWord("TIMESTAMP") || first > index && tokens[first].isWord("SYSTEM_TIME") else { return nil }
      guard value.kind == .string else { throw PlatformError(.invalidArgument, "TIMESTAMP AS OF needs a quoted time") }
      return (Travel(timestamp: value.text), first + 3)
    }
  }

  /// Takes the rest of the text as a query: cuts out time travel, finds the tables, replaces their names.
  mutating func parseQuery() throws {
    guard let start = token?.range.lowerBound else { throw unsupported() }
    if let text = try SparkSyntax.everywhere(in: source, startingAt: position) { source = try SQLTokens(text) }
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
    var index = position + 1
    while index < tokens.count {
      guard tokens[index - 1].isName, let (travel, last) = try Travel.read(tokens, at: index) else {
        index += 1
        continue
      }
      var first = index - 1
      while first - 2 >= position, tokens[first - 1].isSymbol("."), tokens[first - 2].isName { first -= 2 }
      travels[tokens[first].range.lowerBound] = travel
      for offset in tokens[index].range.lowerBound..<tokens[last].range.upperBound { bytes[offset] = 32 }
      index = last + 1
    }
    let stars = QualifiedColumns.stars(in: source, startingAt: position)
    for star in stars.values { for offset in star.before { bytes[offset] = 32 } }
    fileRequests = try FileRequests.take(from: source, startingAt: position, &bytes)
    let changes = try ChangeRequests.take(from: source, startingAt: position, &bytes)
    internalNames.formUnion(fileRequests.map(\.view))
    let query = String(decoding: bytes[start...], as: UTF8.self)
    let connection = try ParserConnections.take()
    defer { ParserConnections.give(connection) }
    guard
      let text = try connection.rows("SELECT CAST(json_serialize_sql(CAST(? AS VARCHAR)) AS VARCHAR)", [.string(query)])
        .first?[0].stringValue
    else {
      throw unsupported()
    }
    let tree = try JSONValue(parsing: text)
    guard tree["error"]?.boolValue == false, tree["statements"]?.arrayValue?.count == 1 else {
      // What was wrong with the text as it was written is what its author understands.
      let fault = fault ?? QueryHeads.fault(tree["error_message"]?.stringValue, source)
      guard self.fault == nil, let text = try SparkSyntax.rewritten(source, startingAt: position) else { throw fault }
      self.fault = fault
      source = try SQLTokens(text)
      return try parseQuery()
    }
    if !hasOwnNames {
      let columns = try QualifiedColumns(tree, in: source, from: start, stars: stars.mapValues(\.parts), standIns: standIns) { [self] in qualified($0) }
      if !columns.edits.isEmpty {
        // Once: what it has written are aliases, and no schemas.
        hasOwnNames = true
        source = try SQLTokens(columns.text)
        return try parseQuery()
      }
    }
    var found = Found()
    try Self.walk(tree, &found)
    found.filters = TableFilterFinder(tree).filters
    self.tree = tree["statements"]?.arrayValue?.first ?? .null
    try replace(found, in: bytes, from: start, travels, changes, connection)
  }

  private struct Found {
    struct Table {
      var parts: [String]
      var hasAlias: Bool
      var offset: Int?
    }
    struct Function {
      var parts: [String]
      var isTable: Bool
      var offset: Int?
      var arguments = 0
    }
    var tables: [Table] = []
    var functions: [Function] = []
    /// Places of words such as `current_user`, without parentheses.
    var words: [(name: String, offset: Int?)] = []
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
      let isTableFunction = members["type"] == "TABLE_FUNCTION"
      let function = isTableFunction ? members["function"] ?? .null : members["class"] == "FUNCTION" ? .object(members) : .null
      if let name = function["function_name"]?.stringValue, function["is_operator"]?.boolValue != true {
        let parts = ["catalog", "schema"].compactMap { function[$0]?.stringValue }.filter { !$0.isEmpty } + [name]
        let folded = name.lowercased()
        if isTableFunction, SQLExtensions.isBuiltIn(folded), !(parts.count == 1 && harmlessFunctions.contains(folded)) {
          throw PlatformError(
            .permissionDenied, "the table function '\(name.lowercased())' is not allowed", hint: "Read tables of the catalog.")
        }
        if refusedFunctions.contains(folded) {
          throw PlatformError(.permissionDenied, "the function '\(folded)' is not allowed", hint: "Statements do not see the engine's own state.")
        }
        found.functions.append(
          Found.Function(
            parts: parts, isTable: isTableFunction, offset: function["query_location"]?.intValue.flatMap { Int(exactly: $0) },
            arguments: function["children"]?.arrayValue?.count ?? 0))
      }
      if members["class"] == "COLUMN_REF", let names = members["column_names"]?.arrayValue, names.count == 1,
        let word = names[0].stringValue?.lowercased(), SQLExtensions.sessionWords[word] != nil
      {
        found.words.append((word, members["query_location"]?.intValue.flatMap { Int(exactly: $0) }))
      }
      for (key, value) in members where !(isTableFunction && key == "function") { try walk(value, &found) }
      if isTableFunction { try walk(function["children"] ?? .null, &found) }
    default: break
    }
  }

  /// A use of a table of which nothing is known asks for all of its rows.
  private mutating func note(_ found: Found, _ table: Found.Table, view: String) {
    filters[view, default: []].append(
      table.offset.flatMap { found.filters[$0] } ?? TableFilter(alias: view, ownsBareNames: false, conditions: []))
  }

  /// Gives a call of a function of the catalog the name of its macro. The engine's own functions keep theirs.
  private mutating func replace(_ function: Found.Function, from start: Int, _ edits: inout [(range: Range<Int>, text: String)]) throws {
    let name = function.parts[function.parts.count - 1]
    let folded = name.lowercased()
    let tokens = source.tokens
    let offset = start + (function.offset ?? -1)
    let index = tokens.firstIndex { $0.range.lowerBound == offset }
    if function.parts.count == 1, let text = SQLExtensions.sessionWords[folded] ?? SQLExtensions.bareCalls[folded], let index, index + 2 < tokens.count,
      tokens[index + 1].isSymbol("("), tokens[index + 2].isSymbol(")")
    {
      edits.append((offset..<tokens[index + 2].range.upperBound, text))
      return
    }
    if function.parts.count == 1, !function.isTable {
      let own = try index.flatMap { try SparkCalls.edits(of: folded, source, $0, arguments: function.arguments) }
      edits += own ?? []
      if SQLExtensions.isMacro(folded, arguments: function.arguments) {
        extensions.insert(folded)
        return
      }
      if own != nil { return }
    }
    if SQLExtensions.isBuiltIn(folded) { return }
    guard let index, tokens[index].isName else {
      throw PlatformError(.invalidArgument, "the function '\(function.parts.joined(separator: "."))' cannot be located in the statement")
    }
    var last = index
    for _ in function.parts.dropFirst() where last + 2 < tokens.count && tokens[last + 1].isSymbol(".") { last += 2 }
    var call = FunctionCall(name: qualified(function.parts), isTable: function.isTable, macro: "", positional: 0, named: [])
    // Arguments by name: the macro's parameters are called so that no column has their name.
    var depth = 0
    var isStart = false
    for at in tokens.indices.dropFirst(last + 1) {
      let token = tokens[at]
      if depth == 1, isStart, !token.isSymbol(")") {
        let isNamed =
          token.isName && at + 2 < tokens.count
          && ((tokens[at + 1].isSymbol(":") || tokens[at + 1].isSymbol("=")) && tokens[at + 2].isSymbol(tokens[at + 1].text == ":" ? "=" : ">")
            && tokens[at + 1].range.upperBound == tokens[at + 2].range.lowerBound)
        if isNamed {
          call.named.append(token.text.lowercased())
          edits.append((token.range, SQLText.identifier(Self.argument(token.text))))
        } else {
          call.positional += 1
        }
      }
      isStart = false
      if token.isSymbol("(") || token.isSymbol("[") || token.isSymbol("{") {
        depth += 1
        isStart = depth == 1
      }
      if token.isSymbol(")") || token.isSymbol("]") || token.isSymbol("}") { depth -= 1 }
      if depth == 1, token.isSymbol(",") { isStart = true }
      if depth == 0 { break }
    }
    let known = functions.first { $0.name == call.name && $0.isTable == call.isTable }
    call.macro = known?.macro ?? "__function_\(firstFunction + functions.count)"
    if !functions.contains(call) { functions.append(call) }
    edits.append((offset..<tokens[last].range.upperBound, call.macro))
  }

  /// What a macro calls a function's parameter.
  public static func argument(_ name: String) -> String { "__argument_" + name.lowercased() }

  private mutating func replace(
    _ found: Found, in bytes: [UInt8], from start: Int, _ travels: [Int: Travel], _ changes: [Int: ChangeRequests.Request], _ connection: Connection
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
      if let request = changes[offset] {
        let reference = Reference(
          name: qualified(request.parts), version: nil, timestampMilliseconds: nil, view: "__table_\(firstReference + references.count)",
          changes: try request.range(connection))
        references.append(reference)
        note(found, table, view: reference.view)
        edits.append((offset..<request.end, reference.view + (table.hasAlias ? "" : " AS table_changes")))
        continue
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
        name: qualified(table.parts), version: travel?.version, timestampMilliseconds: time, view: "", isPlain: table.parts.count == 1)
      if let known = references.first(where: {
        $0.changes == nil && $0.name == reference.name && $0.version == reference.version && $0.timestampMilliseconds == time && $0.isPlain == reference.isPlain
      }) {
        reference = known
      } else {
        reference.view = "__table_\(firstReference + references.count)"
        references.append(reference)
      }
      note(found, table, view: reference.view)
      // `TABLE t` takes no alias.
      let isAlone = table.hasAlias || index > 0 && source.tokens[index - 1].isWord("TABLE")
      let alias = isAlone ? "" : " AS " + SQLText.identifier(table.parts.last ?? "")
      edits.append((offset..<source.tokens[last].range.upperBound, reference.view + alias))
    }
    for word in found.words {
      guard let token = source.tokens.first(where: { $0.range.lowerBound == start + (word.offset ?? -1) }), token.kind == .word else { continue }
      edits.append((token.range, SQLExtensions.sessionWords[word.name] ?? token.text))
    }
    for function in found.functions { try replace(function, from: start, &edits) }
    edits += HiddenMetadata(tree, in: source, from: start, views: Set(fileRequests.filter(\.hasMetadata).map(\.view))).edits
    edits += ResultNames(tree, in: source, from: start, first: position).edits
    guard unused.isEmpty else {
      throw PlatformError(.invalidArgument, "VERSION AS OF and TIMESTAMP AS OF stand behind a table's name")
    }
    var out: [UInt8] = []
    var done = start
    // What is put before a word comes before what replaces it.
    for edit in edits.sorted(by: { ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound) })
    where edit.range.lowerBound >= done {
      out += bytes[done..<edit.range.lowerBound] + Array(edit.text.utf8)
      done = edit.range.upperBound
    }
    sql = String(decoding: out + bytes[done...], as: UTF8.self)
  }
}
