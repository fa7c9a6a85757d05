// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DuckDB
import Foundation
import Postgres
import Query

/// What was loaded into which table: sources, their files and batches, in Postgres.
///
/// A batch is written here before it runs, and its number goes into the table's log with its rows (`txn` of application
/// `platform/ingest/<source>`). Whoever dies in between leaves an open batch: the log tells whether it was committed.
struct IngestLedger: Sendable {
  let pool: PostgresPool

  struct Source: Sendable {
    var id: Int64
    /// What the files have; nil until it was found out.
    var schema: [Column]?
    /// The latest change of an entry that was listed, nanoseconds since 1970.
    var highWater: Int64
    /// Of a source in a bucket: the last of all names that were listed, and how long ago all of them were.
    var lastName: String?
    var secondsSinceWhole: Double?

    var application: String { "platform/ingest/\(id)" }
  }

  struct Batch: Sendable {
    var number: Int64
    var run: String
    var files: [FileRead.File]
  }

  /// What a load tells of files besides that it has read them.
  struct Marks: Sendable {
    /// Nothing could be read of them: they are tried again when they change.
    var unreadable: [String] = []
    /// Somebody removed them: they are new when they come again.
    var gone: [String] = []
  }

  struct Lag: Sendable {
    var table: String
    var source: String
    var files: Int
    var bytes: Int
    var oldestSeconds: Double
    var changed: Int
    var unreadable: Int
  }

  /// How much older than the newest known change a change may become visible.
  private static let marginNanoseconds: Int64 = 600_000_000_000

  // MARK: sources

  func source(table: UUID, tableName: String, name: String) async throws -> Source {
    try await pool.transaction { transaction in
      let key: [PostgresValue] = [.text(table.uuidString), .text(name)]
      try transaction.execute(
        "INSERT INTO ingest_sources (table_id, name, table_name) VALUES ($1::uuid, $2, $3) ON CONFLICT (table_id, name) DO UPDATE SET table_name = excluded.table_name",
        key + [.text(tableName)])
      let rows = try transaction.query(
        """
        SELECT id, schema, high_water, last_name, extract(epoch FROM now() - listed_at)::float8 AS ago
        FROM ingest_sources WHERE table_id = $1::uuid AND name = $2
        """, key)
      guard let row = rows.first else { throw PlatformError(.internalError, "the source of an ingestion vanished") }
      let schema: String? = try row.get("schema")
      return Source(
        id: try row.get("id"), schema: try schema.map { try JSONDecoder.platform.decode([Column].self, from: Data($0.utf8)) },
        highWater: try row.get("high_water"), lastName: try row.get("last_name"), secondsSinceWhole: try row.get("ago"))
    }
  }

  func setSchema(_ source: Int64, _ columns: [Column]) async throws {
    _ = try await pool.execute(
      "UPDATE ingest_sources SET schema = $2::jsonb WHERE id = $1::bigint", [.int(Int(source)), .encoding(JSONValue(encoding: columns))])
  }

  // MARK: files

  private struct FileRow: Codable {
    var name: String
    var path: String
    var size: Int64
    var modified: Int64
    var tag: String?
    init(_ file: FileRead.File) {
      name = file.name
      path = file.path
      size = file.sizeBytes
      modified = file.modifiedMilliseconds
      tag = file.tag
    }
  }

  private static let record = "jsonb_to_recordset($2::jsonb) AS r(name text, path text, size bigint, modified bigint, tag text)"

  private static func json(_ files: ArraySlice<FileRead.File>) throws -> PostgresValue {
    .json(String(decoding: try JSONEncoder.platform.encode(files.map(FileRow.init)), as: UTF8.self))
  }

