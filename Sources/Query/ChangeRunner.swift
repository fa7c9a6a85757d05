// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation

/// Carries out DELETE, UPDATE, MERGE and INSERT .. REPLACE WHERE.
///
/// Every expression of the user is evaluated once, into a table of changed rows; what is written is made from that table. So
/// a condition that looks at the table itself, or at the clock, cannot come out differently on the way. Where the table has deletion
/// vectors, changed rows are marked as gone and their new values are added; otherwise files with a changed row are written anew.
struct ChangeRunner {
  let spec: StatementSpec
  let change: StatementSpec.Change
  let folder: String
  let table: TargetTable
  let target: TargetRows
  let connection: Connection

  /// - Throws: `invalidArgument` with the engine's text, for a row that breaks a rule of the table, or when a row matches several rows
  ///   of a MERGE's source.
  static func run(_ spec: StatementSpec, _ connection: Connection) throws -> StatementResult {
    guard let change = spec.change, let folder = spec.outputDirectory else {
      throw PlatformError(.internalError, "a statement that changes rows needs its files and a folder")
    }
    let table = try TargetTable(
      spec.target ?? WriteTarget(name: "the table", schema: TypeMapping.schema(spec.targetColumns).schemaString), columns: [])
    do {
      return try ChangeRunner(
        spec: spec, change: change, folder: folder, table: table, target: TargetRows(table: table), connection: connection
      ).run()
    } catch { throw named(RowRuleError.translated(error), table) }
  }

  private var sets: [String] { table.columns.indices.map { "__set_\($0)" } }
  private var usesVectors: Bool { table.properties.usesDeletionVectors }
  private var names: [String] { table.columns.map { SQLText.identifier($0.name) } }

  private func run() throws -> StatementResult {
    try target.define("__target", change.files, connection)
    let sourceRows = try findChanges()
    let counts = try connection.rows(
      "SELECT count(*) FILTER (WHERE NOT __delete), count(*) FILTER (WHERE __delete), count(DISTINCT __f) FROM __changes"
    ).first
    var result = StatementResult.Change(
      version: change.version, removed: [], updated: counts?[0].intValue ?? 0, deleted: counts?[1].intValue ?? 0, inserted: 0)
    result.condition = change.condition
    result.sourceRows = sourceRows
    try defineNewRows(&result)
    let touched = try touchedFiles()
    var parts = ["SELECT * FROM __updated", "SELECT * FROM __inserted"]
    if usesVectors {
      try markDeleted(touched, &result)
    } else {
      result.removed = touched.map(\.path)
      if !touched.isEmpty {
        try target.define("__touched", touched, connection)
        parts.insert(
          "SELECT \((names + tracking.kept).joined(separator: ", ")) FROM __touched AS t ANTI JOIN __changes AS c ON c.__f = t.\(TargetRows.file) AND c.__r = t.\(TargetRows.row)",
          at: 0)
      }
    }
    var files: [WrittenFile] = []
    let physical = touched.allSatisfy { $0.physicalRows != nil && $0.deletions == nil } ? touched.reduce(0) { $0 + ($1.physicalRows ?? 0) } : nil
    let isEmpty = result.updated + result.inserted == 0 && (usesVectors || touched.isEmpty || physical == result.deleted)
    if !isEmpty {
      files = try DataFileWriter(layout: PhysicalLayout(table: table, extras: tracking.extras), folder: folder).write(
        connection, query: parts.joined(separator: " UNION ALL "))
      if !usesVectors { result.copied = max(0, files.reduce(0) { $0 + $1.rows } - result.updated - result.inserted) }
    }
    if table.properties.hasChangeDataFeed, result.updated + result.deleted > 0 { result.changeFiles = try writeFeed() }
    for file in change.whole ?? [] {
      result.removed.append(file.path)
      result.deleted += file.rows
    }
    let identities = try table.schema.identityColumns()
    var whole = StatementResult(
      columns: table.columns, rows: [], isTruncated: false, files: files, rowCount: result.updated + result.deleted + result.inserted,
      change: result, target: table.described)
    whole.identityMarks = try StatementRunner.identityMarks(identities, "__inserted", connection)
    return whole
  }

  /// Columns for row ids: those that an unchanged row keeps, and how files name them.
  private var tracking: (kept: [String], extras: [PhysicalLayout.Extra]) {
    guard let (id, version) = target.trackingColumns else { return ([], []) }
    return (
      [TargetRows.rowID, TargetRows.rowVersion],
      [
        .init(name: TargetRows.rowID, physicalName: id, type: .bigint), .init(name: TargetRows.rowVersion, physicalName: version, type: .bigint),
      ]
    )
  }

