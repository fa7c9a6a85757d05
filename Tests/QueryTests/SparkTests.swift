// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation
import TestSupport
import Testing

@testable import Query

/// What people write who come from Spark, with the answers that Spark's documentation and source give.
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct SparkTests {
  private let statements = PlainStatements("spark")
  private func run(_ text: String) throws -> StatementResult { try statements.run(text) }
  private func value(_ expression: String) throws -> JSONValue { try statements.value(expression) }

  @Test(
    arguments: [
      ("date_format(TIMESTAMP '2026-03-09 07:04:05.123456', 'yyyy-MM-dd HH:mm:ss.SSS')", "2026-03-09 07:04:05.123"),
      ("date_format('2026-03-09', 'd/M/yy EEE EEEE MMM MMMM DDD')", "9/3/26 Mon Monday Mar March 068"),
      ("date_format(TIMESTAMP '2026-03-09 15:04:05', 'hh:mm a, ''at'' h H')", "03:04 PM, at 3 15"),
      ("date_format(TIMESTAMP '2026-03-09 15:04:05', 'yyyy-MM-dd''T''HH:mm:ssXXX 100%')", "2026-03-09T15:04:05Z 100%"),
      ("datediff('2009-07-31', '2009-07-30')", 1), ("datediff(DATE '2009-07-30', TIMESTAMP '2009-07-31 23:00:00')", -1),
      ("date_diff(DATE '2026-01-31', DATE '2026-01-01')", 30), ("datediff('month', DATE '2026-01-31', DATE '2026-02-01')", 1),
      ("date_diff('day', DATE '2026-01-01', DATE '2026-01-05') + datediff('2026-01-02', '2026-01-01')", 5),
      ("date_add(DATE '2016-07-30', 1)", "2016-07-31"), ("date_sub('2016-07-30', 1)", "2016-07-29"),
      ("date_sub('day', DATE '2026-01-01', DATE '2026-01-05')", 4), ("add_months('2016-08-31', 1)", "2016-09-30"),
      ("months_between('1997-02-28 10:30:00', '1996-10-30')", 3.94959677), ("months_between('2026-03-31', '2026-02-28')", 1.0),
      ("to_date('2016-12-31', 'yyyy-MM-dd')", "2016-12-31"), ("to_date('31.1.2026', 'd.M.yyyy')", "2026-01-31"), ("to_date('31.1.85', 'd.M.yy')", "2085-01-31"),
      ("to_date('1.2.26', 'd.M.yy')", "2026-02-01"), ("to_date('1985-1', 'yyyy-M')", "1985-01-01"), ("unix_timestamp('1.1.70', 'd.M.yy')", 3_155_760_000),
      ("year(try_to_timestamp('69', 'yy'))", 2069), ("(DATE '2026-03-09').date_format('dd.MM.yyyy')", "09.03.2026"),
      ("('31.1.2026').to_date('d.M.yyyy')", "2026-01-31"), ("('{\"a\":1}').from_json('a INT').a", 1), ("to_date('2026-01-31')", "2026-01-31"),
      ("typeof(to_timestamp('2016-12-31', 'yyyy-MM-dd'))", "TIMESTAMP WITH TIME ZONE"), ("typeof(to_timestamp(0))", "TIMESTAMP WITH TIME ZONE"),
      ("try_to_timestamp('x', 'yyyy') IS NULL", true), ("from_unixtime(0)", "1970-01-01 00:00:00"), ("from_unixtime(86400, 'yyyy/MM/dd')", "1970/01/02"),
      ("unix_timestamp('2016-04-08', 'yyyy-MM-dd')", 1_460_073_600), ("unix_timestamp('2016-04-08 00:00:01')", 1_460_073_601),
      ("unix_timestamp() > 1700000000", true), ("next_day('2015-01-14', 'TU')", "2015-01-20"), ("unix_date(DATE '1970-01-02')", 1),
      ("date_from_unix_date(1)", "1970-01-02"), ("unix_millis(TIMESTAMP '1970-01-01 00:00:01')", 1000),
      ("CAST(from_utc_timestamp(TIMESTAMP '2016-08-31', 'Asia/Seoul') AS STRING)", "2016-08-31 09:00:00+00"),
      ("CAST(to_utc_timestamp(TIMESTAMP '2016-08-31', 'Asia/Seoul') AS STRING)", "2016-08-30 15:00:00+00"),
      ("array(1, 2)[2] + size(array(1, 2, 3))", 5), ("len(array())", 0), ("named_struct('a', 1, 'b', upper('x')).b", "X"),
      ("to_json(named_struct('a b', 1, 'c', named_struct('d', array(1))))", #"{"a b":1,"c":{"d":[1]}}"#),
      ("to_json(struct(1 AS x, upper('q')))", #"{"x":1,"col2":"Q"}"#),
      ("map('a', 1, 'b', 1 + 1)['b']", 2), ("map('a', array(1, 2))['a'][2]", 2), ("map(['a'], [7])['a']", 7),
      ("to_json(transform(array(1, 2), x -> x + 1))", "[2,3]"), ("to_json(transform(array(5, 6), (x, i) -> x + i))", "[6,8]"),
      ("to_json(filter(array(1, 2, 3), x -> x % 2 = 1))", "[1,3]"), ("exists(array(1, 2), x -> x % 2 = 0)", true),
      ("exists(array(1, NULL), x -> x > 1)", .null),
      ("exists(array(1), x -> x > 1)", false), ("EXISTS (SELECT 1)", true), ("get_json_object('{\"a\":{\"b\":[1,2]}}', '$.a.b[1]')", "2"),
      ("get_json_object('no', '$.a')", .null), ("from_json('{\"a\":1,\"b\":[\"x\"]}', 'a INT, b ARRAY<STRING>').b[1]", "x"),
      ("from_json('{\"a\":1}', '{\"a\":\"INTEGER\"}').a", 1), ("regexp_extract('100-200', '(\\d+)-(\\d+)', 1)", "100"), ("'%SystemDrive%' RLIKE '^%S'", true),
      ("'abc' NOT RLIKE 'b' OR 'x' || 'y' REGEXP 'xy'", true), ("rlike('abc', 'b') AND regexp_like('abc', 'c$')", true), ("'a' RLIKE concat('', 'b')", false),
      ("'xz' RLIKE 'x' || 'y'", false), ("'axyb' RLIKE 'x' || lower('Y') AND true", true), ("'xz' NOT RLIKE 'x' || 'y' OR false", true),
      ("'b' RLIKE array('a', 'b')[2]", true), ("'b' RLIKE ('^' || 'b')::STRING || '$'", true),
      ("to_json(from_json('{\"a\":{\"y\":1},\"b\":\"x\"}', 'b STRING, a STRUCT<z: INT, y: INT>'))", #"{"b":"x","a":{"z":null,"y":1}}"#),
      ("to_json(from_json('[{\"a\":1,\"b\":2}]', 'ARRAY<STRUCT<b: INT, a: INT>>'))", #"[{"b":2,"a":1}]"#),
      ("substring_index('www.apache.org', '.', 2)", "www.apache"), ("substring_index('www.apache.org', '.', -2)", "apache.org"),
      ("substring_index('a', '.', -3)", "a"), ("initcap('sPark sql')", "Spark Sql"), ("concat_ws(',', 'a', NULL, 'b')", "a,b"),
      ("locate('bar', 'foobarbar', 5)", 7),
      ("locate('bar', 'foobarbar')", 4), ("startswith('Spark', 'Sp') AND endswith('Spark', 'rk')", true), ("split('a,b', ',')[2]", "b"),
      ("nvl(NULL, nvl2(NULL, 1, 2))", 2), ("iff(1 > 0, 'y', 'n')", "y"), ("NULL <=> NULL", true), ("1 <=> NULL OR NOT 2 <=> 2", false), ("7 DIV -2", -3),
      ("7.5 DIV 2", 3), ("-7.5 DIV 2", -3), ("0.3 DIV 0.1", 3), ("7.9::DOUBLE DIV 1", 7), ("2 + 3 * -7 DIV 2", -8), ("100 DIV 7 DIV 2", 7),
      ("(7 + 1) DIV (1 + 1) * 2", 8), ("{'a': 9}.a DIV [2, 3][2]", 3), ("1 + CASE WHEN true THEN 9 END::DECIMAL(3, 1) DIV CASE WHEN true THEN 2 END", 5),
      ("9223372036854775807 DIV 2", 4_611_686_018_427_387_903), ("abs(-7) DIV 2 ^ 2", 1), ("sum(9) OVER () DIV max(2) OVER ()", 4), ("NULL DIV 2", .null),
      ("-7 DIV 2 - -7 DIV 2", 0), ("typeof(7.5 DIV 2)", "BIGINT"), ("10 - div(7, 2) DIV 2 > 8", true),
      ("int('3') + bigint('4') + string(5)::INT", 12), ("boolean('true')", true), ("CAST(timestamp('2026-01-01') AS STRING)", "2026-01-01 00:00:00+00"),
      ("CAST('[1,2]' AS ARRAY<INT>)[2]", 2), ("try_cast('x' AS INT)", .null), ("rint(2.5)", 2.0), ("try_divide(1, 0)", .null),
      ("sort_array(array(2, NULL, 1), false)[1]", 2), ("array_join(array('a', NULL), '-', '?')", "a-?"), ("slice(array(1, 2, 3, 4), -2, 2)[1]", 3),
      ("array_max(array(1, 3)) + array_min(array(1, 3))", 4), ("len(array_remove(array(1, 2, 1), 1))", 1), ("array_repeat('x', 2)[2]", "x"),
      ("unbase64('YQ==') = 'a'::BLOB", true), ("sha2('a', 256) = sha256('a')", true),
    ] as [(String, JSONValue)])
  func expressionsMeanWhatTheyMeanInSpark(_ expression: String, _ expected: JSONValue) throws {
    let found = try value(expression)
    #expect(found == expected || found.doubleValue.map { .number($0) } == expected, "\(expression): \(found)")
  }

  @Test(
    arguments: [
      ("SELECT percentile_approx(x, 0.5), first(x, true), last(x, true), first(x) FROM (VALUES (NULL), (1), (2), (9), (NULL)) t(x)", [[2, 1, 9, .null]]),
      ("SELECT len(collect_list(x)), len(collect_set(x)), approx_count_distinct(x) FROM (VALUES (1), (1), (NULL)) t(x)", [[2, 1, 1]]),
      ("SELECT a.range FROM range(3) a LEFT SEMI JOIN range(2) b ON a.range = b.range ORDER BY 1", [[0], [1]]),
      ("SELECT a.range FROM range(3) a LEFT ANTI JOIN range(2) b ON a.range <=> b.range", [[2]]),
      ("SELECT k, v FROM (SELECT 1 AS k, array(7, 8) AS l) t LATERAL VIEW explode(l) e AS v WHERE v > 7", [[1, 8]]),
      ("SELECT k, e.col FROM (SELECT 1 AS k, array(7) AS l) t LATERAL VIEW explode(t.l) e", [[1, 7]]),
      ("SELECT k, v FROM (SELECT 1 AS k, []::INT[] AS l) t LATERAL VIEW OUTER explode(l) AS v", [[1, .null]]),
      (
        "SELECT p, v, w FROM (SELECT array(7, 8) AS l) t LATERAL VIEW posexplode(l) e AS p, v LATERAL VIEW explode(array(v * 2)) f AS w ORDER BY p",
        [[0, 7, 14], [1, 8, 16]]
      ),
      ("SELECT a, b FROM (SELECT map('x', 1) AS m) t LATERAL VIEW explode(m) e AS a, b", [["x", 1]]),
      ("SELECT explode(array(1, 2)) AS x", [[1], [2]]), ("SELECT x FROM range(3) t(x) QUALIFY row_number() OVER (ORDER BY x DESC) = 1", [[2]]),
      ("SELECT * EXCEPT (a) FROM (SELECT 1 AS a, 2 AS b)", [[2]]), ("SELECT * FROM (SELECT 1 AS `a b`)", [[1]]),
      ("SELECT x, count(*) FROM (VALUES (1), (2)) t(x) GROUP BY x WITH ROLLUP ORDER BY x NULLS LAST", [[1, 1], [2, 1], [.null, 2]]),
      ("SELECT id, a, b FROM (SELECT 1 AS id, 'a' AS k, 3 AS v) PIVOT (max(v) FOR k IN ('a', 'b'))", [[1, 3, .null]]),
      ("SELECT k, v FROM (SELECT 1 AS id, 2 AS a, 3 AS b) UNPIVOT (v FOR k IN (a, b))", [["a", 2], ["b", 3]]),
    ] as [(String, [[JSONValue]])])
  func queriesMeanWhatTheyMeanInSpark(_ text: String, _ expected: [[JSONValue]]) throws { #expect(try run(text).rows == expected) }

  @Test func columnsOfRewrittenCallsAreCalledAsWritten() throws {
    #expect(
      try run("SELECT date_format(DATE '2026-01-01', 'yyyy'), transform([1], x -> x)").columns.map(\.name) == [
        "date_format(DATE '2026-01-01', 'yyyy')", "transform([1], x -> x)",
      ])
    let query = "SELECT to_date(COLUMNS('d.*'), 'dd.MM.yyyy'), (SELECT to_date('1', 'd')) FROM (SELECT '31.01.2026' AS d1, '01.02.2026' AS d2)"
    #expect(try run(query).columns.map(\.name) == ["d1", "d2", "(SELECT to_date('1', 'd'))"])
  }

  @Test(arguments: [
    ("SELECT date_format(now(), 'yyyy-ww')", "PLT-3271"), ("SELECT to_date('1', 'G')", "PLT-3271"), ("SELECT to_timestamp('1', 'XXX')", "PLT-3271"),
    ("SELECT date_format(now(), x) FROM (SELECT 'yyyy' AS x)", "PLT-3271"), ("SELECT date_format(now(), 'yyyy''')", "PLT-3271"),
    ("SELECT named_struct(x, 1) FROM (SELECT 'a' AS x)", "PLT-3272"), ("SELECT named_struct('a')", "PLT-3272"),
    ("SELECT ('a').named_struct(1)", "PLT-3272"), ("SELECT ('2026').to_date(x) FROM (SELECT 'yyyy' AS x)", "PLT-3271"),
    ("ANALYZE TABLE t COMPUTE STATISTICS", "PLT-3273"), ("CONVERT TO DELTA parquet.`/a`", "PLT-3273"),
  ])
  func whatIsNotThereIsSaid(_ text: String, _ number: String) {
    #expect { try run(text) } throws: { ($0 as? PlatformError)?.number == number && ($0 as? PlatformError)?.code == .invalidArgument }
  }

  @Test(arguments: ["7 DIV 0", "7.5 DIV (1 - 1)", "x DIV x"])
  func wholeDivisionByZeroFails(_ expression: String) {
    #expect { try run("SELECT \(expression) FROM (SELECT 0 AS x)") } throws: { ($0 as? PlatformError)?.message.contains("division by zero") == true }
  }

  /// A name that the engine has keeps its meaning for every number of arguments that the engine takes.
  @Test func theEnginesFunctionsKeepTheirMeaning() throws {
    let connection = try Database(settings: .init(threads: 1)).connect()
    for row in try connection.rows("SELECT lower(function_name), len(parameters), coalesce(varargs, '') FROM duckdb_functions()") {
      guard let name = row[0].stringValue, let macro = SparkMacros.all[name], let count = row[1].intValue else { continue }
      #expect(row[2].stringValue == "" && !macro.takes(Int(count)), "\(name)/\(count)")
      #expect(macro.passed.contains { $0.parameters.count == Int(count) }, "\(name)/\(count)")
    }
    for text in ["SELECT * FROM range(3) LEFT", "SELECT array(1, 2", "SELECT 1 DIV 2 3", "SELECT x RLIKE 'a' y z"] {
      let tree = try connection.rows("SELECT CAST(json_serialize_sql(CAST(? AS VARCHAR)) AS VARCHAR)", [.string(text)])[0][0].stringValue ?? ""
      let own = try JSONValue(parsing: tree)["error_message"]?.stringValue
      #expect { try run(text) } throws: { ($0 as? PlatformError)?.message == own }
    }
  }
}
