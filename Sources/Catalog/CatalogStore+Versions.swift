// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres

/// Versions that clients make: a folder first, then the files, then the word that they are all there.
extension CatalogStore {
  private static let versionFolder = "_models"

  /// The next number of a model whose row is locked. Numbers are never used twice, also when the version is gone.
  static func takeVersion(_ transaction: PostgresTransaction, _ name: ThreePartName) throws -> Int {
    try transaction.query(
      "UPDATE models SET next_version = next_version + 1 WHERE catalog = $1 AND schema = $2 AND name = $3 RETURNING next_version - 1 AS version",
      key(name))[0].int("version")
  }

  /// Makes the next version, pending, and its empty folder `lake/_models/catalog/schema/model-xxxxxxxx/N`.
  /// - Throws: `notFound` PLT-3002 when there is no such model.
  public func createModelVersion(
    _ name: ThreePartName, creatingIn lake: String, source: String?, runID: String?, comment: String, by actor: String
  ) async throws -> ModelVersionEntry {
    let root = "\(try VolumePath.absolute(lake))/\(Self.versionFolder)"
    let made = try await pool.transaction { transaction -> (version: Int, location: String) in
      let rows = try transaction.query("SELECT id FROM models WHERE catalog = $1 AND schema = $2 AND name = $3 FOR UPDATE", Self.key(name))
      guard let row = rows.first else { throw Self.missing("model", "\(name)") }
      let version = try Self.takeVersion(transaction, name)
      let location = "\(root)/\(name.catalog)/\(name.schema)/\(name.name)-\(try row.string("id").prefix(8).lowercased())/\(version)"
      try transaction.execute(
        """
        INSERT INTO model_versions (catalog, schema, model, version, kind, location, run_id, facts, status, source, comment, managed, created_by, updated_by)
        VALUES ($1, $2, $3, $4, 'files', $5, $6, '{}', 'PENDING_REGISTRATION', $7, $8, true, $9, $9)
        """,
        Self.key(name) + [.int(version), .text(location), .optional(runID), .optional(source), .text(comment), .text(actor)])
      try Self.audit(transaction, actor, "create model version", "\(name)/\(version)")
      return (version, location)
    }
    try await BlockingPool.shared.run {
      do {
        try FileManager.default.createDirectory(atPath: made.location, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
      } catch {
        throw PlatformError(.unavailable, "cannot make the folder of model '\(name)': \(error.localizedDescription)", path: made.location)
      }
    }
    return try await modelVersion(name, version: made.version)
  }

  /// Makes a pending version ready. Safe to repeat.
  /// - Parameter kind: what an endpoint can do with its files (`generate`, `embed`); nil leaves `files`, which none serves.
  /// - Throws: `notFound` PLT-3002; `conflict` for one that has failed.
  public func finalizeModelVersion(_ name: ThreePartName, version: Int, kind: String? = nil, by actor: String) async throws -> ModelVersionEntry {
    let entry = try await modelVersion(name, version: version)
    if entry.status == .ready { return entry }
    let changed = try await pool.execute(
      """
      UPDATE model_versions SET status = 'READY', kind = coalesce($6, kind), updated_at = now(), updated_by = $5
      WHERE catalog = $1 AND schema = $2 AND model = $3 AND version = $4 AND status = 'PENDING_REGISTRATION'
      """, Self.key(name) + [.int(version), .text(actor), .optional(kind)])
    guard changed == 1 else {
      throw PlatformError(.conflict, "the registration of '\(name)/\(version)' has failed", hint: "Make a new version.")
    }
    return try await modelVersion(name, version: version)
  }

  /// - Throws: `notFound` PLT-3002.
  public func changeModelVersion(_ name: ThreePartName, version: Int, comment: String?, by actor: String) async throws {
    let changed = try await pool.execute(
      """
      UPDATE model_versions SET comment = coalesce($5, comment), updated_at = now(), updated_by = $6
      WHERE catalog = $1 AND schema = $2 AND model = $3 AND version = $4
      """, Self.key(name) + [.int(version), .optional(comment), .text(actor)])
    if changed == 0 { throw Self.missing("model", "\(name)/\(version)") }
  }

  /// Versions that have waited for their files longer than `age` have failed.
  @discardableResult
  public func failForgottenVersions(olderThan age: Duration = .seconds(86_400)) async throws -> Int {
    try await pool.execute(
      """
      UPDATE model_versions SET status = 'FAILED_REGISTRATION', updated_at = now()
      WHERE status = 'PENDING_REGISTRATION' AND created_at < now() - make_interval(secs => $1::double precision)
      """, [.double(age / .seconds(1))])
  }
}
