// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// Views, functions, parameters and texts of several statements on a real cluster.
  @Suite(.serialized) struct CatalogSQLTests {
    @Test func viewsFunctionsAndScripts() throws {
      let cluster = try LocalCluster("catalogsql")
      #expect(try cluster.start(workers: 1).status == 0)
      func answer(_ sql: String) throws -> JSONValue {
        let result = try cluster.cli(["sql", sql, "-o", "json"])
        #expect(result.status == 0, "\(sql)\n\(result.all)")
        return (try? JSONValue(parsing: result.out)) ?? .null
      }
      func rows(_ sql: String) throws -> JSONValue { try answer(sql)["rows"] ?? .null }
      func failure(_ sql: String) throws -> String {
        let result = try cluster.cli(["sql", sql])
        #expect(result.status != 0, "\(sql)\n\(result.all)")
        return result.err
      }

      // A text of several statements: USE and temporary views carry over, the last statement's rows are the answer.
      let script = try answer(
        """
        create catalog if not exists shop comment 'it''s ours';
        create schema shop.eu comment 'Europe';
        use shop.eu;
        create table orders as select i as id, i * 2.5 as price, case when i % 2 = 0 then 'DE' else 'FR' end as country from range(10) t(i);
        create temp view big as select * from orders where price > 10;
        create view by_country (country comment 'two letters', total) comment 'sums' as select country, sum(price) from orders group by 1;
        create view top as select * from by_country where total > 50;
        create function with_tax(price double, rate double default 0.5) returns double return price * (1 + rate);
        create function orders_of(c string) returns table (id bigint, price double) return select id, price from orders where country = c;
        select count(*) as n from big
        """)
      #expect(script["rows"] == [[5]] && script["statements"]?.arrayValue?.count == 10, "\(script.sortedText)")
      #expect(script["catalog"] == "shop" && script["schema"] == "eu")
      #expect(try rows("select country, total from shop.eu.top order by 1") == [["FR", "62.5"]])
      let called = try rows("use shop.eu; select with_tax(10.5), with_tax(10.5, rate => 0), (select count(*) from orders_of('DE'))")
      #expect(called == [[15.75, 10.5, 5]], "\(called.sortedText)")
      #expect(try rows("show views in shop.eu") == [["eu", "by_country", false], ["eu", "top", false]])
      #expect(try rows("describe shop.eu.by_country").arrayValue?.first == ["country", "varchar", "two letters"])
      #expect(try rows("show functions in shop.eu like 'with*'") == [["shop.eu.with_tax"]])
      #expect(try rows("show create view shop.eu.top").sortedText.contains("select * from by_country where total > 50"))

      // Errors say which statement of a text, and what is stale, circular or in the way.
      let second = try failure("select 1;\n  select * from nowhere_to_be_found")
      #expect(second.contains("statement 2 of 2 (line 2, column 3)"), "\(second)")
      #expect(try failure("create or replace view shop.eu.by_country as select * from shop.eu.top").contains("PLT-3221"))
      #expect(try failure("create table shop.eu.top as select 1 as a").contains("PLT-3003"))
      #expect(try failure("insert into shop.eu.top select 'x', 1").contains("is a view"))
      #expect(try failure("drop table shop.eu.top").contains("DROP VIEW"))
      #expect(try failure("select shop.eu.with_tax(1, rat => 2)").contains("no parameter 'rat'"))
      #expect(
        try failure("create function shop.eu.leak() returns table (l string) return select content from read_text('/etc/passwd')").contains("not allowed"))
      #expect(try failure("create view shop.eu.leak as select * from read_csv('/etc/passwd')").contains("not allowed"))
      #expect(try rows("create or replace table shop.eu.orders as select 1 as other; select 1") == [[1]])
      #expect(try failure("select * from shop.eu.top").contains("PLT-3222"))
      #expect(try failure("drop schema shop.eu").contains("PLT-1701"))
      #expect(try rows("drop view shop.eu.top; show tables dropped in shop.eu").arrayValue?.compactMap { $0.arrayValue?.first?.stringValue } == ["shop.eu.top"])
      #expect(try rows("undrop table shop.eu.top; show views in shop.eu like 't*'") == [["eu", "top", false]])
      #expect(try failure("undrop table shop.eu.never").contains("PLT-3002"))
      #expect(try rows("drop catalog shop cascade; show catalogs like 'sh*'") == [])
    }

    @Test func parametersReachFilesAndTasks() throws {
      let cluster = try LocalCluster("parameters")
      #expect(try cluster.start(workers: 1).status == 0)
      func run(_ arguments: [String]) throws -> JSONValue {
        let result = try cluster.cli(["sql"] + arguments + ["-o", "json"])
        #expect(result.status == 0, "\(arguments)\n\(result.all)")
        return (try? JSONValue(parsing: result.out)) ?? .null
      }
      _ = try run(["create table main.demo.days (day date, n bigint) partitioned by (day)"])
      for day in 1...3 { _ = try run(["insert into main.demo.days select date '2026-01-0\(day)', i from range(100) t(i)"]) }
      let asked = "from main.demo.days where day = :day and n < :n"
      let given = ["--param", "day:DATE=2026-01-02", "--param", "n:INT=3"]
      #expect(try run(["select count(*) as c, min(day) as d " + asked] + given)["rows"] == [[3, "2026-01-02"]])
      let plan = try run(["explain select * " + asked] + given).sortedText
      #expect(plan.contains("1 file read") && plan.contains("2 files"), "\(plan)")
      let refused = try cluster.cli(["sql", "select * " + asked, "--param", "day:DATE=2026-01-02"])
      #expect(refused.status != 0 && refused.err.contains("PLT-3223") && refused.err.contains("':n' has no value"), "\(refused.all)")

      // A file of several statements as a task, with typed values; it writes, and what it wrote is known.
      _ = try cluster.write(
        "totals.sql",
        "create or replace temp view chosen as select n * 2 as double_n, day from days where day >= :since;\ncreate or replace table totals as select day, sum(double_n) as total from chosen group by day;\nselect count(*) as days, max(total) as most from totals where total > :least"
      )
      let id = try cluster.submit(
        """
        resources:
          jobs:
            sums:
              tasks:
                - task_key: sum
                  sql_task:
                    file: { path: totals.sql }
                    schema: demo
                    parameters: [ { name: since, value: 2026-01-02, type: DATE }, { name: least, value: 10 } ]
        """)
      let ended = try cluster.finish(id)
      #expect(ended["state"] == "SUCCEEDED", "\(ended.sortedText)")
      #expect(try run(["select count(*), max(total) from main.demo.totals"])["rows"] == [[2, "9900"]])

      let table = try JSONValue(parsing: cluster.cli(["lineage", "MAIN.demo.totals", "-o", "json"]).out)
      let up = try #require(table.arrayValue?.first)
      #expect(up["object"] == "main.demo.days" && up["event"]?["source_version"] == 3 && up["event"]?["run_id"] == .string(id), "\(table.sortedText)")
      #expect(up["event"]?["created_by"] == "admin" && up["event"]?["target_version"] == 0, "\(table.sortedText)")
      let column = try cluster.cli(["lineage", "main.demo.totals", "--column", "total"])
      #expect(column.status == 0 && column.out.contains("main.demo.days.n"), "\(column.all)")
      #expect(try cluster.cli(["lineage", "main.demo.days", "-o", "name"]).out == "main.demo.totals\n")
      #expect(try cluster.cli(["lineage", "main.demo.nothing"]).status == 66)
      #expect(try cluster.cli(["lineage", "main.demo.totals", "--column", "zz"]).status == 66)
    }

    @Test(.enabled(if: Peers.python != nil, "no peer environment"))
    func theDatabricksSDKSeesFunctionsViewsAndLineage() throws {
      let cluster = try LocalCluster("functions")
      #expect(try cluster.start(workers: 1).status == 0)
      for sql in [
        "create table main.demo.prices as select i as id, cast(i * 2 as decimal(10,2)) as price from range(10) t(i)",
        "create view main.demo.dear comment 'above ten' as select id, price as amount from main.demo.prices where price > 10",
        "create table main.demo.sums as select sum(amount) as total from main.demo.dear",
      ] {
        let made = try cluster.cli(["sql", sql])
        #expect(made.status == 0, "\(made.all)")
      }
      let script = """
        import sys
        from databricks.sdk import WorkspaceClient
        from databricks.sdk.errors import NotFound, ResourceAlreadyExists, BadRequest
        from databricks.sdk.service.catalog import (ColumnTypeName, CreateFunction, CreateFunctionParameterStyle, CreateFunctionRoutineBody,
            CreateFunctionSecurityType, CreateFunctionSqlDataAccess, FunctionParameterInfo, FunctionParameterInfos, TableType)
        w = WorkspaceClient(host=sys.argv[1], token=sys.argv[2], auth_type="pat")
        def fails(kind, call):
            try: call()
            except kind as e: return str(e)
            raise AssertionError("no " + kind.__name__)
        def parameter(name, type, kind, at, **more): return FunctionParameterInfo(name=name, type_text=type, type_name=kind, position=at, **more)
        def request(name, body, params, **more):
            given = dict(name=name, catalog_name="main", schema_name="demo", input_params=FunctionParameterInfos(params), data_type=ColumnTypeName.LONG,
                full_data_type="bigint", routine_body=CreateFunctionRoutineBody.SQL, routine_definition=body, parameter_style=CreateFunctionParameterStyle.S,
                is_deterministic=True, sql_data_access=CreateFunctionSqlDataAccess.CONTAINS_SQL, is_null_call=True,
                security_type=CreateFunctionSecurityType.DEFINER, specific_name=name)
            return CreateFunction(**{**given, **more})
        two = [parameter("b", "array<int>", ColumnTypeName.ARRAY, 1, parameter_default="[7]"), parameter("a", "int", ColumnTypeName.INT, 0, comment="first")]
        f = w.functions.create(request("Adds", "a + len(b)", two, comment="c"))
        assert (f.full_name, f.data_type, f.full_data_type, f.owner, f.is_deterministic) == ("main.demo.adds", ColumnTypeName.LONG, "bigint", "admin", True), f
        assert [(p.name, p.type_text, p.type_name, p.position, p.parameter_default) for p in f.input_params.parameters] == [
            ("a", "int", ColumnTypeName.INT, 0, None), ("b", "array<int>", ColumnTypeName.ARRAY, 1, "[7]")], f
        assert f.sql_data_access.value == "CONTAINS_SQL" and f.routine_definition == "a + len(b)" and f.created_by == "admin"
        fails(ResourceAlreadyExists, lambda: w.functions.create(request("ADDS", "1", [])))
        assert "function_info.input_params.parameters[0].type_text" in fails(BadRequest, lambda: w.functions.create(request("g", "1", [parameter("a", "nonsense", ColumnTypeName.INT, 0)])))
        fails(BadRequest, lambda: w.functions.create(request("g", "a + 1", [])))
        fails(BadRequest, lambda: w.functions.create(request("g", "1) + (2", [])))
        fails(BadRequest, lambda: w.functions.create(request("g", "print(1)", [], routine_body=CreateFunctionRoutineBody.EXTERNAL)))
        fails(BadRequest, lambda: w.functions.create(request("g", "a", [parameter("a", "int", ColumnTypeName.INT, 0), parameter("A", "int", ColumnTypeName.INT, 1)])))
        t = w.functions.create(request("dearer", "select id, price from prices where price > least", [parameter("least", "decimal(10,2)", ColumnTypeName.DECIMAL, 0)],
            data_type=ColumnTypeName.TABLE_TYPE, full_data_type="x", return_params=FunctionParameterInfos([
                parameter("id", "bigint", ColumnTypeName.LONG, 0), parameter("price", "decimal(10,2)", ColumnTypeName.DECIMAL, 1)])))
        assert t.data_type == ColumnTypeName.TABLE_TYPE and t.sql_data_access.value == "READS_SQL_DATA" and [p.name for p in t.return_params.parameters] == ["id", "price"], t
        assert (t.input_params.parameters[0].type_precision, t.input_params.parameters[0].type_scale) == (10, 2)
        assert [x.name for x in w.functions.list("main", "demo", max_results=1)] == ["adds", "dearer"]
        assert w.functions.get("MAIN.demo.Adds").function_id == f.function_id
        assert w.functions.update("main.demo.adds", owner="ann").owner == "ann"
        fails(NotFound, lambda: w.functions.get("main.demo.nothing"))
        # views
        v = w.tables.get("main.demo.dear")
        assert v.table_type == TableType.VIEW and v.view_definition == "select id, price as amount from main.demo.prices where price > 10", v
        assert v.storage_location is None and [(c.name, c.type_text) for c in v.columns] == [("id", "bigint"), ("amount", "decimal(10,2)")], v
        assert {(x.name, x.table_type.value) for x in w.tables.list("main", "demo")} >= {("dear", "VIEW"), ("prices", "MANAGED")}
        # lineage
        def lineage(kind, body): return w.api_client.do("GET", "/api/2.0/lineage-tracking/" + kind, query=body)
        found = lineage("table-lineage", {"table_name": "main.demo.dear", "include_entity_lineage": "true"})
        assert [u["tableInfo"]["name"] for u in found["upstreams"]] == ["prices"], found
        assert [d["tableInfo"]["name"] for d in found["downstreams"]] == ["sums"] and found["downstreams"][0]["event"]["created_by"] == "admin", found
        import json, requests
        again = requests.get(sys.argv[1] + "/api/2.0/lineage-tracking/table-lineage", data=json.dumps({"table_name": "main.demo.dear"}),
            headers={"Authorization": "Bearer " + sys.argv[2], "Content-Type": "application/json"})
        assert again.status_code == 200 and again.json() == found, again.text
        found = lineage("column-lineage", {"table_name": "main.demo.dear", "column_name": "AMOUNT"})
        assert [(c["table_name"], c["name"]) for c in found["upstream_cols"]] == [("prices", "price")], found
        assert [(c["table_name"], c["name"]) for c in found["downstream_cols"]] == [("sums", "total")], found
        fails(NotFound, lambda: lineage("table-lineage", {"table_name": "main.demo.none"}))
        w.functions.delete("main.demo.dearer")
        fails(NotFound, lambda: w.functions.delete("main.demo.dearer"))
        print("ok")
        """
      #expect(try Peers.run(script, ["http://" + cluster.http, cluster.token]) == "ok\n")
      #expect(try cluster.scalar("select main.demo.adds(1) + main.demo.adds(1, b => [1, 2])") == 5)
      let listed = try cluster.cli(["functions", "list", "main.demo"])
      #expect(listed.out.contains("main.demo.adds") && listed.out.contains("(a int, b array<int> DEFAULT [7]) -> bigint"), "\(listed.all)")
      let one = try cluster.cli(["functions", "get", "main.demo.ADDS"])
      #expect(one.out.contains("a + len(b)") && one.out.contains("ann"), "\(one.all)")
      #expect(try cluster.cli(["functions", "update", "main.demo.adds", "--new-name", "plus"]).status == 0)
      #expect(try cluster.cli(["functions", "delete", "main.demo.plus", "--yes"]).status == 0)
      #expect(try cluster.cli(["functions", "get", "main.demo.plus"]).status == 66)
      #expect(try cluster.cli(["tables", "get", "main.demo.dear"]).out.contains("where price > 10"))
    }
  }
}
