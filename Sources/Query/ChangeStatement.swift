// SPDX-License-Identifier: Apache-2.0

import Core
public import DeltaLog
import DuckDB

/// DELETE, UPDATE or MERGE, taken apart. Its expressions stay text until the target's columns are known.
struct ChangeStatement: Sendable {
  struct Assignment: Sendable {
    /// As it was written: `x`, `t.x`, `main.demo.t.x`, `s.field`.
    var path: [String]
    var expression: String
    /// Of the column that is meant, the fields that lead to what is set; none: the column as a whole.
    var fields: [String] = []

    init(path: [String], expression: String) {
      self.path = path
      self.expression = expression
    }

    init(column: String, expression: String) { self.init(path: [column], expression: expression) }

    /// The column, once it is known which parts of `path` name the table.
    var column: String { path[0] }
  }
  enum Action: Sendable {
    case delete
    case update([Assignment])
    case insert([Assignment])
    /// `UPDATE SET *`, `INSERT *`: every column of the target from the source's column of the same name.
    case updateAll, insertAll

    /// What it sets, once `*` is taken apart.
    var assignments: [Assignment] {
      switch self {
      case .update(let given), .insert(let given): given
      case .delete, .updateAll, .insertAll: []
      }
    }
  }
  enum Occasion: Sendable {
    case matched, notMatched, notMatchedBySource
  }
  struct Clause: Sendable {
    var occasion: Occasion
    var condition: String?
    var action: Action
  }
  struct Source: Sendable {
    /// A name or a query in parentheses, without its alias.
    var text: String
    var alias: String
    var condition: String
    /// The table's name, where it has no alias.
    var name: QualifiedName?
  }

  /// What the statement calls its target, quoted.
  var alias: String
  /// The target's name, where it has no alias.
  var name: QualifiedName?
  /// nil for DELETE and UPDATE.
  var source: Source?
  /// One for DELETE and UPDATE.
  var clauses: [Clause]

  /// Names that stand for tables in the queries of the change.
  var standIns: [String: QualifiedName] {
    var names: [String: QualifiedName] = [:]
    names["__target"] = name
    names["__source"] = source?.name
    return names
  }

  /// Gives target and source different names, where both are called by the last part of theirs.
  mutating func distinguish() {
    guard let name, var source, let other = source.name, source.alias.lowercased() == alias.lowercased(), !name.isSame(as: other) else { return }
    func own(_ name: QualifiedName, _ other: QualifiedName) -> String {
      SQLText.identifier(name.schema.lowercased() == other.schema.lowercased() ? "\(name)" : "\(name.schema).\(name.name)")
    }
    self.alias = own(name, other)
    source.alias = own(other, name)
    self.source = source
  }

  /// What a path of SET or INSERT may mean: the longest name of the table that fits it counts first.
  private func meanings(_ path: [String]) -> [[String]] {
    var found: [[String]] = []
    if let name {
      let own = [name.catalog, name.schema, name.name].map { $0.lowercased() }
      for count in [3, 2] where path.count > count && path.prefix(count).map({ $0.lowercased() }) == own.suffix(count) {
        found.append(Array(path.dropFirst(count)))
      }
    }
    let own = [alias.lowercased(), SQLText.identifier(name?.name ?? "").lowercased()]
    if path.count > 1, own.contains(SQLText.identifier(path[0]).lowercased()) { found.append(Array(path.dropFirst())) }
    return found + [path]
  }

  /// The assignment with its column found; as it is when there is no such column.
  func resolved(_ assignment: Assignment, _ columns: [String]) -> Assignment {
    let meanings = meanings(assignment.path)
    let known = meanings.first { meaning in columns.contains { $0.lowercased() == meaning[0].lowercased() } }
    let path = known ?? meanings[0]
    var result = assignment
    result.path = [path[0]]
    result.fields = assignment.fields + path.dropFirst()
    return result
  }
}

/// The queries that an executor runs for a change. All are plain queries over views; `__target` is the table with two more
/// columns for file and row, `__source` the numbered rows of a MERGE's source, `__matched` the pairs that fit.
public struct ChangeQueries: Codable, Sendable, Hashable {
  /// Rows of the source with `__source_row`; nil for DELETE and UPDATE.
  public var source: String?
  /// Pairs: file, row, source row, number of the clause (0: none), whether it deletes, then the new value of every column.
  public var matched: String?
  /// Changed rows: file, row, number of the clause, whether it deletes, then the new value of every column.
  public var changed: String?
  /// New rows: number of the clause (0: none), then every column.
  public var inserted: String?
  /// Columns that an UPDATE clause sets, in lower case.
  public var updatedColumns: Set<String> = []
  /// Columns that an INSERT clause gives, in lower case.
  public var insertedColumns: Set<String> = []
  /// A row may match several source rows: all it can come to is to be deleted.
  public var allowsSeveralMatches = false
  /// What is looked at before anything is evaluated; nil: nothing.
  public var probes: [ChangeProbe]?
}

