// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
import Postgres

extension CatalogStore {
  /// A version that a table is to get.
  public struct TableVersion: Sendable, Equatable {
    public var table: UUID
    public var commit: DeltaCommitEntry
    public init(table: UUID, commit: DeltaCommitEntry) {
      self.table = table
      self.commit = commit
    }
  }

  /// How far a table has come here.
  public struct TableProgress: Sendable, Equatable {
    /// nil: none of its versions was given out here.
    public var latest: Int64?
    /// Commits that may not be in its log yet, oldest first.
    public var waiting: [DeltaCommitEntry] = []
  }

  /// Gives several tables their next versions: all of them in one transaction, or none. The first version that a table gets here is
  /// whatever comes next in its log; so is the first one behind the last of an earlier time here.
  /// - Throws: `conflict` PLT-3005 when a version is not the one behind the table's newest; `notFound` PLT-3002; `resourceExhausted` when
  ///   too many commits of a table wait to be copied to its log.
  public func commitDelta(together versions: [TableVersion]) async throws {
    guard Set(versions.map(\.table)).count == versions.count else { throw PlatformError(.invalidArgument, "a table gets one version at a time") }
    for version in versions {
      guard version.commit.version > 0, try VolumePath.parts(version.commit.fileName).count == 1 else {
        throw VolumePath.refuse(version.commit.fileName, "it is not the name of a commit's file")
      }
    }
    let ids = versions.map(\.table.uuidString)
    try await pool.transaction { transaction in
      // In one order, so that two who want the same tables do not wait for each other.
      let found = try transaction.query(
        "SELECT id FROM tables WHERE id = ANY ($1::text[]::uuid[]) ORDER BY id FOR UPDATE", [.textArray(ids)])
      let known = Set(try found.map { row -> UUID in try row.get("id") })
      if let missing = versions.first(where: { !known.contains($0.table) }) {
        throw Self.missing("table", missing.table.uuidString.lowercased())
      }
      for version in versions {
        let key = PostgresValue.text(version.table.uuidString)
        let given = try Self.givenOut(transaction, key)
        guard given.latest.map({ given.isLast ? version.commit.version > $0 : version.commit.version == $0 + 1 }) ?? true else {
          throw PlatformError(
            .conflict, "version \(version.commit.version) does not follow the newest, \(given.latest ?? 0)", hint: "Read the table again.",
            number: "PLT-3005")
        }
        guard given.waiting < Self.unbackfilledLimit else {
          throw PlatformError(.resourceExhausted, "too many commits of the table wait to be copied to its log", hint: "Read the table: that copies them.")
        }
        try transaction.execute(
          """
          INSERT INTO delta_commits (table_id, version, file_name, file_size, file_modified_at, committed_at, is_last)
          VALUES ($1::uuid, $2::bigint, $3, $4::bigint, $5::bigint, $6::bigint, $7::boolean)
          """,
          [
            key, .int(Int(version.commit.version)), .text(version.commit.fileName), .int(Int(version.commit.fileSize)),
            .int(Int(version.commit.fileModifiedAt)), .int(Int(version.commit.committedAt)), .bool(version.commit.isLast),
          ])
      }
    }
  }

  /// How far the tables have come, all at one moment.
  public func deltaProgress(of tables: [UUID]) async throws -> [UUID: TableProgress] {
    let rows = try await pool.query(
      "SELECT * FROM delta_commits WHERE table_id = ANY ($1::text[]::uuid[]) ORDER BY table_id, version", [.textArray(tables.map(\.uuidString))])
    var found: [UUID: TableProgress] = [:]
    for row in rows {
      let commit = DeltaCommitEntry(
        version: try row.get("version"), fileName: try row.string("file_name"), fileSize: try row.get("file_size"),
        fileModifiedAt: try row.get("file_modified_at"), committedAt: try row.get("committed_at"), isLast: try row.bool("is_last"))
      let id: UUID = try row.get("table_id")
      let isBackfilled = try row.bool("is_backfilled")
      // The last version, once it is in the log, is no more than a warning to writers that have begun before it.
      found[id, default: TableProgress()].latest = commit.isLast && isBackfilled ? nil : commit.version
      if !isBackfilled { found[id, default: TableProgress()].waiting.append(commit) }
    }
    return found
  }

  /// The newest version of every table whose versions are given out here, all at one moment.
  public func deltaMoment() async throws -> [UUID: Int64] {
    var found: [UUID: Int64] = [:]
    let newest = """
      SELECT table_id, newest FROM (SELECT DISTINCT ON (table_id) table_id, version AS newest, is_last FROM delta_commits ORDER BY table_id, version DESC) t
      WHERE NOT is_last
      """
    for row in try await pool.query(newest) {
      found[try row.get("table_id")] = try row.get("newest")
    }
    return found
  }

  /// Tables with commits that may not be in their logs yet.
  public func tablesWithWaitingCommits() async throws -> [ThreePartName] {
    try await pool.query(
      "SELECT catalog, schema, name FROM tables WHERE id IN (SELECT table_id FROM delta_commits WHERE NOT is_backfilled) ORDER BY catalog, schema, name"
    ).map(Self.name)
  }
}
