// SPDX-License-Identifier: Apache-2.0

import API
import Client
import Core
import DuckDB
import Foundation
import Logging
import Query
import Scheduling
import Synchronization

/// Runs interactive statements: plan, execute on a worker, commit, answer, without a run of the scheduler.
///
/// Planning and committing are those of the SQL task of a workflow (`StatementPlanner`), so both mean the same.
final class StatementService: Sendable {
  static let engine = "duckdb"
  /// A statement that takes longer is ended, where nobody says otherwise.
  static let timeLimit: Duration = .seconds(3600)
  /// What the service may be set to: a week.
  private static let longestSeconds = 604_800
  /// Statements that have not ended; more are refused.
  static let liveLimit = 1024

  private let services: PlanningServices
  private let dispatcher: StatementDispatcher
  private let runs: InteractiveRuns
  private let history: StatementHistory
  private let logger: Logger
  private let timeLimit: Duration
  private let results: StatementResults
  private let live = Mutex<[String: StatementRecord]>([:])
  private let ready = ReadyStatements()

  /// - Parameter timeLimit: a statement that takes longer is ended; one may ask for less.
  init(
    services: PlanningServices, dispatcher: StatementDispatcher, runs: InteractiveRuns, history: StatementHistory, logger: Logger,
    timeLimit: Duration = StatementService.timeLimit
  ) {
    self.timeLimit = timeLimit
    self.services = services
    self.dispatcher = dispatcher
    self.runs = runs
    self.history = history
    self.logger = logger
    results = StatementResults(folder: services.layout.results, logger: logger)
  }

  /// `PLATFORM_STATEMENT_TIMEOUT`, in seconds.
  /// - Throws: `badConfiguration`.
  static func timeLimit(_ environment: [String: String]) throws -> Duration {
    guard let text = environment["PLATFORM_STATEMENT_TIMEOUT"], !text.isEmpty else { return timeLimit }
    guard let seconds = Int(text), (1...longestSeconds).contains(seconds) else {
      throw PlatformError(
        .badConfiguration, "PLATFORM_STATEMENT_TIMEOUT is no number of seconds: '\(text.prefix(40))'", hint: "Use 1 to \(longestSeconds).")
    }
    return .seconds(seconds)
  }

  /// What is left of an earlier process: statements that nobody runs any more, results that nobody knows.
  func recover() async throws {
    try await results.clear()
    try await history.failInterrupted()
  }

  /// Deadlines, waiting clients, old results. Returns when the task is cancelled.
  func keepHouse() async {
    var turn = 0
    while !Task.isCancelled {
      try? await Task.sleep(for: .milliseconds(100))  // cancelled: the loop condition ends it
      let now = ContinuousClock.now
      for record in live.withLock({ Array($0.values) }) {
        record.wake(now: now)
        if record.deadline <= now {
          fail(
            record,
            PlatformError(
              .timeout, "the statement took longer than \(record.limit.components.seconds) s", hint: "Let it read less, or give statement_timeout.",
              number: "PLT-3233"))
          record.cancel()
        }
      }
      dispatcher.tick()
      turn += 1
      if turn % 100 == 0 { await results.expire() }
    }
  }

  // MARK: one statement

  func start(_ submission: StatementSubmission, by principal: Principal) throws -> StatementRecord {
    guard submission.statement.utf8.count <= 1 << 20 else {
      throw PlatformError(.invalidArgument, "the statement is longer than 1 MB", number: "PLT-3201")
    }
    let limit = submission.timeLimit.map { min(timeLimit, .seconds($0)) } ?? timeLimit
    let record = StatementRecord(id: RandomIdentifier.text(), submission, by: principal, limit: limit)
    try live.withLock { live in
      guard live.count < Self.liveLimit else {
        throw PlatformError(
          .resourceExhausted, "\(Self.liveLimit) statements run or wait already", hint: "Try again in a moment.", number: "PLT-3230")
      }
      live[record.id] = record
    }
    // Owned by the record, which cancels it; it ends with the statement.
    record.attach(Task { await self.run(record) })
    return record
  }

  private func fail(_ record: StatementRecord, _ error: PlatformError) { record.finish(.failed) { $0.error = error } }

