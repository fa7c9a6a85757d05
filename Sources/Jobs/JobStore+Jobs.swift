// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation
import Postgres
public import Scheduling

/// Where a run comes from.
public struct RunOrigin: Sendable {
  public enum Kind: String, Sendable {
    case job = "JOB_RUN"
    case submit = "SUBMIT_RUN"
    /// Databricks' name for runs that notebooks start; there are none.
    case workflow = "WORKFLOW_RUN"
  }
  public var job: Int64?
  public var type = Kind.submit
  /// The settings as they were when it started.
  public var settings: JSONValue?
  public var parameters: [String: String] = [:]
  /// `ONE_TIME`, `PERIODIC`, ...
  public var trigger = "ONE_TIME"
  /// The run whose task started it.
  public var parent: String?
  /// Rights of a run that is no job's, besides its creator's; by `JobGrantee`.
  public var grants: [String: JobRight] = [:]
  public init() {}
}

/// A job as it is stored.
public struct StoredJob: Sendable {
  public var id: Int64
  public var settings: JSONValue
  /// Texts of files that came with it, by the path that its tasks name.
  public var attachments: [String: String]
  public var creator: String
  /// Who answers for it: the creator, until somebody else does.
  public var owner: String
  public var createdAt: Date
}

/// A run as it is stored, with the job that it is a run of.
public struct StoredRun: Sendable {
  public var row: JobStore.RunRow
  public var spec: RunSpec
  public var origin: RunOrigin
  public var creator: String
  public var id: String { row.runID }
  public var record: RunRecord? { row.record }
}

/// One repair of a run.
public struct StoredRepair: Sendable {
  public var id: Int64
  public var number: Int
  public var tasks: [String]
  /// How the run stood before it: `state`, `status`, `start_time`, `end_time`.
  public var before: JSONValue
  public var requestedAt: Date
}

/// Stored jobs, and runs as Databricks' clients ask for them.
extension JobStore {
  /// Jobs that start jobs: at most so many levels, so that none starts itself for ever.
  public static let depthLimit = 5

  static func checkDepth(of parent: String, _ transaction: PostgresTransaction) throws {
    let depth = try transaction.query("SELECT depth FROM runs WHERE run_id = $1", [.text(parent)]).first?.int("depth") ?? 0
    guard depth + 1 < depthLimit else {
      throw PlatformError(
        .invalidArgument, "jobs start each other \(depthLimit) levels deep, the limit", hint: "Look whether a job starts itself.", number: "PLT-4216")
    }
  }

  // MARK: jobs

  public static func noJob(_ id: Int64) -> PlatformError {
    PlatformError(.notFound, "Job \(id) does not exist.", hint: "List them with 'platform jobs list'.", number: "PLT-4200")
  }

  /// - Parameter rights: what becomes of the creator's.
  public func createJob(
    _ settings: JSONValue, attachments: [String: String], by creator: String, rights: JobRights.Change? = nil
  ) async throws -> Int64 {
    let values: [PostgresValue] = [
      .text(Self.name(settings)), .encoding(settings), .encoding(.object(attachments.mapValues { .string($0) })), .text(creator),
    ]
    let insert = "INSERT INTO jobs (name, settings, attachments, creator) VALUES ($1, $2::jsonb, $3::jsonb, $4) RETURNING job_id"
    guard let rights else { return Int64(try await pool.query(insert, values)[0].int("job_id")) }
    return try await pool.transaction { transaction in
      let id = Int64(try transaction.query(insert, values)[0].int("job_id"))
      try Self.changeRights(ofJob: id, transaction, rights)
      return id
    }
  }

  public static func name(_ settings: JSONValue) -> String { settings["name"]?.stringValue ?? "Untitled" }

  /// - Throws: `notFound` PLT-4200.
  public func job(_ id: Int64) async throws -> StoredJob {
    let rows = try await pool.query(
      "SELECT job_id, settings, attachments, creator, owner, created_at FROM jobs WHERE job_id = $1::bigint", [.int(Int(id))])
    guard let row = rows.first else { throw Self.noJob(id) }
    return try Self.storedJob(row)
  }