  /// Evaluates the statement: `__changes`, and for a MERGE `__source` and `__matched`.
  /// - Returns: how many rows a MERGE's source has.
  private func findChanges() throws -> Int64? {
    let list = (["__f", "__r", "__action", "__delete"] + sets).joined(separator: ", ")
    var parts: [String] = []
    var sourceRows: Int64?
    if let source = change.queries.source, let matched = change.queries.matched {
      try define("__source", source, nil)
      sourceRows = try connection.rows("SELECT count(*) FROM __source").first?[0].intValue
      for probe in change.queries.probes ?? [] { try probe.check(connection) }
      try define("__matched", matched, ["__f", "__r", "__s", "__action", "__delete"] + sets)
      let several = try connection.rows("SELECT 1 FROM __matched WHERE __action <> 0 GROUP BY __f, __r HAVING count(*) > 1 LIMIT 1")
      guard several.isEmpty || change.queries.allowsSeveralMatches else {
        throw PlatformError(
          .invalidArgument, "a row of the target matches several rows of the source, which would change it in different ways",
          hint: "Make the source unique in the columns of ON.", number: "PLT-3203")
      }
      let once = several.isEmpty ? "" : " QUALIFY row_number() OVER (PARTITION BY __f, __r) = 1"
      parts.append("SELECT \(list) FROM __matched WHERE __action <> 0\(once)")
    }
    if let changed = change.queries.changed {
      if change.queries.source == nil { for probe in change.queries.probes ?? [] { try probe.check(connection) } }
      try define("__alone", changed, ["__f", "__r", "__action", "__delete"] + sets)
      parts.append("SELECT \(list) FROM __alone WHERE __action <> 0")
    }
    guard !parts.isEmpty else { throw PlatformError(.internalError, "the statement changes nothing") }
    let query = parts.joined(separator: " UNION ALL ")
    try connection.execute("CREATE TEMP \(parts.count == 1 ? "VIEW" : "TABLE") __changes AS \(query)")
    return sourceRows
  }

  /// `__updated` and `__inserted`: complete, checked rows.
  private func defineNewRows(_ result: inout StatementResult.Change) throws {
    var rules = RowRules(table: table)
    rules.keepsIdentity = true
    rules.computed = Set(table.schema.generatedColumns.map { $0.path[0].lowercased() }).subtracting(change.queries.updatedColumns)
    var given: [String: String] = [:]
    for (column, set) in zip(table.columns, sets) where !rules.computed.contains(column.name.lowercased()) { given[column.name.lowercased()] = set }
    let identity =
      "(SELECT c.*\(target.trackingColumns == nil ? "" : ", t.\(TargetRows.rowID), CAST(NULL AS BIGINT) AS \(TargetRows.rowVersion)") FROM __changes AS c"
    let join =
      target.trackingColumns == nil
      ? "" : " JOIN __target AS t ON c.__f = t.\(TargetRows.file) AND c.__r = t.\(TargetRows.row)"
    let places = table.properties.hasChangeDataFeed ? ["__f", "__r"] : []
    let updated = try rules.query(from: "\(identity)\(join) WHERE NOT c.__delete) AS u", given: given, passing: places + tracking.kept)
    try connection.execute(
      "CREATE TEMP \(result.updated > 0 ? "TABLE" : "VIEW") __updated_rows AS \(updated)")
    let list = (names + tracking.kept).joined(separator: ", ")
    try connection.execute("CREATE TEMP VIEW __updated AS SELECT \(list) FROM __updated_rows")

    let nothing = tracking.kept.map { "CAST(NULL AS BIGINT) AS \($0)" }
    let inserted: String
    if spec.kind == .insert {
      let spec = try InsertRows.typed(spec, table)
      let columns = try StatementRunner.columns(spec, connection)
      inserted = try InsertRows(spec: spec, table: table).query(columns: columns)
    } else if let query = change.queries.inserted {
      try define("__new", query, ["__action"] + sets)
      inserted = try insertRules().query(from: "(SELECT * FROM __new WHERE __action <> 0) AS n", given: insertGiven())
    } else {
      inserted = "SELECT \(zip(table.columns, names).map { "CAST(NULL AS \($0.type.sql)) AS \($1)" }.joined(separator: ", ")) WHERE false"
    }
    try connection.execute("CREATE TEMP TABLE __inserted AS SELECT \((names + nothing).joined(separator: ", ")) FROM (\(inserted)) AS n")
    result.inserted = try connection.rows("SELECT count(*) FROM __inserted").first?[0].intValue ?? 0
  }

  private func insertRules() throws -> RowRules {
    var rules = RowRules(table: table)
    rules.computed = Set(table.schema.generatedColumns.map { $0.path[0].lowercased() }).subtracting(change.queries.insertedColumns)
    rules.defaulted = Set(try table.schema.identityColumns().filter(\.allowsExplicitInsert).map { $0.name.lowercased() })
    return rules
  }

  private func insertGiven() throws -> [String: String] {
    let computed = Set(table.schema.generatedColumns.map { $0.path[0].lowercased() }).union(try table.schema.identityColumns().map { $0.name.lowercased() })
    var given: [String: String] = [:]
    for (column, set) in zip(table.columns, sets) {
      let key = column.name.lowercased()
      if !computed.contains(key) || change.queries.insertedColumns.contains(key) { given[key] = set }
    }
    return given
  }

