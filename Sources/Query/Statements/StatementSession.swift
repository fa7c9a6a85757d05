// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation
import ObjectStore
import Synchronization

/// Runs statements one after the other in an executor process, with what the next one needs made ahead.
///
/// A statement with tables gets a database of its own: what one statement may read is fixed before it runs and cannot be
/// changed after. A query over the very tables of the one before it goes on with that one's, see `OpenedTables`. Statements without tables share one that is shut off from everything, each on a connection of its own; it has
/// one thread, because to hand over the work of most of them takes longer than the work. Queries among them are kept for those who repeat
/// them, see `KeptQueries`.
/// One thread at a time, except `interrupt` and `progress`.
public final class StatementSession: Sendable {
  public struct Settings: Sendable {
    /// For example `1GB`.
    public var memoryLimit: String
    public var threads: Int
    /// Folder for what does not fit memory.
    public var scratch: String
    public init(memoryLimit: String, threads: Int, scratch: String) {
      self.memoryLimit = memoryLimit
      self.threads = threads
      self.scratch = scratch
    }
  }

  private struct State {
    var fresh: Database?
    var shared: Database?
    var running: Connection?
    /// Of the last statement with tables. What the next one cannot use is closed while idle, not before the answer.
    var opened: OpenedTables?
    var isInterrupted = false
    var kept = KeptQueries()
  }

  private let settings: Settings
  private let state = Mutex(State())

  public init(_ settings: Settings) { self.settings = settings }

  /// The folder that the database spills into is its own: the engine removes it when it closes.
  func open(threads: Int) throws -> Database {
    let spill = settings.scratch + "/spill-" + UUID().uuidString
    return try Database(settings: .init(memoryLimit: settings.memoryLimit, threads: threads, temporaryDirectory: spill))
  }

  /// Closes what the last statement had and opens what the next one needs. Blocks for some 20 ms; call it while idle.
  public func prepare() throws {
    if state.withLock({ $0.opened?.key == nil }) { close() }
    if state.withLock({ $0.shared == nil }) {
      let database = try open(threads: 1)
      try database.connect().execute(
        "SET GLOBAL TimeZone='UTC'; SET enable_external_access=false; SET lock_configuration=true")
      state.withLock { $0.shared = database }
    }
    if state.withLock({ $0.fresh == nil }) {
      let database = try open(threads: settings.threads)
      state.withLock { $0.fresh = database }
    }
  }

  private func database(for spec: StatementSpec) throws -> (Database, isShared: Bool) {
    if spec.needsNothing, let shared = state.withLock({ $0.shared }) { return (shared, true) }
    // Beside the statement: what the engine keeps of many files takes a while to free, and another thread has the time. But two databases
    // together must not hold much more than a statement may.
    if let spent = takeOpened({ _ in true }), !isHeavy(spent) { Thread.detachNewThread { withExtendedLifetime(spent) {} } }
    let ready = state.withLock { state in
      defer { state.fresh = nil }
      return state.fresh
    }
    return (try ready ?? open(threads: settings.threads), false)
  }

  /// Whether a database holds a quarter of a statement's memory, or has spilled.
  func isHeavy(_ opened: OpenedTables) -> Bool {
    let query = """
      SELECT CAST(sum(memory_usage_bytes) AS BIGINT), CAST(sum(temporary_storage_bytes) AS BIGINT), current_setting('memory_limit')
      FROM duckdb_memory()
      """
    // One that cannot say it is closed at once.
    guard let row = try? opened.connection.rows(query).first, let held = row[0].intValue, row[1].intValue == 0, let limit = row[2].stringValue,
      let bytes = Self.bytes(limit)
    else { return true }
    return held > bytes / 4
  }

  /// Of a size as the engine writes it: `244.1 MiB`.
  static func bytes(_ size: String) -> Int64? {
    let parts = size.split(separator: " ")
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"]
    guard parts.count == 2, let number = Double(parts[0]), let power = units.firstIndex(of: String(parts[1])) else { return nil }
    return Int64(number * Double(1 << (10 * power)))
  }