  /// Newest first.
  /// - Parameter viewer: whose view it is; nil sees all.
  public func jobs(name: String?, before: Int64?, offset: Int, limit: Int, viewer: JobViewer? = nil) async throws -> [StoredJob] {
    let rows = try await pool.query(
      """
      SELECT o.job_id, o.settings, '{}'::jsonb AS attachments, o.creator, o.owner, o.created_at FROM jobs o
      WHERE ($1::text IS NULL OR lower(name) = lower($1)) AND ($2::bigint IS NULL OR job_id < $2::bigint)
        \(viewer == nil ? "" : "AND \(Self.seenJob("$5", "$6"))")
      ORDER BY job_id DESC OFFSET $3::int LIMIT $4::int
      """, [.optional(name), .optional(before.map { Int($0) }), .int(offset), .int(limit)] + (viewer?.values ?? []))
    return try rows.map(Self.storedJob)
  }

  static func storedJob(_ row: PostgresRow) throws -> StoredJob {
    StoredJob(
      id: Int64(try row.int("job_id")), settings: try row.json("settings"),
      attachments: (try row.json("attachments").objectValue ?? [:]).compactMapValues(\.stringValue), creator: try row.string("creator"),
      owner: try row.get("owner", as: String?.self) ?? row.string("creator"), createdAt: try row.date("created_at"))
  }

  /// Replaces the settings by what `change` makes of them; nobody else changes them meanwhile.
  /// - Throws: `notFound` PLT-4200; what `change` throws.
  public func changeJob(
    _ id: Int64, attachments: [String: String]? = nil, rights: JobRights.Change? = nil, _ change: @escaping @Sendable (StoredJob) throws -> JSONValue
  ) async throws {
    try await pool.transaction { transaction in
      let rows = try transaction.query(
        "SELECT job_id, settings, attachments, creator, owner, created_at FROM jobs WHERE job_id = $1::bigint FOR UPDATE", [.int(Int(id))])
      guard let row = rows.first else { throw Self.noJob(id) }
      let settings = try change(try Self.storedJob(row))
      try transaction.execute(
        """
        UPDATE jobs SET name = $2, settings = $3::jsonb, attachments = COALESCE($4::jsonb, attachments), updated_at = now()
        WHERE job_id = $1::bigint
        """,
        [
          .int(Int(id)), .text(Self.name(settings)), .encoding(settings),
          .optional(attachments.map { JSONValue.object($0.mapValues { .string($0) }) }),
        ])
      if let rights { try Self.changeRights(ofJob: id, transaction, rights) }
    }
  }

  /// - Throws: `notFound` PLT-4200. Its runs stay.
  public func deleteJob(_ id: Int64) async throws {
    guard try await pool.execute("DELETE FROM jobs WHERE job_id = $1::bigint", [.int(Int(id))]) == 1 else { throw Self.noJob(id) }
  }

  // MARK: runs

  public struct RunFilter: Sendable {
    public var job: Int64?
    /// True: only those that have not ended; false: only those that have.
    public var isActive: Bool?
    public var type: RunOrigin.Kind?
    public var from: Date?
    public var to: Date?
    /// Of a lower number than this.
    public var before: Int64?
    public var offset = 0
    public var limit = 20
    /// Whose view it is; nil sees all.
    public var viewer: JobViewer?
    public init() {}
  }

  private static let runColumns = """
    SELECT r.run_id, r.name, r.submitted_at, r.spec, r.submitted_by, r.job_id, r.run_type, r.settings, r.parameters, r.trigger, r.parent_run,
      j.body AS body FROM runs r LEFT JOIN job_records j ON j.key = 'run:' || r.run_id
    """

  public func storedRun(_ id: String) async throws -> StoredRun {
    let rows = try await pool.query("\(Self.runColumns) WHERE r.run_id = $1 AND NOT r.deleted", [.text(id)])
    guard let row = rows.first else { throw Self.noRun(id) }
    return try Self.storedRun(row)
  }