  /// Notes files that are new since the last listing, and loaded ones that changed. One of which nothing could be read is tried again then.
  ///
  /// Objects are all compared: the time of one that was written in parts is that of its beginning, which may be long ago.
  func discover(_ source: Source, _ found: [SourceListing.Found], isInBucket: Bool, reloads: Bool) async throws {
    let fresh = found.filter { isInBucket || $0.changed >= source.highWater - Self.marginNanoseconds }.map(\.file)
    for start in stride(from: 0, to: fresh.count, by: 5000) {
      let rows = try Self.json(fresh[start..<min(start + 5000, fresh.count)])
      _ = try await pool.execute(
        """
        INSERT INTO ingest_files AS f (source, name, path, size, modified, tag)
        SELECT $1::bigint, r.name, r.path, r.size, r.modified, r.tag FROM \(Self.record)
          LEFT JOIN ingest_files k ON k.source = $1::bigint AND k.name = r.name
        WHERE k.name IS NULL OR k.size <> r.size OR k.tag IS DISTINCT FROM r.tag
          OR CASE WHEN r.tag IS NULL THEN k.modified <> r.modified ELSE k.modified / 1000 <> r.modified / 1000 END
        ON CONFLICT (source, name) DO UPDATE SET
          changed = f.loaded IS NOT NULL AND NOT ($3::boolean OR f.unreadable), loaded = CASE WHEN $3::boolean OR f.unreadable THEN NULL ELSE f.loaded END,
          size = CASE WHEN f.loaded IS NULL OR $3::boolean OR f.unreadable THEN excluded.size ELSE f.size END,
          modified = CASE WHEN f.loaded IS NULL OR $3::boolean OR f.unreadable THEN excluded.modified ELSE f.modified END,
          tag = CASE WHEN f.loaded IS NULL OR $3::boolean OR f.unreadable THEN excluded.tag ELSE f.tag END, unreadable = false
        WHERE f.batch IS NULL
        """, [.int(Int(source.id)), rows, .bool(reloads)])
    }
    guard let newest = found.map(\.changed).max(), newest > source.highWater else { return }
    _ = try await pool.execute(
      "UPDATE ingest_sources SET high_water = greatest(high_water, $2::bigint) WHERE id = $1::bigint", [.int(Int(source.id)), .int(Int(newest))])
  }

  /// Notes which names of a bucket were seen, so that the next listing may begin behind them.
  func noteListing(_ source: Int64, last: String?, isWhole: Bool) async throws {
    _ = try await pool.execute(
      """
      UPDATE ingest_sources SET last_name = greatest(last_name COLLATE "C", $2::text COLLATE "C"),
        listed_at = CASE WHEN $3::boolean THEN now() ELSE listed_at END WHERE id = $1::bigint
      """, [.int(Int(source)), .optional(last), .bool(isWhole)])
  }

  private static func batch(_ transaction: PostgresTransaction, _ source: Int64, _ number: Int64, run: String) throws -> Batch {
    let rows = try transaction.query(
      "SELECT name, path, size, modified, tag FROM ingest_files WHERE source = $1::bigint AND batch = $2::bigint ORDER BY name COLLATE \"C\"",
      [.int(Int(source)), .int(Int(number))])
    return Batch(
      number: number, run: run,
      files: try rows.map {
        FileRead.File(
          path: try $0.string("path"), name: try $0.string("name"), sizeBytes: try $0.get("size"), modifiedMilliseconds: try $0.get("modified"),
          tag: try $0.get("tag"))
      })
  }

  private static func open(_ transaction: PostgresTransaction, _ source: Int64) throws -> Batch? {
    // Whoever plans or commits holds the source.
    _ = try transaction.query("SELECT 1 FROM ingest_sources WHERE id = $1::bigint FOR UPDATE", [.int(Int(source))])
    let row = try transaction.query("SELECT number, run FROM ingest_batches WHERE source = $1::bigint AND state = 'open'", [.int(Int(source))]).first
    return try row.map { try batch(transaction, source, $0.get("number"), run: $0.string("run")) }
  }

  func openBatch(_ source: Int64) async throws -> Batch? { try await pool.transaction { try Self.open($0, source) } }

  private static func begin(_ transaction: PostgresTransaction, _ source: Int64, run: String) throws -> Int64 {
    let row = try transaction.query(
      "UPDATE ingest_sources SET next_batch = next_batch + 1 WHERE id = $1::bigint RETURNING next_batch - 1 AS number", [.int(Int(source))]
    ).first
    guard let number: Int64 = try row?.get("number") else { throw PlatformError(.conflict, "the table that is loaded was dropped") }
    try transaction.execute(
      "INSERT INTO ingest_batches (source, number, run) VALUES ($1::bigint, $2::bigint, $3)", [.int(Int(source)), .int(Int(number)), .text(run)])
    return number
  }

  enum Order: String, Codable, Sendable { case name, time }

