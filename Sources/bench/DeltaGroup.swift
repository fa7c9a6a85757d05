// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import Query

/// Tables: appending, opening, scanning, and SQL over their files.
enum DeltaGroup {
  static let rowCount = 100_000
  static let columns = [
    Column("id", .bigint), Column("key", .integer), Column("name", .varchar), Column("price", .double), Column("at", .timestampTZ),
  ]

  /// One batch in memory, as columns; the peer makes the same from the same formulas.
  struct Batch {
    var ids: [Int64] = []
    var keys: [Int64] = []
    var names: [String] = []
    var prices: [Double] = []
    var times: [Int64] = []

    init(_ first: Int) {
      for id in first..<first + rowCount {
        ids.append(Int64(id))
        keys.append(Int64(id * 7919 % 1000))
        names.append("item \(id * 31 % 5000) of the list")
        prices.append(Double(id * 2_654_435_761 % 1_000_000) / 100)
        times.append(1_700_000_000_000_000 + Int64(id) * 1_000_000)
      }
    }
  }

  static func table(_ setup: Setup, _ name: String) throws -> DeltaTable {
    DeltaTable(store: try LocalObjectStore(root: setup.file("lake")), path: try ObjectPath(name), parquet: DuckDBParquetHandler())
  }

  /// Writes a file of the batch and commits it: durable when this returns.
  static func append(_ setup: Setup, _ table: DeltaTable, _ batch: Batch) throws {
    let name = "part-\(UUID().uuidString).zstd.parquet"
    let writer = try ParquetTableWriter(path: setup.file("lake/\(table.path.text)/\(name)"), columns: columns, threads: Peer.threads)
    for row in 0..<batch.ids.count {
      try writer.appendRow { appender in
        try appender.append(batch.ids[row])
        try appender.append(batch.keys[row])
        try appender.append(batch.names[row])
        try appender.append(batch.prices[row])
        try appender.append(batch.times[row])
      }
    }
    guard let file = try writer.finish() else { throw PlatformError(.internalError, "no rows") }
    _ = try table.append([AddFile(relativePath: name, size: file.sizeBytes, statistics: file.statistics)])
  }

  static func run(_ setup: Setup, report: Group.Report) async throws {
    let mine = try table(setup, "mine")
    _ = try mine.create(schema: TypeMapping.schema(columns), name: "mine")
    let batch = Batch(0)
    try setup.peer.call("delta.start", ["folder": .string(setup.file("lake")), "rows": .integer(Int64(rowCount)), "threads": 2])
    try await report(
      Comparison(
        what: "append 100k rows to a Delta table", ours: "ParquetTableWriter + DeltaTable", peer: "deltalake write_deltalake", threads: 2,
        amount: Double(rowCount), unit: "rows", runOurs: { _ in try seconds { try append(setup, mine, batch) } },
        runPeer: { _ in try setup.peer.time("delta.append", ["table": "theirs"]) }))
    // Both tables hold the same rows, by the peer's reading.
    let sums = try ["mine", "theirs"].map { try setup.peer.call("delta.sums", ["table": .string($0)])["sums"] }
    try check(sums[0] != nil && sums[0] == sums[1], "the tables hold \(sums)")

    try await open(setup, report: report)

    // One table of a million rows for everything that reads.
    let million = try table(setup, "million")
    _ = try million.create(schema: TypeMapping.schema(columns), name: "million")
    for part in 0..<10 { try append(setup, million, Batch(part * rowCount)) }
    try await scan(setup, million, report: report)
    try await aggregate(setup, million, report: report)
  }

