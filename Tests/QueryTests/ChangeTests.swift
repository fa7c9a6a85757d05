// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation
import Query
import TestSupport
import Testing

/// DELETE, UPDATE and MERGE over files give the rows that the engine gives for the same statement on a table of its own.
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct ChangeTests {
  private static let columns = [Column("id", .bigint), Column("name", .varchar), Column("score", .double), Column("flag", .boolean)]
  private static let sourceColumns = [Column("id", .bigint), Column("name", .varchar), Column("score", .double), Column("gone", .boolean)]

  /// A target of three files with 60 rows and a source with 30, some of them new.
  private final class Tables {
    let folder = TemporaryDirectory("change")
    var files: [String] = []
    var source: [String] = []
    let engine: Connection

    init() throws {
      engine = try Database(settings: .init(threads: 1)).connect()
      var random = SplitMix64(seed: 11)
      for part in 0..<3 {
        let writer = try ParquetTableWriter(path: folder.file("t/part-\(part).parquet"), columns: ChangeTests.columns)
        for id in part * 20..<part * 20 + 20 {
          try writer.append([
            .int(Int64(id)), id % 7 == 0 ? .null : .string("name \(id % 9)"), .double(Double(Int.random(in: 0..<100, using: &random))),
            id % 5 == 0 ? .null : .bool(id % 2 == 0),
          ])
        }
        if let file = try writer.finish() { files.append(file.path) }
      }
      let writer = try ParquetTableWriter(path: folder.file("s/source.parquet"), columns: ChangeTests.sourceColumns)
      for id in stride(from: 40, to: 100, by: 2) {
        try writer.append([.int(Int64(id)), .string("new \(id)"), .double(Double(id)), .bool(id % 6 == 0)])
      }
      source = [try #require(try writer.finish()).path]
      try engine.execute("CREATE TABLE t AS SELECT * FROM read_parquet(\(SQLText.list(files)))")
      try engine.execute("CREATE TABLE s AS SELECT * FROM read_parquet(\(SQLText.list(source)))")
    }

    /// What the table holds after the statement, by our way.
    func change(_ statement: String) throws -> StatementResult {
      var plan = try StatementPlan(parsing: statement, catalog: "main", schema: "demo")
      #expect(plan.target?.description == "main.demo.t")
      let queries = try plan.changeQueries(columns: ChangeTests.columns)
      var spec = StatementSpec(
        kind: plan.kind, sql: plan.sql,
        tables: plan.references.map {
          $0.name.name == "s"
            ? .init(view: $0.view, files: source, columns: ChangeTests.sourceColumns)
            : .init(view: $0.view, files: files, columns: ChangeTests.columns)
        }, targetColumns: ChangeTests.columns, outputDirectory: folder.file("t"))
      spec.change = .init(queries: queries, files: files.map { TargetFile(path: $0) }, version: 3)
      let result = try StatementRunner.run(spec, context: QuietContext(scratchDirectory: folder.path))
      let change = try #require(result.change)
      files = files.filter { !change.removed.contains($0) } + result.files.map(\.path)
      return result
    }

    func rows() throws -> [[SQLValue]] {
      guard !files.isEmpty else { return [] }
      return try engine.rows("SELECT id, name, score, flag FROM read_parquet(\(SQLText.list(files))) ORDER BY ALL")
    }
  }

  static let statements = [
    "DELETE FROM t WHERE id % 3 = 0",
    "DELETE FROM t WHERE flag",  // NULL is not true
    "DELETE FROM t AS x WHERE x.score > (SELECT avg(score) FROM t)",
    "DELETE FROM t WHERE id IN (SELECT id FROM s WHERE gone)",
    "DELETE FROM t WHERE id BETWEEN 20 AND 39 -- a whole file",
    "DELETE FROM t",
    "DELETE FROM t WHERE false",
    "UPDATE t SET score = score * 2 + 1 WHERE id < 25",
    "UPDATE t SET name = CASE WHEN flag THEN 'yes' WHEN score > 50 THEN 'high' END, score = id",
    "UPDATE t SET score = (SELECT max(score) FROM t), flag = NULL WHERE name IS NULL",
    "UPDATE t AS y SET name = upper(y.name || ' set, where from') WHERE y.name LIKE 'name 1%'",
    "UPDATE t SET score = '12.5' WHERE id = 3",
    "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET name = s.name, score = t.score + s.score",
    "MERGE INTO t AS a USING s AS b ON (a.id = b.id) WHEN MATCHED AND b.gone THEN DELETE WHEN MATCHED THEN UPDATE SET name = b.name WHEN NOT MATCHED THEN INSERT (id, name, score) VALUES (b.id, b.name, b.score)",
    "MERGE INTO t USING (SELECT id, max(score) AS m FROM s GROUP BY id) AS q ON t.id = q.id WHEN NOT MATCHED AND q.m > 80 THEN INSERT (score, id) VALUES (q.m, q.id)",
    "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED BY SOURCE AND t.id < 30 THEN DELETE WHEN NOT MATCHED BY SOURCE THEN UPDATE SET flag = true",
    "MERGE INTO t USING s ON false WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)",
  ]

  @Test(arguments: statements) func filesComeToWhatTheEngineComesTo(_ statement: String) throws {
    let tables = try Tables()
    let before = try tables.rows()
    let result = try tables.change(statement)
    try tables.engine.execute(statement)
    let expected = try tables.engine.rows("SELECT id, name, score, flag FROM t ORDER BY ALL")
    let rows = try tables.rows()
    #expect(rows == expected, "\(rows.count) rows, expected \(expected.count)")
    // Only touched files are written: nothing changed, nothing written.
    if before == expected && result.rowCount == 0 { #expect(result.files.isEmpty && result.change?.removed == []) }
  }

  @Test func onlyTouchedFilesAreRewritten() throws {
    let tables = try Tables()
    let files = tables.files
    let result = try tables.change("UPDATE t SET score = 0 WHERE id = 25")
    #expect(result.change?.removed == [files[1]] && result.change?.updated == 1 && result.files.count == 1 && result.files[0].rows == 20)
    let all = try tables.change("DELETE FROM t WHERE id >= 40")
    #expect(all.files.isEmpty && all.change?.deleted == 20 && all.change?.removed == [files[2]])
  }

  @Test func starsTakeColumnsByName() throws {
    let tables = try Tables()
    _ = try tables.change(
      "MERGE INTO t USING (SELECT id, 'x' AS name, true AS flag, 1.5 AS score FROM s) AS s ON t.id = s.id WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
    )
    let rows = try tables.rows()
    #expect(rows.count == 80 && rows.filter { $0[1] == .string("x") && $0[2] == .double(1.5) && $0[3] == .bool(true) }.count == 30)
  }

  @Test func aConditionIsEvaluatedOnce() throws {
    let tables = try Tables()
    let result = try tables.change("DELETE FROM t WHERE random() < 0.5")
    #expect(try tables.rows().count + Int(result.rowCount) == 60)
  }

  @Test(arguments: [
    "DELETE FROM t WHERE id", "UPDATE t SET score = 0 WHERE id + 1", "MERGE INTO t USING s ON t.id WHEN MATCHED THEN DELETE",
    "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED AND t.name THEN DELETE",
    "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED AND s.id THEN INSERT (id) VALUES (s.id)",
    "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED BY SOURCE AND t.id THEN DELETE",
  ])
  func numbersAndTextsAreNoConditions(_ statement: String) {
    #expect { try Tables().change(statement) } throws: { ($0 as? PlatformError)?.number == "PLT-3140" }
  }

  @Test func whatIsMissingIsSaidInTheTablesOwnColumns() throws {
    #expect {
      try Tables().change("UPDATE t SET score = 1 WHERE platform_ro = 1")
    } throws: {
      let error = $0 as? PlatformError
      return error?.message.contains("__platform") == false && error?.hint == "The table has: id, name, score, flag."
    }
    #expect(try Tables().change("DELETE FROM t WHERE NULL").change?.deleted == 0)
  }

  @Test func severalMatchesAreRefusedUnlessAllAreDeleted() throws {
    let twice = "USING (SELECT id FROM s UNION ALL SELECT id FROM s) AS d ON t.id = d.id WHEN MATCHED THEN"
    #expect { try Tables().change("MERGE INTO t \(twice) UPDATE SET score = 1") } throws: { ($0 as? PlatformError)?.number == "PLT-3203" }
    let tables = try Tables()
    #expect(try tables.change("MERGE INTO t \(twice) DELETE").change?.deleted == 10)
    #expect(try tables.rows().count == 50)
  }

  @Test(arguments: [
    "DELETE FROM t WHERE", "DELETE t", "DELETE FROM t WHERE id = 1) OR (1 = 1", "UPDATE t SET id", "UPDATE t SET nothing = 1",
    "UPDATE t SET id = 1, ID = 2", "UPDATE t SET id = 1; DROP TABLE t", "UPDATE t SET id = 1, 2 = 3",
    "DELETE FROM t WHERE id IN (SELECT content FROM read_text('/etc/passwd'))", "MERGE INTO t USING s ON t.id = s.id",
    "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN INSERT *", "MERGE INTO t USING (SELECT 1 AS id) ON t.id = s.id WHEN MATCHED THEN DELETE",
    "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id, name) VALUES (1)", "UPDATE t SET id = 1), (2",
    "DELETE FROM t WHERE true UNION SELECT 1", "UPDATE t SET score = 'many'",
  ])
  func whatIsWrongIsRefused(_ statement: String) {
    let code = errorCode { _ = try Tables().change(statement) }
    #expect(code == .invalidArgument || code == .permissionDenied, "\(statement)")
  }
}
