// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import Query

/// Statements on a large table: written, grouped, searched and merged into. `BENCH_ROWS` rows (10 million) of eight columns.
enum LargeTableGroup {
  static let rowCount = Int(ProcessInfo.processInfo.environment["BENCH_ROWS"] ?? "") ?? 10_000_000
  /// Source files, and files of the table that is searched.
  static let parts = 16
  static let columns = [
    Column("id", .bigint), Column("key", .integer), Column("name", .varchar), Column("price", .double), Column("at", .timestampTZ),
    Column("part", .integer), Column("flag", .boolean), Column("weight", .double),
  ]
  static var size: String { rowCount % 1_000_000 == 0 ? "\(rowCount / 1_000_000)M" : "\(rowCount / 1000)k" }

  /// The rows from `first` on: mixed well enough that a file of them is as large as one of real rows.
  static func rows(_ first: Int, _ count: Int) -> String {
    """
    SELECT i AS id, CAST(hash(i) % 1000 AS INTEGER) AS key, 'item ' || (hash(i + 1) % 5000) || ' of the list' AS name,
      CAST(hash(i + 2) % 1000000 / 100.0 AS DOUBLE) AS price, to_timestamp(1700000000 + i) AS at, CAST(i % 100 AS INTEGER) AS part,
      i % 7 = 0 AS flag, CAST(hash(i + 3) % 997 AS DOUBLE) AS weight FROM range(\(first), \(first + count)) AS r(i)
    """
  }

  static func run(_ setup: Setup, report: Group.Report) async throws {
    let lake = setup.file("large")
    try FileManager.default.createDirectory(atPath: lake, withIntermediateDirectories: true)
    let engine = try Database(settings: .init(threads: Peer.threads)).connect()
    try engine.execute("SET TimeZone='UTC'")
    var sources: [String] = []
    for part in 0..<parts {
      let (first, end) = (rowCount * part / parts, rowCount * (part + 1) / parts)
      sources.append(setup.file("source-\(part).parquet"))
      try engine.execute("COPY (\(rows(first, end - first))) TO \(SQLText.literal(sources[part])) (FORMAT parquet, COMPRESSION zstd)")
    }
    try setup.peer.call("large_table.start", ["folder": .string(lake), "threads": .integer(Int64(Peer.threads))])
    let files = JSONValue.array(sources.map { .string($0) })

    // Each run makes a table anew from the same files.
    func write(_ name: String) throws -> Double {
      try? FileManager.default.removeItem(atPath: "\(lake)/\(name)")  // the first run finds none
      return try timed {
        let table = try BenchTable(lake, name)
        try table.create()
        try table.run("INSERT INTO t SELECT * FROM source", sources: ["source": sources])
      }
    }
    try await report(
      Comparison(
        what: "write \(size) rows x 8 columns", ours: "INSERT INTO .. SELECT", peer: "deltalake write_deltalake, fsync", threads: 2,
        amount: Double(rowCount) / 1e6,
        unit: "Mrows", runOurs: { _ in try write("mine") },
        runPeer: { _ in try setup.peer.time("large_table.write", ["table": "theirs", "files": files]) }))
    let sums = try ["mine", "theirs"].map { try setup.peer.call("large_table.sums", ["table": .string($0)])["sums"] }
    try check(sums[0] != nil && sums[0] == sums[1], "the tables hold \(sums)")

    try await group(setup, BenchTable(lake, "mine"), report)
    try await search(lake, sources, report)
    for vectors in [false, true] { try await merge(setup, lake, sources, engine, vectors: vectors, report) }
  }

  /// The time of statements in an executor that was idle before.
  private static func timed(_ body: () throws -> Void) throws -> Double {
    try BenchTable.idle()
    return try seconds(body)
  }

