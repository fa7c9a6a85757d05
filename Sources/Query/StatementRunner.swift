// SPDX-License-Identifier: Apache-2.0

public import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import Synchronization

/// Runs a planned statement in an executor, shut off from files, network and settings.
public enum StatementRunner {
  /// Blocks; looks at `context.isCancelled` every 50 ms and interrupts the engine.
  /// - Throws: `invalidArgument` with the engine's text, `cancelled`, `resourceExhausted`.
  public static func run(_ spec: StatementSpec, context: any WorkContext) throws -> StatementResult {
    guard spec.kind.runsQuery else {
      throw PlatformError(.internalError, "a statement of kind '\(spec.kind.rawValue)' runs no query")
    }
    let spill = context.scratchDirectory + "/sql-spill-" + UUID().uuidString.prefix(8)
    defer { try? FileManager.default.removeItem(atPath: spill) }  // scratch is removed with the attempt anyway
    let database = try Database(
      settings: .init(memoryLimit: spec.limits.memory, threads: max(1, spec.limits.threads), temporaryDirectory: spill))
    let connection = try database.connect()
    let watch = WorkWatch(connection, context)
    defer { watch.stop() }
    do {
      try prepare(spec, connection, scratch: context.scratchDirectory) { context.isCancelled }
      try define(spec, connection)
      return try perform(spec, connection)
    } catch let error as PlatformError where error.code == .cancelled {
      throw context.isCancelled ? CancellationError() : error
    } catch { throw DamagedFiles.explained(error, spec.scans) }
  }

  /// Settings of every connection on which statements run.
  static let connectionSettings = "SET TimeZone='UTC'; SET enable_progress_bar=true; SET enable_progress_bar_print=false"

  /// Whole column chunks are asked for at once, and what was fetched is on the disk already: no second copy in memory.
  private static let partialFileSettings = "SET prefetch_all_parquet_files=true; SET enable_external_file_cache=false"

  /// Makes the statement's tables visible on a fresh connection and shuts it off from everything else.
  static func prepare(
    _ spec: StatementSpec, _ connection: Connection, scratch: String, keys: KeyRing = .shared, isCancelled: @escaping @Sendable () -> Bool
  ) throws {
    try connection.execute(connectionSettings)
    if PartialFiles.isInUse { try connection.execute(partialFileSettings) }
    for table in spec.tables { try table.scan.define(table.view, on: connection) }
    for read in spec.fileReads { try FileLoad.stage(read, connection, scratch: scratch, keys: keys, isCancelled: isCancelled) }
    if spec.records != nil { try RecordWriter(spec, connection).stage(scratch: scratch, isCancelled: isCancelled) }
    try lock(spec, connection)
  }

  /// Gives a connection that is shut off the statement's values, views and functions.
  static func define(_ spec: StatementSpec, _ connection: Connection) throws {
    try setVariables(spec, connection)
    for definition in spec.definitions { try definition.create(connection) }
  }

  static func setVariables(_ spec: StatementSpec, _ connection: Connection) throws {
    for variable in spec.variables where spec.reads(variable) { try variable.set(connection) }
  }

  /// Runs the statement on a prepared connection.
  static func perform(_ spec: StatementSpec, _ connection: Connection) throws -> StatementResult {
    var result =
      switch spec.kind {
      case .insert where spec.change != nil: try ChangeRunner.run(spec, connection)
      case .insert where spec.records != nil: try records(spec, connection)
      case .createTableAs, .insert: try write(spec, connection)
      case .delete, .update, .merge: try ChangeRunner.run(spec, connection)
      default: try read(spec, connection)
      }
    result.sources = spec.sources
    return result
  }

  /// From here on the engine opens the listed files only and refuses every change of settings.
  static func lock(_ spec: StatementSpec, _ connection: Connection) throws {
    try connection.execute("SET allowed_paths=\(SQLText.list(spec.tables.flatMap(\.scan.paths) + (spec.change?.files.map(\.path) ?? [])))")
    if let folder = spec.outputDirectory {
      do {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      } catch { throw PlatformError(.permissionDenied, "cannot create the folder", path: folder) }
      try connection.execute("SET allowed_directories=\(SQLText.list([folder + "/"]))")
    }
    try connection.execute("SET enable_external_access=false; SET lock_configuration=true")
  }

