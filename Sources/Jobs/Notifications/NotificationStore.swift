// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation
public import Postgres
public import Scheduling

/// Destinations, and the notices that wait for them or have ended.
public struct NotificationStore: Sendable {
  public let pool: PostgresPool
  public init(pool: PostgresPool) { self.pool = pool }

  // MARK: destinations

  public static func noDestination(_ id: String) -> PlatformError {
    PlatformError(
      .notFound, "there is no notification destination '\(id.prefix(60))'", hint: "List them with 'platform destinations list'.", number: "PLT-4310")
  }

  /// Destinations of a cluster.
  static let destinationLimit = 1000

  private static func purpose(_ id: String) -> String { "notification destination \(id)" }

  private static func identifier(_ text: String) throws -> String {
    guard let id = UUID(uuidString: text) else { throw noDestination(text) }
    return id.uuidString.lowercased()
  }

  /// - Throws: `resourceExhausted` PLT-4311 when there are too many.
  public func create(name: String, _ settings: WebhookSettings, sealedWith key: SealingKey, by actor: String) async throws -> NotificationDestination {
    let id = UUID().uuidString.lowercased()
    let sealed = try key.seal(JSONEncoder.platform.encode(settings), for: Self.purpose(id))
    let made = try await pool.execute(
      """
      INSERT INTO notification_destinations (id, display_name, kind, secret, created_by)
      SELECT $1::uuid, $2, 'WEBHOOK', $3, $4 WHERE (SELECT count(*) FROM notification_destinations) < $5::int
      """, [.text(id), .text(name), .bytes(sealed), .text(actor), .int(Self.destinationLimit)])
    guard made == 1 else {
      throw PlatformError(
        .resourceExhausted, "there are \(Self.destinationLimit) notification destinations, the limit", hint: "Delete those that nobody uses.",
        number: "PLT-4311")
    }
    return NotificationDestination(id: id, name: name, type: "WEBHOOK")
  }

  /// - Throws: `notFound` PLT-4310; `badConfiguration` when the key is another one.
  public func destination(_ given: String, sealedWith key: SealingKey) async throws -> (NotificationDestination, WebhookSettings) {
    let id = try Self.identifier(given)
    let rows = try await pool.query("SELECT id, display_name, kind, secret FROM notification_destinations WHERE id = $1::uuid", [.text(id)])
    guard let row = rows.first else { throw Self.noDestination(given) }
    let sealed: Data = try row.get("secret")
    return (try Self.entry(row), try JSONDecoder.platform.decode(WebhookSettings.self, from: key.unseal(sealed, for: Self.purpose(id))))
  }

  private static func entry(_ row: PostgresRow) throws -> NotificationDestination {
    NotificationDestination(id: try row.string("id"), name: try row.string("display_name"), type: try row.string("kind"))
  }

  /// - Throws: `notFound` PLT-4310.
  public func change(_ given: String, name: String?, _ settings: WebhookSettings?, sealedWith key: SealingKey) async throws {
    let id = try Self.identifier(given)
    let sealed = try settings.map { try key.seal(JSONEncoder.platform.encode($0), for: Self.purpose(id)) }
    let changed = try await pool.execute(
      """
      UPDATE notification_destinations SET display_name = COALESCE($2, display_name), secret = COALESCE($3, secret), updated_at = now()
      WHERE id = $1::uuid
      """, [.text(id), .optional(name), sealed.map(PostgresValue.bytes) ?? .null])
    guard changed == 1 else { throw Self.noDestination(given) }
  }

  /// - Throws: `notFound` PLT-4310.
  public func delete(_ given: String) async throws {
    let id = try Self.identifier(given)
    guard try await pool.execute("DELETE FROM notification_destinations WHERE id = $1::uuid", [.text(id)]) == 1 else { throw Self.noDestination(given) }
  }

  /// By name.
  public func destinations(offset: Int, limit: Int) async throws -> [NotificationDestination] {
    try await pool.query(
      "SELECT id, display_name, kind FROM notification_destinations ORDER BY display_name, id OFFSET $1::int LIMIT $2::int", [.int(offset), .int(limit)]
    ).map(Self.entry)
  }

