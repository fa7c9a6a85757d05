// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
import Postgres

/// Which times of jobs' triggers have been acted on.
extension JobStore {
  public struct TriggeredJob: Sendable {
    public var job: StoredJob
    /// Nil for a trigger that was never looked at.
    public var definition: String?
    public var handledUntil: Date?
  }

  /// Jobs with a trigger, paused or not.
  public func triggeredJobs() async throws -> [TriggeredJob] {
    try await pool.query(
      """
      SELECT j.job_id, j.settings, j.attachments, j.creator, j.created_at, t.definition, t.handled_until
      FROM jobs j LEFT JOIN job_triggers t ON t.job_id = j.job_id
      WHERE j.settings ?| ARRAY['schedule', 'trigger', 'continuous'] ORDER BY j.job_id
      """
    ).map {
      TriggeredJob(
        job: try Self.storedJob($0), definition: try $0.get("definition", as: String?.self), handledUntil: try $0.get("handled_until", as: Date?.self))
    }
  }

  /// From now on nothing happens for times up to `time`.
  /// - Throws: `conflict` PLT-1301 when the epoch is over.
  public func setHandled(job: Int64, definition: String, until time: Date, epoch: Int64) async throws {
    try await pool.transaction { transaction in
      try Leadership.check(epoch, transaction)
      try transaction.execute(
        """
        INSERT INTO job_triggers (job_id, definition, handled_until) VALUES ($1::bigint, $2, $3::timestamptz)
        ON CONFLICT (job_id) DO UPDATE SET definition = excluded.definition, handled_until = excluded.handled_until
        """, [.int(Int(job)), .text(definition), .timestamp(time)])
    }
  }

  /// A trigger that was paused or removed begins anew.
  public func forgetTrigger(job: Int64) async throws {
    try await pool.execute("DELETE FROM job_triggers WHERE job_id = $1::bigint", [.int(Int(job))])
  }
}