extension StatementSpec.Change {
  /// The files of `base` that the statement has to look at, and those that it removes without.
  /// - Parameters:
  ///   - folder: the table's folder, an absolute path.
  ///   - sharedFolders: where files of other tables may lie that a shallow clone reads.
  /// - Throws: as `TargetFile.init(_:folder:sharedFolders:)`.
  public init(
    _ queries: ChangeQueries, of plan: StatementPlan, on base: Snapshot, variables: [StatementVariable], folder: String, sharedFolders: [String] = []
  ) throws {
    self.init(queries: queries, files: [], version: base.version)
    let predicate = TableFilter.predicate(plan.filters["__target"], schema: base.schema, variables: variables)
    let skipper = FileSkipper(base)
    // With a change data feed the deleted rows themselves are written.
    let decided = base.properties.hasChangeDataFeed ? nil : plan.deletedFiles(base.schema, variables)
    var whole: [WholeFile] = []
    for file in base.files where predicate == .all || skipper.mayMatch(file, predicate) {
      if let decided, let rows = file.rowCount, decided.holds(for: file, skipper) {
        whole.append(WholeFile(path: try TableScan.path(file.location(), folder, sharedFolders), rows: rows))
      } else {
        files.append(try TargetFile(file, folder: folder, sharedFolders: sharedFolders))
      }
    }
    if !whole.isEmpty { self.whole = whole }
    // What JSON cannot carry (a number that is none) counts as not known.
    if predicate != .all, (try? JSONValue(encoding: predicate).decode(FilePredicate.self)) == predicate { condition = predicate }
  }

  /// To be told when the statement reads its table in other ways too: by a subquery, a view, a function, or file by file.
  public mutating func readsWholeTable() { condition = nil }
}

extension StatementResult.Change {
  /// What a commit of the change rests on: rows that others added meanwhile and that fulfil the condition, or files of it that they
  /// removed, make it void; the rest of the table may change as it likes.
  public func reads(_ base: Snapshot) -> (condition: FilePredicate, files: [AddFile]) {
    guard let condition else { return (.all, base.files) }
    let skipper = FileSkipper(base)
    return (condition, base.files.filter { skipper.mayMatch($0, condition) })
  }
}

extension StatementPlan {
  /// Takes over what `changeQueries` of a copy found.
  public mutating func adopt(_ copy: StatementPlan) {
    references = copy.references
    filters = copy.filters
    functions = copy.functions
    extensions = copy.extensions
  }

  /// Whether the statement changes rows that are there.
  public var changesRows: Bool { change != nil }

  /// For DELETE and REPLACE WHERE: the files that go as a whole.
  func deletedFiles(_ schema: StructType, _ variables: [StatementVariable]) -> DecidedFiles? {
    guard let change, change.source == nil, change.clauses.count == 1, case .delete = change.clauses[0].action else { return nil }
    guard change.clauses[0].condition != nil else { return DecidedFiles(failing: .nothing, columns: []) }
    guard let uses = filters["__target"], uses.count == 1 else { return nil }
    return uses[0].decided(schema: schema, variables: variables)
  }

  /// The source of a MERGE as a query, with its tables replaced; nil for statements without one.
  public mutating func sourceQuery() throws -> String? {
    guard let source = change?.source else { return nil }
    return try inner("SELECT \(source.alias).* FROM \(source.text) AS \(source.alias)", [])
  }

  /// Columns of the source that `WITH SCHEMA EVOLUTION` adds to the target: all where a clause says `*`, otherwise those it names.
  public func evolvingColumns(_ columns: [Column]) -> [Column] {
    guard let change, evolvesSchema else { return [] }
    var named: Set<String> = []
    for clause in change.clauses {
      switch clause.action {
      case .updateAll, .insertAll: return columns
      case .update(let assignments), .insert(let assignments):
        named.formUnion(assignments.map { change.resolved($0, columns.map(\.name)).column.lowercased() })
      case .delete: break
      }
    }
    return columns.filter { named.contains($0.name.lowercased()) }
  }