  private func run(_ record: StatementRecord) async {
    do {
      try await perform(record)
    } catch is CancellationError {
      record.finish(.canceled) { $0.error = PlatformError(.cancelled, "the statement was cancelled") }
    } catch {
      let failure = PlatformError.from(error)
      if failure.code == .cancelled {
        record.finish(.canceled) { $0.error = failure }
      } else {
        if failure.code == .internalError { logger.error("statement failed", metadata: ["statement": "\(record.id)", "error": "\(error)"]) }
        fail(record, failure)
      }
    }
    await services.removeStaging(record.id)
    results.keep(record)
    live.withLock { $0[record.id] = nil }
    history.add(record.historyEntry)
  }

  private func perform(_ record: StatementRecord) async throws {
    let submission = record.submission
    if let key = ReadyStatements.Key(submission, user: record.principal.name), let head = ready.find(key) {
      record.running(StatementKind.select.rawValue, tables: .array([]))
      let directory = results.directory(record.id, 0)
      let message = StatementMessage(head: head, directory: directory)
      let answer = try await dispatcher.run("\(record.id)/0", message) { record.progress($0) }
      return succeed(record, answer, directory)
    }
    var body = StatementWork.Body(statement: submission.statement, catalog: submission.catalog, schema: submission.schema)
    body.parameters = submission.parameters.map { .init(name: $0.name, value: $0.value, type: $0.type) }
    body.interactive = true
    if try StatementScript(submission.statement).needsRun {
      record.running("script", tables: .array([]))
      body.row_limit = min(submission.rowLimit ?? 1000, 100_000)
      let response = try await runs.statement(JSONValue(encoding: body), by: record.principal, limit: record.limit)
      return try await succeed(record, response)
    }
    let planner = StatementPlanner(services: services, submitter: record.principal.name)
    var carry = JSONValue.null
    var stage = 0
    while true {
      try Task.checkCancellation()
      let work = try await work(body, carry)
      do {
        let call = StageCall(
          id: StageID(run: record.id, task: "statement", attempt: 1, stage: stage), kind: "sql", body: .null, carry: carry, values: [:])
        record.running(work.plan.kind.rawValue, tables: Self.tables(work.plan))
        switch try await step(record, planner, work, call) {
        case .answered: return
        case .goOn(let next): carry = next
        }
      } catch { throw work.located(error) }
      stage += 1
    }
  }

  private func work(_ body: StatementWork.Body, _ carry: JSONValue) async throws -> StatementWork {
    // A text that was parsed before takes microseconds.
    if carry == .null, StatementPlans.shared.knows(body.statement, catalog: body.catalog ?? "", schema: body.schema ?? "") {
      return try StatementWork(body, carry: carry)
    }
    return try await BlockingPool.shared.run { try StatementWork(body, carry: carry) }
  }

  private enum Step {
    case answered
    case goOn(carry: JSONValue)
  }

  /// One statement of the text, or one stage of a statement.
  private func step(_ record: StatementRecord, _ planner: StatementPlanner, _ work: StatementWork, _ call: StageCall) async throws -> Step {
    let submission = record.submission
    let directory = results.directory(record.id, call.id.stage)
    let id = "\(record.id)/\(call.id.stage)"
    var ran: StatementResult?
    if work.plan.command != nil {
      switch try await planner.plan(work, call) {
      case .none: break
      case .shards(let units) where units.count == 1 && units[0].kind == "sql":
        let order = StatementOrder(spec: try units[0].payload.decode(), output: nil)
        ran = try await dispatcher.run(id, order) { record.progress($0) }.result
      default: throw PlatformError(.internalError, "the statement became units of work that only a run can have")
      }
    } else if var spec = try await planner.spec(work, call) {
      let isQuery = spec.kind == .select || spec.kind == .explain
      if isQuery && work.isLast {
        spec.limits.rows = submission.rowLimit ?? Int(Int32.max)
        spec.limits.bytes = submission.byteLimit ?? (submission.isInline ? 25 << 20 : 8 << 30)
        let order = StatementOrder(spec: spec, output: output(submission, directory))
        let answer: StatementAnswer
        if ReadyStatements.takes(work, spec), let key = ReadyStatements.Key(submission, user: record.principal.name) {
          let message = try StatementMessage(order)
          ready.keep(message, key)
          answer = try await dispatcher.run(id, message) { record.progress($0) }
        } else {
          answer = try await dispatcher.run(id, order) { record.progress($0) }
        }
        guard work.isInBlock else {
          succeed(record, answer, directory, work)
          return .answered
        }
        // The rows are answered once all that the transaction has done is there.
        guard record.beginCommit() else { throw CancellationError() }
        defer { record.endCommit() }
        let outcome = try await Task { try await planner.commit(work, call, [], ran: [answer.result]) }.value
        switch outcome {
        case .nextStage(let carry):
          await StatementResults.remove(directory)
          return .goOn(carry: carry)
        case .taskDone(let values):
          let response: StatementResponse? = try values["response"]?.decode()
          succeed(record, answer, directory, work, steps: response?.statements)
          return .answered
        }
      }
      ran = try await dispatcher.run(id, StatementOrder(spec: spec, output: nil)) { record.progress($0) }.result
    }
    guard record.beginCommit() else { throw CancellationError() }
    let outcome: StageOutcome
    do {
      defer { record.endCommit() }
      let done = ran
      // Not cancelled any more, whoever goes away.
      outcome = try await Task {
        let isCommand = work.plan.command != nil
        return try await planner.commit(
          work, call, isCommand ? done.map { [try JSONValue(encoding: $0)] } ?? [] : [], ran: isCommand ? nil : done.map { [$0] } ?? [])
      }.value
    }
    switch outcome {
    case .nextStage(let carry): return .goOn(carry: carry)
    case .taskDone(let values):
      guard let response = values["response"] else { throw PlatformError(.internalError, "the statement returned nothing") }
      try await succeed(record, response.decode())
      return .answered
    }
  }

