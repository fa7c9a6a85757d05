// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DeltaLog
import Foundation
import Postgres

/// Which pushed batches are in which tables.
///
/// A table's log is the authority: a commit of pushed records holds the number of its group (`txn` of application `platform/push`, each one
/// behind the one before) and the identifiers of its batches. Postgres is an index of that, and is brought up to the log before it is asked.
struct RecordLedger: Sendable {
  static let application = "platform/push"
  /// How long a batch's identifier is remembered.
  static let days = 30

  let pool: PostgresPool

  struct Known: Sendable, Equatable {
    var id: String
    var version: Int64
    var rows: Int64
  }

  /// What a commit says of its batches.
  struct Note: Codable, Sendable, Equatable {
    var id: String
    var rows: Int64
  }

  static func parameter(_ notes: [Note]) throws -> JSONValue { .string(String(decoding: try JSONEncoder.platform.encode(notes), as: UTF8.self)) }

  /// The batches that a commit tells of; nil: it is no commit of pushed records.
  static func notes(_ info: CommitInfo?) -> [Note]? {
    guard let text = info?.operationParameters?["batches"]?.stringValue else { return nil }
    return try? JSONDecoder.platform.decode([Note].self, from: Data(text.utf8))  // another writer's parameter of this name
  }

  /// The commits behind the last that the index has, so that it has all.
  /// - Parameters:
  ///   - committed: the number of the last group in the log, nil when there is none.
  ///   - version: the table's latest.
  func catchUp(_ table: UUID, committed: Int64?, version: Int64, history: @escaping @Sendable (Int) throws -> [DeltaTable.HistoryEntry]) async throws {
    guard let committed else { return }
    let row = try await pool.query("SELECT committed, version FROM push_tables WHERE table_id = $1::uuid", [.text(table.uuidString)]).first
    let known: (committed: Int64, version: Int64)? = try row.map { (try $0.get("committed"), try $0.get("version")) }
    if known?.committed == committed { return }
    let behind = Int(clamping: version - (known?.version ?? -1))
    let found = try await BlockingPool.shared.run {
      try history(max(0, behind)).flatMap { entry in (Self.notes(entry.info) ?? []).map { Known(id: $0.id, version: entry.version, rows: $0.rows) } }
    }
    try await record(table, committed: committed, version: version, found)
  }

  /// Batches of a table that are in it.
  func find(_ table: UUID, _ ids: [String]) async throws -> [String: Known] {
    let rows = try await pool.query(
      "SELECT batch, version, rows FROM push_batches WHERE table_id = $1::uuid AND batch = ANY($2::text[])", [.text(table.uuidString), .textArray(ids)])
    var found: [String: Known] = [:]
    for row in rows {
      let known = Known(id: try row.string("batch"), version: try row.get("version"), rows: try row.get("rows"))
      found[known.id] = known
    }
    return found
  }

  func record(_ table: UUID, committed: Int64, version: Int64, _ batches: [Known]) async throws {
    try await pool.transaction { transaction in
      for start in stride(from: 0, to: batches.count, by: 1000) {
        let some = batches[start..<min(start + 1000, batches.count)]
        try transaction.execute(
          """
          INSERT INTO push_batches (table_id, batch, version, rows) SELECT $1::uuid, r.id, r.version, r.rows
          FROM jsonb_to_recordset($2::jsonb) AS r(id text, version bigint, rows bigint) ON CONFLICT DO NOTHING
          """,
          [
            .text(table.uuidString),
            .encoding(.array(some.map { ["id": .string($0.id), "version": .integer($0.version), "rows": .integer($0.rows)] })),
          ])
      }
      try transaction.execute(
        """
        INSERT INTO push_tables (table_id, committed, version) VALUES ($1::uuid, $2::bigint, $3::bigint)
        ON CONFLICT (table_id) DO UPDATE SET committed = excluded.committed, version = excluded.version WHERE push_tables.committed < excluded.committed
        """, [.text(table.uuidString), .int(Int(committed)), .int(Int(version))])
    }
  }

  /// Forgets identifiers that are too old.
  func forgetOld() async throws {
    _ = try await pool.execute("DELETE FROM push_batches WHERE recorded_at < now() - make_interval(days => $1::int)", [.int(Self.days)])
  }
}

enum RecordMigrations {
  static let all: [Migration] = [
    Migration(
      component: "push", number: 1, name: "batches of pushed records",
      sql: """
        CREATE TABLE push_tables (table_id uuid PRIMARY KEY, committed bigint NOT NULL, version bigint NOT NULL);
        CREATE TABLE push_batches (
          table_id uuid NOT NULL, batch text NOT NULL, version bigint NOT NULL, rows bigint NOT NULL,
          recorded_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (table_id, batch)
        );
        CREATE INDEX push_batches_by_age ON push_batches (recorded_at);
        """)
  ]
}
