// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
public import Postgres
public import Scheduling

/// The scheduler's state and the runs in Postgres.
public struct JobStore: Sendable {
  public let pool: PostgresPool
  /// Of the coordinator that leads; nil where nobody schedules.
  private let epoch: Int64?

  public init(pool: PostgresPool, epoch: Int64? = nil) {
    self.pool = pool
    self.epoch = epoch
  }

  // MARK: scheduler records

  /// Upserts `records`, and notes what people have to be told and what operators may look for because of them, in one transaction that first checks the epoch.
  /// - Throws: `conflict` (PLT-1301) when the epoch is over.
  public func save(_ records: [Record], epoch: Int64) async throws {
    guard !records.isEmpty else { return }
    let notable = Dictionary(grouping: records.filter { $0.runToTellOf != nil }, by: { $0.runToTellOf ?? "" })
    let events = records.compactMap(ClusterEvent.of)
    guard records.count <= Self.recordsAtOnce, events.isEmpty else { return try await saveInParts(records, notable, events, epoch: epoch) }
    // Mostly nobody is to be told: then one statement is all of it.
    let answer = try await pool.repeatable(
      """
      WITH \(Self.fence("$2")),
        told AS (SELECT FROM runs WHERE run_id = ANY($3::text[]) AND notifications IS NOT NULL LIMIT 1),
        stored AS (\(Self.upsert), fence WHERE NOT EXISTS (SELECT FROM told) \(Self.replacing) RETURNING 1)
      SELECT EXISTS (SELECT FROM fence) AS leads, EXISTS (SELECT FROM told) AS told, (SELECT count(*) FROM stored) AS stored
      """, [.json(try RecordRow.json(records[...])), .int(Int(epoch)), .textArray(notable.keys.sorted())])
    guard let row = answer.first, try row.bool("leads") else { throw LeaseKeeper.over(epoch) }
    if try row.bool("told") { try await saveInParts(records, notable, [], epoch: epoch) }
  }

  /// Records in one statement: a stage of a hundred thousand parts would be copied several times as one text.
  private static let recordsAtOnce = 2000

  private func saveInParts(_ records: [Record], _ notable: [String: [Record]], _ events: [ClusterEvent], epoch: Int64) async throws {
    try await pool.transaction { transaction in
      try Leadership.check(epoch, transaction)
      for start in stride(from: 0, to: records.count, by: Self.recordsAtOnce) {
        let part = records[start..<min(records.count, start + Self.recordsAtOnce)]
        try transaction.execute("\(Self.upsert) \(Self.replacing)", [.json(try RecordRow.json(part))])
      }
      try Self.note(notable, transaction)
      try ClusterEventStore.add(events, transaction)
    }
  }

  private static let upsert = """
    INSERT INTO job_records (key, kind, run_id, task_key, task_attempt, stage, state, worker, terminal, body)
    SELECT key, kind, run_id, task_key, task_attempt, stage, state, worker, terminal, body
    FROM jsonb_to_recordset($1::jsonb) AS r(key text, kind text, run_id text, task_key text, task_attempt int, stage int,
      state text, worker text, terminal boolean, body jsonb)
    """
  private static let replacing = """
    ON CONFLICT (key) DO UPDATE SET state = excluded.state, worker = excluded.worker, terminal = excluded.terminal,
      task_attempt = excluded.task_attempt, stage = excluded.stage, body = excluded.body, updated_at = now()
    """

  /// A part of a statement that has one row while the epoch lasts, and keeps it from ending before the statement does.
  private static func fence(_ epoch: String) -> String {
    "fence AS (SELECT FROM scheduler_epoch WHERE singleton = 1 AND epoch = \(epoch)::bigint FOR SHARE)"
  }

  /// Everything a new scheduler needs: all records of runs that have not ended, and all live services with their replicas.
  public func loadLive() async throws -> [Record] {
    let rows = try await pool.query(
      """
      SELECT body FROM job_records r
      WHERE NOT terminal OR run_id IN (SELECT run_id FROM job_records WHERE kind = 'run' AND NOT terminal)
      ORDER BY key
      """, [])
    return try rows.map { try JSONDecoder.platform.decode(Record.self, from: Data(try $0.string("body").utf8)) }
  }