  private static func parameters(_ spec: StatementSpec) throws -> [SQLValue] {
    try spec.parameters.map { value in
      switch value {
      case .null: .null
      case .bool(let flag): .bool(flag)
      case .integer(let number): .int(number)
      case .number(let number): .double(number)
      case .string(let text): .string(text)
      default: throw PlatformError(.invalidArgument, "a parameter is null, a truth value, a number or a text")
      }
    }
  }

  static func columns(_ spec: StatementSpec, _ connection: Connection) throws -> [Column] {
    // The statement must be one by itself: a text that closes the parenthesis around it does not parse alone.
    let sql = try InsertRows.withoutDefaults(spec.sql)
    guard try connection.statementCount(sql) == 1 else {
      throw PlatformError(.invalidArgument, "exactly one SQL statement is expected")
    }
    return try connection.query("SELECT * FROM (\n\(sql)\n) AS probe LIMIT 0", parameters(spec)).columns.map {
      Column($0.name, $0.type)
    }
  }

  /// Starts a query. The stream's columns are of types that can be read; `columns` are those that the statement has.
  static func stream(_ spec: StatementSpec, _ connection: Connection) throws -> (columns: [Column], rows: ResultStream) {
    if let rows = try plain(spec, connection)?.run() { return (rows.columns.map { Column($0.name, $0.type) }, rows) }
    return try wrapped(spec, connection)
  }

  /// `stream` for what `plain` does not take.
  static func wrapped(_ spec: StatementSpec, _ connection: Connection) throws -> (columns: [Column], rows: ResultStream) {
    var sql = spec.sql
    // Also for EXPLAIN: whatever is no query fails here.
    let columns = try Self.columns(spec, connection)
    if spec.kind == .explain {
      sql = "EXPLAIN " + spec.sql
    } else {
      if columns.contains(where: { !$0.type.isDirect }) {
        let names = columns.indices.map { "c\($0)" }
        let list = zip(names, columns).map { $1.type.isDirect ? $0 : "CAST(\($0) AS VARCHAR) AS \($0)" }.joined(
          separator: ", ")
        sql = "SELECT \(list) FROM (\n\(spec.sql)\n) AS r(\(names.joined(separator: ", ")))"
      }
    }
    guard spec.kind == .explain else { return (columns, try connection.query(sql, parameters(spec))) }
    let explained = try connection.rows(sql, parameters(spec))
    // One stream of rows for whoever reads it: which files are read stands before the engine's plan.
    let lines = [("tables", spec.tables.map(\.summary).joined(separator: "\n"))] + explained.map { ($0[0].stringValue ?? "", $0[1].stringValue ?? "") }
    let rows = try connection.query(
      "SELECT * FROM (VALUES \(lines.map { _ in "(CAST(? AS VARCHAR), CAST(? AS VARCHAR))" }.joined(separator: ", "))) AS t(explain_key, explain_value)",
      lines.flatMap { [.string($0.0), .string($0.1)] })
    return (rows.columns.map { Column($0.name, $0.type) }, rows)
  }

  /// Prepares a query that needs nothing around it, which is most of the short ones: it is parsed and bound once. Nil for others.
  static func plain(_ spec: StatementSpec, _ connection: Connection) throws -> PreparedStatement? {
    guard spec.kind == .select, spec.parameters.isEmpty else { return nil }
    let statement = try connection.prepare(spec.sql)
    guard statement.isQuery, statement.parameterCount == 0, statement.columnTypes.allSatisfy(\.isDirect) else { return nil }
    return statement
  }