  /// The batch that is open, or a new one of files that wait; nil when none does.
  func nextBatch(_ source: Int64, run: String, order: Order, files: Int, bytes: Int64) async throws -> Batch? {
    try await pool.transaction { transaction in
      if let open = try Self.open(transaction, source) { return open }
      let waiting = try transaction.query(
        """
        SELECT name, size FROM ingest_files WHERE source = $1::bigint AND loaded IS NULL AND batch IS NULL
        ORDER BY \(order == .name ? "name COLLATE \"C\"" : "modified, name COLLATE \"C\"") LIMIT $2::bigint
        """, [.int(Int(source)), .int(files)])
      var names: [String] = []
      var total: Int64 = 0
      for row in waiting {
        let size: Int64 = try row.get("size")
        if !names.isEmpty, total + size > bytes { break }
        names.append(try row.string("name"))
        total += size
      }
      if names.isEmpty { return nil }
      let number = try Self.begin(transaction, source, run: run)
      try transaction.execute(
        "UPDATE ingest_files SET batch = $2::bigint WHERE source = $1::bigint AND name = ANY($3::text[])",
        [.int(Int(source)), .int(Int(number)), .textArray(names)])
      return try Self.batch(transaction, source, number, run: run)
    }
  }

  /// A batch of exactly those files that were not loaded yet, or have changed since nothing could be read of them, or of all files; nil when none
  /// is left.
  func batch(_ source: Int64, run: String, of files: [FileRead.File], force: Bool) async throws -> Batch? {
    try await pool.transaction { transaction in
      if try Self.open(transaction, source) != nil { throw PlatformError(.unavailable, "another load into the table has just begun") }
      let number = try Self.begin(transaction, source, run: run)
      var taken = 0
      for start in stride(from: 0, to: files.count, by: 5000) {
        taken += try transaction.execute(
          """
          INSERT INTO ingest_files AS f (source, name, path, size, modified, tag, batch)
          SELECT $1::bigint, r.name, r.path, r.size, r.modified, r.tag, $3::bigint FROM \(Self.record)
          ON CONFLICT (source, name) DO UPDATE SET batch = excluded.batch, path = excluded.path, size = excluded.size, modified = excluded.modified,
            tag = excluded.tag, loaded = CASE WHEN f.unreadable THEN NULL ELSE f.loaded END, unreadable = false
          WHERE $4::boolean OR f.loaded IS NULL OR (f.unreadable
            AND (f.size <> excluded.size OR f.tag IS DISTINCT FROM excluded.tag
              OR CASE WHEN excluded.tag IS NULL THEN f.modified <> excluded.modified ELSE f.modified / 1000 <> excluded.modified / 1000 END))
          """, [.int(Int(source)), try Self.json(files[start..<min(start + 5000, files.count)]), .int(Int(number)), .bool(force)])
      }
      if taken == 0 {
        try transaction.execute("DELETE FROM ingest_batches WHERE source = $1::bigint AND number = $2::bigint", [.int(Int(source)), .int(Int(number))])
        return nil
      }
      return try Self.batch(transaction, source, number, run: run)
    }
  }

  // MARK: commits

  private static func lock(_ transaction: PostgresTransaction, _ source: Int64, _ number: Int64) throws -> (state: String, version: Int64?)? {
    _ = try transaction.query("SELECT 1 FROM ingest_sources WHERE id = $1::bigint FOR UPDATE", [.int(Int(source))])
    return try transaction.query(
      "SELECT state, version FROM ingest_batches WHERE source = $1::bigint AND number = $2::bigint", [.int(Int(source)), .int(Int(number))]
    ).first.map { (try $0.string("state"), try $0.get("version")) }
  }

  private static func close(
    _ transaction: PostgresTransaction, _ source: Int64, _ number: Int64, version: Int64?, rows: Int64, bad: Int64, _ marks: Marks = Marks()
  ) throws {
    let key: [PostgresValue] = [.int(Int(source)), .int(Int(number))]
    try transaction.execute(
      "UPDATE ingest_batches SET state = $3, version = $4::bigint, rows = $5::bigint, bad = $6::bigint, finished_at = now() WHERE source = $1::bigint AND number = $2::bigint",
      key + [.text(version == nil ? "abandoned" : "committed"), .optional(version.map { Int($0) }), .int(Int(rows)), .int(Int(bad))])
    try transaction.execute(
      version == nil
        ? "UPDATE ingest_files SET batch = NULL WHERE source = $1::bigint AND batch = $2::bigint"
        : "UPDATE ingest_files SET loaded = batch, batch = NULL, changed = false, unreadable = false WHERE source = $1::bigint AND batch = $2::bigint", key)
    guard version != nil else { return }
    let those = "source = $1::bigint AND loaded = $2::bigint AND name = ANY($3::text[])"
    if !marks.unreadable.isEmpty {
      try transaction.execute("UPDATE ingest_files SET unreadable = true WHERE \(those)", key + [.textArray(marks.unreadable)])
    }
    if !marks.gone.isEmpty { try transaction.execute("DELETE FROM ingest_files WHERE \(those)", key + [.textArray(marks.gone)]) }
  }

