// SPDX-License-Identifier: Apache-2.0

public import Core
import DuckDB
import Foundation
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
    try connection.execute("SET TimeZone='UTC'; SET enable_progress_bar=true; SET enable_progress_bar_print=false")
    for table in spec.tables { try define(table, connection) }
    try lock(spec, connection)
    let watch = Watch(connection, context)
    defer { watch.stop() }
    do {
      switch spec.kind {
      case .createTableAs, .insert: return try write(spec, connection)
      case .delete, .update, .merge: return try ChangeRunner.run(spec, connection)
      default: return try read(spec, connection)
      }
    } catch let error as PlatformError where error.code == .cancelled {
      throw context.isCancelled ? CancellationError() : error
    }
  }

  /// A view with the table's columns; a column that no file has is NULL.
  private static func define(_ table: StatementSpec.Table, _ connection: Connection) throws {
    var source = ""
    var present: Set<String> = []
    if !table.files.isEmpty {
      source = "read_parquet(\(SQLText.list(table.files)), union_by_name=true)"
      present = Set(try connection.query("SELECT * FROM \(source) LIMIT 0").columns.map(\.name))
    }
    let list = table.columns.map { column in
      let name = SQLText.identifier(column.name)
      return "CAST(\(present.contains(column.name) ? name : "NULL") AS \(column.type.sql)) AS \(name)"
    }.joined(separator: ", ")
    guard !list.isEmpty else { throw PlatformError(.invalidFile, "a table without columns cannot be read") }
    try connection.execute(
      "CREATE VIEW \(SQLText.identifier(table.view)) AS SELECT \(list)"
        + (source.isEmpty ? " WHERE false" : " FROM \(source)"))
  }

  /// From here on the engine opens the listed files only and refuses every change of settings.
  private static func lock(_ spec: StatementSpec, _ connection: Connection) throws {
    try connection.execute("SET allowed_paths=\(SQLText.list(spec.tables.flatMap(\.files) + (spec.change?.files ?? [])))")
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

  private static func columns(_ spec: StatementSpec, _ connection: Connection) throws -> [Column] {
    // The statement must be one by itself: a text that closes the parenthesis around it does not parse alone.
    guard try connection.statementCount(spec.sql) == 1 else {
      throw PlatformError(.invalidArgument, "exactly one SQL statement is expected")
    }
    return try connection.query("SELECT * FROM (\n\(spec.sql)\n) AS probe LIMIT 0", parameters(spec)).columns.map {
      Column($0.name, $0.type)
    }
  }

  private static func read(_ spec: StatementSpec, _ connection: Connection) throws -> StatementResult {
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
    let result = try connection.query(sql, parameters(spec))
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
    let shown = spec.kind == .explain ? result.columns.map { Column($0.name, $0.type) } : columns
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
    var columns = try Self.columns(spec, connection)
    var query = spec.sql
    if spec.kind == .insert {
      let named = spec.insertColumns.isEmpty ? spec.targetColumns.map(\.name) : spec.insertColumns
      let unknown = named.filter { name in !spec.targetColumns.contains { $0.name.lowercased() == name.lowercased() } }
      guard unknown.isEmpty else { throw PlatformError(.invalidArgument, "the table has no column '\(unknown[0])'") }
      guard columns.count == named.count, Set(named.map { $0.lowercased() }).count == named.count else {
        throw PlatformError(
          .invalidArgument, "the query gives \(columns.count) columns, the table takes \(named.count) different ones")
      }
      let names = named.indices.map { "c\($0)" }
      let list = spec.targetColumns.map { column in
        let given = named.firstIndex { $0.lowercased() == column.name.lowercased() }.map { names[$0] } ?? "NULL"
        return "CAST(\(given) AS \(column.type.sql)) AS \(SQLText.identifier(column.name))"
      }.joined(separator: ", ")
      query = "SELECT \(list) FROM (\n\(spec.sql)\n) AS r(\(names.joined(separator: ", ")))"
      columns = spec.targetColumns
    }
    guard !columns.isEmpty, Set(columns.map { $0.name.lowercased() }).count == columns.count else {
      throw PlatformError(.invalidArgument, "the columns of a table need different names", hint: "Name them with AS.")
    }
    // A table of the engine first: parameters are bound there, and an empty result is seen before a file is made.
    try connection.execute("CREATE TEMP TABLE __written AS \(query)", parameters(spec))
    let count = try connection.rows("SELECT count(*) FROM __written").first?[0].intValue ?? 0
    var files: [WrittenFile] = []
    if count > 0 {
      let path = folder + "/part-" + UUID().uuidString.lowercased() + ".zstd.parquet"
      files.append(try ParquetFile.write(connection, source: "__written", columns: columns, path: path))
    }
    return StatementResult(columns: columns, rows: [], isTruncated: false, files: files, rowCount: count)
  }

  /// Interrupts the connection once the context is cancelled, and reports progress.
  private final class Watch: Sendable {
    private let isDone = Mutex(false)

    init(_ connection: Connection, _ context: any WorkContext) {
      let thread = Thread { [self] in
        while !isDone.withLock({ $0 }) {
          if context.isCancelled { connection.interrupt() }
          if let share = connection.progress { context.progress(done: Int64(share * 100), total: 100, unit: "percent") }
          usleep(50_000)
        }
      }
      thread.stackSize = 1 << 20
      thread.start()
    }

    func stop() { isDone.withLock { $0 = true } }
  }
}
