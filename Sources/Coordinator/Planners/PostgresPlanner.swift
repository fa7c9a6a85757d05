// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DeltaLog
import DuckDB
import Foundation
import Postgres
import Query
import Scheduling

/// `postgres_task`: rows of another Postgres go into a table, all of them or those that are new. One stage is one commit; a worker reads, and
/// the password goes to it in memory only.
struct PostgresPlanner: TaskPlanner {
  let services: PlanningServices

  private var folders: UnnamedFolders { UnnamedFolders(pool: services.catalog.pool) }

  private static let timeLimit: Duration = .seconds(3600)
  private static let attemptLimit = 5

  private struct Body: Decodable {
    var connection: String
    var table: String?
    var query: String?
    var target: String
    var mode: String?
    var watermark: String?
    var lag_seconds: Double?
    var batch_rows: Int?

    var isIncremental: Bool { mode == "incremental" }
    /// What is read, for the log and for people.
    var source: String { "postgres:\(connection)/" + (table ?? String(SHA256Digest.hex(query ?? "").prefix(16))) }
    /// In the table's log.
    var application: String { "platform/postgres/" + SHA256Digest.hex(source + "/" + (watermark ?? "")).prefix(32) }
  }

  private struct Carry: Codable {
    var rows: Int64 = 0
    var batches = 0
    var version: Int64?
  }

  func plan(_ call: StageCall) async throws -> StagePlan { .none }

  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome {
    let body: Body = try call.body()
    guard (body.table == nil) != (body.query == nil), body.isIncremental == (body.watermark != nil) else {
      throw PlatformError(.invalidArgument, "a postgres_task has a table or a query, and a watermark when it is incremental", number: "PLT-3126")
    }
    var carry = call.carry == .null ? Carry() : try call.carry.decode(Carry.self)
    let name = try ThreePartName(body.target)
    var attempt = 0
    while true {
      attempt += 1
      do {
        let done = try await copy(body, name, call)
        carry.rows += done.rows
        if let version = done.version {
          carry.batches += 1
          carry.version = version
        }
        if done.hasMore { return .nextStage(carry: try JSONValue(encoding: carry)) }
        return .taskDone(values: [
          "table": .string("\(name)"), "version": carry.version.map { .integer($0) } ?? .null, "rows_out": .integer(carry.rows),
          "batches": .integer(Int64(carry.batches)), "summary": .string("\(name)  \(grouped(carry.rows)) rows of \(body.source)"),
        ])
      } catch let error as PlatformError where error.code == .conflict && CommitConflict.kind(of: error) != nil && attempt < Self.attemptLimit {
        continue  // others changed the table: what is new is asked again
      }
    }
  }

  private func run(_ spec: StatementSpec, _ reach: String) async throws -> StatementResult {
    guard let dispatcher = services.dispatcher else { throw PlatformError(.internalError, "nobody runs statements here") }
    var order = StatementOrder(spec: spec, output: nil)
    order.connectionString = reach
    let ready = order
    return try await withDeadline(Self.timeLimit, "a copy from Postgres") {
      try await dispatcher.run("postgres-\(UUID().uuidString.lowercased())", ready).result
    }
  }

  /// Where rows go to.
  private struct Target {
    /// The version that they are added to.
    var base: LakeTables.Base
    /// The catalog does not know of the table yet: it comes to know of it when the rows are there.
    var isNew: Bool
  }

  /// The table, made and grown as the source's columns want it.
  private func target(_ name: ThreePartName, _ body: Body, _ reach: String, _ call: StageCall) async throws -> Target {
    var spec = StatementSpec(kind: .insert, sql: "", tables: [])
    var probe = PostgresRead(table: body.table, query: body.query)
    probe.isProbe = true
    spec.postgres = probe
    guard let entry = try await services.catalog.findTable(name) else { return try await begin(name, try await run(spec, reach).columns, call) }
    guard entry.kind != .view else { throw PlatformError(.invalidArgument, "'\(name)' is a view: it has no rows of its own", number: "PLT-3224") }
    spec.targetColumns = try TypeMapping.columns(try await services.tables.base(name).snapshot.schema)
    let columns = try await run(spec, reach).columns
    _ = try await services.tables.change(entry, key: "\(call.commitKey)/columns-\(UUID().uuidString)") { base, _ in
      var change = SchemaChange(base)
      let present = Set(base.schema.fields.map { $0.name.lowercased() })
      let missing = columns.filter { !present.contains($0.name.lowercased()) }
      guard !missing.isEmpty else { return nil }
      for column in missing { try change.addColumn(StructField(name: column.name, type: TypeMapping.delta(column.type))) }
      return try change.plan(operation: "ADD COLUMNS")
    }
    return Target(base: try await services.tables.base(name), isNew: false)
  }

