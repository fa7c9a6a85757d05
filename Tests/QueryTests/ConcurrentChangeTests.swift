// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import Foundation
import TestSupport
import Testing

@testable import Query

/// Statements that change rows at the same time: those that have nothing to do with each other are both committed, others are not.
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct ConcurrentChangeTests {
  private static let schema = StructType(fields: [
    StructField(name: "id", type: .primitive("long")), StructField(name: "v", type: .primitive("long")), StructField(name: "p", type: .primitive("integer")),
  ])

  /// Rows 0 to 9 in partition 0, 10 to 19 in partition 1.
  private func table(vectors: Bool, partitioned: Bool = true) throws -> ChangedTable {
    let table = try ChangedTable(
      TableMetadata(schema: Self.schema, partitionColumns: partitioned ? ["p"] : [], configuration: vectors ? ["delta.enableDeletionVectors": "true"] : [:]))
    for part in 0..<2 { try table.run("INSERT INTO t SELECT range, 0, \(part) FROM range(\(part * 10), \(part * 10 + 10))") }
    return table
  }

  private static func merge(_ condition: String, _ row: String) -> String {
    "MERGE INTO t USING (SELECT \(row)) AS s ON t.id = s.id AND \(condition) WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT *"
  }

  /// The first statement is still at work when the second is committed.
  private static let apart: [(String, String)] = [
    ("UPDATE t SET v = 1 WHERE p = 0", "UPDATE t SET v = 2 WHERE p = 1"), ("DELETE FROM t WHERE p = 0 AND id < 5", "DELETE FROM t WHERE p = 1"),
    ("DELETE FROM t WHERE p = 0", "UPDATE t SET v = v + 1, id = id + 100 WHERE p IN (1, 2)"),
    (merge("t.p = 0", "3 AS id, 5 AS v, 0 AS p"), merge("t.p = 1", "77 AS id, 6 AS v, 1 AS p")),
    ("UPDATE t SET v = 1 WHERE id < 5", "DELETE FROM t WHERE id BETWEEN 12 AND 14"),
  ]

  @Test(arguments: apart.indices) func changesOfOtherRowsAreBothKept(_ index: Int) throws {
    let vectors = index.isMultiple(of: 2)
    let (first, second) = Self.apart[index]
    let (table, serial) = (try table(vectors: vectors), try self.table(vectors: vectors))
    let open = try table.start(first)
    try table.run(second)
    _ = try open.commit()
    try serial.run(first)
    try serial.run(second)
    #expect(try table.scanned() == serial.scanned())
  }

  private static let together: [(String, String)] = [
    // The second moves rows to where the first looks.
    ("UPDATE t SET v = 1 WHERE p = 0", "UPDATE t SET p = 0 WHERE id = 12"),
    ("DELETE FROM t WHERE p = 0 AND id < 50", "UPDATE t SET p = 0, id = 40 WHERE id = 12"),
    ("UPDATE t SET v = 1 WHERE id < 5", "UPDATE t SET id = 4 WHERE id = 14"),
    (merge("t.p = 0", "33 AS id, 5 AS v, 0 AS p"), "UPDATE t SET id = 33, p = 0 WHERE id = 12"),
    // The same rows.
    ("UPDATE t SET v = v + 1 WHERE p = 0 AND id = 3", "UPDATE t SET v = v + 1 WHERE p = 0 AND id = 3"),
    ("DELETE FROM t WHERE p = 0", "UPDATE t SET v = 2 WHERE p = 0"),
    // The whole table is looked at.
    ("UPDATE t SET v = 1 WHERE id % 2 = 0", "UPDATE t SET v = 2 WHERE p = 1"), ("DELETE FROM t", "UPDATE t SET v = 2 WHERE p = 1"),
    (
      "MERGE INTO t USING (SELECT 3 AS id) AS s ON t.id = s.id AND t.p = 0 WHEN NOT MATCHED BY SOURCE THEN DELETE", "UPDATE t SET v = 2 WHERE p = 1"
    ), (merge("t.v = 0", "3 AS id, 5 AS v, 0 AS p"), "UPDATE t SET v = 0 WHERE p = 1"),
  ]

  @Test(arguments: together.indices) func whatAChangeShouldHaveSeenMakesItVoid(_ index: Int) throws {
    let vectors = index.isMultiple(of: 2)
    let (first, second) = Self.together[index]
    let table = try table(vectors: vectors)
    let open = try table.start(first)
    try table.run(second)
    #expect(errorCode { _ = try open.commit() } == .conflict, "\(first)")
    guard index < 4 else { return }
    // Repeated, it sees the other.
    let serial = try self.table(vectors: vectors)
    try table.run(first)
    try serial.run(second)
    try serial.run(first)
    #expect(try table.scanned() == serial.scanned())
  }

  /// A statement that reads its table in other ways than by its condition rests on all of it.
  @Test func otherReadsOfTheTableCount() throws {
    let table = try table(vectors: false)
    let base = try table.delta.snapshot()
    var plan = try StatementPlan(parsing: "UPDATE t SET v = 1 WHERE p = 0 AND v < 9", catalog: "main", schema: "demo")
    let queries = try plan.changeQueries(columns: TypeMapping.columns(Self.schema))
    var change = try StatementSpec.Change(queries, of: plan, on: base, variables: [], folder: "/t")
    #expect(change.files.count == 1 && change.condition != nil)
    let sent = try JSONValue(encoding: change).decode(StatementSpec.Change.self)
    #expect(sent == change)
    change.readsWholeTable()
    var result = StatementResult.Change(version: base.version, removed: [], updated: 0, deleted: 0, inserted: 0)
    result.condition = change.condition
    #expect(result.reads(base).condition == .all && result.reads(base).files.count == 2)
    result.condition = sent.condition
    #expect(result.reads(base).files.count == 1)
  }
}