  /// Runs that were accepted but never reached the scheduler (the coordinator died in between), oldest first.
  public func unscheduledRuns() async throws -> [RunSpec] {
    let rows = try await pool.query(
      """
      SELECT spec FROM runs WHERE NOT EXISTS (SELECT 1 FROM job_records WHERE key = 'run:' || runs.run_id)
      ORDER BY submitted_at
      """, [])
    return try rows.map { try JSONDecoder.platform.decode(RunSpec.self, from: Data(try $0.string("spec").utf8)) }
  }

  // MARK: runs

  /// Name of the runs that `platform sql` makes; lists of runs leave them out.
  public static let statementRunName = "sql statement"

  /// Stores a new run. With an idempotency key that exists already, returns that run instead.
  /// - Throws: `conflict` PLT-4215 when that run was deleted.
  public func create(_ spec: RunSpec, submittedBy: String, origin: RunOrigin = RunOrigin()) async throws -> (runID: String, created: Bool) {
    let told = try origin.settings.flatMap { RunNotifications(settings: $0, spec: spec, job: origin.job) }.map { try JSONValue(encoding: $0) }
    if let epoch, spec.idempotencyKey == nil, origin.parent == nil { return (try await add(spec, by: submittedBy, origin, told, epoch: epoch), true) }
    return try await pool.transaction { transaction in
      if let key = spec.idempotencyKey {
        try transaction.execute("SELECT pg_advisory_xact_lock(hashtext('run-key:' || $1))", [.text(key)])
        if let row = try transaction.query("SELECT run_id, deleted FROM runs WHERE idempotency_key = $1", [.text(key)]).first {
          if try row.bool("deleted") {
            throw PlatformError(.conflict, "the run of this idempotency token was deleted", hint: "Use another token.", number: "PLT-4215")
          }
          return (try row.string("run_id"), false)
        }
      }
      let number = try transaction.query(Self.nextNumber, [])[0].int("id")
      var numbered = spec
      numbered.id = String(number)
      if let parent = origin.parent { try Self.checkDepth(of: parent, transaction) }
      try transaction.execute(
        """
        \(Self.insertion) VALUES (\(Self.inserted), COALESCE((SELECT depth + 1 FROM runs WHERE run_id = $11), 0))
        """, try Self.row(numbered, by: submittedBy, origin, told))
      return (numbered.id, true)
    }
  }

  /// As above, in two round trips, for a run that nobody asks for twice and that no other run has started.
  private func add(_ spec: RunSpec, by submitter: String, _ origin: RunOrigin, _ told: JSONValue?, epoch: Int64) async throws -> String {
    var numbered = spec
    numbered.id = String(try await pool.query(Self.nextNumber)[0].int("id"))
    let answer = try await pool.repeatable(
      """
      WITH \(Self.fence("$14")), stored AS (\(Self.insertion) SELECT \(Self.inserted), 0 FROM fence ON CONFLICT (run_id) DO NOTHING)
      SELECT EXISTS (SELECT FROM fence) AS leads
      """, try Self.row(numbered, by: submitter, origin, told) + [.int(Int(epoch))])
    guard let row = answer.first, try row.bool("leads") else { throw LeaseKeeper.over(epoch) }
    return numbered.id
  }

  private static let nextNumber = "SELECT nextval('run_ids') AS id"
  private static let insertion = """
    INSERT INTO runs (run_id, name, idempotency_key, spec, submitted_by, job_id, run_type, settings, parameters, trigger, parent_run,
      notifications, grants, depth)
    """
  private static let inserted = """
    $1::text, $2::text, $3::text, $4::jsonb, $5::text, $6::bigint, $7::text, $8::jsonb, $9::jsonb, $10::text, $11::text, $12::jsonb, $13::jsonb
    """

  private static func row(_ spec: RunSpec, by submitter: String, _ origin: RunOrigin, _ told: JSONValue?) throws -> [PostgresValue] {
    let body = try String(decoding: JSONEncoder.platform.encode(spec), as: UTF8.self)
    return [
      .text(spec.id), .text(spec.name), .optional(spec.idempotencyKey), .json(body), .text(submitter), .optional(origin.job.map { Int($0) }),
      .text(origin.type.rawValue), .optional(origin.settings), .encoding(.object(origin.parameters.mapValues { .string($0) })), .text(origin.trigger),
      .optional(origin.parent), .optional(told),
      .optional(origin.grants.isEmpty ? nil : JSONValue.object(origin.grants.mapValues { .string($0.name) })),
    ]
  }

