// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import TestSupport
import Testing

@testable import Query

/// Columns with the schema or catalog of their table, and fields of structs that are set.
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct QualifiedNameTests {
  private let folder = TemporaryDirectory("qualified")

  private func table(_ name: String, _ rows: [(Int64, String)]) throws -> String {
    let writer = try ParquetTableWriter(path: folder.file("\(name).parquet"), columns: [Column("id", .bigint), Column("name", .varchar)])
    for row in rows { try writer.append([.int(row.0), .string(row.1)]) }
    return try #require(try writer.finish()).path
  }

  /// Runs a query over `main.demo.t`, `main.other.t`, `main.demo.u` and `lab.demo.t`.
  private func run(_ text: String, _ values: [StatementParameters.Value] = []) throws -> StatementResult {
    let files = [
      "main.demo.t": try table("a", [(1, "one"), (2, "two")]), "main.other.t": try table("b", [(2, "zwei"), (3, "drei")]),
      "main.demo.u": try table("c", [(2, "deux")]), "lab.demo.t": try table("d", [(9, "nine")]),
    ]
    let parameters = try StatementParameters(values)
    let plan = try StatementPlan(parsing: parameters.apply(to: StatementScript(text).items[0]).text, catalog: "main", schema: "demo")
    var spec = StatementSpec(
      kind: plan.kind, sql: plan.sql,
      tables: try plan.references.map {
        .init(view: $0.view, files: [try #require(files["\($0.name)"])], columns: [Column("id", .bigint), Column("name", .varchar)])
      }, outputDirectory: plan.kind == .createTableAs ? folder.file("out") : nil)
    spec.variables = parameters.variables + SQLExtensions.session(user: "ann", catalog: "main", schema: "demo")
    return try StatementRunner.run(spec, context: QuietContext(scratchDirectory: folder.path))
  }

  @Test(
    arguments: [
      ("SELECT main.demo.t.name FROM main.demo.t WHERE demo.t.id = 2", [["two"]]),
      ("SELECT demo.t.name FROM t WHERE main.demo.t.id = 2 GROUP BY main.demo.t.name ORDER BY demo.t.name", [["two"]]),
      ("SELECT MAIN.`demo`.T.name FROM demo.\"t\" WHERE t.id = 1", [["one"]]),
      ("SELECT demo.t.name, demo.u.name FROM demo.t JOIN main.demo.u ON demo.t.id = main.demo.u.id", [["two", "deux"]]),
      ("SELECT demo.t.name, other.t.name FROM demo.t JOIN other.t ON main.demo.t.id = other.t.id", [["two", "zwei"]]),
      ("SELECT lab.demo.t.name, main.demo.t.name FROM lab.demo.t, main.demo.t WHERE main.demo.t.id = 1", [["nine", "one"]]),
      ("SELECT demo.t.*, other.t.* EXCLUDE (id) FROM demo.t JOIN main.other.t ON demo.t.id = other.t.id", [[2, "two", "zwei"]]),
      ("SELECT main.demo.t.* FROM demo.t WHERE id = 1", [[1, "one"]]),
      ("SELECT name FROM demo.t WHERE EXISTS (SELECT 1 FROM demo.u WHERE demo.u.id = demo.t.id)", [["two"]]),
      ("SELECT name FROM demo.t WHERE id IN (SELECT demo.t.id FROM demo.t WHERE demo.t.name = 'one')", [["one"]]),
      ("WITH q AS (SELECT demo.t.id FROM demo.t) SELECT max(q.id) FROM q", [[2]]),
      ("SELECT u.id FROM other.t AS u WHERE u.name = 'drei'", [[3]]),
    ] as [(String, [[JSONValue]])])
  func columnsAreNamedWithTheSchemaOfTheirTable(_ text: String, _ rows: [[JSONValue]]) throws { #expect(try run(text).rows == rows) }

  @Test func schemasThatAreNotThereAreNot() {
    for text in [
      "SELECT other.t.id FROM demo.t", "SELECT demo.t.id FROM demo.t AS x", "SELECT other.t.* FROM demo.t", "SELECT demo.x.* FROM demo.t AS x",
      "SELECT t.id FROM demo.t, other.t",
    ] {
      #expect(throws: PlatformError.self, "\(text)") { try run(text) }
    }
  }

  @Test func conditionsOnQualifiedColumnsSkipFiles() throws {
    let plan = try StatementPlan(parsing: "SELECT main.demo.t.id FROM demo.t WHERE main.demo.t.id = 7", catalog: "main", schema: "demo")
    let schema = TypeMapping.schema([Column("id", .bigint)])
    #expect(TableFilter.predicate(plan.filters[plan.references[0].view], schema: schema) == .compare(column: ["id"], .equal, .integer(7)))
  }

  // MARK: changes

  private static let struct2 = StructType(fields: [StructField(name: "x", type: .primitive("long")), StructField(name: "y-z", type: .primitive("string"))])

  private func changed() throws -> ChangedTable {
    let schema = StructType(fields: [
      StructField(name: "id", type: .primitive("long")), StructField(name: "s", type: .structure(Self.struct2)),
      StructField(
        name: "deep",
        type: .structure(StructType(fields: [StructField(name: "s", type: .structure(Self.struct2)), StructField(name: "n", type: .primitive("integer"))]))),
      StructField(name: "list", type: .array(.structure(Self.struct2), containsNull: true)),
    ])
    let path = folder.file("source.parquet")
    let writer = try ParquetTableWriter(path: path, columns: [Column("id", .bigint), Column("v", .bigint)])
    try writer.append([.int(1), .int(100)])
    _ = try writer.finish()
    let table = try ChangedTable(
      TableMetadata(schema: schema), sources: ["t": ([path], [Column("id", .bigint), Column("v", .bigint)])])
    try table.run(
      "INSERT INTO demo.target VALUES (1, {'x': 1, 'y-z': 'a'}, {'s': {'x': 5, 'y-z': 'b'}, 'n': 7}, NULL), (2, NULL, NULL, NULL)")
    return table
  }

  private func rows(_ table: ChangedTable) throws -> [String] { try table.scanned() }

  @Test func fieldsOfStructsAreSet() throws {
    let table = try changed()
    try table.run("UPDATE demo.target SET s.x = s.x + 1, main.demo.target.deep.s.`y-z` = upper(deep.s.\"y-z\"), target.deep.n = 8 WHERE demo.target.id = 1")
    #expect(try rows(table)[0] == #"{"id":1,"s":{"x":2,"y-z":"a"},"deep":{"s":{"x":5,"y-z":"B"},"n":8},"list":null}"#)
    try table.run("UPDATE demo.target SET s.x = 3, deep.s.x = id WHERE id = 2")
    #expect(try rows(table)[1] == #"{"id":2,"s":{"x":3,"y-z":null},"deep":{"s":{"x":2,"y-z":null},"n":null},"list":null}"#)
    // Both tables are called t; the source is the one of the other schema.
    try table.run(
      """
      MERGE INTO demo.target USING other.t ON demo.target.id = other.t.id WHEN MATCHED THEN UPDATE SET demo.target.s.x = other.t.v, deep.n = other.t.v
      WHEN NOT MATCHED BY SOURCE AND demo.target.id = 2 THEN UPDATE SET s = NULL
      """)
    #expect(
      try rows(table) == [
        #"{"id":1,"s":{"x":100,"y-z":"a"},"deep":{"s":{"x":5,"y-z":"B"},"n":100},"list":null}"#,
        #"{"id":2,"s":null,"deep":{"s":{"x":2,"y-z":null},"n":null},"list":null}"#,
      ])
    try table.run("MERGE INTO demo.t USING other.t ON demo.t.id = other.t.id WHEN MATCHED AND demo.t.s.x = 100 THEN UPDATE SET s.x = other.t.v + 1")
    #expect(try rows(table)[0].contains(#""s":{"x":101,"#))
    try table.run("DELETE FROM demo.target WHERE main.demo.target.id IN (SELECT other.t.id FROM other.t WHERE other.t.id = demo.target.id)")
    #expect(try rows(table).count == 1)
  }

  @Test(arguments: [
    ("UPDATE demo.target SET s.z = 1", "the struct 's' has no field 'z'. It has: x, y-z."),
    ("UPDATE demo.target SET deep.s.q = 1", "the struct 'deep.s' has no field 'q'. It has: x, y-z."),
    ("UPDATE demo.target SET id.x = 1", "'id' is no struct and has no field 'x'. It is of the type BIGINT."),
    ("UPDATE demo.target SET list.x = 1", "'list' is no struct and has no field 'x'. Within a list or map nothing can be set alone: give 'list' as a whole."),
    ("UPDATE demo.target SET s.x = 1, S.X = 2", "the field 's.x' is set twice. Set each place once."),
    ("UPDATE demo.target SET s.x = 1, s = NULL", "'s.x' and 's' are set together, and one is part of the other. Set each place once."),
    ("UPDATE demo.target SET s.x = DEFAULT", "the field 's.x' has no default. Columns have defaults, fields of structs do not: give a value."),
    (
      "MERGE INTO demo.target USING other.t AS o ON false WHEN NOT MATCHED THEN INSERT (s.x) VALUES (1)",
      "INSERT cannot give the field 's.x' alone. Give the column 's' as a struct."
    ),
    ("UPDATE demo.target SET wrong.id = 1", "the table has no column 'wrong'. It has: id, s, deep, list."),
    ("UPDATE demo.target SET other.target.id = 1", "the table has no column 'other'. It has: id, s, deep, list."),
  ])
  func fieldsThatCannotBeSetAreRefused(_ statement: String, _ message: String) throws {
    do {
      try changed().run(statement)
      Issue.record("\(statement) is taken")
    } catch {
      let error = PlatformError.from(error)
      #expect(error.message + ". " + error.hint == message)
      #expect(error.code == .invalidArgument && (error.number == "PLT-3270" || message.contains("no column")))
    }
  }
}