  /// The files with a changed row.
  private func touchedFiles() throws -> [TargetFile] {
    let paths = Set(try connection.rows("SELECT DISTINCT __f FROM __changes").compactMap { $0[0].stringValue })
    let touched = change.files.filter { paths.contains($0.path) }.sorted { $0.path < $1.path }
    guard touched.count == paths.count else { throw PlatformError(.internalError, "the engine names a file that was not given") }
    return touched
  }

  // MARK: Deletion vectors

  /// Marks the changed rows as gone: one file of vectors for the statement. A file without rows left is removed.
  ///
  /// The numbers of the rows come from the engine sorted, which has put them on disk where they are too many for its memory, and are kept
  /// compressed, of one data file at a time.
  private func markDeleted(_ touched: [TargetFile], _ result: inout StatementResult.Change) throws {
    guard !touched.isEmpty else { return }
    let files = Dictionary(uniqueKeysWithValues: touched.map { ($0.path, $0) })
    var writer = VectorWriter(folder: folder)
    var isComplete = false
    defer { if !isComplete { writer.discard() } }
    var builder = DeletionVectorBuilder()
    var current = ""
    func close() throws {
      guard let file = files[current] else { return }
      var vector = builder.finish()
      if let deletions = file.deletions { vector.formUnion(try DeletedRows.read(deletions, of: file.path)) }
      guard let physical = file.physicalRows else {
        throw PlatformError(.invalidFile, "a file without a number of rows in the table's log cannot have a deletion vector", path: file.path)
      }
      if vector.cardinality >= physical {
        result.removed.append(file.path)
      } else {
        result.vectors.append(.init(path: file.path, descriptor: try writer.write(vector)))
      }
    }
    let stream = try connection.query("SELECT __f, __r FROM __changes ORDER BY __f, __r")
    while let chunk = try stream.next() {
      let (names, numbers) = (chunk.column(0), chunk.column(1))
      for index in 0..<chunk.count {
        let name = names.string(index)
        if name != current {
          try close()
          current = name
        }
        builder.append(UInt64(clamping: numbers.int64(index)))
      }
    }
    try close()
    try writer.finish()
    isComplete = true
  }

  // MARK: Change data feed

  /// Files with the rows as they were and as they became.
  private func writeFeed() throws -> [WrittenFile] {
    let kind = SQLText.identifier(ChangeDataFeed.changeTypeColumn)
    let list = names.joined(separator: ", ")
    let old = table.columns.map { "t.\(SQLText.identifier($0.name))" }.joined(separator: ", ")
    let query = """
      SELECT \(old), CASE WHEN c.__delete THEN 'delete' ELSE 'update_preimage' END AS \(kind) FROM __target AS t
        JOIN __changes AS c ON c.__f = t.\(TargetRows.file) AND c.__r = t.\(TargetRows.row)
      UNION ALL SELECT \(list), 'update_postimage' FROM __updated_rows UNION ALL SELECT \(list), 'insert' FROM __inserted
      """
    return try DataFileWriter(
      layout: PhysicalLayout(
        table: table, extras: [.init(name: ChangeDataFeed.changeTypeColumn, physicalName: ChangeDataFeed.changeTypeColumn, type: .varchar)]),
      folder: folder, subfolder: ChangeDataFeed.folder
    ).write(connection, query: query)
  }

  /// Runs one of the queries into a table of the engine, once it is known to be one query with the columns that are expected.
  private func define(_ name: String, _ query: String, _ expected: [String]?) throws {
    guard try connection.statementCount(query) == 1 else {
      throw PlatformError(.invalidArgument, "exactly one SQL statement is expected")
    }
    let columns = try connection.query("SELECT * FROM (\n\(query)\n) AS probe LIMIT 0").columns
    guard let expected else {
      try connection.execute("CREATE TEMP TABLE \(name) AS \(query)")
      return
    }
    let conditions = columns.filter { $0.name.hasPrefix(StatementPlan.conditionColumn) }
    if let wrong = conditions.first(where: { $0.type != .boolean }) {
      throw ChangeProbe.noCondition(wrong.name.split(separator: " ", maxSplits: 2).last ?? "", wrong.type)
    }
    guard columns.dropLast(conditions.count).map(\.name) == expected else {
      throw ChangeProbe.noExpression
    }
    let rows = conditions.isEmpty ? query : "SELECT \(expected.joined(separator: ", ")) FROM (\n\(query)\n) AS judged"
    try connection.execute("CREATE TEMP TABLE \(name) AS \(rows)")
  }

  /// The engine's word on a column that is not there, with the table's columns in the place of our own.
  private static func named(_ error: any Error, _ table: TargetTable) -> any Error {
    guard let error = error as? PlatformError, error.message.contains("__platform_"), let end = error.message.firstRange(of: "\nCandidate bindings:")
    else { return error }
    return PlatformError(
      error.code, String(error.message[..<end.lowerBound]), hint: "The table has: \(table.columns.map(\.name).prefix(100).joined(separator: ", ")).",
      number: error.number)
  }
}