  /// The same engine on the same files.
  private static func group(_ setup: Setup, _ table: BenchTable, _ report: Group.Report) async throws {
    let query = "SELECT key, count(*) AS n, sum(price) AS total, min(name) AS first FROM t GROUP BY key ORDER BY key"
    let files = try table.delta.snapshot().files.map { table.location + "/" + (try $0.relativePath()) }
    let arguments: [String: JSONValue] = ["sql": .string(query), "files": .array(files.map { .string($0) })]
    let mine = try table.run(query)
    let theirs = try setup.peer.call("large_table.sql", arguments)["rows"]?.arrayValue ?? []
    let isSame =
      mine.rows.count == theirs.count
      && zip(mine.rows, theirs).allSatisfy { row, other in row[0] == other.arrayValue?[0] && row[1] == other.arrayValue?[1] && row[3] == other.arrayValue?[3] }
    try check(isSame && mine.rows.count == 1000, "groups")
    try await report(
      Comparison(
        what: "SQL: 1000 groups of \(size) rows", ours: "snapshot + StatementSession", peer: "duckdb read_parquet", threads: 2,
        amount: Double(rowCount) / 1e6, unit: "Mrows", runOurs: { _ in try timed { try table.run(query) } },
        runPeer: { _ in try setup.peer.time("large_table.sql", arguments) }))
  }

  /// A table of a thousand files, one of which can hold the row; the peer is our own scan of all of them.
  private static func search(_ lake: String, _ sources: [String], _ report: Group.Report) async throws {
    let table = try BenchTable(lake, "many")
    try table.create()
    try table.split(sources, into: 1000)
    // Statistics cannot judge a sum, so nothing can be left out.
    let (one, all) = (
      "SELECT count(*), sum(price) FROM t WHERE id BETWEEN 1000 AND 1009", "SELECT count(*), sum(price) FROM t WHERE id + 0 BETWEEN 1000 AND 1009"
    )
    try check(try table.run(one).rows == table.run(all).rows && table.scan(one).files.count == 1, "rows of the search")
    try await report(
      Comparison(
        what: "search in 0.1 % of 1000 files, \(size) rows", ours: "with statistics", peer: "ours without", threads: 2, amount: 1, unit: "queries",
        runOurs: { _ in try timed { try table.run(one) } }, runPeer: { _ in try timed { try table.run(all) } }))
  }

  /// One row of a hundred changes, and as many come in addition. Tables grow alike on both sides.
  private static func merge(
    _ setup: Setup, _ lake: String, _ sources: [String], _ engine: Connection, vectors: Bool, _ report: Group.Report
  ) async throws {
    let count = rowCount / 100
    func source(_ round: Int) throws -> String {
      let path = setup.file("changes-\(round).parquet")
      // Spread over the whole table; half of them are new.
      try engine.execute(
        """
        COPY (SELECT * REPLACE (CASE WHEN id % 2 = 0 THEN id * 100 + \(round) ELSE \(rowCount) + \(round) * \(count) + id END AS id, price + 1 AS price)
        FROM (\(rows(0, count)))) TO \(SQLText.literal(path)) (FORMAT parquet, COMPRESSION zstd)
        """)
      return path
    }
    let (name, theirs) = (vectors ? "merged-vectors" : "merged", vectors ? "theirs-2" : "theirs-1")
    let table = try BenchTable(lake, name)
    try table.create(vectors ? ["delta.enableDeletionVectors": "true"] : [:])
    try table.run("INSERT INTO t SELECT * FROM source", sources: ["source": sources])
    _ = try setup.peer.call("large_table.write", ["table": .string(theirs), "files": .array(sources.map { .string($0) })])
    let statement = """
      MERGE INTO t USING source ON t.id = source.id WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *
      """
    try await report(
      Comparison(
        what: "MERGE of 1 % into \(size) rows" + (vectors ? ", deletion vectors" : ""), ours: "MERGE INTO", peer: "deltalake merge, fsync", threads: 2,
        amount: Double(count) / 1e3, unit: "krows",
        runOurs: { round in
          let path = try source(round)
          return try timed { try table.run(statement, sources: ["source": [path]]) }
        },
        runPeer: { round in
          try setup.peer.time("large_table.merge", ["table": .string(theirs), "file": .string(source(round))])
        }))
    let sums = try [name, theirs].map { try setup.peer.call("large_table.numbers", ["table": .string($0)])["sums"] }
    try check(sums[0] != nil && sums[0] == sums[1], "the merged tables hold \(sums)")
  }
}
