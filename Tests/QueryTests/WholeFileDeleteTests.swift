// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import TestSupport
import Testing

@testable import Query

/// DELETE removes files without reading them where the log decides, and never a row too many or too few.
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct WholeFileDeleteTests {
  private static let schema = StructType(fields: [
    StructField(name: "id", type: .primitive("long")), StructField(name: "n", type: .primitive("long")), StructField(name: "f", type: .primitive("double")),
    StructField(name: "s", type: .primitive("string")), StructField(name: "p", type: .primitive("string")),
  ])

  private func table(partitioned: Bool, _ properties: [String: String] = [:]) throws -> ChangedTable {
    try ChangedTable(TableMetadata(schema: Self.schema, partitionColumns: partitioned ? ["p"] : [], configuration: properties))
  }

  /// Makes every data file unreadable.
  private func damage(_ table: ChangedTable) throws {
    let snapshot = try table.delta.snapshot()
    for file in snapshot.files { try Data("no rows".utf8).write(to: URL(fileURLWithPath: table.folder.file("t/" + file.relativePath()))) }
  }

  @Test func filesThatGoAsAWholeAreNotRead() throws {
    for (partitioned, statement) in [
      (false, "DELETE FROM t"), (false, "DELETE FROM t WHERE id < 30"), (false, "DELETE FROM t AS x WHERE x.id BETWEEN 0 AND 29 AND s >= 'a'"),
      (true, "DELETE FROM t WHERE p = 'a'"), (true, "DELETE FROM t WHERE p IN ('a', 'b') OR id > 100"), (false, "DELETE FROM t WHERE n IS NULL"),
      (false, "DELETE FROM t WHERE f < 2"),
    ] {
      let table = try table(partitioned: partitioned, ["delta.enableDeletionVectors": "true"])
      for part in 0..<3 { try table.run("INSERT INTO t SELECT range, NULL, 1.5, 'abc', 'a' FROM range(\(part * 10), \(part * 10 + 10))") }
      try damage(table)
      let result = try table.run(statement)
      #expect(result.change?.deleted == 30 && result.change?.removed.count == 3 && table.removedWhole == 3, "\(statement)")
      #expect(result.rowCount == 30 && result.files.isEmpty, "\(statement)")
      #expect(try table.delta.snapshot().files.isEmpty, "\(statement)")
    }
    // What the log cannot decide is read: a condition on all files, one more row, and tables whose feed takes the rows.
    for (statement, properties) in [
      ("DELETE FROM t WHERE id < 29", [:]), ("DELETE FROM t WHERE id + 0 < 30", [:]), ("DELETE FROM t WHERE n < 5", [:]),
      ("DELETE FROM t", ["delta.enableChangeDataFeed": "true"]),
    ] {
      let table = try table(partitioned: false, properties)
      for part in 0..<3 { try table.run("INSERT INTO t SELECT range, nullif(range, 4), 1.5, 'abc', 'a' FROM range(\(part * 10), \(part * 10 + 10))") }
      try damage(table)
      #expect(throws: PlatformError.self, "\(statement)") { try table.run(statement) }
    }
  }

  @Test func rowsAreThoseOfTheEngine() throws {
    var random = SplitMix64(seed: 77)
    var whole = 0
    for round in 0..<12 {
      let table = try table(partitioned: Bool.random(using: &random), Bool.random(using: &random) ? ["delta.enableDeletionVectors": "true"] : [:])
      let engine = try Database(settings: .init(threads: 1)).connect()
      try engine.execute("CREATE TABLE t (id BIGINT, n BIGINT, f DOUBLE, s VARCHAR, p VARCHAR)")
      for part in 0..<4 {
        let nulls = Int.random(in: 0..<3, using: &random)
        let p = ["'a'", "'b'", "NULL"].randomElement(using: &random) ?? "NULL"
        let rows = (part * 5..<part * 5 + 5).map { id -> String in
          let n = nulls == 0 ? "NULL" : nulls == 1 ? "\(id % 3)" : id % 2 == 0 ? "NULL" : "1"
          return
            "(\(id), \(n), \(["'NaN'::DOUBLE", "0.5", "-1.0", "NULL"].randomElement(using: &random) ?? "NULL"), '\("abc".randomElement(using: &random) ?? "a")\(id)', \(p))"
        }
        for connection in [rows.joined(separator: ", ")] {
          try table.run("INSERT INTO t SELECT id, n, f, s, p FROM (VALUES \(connection)) AS v(id, n, f, s, p)")
          try engine.execute("INSERT INTO t VALUES \(connection)")
        }
      }
      for _ in 0..<4 {
        let (x, y) = (Int.random(in: -1..<21, using: &random), Int.random(in: -1..<21, using: &random))
        let condition =
          [
            "id < \(x)", "id >= \(x) AND n IS NULL", "p = 'a'", "p IS NULL", "p IN ('a', 'b')", "NOT (id < \(x))", "id BETWEEN \(min(x, y)) AND \(max(x, y))",
            "s LIKE 'a%'", "f < 0.7", "f IS NOT NULL AND id > \(x)", "n = 1 OR id < \(x)", "NOT (p = 'a')", "p <> 'a' OR p IS NULL", "n IN (0, 1, 2)",
            "NOT (n IS NULL)", "id > \(x) AND id <= \(y)", "p = 'a' OR length(s) > 2", "p = 'b' AND n > -1", "NOT (n > 0 AND p = 'a')",
          ].randomElement(using: &random) ?? "true"
        try table.run("DELETE FROM t WHERE \(condition)")
        try engine.execute("DELETE FROM t WHERE \(condition)")
        #expect(try table.rows() == ChangedTable.texts("SELECT * FROM t", engine), "round \(round): \(condition)")
      }
      whole += table.removedWhole
    }
    #expect(whole > 20, "\(whole)")
  }
}
