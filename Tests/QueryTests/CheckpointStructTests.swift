// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import TestSupport
import Testing

@testable import Query

/// Statistics and partition values as columns of checkpoints.
@Suite struct CheckpointStructTests {
  private static let types: [(name: String, type: String)] = [
    ("i", "long"), ("f", "float"), ("d", "double"), ("m", "decimal(38,2)"), ("s", "string"), ("b", "boolean"), ("x", "binary"), ("day", "date"),
    ("at", "timestamp"), ("local", "timestamp_ntz"),
  ]

  /// A partitioned table with a checkpoint at version 3, made by statements.
  private func table(_ more: [String: String], v2: Bool = false) throws -> ChangedTable {
    var fields = Self.types.map { StructField(name: $0.name, type: .primitive($0.type)) }
    fields.append(
      StructField(
        name: "o",
        type: .structure(
          StructType(fields: [
            StructField(name: "ab", type: .primitive("integer")), StructField(name: "l", type: .array(.primitive("long"), containsNull: true)),
          ]))))
    fields += [StructField(name: "p", type: .primitive("date")), StructField(name: "q", type: .primitive("string"))]
    let configuration = ["delta.checkpoint.writeStatsAsStruct": "true", "delta.checkpointInterval": "3"].merging(more) { $1 }
    let table = try ChangedTable(
      TableMetadata(schema: StructType(fields: fields), partitionColumns: ["p", "q"], configuration: configuration))
    let row = """
      SELECT range AS i, range / 2 AS f, range / 4 AS d, CAST('123456789012345678901.25' AS DECIMAL(38,2)) + range AS m, 'text ' || range AS s, range % 2 = 0 AS b,
        encode('x') AS x, DATE '2024-01-01' + CAST(range AS INTEGER) AS day, TIMESTAMPTZ '2024-01-01 00:00:00.123456+00' AS at,
        TIMESTAMP '2024-02-01 00:00:00.5' AS "local", {'ab': CAST(range AS INTEGER), 'l': [range]} AS o,
      """
    try table.run("INSERT INTO t \(row) DATE '2024-05-01' AS p, 'é=1' AS q FROM range(10, 20)")
    try table.run("INSERT INTO t \(row) CAST(NULL AS DATE) AS p, 'z' AS q FROM range(20, 30)")
    try table.run("INSERT INTO t (i, p) SELECT NULL, DATE '2024-05-02'")
    return table
  }

