// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import Query
import TestSupport
import Testing

let isInstalled = InstalledFiles.find("duckdb/libduckdb.so") != nil

func errorCode(_ body: () throws -> Void) -> PlatformError.Code? {
  do {
    try body()
    return nil
  } catch { return PlatformError.from(error).code }
}

@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct QueryTests {
  let columns = [
    Column("id", .bigint), Column("text", .varchar), Column("score", .double), Column("at", .timestampTZ),
    Column("vector", .list(.float)),
  ]

  func write(_ folder: TemporaryDirectory, _ name: String, ids: Range<Int>) throws -> WrittenFile? {
    let writer = try ParquetTableWriter(path: folder.file(name), columns: columns)
    for id in ids {
      try writer.append([
        .int(Int64(id)), id % 5 == 0 ? .null : .string("text \(id) " + String(repeating: "é", count: 40)),
        .double(Double(id) / 2),
        .timestamp(Int64(id) * 1_000_000), .floats([Float(id), 0.5]),
      ])
    }
    return try writer.finish()
  }

  @Test func writtenFilesHaveStatisticsAndComeBack() throws {
    let folder = TemporaryDirectory("query")
    let file = try #require(try write(folder, "t/a.parquet", ids: 1..<1001))
    #expect(file.rows == 1000)
    #expect(file.statistics["numRecords"] == 1000)
    #expect(file.statistics["minValues"]?["id"] == 1)
    #expect(file.statistics["maxValues"]?["score"]?.doubleValue == 500)
    #expect(file.statistics["nullCount"]?["text"] == 200)
    #expect(file.statistics["maxValues"]?["at"] == "1970-01-01T00:16:40.000Z")
    let least = try #require(file.statistics["minValues"]?["text"]?.stringValue)
    let most = try #require(file.statistics["maxValues"]?["text"]?.stringValue)
    #expect(least.unicodeScalars.count == 32 && most.unicodeScalars.count == 33 && most.hasPrefix("text 999 "))
    let scan = try ParquetScan(files: [file.path], columns: ["vector", "id", "text"], where: "id > 990", orderBy: "id DESC")
    let chunk = try #require(try scan.next())
    #expect(chunk.count == 10)
    #expect(chunk.column(0).floats(0) == [1000, 0.5])
    #expect(chunk.column(1).int64(9) == 991)
    #expect(chunk.column(2).isNull(0))
    #expect(try scan.next() == nil)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.file("t")) == ["a.parquet"])
    #expect(try write(folder, "t/empty.parquet", ids: 0..<0) == nil)
    #expect(try ParquetScan(files: []).next() == nil)
  }

  @Test func hundredThousandTextsTakeSeconds() throws {
    let folder = TemporaryDirectory("query")
    let clock = ContinuousClock()
    let text = String(repeating: "some words of a document, ", count: 20)
    let writing = try clock.measure {
      let writer = try ParquetTableWriter(
        path: folder.file("big.parquet"), columns: [Column("id", .bigint), Column("text", .varchar)])
      for id in 0..<100_000 {
        try writer.appendRow {
          try $0.append(Int64(id))
          try $0.append(text)
        }
      }
      #expect(try writer.finish()?.rows == 100_000)
    }
    var bytes = 0
    let reading = try clock.measure {
      let scan = try ParquetScan(files: [folder.file("big.parquet")])
      while let chunk = try scan.next() {
        let column = chunk.column(1)
        for row in 0..<chunk.count { bytes += column.string(row).utf8.count }
      }
    }
    #expect(bytes == 100_000 * text.utf8.count)
    #expect(writing + reading < .seconds(30), "written in \(writing), read in \(reading)")
  }

  // MARK: statements

  func run(
    _ text: String, _ tables: [String: [WrittenFile]], folder: TemporaryDirectory, parameters: [JSONValue] = [],
    limit: Int = 10_000
  ) throws -> StatementResult {
    let plan = try StatementPlan(parsing: text, catalog: "main", schema: "demo")
    let resolved = try plan.references.map { reference in
      let key = reference.name.description + (reference.version.map { "@\($0)" } ?? "")
      guard let files = tables[key] else { throw PlatformError(.notFound, "no table \(key)") }
      return StatementSpec.Table(view: reference.view, files: files.map(\.path), columns: columns)
    }
    var limits = StatementSpec.Limits()
    limits.rows = limit
    let spec = StatementSpec(
      kind: plan.kind, sql: plan.sql, tables: resolved, targetColumns: columns, insertColumns: plan.insertColumns,
      outputDirectory: folder.file("out"), parameters: parameters, limits: limits)
    return try StatementRunner.run(spec, context: QuietContext(scratchDirectory: folder.file("scratch")))
  }

  @Test func statementsReadResolvedTables() throws {
    let folder = TemporaryDirectory("query")
    let old = try #require(try write(folder, "a.parquet", ids: 1..<11))
    let new = try #require(try write(folder, "b.parquet", ids: 11..<21))
    let tables = ["main.demo.t": [old, new], "main.demo.t@1": [old], "main.demo.none": []]
    #expect(try run("SELECT count(*) FROM main.demo.t", tables, folder: folder).rows == [[20]])
    #expect(
      try run("select count(*), max(t.id) from t where id > ?;", tables, folder: folder, parameters: [15]).rows == [[5, 20]])
    #expect(try run("SELECT count(*) FROM demo.none", tables, folder: folder).rows == [[0]])
    #expect(
      try run(
        "SELECT (SELECT count(*) FROM t VERSION AS OF 1) AS a, count(*) AS b "
          + "FROM t /* x */ JOIN t VERSION AS OF 1 AS o USING (id) -- end",
        tables, folder: folder
      ).rows == [[10, 10]])
    #expect(
      try run("WITH t2 AS (SELECT id FROM t) SELECT sum(id) FROM t2", tables, folder: folder).columns.map(\.type) == [
        .hugeint
      ])
    let cut = try run("SELECT id, uuid() FROM t ORDER BY id", tables, folder: folder, limit: 3)
    #expect(cut.rows.count == 3 && cut.isTruncated && cut.rows[2][0] == 3)
    #expect(try run("EXPLAIN SELECT * FROM t", tables, folder: folder).rows.isEmpty == false)
    #expect(try run("VALUES (1), (2)", tables, folder: folder).rows == [[1], [2]])
  }

  @Test func statementsWriteFiles() throws {
    let folder = TemporaryDirectory("query")
    let file = try #require(try write(folder, "a.parquet", ids: 1..<11))
    let tables = ["main.demo.t": [file]]
    let made = try run(
      "CREATE TABLE demo.u AS SELECT id, text, \"at\" FROM t WHERE id > ?", tables, folder: folder, parameters: [4])
    #expect(made.rowCount == 6 && made.files.first?.rows == 6)
    #expect(made.files.first?.statistics["minValues"]?["id"] == 5)
    let inserted = try run("INSERT INTO t (text, id) VALUES ('x', 1), (NULL, 2)", tables, folder: folder)
    let rows = try Database().connect().rows("SELECT id, text, score FROM read_parquet('\(inserted.files[0].path)')")
    #expect(rows == [[.int(1), .string("x"), .null], [.int(2), .null, .null]])
    #expect(try run("CREATE TABLE v AS SELECT * FROM t WHERE false", tables, folder: folder).files.isEmpty)
    #expect(errorCode { _ = try run("INSERT INTO t (nope) VALUES (1)", tables, folder: folder) } == .invalidArgument)
    #expect(errorCode { _ = try run("CREATE TABLE v AS SELECT 1 AS a, 2 AS A", tables, folder: folder) } == .invalidArgument)
  }

  @Test func plansNameTargets() throws {
    func plan(_ text: String) throws -> StatementPlan { try StatementPlan(parsing: text, catalog: "main", schema: "demo") }
    let create = try plan("CREATE TABLE IF NOT EXISTS a.b.\"c d\" (x BIGINT, \"y z\" DECIMAL(10, 2), v FLOAT[])")
    #expect(create.kind == .table && create.isConditional)
    #expect(create.target == QualifiedName(catalog: "a", schema: "b", name: "c d"))
    #expect(try plan("DESCRIBE x.y").target?.description == "main.x.y")
    let travel = try plan("SELECT * FROM t TIMESTAMP AS OF '1970-01-01 00:00:01'")
    #expect(travel.references.map(\.timestampMilliseconds) == [1000])
  }

  @Test(arguments: [
    "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM '/etc/passwd'", "FROM read_text('/etc/passwd')",
    "FROM glob('/etc/*')",
    "ATTACH '/tmp/x.db' AS z", "COPY (SELECT 1) TO '/tmp/evil'", "SET memory_limit='9GB'", "INSTALL httpfs", "LOAD '/tmp/x'",
    "PRAGMA database_list",
    "SELECT 1; SELECT 2", "SELECT 1) TO '/tmp/evil' --", "", "SELECT 'open", "/* open", "EXPORT DATABASE '/tmp/e'",
    "CALL pragma_version()",
    "SELECT * FROM t VERSION AS OF x", "CREATE TABLE x AS SELECT 1; DROP TABLE y", "EXPLAIN ANALYZE DELETE FROM t",
    "FROM query('SELECT 1')",
    "SELECT * FROM duckdb_settings()", "CREATE VIEW v AS SELECT 1", "DELETE FROM t",
  ]) func hostileStatementsAreRefused(_ text: String) {
    let folder = TemporaryDirectory("query")
    #expect(errorCode { _ = try run(text, [:], folder: folder) } != nil)
  }

  /// The same at the executor alone, as if the planner had let them through.
  @Test(arguments: [
    "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM '/etc/passwd'", "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_text('OUT/../../../../../../../../etc/passwd')", "SELECT * FROM glob('/etc/*')",
    "ATTACH '/tmp/x.db' AS z", "COPY (SELECT 1) TO '/tmp/evil'", "SET memory_limit='9GB'", "INSTALL httpfs", "LOAD '/tmp/x'",
    "PRAGMA threads=9",
    "SELECT 1) TO '/tmp/evil' --", "SELECT 1; SELECT 2",
  ]) func theExecutorIsShutOff(_ text: String) {
    let folder = TemporaryDirectory("query")
    for kind in [StatementKind.select, .createTableAs, .explain] {
      let spec = StatementSpec(
        kind: kind, sql: text.replacingOccurrences(of: "OUT", with: folder.file("out")), tables: [],
        outputDirectory: folder.file("out"))
      do {
        let result = try StatementRunner.run(spec, context: QuietContext(scratchDirectory: folder.path))
        Issue.record("\(kind) gave \(result)")
      } catch {}  // refused, as it should be
    }
  }

  final class CancelledContext: WorkContext {
    let scratchDirectory = NSTemporaryDirectory()
    var isCancelled: Bool { true }
    func log(_ line: String) {}
    func progress(done: Int64, total: Int64, unit: String) {}
    func metric(_ name: String, step: Int64, value: Double) {}
  }

  @Test func cancellationInterruptsTheEngine() {
    let spec = StatementSpec(
      kind: .select, sql: "SELECT count(*) FROM range(100000000) a, range(100000) b WHERE a.range % 7 = b.range % 11",
      tables: [])
    #expect(throws: CancellationError.self) { try StatementRunner.run(spec, context: CancelledContext()) }
  }
}
