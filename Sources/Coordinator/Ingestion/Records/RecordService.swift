// SPDX-License-Identifier: Apache-2.0

import API
import Catalog
import Client
import Core
import DeltaLog
import Foundation
import Logging
import ObjectStore
import Query

/// Takes records that clients push to tables: an executor on a worker makes data files of them, and the answer goes out when the commit that
/// holds them is in the table's log. Batches that meet share a commit.
actor RecordService {
  /// Of bodies that are being received or wait, all tables together.
  static let spoolLimit: Int64 = 4 << 30
  private static let attemptLimit = 10
  private static let timeLimit: Duration = .seconds(300)

  private struct Batch {
    var record: RecordBatch
    var principal: String
    var waiters: [CheckedContinuation<RecordAnswer, any Error>]
  }

  private struct Table {
    var name: ThreePartName
    var groups = RecordGroups()
    var batches: [String: Batch] = [:]
    var driver: Task<Void, Never>?
  }

  private let services: PlanningServices
  private let dispatcher: StatementDispatcher
  private let ledger: RecordLedger
  private let logger: Logger
  nonisolated let folder: String
  nonisolated let lake: LakeTables
  private var tables: [UUID: Table] = [:]
  private var spooled: Int64 = 0
  private var groupsRun = 0
  /// Tables whose index is known to have all that is in the log, by the last number there.
  private var committed: [UUID: Int64?] = [:]

  init(services: PlanningServices, dispatcher: StatementDispatcher, logger: Logger) {
    self.services = services
    self.dispatcher = dispatcher
    self.logger = logger
    ledger = RecordLedger(pool: services.catalog.pool)
    folder = services.layout.pushes
    lake = services.tables
  }

  /// Removes bodies that an earlier process left: nobody waits for them any more.
  func recover() async throws {
    let folder = folder
    try await BlockingPool.shared.run {
      try? FileManager.default.removeItem(atPath: folder)  // not there: nothing to remove
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }
    try await ledger.forgetOld()
  }

  // MARK: bodies

  /// Makes room for a body of at most so many bytes.
  /// - Throws: `resourceExhausted` PLT-3121.
  func reserve(_ bytes: Int64) throws {
    guard spooled + bytes <= Self.spoolLimit else {
      throw PlatformError(
        .resourceExhausted, "too many records are being pushed at once", hint: "Send them again in a second, under the same batch id.", number: "PLT-3121")
    }
    spooled += bytes
  }

  func release(_ bytes: Int64) { spooled -= bytes }

  // MARK: batches

  /// Waits until the batch is in the table.
  /// - Throws: `invalidArgument` PLT-3120 for records that the table does not take; `resourceExhausted` PLT-3121.
  func push(_ batch: RecordBatch, to entry: TableEntry, by principal: String) async throws -> RecordAnswer {
    let now = ProcessSupport.wallMilliseconds
    var table = tables[entry.id] ?? Table(name: entry.name)
    table.name = entry.name
    let admission = try table.groups.add(batch.id, bytes: batch.sizeBytes, now: now)
    return try await withCheckedThrowingContinuation { continuation in
      switch admission {
      case .joined: table.batches[batch.id]?.waiters.append(continuation)
      case .queued: table.batches[batch.id] = Batch(record: batch, principal: principal, waiters: [continuation])
      }
      // Ends by itself when nothing waits.
      if table.driver == nil { table.driver = Task { await self.drive(entry.id) } }
      tables[entry.id] = table
    }
  }

  private func drive(_ id: UUID) async {
    while true {
      switch tables[id]?.groups.next(now: ProcessSupport.wallMilliseconds) ?? .idle {
      case .idle:
        tables[id] = nil
        return
      case .wait(let until):
        try? await Task.sleep(for: .milliseconds(max(1, min(until - ProcessSupport.wallMilliseconds, 10))))  // never cancelled
      case .start(let ids):
        let batches = ids.compactMap { tables[id]?.batches[$0] }
        let outcomes = await run(id, batches)
        for (batch, outcome) in zip(ids, outcomes) {
          for waiter in tables[id]?.batches.removeValue(forKey: batch)?.waiters ?? [] { waiter.resume(with: outcome) }
        }
        tables[id]?.groups.finished()
        groupsRun += 1
        if groupsRun % 10_000 == 0 { try? await ledger.forgetOld() }  // tried again later
      }
    }
  }

  /// Writes a group, again when others changed the table meanwhile.
  private func run(_ id: UUID, _ batches: [Batch]) async -> [Result<RecordAnswer, any Error>] {
    guard let name = tables[id]?.name else { return batches.map { _ in .failure(PlatformError(.internalError, "a group without a table")) } }
    var attempt = 0
    while true {
      attempt += 1
      do {
        return try await write(id, name, batches)
      } catch {
        // What the log says is looked up again, whatever went wrong.
        committed[id] = nil
        let failure = PlatformError.from(error)
        if failure.code == .conflict, attempt < Self.attemptLimit { continue }
        logger.warning("pushed records were not written", metadata: ["table": "\(name)", "error": "\(failure)"])
        return batches.map { _ in .failure(failure) }
      }
    }
  }

  private func write(_ id: UUID, _ name: ThreePartName, _ batches: [Batch]) async throws -> [Result<RecordAnswer, any Error>] {
    let entry = try await services.tables.entry(name)
    guard entry.id == id else { throw PlatformError(.notFound, "table '\(name)' was replaced by another", number: "PLT-3002") }
    let table = try lake.open(entry, LakeTables.writtenFeatures, lake.snapshots.cache(entry.location))
    let base = try await BlockingPool.shared.run { try table.latest() }
    let last = base.transactions[RecordLedger.application]?.version
    if committed[id] != .some(last) {
      try await ledger.catchUp(id, committed: last, version: base.version) { try table.history(limit: $0) }
      committed[id] = .some(last)
    }
    let known = try await ledger.find(id, batches.map(\.record.id))
    let fresh = batches.filter { known[$0.record.id] == nil }
    var answers: [String: Result<RecordAnswer, any Error>] = [:]
    for (batch, one) in known {
      answers[batch] = .success(RecordAnswer(table: "\(name)", batchID: batch, version: one.version, rows: one.rows, replayed: true))
    }
    if !fresh.isEmpty {
      let result = try await execute(fresh, LakeTables.Base(entry: entry, snapshot: base))
      let outcomes = result.records ?? []
      guard outcomes.count == fresh.count else { throw PlatformError(.internalError, "the executor says nothing of the records") }
      var notes: [RecordLedger.Note] = []
      for (batch, outcome) in zip(fresh, outcomes) {
        if let reason = outcome.refusal {
          let place = outcome.line.map { "record \($0): " } ?? ""
          answers[batch.record.id] = .failure(
            PlatformError(
              .invalidArgument, place + reason, hint: "Nothing of this batch was written. Correct it and send it again.", number: "PLT-3120",
              line: outcome.line))
        } else {
          notes.append(.init(id: batch.record.id, rows: outcome.rows))
        }
      }
      if !notes.isEmpty {
        let version = try await commit(
          result, notes, by: Set(fresh.map(\.principal)).sorted().joined(separator: ", "), onto: base, after: last, entry, table)
        let number = (last ?? 0) + 1
        committed[id] = .some(number)
        for note in notes {
          answers[note.id] = .success(RecordAnswer(table: "\(name)", batchID: note.id, version: version, rows: note.rows, replayed: false))
        }
        do {
          try await ledger.record(id, committed: number, version: version, notes.map { .init(id: $0.id, version: version, rows: $0.rows) })
        } catch {
          // The records are in the table: that is the answer. The index is brought up to the log before it is asked again.
          committed[id] = nil
          logger.warning("pushed batches are not in the index yet", metadata: ["table": "\(name)", "error": "\(error)"])
        }
      }
    }
    return batches.map { answers[$0.record.id] ?? .failure(PlatformError(.internalError, "a batch without an outcome")) }
  }

  private func execute(_ batches: [Batch], _ base: LakeTables.Base) async throws -> StatementResult {
    var spec = StatementSpec(kind: .insert, sql: "", tables: [])
    spec.records = batches.map(\.record)
    spec.target = base.target
    spec.targetColumns = try TypeMapping.columns(base.snapshot.schema)
    spec.outputDirectory = base.entry.location
    let order = StatementOrder(spec: spec, output: nil)
    let dispatcher = dispatcher
    return try await withDeadline(Self.timeLimit, "writing pushed records") {
      try await dispatcher.run("push-\(UUID().uuidString.lowercased())", order).result
    }
  }

  /// - Returns: the version that holds the rows.
  /// - Throws: `conflict` when others changed the table, or pushed to it, since `base`.
  private func commit(
    _ result: StatementResult, _ notes: [RecordLedger.Note], by user: String, onto base: Snapshot, after last: Int64?, _ entry: TableEntry,
    _ table: DeltaTable
  ) async throws -> Int64 {
    let transaction = AppTransaction(appId: RecordLedger.application, version: (last ?? 0) + 1)
    return try await BlockingPool.shared.run {
      var base = base
      guard let made = result.target, let schema = made.schema else { throw PlatformError(.internalError, "the statement says nothing of its table") }
      var plan = CommitPlan.append(try LakeTables.adds(result.files, entry), operation: "STREAMING UPDATE")
      let marked = try StatementPlanner.marked(StructType(parsing: schema), result.identityMarks)
      plan.actions =
        try SchemaChange.actions(base, schema: marked, configuration: made.properties, partitionColumns: made.partitionColumns) + plan.actions
      // Another group in between, of whatever process, is a conflict: its batches have to be looked at first.
      plan.reads.applications = [RecordLedger.application]
      plan.operationParameters = ["outputMode": "Append", "epochId": .string(String(transaction.version)), "batches": try RecordLedger.parameter(notes)]
      plan.userName = user
      plan.operationMetrics = [
        "numFiles": String(result.files.count), "numOutputRows": String(result.rowCount),
        "numOutputBytes": String(result.files.reduce(0) { $0 + $1.sizeBytes }),
      ]
      let outcome = try table.commit(plan, onto: &base, transaction: transaction)
      guard !outcome.isReplay else { throw PlatformError(.conflict, "another coordinator has written to the table") }
      return outcome.version
    }
  }
}

extension CoordinatorService {
  func receiveRecords(_ push: RecordPush, by principal: Principal, _ body: @escaping @Sendable (String, Int64) async throws -> Int64) async throws
    -> RecordAnswer
  {
    let entry = try await records.lake.entry(Self.threePart(push.table))
    try await BlockingPool.shared.run { try ReadOnlyPlaces.shared.requireWritable(entry.location) }
    let limit = Int64(RecordPush.byteLimit)
    let room = min(limit, push.declaredBytes ?? limit)
    try await records.reserve(room)
    let path = "\(records.folder)/\(UUID().uuidString.lowercased())"
    let outcome: Result<RecordAnswer, any Error>
    do {
      let size = try await body(path, limit)
      guard size > 0 else { throw PlatformError(.invalidArgument, "there are no records in the request", number: "PLT-3122") }
      let batch = RecordBatch(
        id: push.batchID, format: push.isArrow ? .arrow : .ndjson, path: path, sizeBytes: size, isPacked: push.isPacked)
      outcome = .success(try await records.push(batch, to: entry, by: principal.name))
    } catch { outcome = .failure(error) }
    await records.release(room)
    _ = try? await BlockingPool.shared.run { unlink(path) }  // goes with the folder at the next start
    return try outcome.get()
  }
}