  /// Takes files out of an open batch that were removed before anything was read; a batch of nothing else is given up.
  func drop(_ source: Int64, _ number: Int64, _ names: [String]) async throws {
    try await pool.transaction { transaction in
      guard try Self.lock(transaction, source, number)?.state == "open" else { return }
      let key: [PostgresValue] = [.int(Int(source)), .int(Int(number))]
      try transaction.execute(
        "DELETE FROM ingest_files WHERE source = $1::bigint AND batch = $2::bigint AND name = ANY($3::text[])", key + [.textArray(names)])
      if try transaction.query("SELECT 1 FROM ingest_files WHERE source = $1::bigint AND batch = $2::bigint LIMIT 1", key).isEmpty {
        try Self.close(transaction, source, number, version: nil, rows: 0, bad: 0)
      }
    }
  }

  /// Makes the batch visible once. `write` commits to the table's log; it finds its own commit when it is repeated.
  /// - Parameter replaced: files that were others when they were read than when they were listed: what was read is what is known from now on.
  /// - Returns: the table's version that holds the rows.
  /// - Throws: `conflict` PLT-3118 when the batch was given up in between.
  func commit(
    _ source: Int64, _ number: Int64, rows: Int64, bad: Int64, replaced: [FileRead.File] = [], _ marks: Marks = Marks(),
    write: @escaping @Sendable () throws -> Int64
  ) async throws -> Int64 {
    try await pool.transaction { transaction in
      let found = try Self.lock(transaction, source, number)
      if found?.state == "committed", let version = found?.version { return version }
      guard found?.state == "open" else {
        throw PlatformError(.conflict, "batch \(number) was given up, others load its files", hint: "Submit it again.", number: "PLT-3118")
      }
      let version = try write()
      if !replaced.isEmpty {
        try transaction.execute(
          """
          UPDATE ingest_files f SET size = r.size, modified = r.modified, tag = r.tag FROM \(Self.record)
          WHERE f.source = $1::bigint AND f.batch = $3::bigint AND f.name = r.name
          """, [.int(Int(source)), try Self.json(replaced[...]), .int(Int(number))])
      }
      try Self.close(transaction, source, number, version: version, rows: rows, bad: bad, marks)
      return version
    }
  }

  /// Closes a batch whose run has ended: as committed when the table's log has it, otherwise its files are free again.
  /// - Parameter recorded: the last batch number in the table's log and the version that is its latest.
  func settle(_ source: Int64, _ number: Int64, recorded: @escaping @Sendable () throws -> (number: Int64, version: Int64)?) async throws {
    try await pool.transaction { transaction in
      guard try Self.lock(transaction, source, number)?.state == "open" else { return }
      let last = try recorded()
      let version = last.flatMap { $0.number >= number ? $0.version : nil }
      try Self.close(transaction, source, number, version: version, rows: 0, bad: 0)
    }
  }

  /// Whether a run has ended, or was never known.
  func hasEnded(run: String) async throws -> Bool {
    let rows = try await pool.query("SELECT terminal FROM job_records WHERE key = $1", [.text("run:" + run)])
    return try rows.first?.bool("terminal") ?? true
  }

  // MARK: lag

  /// What waits, by source.
  func lag() async throws -> [Lag] {
    try await pool.query(
      """
      SELECT s.table_name, s.name, count(f.name) FILTER (WHERE f.loaded IS NULL OR f.batch IS NOT NULL) AS files,
        coalesce(sum(f.size) FILTER (WHERE f.loaded IS NULL OR f.batch IS NOT NULL), 0)::bigint AS bytes,
        coalesce(extract(epoch FROM now() - min(f.found_at) FILTER (WHERE f.loaded IS NULL OR f.batch IS NOT NULL)), 0)::float8 AS oldest,
        count(f.name) FILTER (WHERE f.changed) AS changed,
        count(f.name) FILTER (WHERE f.unreadable) AS unreadable
      FROM ingest_sources s LEFT JOIN ingest_files f ON f.source = s.id AND (f.loaded IS NULL OR f.batch IS NOT NULL OR f.changed OR f.unreadable)
      WHERE s.name <> 'copy' GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 1000
      """
    ).map {
      Lag(
        table: try $0.string("table_name"), source: try $0.string("name"), files: try $0.int("files"), bytes: try $0.int("bytes"),
        oldestSeconds: try $0.double("oldest"), changed: try $0.int("changed"), unreadable: try $0.int("unreadable"))
    }
  }
}