  /// Closes the tables of the last statement, if they are still open, with what the engine keeps of them in memory.
  public func close() {
    // It may be the last one to hold the database: closed here, not under the lock.
    withExtendedLifetime(takeOpened { _ in true }) {}
  }

  /// Takes out what the last statement has left, where `isWanted` says so.
  private func takeOpened(_ isWanted: (OpenedTables) -> Bool) -> OpenedTables? {
    state.withLock { state in
      guard let opened = state.opened, isWanted(opened) else { return nil }
      state.opened = nil
      return opened
    }
  }

  /// Blocks until the statement is done.
  /// - Throws: `invalidArgument` with the engine's text, `resourceExhausted`; `CancellationError` after `interrupt`.
  public func run(_ message: StatementMessage) throws -> StatementAnswer {
    if let kept = state.withLock({ $0.kept.take(message.head) }) { return try run(kept, message) }
    return try run(message.order(), head: message.head)
  }

  /// Blocks until the statement is done; as `run(_:)`, for an order that did not travel.
  public func run(_ order: StatementOrder) throws -> StatementAnswer { try run(order, head: nil) }

  /// - Parameter head: what to keep the query by, if it can be kept.
  private func run(_ order: StatementOrder, head: Data?) throws -> StatementAnswer {
    guard order.spec.isRemote else { return try runLocal(order, head: head) }
    let folder = settings.scratch + "/attempt-" + UUID().uuidString
    defer { try? FileManager.default.removeItem(atPath: folder) }  // a leftover goes with the scratch folder
    state.withLock { $0.isInterrupted = false }
    var remote = RemoteTables(scratch: folder, keys: KeyRing(order.keys ?? []))
    var local = order
    local.spec = try remote.localised(order.spec) { [self] in state.withLock { $0.isInterrupted } }
    do {
      // Its files go with the attempt.
      var answer = try runLocal(local, keepsTables: false)
      answer.result = try remote.published(answer.result)
      return answer
    } catch { throw remote.explained(error) }
  }

  /// A query that was run before.
  private func run(_ kept: KeptQueries.Query, _ message: StatementMessage) throws -> StatementAnswer {
    guard var output = kept.order.output else { throw PlatformError(.internalError, "a kept query needs an output") }
    output.directory = message.directory
    return try running(kept.connection, kept.order.spec) {
      let answer = try write(kept.statement.run(), output, kept.order.spec.limits)
      keep(kept, for: message.head, after: answer)
      return answer
    }
  }

  private func keep(_ query: KeptQueries.Query, for head: Data, after answer: StatementAnswer) {
    if isWhole(answer) { state.withLock { $0.kept.keep(query, for: head) } }
  }

  private func write(_ rows: ResultStream, _ output: StatementOutput, _ limits: StatementSpec.Limits) throws -> StatementAnswer {
    let columns = rows.columns.map { Column($0.name, $0.type) }
    var writer = ResultWriter(output, limits: limits, columns: columns)
    try writer.write(rows)
    return try writer.finish(columns)
  }

  private func running(_ connection: Connection, _ spec: StatementSpec, _ body: () throws -> StatementAnswer) throws -> StatementAnswer {
    state.withLock {
      $0.running = connection
      $0.isInterrupted = false
    }
    defer { state.withLock { $0.running = nil } }
    do {
      return try body()
    } catch let error as PlatformError where error.code == .cancelled {
      throw state.withLock({ $0.isInterrupted }) ? CancellationError() : error
    } catch { throw DamagedFiles.explained(error, spec.scans) }
  }