  private func checkpoint(_ table: ChangedTable) throws -> String {
    let log = table.folder.file("t/_delta_log")
    return try #require(
      try FileManager.default.contentsOfDirectory(atPath: log).filter { $0.contains("checkpoint") && $0.hasSuffix(".parquet") }.first.map { "\(log)/\($0)" })
  }

  @Test func columnsSayWhatTheTextsSay() throws {
    let table = try table([:])
    let file = try checkpoint(table)
    let engine = try Database().connect()
    try engine.execute("SET TimeZone='UTC'")
    let rows = try engine.rows(
      """
      SELECT CAST(a.stats_parsed.numRecords AS VARCHAR) || ' ' || concat_ws(' ', a.stats_parsed.minValues.i, a.stats_parsed.maxValues.f, a.stats_parsed.maxValues.d,
        a.stats_parsed.minValues.s, a.stats_parsed.maxValues.day, a.stats_parsed.maxValues.at, a.stats_parsed.minValues."local",
        a.stats_parsed.minValues.o."ab", a.stats_parsed.nullCount.o.l, a.stats_parsed.nullCount.b, coalesce(CAST(a.partitionValues_parsed.p AS VARCHAR), '-'),
        coalesce(a.partitionValues_parsed.q, '-')), a.stats IS NOT NULL
      FROM (SELECT "add" AS a FROM read_parquet(\(SQLText.literal(file)))) WHERE a IS NOT NULL ORDER BY 1
      """)
    #expect(
      rows.map { $0[0].stringValue } == [
        "1 1 2024-05-02 -",
        "10 10 9.5 4.75 text 10 2024-01-20 2024-01-01 00:00:00.123+00 2024-02-01 00:00:00.5 10 0 2024-05-01 é=1",
        "10 20 14.5 7.25 text 20 2024-01-30 2024-01-01 00:00:00.123+00 2024-02-01 00:00:00.5 20 0 - z",
      ])
    #expect(rows.allSatisfy { $0[1] == .bool(true) })
    let columns = try engine.query("SELECT \"add\".stats_parsed AS s, \"add\".partitionValues_parsed AS p FROM read_parquet(\(SQLText.literal(file))) LIMIT 0")
      .columns
    #expect(columns[0].type.sql.contains("\"m\" DECIMAL(38,2)") && columns[0].type.sql.contains("\"at\" TIMESTAMP WITH TIME ZONE"), "\(columns[0].type)")
    #expect(!columns[0].type.sql.contains("BLOB") && columns[1].type.sql == "STRUCT(\"p\" DATE, \"q\" VARCHAR)", "\(columns)")
  }

  /// Whether the texts are there or not, in a file of its own or in one checkpoint: what is read back leaves out the same files.
  @Test(arguments: [true, false], [true, false]) func columnsAloneAreEnough(_ keepsText: Bool, _ v2: Bool) throws {
    let table = try table(["delta.checkpoint.writeStatsAsJson": "\(keepsText)"].merging(v2 ? ["delta.checkpointPolicy": "v2"] : [:]) { $1 })
    let before = try table.delta.snapshot()
    #expect(FileManager.default.fileExists(atPath: table.folder.file("t/_delta_log/_sidecars")) == v2)
    let texts = try table.scanned()
    for version in 0..<3 { try FileManager.default.removeItem(atPath: table.folder.file("t/_delta_log/0000000000000000000\(version).json")) }
    let after = try DeltaTable(
      store: table.delta.store, path: table.delta.path, parquet: DuckDBParquetHandler(), dataFeatures: ChangedTable.features
    ).snapshot()
    #expect(after.files.map(\.path) == before.files.map(\.path) && after.rowCount == 21)
    #expect(try table.scanned() == texts)
    let skipper = FileSkipper(after)
    for (text, predicate, count) in [
      ("i", FilePredicate.compare(column: ["i"], .greater, .integer(25)), 1), ("i", .compare(column: ["i"], .less, .integer(10)), 0),
      ("m", .compare(column: ["m"], .greater, .decimal("123456789012346000000.00")), 0),
      ("m", .compare(column: ["m"], .greater, .decimal("123456789012345678915")), 2),
      ("day", .compare(column: ["day"], .equal, .date(19_743)), 1), ("s", .compare(column: ["s"], .equal, .string("text 25")), 1),
      ("o", .compare(column: ["o", "ab"], .less, .integer(15)), 1), ("at", .compare(column: ["at"], .greater, .timestamp(1_704_067_200_200_000)), 0),
      ("p", .compare(column: ["p"], .equal, .date(19_844)), 1), ("null", .isNotNull(["i"]), 2),
    ] {
      let matching = after.files.filter { skipper.mayMatch($0, predicate) }.count
      // Long decimals have no bounds in the texts: nothing is skipped by them.
      #expect(matching == (text == "m" ? matching : count), "\(predicate)")
      #expect(before.files.filter { skipper.mayMatch($0, predicate) }.count == matching, "\(predicate)")
    }
    guard Peers.python != nil else { return }
    let seen = try Peers.run(
      """
      import os, sys, duckdb, glob, pyarrow as pa
      from deltalake import DeltaTable, QueryBuilder
      t = DeltaTable(sys.argv[1])
      q = lambda s: pa.table(QueryBuilder().register("t", t).execute(s).read_all()).to_pylist()
      print(t.version(), q("select count(*) as c, sum(i) as s from t where i > 12")[0], q("select count(*) as c from t where m > cast('123456789012345678915' as decimal(38,2))")[0])
      sys.stdout.flush()
      os._exit(0)  # the interpreter's teardown can race with native threads of the package
      """, [table.folder.file("t")])
    #expect(seen == "3 {'c': 17, 's': 357} {'c': 16}\n")
  }
}