enum IngestMigrations {
  static let all: [Migration] = [
    Migration(
      component: "ingestion", number: 1, name: "sources, files, batches",
      sql: """
        CREATE TABLE ingest_sources (
          id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, table_id uuid NOT NULL, name text NOT NULL, table_name text NOT NULL,
          schema jsonb, next_batch bigint NOT NULL DEFAULT 1, high_water bigint NOT NULL DEFAULT 0,
          created_at timestamptz NOT NULL DEFAULT now(), UNIQUE (table_id, name)
        );
        CREATE TABLE ingest_files (
          source bigint NOT NULL REFERENCES ingest_sources (id) ON DELETE CASCADE, name text NOT NULL, path text NOT NULL,
          size bigint NOT NULL, modified bigint NOT NULL, batch bigint, loaded bigint, changed boolean NOT NULL DEFAULT false,
          found_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (source, name)
        );
        CREATE INDEX ingest_files_waiting_by_name ON ingest_files (source, name COLLATE "C") WHERE loaded IS NULL AND batch IS NULL;
        CREATE INDEX ingest_files_waiting_by_time ON ingest_files (source, modified, name COLLATE "C") WHERE loaded IS NULL AND batch IS NULL;
        CREATE INDEX ingest_files_by_batch ON ingest_files (source, batch) WHERE batch IS NOT NULL;
        CREATE INDEX ingest_files_changed ON ingest_files (source) WHERE loaded IS NULL OR batch IS NOT NULL OR changed;
        CREATE TABLE ingest_batches (
          source bigint NOT NULL REFERENCES ingest_sources (id) ON DELETE CASCADE, number bigint NOT NULL,
          state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'committed', 'abandoned')), run text NOT NULL,
          version bigint, rows bigint, bad bigint, started_at timestamptz NOT NULL DEFAULT now(), finished_at timestamptz,
          PRIMARY KEY (source, number)
        );
        CREATE UNIQUE INDEX ingest_batches_open ON ingest_batches (source) WHERE state = 'open';
        """),
    Migration(
      component: "ingestion", number: 2, name: "objects as sources",
      sql: """
        ALTER TABLE ingest_files ADD COLUMN tag text;
        ALTER TABLE ingest_sources ADD COLUMN last_name text, ADD COLUMN listed_at timestamptz;
        """),
    Migration(
      component: "ingestion", number: 3, name: "files of which nothing could be read",
      sql: """
        ALTER TABLE ingest_files ADD COLUMN unreadable boolean NOT NULL DEFAULT false;
        DROP INDEX ingest_files_changed;
        CREATE INDEX ingest_files_changed ON ingest_files (source) WHERE loaded IS NULL OR batch IS NOT NULL OR changed OR unreadable;
        """),
  ]
}

extension PlanningServices {
  var ledger: IngestLedger { IngestLedger(pool: catalog.pool) }
}

extension PrometheusText {
  mutating func ingestion(_ lags: [IngestLedger.Lag]) {
    family("platform_ingest_files_waiting", "gauge", "Files of a source that are not in the table yet.")
    family("platform_ingest_bytes_waiting", "gauge", "Their size.")
    family("platform_ingest_oldest_waiting_seconds", "gauge", "How long ago the oldest of them was seen first.")
    family("platform_ingest_files_changed", "gauge", "Files that changed after they were loaded.")
    family("platform_ingest_files_unreadable", "gauge", "Files in the quarantine as a whole: nothing of them could be read.")
    for lag in lags {
      let labels = ["table": lag.table, "source": lag.source]
      sample("platform_ingest_files_waiting", labels, Double(lag.files))
      sample("platform_ingest_bytes_waiting", labels, Double(lag.bytes))
      sample("platform_ingest_oldest_waiting_seconds", labels, lag.oldestSeconds)
      sample("platform_ingest_files_changed", labels, Double(lag.changed))
      sample("platform_ingest_files_unreadable", labels, Double(lag.unreadable))
    }
  }
}