  private func output(_ submission: StatementSubmission, _ directory: String) -> StatementOutput {
    StatementOutput(
      format: StatementOutput.Format(rawValue: submission.format) ?? .jsonArray, directory: directory, inlineBytes: submission.isInline ? 256 << 10 : 0)
  }

  private static func tables(_ plan: StatementPlan) -> JSONValue {
    guard !plan.references.isEmpty else { return .array([]) }
    return .array(
      plan.references.map { reference in
        ["name": .string("\(reference.name)"), "version": reference.version.map { .integer($0) } ?? .null]
      })
  }

  /// - Parameters:
  ///   - work: of a text with several statements.
  ///   - steps: what became of them, where that is not in `work`.
  private func succeed(
    _ record: StatementRecord, _ answer: StatementAnswer, _ directory: String, _ work: StatementWork? = nil, steps: [StatementResponse.Step]? = nil
  ) {
    record.finish(.succeeded, directory: answer.isStored ? directory : nil) { view in
      if let work, work.script.items.count > 1 {
        view.statements =
          steps ?? work.session.finished + [
            .init(
              kind: work.plan.kind.rawValue, line: work.script.items[work.session.index].line, rowCount: Int(answer.result.rowCount), affectedRows: nil,
              version: nil)
          ]
        if work.session.catalog != work.body.catalog || work.session.schema != work.body.schema {
          (view.catalog, view.schema) = (work.session.catalog, work.session.schema)
        }
      }
      view.columns = answer.result.columns.map { .init(name: $0.name, sql: $0.type.sql.lowercased()) }
      view.rowCount = answer.result.rowCount
      view.isTruncated = answer.result.isTruncated
      view.chunks = answer.chunks.map { .init(rows: $0.rows, bytes: $0.bytes) }
      if !answer.isStored { view.firstRows = answer.rows }
    }
  }

  /// Statements that no executor answers: their few rows are in the response.
  private func succeed(_ record: StatementRecord, _ given: StatementResponse) async throws {
    var response = given
    if response.columns.isEmpty, let changed = response.affectedRows {
      response.columns = [.init(name: "num_affected_rows", type: "bigint")]
      response.rows = [[.integer(changed)]]
    }
    let rows = response.rows
    var rendered: (answer: StatementAnswer, directory: String)?
    if !rows.isEmpty, !record.submission.isInline {
      // Files in the form that was asked for are an executor's work.
      let directory = results.directory(record.id, -1)
      let spec = StatementSpec(kind: .select, sql: Self.values(response), tables: [])
      rendered = (try await dispatcher.run("\(record.id)/rows", StatementOrder(spec: spec, output: output(record.submission, directory))), directory)
    }
    record.finish(.succeeded, directory: rendered?.directory) { view in
      view.affectedRows = response.affectedRows
      view.version = response.version
      view.isTruncated = response.truncated
      (view.catalog, view.schema, view.statements) = (response.catalog, response.schema, response.statements)
      view.columns = response.columns.map { .init(name: $0.name, sql: $0.type) }
      guard !rows.isEmpty else { return }
      if let answer = rendered?.answer {
        view.rowCount = answer.result.rowCount
        view.chunks = answer.chunks.map { .init(rows: $0.rows, bytes: $0.bytes) }
        return
      }
      let cells: [JSONValue] = rows.map { row in
        .array(
          row.map { value in
            switch value {
            case .null, .string: value
            default: .string(value.sortedText)
            }
          })
      }
      view.firstRows = Data(JSONValue.array(cells).sortedText.utf8)
      view.rowCount = Int64(rows.count)
      view.chunks = [.init(rows: Int64(rows.count), bytes: Int64(view.firstRows.count))]
    }
  }

