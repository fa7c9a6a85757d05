// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation
import TestSupport
import Testing

@testable import Query

/// What columns are called that a query makes of parameters and session words.
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct ResultNameTests {
  private let folder = TemporaryDirectory("names")

  /// Runs a query over the tables `t` and `u`.
  private func run(_ text: String, _ values: [StatementParameters.Value] = []) throws -> StatementResult {
    let writer = try ParquetTableWriter(path: folder.file("t.parquet"), columns: [Column("id", .bigint), Column("name", .varchar)])
    try writer.append([.int(1), .string("one")])
    let file = try #require(try writer.finish())
    let parameters = try StatementParameters(values)
    let plan = try StatementPlan(parsing: parameters.apply(to: StatementScript(text).items[0]).text, catalog: "main", schema: "demo")
    var spec = StatementSpec(
      kind: plan.kind, sql: plan.sql,
      tables: plan.references.map { .init(view: $0.view, files: [file.path], columns: [Column("id", .bigint), Column("name", .varchar)]) },
      outputDirectory: plan.kind == .createTableAs ? folder.file("out") : nil)
    spec.variables = parameters.variables + SQLExtensions.session(user: "ann", catalog: "main", schema: "demo")
    return try StatementRunner.run(spec, context: QuietContext(scratchDirectory: folder.path))
  }

  @Test func columnsMadeOfParametersAreCalledAsTheyAreWritten() throws {
    let values = [StatementParameters.Value(name: "Day", value: "2026-01-31", type: "DATE"), .init(value: 3), .init(value: 4)]
    func names(_ text: String) throws -> [String] { try run(text, values).columns.map(\.name) }
    #expect(try names("SELECT :day, ?, ? AS four, :day + 1 , upper(cast(:day AS STRING))") == [":day", "?", "four", ":day + 1", "upper(cast(:day AS STRING))"])
    #expect(
      try names("SELECT DISTINCT ON (id) :day, CASE WHEN id IS DISTINCT FROM ? THEN ? END, id FROM demo.t ORDER BY id")
        == [":day", "CASE WHEN id IS DISTINCT FROM ? THEN ? END", "id"])
    #expect(try names("SELECT * FROM (SELECT ALL :day, ? LIMIT ?)") == [":day", "?"])
    #expect(try names("SELECT (SELECT :day), [?, ?][1], struct_pack(a := 1)") == ["(SELECT :day)", "[?, ?][1]", "struct_pack(a := 1)"])
    #expect(try names("SELECT id, 5 IN (SELECT ? FROM demo.u), ?, :day FROM demo.t") == ["id", "5 IN (SELECT ? FROM demo.u)", "?", ":day"])
    #expect(try run("SELECT ?::INT, ?", Array(values.dropFirst())).rows == [[3, 4]])
    #expect(
      try run("SELECT current_user, current_schema() AS s, current_catalog() || '!'").columns.map(\.name) == ["current_user", "s", "current_catalog() || '!'"])
    #expect(try run("CREATE TABLE n AS SELECT :day, ? + ?", values).columns.map(\.name) == [":day", "? + ?"])
    #expect(throws: PlatformError(.invalidArgument, "the query gives two columns named '?'", hint: "The columns of a table need different names: AS.")) {
      try run("CREATE TABLE n AS SELECT ?, ?, :day", values)
    }
  }

  @Test func sessionWordsWithinStructsHaveTheirNames() throws {
    #expect(try run("SELECT to_json(struct(current_user, 1))").rows == [[#"{"current_user":"ann","col2":1}"#]])
    #expect(try run("SELECT to_json(struct(current_user, 1, current_schema AS s))").rows == [[#"{"current_user":"ann","col2":1,"s":"demo"}"#]])
  }

  @Test func theHistoryShowsNoValues() throws {
    let parameters = try StatementParameters([.init(name: "a", value: 1), .init(value: 2)])
    let text = try parameters.apply(to: StatementScript("DELETE FROM t WHERE id = :a OR id = ? OR name = 'getvariable(''x'')'").items[0]).text
    let plan = try StatementPlan(parsing: text, catalog: "main", schema: "demo")
    #expect(plan.historyParameters == ["predicate": "id = :a OR id = ? OR name = 'getvariable(''x'')'"])
  }
}
