// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import Query
import TestSupport
import Testing

/// Files are left out only when no row of theirs matters.
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct TableFilterTests {
  static let schema = StructType(fields: [
    StructField(name: "a", type: .primitive("integer")), StructField(name: "b", type: .primitive("string")),
    StructField(name: "c", type: .primitive("double")), StructField(name: "d", type: .primitive("timestamp")),
    StructField(name: "e", type: .primitive("decimal(9,2)")), StructField(name: "f", type: .primitive("float")),
    StructField(name: "p", type: .primitive("date")),
  ])

  private func filters(_ sql: String) throws -> [TableFilter]? {
    try StatementPlan(parsing: sql, catalog: "main", schema: "demo").filters["__table_0"]
  }

  private func predicate(_ sql: String) throws -> FilePredicate { TableFilter.predicate(try filters(sql), schema: Self.schema) }

  @Test func conditionsBecomePredicates() throws {
    #expect(
      try predicate("SELECT * FROM t WHERE a > 5 AND T.b LIKE 'ab%'")
        == .and([
          .compare(column: ["a"], .greater, .integer(5)),
          .and([.compare(column: ["b"], .greaterOrEqual, .string("ab")), .compare(column: ["b"], .less, .string("ac"))]),
        ]))
    #expect(
      try predicate("SELECT * FROM t x WHERE NOT (x.a >= 5 OR x.b IS NULL)")
        == .and([.compare(column: ["a"], .less, .integer(5)), .isNotNull(["b"])]))
    #expect(try predicate("SELECT * FROM t WHERE p = DATE '2024-02-01'") == .compare(column: ["p"], .equal, .date(19_754)))
    #expect(
      try predicate("WITH q AS (SELECT a AS k, b FROM t) SELECT * FROM q WHERE k IN (1, 2)")
        == .or([.compare(column: ["a"], .equal, .integer(1)), .compare(column: ["a"], .equal, .integer(2))]))
    #expect(try predicate("SELECT * FROM (SELECT * FROM t ORDER BY b) AS s WHERE s.a = 3") == .compare(column: ["a"], .equal, .integer(3)))
    #expect(try predicate("SELECT * FROM t JOIN u ON t.a = u.a AND t.a < 3 WHERE u.b = 'x'") == .compare(column: ["a"], .less, .integer(3)))
    #expect(try predicate("SELECT * FROM t LEFT JOIN u ON t.a = 1 WHERE t.e = 1.50") == .compare(column: ["e"], .equal, .decimal("1.50")))
    // The same table twice: what either use needs.
    #expect(
      try predicate("SELECT * FROM t WHERE a = 1 UNION ALL SELECT * FROM t WHERE a = 2")
        == .or([.compare(column: ["a"], .equal, .integer(1)), .compare(column: ["a"], .equal, .integer(2))]))
    // Values of named parameters count as what they are.
    let variables = [
      StatementVariable(name: "n", value: "41", type: "INTEGER"), StatementVariable(name: "day", value: "2024-02-01", type: "DATE"),
      StatementVariable(name: "odd", value: "1e3", type: "INTEGER"), StatementVariable(name: "list", value: "x", type: "VARCHAR[]"),
    ]
    func bound(_ sql: String) throws -> FilePredicate {
      TableFilter.predicate(try filters("SELECT * FROM t WHERE " + sql), schema: Self.schema, variables: variables)
    }
    #expect(try bound("a >= getvariable('n')") == .compare(column: ["a"], .greaterOrEqual, .integer(41)))
    #expect(try bound("p = getvariable('day')") == .compare(column: ["p"], .equal, .date(19_754)))
    for sql in ["a = getvariable('odd')", "a = getvariable('missing')", "b = getvariable('list')", "b = getvariable('n')", "a = getvariable(b)"] {
      #expect(try bound(sql) == .all, "\(sql)")
    }
    for sql in [
      "SELECT * FROM t WHERE a::VARCHAR = '1'", "SELECT * FROM t WHERE b = 1", "SELECT * FROM t WHERE b COLLATE NOCASE = 'x'",
      "SELECT * FROM t WHERE a = 1 OR random() < 0.5", "SELECT * FROM t FULL JOIN u ON t.a = 1 WHERE t.a = 2", "SELECT * FROM t USING SAMPLE 3 ROWS",
      "SELECT * FROM (SELECT * FROM t LIMIT 5) WHERE a = 1", "SELECT * FROM (SELECT max(a) AS a FROM t) WHERE a = 1",
      "SELECT * FROM t RIGHT JOIN u ON t.a = u.a WHERE t.a = 1", "SELECT * FROM t WHERE a = 1 UNION ALL SELECT * FROM t",
      "SELECT * FROM t POSITIONAL JOIN u WHERE t.a = 1",
      "SELECT (SELECT count(*) FROM t) FROM u WHERE a = 1", "WITH q AS (SELECT * FROM t) SELECT * FROM q WHERE a = 1 UNION ALL SELECT * FROM q",
    ] {
      let found = try predicate(sql)
      #expect(found == .all, "\(sql): \(found)")
    }
  }

  @Test func parametersCount() throws {
    let filters = try filters("SELECT * FROM t WHERE a = $2 AND b = $1")
    #expect(
      TableFilter.predicate(filters, schema: Self.schema, parameters: ["x", 7])
        == .and([.compare(column: ["a"], .equal, .integer(7)), .compare(column: ["b"], .equal, .string("x"))]))
    #expect(TableFilter.predicate(filters, schema: Self.schema) == .all)
  }

  /// Numbers from a seed, so that a failure can be repeated.
  private struct Draw: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return state ^ (state >> 29)
    }
  }

  /// Random tables and conditions: the same rows with and without the files that are left out.
  @Test func nothingIsLost() throws {
    let folder = TemporaryDirectory("filters")
    try FileManager.default.createDirectory(atPath: folder.file("t"), withIntermediateDirectories: true)
    let table = DeltaTable(store: try LocalObjectStore(root: folder.path), path: try ObjectPath("t"), parquet: DuckDBParquetHandler())
    _ = try table.create(TableMetadata(schema: Self.schema, partitionColumns: ["p"]))
    let engine = try Database(settings: .init(threads: 1)).connect()
    try engine.execute("SET TimeZone='UTC'; SELECT setseed(0.25)")
    var adds: [AddFile] = []
    for file in 0..<24 {
      let columns = [
        Column("a", .integer), Column("b", .varchar), Column("c", .double), Column("d", .timestampTZ), Column("e", .decimal(9, 2)), Column("f", .float),
      ]
      let writer = try ParquetTableWriter(path: folder.file("t/\(file).parquet"), columns: columns)
      let rows = try engine.rows(
        """
        SELECT CASE WHEN random() < 0.1 OR \(file) = 3 THEN NULL ELSE (\(file) * 4 + random() * 9)::INT END,
          CASE WHEN random() < 0.1 THEN NULL ELSE chr((97 + \(file) + random() * 2)::INT) || repeat('é', (random() * 40)::INT) || (random() * 9)::INT END,
          CASE WHEN random() < 0.05 THEN 'NaN'::DOUBLE ELSE (\(file) * 2 + random() * 4)::INT / 4 END,
          TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_microseconds((\(file) * 700 + random() * 2500)::BIGINT),
          (\(file) + random() * 3)::DECIMAL(9,2), (\(file) / 10.0 + random() / 5)::DECIMAL(5,1)::FLOAT FROM range(20)
        """)
      for row in rows { try writer.append(row) }
      let written = try #require(try writer.finish())
      adds.append(
        AddFile(
          relativePath: "\(file).parquet", size: written.sizeBytes, statistics: written.statistics,
          partitionValues: ["p": file % 5 == 0 ? nil : "2024-01-0\(file % 5)"]))
    }
    _ = try table.append(adds)
    let snapshot = try table.snapshot()
    let all = try TableScan(snapshot, folder: folder.file("t"))
    var draw = Draw(state: 20_240_229)
    func pick(_ items: [String]) -> String { items[Int.random(in: 0..<items.count, using: &draw)] }
    func comparison() -> String { pick(["=", "<>", "<", "<=", ">", ">="]) }
    func atom() -> String {
      let n = Int.random(in: 0..<100, using: &draw)
      switch Int.random(in: 0..<16, using: &draw) {
      case 0: return "a \(comparison()) \(n)"
      case 1: return "\(n) \(comparison()) a"
      case 2: return "a \(comparison()) \(n).5"
      case 3: return "a BETWEEN \(n) AND \(n + 7)"
      case 4: return "a \(pick(["IN", "NOT IN"])) (\(n), \(n + 1), \(n / 2))"
      case 5: return "\(pick(["a", "b", "p"])) IS \(pick(["", "NOT "]))NULL"
      case 6: return "b LIKE '\(pick(["a", "d", "kéé", "pééééé", "z", "_"]))%'"
      case 7: return "b \(comparison()) '\(pick(["c", "fé", "kééééééééééééééééééééééééééééééééééé", "z"]))'"
      case 8: return "starts_with(b, '\(pick(["c", "gé", "q"]))')"
      case 9: return "c \(comparison()) \(pick(["3.25", "'NaN'::DOUBLE", "10", "0.25e1", "-1"]))"
      case 10: return "d \(comparison()) \(pick(["TIMESTAMPTZ", "TIMESTAMP", ""])) '2024-01-01 00:00:00.\(String(100_000 + n * 180).suffix(5))'"
      case 11: return "e \(comparison()) \(n / 4).\(n)"
      case 12: return "f \(comparison()) \(Double(n) / 10)\(pick(["", "e0", "::FLOAT"]))"
      case 13: return "p \(comparison()) \(pick(["DATE", ""])) '2024-01-0\(n % 5 + 1)'"
      case 14: return "a % 3 = 1"
      default: return "a \(comparison()) '\(n)'"
      }
    }
    func condition(_ depth: Int) -> String {
      if depth == 0 { return atom() }
      switch Int.random(in: 0..<4, using: &draw) {
      case 0: return "NOT (\(condition(depth - 1)))"
      case 1: return "(\(condition(depth - 1)) OR \(condition(depth - 1)))"
      default: return "(\(condition(depth - 1)) AND \(condition(depth - 1)))"
      }
    }
    var skipped = 0
    for round in 0..<90 {
      let text = condition(Int.random(in: 0..<4, using: &draw))
      let sql: String
      switch round % 4 {
      case 0: sql = "SELECT count(*), sum(a), min(b), max(d)::VARCHAR FROM t WHERE \(text)"
      case 1: sql = "SELECT count(*), sum(x.a), count(y.a) FROM t AS x LEFT JOIN t AS y ON x.a = y.a AND y.a > 30 WHERE x.a > \(round) OR x.b IS NULL"
      case 2: sql = "SELECT count(*), sum(a) FROM (SELECT * FROM t) AS s WHERE \(text)"
      default: sql = "WITH w AS (SELECT a, b, c, d, e, f, p FROM t) SELECT count(*), sum(a) FROM w WHERE \(text)"
      }
      let plan = try StatementPlan(parsing: sql, catalog: "main", schema: "demo")
      let predicate = TableFilter.predicate(plan.filters["__table_0"], schema: Self.schema)
      let some = try TableScan(snapshot, folder: folder.file("t"), matching: predicate)
      skipped += some.skipped.files
      func rows(_ scan: TableScan) throws -> [[JSONValue]] {
        try StatementRunner.run(
          StatementSpec(kind: .select, sql: plan.sql, tables: [.init(view: "__table_0", scan: scan)]),
          context: QuietContext(scratchDirectory: folder.path)
        ).rows
      }
      #expect(try rows(some) == rows(all), "\(sql): \(predicate)")
    }
    #expect(skipped > 300)
  }
}