  /// The log of a new table, without rows. Columns that cannot be called so in files are mapped.
  private func begin(_ name: ThreePartName, _ columns: [Column], _ call: StageCall) async throws -> Target {
    let schema = TypeMapping.schema(columns)
    let isPlain: Bool
    do {
      try schema.checkNames(isMapped: false)
      isPlain = true
    } catch { isPlain = false }
    let new = try NewTable(schema: schema, properties: isPlain ? [:] : ["delta.columnMapping.mode": "name"], name: "\(name)")
    let place = try await folders.make(beside: StatementPlanner(services: services).freshLocation(name, call))
    let snapshot: Snapshot
    do {
      snapshot = try await BlockingPool.shared.run {
        let table = try LakeTables.log(place)
        _ = try table.create(new.metadata, features: new.features, actions: new.domains)
        return try table.snapshot()
      }
    } catch {
      await folders.remove(place)
      throw error
    }
    let entry = TableEntry(new: name, location: place, by: "run \(call.id.run)")
    return Target(base: LakeTables.Base(entry: entry, snapshot: snapshot), isNew: true)
  }

  /// Makes the new table known.
  /// - Throws: `conflict` when somebody else has made a table of the name meanwhile.
  private func publish(_ base: LakeTables.Base, _ call: StageCall) async throws -> TableEntry {
    let place = base.entry.location
    let columns = try TypeMapping.columns(base.snapshot.schema).map { ColumnEntry(name: $0.name, type: $0.type.sql.lowercased()) }
    let entry = try await services.catalog.table(
      base.entry.name, creatingIn: services.layout.lake, columns: columns, by: base.entry.createdBy, location: place)
    guard entry.location == place else {
      await folders.remove(place)
      throw PlatformError(.conflict, "a table '\(entry.name)' was made meanwhile", hint: "Submit it again.", number: "PLT-3125")
    }
    return entry
  }

  private func copy(_ body: Body, _ name: ThreePartName, _ call: StageCall) async throws -> (rows: Int64, version: Int64?, hasMore: Bool) {
    let reach = try await PostgresReach(services: services).connectionString(body.connection)
    let target = try await target(name, body, reach, call)
    let base = target.base
    let ledger = PullLedger(pool: services.catalog.pool)
    let application = body.application
    let last = base.snapshot.transactions[application]?.version
    var entry = base.entry
    let result: StatementResult
    let outcome: PostgresOutcome
    var version: Int64?
    do {
      var read = PostgresRead(table: body.table, query: body.query, watermark: body.watermark)
      if body.isIncremental {
        read.last = try await ledger.mark(entry.id, application: application, committed: last) {
          try services.tables.log(base.entry).history(limit: Int(clamping: base.snapshot.version + 1))
        }
      }
      read.lagMilliseconds = Int64((body.lag_seconds ?? 0) * 1000)
      read.rowLimit = max(1, min(body.batch_rows ?? 1_000_000, 100_000_000))
      var spec = StatementSpec(kind: .insert, sql: "", tables: [])
      spec.postgres = read
      spec.target = base.target
      spec.targetColumns = try TypeMapping.columns(base.snapshot.schema)
      spec.outputDirectory = entry.location
      result = try await run(spec, reach)
      guard let found = result.postgres else { throw PlatformError(.internalError, "the executor says nothing of the source") }
      outcome = found
      if !body.isIncremental || result.rowCount > 0 { version = try await commit(body, result, outcome, onto: base, number: (last ?? 0) + 1, call) }
    } catch {
      // Nothing names the folder yet.
      if target.isNew { await folders.remove(base.entry.location) }
      throw error
    }
    if target.isNew {
      // Also when it is unknown whether the catalog has it: the next attempt finds out.
      defer { UnnamedFolders.release(base.entry.location) }
      entry = try await publish(base, call)
    }
    guard let version else { return (0, nil, outcome.hasMore) }
    if let mark = outcome.mark { try await ledger.record(entry.id, application: application, number: (last ?? 0) + 1, mark) }
    try await services.catalog.addLineage([
      LineageEdge(
        sourceKind: "path", source: body.source, targetKind: "table", target: "\(name)", targetVersion: version, runID: call.id.run, taskKey: call.id.task)
    ])
    return (result.rowCount, version, body.isIncremental && outcome.hasMore)
  }

