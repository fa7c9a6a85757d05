// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import TestSupport
import Testing

@testable import Query

/// What the engine would read as something else, and what begins like no statement.
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct SparkLiteralTests {
  private let statements = PlainStatements("literals")
  private func run(_ text: String) throws -> StatementResult { try statements.run(text) }
  private func value(_ expression: String) throws -> JSONValue { try statements.value(expression) }

  @Test(
    arguments: [
      ("hex(X'0aFF') || hex(x'') || hex(X'1')", "0AFF01"), ("typeof(x'00')", "BLOB"), ("X'61' = encode('a')", true), ("'x''ff'''", "x'ff'"),
      ("typeof(CAST('2026-01-01' AS TIMESTAMP_NTZ))", "TIMESTAMP"), ("typeof('2026-01-01'::timestamp_ltz)", "TIMESTAMP WITH TIME ZONE"),
      ("TIMESTAMP_NTZ '2026-01-01 00:00:00' IS NOT NULL", true), ("typeof(TRY_CAST(1 AS byte))", "TINYINT"),
      ("CAST(dateadd(DAY, 1 + 1, DATE '2026-01-31') AS STRING)", "2026-02-02 00:00:00"),
      ("CAST(timestampadd(HOUR, -1, '2026-01-01') AS STRING)", "2025-12-31 23:00:00"),
      ("datediff(MONTH, DATE '2026-01-15', DATE '2026-03-14')", 1),
      ("timestampdiff(HOUR, TIMESTAMP '2026-01-01 10:30:00', TIMESTAMP '2026-01-01 12:00:00')", 1), ("row(1, 'x')", "(1, x)"), ("[row(1, 2)]", "[(1, 2)]"),
    ] as [(String, JSONValue)]) func literalsTypesAndUnits(_ expression: String, _ expected: JSONValue) throws
  {
    #expect(try value(expression) == expected)
  }

  @Test(arguments: [
    ("0x1f", "'0x1f' is no number", "write 31; bytes are written as X'1f'"), ("0B101", "'0B101' is no number", "write 5"),
    ("b'101'", "b'101' is no literal", "AS BIT"), ("X'zz'", "it takes hexadecimal digits", "X'1aff'"),
  ]) func whatTheEngineWouldReadAsSomethingElseIsRefused(_ literal: String, _ message: String, _ hint: String) throws {
    let error = #expect(throws: PlatformError.self) { _ = try value(literal) }
    #expect(error?.number == "PLT-3297" && error?.message.contains(message) == true && error?.hint.contains(hint) == true, "\(error as Any)")
  }

  @Test func expressionsOfTablesHaveThemToo() throws {
    #expect(try SQLExpression.engine("b = X'ff'") == #"b = CAST('\xFF' AS BLOB)"#)
    try TableExpression.check("X'ff'", columns: [], castTo: .blob, what: "the default")
    #expect(throws: PlatformError.self) { try TableExpression.check("a > 0xff", columns: [Column("a", .integer)], what: "the condition") }
  }

  @Test func unknownFunctionsHaveNeighbours() {
    #expect(UnknownFunction.hint("colaesce", others: []).hasPrefix("Did you mean 'coalesce'? "))
    #expect(UnknownFunction.hint("Date_Fomat", others: []).hasPrefix("Did you mean 'date_format'? "))
    #expect(UnknownFunction.hint("with_tx", others: ["with_tax"]).hasPrefix("Did you mean 'with_tax'? "))
    #expect(UnknownFunction.hint("array_union", others: []) == "Write list_distinct(list_concat(a, b)).")
    #expect(UnknownFunction.hint("zzqqzzyy", others: []).hasPrefix("SHOW FUNCTIONS"))
  }

  @Test(arguments: [
    ("PIVOT (VALUES (1, 'a'), (2, 'b')) AS t(n, k) ON k IN ('a', 'b') USING sum(n) -- sums", 1), ("SUMMARIZE SELECT 1 AS a, 2 AS b", 2),
    ("UNPIVOT (SELECT 1 AS a, 2 AS b) ON a, b", 2), ("SUMMARIZE (VALUES (1))", 1), ("EXPLAIN EXTENDED SELECT 1", 2),
  ]) func textsThatBeginLikeNoQueryAreSome(_ text: String, _ rows: Int) throws { #expect(try run(text).rows.count == rows) }

  @Test(arguments: [
    ("PIVOT t ON k USING sum(n)", "Name the values"), ("WITH q AS (SELECT 1 AS a) INSERT INTO t SELECT * FROM q", "INSERT INTO t WITH q AS"),
    ("EXPLAIN ANALYZE SELECT 1", "EXPLAIN shows"), ("SELECT 1 LIMIT 2, 3", "LIMIT count OFFSET start"), ("INSERT INTO t DEFAULT VALUES", "VALUES (DEFAULT)"),
    ("TRUNCATE TABLE t RETURNING *", "RETURNING is not supported"),
  ]) func whatIsNotThereSaysWhatIs(_ text: String, _ hint: String) throws {
    let error = #expect(throws: PlatformError.self) { _ = try StatementPlan(parsing: text, catalog: "main", schema: "demo") }
    #expect(error?.hint.contains(hint) == true, "\(error as Any)")
  }

  @Test(
    arguments: [
      ("SELECT * FROM t@v3", 3), ("SELECT * FROM demo.t@v3 AS x WHERE x.a > 1", 3), ("SELECT * FROM t FOR VERSION AS OF 3", 3),
      ("SELECT * FROM t FOR SYSTEM_VERSION AS OF 3 AS x", 3), ("SELECT @a FROM t", nil), ("TABLE t", nil), ("SUMMARIZE t", nil),
    ] as [(String, Int64?)]) func versionsAreAskedForInManyWays(_ text: String, _ version: Int64?) throws
  {
    let plan = try StatementPlan(parsing: text, catalog: "main", schema: "demo")
    #expect(plan.references.map(\.version) == [version] && plan.references.first?.name.name == "t")
  }
}
