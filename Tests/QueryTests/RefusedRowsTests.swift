// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import TestSupport
import Testing

@testable import Query

/// Statements that would lose a part of what they are given, or mean something else than they say, change nothing.
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct RefusedRowsTests {
  private static func table(_ columns: [Column], _ properties: [String: String] = [:]) throws -> ChangedTable {
    try ChangedTable(TableMetadata(name: nil, schema: TypeMapping.schema(columns), partitionColumns: [], configuration: properties))
  }

  private static func error(_ body: () throws -> Void) -> PlatformError? {
    do {
      try body()
      return nil
    } catch { return error as? PlatformError }
  }

  private static let inner = SQLType.structure([SQLField(name: "a", type: .integer), SQLField(name: "b", type: .varchar)])
  private static let nested = [
    Column("id", .integer), Column("s", inner), Column("l", .list(inner)), Column("m", .map(.varchar, inner)),
    Column("d", .structure([SQLField(name: "x", type: inner)])),
  ]

  @Test(
    arguments: [
      ("INSERT INTO t (id, s) VALUES (2, {'a': 1, 'c': 3})", "'s' of the table has no field 'c'"),
      ("INSERT INTO t (id, l) SELECT 2, [{'b': 'x', 'z': 1}]", "'l.element' of the table has no field 'z'"),
      ("INSERT INTO t BY NAME SELECT 2 AS id, MAP {'k': {'a': 1, 'z': 1}} AS m", "'m.value' of the table has no field 'z'"),
      ("INSERT INTO t (id, d) VALUES (2, {'x': {'a': 1, 'q': 1}})", "'d.x' of the table has no field 'q'"),
      ("INSERT INTO t REPLACE WHERE id = 1 SELECT 1, {'a': 1, 'c': 3}, NULL, NULL, NULL", "'s' of the table has no field 'c'"),
      ("INSERT INTO t (id, s) VALUES (2, {'x': 1})", "'s' of the table has no field 'x'"),
      ("INSERT INTO t (id, s) VALUES (2, row(1))", "the struct 's' takes 2 values, 1 without names are given"),
      ("UPDATE t SET s = {'a': 1, 'c': 3}", "'s' of the table has no field 'c'"),
      ("UPDATE t SET d.x = {'a': 1, 'c': 3} WHERE id = 1", "'d.x' of the table has no field 'c'"),
      ("UPDATE t SET l = (SELECT [{'a': 1, 'c': 3}])", "'l.element' of the table has no field 'c'"),
      ("MERGE INTO t USING (SELECT 1 AS id, {'a': 1, 'c': 3} AS s) AS u ON t.id = u.id WHEN MATCHED THEN UPDATE SET s = u.s", "no field 'c'"),
      (
        "MERGE INTO t USING (SELECT 2 AS id, {'a': 1, 'c': 3} AS s) AS u ON t.id = u.id WHEN NOT MATCHED THEN INSERT (id, s) VALUES (u.id, u.s)", "no field 'c'"
      ),
      ("MERGE INTO t USING (SELECT 2 AS id) AS u ON t.id = u.id WHEN NOT MATCHED BY SOURCE THEN UPDATE SET s = {'c': 3}", "no field 'c'"),
    ]) func fieldsThatTheTableLacksAreNotLost(_ statement: String, _ message: String) throws
  {
    let table = try Self.table(Self.nested)
    try table.run("INSERT INTO t (id, s) VALUES (1, {'a': 7, 'b': 'x'})")
    let error = Self.error { try table.run(statement) }
    #expect(error?.number == "PLT-3295" && error?.message.contains(message) == true, "\(error as Any)")
    #expect(try table.delta.snapshot().version == 1)
  }

  @Test func fieldsThatAreNotGivenAreNull() throws {
    let table = try Self.table(Array(Self.nested.prefix(3)))
    try table.run("INSERT INTO t (id, s, l) VALUES (1, {'B': 'x'}, [{'a': 1}]), (3, NULL, NULL)")
    try table.run("INSERT INTO t (id, s, l) VALUES (2, row(5, 'y'), [])")
    try table.run("UPDATE t SET s = {'a': 9} WHERE id = 2")
    #expect(
      try table.scanned() == [
        #"{"id":1,"s":{"a":null,"b":"x"},"l":[{"a":1,"b":null}]}"#, #"{"id":2,"s":{"a":9,"b":null},"l":[]}"#, #"{"id":3,"s":null,"l":null}"#,
      ])
  }

  @Test(arguments: [
    "DELETE FROM t WHERE (SELECT 1)", "DELETE FROM t WHERE (SELECT max(x.id) FROM u AS x)", "UPDATE t SET id = 5 WHERE (SELECT 'x')",
    "MERGE INTO t USING u AS s ON (SELECT 1) WHEN MATCHED THEN DELETE",
    "MERGE INTO t USING u AS s ON t.id = s.id WHEN MATCHED AND (SELECT s.id) THEN DELETE",
    "MERGE INTO t USING u AS s ON t.id = s.id WHEN NOT MATCHED AND (SELECT 2) THEN INSERT (id) VALUES (s.id)",
    "MERGE INTO t USING u AS s ON t.id = s.id WHEN NOT MATCHED BY SOURCE AND (SELECT 2) THEN DELETE",
    "INSERT INTO t REPLACE WHERE (SELECT 3) VALUES (3)",
  ]) func conditionsWithQueriesAreTrueOrFalse(_ statement: String) throws {
    let folder = TemporaryDirectory("source")
    let writer = try ParquetTableWriter(path: folder.file("u.parquet"), columns: [Column("id", .integer)])
    try writer.append([.int(1)])
    let source = try #require(try writer.finish())
    let table = try ChangedTable(
      TableMetadata(name: nil, schema: TypeMapping.schema([Column("id", .integer)]), partitionColumns: [], configuration: [:]),
      sources: ["u": ([source.path], [Column("id", .integer)])])
    try table.run("INSERT INTO t VALUES (1), (2)")
    let error = Self.error { try table.run(statement) }
    #expect(error?.number == "PLT-3140", "\(error as Any)")
    #expect(try table.scanned() == [#"{"id":1}"#, #"{"id":2}"#])
    // The same place with a condition.
    let judged = statement.replacing("(SELECT 1)", with: "EXISTS (SELECT 1)").replacing(
      "(SELECT max(x.id) FROM u AS x)", with: "t.id IN (SELECT x.id FROM u AS x)"
    )
    .replacing("(SELECT 'x')", with: "(SELECT t.id = 1)").replacing("(SELECT s.id)", with: "(SELECT s.id = 1)").replacing("(SELECT 2)", with: "(SELECT true)")
    .replacing("(SELECT 3)", with: "id IN (SELECT 3)")
    try table.run(judged)
  }

  /// Each value of a list has the type of its column, whatever stands beside it.
  @Test func valuesOfAListDoNotDependOnEachOther() throws {
    let table = try Self.table([
      Column("id", .integer), Column("s", .varchar), Column("at", .timestampTZ), Column("d", .decimal(38, 10)), Column("l", .list(.date)),
    ])
    try table.run("INSERT INTO t (id, s) VALUES (1, '007'), (2, 7), (3, 1.25), (4, true), (5, NULL), (6, upper('x,(')), (-7, 'y')")
    try table.run("INSERT INTO t (at, id) VALUES ('2026-01-01 10:00:00', 11), (DATE '2026-01-02', 12), (NULL, '13')")
    try table.run("INSERT INTO t (id, d, l) VALUES (21, 1234567890123456789012.12, ['2026-01-01']), (22, 1e0, [DATE '2026-01-02', NULL]), (23, '.5', [])")
    try table.run("INSERT INTO t VALUES (31, DEFAULT, NULL, 5, NULL), (32, 'x', NULL, 5.5, NULL)")
    try table.run("INSERT INTO t REPLACE WHERE id = 32 VALUES (32, 1, NULL, 1, NULL), (32, 'y', NULL, 1, NULL)")
    let rows = try table.scanned()
    for part in [
      #""id":1,"s":"007","#, #""id":2,"s":"7","#, #""id":3,"s":"1.25","#, #""id":4,"s":"true","#, #""id":6,"s":"X,(","#, #""id":-7,"s":"y","#,
      #""id":11,"s":null,"at":"2026-01-01 10:00:00+00""#, #""id":12,"s":null,"at":"2026-01-02 00:00:00+00""#, #""l":["2026-01-02",null]"#,
      #""id":32,"s":"1","#, #""id":32,"s":"y","#,
    ] { #expect(rows.contains { $0.contains(part) }, "\(part) in \(rows)") }
    #expect(rows.count == 16)
    let exact = try table.run("DELETE FROM t WHERE d = 1234567890123456789012.12 OR d = 0.5")
    #expect(exact.change?.deleted == 2)
    let error = Self.error { try table.run("INSERT INTO t (id, s) VALUES ('x', 'a'), (1, 'b')") }
    #expect(error?.message.contains("'x'") == true)
  }

  @Test func timesWithoutEndAreNotWritten() throws {
    let table = try Self.table([
      Column("id", .integer), Column("d", .date), Column("at", .timestampTZ), Column("a", .list(.date)),
      Column("s", .structure([SQLField(name: "n", type: .date)])),
      Column("m", .map(.varchar, .timestampTZ)), Column("x", .varchar), Column("f", .double),
    ])
    for (column, value) in [
      ("d", "'infinity'"), ("d", "DATE '-infinity'"), ("at", "TIMESTAMP 'infinity'"), ("a.element", "[DATE '2026-01-01', 'infinity']"),
      ("s.n", "{'n': DATE '-infinity'}"), ("m.value", "MAP {'k': TIMESTAMPTZ 'infinity'}"),
    ] {
      let error = Self.error { try table.run("INSERT INTO t (id, \(column.split(separator: ".")[0])) SELECT 1, \(value)") }
      #expect(error?.number == "PLT-3296" && error?.message.contains("the column '\(column)' of t") == true, "\(error as Any)")
    }
    #expect(try table.delta.snapshot().version == 0)
    try table.run("INSERT INTO t (id, d, x, f) VALUES (1, '9999-12-31', 'infinity', 'Infinity'::DOUBLE), (2, NULL, '-infinity', NULL)")
    #expect(try table.delta.snapshot().version == 1)
    let error = Self.error { try table.run("UPDATE t SET d = 'infinity' WHERE id = 2") }
    #expect(error?.number == "PLT-3296")
    #expect(try table.delta.snapshot().version == 1)
  }
}