  /// The queries of the change against a table whose schema is known.
  /// - Parameter sourceColumns: of a MERGE's source, in lower case.
  public mutating func changeQueries(_ target: WriteTarget, sourceColumns: Set<String>?) throws -> ChangeQueries {
    let table = try TargetTable(target, columns: [])
    let defaults = Dictionary(
      uniqueKeysWithValues: try table.schema.defaults.filter { $0.path.count == 1 }.map { ($0.path[0].lowercased(), try SQLExpression.engine($0.expression)) })
    let queries = try changeQueries(columns: table.columns, defaults: defaults, sourceColumns: sourceColumns)
    for column in try table.schema.identityColumns() where queries.updatedColumns.contains(column.name.lowercased()) {
      throw PlatformError(.invalidArgument, "the identity column '\(column.name)' of \(table.name) cannot be changed", number: "PLT-3205")
    }
    return queries
  }

  /// Writes the change as queries.
  /// - Parameters:
  ///   - columns: of the target, in order.
  ///   - defaults: expressions for values that are not given, by lower-case name.
  ///   - sourceColumns: what `*` takes from a MERGE's source, in lower case; nil: every column of the target.
  /// - Throws: `invalidArgument` for a column that the target lacks, or SQL that does not parse.
  public mutating func changeQueries(
    columns: [Column], defaults: [String: String] = [:], sourceColumns: Set<String>? = nil
  ) throws -> ChangeQueries {
    guard var change else { throw PlatformError(.internalError, "the statement changes no rows") }
    var result = ChangeQueries()
    for index in change.clauses.indices {
      let clause = change.clauses[index]
      let names = columns.map(\.name).filter { sourceColumns?.contains($0.lowercased()) ?? true }
      switch clause.action {
      case .updateAll:
        change.clauses[index].action = .update(names.map { .init(column: $0, expression: "\(change.source?.alias ?? "").\(SQLText.identifier($0))") })
      case .insertAll:
        change.clauses[index].action = .insert(names.map { .init(column: $0, expression: "\(change.source?.alias ?? "").\(SQLText.identifier($0))") })
      default: break
      }
      switch change.clauses[index].action {
      case .update(var assignments):
        assignments = assignments.map { change.resolved($0, columns.map(\.name)) }
        for item in assignments.indices where assignments[item].expression.lowercased() == "default" {
          guard assignments[item].fields.isEmpty else { throw StructFields.noDefault(assignments[item]) }
          assignments[item].expression = defaults[assignments[item].column.lowercased()] ?? "NULL"
        }
        change.clauses[index].action = .update(assignments)
        result.updatedColumns.formUnion(assignments.map { $0.column.lowercased() })
      case .insert(var assignments):
        assignments = assignments.map { change.resolved($0, columns.map(\.name)) }
        if let part = assignments.first(where: { !$0.fields.isEmpty }) { throw StructFields.notInserted(part) }
        assignments.removeAll { $0.expression.lowercased() == "default" }
        result.insertedColumns.formUnion(assignments.map { $0.column.lowercased() })
        let given = Set(assignments.map { $0.column.lowercased() })
        for column in columns where !given.contains(column.name.lowercased()) {
          if let value = defaults[column.name.lowercased()] { assignments.append(.init(column: column.name, expression: value)) }
        }
        change.clauses[index].action = .insert(assignments)
      default: break
      }
    }
    let row = ["\(change.alias).__platform_file AS __f", "\(change.alias).__platform_row AS __r"]
    guard let source = change.source else {
      let clause = change.clauses[0]
      let values = try Self.values([clause], columns, alias: change.alias, source: nil)
      let list = (row + ["1 AS __action", "\(Self.deletes([clause])) AS __delete"] + values + Self.judged([clause.condition])).joined(separator: ", ")
      result.changed = try inner("SELECT \(list) FROM __target AS \(change.alias) WHERE (\(clause.condition ?? "true")\n)", ["__target"])
      result.probes = try probe([clause], columns, from: "__target AS \(change.alias)", ["__target"]).map { [$0] }
      return result
    }
    func clauses(_ occasion: ChangeStatement.Occasion) -> [ChangeStatement.Clause] { change.clauses.filter { $0.occasion == occasion } }
    result.source = try inner(
      "SELECT row_number() OVER () AS __source_row, \(source.alias).* FROM \(source.text) AS \(source.alias)", [])
    let matched = clauses(.matched)
    let decided = Self.decided(matched)
    let pairs =
      row + ["\(source.alias).__source_row AS __s", decided.column, "\(Self.deletes(matched)) AS __delete"]
      + (try Self.values(matched, columns, alias: change.alias, source: source.alias)) + Self.judged([source.condition] + matched.map(\.condition))
    result.matched = try inner(
      "SELECT \(pairs.joined(separator: ", ")) FROM __target AS \(change.alias) JOIN __source AS \(source.alias) ON (\(source.condition)\n)\(decided.from)",
      ["__target", "__source"])
    var probes = [
      try probe(
        matched, joined: source.condition, columns, from: "__target AS \(change.alias), __source AS \(source.alias)", ["__target", "__source"])
    ]
    if matched.count == 1, matched[0].condition == nil, case .delete = matched[0].action { result.allowsSeveralMatches = true }
    let left = clauses(.notMatchedBySource)
    if !left.isEmpty {
      let decided = Self.decided(left)
      let list =
        row + [decided.column, "\(Self.deletes(left)) AS __delete"]
        + (try Self.values(left, columns, alias: change.alias, source: nil)) + Self.judged(left.map(\.condition))
      result.changed = try inner(
        """
        SELECT \(list.joined(separator: ", ")) FROM __target AS \(change.alias)\(decided.from) WHERE NOT EXISTS
          (SELECT 1 FROM __matched AS __m WHERE __m.__f = \(change.alias).__platform_file AND __m.__r = \(change.alias).__platform_row)
        """, ["__target", "__matched"])
      probes.append(try probe(left, columns, from: "__target AS \(change.alias)", ["__target"]))
    }
    let new = clauses(.notMatched)
    if !new.isEmpty {
      let decided = Self.decided(new)
      let list = [decided.column] + (try Self.values(new, columns, alias: nil, source: source.alias)) + Self.judged(new.map(\.condition))
      result.inserted = try inner(
        """
        SELECT \(list.joined(separator: ", ")) FROM __source AS \(source.alias)\(decided.from) WHERE NOT EXISTS
          (SELECT 1 FROM __matched AS __m WHERE __m.__s = \(source.alias).__source_row)
        """, ["__source", "__matched"])
      probes.append(try probe(new, columns, from: "__source AS \(source.alias)", ["__source"]))
    }
    if probes.contains(where: { $0 != nil }) { result.probes = probes.compactMap { $0 } }
    return result
  }