  private func runLocal(_ order: StatementOrder, head: Data? = nil, keepsTables: Bool = true) throws -> StatementAnswer {
    let key = keepsTables ? OpenedTables.Key(order.spec) : nil
    if let key, let opened = takeOpened({ $0.key == key }) { return try run(order, opened) }
    let (database, isShared) = try database(for: order.spec)
    let connection = try database.connect()
    var isReusable = false
    defer { if !isShared { leave(OpenedTables(connection: connection, key: isReusable ? key : nil)) } }
    let answer = try running(connection, order.spec) {
      if order.spec.postgres != nil { return try copy(order, connection) }
      if !isShared {
        let keys = order.keys.map { KeyRing($0) } ?? .shared
        try StatementRunner.prepare(order.spec, connection, scratch: settings.scratch, keys: keys) { self.state.withLock { $0.isInterrupted } }
      }
      try StatementRunner.define(order.spec, connection)
      return try self.answer(order, connection, keptBy: isShared ? head : nil)
    }
    isReusable = isWhole(answer)
    return answer
  }

  /// Whether a query was read to its end: only then is its connection as good as before.
  private func isWhole(_ answer: StatementAnswer) -> Bool { !answer.result.isTruncated && !state.withLock { $0.isInterrupted } }

  /// A query over tables that are open.
  private func run(_ order: StatementOrder, _ opened: OpenedTables) throws -> StatementAnswer {
    let answer = try running(opened.connection, order.spec) {
      for table in order.spec.tables { try DamagedFiles.checkSizes(table.scan.files, isPast: table.scan.isPast) }
      try StatementRunner.setVariables(order.spec, opened.connection)
      return try self.answer(order, opened.connection, keptBy: nil)
    }
    leave(OpenedTables(connection: opened.connection, key: isWhole(answer) ? opened.key : nil))
    return answer
  }

  private func leave(_ opened: OpenedTables) { state.withLock { $0.opened = opened } }

  /// - Parameter head: what to keep the query by, if it can be kept.
  private func answer(_ order: StatementOrder, _ connection: Connection, keptBy head: Data?) throws -> StatementAnswer {
    guard let output = order.output, order.spec.kind == .select || order.spec.kind == .explain else {
      return StatementAnswer(result: try StatementRunner.perform(order.spec, connection))
    }
    if let statement = try StatementRunner.plain(order.spec, connection) {
      let answer = try write(statement.run(), output, order.spec.limits)
      if let head, !order.spec.setsVariables {
        keep(KeptQueries.Query(order: order, connection: connection, statement: statement), for: head, after: answer)
      }
      return answer
    }
    let (columns, rows) = try StatementRunner.wrapped(order.spec, connection)
    var writer = ResultWriter(output, limits: order.spec.limits, columns: zip(columns, rows.columns).map { Column($0.name, $1.type) })
    try writer.write(rows)
    return try writer.finish(columns)
  }

  /// How many queries are kept.
  var keptCount: Int { state.withLock { $0.kept.count } }
  /// Whether tables of a query are still open.
  var hasOpenTables: Bool { state.withLock { $0.opened?.key != nil } }

  /// Rows of another Postgres: read while the engine may open files, then written.
  private func copy(_ order: StatementOrder, _ connection: Connection) throws -> StatementAnswer {
    guard let reach = order.connectionString else { throw PlatformError(.internalError, "a copy from Postgres needs a connection") }
    try connection.execute(StatementRunner.connectionSettings)
    let rows = try PostgresRows(order.spec, connectionString: reach, connection, scratch: settings.scratch) { [self] in state.withLock { $0.isInterrupted } }
    try StatementRunner.lock(order.spec, connection)
    return StatementAnswer(result: try rows.write(order.spec, connection))
  }

  /// Ends the running statement, if one runs. Repeat it until `run` has returned: between two queries of one statement the
  /// engine forgets it.
  public func interrupt() {
    state.withLock {
      $0.isInterrupted = true
      $0.running?.interrupt()
    }
  }

  /// Share done of the running query, 0...1, when it is known.
  public var progress: Double? { state.withLock { $0.running?.progress } }
}