  /// Those of `ids` that do not exist.
  public func missing(_ ids: Set<String>) async throws -> [String] {
    guard !ids.isEmpty else { return [] }
    let known = try await pool.query(
      "SELECT id::text AS id FROM notification_destinations WHERE id::text = ANY($1::text[])", [.textArray(ids.sorted())]
    ).map { try $0.string("id") }
    return ids.subtracting(known).sorted()
  }

  // MARK: notices

  /// Keeps notices that are not known yet, inside of the transaction that makes what they tell of true.
  static func add(_ notices: [Notice], _ transaction: PostgresTransaction) throws {
    guard !notices.isEmpty else { return }
    let rows = notices.map { notice -> JSONValue in
      [
        "run_id": .string(notice.runID), "task_key": .string(notice.taskKey), "occasion": .string(notice.occasion.rawValue),
        "cycle": .integer(Int64(notice.cycle)), "target": .string(notice.target), "body": notice.body,
      ]
    }
    try transaction.execute(
      """
      INSERT INTO notifications (run_id, task_key, occasion, cycle, target, body)
      SELECT run_id, task_key, occasion, cycle, target, body
      FROM jsonb_to_recordset($1::jsonb) AS r(run_id text, task_key text, occasion text, cycle int, target text, body jsonb)
      ON CONFLICT (run_id, task_key, occasion, cycle, target) DO NOTHING
      """, [.encoding(.array(rows))])
  }

  public func add(_ notices: [Notice], epoch: Int64) async throws {
    try await pool.transaction { transaction in
      try Leadership.check(epoch, transaction)
      try Self.add(notices, transaction)
    }
  }

  /// A notice as it is stored.
  public struct Stored: Sendable {
    public enum State: String, Sendable, CaseIterable {
      case waiting, sent, failed
    }
    public var number: Int64
    /// Stays the same over attempts.
    public var id: String
    public var notice: Notice
    public var state: State
    public var attempts: Int
    public var error: String
    public var createdAt: Date
    /// Of a waiting one.
    public var nextAt: Date
    public var endedAt: Date?
  }

  private static let columns = "number, id::text AS id, run_id, task_key, occasion, cycle, target, body, state, attempts, error, created_at, next_at, ended_at"

  private static func stored(_ row: PostgresRow) throws -> Stored {
    guard let occasion = Occasion(rawValue: try row.string("occasion")), let state = Stored.State(rawValue: try row.string("state")) else {
      throw PlatformError(.internalError, "a notification was written by a newer version")
    }
    return Stored(
      number: Int64(try row.int("number")), id: try row.string("id"),
      notice: Notice(
        runID: try row.string("run_id"), taskKey: try row.string("task_key"), occasion: occasion, cycle: try row.int("cycle"),
        target: try row.string("target"), body: try row.json("body")), state: state, attempts: try row.int("attempts"), error: try row.string("error"),
      createdAt: try row.date("created_at"), nextAt: try row.date("next_at"), endedAt: try row.get("ended_at", as: Date?.self))
  }

  /// Notices whose time has come, oldest first, at most `each` of a target.
  public func due(except busy: [String], each: Int, limit: Int) async throws -> [Stored] {
    try await pool.query(
      """
      SELECT \(Self.columns) FROM (
        SELECT *, row_number() OVER (PARTITION BY target ORDER BY number) AS place FROM notifications
        WHERE state = 'waiting' AND next_at <= now() AND NOT target = ANY($1::text[])
      ) one WHERE place <= $2::int ORDER BY number LIMIT $3::int
      """, [.textArray(busy), .int(each), .int(limit)]
    ).map(Self.stored)
  }

