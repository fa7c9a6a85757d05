// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DuckDB
import Foundation
import TestSupport
import Testing

@testable import Query

@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct CatalogSQLTests {
  func command(_ text: String) throws -> CatalogCommand {
    let plan = try StatementPlan(parsing: text, catalog: "main", schema: "demo")
    #expect(plan.kind == .catalog && !plan.kind.runsQuery)
    return try #require(plan.catalogCommand)
  }

  func message(_ body: () throws -> Void) -> String {
    do {
      try body()
      return ""
    } catch { return PlatformError.from(error).message }
  }

  // MARK: statements

  @Test func statementsAboutObjectsAreTakenApart() throws {
    func schema(_ catalog: String, _ name: String, plain: Bool = false) -> CatalogCommand.ObjectName {
      .init(kind: .schema, catalog: catalog, schema: name, name: "", isPlain: plain)
    }
    var options = CatalogCommand.Options()
    options.isConditional = true
    options.comment = "it's -- not a comment"
    options.properties = ["a.b": "1", "c": "x"]
    #expect(
      try command("create schema if not exists s.t comment 'it''s -- not a comment' with dbproperties (a.b = 1, 'c' = 'x')")
        == .createSchema(schema("s", "t"), options))
    #expect(try command("drop database if exists x cascade") == .drop(schema("main", "x", plain: true), ifExists: true, cascade: true))
    #expect(
      try command("SHOW SCHEMAS IN sales LIKE 'a*|b'") == .show(.schema, place: .init(kind: .catalog, catalog: "sales", schema: "", name: ""), pattern: "a*|b"))
    #expect(try command("use \"we-ird\".x") == .use(catalog: "we-ird", schema: "x"))
    #expect(try command("USE CATALOG c") == .use(catalog: "c", schema: nil))
    #expect(try command("use demo") == .use(catalog: nil, schema: "demo"))
    let volume = CatalogCommand.ObjectName(kind: .volume, catalog: "main", schema: "s", name: "v")
    #expect(try command("COMMENT ON VOLUME s.v IS NULL") == .comment(volume, nil))
    #expect(try command("alter volume s.v set owner to \"ann b\"") == .alter(volume, .owner("ann b")))
    #expect(try command("alter volume s.v set tags ('pii' = 'yes', x = 2)") == .alter(volume, .setTags(["pii": "yes", "x": "2"])))
    #expect(message { _ = try command("create volume s.v location '/x'") }.contains("LOCATION"))
    #expect(message { _ = try command("create external volume s.v") }.contains("LOCATION"))
    #expect(message { _ = try command("drop schema a.b.c") }.contains("parts"))
    #expect(message { _ = try command("create schema a; drop schema b") } != "")
    #expect(message { _ = try command("create schema a b") }.contains("'b' is not expected"))
    #expect(message { _ = try command("use catalog a.b") }.contains("one part"))
  }

  @Test func viewsAndFunctionsAreTakenApart() throws {
    guard case .createView(let view) = try command("create or replace view v (a comment 'x', b) comment 'c' as select 1, ';' -- end") else {
      Issue.record("no view")
      return
    }
    #expect(view.query == "select 1, ';'" && view.columns.map(\.name) == ["a", "b"] && view.columns[0].comment == "x" && view.options.replaces)
    guard
      case .createFunction(let function) = try command(
        "create function f(a int comment 'n', b string default concat('x', ','), c decimal(10,2) default 1) returns array<struct<x: long>> language sql deterministic comment 'd' return [{'x': a}]"
      )
    else {
      Issue.record("no function")
      return
    }
    #expect(function.parameters.map(\.type) == ["INTEGER", "VARCHAR", "DECIMAL(10,2)"])
    #expect(function.parameters[1].defaultValue == "concat('x', ',')" && function.parameters[0].comment == "n")
    #expect(function.returns == .scalar("STRUCT(\"x\" BIGINT)[]") && function.body == "[{'x': a}]" && function.isDeterministic == true)
    #expect(message { _ = try command("create function f(a int, A int) returns int return 1") }.contains("twice"))
    #expect(message { _ = try command("create function f(a nonsense) returns int return 1") }.contains("nonsense"))
    #expect(message { _ = try command("create function f() returns int language python return 1") }.contains("python"))
    #expect(message { _ = try command("create function f() return 1") }.contains("RETURNS"))
    #expect(message { _ = try command("create or replace view if not exists v as select 1") }.contains("OR REPLACE"))
  }

  @Test(
    arguments: [
      ("orders", nil, true), ("Orders", "ord*", true), ("orders", "ord", false), ("orders", "x|*ers", true), ("a", "", false), ("aaaab", "*a*b", true),
      ("a.b", "a.b", true), ("axb", "a.b", false),
    ] as [(String, String?, Bool)])
  func patternsFit(_ name: String, _ pattern: String?, _ fits: Bool) { #expect(CatalogCommand.matches(name, pattern) == fits) }

  @Test(.timeLimit(.minutes(1))) func patternsOfStarsTakeNoTime() {
    #expect(!CatalogCommand.matches(String(repeating: "a", count: 5000), String(repeating: "*a", count: 60) + "b"))
  }

  // MARK: several statements, parameters

  @Test func textsAreSplitAtSemicolonsOutsideOfQuotes() throws {
    let script = try StatementScript("select ';' -- ;\n;; /* ; */\n  select $$;$$;\n\"a;b\" ?")
    #expect(script.items.map(\.text) == ["select ';'", "select $$;$$", "\"a;b\" ?"])
    #expect(script.items.map(\.line) == [1, 3, 4] && script.items.map(\.column) == [1, 3, 1])
    #expect(script.located(PlatformError(.notFound, "x"), at: 1).message == "statement 2 of 3 (line 3, column 3): x")
    #expect(message { _ = try StatementScript(" ; -- nothing") } != "")
    #expect(message { _ = try StatementScript(String(repeating: "select 1;", count: 201)) }.contains("201"))
  }

  // MARK: transactions

  @Test func transactionsAreFoundInATextOfSeveralStatements() throws {
    let script = try StatementScript(
      """
      select 1; BEGIN ATOMIC
        insert into t select case when a then 1 else 2 end from s;
        select ?;
      END; begin transaction; delete from t; commit; select 2
      """)
    #expect(script.items.map(\.block) == [nil, 1, 1, 2, nil])
    #expect(script.items.map(\.line) == [1, 2, 3, 4, 4] && script.items[1].column == 3 && script.items[2].firstParameter == 0)
    #expect(script.items[1].text.hasPrefix("insert into t") && script.items[3].text == "delete from t")
    #expect(try StatementScript("begin atomic with x as (select 1) select * from x; (select 2); truncate table t; end").items.count == 3)
  }

  @Test(arguments: [
    ("begin atomic create table t (a int); end", "line 1: CREATE TABLE cannot be part of a transaction"),
    ("begin atomic select 1;\n optimize t; end", "line 2: OPTIMIZE T cannot be part"), ("begin atomic use main.demo; end", "USE MAIN cannot be part"),
    ("begin atomic insert into t values (1) end", "has no end"), ("begin atomic select 1;", "has no end"), ("begin transaction; select 1", "has no end"),
    ("begin atomic end", "holds no statement"), ("begin atomic; end", "holds no statement"), ("begin; commit", "holds no statement"),
    ("begin atomic begin atomic select 1; end; end", "BEGIN ATOMIC cannot be part"),
    ("begin; begin; select 1; commit", "cannot hold another"), ("end", "none has begun"), ("commit", "none has begun"),
    ("begin select 1; end", "begins with BEGIN ATOMIC"), ("begin atomic select 1; commit", "COMMIT does not end"), ("begin; select 1; end", "END does not end"),
    ("begin; delete from t; rollback", "one that fails changes nothing"), ("begin atomic explain select 1; end", "EXPLAIN SELECT cannot be part"),
  ])
  func transactionsThatCannotBeAreRefused(_ text: String, _ reason: String) {
    #expect(message { _ = try StatementScript(text) }.contains(reason), "\(message { _ = try StatementScript(text) })")
  }

  func bound(_ text: String, _ values: [StatementParameters.Value]) throws -> [[JSONValue]] {
    let parameters = try StatementParameters(values)
    let applied = try parameters.apply(to: StatementScript(text).items[0])
    try parameters.requireUsed(applied.read.union(applied.naming))
    let plan = try StatementPlan(parsing: applied.text, catalog: "main", schema: "demo")
    var spec = StatementSpec(kind: plan.kind, sql: plan.sql, tables: [])
    spec.variables = parameters.variables
    return try StatementRunner.run(spec, context: QuietContext(scratchDirectory: TemporaryDirectory("parameters").path)).rows
  }

  @Test func parametersAreBoundWithTheirTypes() throws {
    #expect(try bound("select :a + 1, typeof(:a)", [.init(name: "a", value: "41", type: "INT")]) == [[42, "INTEGER"]])
    #expect(try bound("select :d + 1", [.init(name: "D", value: "2026-01-31", type: "DATE")]) == [["2026-02-01"]])
    #expect(try bound("select typeof(:x), :x is null", [.init(name: "x", value: nil, type: "DECIMAL(10,2)")]) == [["DECIMAL(10,2)", true]])
    #expect(try bound("select ? || ?, ':no', [1,2,3][1:2], {'k':1}.k, 2::int", [.init(value: "a"), .init(value: "b")]).first?.first == "ab")
    #expect(
      try bound("select i from range(10) t(i) where i > :n order by i limit :m", [.init(name: "n", value: 3), .init(name: "m", value: 2)]) == [[4], [5]])
    // In structs and slices a colon is a parameter's where one follows it.
    #expect(try bound("select {'a': id, 'p': :p, 'q' : :p}.q from (select 1 as id)", [.init(name: "p", value: 7)]) == [[7]])
    #expect(try bound("select len([1,2,3][:v]), 2::int, {'a':v}.a from (select 2 as v)", []) == [[2, 2, 2]])
    #expect(try bound("select [1,2,3][:p], len([1,2,3][:p: ]) from (select 9 as v)", [.init(name: "p", value: 3)]) == [[3, 1]])
    let evil = "x' OR 1=1; DROP TABLE t; --"
    #expect(try bound("select :s", [.init(name: "s", value: .string(evil))]) == [[.string(evil)]])
  }

  @Test func parametersThatDoNotFitAreRefusedByName() throws {
    #expect(message { _ = try bound("select :a", []) }.contains("':a' has no value"))
    #expect(message { _ = try bound("select 1", [.init(name: "b", value: 1)]) }.contains("':b'"))
    #expect(message { _ = try bound("select ?", []) }.contains("('?') has no value"))
    #expect(message { _ = try bound("select ?", [.init(value: 1), .init(value: 2)]) }.contains("2 values"))
    #expect(message { _ = try bound("select :a", [.init(name: "a", value: 1), .init(name: "A", value: 2)]) }.contains("twice"))
    #expect(message { _ = try bound("select :a", [.init(name: "a", value: 1, type: "INT); DROP")]) }.contains("not known"))
    #expect(message { _ = try bound("select :a", [.init(name: "a", value: "x", type: "INT")]) }.contains("'a'"))
  }

  @Test func namesOfObjectsAreChecked() throws {
    func applied(_ text: String, _ name: JSONValue) throws -> String {
      try StatementParameters([.init(name: "t", value: name)]).apply(to: StatementScript(text).items[0]).text
    }
    #expect(try applied("select * from identifier(:t) as x", "main.\"a b\".c") == "select * from \"main\".\"a b\".\"c\" as x")
    #expect(try applied("select * from IDENTIFIER( :t )", "demo.t") == "select * from \"demo\".\"t\"")
    for evil in ["t; drop table x", "t where 1=1", "a.b.c.d", "", "t -- x", "t/**/", "read_csv('/etc/passwd')", "'t'", "\"t"] {
      #expect(message { _ = try applied("select * from identifier(:t)", .string(evil)) }.contains("not an object's name"), "\(evil)")
    }
    #expect(message { _ = try applied("select * from identifier(:t)", 4) }.contains("must be a text"))
  }

  // MARK: functions

  /// Runs a query over functions and empty tables.
  func rows(_ text: String, _ functions: [String: FunctionDefinition] = [:], definitions: [StatementDefinition] = []) throws -> [[JSONValue]] {
    let plan = try StatementPlan(parsing: text, catalog: "main", schema: "demo")
    var all = SQLExtensions.definitions(plan.extensions) + definitions
    for call in plan.functions where !all.contains(where: { $0.name == call.macro }) {
      let definition = try #require(functions[call.name.name], "no function \(call.name)")
      let (macro, inner) = try FunctionMacro.plan(definition, label: "\(call.name)", macro: call.macro, first: (100, 100))
      all += SQLExtensions.definitions(inner.extensions)
      for nested in inner.functions {
        let other = try #require(functions[nested.name.name])
        all.append(try FunctionMacro.plan(other, label: "\(nested.name)", macro: nested.macro, first: (200, 200)).definition)
      }
      all.append(macro)
    }
    var spec = StatementSpec(kind: plan.kind, sql: plan.sql, tables: [])
    spec.definitions = all
    spec.variables = SQLExtensions.session(user: "ann", catalog: "main", schema: "demo")
    return try StatementRunner.run(spec, context: QuietContext(scratchDirectory: TemporaryDirectory("functions").path)).rows
  }

  func function(_ parameters: [(String, String)], _ returns: String, _ body: String, defaults: [String?] = []) -> FunctionDefinition {
    FunctionDefinition(
      parameters: parameters.enumerated().map { .init(name: $1.0, type: $1.1, defaultValue: $0 < defaults.count ? defaults[$0] : nil) },
      returns: returns, body: body, catalog: "main", schema: "demo")
  }

  @Test func functionsAreCalledByAnyName() throws {
    let functions = [
      "twice": function([("x", "INTEGER")], "BIGINT", "x * 2"),
      "sum3": function([("a", "INTEGER"), ("b", "INTEGER"), ("c", "INTEGER")], "INTEGER", "sum3.a + b * 10 + c * 100", defaults: [nil, "2", "1 + 2"]),
      "nested": function([("x", "INTEGER")], "BIGINT", "twice(x) + main.demo.twice(x)"),
    ]
    #expect(try rows("select twice(4), demo.twice(5), main.demo.TWICE('6')", ["twice": functions["twice"]!, "TWICE": functions["twice"]!]) == [[8, 10, 12]])
    #expect(try rows("select sum3(1), sum3(1, 1), sum3(1, c => 0), sum3(1, c := 0, b := 5)", functions) == [[321, 311, 21, 51]])
    #expect(try rows("select nested(3)", functions) == [[12]])
    #expect(try rows("select twice(sum(i)) from range(4) t(i)", functions) == [[12]])
    #expect(try rows("select list_transform([1, 2], x -> twice(x))", functions) == [[[2, 4]]])
    #expect(message { _ = try rows("select twice('x')", functions) }.contains("Could not convert"))
  }

  @Test func argumentsAndColumnsDoNotCaptureEachOther() throws {
    // The body's table has a column of the argument's name, the caller's table one of the body's.
    let body = "(select max(v) from (values (1, 10, 7), (2, 20, 8)) as t(k, v, x) where t.k = n)"
    let functions = [
      "look": function([("n", "INTEGER")], "INTEGER", body), "shadow": function([("x", "INTEGER")], "INTEGER", "(select max(x) from (values (5)) t(x))"),
    ]
    #expect(try rows("select look(k) from (values (2), (1), (9)) as s(k)", functions) == [[20], [10], [.null]])
    #expect(try rows("select look(v) from (values (2)) as s(v)", functions) == [[20]])
    #expect(try rows("select look(max(k)) from (values (1), (2)) as s(k)", functions) == [[20]])
    #expect(try rows("select shadow(1)", functions) == [[5]])
  }

  @Test func tableFunctionsTakeArgumentsOfOtherTables() throws {
    var upto = function([("n", "INTEGER")], "", "select i, i * n as product from range(100) t(i) where i < n order by i")
    upto.returns = nil
    upto.columns = [ColumnEntry(name: "number", type: "BIGINT"), ColumnEntry(name: "product", type: "VARCHAR")]
    let functions = ["upto": upto]
    #expect(try rows("select * from upto(2)", functions) == [[0, "0"], [1, "2"]])
    #expect(
      try rows("select s.k, u.number from (values (1), (2)) as s(k), lateral (select * from demo.upto(s.k)) as u order by 1, 2", functions) == [
        [1, 0], [2, 0], [2, 1],
      ])
    #expect(try rows("select sum(product::int)::int from upto(n := 3) as u", functions) == [[9]])
  }

  @Test(arguments: [
    "x) + (1", "1; drop table t", "1 from t", "x as y", "1, 2", "*", "1 -- end\n from t", "y", "select 1; select 2", "x where true", "$$a", "1 /* open",
    "(select * from read_csv('/etc/passwd'))", "(select 1 from glob('/*'))", "(select max(x) from duckdb_settings())",
  ])
  func bodiesThatAreNoExpressionAreRefused(_ body: String) {
    #expect(throws: PlatformError.self) {
      _ = try FunctionMacro.plan(function([("x", "INTEGER")], "INTEGER", body), label: "main.demo.f", macro: "__f", first: (0, 0))
    }
  }

  @Test(arguments: ["x", "(select 1)", "1) ) as (select 1", "f(1)", "1; select 2", "random() over ()"])
  func defaultsThatReadSomethingAreRefused(_ value: String) {
    #expect(throws: PlatformError.self) {
      _ = try FunctionMacro.plan(
        function([("x", "INTEGER")], "INTEGER", "x", defaults: [value]), label: "main.demo.f", macro: "__f", first: (0, 0))
    }
  }

  @Test func functionsOfOtherEnginesMeanTheSame() throws {
    #expect(
      try rows("select nvl(null, 3), nvl2(1, 'a', 'b'), zeroifnull(null), equal_null(null, null), ucase('a'), pmod(-3, 5), add_months(date '2026-01-31', 1)")
        == [[3, "a", 0, true, "A", 2, "2026-02-28"]])
    #expect(try rows("select collect_list(x), len(collect_set(x)) from (values (1), (null), (1)) t(x)") == [[[1, 1], 1]])
    #expect(try rows("select current_user(), current_user, current_catalog(), current_schema() || '!'") == [["ann", "ann", "main", "demo!"]])
    #expect(try rows("select \"current_user\" from (select 1 as \"current_user\")") == [[1]])
  }

  // MARK: views

  @Test func viewsKeepTheirColumns() throws {
    let base = StatementDefinition(
      view: "__table_0", label: "main.demo.b", sql: "SELECT 1 AS a, 'x' AS c, 5 AS d",
      columns: [.init(source: "C", name: "see", type: .varchar), .init(source: "a", name: "n", type: .bigint)])
    #expect(try rows("select * from b", definitions: [base]) == [["x", 1]])
    var stale = base
    stale.columns.append(.init(source: "gone", name: "g", type: .varchar))
    #expect(message { _ = try rows("select * from b", definitions: [stale]) }.contains("no column 'gone'"))
    let columns = try StatementBinder.columns(
      of: "SELECT *, n + d AS m FROM __table_0", tables: [("t", [Column("d", .double)])],
      definitions: [
        StatementDefinition(
          view: "__table_0", label: "v", sql: "SELECT 1 AS n, d FROM t",
          columns: [.init(source: "n", name: "n", type: .bigint), .init(source: "d", name: "d", type: .double)])
      ],
      variables: [])
    #expect(columns == [Column("n", .bigint), Column("d", .double), Column("m", .double)])
  }

  // MARK: lineage

  func lineage(_ text: String, _ tables: [String: [String]]) throws -> [String] {
    let plan = try StatementPlan(parsing: text, catalog: "main", schema: "demo")
    let columns = try plan.references.map { try #require(tables[$0.name.name]) }
    return ColumnLineage.outputs(of: plan, columns: columns).map { output in
      output.name + "<" + output.origins.map { "\(plan.references[$0.reference].name.name).\($0.column)" }.sorted().joined(separator: ",")
    }
  }

  @Test func columnsAreFollowedToWhereTheyComeFrom() throws {
    let tables = ["t": ["a", "b"], "u": ["a", "c"]]
    #expect(try lineage("select a as x, b + 1 as y, 3 as z from t where b > 0", tables) == ["x<t.a", "y<t.b", "z<"])
    #expect(try lineage("select * from t join u using (a)", tables) == ["a<t.a", "b<t.b", "c<u.c"])
    #expect(try lineage("select t.*, u.c from t, u", tables) == ["a<t.a", "b<t.b", "c<u.c"])
    #expect(try lineage("select * exclude (a) from main.demo.t", tables) == ["b<t.b"])
    #expect(
      try lineage("with w(p, q) as (select a, b from t) select q as z, (select max(c) from u where u.a = w.p) as m from w", tables) == ["z<t.b", "m<u.c"])
    #expect(try lineage("select a from t union all select c from u", tables) == ["a<t.a,u.c"])
    #expect(try lineage("select s.k as k, sum(s.v) over (partition by s.k) as w from (select a k, b v from t) s", tables) == ["k<t.a", "w<t.b"])
    #expect(try lineage("create table n as select coalesce(x.a, y.a) as a from t x left join t y on x.a = y.b", tables) == ["a<t.a"])
    #expect(try lineage("select exists(select 1 from u) as e, count(*) as n from t", tables) == ["e<", "n<"])
    #expect(try lineage("select v.i as i from t, lateral (select t.b + 1 as i) v", tables) == ["i<t.b"])
    #expect(try lineage("with recursive r(n) as (select a from t union all select n + 1 from r) select n from r", tables) == ["n<t.a"])
  }
}