  private func commit(
    _ body: Body, _ result: StatementResult, _ outcome: PostgresOutcome, onto base: LakeTables.Base, number: Int64, _ call: StageCall
  ) async throws -> Int64 {
    let transaction = AppTransaction(appId: body.application, version: number)
    return try await BlockingPool.shared.run {
      let table = try services.tables.open(base.entry, LakeTables.writtenFeatures)
      var snapshot = base.snapshot
      guard let made = result.target, let schema = made.schema else { throw PlatformError(.internalError, "the statement says nothing of its table") }
      let adds = try LakeTables.adds(result.files, base.entry)
      var plan = body.isIncremental ? CommitPlan.append(adds, operation: "STREAMING UPDATE") : .overwrite(adds, base: snapshot)
      if !body.isIncremental { plan.isolation = .serializable }
      let marked = try StatementPlanner.marked(StructType(parsing: schema), result.identityMarks)
      plan.actions =
        try SchemaChange.actions(snapshot, schema: marked, configuration: made.properties, partitionColumns: made.partitionColumns) + plan.actions
      plan.reads.applications = [body.application]
      plan.operationParameters["source"] = .string(body.application)
      plan.operationParameters["epochId"] = .string(String(number))
      if let mark = outcome.mark { plan.operationParameters["mark"] = try PullLedger.parameter(mark) }
      plan.operationMetrics = [
        "numFiles": String(adds.count), "numOutputRows": String(result.rowCount), "numOutputBytes": String(result.files.reduce(0) { $0 + $1.sizeBytes }),
      ]
      let done = try table.commit(plan, onto: &snapshot, transaction: transaction)
      // Somebody else copied the same source meanwhile: these rows are in the table already.
      guard !done.isReplay else {
        throw PlatformError(.conflict, "another task has copied the same source into the table meanwhile", hint: "Submit it again.", number: "PLT-3125")
      }
      return done.version
    }
  }
}

/// How a catalog connection reaches a Postgres.
struct PostgresReach {
  let services: PlanningServices

  /// By the names that connections may use for it.
  private static let names = [
    "host": "host", "hostname": "host", "server": "host", "port": "port", "user": "user", "username": "user", "password": "password",
    "database": "dbname", "dbname": "dbname", "sslmode": "sslmode", "connect_timeout": "connect_timeout",
  ]

  /// With the password: for those who connect, and for no one else.
  /// - Throws: `notFound` PLT-3002, `invalidArgument` PLT-3124.
  func connectionString(_ name: String) async throws -> String {
    func wrong(_ message: String, _ hint: String) -> PlatformError { PlatformError(.invalidArgument, message, hint: hint, number: "PLT-3124") }
    let entry = try await services.catalog.connection(name)
    guard ["POSTGRESQL", "POSTGRES"].contains(entry.kind.uppercased()) else {
      throw wrong("the connection '\(name)' is of the type \(entry.kind)", "Make one of the type POSTGRESQL.")
    }
    let path = services.layout.sealingKey
    let key = try await BlockingPool.shared.run { try SealingKey(loadingOrCreating: path) }
    var words: [String: String] = [:]
    for (option, value) in try await services.catalog.connectionOptions(name, sealedWith: key) {
      guard let word = Self.names[option.lowercased()] else {
        throw wrong(
          "the connection '\(name)' has the option '\(option)', which is not known", "Known: \(Set(Self.names.keys).sorted().joined(separator: ", ")).")
      }
      words[word] = value
    }
    guard let host = words["host"], let first = host.first else { throw wrong("the connection '\(name)' has no host", "Give --option host=NAME.") }
    // Sockets and lists of hosts would lead to the platform's own database.
    guard first != "/", first != "@", !host.contains(",") else {
      throw wrong("the connection '\(name)' leads to a socket or to several hosts", "Give the name or address of one host.")
    }
    return words.sorted { $0.key < $1.key }.map { "\($0.key)=\(PostgresConnectionString.value($0.value))" }.joined(separator: " ")
  }
}