  /// Conditions as columns behind all others: only their types are looked at, which must be BOOLEAN. The engine itself takes every number for a
  /// condition. One with a query inside would be evaluated twice, and is looked at by itself (`probe`).
  private static func judged(_ conditions: [String?]) -> [String] {
    conditions.compactMap { $0 }.filter { kind(of: $0) == .plain }.enumerated().map {
      "(\($1)\n) AS \(SQLText.identifier(conditionColumn + "\($0) " + String($1.prefix(100))))"
    }
  }

  private enum ConditionKind {
    case plain, withQuery
    /// NULL, which is a condition of any type; or what the engine cannot read.
    case unknown
  }

  private static func kind(of condition: String) -> ConditionKind {
    // What has no tokens is told by the engine, with its place.
    guard let tokens = try? SQLTokens(condition).tokens, !(tokens.count == 1 && tokens[0].isWord("NULL")) else { return .unknown }
    return tokens.contains { token in ["SELECT", "FROM", "VALUES", "TABLE"].contains { token.isWord($0) } } ? .withQuery : .plain
  }

  /// The conditions and values of clauses that have to be looked at by themselves: conditions with a query inside, and what is given to structs.
  /// - Parameter rows: what stands behind FROM.
  private mutating func probe(
    _ clauses: [ChangeStatement.Clause], joined: String? = nil, _ columns: [Column], from rows: String, _ internalNames: Set<String>
  ) throws -> ChangeProbe? {
    var found: [(text: String, expression: ChangeProbe.Expression)] = []
    for condition in ([joined] + clauses.map(\.condition)).compactMap({ $0 }) where Self.kind(of: condition) == .withQuery {
      found.append((condition, .condition(String(condition.prefix(100)))))
    }
    for clause in clauses {
      for assignment in clause.action.assignments {
        guard let column = columns.first(where: { $0.name.lowercased() == assignment.column.lowercased() }),
          let type = StructFields.type(of: assignment, column), type.hasStructure
        else { continue }
        found.append((assignment.expression, .value(path: [column.name] + assignment.fields, type: type)))
      }
    }
    guard !found.isEmpty else { return nil }
    let list = found.enumerated().map { "(\($1.text)\n) AS __probe_\($0)" }
    // Of tables that only this text reads anew, all rows; the others are read as they were found before.
    let known = filters
    let query = try inner("SELECT \(list.joined(separator: ", ")) FROM \(rows)", internalNames)
    filters.merge(known) { $1 }
    return ChangeProbe(query: query, expressions: found.map(\.expression))
  }

