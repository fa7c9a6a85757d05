// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import TestSupport
import Testing

@testable import Query

/// Statements in shards give the rows that they give in one piece: random tables, random splits, the engine over the plain rows as judge.
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct ShardedRowsTests {
  /// A partitioned Delta table of several files, some with deletion vectors, and the same rows as a table of the engine.
  private struct Fixture {
    let folder = TemporaryDirectory("shards")
    let judge: Connection
    var scans: [String: TableScan] = [:]

    static let fields: [(name: String, type: String, sql: SQLType)] = [
      ("id", "long", .bigint), ("s", "string", .varchar), ("f", "double", .double), ("n", "integer", .integer), ("ts", "timestamp", .timestampTZ),
      ("p", "string", .varchar),
    ]

    init(_ random: inout SplitMix64) throws {
      judge = try Database(settings: .init(threads: 1)).connect()
      try judge.execute("SET TimeZone='UTC'")
      for name in ["t", "u"] { try table(name, &random) }
    }

    /// Few distinct values, so that groups and joins meet; NULL, both zeros and NaN among them.
    private func value(_ column: String, _ random: inout SplitMix64) -> String {
      if Int.random(in: 0..<6, using: &random) == 0 { return "NULL" }
      let number = Int.random(in: 0..<7, using: &random)
      switch column {
      case "id": return String(number * 1_000_000_007)
      case "s", "p": return ["'a'", "'A'", "''", "'a '", "'ü'", "'1'", "'a/b=c'"][number]
      case "f": return ["0.0", "'-0.0'::DOUBLE", "'NaN'::DOUBLE", "'-Infinity'::DOUBLE", "0.1", "1e300", "-2.5"][number] + "::DOUBLE"
      case "ts": return "TIMESTAMPTZ '2026-0\(number + 1)-01 00:00:00.000001+00'"
      default: return String(number - 3)
      }
    }

    private mutating func table(_ name: String, _ random: inout SplitMix64) throws {
      let path = folder.file(name)
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
      let delta = DeltaTable(
        store: try LocalObjectStore(root: folder.path), path: try ObjectPath(name), parquet: DuckDBParquetHandler(), dataFeatures: ChangedTable.features)
      let isPartitioned = Bool.random(using: &random)
      let schema = StructType(fields: Self.fields.map { StructField(name: $0.name, type: .primitive($0.type)) })
      _ = try delta.create(
        TableMetadata(schema: schema, partitionColumns: isPartitioned ? ["p"] : [], configuration: ["delta.enableDeletionVectors": "true"]))
      try judge.execute("CREATE TABLE \(name) (\(Self.fields.map { "\($0.name) \($0.sql.sql)" }.joined(separator: ", ")))")
      for number in 0..<Int.random(in: 0..<7, using: &random) {
        let rows = (0..<Int.random(in: 1..<60, using: &random)).map { _ in Self.fields.map { value($0.name, &random) } }
        let partition = isPartitioned ? value("p", &random) : nil
        let stored = isPartitioned ? Self.fields.dropLast().map(\.name) : Self.fields.map(\.name)
        let values = rows.map { "(" + zip(Self.fields, $0).map { "CAST(\($1) AS \($0.sql.sql))" }.joined(separator: ", ") + ")" }
        let query = "SELECT * FROM (VALUES \(values.joined(separator: ", "))) AS r(\(Self.fields.map(\.name).joined(separator: ", ")))"
        let file = "\(number).parquet"
        try judge.execute("COPY (SELECT \(stored.joined(separator: ", ")) FROM (\(query))) TO \(SQLText.literal(path + "/" + file)) (FORMAT parquet)")
        let size = try #require(try FileManager.default.attributesOfItem(atPath: path + "/" + file)[.size] as? Int64)
        var add = AddFile(relativePath: file, size: size, statistics: ["numRecords": .integer(Int64(rows.count))])
        // An empty text is no partition value: it reads as NULL.
        let text = partition == nil || partition == "NULL" || partition == "''" ? nil : String(partition!.dropFirst().dropLast())
        if isPartitioned { add.partitionValues = ["p": text] }
        _ = try delta.append([add])
        var gone: Set<Int> = []
        if Bool.random(using: &random) {
          gone = Set(rows.indices.filter { _ in Int.random(in: 0..<3, using: &random) == 0 })
          var base = try delta.snapshot()
          let present = try #require(base.filesByPath[file])
          var rewrite = CommitPlan.Rewrite()
          rewrite.deleted = [(present, .inline(DeletionVector(gone.map { UInt64($0) })))]
          if !gone.isEmpty { _ = try delta.commit(.rewrite(rewrite, where: .all, read: base.files, operation: "DELETE"), onto: &base) }
        }
        let kept = values.indices.filter { !gone.contains($0) }.map { values[$0] }
        guard !kept.isEmpty else { continue }
        let shown = isPartitioned ? "* REPLACE (\(text.map { SQLText.literal($0) } ?? "NULL") AS p)" : "*"
        try judge.execute(
          "INSERT INTO \(name) SELECT \(shown) FROM (VALUES \(kept.joined(separator: ", "))) AS r(\(Self.fields.map(\.name).joined(separator: ", ")))")
      }
      scans[name] = try TableScan(delta.snapshot(), folder: path)
    }

    /// Rows of a query, each as a text that tells apart what the engine tells apart.
    func texts(_ query: String) throws -> [String] {
      let columns = try judge.rows("DESCRIBE \(query)").compactMap { $0[0].stringValue }
      let list = columns.map { "coalesce(CAST(\(SQLText.identifier($0)) AS VARCHAR), '<null>')" }.joined(separator: ", ")
      return try judge.rows("SELECT concat_ws('|', \(list)) FROM (\(query))").compactMap { $0[0].stringValue }.sorted()
    }
  }

  /// Runs a statement as the coordinator does, in random shards, and gives the files that were written.
  private func run(_ statement: String, keys: [String], _ fixture: Fixture, shards: Int, _ random: inout SplitMix64) throws -> [String] {
    let plan = try StatementPlan(parsing: statement, catalog: "main", schema: "demo")
    let output = fixture.folder.file("out-\(UUID().uuidString)")
    let spec = StatementSpec(
      kind: plan.kind, sql: plan.sql,
      tables: try plan.references.map { .init(view: $0.view, scan: try #require(fixture.scans[$0.name.name]), name: "\($0.name)") },
      outputDirectory: output)
    let context = QuietContext(scratchDirectory: fixture.folder.path)
    let sharding = try StatementSharding(plan, spec)
    let splits = try sharding.splits(keys: keys, direct: plan.references.map(\.view))
    var parts = Array(repeating: [String: TableScan](), count: shards)
    var exchanges: [ExchangeShard.Result] = []
    for split in splits {
      let scan = try #require(spec.tables.first { $0.view == split.view }).scan
      // Any way of dealing the files out is right.
      var groups = Array(repeating: [TableScan.File](), count: shards)
      for file in scan.files { groups[Int.random(in: 0..<shards, using: &random)].append(file) }
      for (index, files) in groups.enumerated() {
        var own = scan
        own.files = files
        parts[index][split.view] = own
        guard !keys.isEmpty else { continue }
        let columns = try sharding.used(split)
        let shard = ExchangeShard(
          view: split.view, scan: own, columns: columns, keys: columns.filter { split.keys.contains($0.name) }, parts: shards,
          folder: fixture.folder.file("exchange-\(UUID().uuidString)"))
        exchanges.append(try JSONValue(encoding: shard.run(context: context)).decode(ExchangeShard.Result.self))
      }
    }
    if !keys.isEmpty { parts = try (0..<shards).map { try ExchangeShard.scans(exchanges, part: $0) } }
    let results = try parts.enumerated().map { index, part in
      try StatementRunner.run(StatementSharding.shard(spec, part, isFirst: index == 0), context: context)
    }
    let merged = try #require(try StatementSharding.merged(results))
    #expect(merged.rowCount == merged.files.reduce(0) { $0 + $1.rows })
    return merged.files.map(\.path)
  }

  private static let statements: [(query: String, keys: [String])] = [
    ("SELECT * FROM t", []), ("SELECT id, s || '!' AS e, f FROM t WHERE n > 0 OR p IS NULL", []),
    ("SELECT t.id, u.s, t.f FROM t LEFT JOIN u ON t.id = u.id", []), ("SELECT id, p FROM t UNION ALL SELECT id, p FROM u", []),
    ("SELECT id, s FROM t WHERE s IN (SELECT s FROM u)", []), ("SELECT id, s FROM t ANTI JOIN u USING (s)", []),
    ("SELECT id, count(*) AS c, min(s) AS m, sum(n) AS q FROM t GROUP BY id", ["id"]), ("SELECT f, count(*) AS c FROM t GROUP BY f", ["f"]),
    ("SELECT s, p, count(f) AS c, max(ts) AS m FROM t GROUP BY s, p", ["p"]), ("SELECT s, p, count(*) AS c FROM t GROUP BY ALL", ["s", "p"]),
    ("SELECT DISTINCT ts, n FROM t", ["ts"]), ("SELECT t.id, count(u.s) AS c FROM t LEFT JOIN u ON t.id = u.id GROUP BY t.id", ["id"]),
    ("SELECT t.f, u.n FROM t JOIN u ON t.f = u.f", ["f"]), ("SELECT t.s, u.n FROM t FULL JOIN u ON t.s IS NOT DISTINCT FROM u.s", ["s"]),
    ("SELECT id, n, rank() OVER (PARTITION BY id ORDER BY n) AS r, count(*) OVER (PARTITION BY id) AS c FROM t", ["id"]),
    ("WITH c AS (SELECT s, sum(n) AS q FROM t GROUP BY s) SELECT c.s, c.q, u.n FROM c JOIN u ON c.s = u.s", ["s"]),
  ]

  @Test func rowsAreThoseOfTheWholeStatement() throws {
    var random = SplitMix64(seed: 20260731)
    for round in 0..<3 {
      let fixture = try Fixture(&random)
      for (query, keys) in Self.statements {
        let shards = Int.random(in: 1..<6, using: &random)
        let files = try run("CREATE TABLE o AS " + query, keys: keys, fixture, shards: shards, &random)
        let expected = try fixture.texts(query)
        let found = files.isEmpty ? [] : try fixture.texts("SELECT * FROM read_parquet(\(SQLText.list(files)))")
        // The engine's groups and the dictionaries of its files keep the sign of one of their zeros: either is right.
        func plain(_ rows: [String]) -> [String] { rows.map { $0.replacing("-0.0", with: "0.0") }.sorted() }
        #expect(plain(found) == plain(expected), "round \(round), \(shards) shards: \(query)")
      }
    }
  }

  @Test func aDamagedExchangeFileIsNamed() throws {
    var random = SplitMix64(seed: 3)
    let folder = TemporaryDirectory("damaged")
    let engine = try Database(settings: .init(threads: 1)).connect()
    try engine.execute("COPY (SELECT range AS id FROM range(1000)) TO \(SQLText.literal(folder.file("a.parquet"))) (FORMAT parquet)")
    let columns = [Column("id", .bigint)]
    let context = QuietContext(scratchDirectory: folder.path)
    let shard = ExchangeShard(
      view: "v", scan: TableScan(files: [folder.file("a.parquet")], columns: columns), columns: columns, keys: columns, parts: 4, folder: folder.file("x"))
    var result = try shard.run(context: context)
    #expect(result.files.reduce(0) { $0 + $1.rows } == 1000 && Set(result.files.map(\.part)) == [0, 1, 2, 3])
    let victim = try #require(result.files.randomElement(using: &random))
    try Data("no rows".utf8).write(to: URL(fileURLWithPath: victim.path))
    let scans = try ExchangeShard.scans([result], part: victim.part)
    let spec = StatementSpec(kind: .select, sql: "SELECT count(*) FROM v", tables: [.init(view: "v", scan: try #require(scans["v"]))])
    let error = #expect(throws: PlatformError.self) { try StatementRunner.run(spec, context: context) }
    #expect(error.map { "\($0)".contains(victim.path) } == true, "\(String(describing: error))")
    // Engines that deal rows out in different ways are never mixed.
    let other = result
    result.engine = "v0.0.1"
    #expect(throws: PlatformError.self) { try ExchangeShard.scans([result, other], part: 0) }
  }
}
