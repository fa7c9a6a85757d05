// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation
import Postgres
public import Scheduling

/// What of jobs' triggers has been acted on.
extension JobStore {
  public struct TriggeredJob: Sendable {
    public var job: StoredJob
    /// Nil for a trigger that was never looked at.
    public var definition: String?
    public var handledUntil: Date?
    /// Of a trigger that waits for changes, or for the end of runs.
    public var state: JSONValue?
  }

  private static let triggered = """
    SELECT j.job_id, j.settings, j.attachments, j.creator, j.owner, j.created_at, t.definition, t.handled_until, t.state
    FROM jobs j LEFT JOIN job_triggers t ON t.job_id = j.job_id WHERE j.settings ?| ARRAY['schedule', 'trigger', 'continuous']
    """

  /// Jobs with a trigger, paused or not.
  public func triggeredJobs() async throws -> [TriggeredJob] {
    try await pool.query("\(Self.triggered) ORDER BY j.job_id").map(Self.triggeredJob)
  }

  /// Nil for a job without a trigger.
  public func triggeredJob(_ id: Int64) async throws -> TriggeredJob? {
    try await pool.query("\(Self.triggered) AND j.job_id = $1::bigint", [.int(Int(id))]).first.map(Self.triggeredJob)
  }

  private static func triggeredJob(_ row: PostgresRow) throws -> TriggeredJob {
    TriggeredJob(
      job: try storedJob(row), definition: try row.get("definition", as: String?.self), handledUntil: try row.get("handled_until", as: Date?.self),
      state: try row.get("state", as: JSONValue?.self))
  }

  /// From now on a trigger is acted on; one that is acted on already stays as it is.
  /// - Throws: `conflict` PLT-1301 when the epoch is over.
  public func beginTrigger(job: Int64, definition: String, state: JSONValue?, at time: Date, epoch: Int64) async throws {
    try await pool.transaction { transaction in
      try Leadership.check(epoch, transaction)
      try transaction.execute(
        """
        INSERT INTO job_triggers (job_id, definition, handled_until, state) VALUES ($1::bigint, $2, $3::timestamptz, $4::jsonb)
        ON CONFLICT (job_id) DO UPDATE SET definition = excluded.definition, handled_until = excluded.handled_until, state = excluded.state
        WHERE job_triggers.definition <> excluded.definition OR (job_triggers.state IS NULL) <> (excluded.state IS NULL)
        """, [.int(Int(job)), .text(definition), .timestamp(time), .optional(state)])
    }
  }

  /// From now on nothing happens for times up to `time`, or for what `state` has seen. A trigger that was changed meanwhile stays as it is.
  /// - Throws: `conflict` PLT-1301 when the epoch is over.
  public func setHandled(job: Int64, definition: String, until time: Date, state: JSONValue? = nil, epoch: Int64) async throws {
    try await pool.transaction { transaction in
      try Leadership.check(epoch, transaction)
      try transaction.execute(
        """
        UPDATE job_triggers SET handled_until = $3::timestamptz, state = COALESCE($4::jsonb, state) WHERE job_id = $1::bigint AND definition = $2
        """, [.int(Int(job)), .text(definition), .timestamp(time), .optional(state)])
    }
  }

  /// A trigger that was paused or removed begins anew.
  public func forgetTrigger(job: Int64) async throws {
    try await pool.execute("DELETE FROM job_triggers WHERE job_id = $1::bigint", [.int(Int(job))])
  }

  /// Nil for a run that the scheduler has not taken up.
  public func state(of run: String) async throws -> RunState? {
    try await pool.query("SELECT state FROM job_records WHERE key = 'run:' || $1", [.text(run)]).first.flatMap { RunState(rawValue: try $0.string("state")) }
  }
}