  /// The run that was started with an idempotency key, if there is one.
  public func run(withKey key: String) async throws -> String? {
    try await pool.query("SELECT run_id FROM runs WHERE idempotency_key = $1", [.text(key)]).first?.string("run_id")
  }

  /// Runs that have not ended: few, whatever is stored. One that the scheduler has not taken up is among the newest.
  private static let active = """
    r.run_id IN (
      SELECT run_id FROM job_records WHERE kind = 'run' AND NOT terminal
      UNION ALL SELECT run_id FROM (SELECT run_id FROM runs WHERE NOT deleted ORDER BY run_id::bigint DESC LIMIT 1000) newest
        WHERE NOT EXISTS (SELECT FROM job_records WHERE key = 'run:' || newest.run_id))
    """

  /// Newest first; runs of statements are left out.
  public func storedRuns(_ filter: RunFilter) async throws -> [StoredRun] {
    let active = filter.isActive == true ? "AND \(Self.active)" : ""
    let rows = try await pool.query(
      """
      \(Self.runColumns)
      WHERE NOT r.deleted AND r.name <> $1 AND ($2::bigint IS NULL OR r.job_id = $2::bigint)
        AND ($3::boolean IS NULL OR COALESCE(j.terminal, false) <> $3::boolean) AND ($4::text IS NULL OR r.run_type = $4)
        AND ($5::timestamptz IS NULL OR r.submitted_at >= $5::timestamptz) AND ($6::timestamptz IS NULL OR r.submitted_at <= $6::timestamptz)
        AND ($7::bigint IS NULL OR r.run_id::bigint < $7::bigint) \(active) \(filter.viewer == nil ? "" : Self.seen("$10", "$11"))
      ORDER BY r.run_id::bigint DESC OFFSET $8::int LIMIT $9::int
      """,
      [
        .text(Self.statementRunName), .optional(filter.job.map { Int($0) }), .optional(filter.isActive), .optional(filter.type?.rawValue),
        .optional(filter.from), .optional(filter.to), .optional(filter.before.map { Int($0) }), .int(filter.offset), .int(filter.limit),
      ] + (filter.viewer?.values ?? []))
    return try rows.map(Self.storedRun)
  }

  private static func storedRun(_ row: PostgresRow) throws -> StoredRun {
    var origin = RunOrigin()
    origin.job = try row.get("job_id", as: Int?.self).map { Int64($0) }
    origin.type = RunOrigin.Kind(rawValue: try row.string("run_type")) ?? .submit
    origin.settings = try row.get("settings", as: JSONValue?.self)
    origin.parameters = (try row.json("parameters").objectValue ?? [:]).compactMapValues(\.stringValue)
    origin.trigger = try row.string("trigger")
    origin.parent = try row.get("parent_run", as: String?.self)
    return StoredRun(row: try runRow(row), spec: try row.json("spec").decode(), origin: origin, creator: try row.string("submitted_by"))
  }

  /// Runs that tasks of `run` have started, and that have not ended.
  public func activeChildren(of run: String) async throws -> [String] {
    try await pool.query(
      """
      SELECT r.run_id FROM runs r LEFT JOIN job_records j ON j.key = 'run:' || r.run_id
      WHERE r.parent_run = $1 AND NOT COALESCE(j.terminal, false)
      """, [.text(run)]
    ).map { try $0.string("run_id") }
  }

  /// Active runs of a job, or of all: with `onlyWaiting` those that have not begun.
  public func activeRuns(of job: Int64?, onlyWaiting: Bool) async throws -> [String] {
    try await pool.query(
      """
      SELECT r.run_id FROM runs r LEFT JOIN job_records j ON j.key = 'run:' || r.run_id
      WHERE ($1::bigint IS NULL OR r.job_id = $1::bigint) AND r.name <> $2 AND NOT COALESCE(j.terminal, false)
        AND (NOT $3::boolean OR COALESCE(j.state, 'pending') = 'pending')
      ORDER BY r.run_id::bigint DESC
      """, [.optional(job.map { Int($0) }), .text(Self.statementRunName), .bool(onlyWaiting)]
    ).map { try $0.string("run_id") }
  }