  /// A query that gives these rows.
  private static func values(_ response: StatementResponse) -> String {
    let columns = response.columns.map { SQLText.identifier($0.name) }.joined(separator: ", ")
    let rows = response.rows.map { row in
      let cells = zip(row, response.columns).map { value, column in
        let text = value == .null ? "NULL" : SQLText.literal(value.stringValue ?? value.sortedText)
        return "CAST(\(text) AS \(column.type))"
      }
      return "(\(cells.joined(separator: ", ")))"
    }
    return "SELECT * FROM (VALUES \(rows.joined(separator: ", "))) AS t(\(columns))"
  }

  // MARK: asked about later

  /// - Throws: `notFound` PLT-3231 for a statement that is unknown or another's.
  func record(_ id: String, by principal: Principal) throws -> StatementRecord {
    guard let record = known(id), record.principal == principal else { throw Self.unknown(id) }
    return record
  }

  func known(_ id: String) -> StatementRecord? { live.withLock { $0[id] } ?? results.find(id) }

  static func unknown(_ id: String) -> PlatformError {
    PlatformError(
      .notFound, "the statement '\(id.prefix(64))' does not exist", hint: "Results are kept for an hour.", number: "PLT-3231")
  }
}

extension CoordinatorService {
  func startStatement(_ submission: StatementSubmission, by principal: Principal) async throws -> String {
    try statements.start(submission, by: principal).id
  }

  func awaitStatement(_ id: String, milliseconds: Int, by principal: Principal) async throws -> StatementView {
    if let record = statements.known(id) {
      guard record.principal == principal else { throw StatementService.unknown(id) }
      if milliseconds > 0 && !record.isFinal { await record.wait(until: .now + .milliseconds(milliseconds)) }
      return try await statements.complete(record.view, of: record)
    }
    // Of an earlier process, or forgotten: the history knows how it ended.
    guard let entry = try await statementHistory.entry(id), entry.principal == principal.name,
      let state = StatementView.State(rawValue: entry.state)
    else { throw StatementService.unknown(id) }
    var view = StatementView(id: id, state: state == .succeeded ? .closed : state)
    view.rowCount = entry.rows
    if let text = entry.error { view.error = PlatformError(state == .canceled ? .cancelled : .unavailable, text) }
    return view
  }

  func detachStatement(_ id: String, by principal: Principal) async throws {
    let record = try statements.record(id, by: principal)
    if !record.isFinal { try await statementHistory.store([record.historyEntry]) }
  }

  func cancelStatement(_ id: String, by principal: Principal) async throws { try statements.record(id, by: principal).cancel() }

  func abandonStatement(_ id: String) { statements.known(id)?.cancel() }

  func statementChunk(_ id: String, index: Int, by principal: Principal?) async throws -> (view: StatementView, bytes: Data) {
    guard let record = statements.known(id), principal == nil || record.principal == principal else { throw StatementService.unknown(id) }
    let view = record.view
    guard view.state == .succeeded else {
      throw PlatformError(.notFound, "the statement '\(id)' has no result: it is \(view.state.rawValue)", number: "PLT-3231")
    }
    guard view.chunks.indices.contains(index) else {
      throw PlatformError(
        .notFound, "the result has no chunk \(index)", hint: "It has \(view.chunks.count), counted from 0.", number: "PLT-3231")
    }
    guard let directory = record.directory else { return (view, view.firstRows) }
    return (view, try await StatementResults.read(directory, index))
  }

  func statementHistory(_ filter: StatementHistoryFilter, by principal: Principal) async throws -> StatementHistoryPage {
    await statementHistory.flush()
    return try await statementHistory.list(filter, principal: principal.name == "admin" ? nil : principal.name)
  }
}

extension StatementService {
  /// The view with its first rows, when they lie in a file.
  func complete(_ view: StatementView, of record: StatementRecord) async throws -> StatementView {
    guard view.state == .succeeded, view.isInline, !view.chunks.isEmpty, let directory = record.directory else { return view }
    var view = view
    view.firstRows = try await StatementResults.read(directory, 0)
    return view
  }
}