  /// 205 commits: a checkpoint and five commits after it.
  static func open(_ setup: Setup, report: Group.Report) async throws {
    let long = try table(setup, "long")
    _ = try long.create(schema: TypeMapping.schema(columns), name: "long")
    for index in 0..<205 {
      let statistics: JSONValue = [
        "numRecords": 10, "minValues": ["id": .integer(Int64(index * 10))], "maxValues": ["id": .integer(Int64(index * 10 + 9))],
        "nullCount": ["id": 0],
      ]
      _ = try long.append([AddFile(relativePath: "part-\(index).parquet", size: 1000, statistics: statistics)])
    }
    func ours() throws -> Int { try long.snapshot().files.count }
    try check(try ours() == setup.peer.call("delta.open", ["table": "long"])["files"]?.intValue, "files of the long table")
    try await report(
      Comparison(
        what: "open a Delta table of 205 commits", ours: "DeltaTable.snapshot", peer: "deltalake DeltaTable", threads: 1, amount: 1, unit: "tables",
        runOurs: { _ in try seconds { _ = try ours() } }, runPeer: { _ in try setup.peer.time("delta.open", ["table": "long"]) }))
  }

  /// Two columns of the rows that pass a filter.
  static func scan(_ setup: Setup, _ table: DeltaTable, report: Group.Report) async throws {
    func ours() throws -> (count: Int, sum: Double) {
      let files = try table.snapshot().files.map { setup.file("lake/million/") + (try $0.relativePath()) }
      let scan = try ParquetScan(files: files, columns: ["id", "price"], where: "price > 9000 AND key < 100", threads: Peer.threads)
      var (count, sum) = (0, 0.0)
      while let chunk = try scan.next() {
        let prices = chunk.column(1)
        for row in 0..<chunk.count { sum += prices.double(row) }
        count += chunk.count
      }
      return (count, sum)
    }
    let seen = try ours()
    let answer = try setup.peer.call("delta.scan", ["table": "million"])
    try check(
      answer["count"]?.intValue == seen.count && abs((answer["sum"]?.doubleValue ?? 0) / seen.sum - 1) < 1e-9, "the scan gives \(seen) and \(answer)")
    try await report(
      Comparison(
        what: "scan 1M rows with a filter", ours: "DeltaTable + ParquetScan", peer: "deltalake to_pyarrow_dataset", threads: 2, amount: 1, unit: "Mrows",
        runOurs: { _ in try seconds { _ = try ours() } }, runPeer: { _ in try setup.peer.time("delta.scan", ["table": "million"]) }))
  }

  /// The same engine on both sides: what our way of running a statement costs.
  static func aggregate(_ setup: Setup, _ table: DeltaTable, report: Group.Report) async throws {
    let query = "SELECT key, count(*) AS n, sum(price) AS total, min(name) AS first FROM t GROUP BY key ORDER BY key"
    let files = try table.snapshot().files.map { setup.file("lake/million/") + (try $0.relativePath()) }
    let spec = StatementSpec(kind: .select, sql: query, tables: [.init(view: "t", files: files, columns: columns)])
    func ours() throws -> [[JSONValue]] { try StatementRunner.run(spec, context: QuietContext(scratchDirectory: setup.folder.path)).rows }
    let arguments: [String: JSONValue] = ["sql": .string(query), "files": .array(files.map { .string($0) })]
    let rows = try ours()
    let theirs = try setup.peer.call("delta.sql", arguments)["rows"]?.arrayValue ?? []
    let isSame =
      rows.count == 1000 && theirs.count == 1000
      && zip(rows, theirs).allSatisfy { row, other in
        let values = other.arrayValue ?? []
        return values.count == 4 && row[0] == values[0] && row[1] == values[1] && row[3] == values[3]
          && abs((row[2].doubleValue ?? 0) - (values[2].doubleValue ?? 1)) < 1e-3
      }
    try check(isSame, "rows of the query")
    try await report(
      Comparison(
        what: "SQL: 1000 groups of 1M rows", ours: "StatementRunner (own database)", peer: "duckdb (open connection)", threads: 2, amount: 1,
        unit: "Mrows", runOurs: { _ in try seconds { _ = try ours() } }, runPeer: { _ in try setup.peer.time("delta.sql", arguments) }))
  }
}