  /// What the names of such columns begin with; a number and the condition's text follow.
  static let conditionColumn = "__platform_condition "

  /// The number of the first clause whose condition holds, from 1; 0: none.
  private static func decision(_ clauses: [ChangeStatement.Clause]) -> String {
    guard !clauses.isEmpty else { return "0" }
    return "CASE " + clauses.enumerated().map { "WHEN (\($1.condition ?? "true")\n) THEN \($0 + 1)" }.joined(separator: " ") + " ELSE 0 END"
  }

  /// The decision as the column `__action`, and what it adds to FROM: the other columns cannot name one that has a query inside.
  private static func decided(_ clauses: [ChangeStatement.Clause]) -> (column: String, from: String) {
    guard clauses.compactMap(\.condition).contains(where: { kind(of: $0) == .withQuery }) else { return ("\(decision(clauses)) AS __action", "") }
    return ("__decided.__action AS __action", ", LATERAL (SELECT \(decision(clauses)) AS __action) AS __decided")
  }

  /// Whether the clause that decides deletes the row, as an expression over `__action`.
  private static func deletes(_ clauses: [ChangeStatement.Clause]) -> String {
    let found = clauses.enumerated().filter { if case .delete = $0.element.action { true } else { false } }.map { String($0.offset + 1) }
    return found.isEmpty ? "false" : "__action IN (\(found.joined(separator: ", ")))"
  }

  /// The value that each column gets, by the clause that decides.
  private static func values(
    _ clauses: [ChangeStatement.Clause], _ columns: [Column], alias: String?, source: String?
  ) throws -> [String] {
    for clause in clauses { try check(clause.action, columns) }
    let onlyDeletes = clauses.allSatisfy { if case .delete = $0.action { true } else { false } }
    return columns.enumerated().map { index, column in
      // Values of rows that go are never looked at.
      if onlyDeletes { return "CAST(NULL AS \(column.type.sql)) AS __set_\(index)" }
      let name = SQLText.identifier(column.name)
      let kept = alias.map { "\($0).\(name)" } ?? "NULL"
      var cases = ""
      for (number, clause) in clauses.enumerated() {
        var expression: String?
        switch clause.action {
        case .delete: break
        case .update(let assignments), .insert(let assignments):
          let own = assignments.filter { $0.column.lowercased() == column.name.lowercased() }
          expression = own.first?.fields.isEmpty == false ? StructFields.value(of: kept, column.type, own) : own.first?.expression
        case .updateAll, .insertAll: break  // taken apart before
        }
        if let expression { cases += " WHEN \(number + 1) THEN CAST((\(expression)\n) AS \(column.type.sql))" }
      }
      return (cases.isEmpty ? "CAST(\(kept) AS \(column.type.sql))" : "CASE __action\(cases) ELSE \(kept) END") + " AS __set_\(index)"
    }
  }

  private static func check(_ action: ChangeStatement.Action, _ columns: [Column]) throws {
    let assignments = action.assignments
    var seen: Set<String> = []
    for assignment in assignments {
      guard let column = columns.first(where: { $0.name.lowercased() == assignment.column.lowercased() }) else {
        throw PlatformError(
          .invalidArgument, "the table has no column '\(assignment.column)'", hint: "It has: \(columns.map(\.name).joined(separator: ", ")).")
      }
      if !assignment.fields.isEmpty {
        try StructFields.check(assignment, column)
        continue
      }
      guard seen.insert(assignment.column.lowercased()).inserted else {
        throw PlatformError(.invalidArgument, "the column '\(assignment.column)' is set twice")
      }
    }
    try StructFields.checkTogether(assignments)
  }

  /// A query of our own making around the user's expressions, checked and with its tables replaced like any other.
  private mutating func inner(_ text: String, _ internalNames: Set<String>) throws -> String {
    let plan = try StatementPlan(
      query: text, internalNames: internalNames, standIns: change?.standIns ?? [:], references: references, functions: functions, extensions: extensions,
      defaults: defaults)
    references = plan.references
    filters.merge(plan.filters) { $0 + $1 }
    functions = plan.functions
    extensions = plan.extensions
    return plan.sql
  }
}