  /// Hides a run that has ended.
  /// - Throws: `conflict` PLT-4225 while it has not.
  public func deleteRun(_ id: String) async throws {
    let run = try await storedRun(id)
    guard run.record?.state.isTerminal == true else {
      throw PlatformError(.conflict, "run \(id) has not ended yet", hint: "Cancel it first: 'platform runs cancel \(id)'.", number: "PLT-4225")
    }
    try await pool.execute("UPDATE runs SET deleted = true WHERE run_id = $1", [.text(id)])
  }

  /// Records of a run's tasks and iterations.
  public func tasks(of run: String) async throws -> [TaskRecord] {
    try await pool.query("SELECT body FROM job_records WHERE run_id = $1 AND kind = 'task' ORDER BY key", [.text(run)]).compactMap {
      if case .task(let record) = try JSONDecoder.platform.decode(Record.self, from: Data(try $0.string("body").utf8)) { record } else { nil }
    }
  }

  /// The same of several runs, by run.
  public func tasks(ofRuns runs: [String]) async throws -> [String: [TaskRecord]] {
    guard !runs.isEmpty else { return [:] }
    let rows = try await pool.query(
      "SELECT body FROM job_records WHERE run_id = ANY($1::text[]) AND kind = 'task' ORDER BY key", [.textArray(runs)])
    var found: [String: [TaskRecord]] = [:]
    for row in rows {
      if case .task(let record) = try JSONDecoder.platform.decode(Record.self, from: Data(try row.string("body").utf8)) {
        found[record.run, default: []].append(record)
      }
    }
    return found
  }

  // MARK: repairs

  public func repairs(of run: String) async throws -> [StoredRepair] {
    try await pool.query(
      "SELECT repair_id, number, tasks, before, requested_at FROM run_repairs WHERE run_id = $1 ORDER BY number", [.text(run)]
    ).map { row in
      StoredRepair(
        id: Int64(try row.int("repair_id")), number: try row.int("number"), tasks: (try row.json("tasks").arrayValue ?? []).compactMap(\.stringValue),
        before: try row.json("before"), requestedAt: try row.date("requested_at"))
    }
  }

  /// Notes a repair; from now on it happens, also when this process ends before the scheduler has heard of it.
  /// - Throws: `conflict` PLT-4225 when another one was faster.
  public func addRepair(run: String, number: Int, tasks: [String], before: JSONValue, by principal: String) async throws -> Int64 {
    let rows = try await pool.query(
      """
      INSERT INTO run_repairs (run_id, number, tasks, before, requested_by) VALUES ($1, $2::int, $3::jsonb, $4::jsonb, $5)
      ON CONFLICT (run_id, number) DO NOTHING RETURNING repair_id
      """, [.text(run), .int(number), .encoding(.array(tasks.map { .string($0) })), .encoding(before), .text(principal)])
    guard let row = rows.first else {
      throw PlatformError(.conflict, "run \(run) is being repaired already", hint: "Look at it with 'platform runs get \(run)'.", number: "PLT-4225")
    }
    return Int64(try row.int("repair_id"))
  }

  /// Repairs that were noted and that the scheduler has not heard of.
  public func unscheduledRepairs() async throws -> [(run: String, number: Int, tasks: [String])] {
    try await pool.query(
      """
      SELECT p.run_id, p.number, p.tasks FROM run_repairs p JOIN job_records j ON j.key = 'run:' || p.run_id
      WHERE j.terminal AND p.number = COALESCE((j.body->'run'->'_0'->>'repairs')::int, 0) + 1
      """
    ).map { (try $0.string("run_id"), try $0.int("number"), (try $0.json("tasks").arrayValue ?? []).compactMap(\.stringValue)) }
  }
}