  public func spec(of runID: String) async throws -> RunSpec {
    let rows = try await pool.query("SELECT spec FROM runs WHERE run_id = $1", [.text(runID)])
    guard let row = rows.first else { throw Self.noRun(runID) }
    return try JSONDecoder.platform.decode(RunSpec.self, from: Data(try row.string("spec").utf8))
  }

  /// Stored records of one run and its tasks, in key order.
  public func runAndTasks(of runID: String) async throws -> (run: RunRecord?, tasks: [TaskRecord]) {
    let (run, tasks, _) = try await records(
      "SELECT body FROM job_records WHERE run_id = $1 AND kind IN ('run', 'task') ORDER BY key", runID)
    return (run, tasks)
  }

  /// As above with its units, of all its stages: without what they work on and what came out, which are large and are asked for often.
  public func records(of runID: String) async throws -> (run: RunRecord?, tasks: [TaskRecord], units: [UnitRecord]) {
    try await records(
      """
      SELECT (CASE WHEN kind = 'unit' THEN body || jsonb_build_object('unit', jsonb_build_object('_0',
        body #> '{unit,_0}' || '{"payload": null, "result": null}')) ELSE body END) AS body
      FROM job_records WHERE run_id = $1 ORDER BY key
      """, runID)
  }

  private func records(_ query: String, _ runID: String) async throws -> (run: RunRecord?, tasks: [TaskRecord], units: [UnitRecord]) {
    let rows = try await pool.query(query, [.text(runID)])
    var run: RunRecord?
    var tasks: [TaskRecord] = []
    var units: [UnitRecord] = []
    for row in rows {
      switch try JSONDecoder.platform.decode(Record.self, from: Data(try row.string("body").utf8)) {
      case .run(let record): run = record
      case .task(let record): tasks.append(record)
      case .unit(let record): units.append(record)
      case .service, .worker: break
      }
    }
    return (run, tasks, units)
  }

  public struct RunRow: Sendable {
    public var runID: String
    public var name: String
    public var submittedAt: Date
    /// Nil while the scheduler has not taken it up.
    public var record: RunRecord?
  }

  /// Runs that people submitted, newest first.
  /// - Parameter viewer: whose view it is; nil sees all.
  public func list(limit: Int, before: String?, viewer: JobViewer? = nil) async throws -> [RunRow] {
    let rows = try await pool.query(
      """
      SELECT r.run_id, r.name, r.submitted_at, j.body AS body FROM runs r
      LEFT JOIN job_records j ON j.key = 'run:' || r.run_id
      WHERE ($2::bigint IS NULL OR r.run_id::bigint < $2::bigint) AND r.name <> $3 AND NOT r.deleted \(viewer == nil ? "" : Self.seen("$4", "$5"))
      ORDER BY r.run_id::bigint DESC LIMIT $1::int
      """, [.int(limit), .optional(before.flatMap(Int.init)), .text(Self.statementRunName)] + (viewer?.values ?? []))
    return try rows.map(Self.runRow)
  }

  public func row(of runID: String) async throws -> RunRow {
    let rows = try await pool.query(
      """
      SELECT r.run_id, r.name, r.submitted_at, j.body AS body FROM runs r
      LEFT JOIN job_records j ON j.key = 'run:' || r.run_id WHERE r.run_id = $1 AND NOT r.deleted
      """, [.text(runID)])
    guard let row = rows.first else { throw Self.noRun(runID) }
    return try Self.runRow(row)
  }

  static func runRow(_ row: PostgresRow) throws -> RunRow {
    var record: RunRecord?
    if let body = try row.get("body", as: String?.self),
      case .run(let found) = try JSONDecoder.platform.decode(Record.self, from: Data(body.utf8))
    {
      record = found
    }
    return RunRow(
      runID: try row.string("run_id"), name: try row.string("name"), submittedAt: try row.date("submitted_at"), record: record)
  }

