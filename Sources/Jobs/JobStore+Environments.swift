// SPDX-License-Identifier: Apache-2.0

public import Core
import Postgres

/// The exact packages that a run has got for what its tasks ask for: all its attempts and tasks get the same.
extension JobStore {
  /// - Parameter digest: of what is asked for.
  public func environmentLock(run: String, digest: String) async throws -> JSONValue? {
    try await pool.query("SELECT lock FROM run_environments WHERE run_id = $1 AND digest = $2", [.text(run), .text(digest)]).first?.json("lock")
  }

  /// Keeps the first lock that is given.
  /// - Returns: the one that is kept.
  public func keepEnvironmentLock(run: String, digest: String, _ lock: JSONValue) async throws -> JSONValue {
    try await pool.execute(
      "INSERT INTO run_environments (run_id, digest, lock) VALUES ($1, $2, $3::jsonb) ON CONFLICT DO NOTHING",
      [.text(run), .text(digest), .encoding(lock)])
    return try await environmentLock(run: run, digest: digest) ?? lock
  }
}