  private static func read(_ spec: StatementSpec, _ connection: Connection) throws -> StatementResult {
    let (shown, result) = try stream(spec, connection)
    var rows: [[JSONValue]] = []
    var bytes = 0
    var isTruncated = false
    reading: while let chunk = try result.next() {
      let vectors = (0..<chunk.columnCount).map { chunk.column($0) }
      for row in 0..<chunk.count {
        guard rows.count < spec.limits.rows, bytes < spec.limits.bytes else {
          isTruncated = true
          break reading
        }
        let values = vectors.map { $0.value(row).json }
        bytes += values.reduce(0) { $0 + size($1) }
        rows.append(values)
      }
    }
    return StatementResult(columns: shown, rows: rows, isTruncated: isTruncated, files: [], rowCount: Int64(rows.count))
  }

  /// Roughly the length of the JSON text.
  private static func size(_ value: JSONValue) -> Int {
    switch value {
    case .string(let text): text.utf8.count + 3
    case .array(let items): items.reduce(2) { $0 + size($1) }
    case .object(let members): members.reduce(2) { $0 + $1.key.utf8.count + 4 + size($1.value) }
    default: 8
    }
  }

  private static func write(_ spec: StatementSpec, _ connection: Connection) throws -> StatementResult {
    guard let folder = spec.outputDirectory else {
      throw PlatformError(.internalError, "a statement that writes needs a folder")
    }
    let isInsert = spec.kind == .insert
    var spec = spec
    if isInsert, let target = spec.target { spec = try InsertRows.typed(spec, TargetTable(target, columns: [])) }
    let columns = try Self.columns(spec, connection)
    if !isInsert {
      try GivenFields.checkNames(columns)
      // The query's own names: inside of another query the engine would make them different.
      var seen: Set<String> = []
      for name in try connection.prepare(spec.sql).columnNames where !seen.insert(name.lowercased()).inserted {
        throw PlatformError(.invalidArgument, "the query gives two columns named '\(name)'", hint: "The columns of a table need different names: AS.")
      }
    }
    let table = try TargetTable(
      spec.target ?? WriteTarget(name: "the table", schema: isInsert ? TypeMapping.schema(spec.targetColumns).schemaString : nil), columns: columns)
    var query: String
    if isInsert {
      query = try InsertRows(spec: spec, table: table).query(columns: columns)
    } else {
      query = try RowRules(table: table).query(from: "(\n\(spec.sql)\n) AS r", given: ParquetFile.same(columns))
    }
    let identities = try table.schema.identityColumns()
    if !spec.parameters.isEmpty || !identities.isEmpty {
      do {
        try connection.execute("CREATE TEMP TABLE __rows_bound AS \(query)", parameters(spec))
      } catch { throw RowRuleError.translated(error) }
      query = "SELECT * FROM __rows_bound"
    }
    var writer = DataFileWriter(layout: PhysicalLayout(table: table), folder: folder)
    // Folders of partitions are made durable here, so their files are, too.
    let leavesSync = isInsert && spec.syncingHost == ProcessSupport.hostID && writer.layout.partitionNames.isEmpty
    writer.waitsForDisk = !leavesSync
    let files = try writer.write(connection, query: query)
    var result = StatementResult(
      columns: table.columns, rows: [], isTruncated: false, files: files, rowCount: files.reduce(0) { $0 + $1.rows }, target: table.described)
    if leavesSync { result.isUnsynced = true }
    result.identityMarks = try identityMarks(identities, "__rows_bound", connection)
    return result
  }

  private static func records(_ spec: StatementSpec, _ connection: Connection) throws -> StatementResult {
    guard let folder = spec.outputDirectory else { throw PlatformError(.internalError, "a statement that writes needs a folder") }
    var writer = try RecordWriter(spec, connection)
    return try writer.run(folder: folder)
  }

  /// The value of each identity column that is farthest from its start.
  static func identityMarks(_ identities: [IdentityColumn], _ rows: String, _ connection: Connection) throws -> [String: Int64]? {
    guard !identities.isEmpty else { return nil }
    let list = identities.map { "\($0.step > 0 ? "max" : "min")(\(SQLText.identifier($0.name)))" }.joined(separator: ", ")
    guard let row = try connection.rows("SELECT \(list) FROM \(rows)").first else { return nil }
    var marks: [String: Int64] = [:]
    for (column, value) in zip(identities, row) { marks[column.name] = value.intValue }
    return marks
  }
}