  /// Notes how an attempt went.
  /// - Throws: `conflict` PLT-1301 when the epoch is over: its successor sends the notice again.
  public func note(_ number: Int64, _ next: DeliveryPlan.Next, attempts: Int, error: String, epoch: Int64) async throws {
    let (state, delay): (Stored.State, Int64?) =
      switch next {
      case .sent: (.sent, nil)
      case .again(let milliseconds): (.waiting, milliseconds)
      case .failed: (.failed, nil)
      }
    try await pool.transaction { transaction in
      try Leadership.check(epoch, transaction)
      try transaction.execute(
        """
        UPDATE notifications SET state = $2, attempts = $3::int, error = $4,
          next_at = now() + make_interval(secs => COALESCE($5::double precision, 0) / 1000),
          ended_at = CASE WHEN $2 = 'waiting' THEN NULL ELSE now() END
        WHERE number = $1::bigint
        """, [.int(Int(number)), .text(state.rawValue), .int(attempts), .text(String(error.prefix(1000))), .optional(delay.map { Int($0) })])
    }
  }

  /// What may wait for one target; the newest above that fail, so that a receiver that is gone for good costs little.
  public static let waitingLimit = 10_000
  /// How long notices that have ended can be looked at.
  static let retentionDays = 30

  /// Bounds what is kept.
  public func tidy() async throws {
    try await pool.execute(
      """
      UPDATE notifications SET state = 'failed', ended_at = now(), error = 'more than \(Self.waitingLimit) notifications were waiting'
      WHERE number IN (
        SELECT number FROM (
          SELECT number, row_number() OVER (PARTITION BY target ORDER BY number) AS place FROM notifications WHERE state = 'waiting'
        ) one WHERE place > \(Self.waitingLimit))
      """)
    // Those of runs that go on stay: deciding again whether somebody was told needs them.
    try await pool.execute(
      """
      DELETE FROM notifications n WHERE n.state <> 'waiting' AND n.ended_at < now() - interval '\(Self.retentionDays) days'
        AND NOT EXISTS (SELECT 1 FROM job_records j WHERE j.key = 'run:' || n.run_id AND NOT j.terminal)
      """)
  }

  /// Newest first.
  public func list(run: String?, state: Stored.State?, before: Int64?, limit: Int) async throws -> [Stored] {
    try await pool.query(
      """
      SELECT \(Self.columns) FROM notifications
      WHERE ($1::text IS NULL OR run_id = $1) AND ($2::text IS NULL OR state = $2) AND ($3::bigint IS NULL OR number < $3::bigint)
      ORDER BY number DESC LIMIT $4::int
      """, [.optional(run), .optional(state?.rawValue), .optional(before.map { Int($0) }), .int(limit)]
    ).map(Self.stored)
  }
}

extension JobStore {
  /// Keeps what has to be told of records that are being stored, in their transaction.
  static func note(_ runs: [String: [Record]], _ transaction: PostgresTransaction) throws {
    guard !runs.isEmpty else { return }
    let rows = try transaction.query(
      "SELECT run_id, notifications FROM runs WHERE run_id = ANY($1::text[]) AND notifications IS NOT NULL", [.textArray(runs.keys.sorted())])
    var notices: [Notice] = []
    for row in rows {
      let rules: RunNotifications = try row.json("notifications").decode()
      for record in runs[try row.string("run_id")] ?? [] {
        switch record {
        case .run(let run): notices += rules.notices(run)
        case .task(let task): notices += rules.notices(task)
        case .unit, .service, .worker: break
        }
      }
    }
    try NotificationStore.add(notices, transaction)
  }

  /// Runs that somebody shall be told of when they take too long, with their tasks.
  public func watchedRuns() async throws -> [(rules: RunNotifications, run: RunRecord, tasks: [TaskRecord])] {
    let rows = try await pool.query(
      """
      SELECT r.run_id, r.name, r.submitted_at, r.notifications, j.body AS body FROM job_records j JOIN runs r ON j.key = 'run:' || r.run_id
      WHERE j.kind = 'run' AND NOT j.terminal AND r.notifications @> '{"watches": true}'
      """)
    var found: [(rules: RunNotifications, run: RunRecord, tasks: [TaskRecord])] = []
    for row in rows {
      guard let run = try Self.runRow(row).record else { continue }
      found.append((try row.json("notifications").decode(), run, try await tasks(of: run.spec.id)))
    }
    return found
  }
}
