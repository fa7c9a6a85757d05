// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
import Postgres

/// A folder for a managed table that another program writes before it has a name.
public struct StagingTableEntry: Sendable, Equatable {
  /// Becomes the identifier of the table.
  public var id: UUID
  public var name: ThreePartName
  public var location: String
}

/// One commit of a table whose versions are given out here: its file lies in `_delta_log/_staged_commits/` until somebody copies it to its
/// place in the log ("backfills" it).
public struct DeltaCommitEntry: Sendable, Equatable {
  public var version: Int64
  public var fileName: String
  public var fileSize: Int64
  /// Milliseconds since 1970.
  public var fileModifiedAt: Int64
  public var committedAt: Int64
  /// Behind it the log alone gives out versions again.
  public var isLast: Bool

  public init(version: Int64, fileName: String, fileSize: Int64, fileModifiedAt: Int64, committedAt: Int64, isLast: Bool = false) {
    self.isLast = isLast
    self.version = version
    self.fileName = fileName
    self.fileSize = fileSize
    self.fileModifiedAt = fileModifiedAt
    self.committedAt = committedAt
  }
}

extension CatalogStore {
  /// A table may have this many commits that are not in its log yet, as in the open server.
  public static let unbackfilledLimit = 10

  /// Gives out a folder, `lake/catalog/schema/name-xxxxxxxx`, for a table that does not exist yet. It is made.
  /// - Throws: `notFound` PLT-3002 for the schema, `alreadyExists` PLT-3003 for the table.
  public func createStagingTable(_ name: ThreePartName, creatingIn lake: String, by actor: String) async throws -> StagingTableEntry {
    try Self.requirePlain(name.name)
    if try await findTable(name) != nil { throw PlatformError(.alreadyExists, "table '\(name)' exists already", number: "PLT-3003") }
    let id = UUID()
    let location = "\(lake)/\(name.catalog)/\(name.schema)/\(name.name)-\(id.uuidString.prefix(8).lowercased())"
    try await pool.transaction { transaction in
      try Self.requireSchema(transaction, name)
      try transaction.execute(
        "INSERT INTO staging_tables (id, catalog, schema, name, location, created_by) VALUES ($1::uuid, $2, $3, $4, $5, $6)",
        [.text(id.uuidString)] + Self.key(name) + [.text(location), .text(actor)])
    }
    try await BlockingPool.shared.run {
      do {
        try FileManager.default.createDirectory(atPath: location, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
      } catch { throw PlatformError(.unavailable, "cannot make the folder of table '\(name)': \(error.localizedDescription)", path: location) }
    }
    return StagingTableEntry(id: id, name: name, location: location)
  }

  /// Makes the staged folder a managed table: same identifier, same place.
  /// - Throws: `notFound` PLT-3002 when the location was not given out for this name, `alreadyExists` PLT-3003.
  public func promoteStagingTable(
    _ name: ThreePartName, at location: String, columns: [ColumnEntry], comment: String, properties: [String: String], by actor: String
  ) async throws -> TableEntry {
    let encoded = try JSONValue(encoding: columns)
    let facts = try JSONValue(encoding: properties)
    try await pool.transaction { transaction in
      try Self.requireSchema(transaction, name)
      let rows = try transaction.query(
        "DELETE FROM staging_tables WHERE location = $1 AND lower(catalog) = lower($2) AND lower(schema) = lower($3) AND lower(name) = lower($4) RETURNING id",
        [.text(location)] + Self.key(name))
      guard let row = rows.first else {
        throw PlatformError(
          .notFound, "the location was not given out for a table '\(name)'", hint: "Ask for one with staging-tables.", number: "PLT-3002",
          path: location)
      }
      let made = try transaction.execute(
        """
        INSERT INTO tables (id, catalog, schema, name, location, columns, comment, owner, properties, created_by, updated_by)
        VALUES ($1::uuid, $2, $3, $4, $5, $6::jsonb, $7, $8, $9::jsonb, $8, $8) ON CONFLICT DO NOTHING
        """,
        [try row.value("id")] + Self.key(name) + [.text(location), .encoding(encoded), .text(comment), .text(actor), .encoding(facts)])
      if made == 0 { throw PlatformError(.alreadyExists, "table '\(name)' exists already", number: "PLT-3003") }
      try Self.audit(transaction, actor, "create table", "\(name)")
    }
    return try await table(name)
  }

  /// The table of this identifier, or the folder that was given out for it.
  /// - Throws: `notFound` PLT-3002.
  public func place(ofTable id: UUID) async throws -> (name: ThreePartName, location: String, isManaged: Bool) {
    let rows = try await pool.query(
      """
      SELECT catalog, schema, name, location, kind = 'managed' AS managed FROM tables WHERE id = $1::uuid
      UNION ALL SELECT catalog, schema, name, location, true FROM staging_tables WHERE id = $1::uuid LIMIT 1
      """, [.text(id.uuidString)])
    guard let row = rows.first else { throw Self.missing("table", id.uuidString.lowercased()) }
    return (try Self.name(row), try row.string("location"), try row.bool("managed"))
  }

  /// - Throws: `notFound` PLT-3002.
  public func volume(id: UUID) async throws -> VolumeEntry {
    guard let row = try await pool.query("SELECT * FROM volumes WHERE id = $1::uuid", [.text(id.uuidString)]).first else {
      throw Self.missing("volume", id.uuidString.lowercased())
    }
    return try Self.volumeEntry(row)
  }

  /// Records a commit, the news that commits were backfilled, or both. Exactly one of several that want the same version gets it.
  /// - Throws: `conflict` for a version that is taken; `invalidArgument` for one that leaves a gap, or a backfilled version that is not
  ///   there; `resourceExhausted` above `unbackfilledLimit`.
  public func commitDelta(table id: UUID, _ commit: DeltaCommitEntry?, latestBackfilled: Int64?) async throws {
    if let commit {
      guard commit.version > 0, commit.fileSize > 0, commit.committedAt > 0, commit.fileModifiedAt > 0 else {
        throw PlatformError(.invalidArgument, "version, timestamp, file_size and file_modification_timestamp of a commit are above 0")
      }
      guard try VolumePath.parts(commit.fileName).count == 1 else { throw VolumePath.refuse(commit.fileName, "it is not the name of a file") }
    } else if latestBackfilled == nil {
      throw PlatformError(.invalidArgument, "a commit_info or a latest_backfilled_version is needed")
    }
    try await pool.transaction { transaction in
      let key = PostgresValue.text(id.uuidString)
      guard try !transaction.query("SELECT 1 FROM tables WHERE id = $1::uuid FOR UPDATE", [key]).isEmpty else {
        throw Self.missing("table", id.uuidString.lowercased())
      }
      let given = try Self.givenOut(transaction, key)
      var latest = given.latest
      var waiting = given.waiting
      if let backfilled = latestBackfilled, let known = latest {
        guard backfilled <= known else {
          throw PlatformError(.invalidArgument, "version \(backfilled) cannot be backfilled: the newest is \(known)")
        }
        // The newest row stays, so that the next version is known.
        waiting -= try transaction.execute(
          "DELETE FROM delta_commits WHERE table_id = $1::uuid AND version <= $2::bigint AND version < $3::bigint AND NOT is_backfilled",
          [key, .int(Int(backfilled)), .int(Int(known))])
        try transaction.execute(
          "DELETE FROM delta_commits WHERE table_id = $1::uuid AND version < $2::bigint AND is_backfilled", [key, .int(Int(known))])
        waiting -= try transaction.execute(
          "UPDATE delta_commits SET is_backfilled = true WHERE table_id = $1::uuid AND version <= $2::bigint AND NOT is_backfilled",
          [key, .int(Int(backfilled))])
      } else if let backfilled = latestBackfilled, commit == nil {
        throw PlatformError(.invalidArgument, "version \(backfilled) cannot be backfilled: the table has no commits here")
      }
      guard let commit else { return }
      if let known = latest {
        guard commit.version > known else {
          throw PlatformError(.conflict, "version \(commit.version) is taken; the newest is \(known)", hint: "Read the table again.", number: "PLT-3005")
        }
        // Behind a table's last version here, others may have written any number to its log.
        guard given.isLast || commit.version == known + 1 else {
          throw PlatformError(.invalidArgument, "version \(commit.version) leaves a gap: the newest is \(known)")
        }
      }
      guard waiting < Self.unbackfilledLimit else {
        throw PlatformError(
          .resourceExhausted, "Max number of commits per table reached: \(waiting) commits wait to be backfilled", hint: "Backfill them first.")
      }
      try transaction.execute(
        """
        INSERT INTO delta_commits (table_id, version, file_name, file_size, file_modified_at, committed_at)
        VALUES ($1::uuid, $2::bigint, $3, $4::bigint, $5::bigint, $6::bigint)
        """,
        [
          key, .int(Int(commit.version)), .text(commit.fileName), .int(Int(commit.fileSize)), .int(Int(commit.fileModifiedAt)),
          .int(Int(commit.committedAt)),
        ])
      latest = commit.version
    }
  }

  /// The newest version that was committed here; nil for a table whose log is all there is.
  public func newestDeltaCommit(table id: UUID) async throws -> Int64? {
    let newest = "SELECT version, is_last FROM delta_commits WHERE table_id = $1::uuid ORDER BY version DESC LIMIT 1"
    guard let row = try await pool.query(newest, [.text(id.uuidString)]).first, try !row.bool("is_last") else { return nil }
    return try row.get("version")
  }

  /// What was given out for a table: the newest version, whether it is the last, and how many are not in the log.
  static func givenOut(_ transaction: PostgresTransaction, _ key: PostgresValue) throws -> (latest: Int64?, isLast: Bool, waiting: Int) {
    let row = try transaction.query(
      """
      SELECT max(version) AS latest, coalesce((array_agg(is_last ORDER BY version DESC))[1], false) AS is_last,
        count(*) FILTER (WHERE NOT is_backfilled) AS waiting
      FROM delta_commits WHERE table_id = $1::uuid
      """, [key])[0]
    return (try row.get("latest"), try row.bool("is_last"), try row.int("waiting"))
  }

  /// Commits that are not in the table's log, newest first, and the newest version; 0 when none was made here.
  public func deltaCommits(table id: UUID, from start: Int64, to end: Int64?) async throws -> (commits: [DeltaCommitEntry], latest: Int64) {
    let rows = try await pool.query("SELECT * FROM delta_commits WHERE table_id = $1::uuid ORDER BY version DESC", [.text(id.uuidString)])
    let commits = try rows.filter { try !$0.bool("is_backfilled") }.map { row in
      DeltaCommitEntry(
        version: try row.get("version"), fileName: try row.string("file_name"), fileSize: try row.get("file_size"),
        fileModifiedAt: try row.get("file_modified_at"), committedAt: try row.get("committed_at"))
    }
    let latest: Int64 = try rows.first?.get("version") ?? 0
    return (commits.filter { $0.version >= start && $0.version <= end ?? .max }, latest)
  }
}
