// SPDX-License-Identifier: Apache-2.0

import Core
import Postgres

/// Who may do what with jobs and runs. A job without an owner of its own has its creator; a run of a job that is there is governed by the job, any other
/// by who started it.
extension JobStore {
  /// - Throws: `notFound` PLT-4200.
  public func rights(ofJob id: Int64) async throws -> JobRights {
    let rows = try await pool.query(
      "SELECT COALESCE(o.owner, o.creator) AS owner, \(Self.grants) AS grants FROM jobs o WHERE o.job_id = $1::bigint", [.int(Int(id))])
    guard let row = rows.first else { throw Self.noJob(id) }
    return try Self.rights(row)
  }

  /// - Throws: `notFound` PLT-1304.
  public func rights(ofRun id: String) async throws -> JobRights {
    let rows = try await pool.query(
      """
      SELECT COALESCE(o.owner, o.creator, r.submitted_by) AS owner, CASE WHEN o.job_id IS NULL THEN r.grants ELSE \(Self.grants) END AS grants
      FROM runs r LEFT JOIN jobs o ON o.job_id = r.job_id WHERE r.run_id = $1 AND NOT r.deleted
      """, [.text(id)])
    guard let row = rows.first else { throw Self.noRun(id) }
    return try Self.rights(row)
  }

  private static let grants = "(SELECT jsonb_object_agg(g.grantee, g.level) FROM job_grants g WHERE g.job_id = o.job_id)"

  private static func rights(_ row: PostgresRow) throws -> JobRights {
    let grants = try row.get("grants", as: JSONValue?.self)?.objectValue ?? [:]
    return JobRights(owner: try row.string("owner"), grants: grants.compactMapValues { $0.stringValue.flatMap { JobRight(name: $0) } })
  }

  /// Nobody else changes them meanwhile.
  /// - Throws: `notFound` PLT-4200; what `change` throws.
  public func changeRights(ofJob id: Int64, _ change: @escaping JobRights.Change) async throws -> JobRights {
    try await pool.transaction { transaction in try Self.changeRights(ofJob: id, transaction, change) }
  }

  @discardableResult
  static func changeRights(ofJob id: Int64, _ transaction: PostgresTransaction, _ change: JobRights.Change) throws -> JobRights {
    let key = PostgresValue.int(Int(id))
    guard let row = try transaction.query("SELECT COALESCE(owner, creator) AS owner FROM jobs WHERE job_id = $1::bigint FOR UPDATE", [key]).first else {
      throw noJob(id)
    }
    var rights = JobRights(owner: try row.string("owner"))
    for grant in try transaction.query("SELECT grantee, level FROM job_grants WHERE job_id = $1::bigint", [key]) {
      rights.grants[try grant.string("grantee")] = JobRight(name: try grant.string("level"))
    }
    try change(&rights)
    try transaction.execute("UPDATE jobs SET owner = $2 WHERE job_id = $1::bigint", [key, .text(rights.owner)])
    try transaction.execute("DELETE FROM job_grants WHERE job_id = $1::bigint", [key])
    for (grantee, right) in rights.grants.sorted(by: { $0.key < $1.key }) {
      try transaction.execute("INSERT INTO job_grants (job_id, grantee, level) VALUES ($1::bigint, $2, $3)", [key, .text(grantee), .text(right.name)])
    }
    return rights
  }

  // MARK: Lists

  /// Whether the job `o` is seen by the user and grantees of these parameters.
  static func seenJob(_ user: String, _ grantees: String) -> String {
    """
    (COALESCE(o.owner, o.creator) = \(user)
      OR EXISTS (SELECT FROM job_grants g WHERE g.job_id = o.job_id AND g.grantee = ANY(\(grantees)::text[])))
    """
  }

  /// The same of the run `r`.
  static func seen(_ user: String, _ grantees: String) -> String {
    """
    AND CASE WHEN EXISTS (SELECT FROM jobs o WHERE o.job_id = r.job_id)
      THEN EXISTS (SELECT FROM jobs o WHERE o.job_id = r.job_id AND \(seenJob(user, grantees)))
      ELSE r.submitted_by = \(user) OR jsonb_exists_any(r.grants, \(grantees)::text[]) END
    """
  }
}