  static func noRun(_ runID: String) -> PlatformError {
    PlatformError(.notFound, "run \(runID) does not exist", hint: "List them with 'platform runs list'.", number: "PLT-1304")
  }

  // MARK: stage commits

  /// The outcome of a stage that was committed before, or nil.
  public func committedOutcome(_ commitKey: String) async throws -> StageOutcome? {
    let rows = try await pool.repeatable("SELECT outcome FROM stage_commits WHERE commit_key = $1", [.text(commitKey)])
    return try rows.first.map { try StoredOutcome(parsing: try $0.string("outcome")).outcome }
  }

  /// Remembers the outcome. The first one stays: a repeated commit gets what the first had.
  /// - Throws: `conflict` (PLT-1301) when the epoch is over.
  public func recordCommit(_ commitKey: String, _ outcome: StageOutcome, epoch: Int64) async throws -> StageOutcome {
    let rows = try await pool.repeatable(
      """
      WITH \(Self.fence("$3")),
        first AS (INSERT INTO stage_commits (commit_key, outcome) SELECT $1, $2::jsonb FROM fence
          ON CONFLICT (commit_key) DO UPDATE SET commit_key = excluded.commit_key RETURNING outcome)
      SELECT outcome FROM first
      """, [.text(commitKey), .json(try StoredOutcome(outcome).text), .int(Int(epoch))])
    guard let row = rows.first else { throw LeaseKeeper.over(epoch) }
    return try StoredOutcome(parsing: try row.string("outcome")).outcome
  }
}

/// A record with the columns that lists and joins need.
private struct RecordRow {
  var key: String
  var kind: String
  var run: String?
  var task: String?
  var taskAttempt: Int?
  var stage: Int?
  var state: String
  var worker: String?
  var terminal: Bool
  var body: JSONValue

  static func json(_ records: ArraySlice<Record>) throws -> String { try JSONValue.array(records.map { try RecordRow($0).json }).sortedText }

  private var json: JSONValue {
    var members: [String: JSONValue] = ["key": .string(key), "kind": .string(kind), "state": .string(state), "terminal": .bool(terminal), "body": body]
    members["run_id"] = run.map { .string($0) }
    members["task_key"] = task.map { .string($0) }
    members["task_attempt"] = taskAttempt.map { .integer(Int64($0)) }
    members["stage"] = stage.map { .integer(Int64($0)) }
    members["worker"] = worker.map { .string($0) }
    return .object(members)
  }

  init(_ record: Record) throws {
    key = record.key
    terminal = record.isTerminal
    body = try record.json
    switch record {
    case .run(let run):
      kind = "run"
      self.run = run.spec.id
      state = run.state.rawValue
    case .task(let task):
      kind = "task"
      run = task.run
      self.task = task.key
      taskAttempt = task.attempt
      stage = task.stage
      state = task.state.rawValue
    case .unit(let unit):
      kind = "unit"
      run = unit.run.isEmpty ? nil : unit.run
      task = unit.task.isEmpty ? nil : unit.task
      taskAttempt = unit.taskAttempt
      stage = unit.stage
      state = unit.state.rawValue
      worker = unit.worker
    case .service(let service):
      kind = "service"
      state = service.removed ? "removed" : service.removing ? "removing" : "active"
    case .worker(let worker):
      kind = "worker"
      state = worker.availability.rawValue
      self.worker = worker.worker
    }
  }
}

/// `StageOutcome` as JSON.
private struct StoredOutcome: Codable {
  var carry: JSONValue?
  var values: JSONValue?

  init(_ outcome: StageOutcome) {
    switch outcome {
    case .nextStage(let carry): self.carry = carry
    case .taskDone(let values): self.values = values
    }
  }

  init(parsing text: String) throws { self = try JSONDecoder.platform.decode(Self.self, from: Data(text.utf8)) }

  var text: String { get throws { String(decoding: try JSONEncoder.platform.encode(self), as: UTF8.self) } }
  var outcome: StageOutcome { values.map { .taskDone(values: $0) } ?? .nextStage(carry: carry ?? .null) }
}

extension Record {
  /// The run, of a record whose change somebody may want to hear of.
  fileprivate var runToTellOf: String? {
    switch self {
    case .run(let run): run.spec.id
    case .task(let task): task.run
    case .unit, .service, .worker: nil
    }
  }
}
