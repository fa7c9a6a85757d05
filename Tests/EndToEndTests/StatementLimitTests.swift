// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// Deadlines of statements, deletes that read nothing, and where changed columns come from.
  @Suite(.serialized) struct StatementLimitTests {
    @Test func deadlinesDeletesAndLineageOfChanges() throws {
      let cluster = try LocalCluster("limits")
      #expect(try cluster.start(workers: 1).status == 0)
      func sql(_ text: String) throws {
        let answer = try cluster.cli(["sql", text])
        #expect(answer.status == 0, "\(text)\n\(answer.all)")
      }

      // A statement's own limit.
      func endless(_ arguments: [String], limit: Int) throws {
        let began = Date()
        let late = try cluster.cli(["sql", "select count(*) from range(1000000) a(x), range(1000000) b(y) where (a.x * b.y) % 7 = 3"] + arguments)
        let took = Date().timeIntervalSince(began)
        #expect(late.status != 0 && late.err.contains("PLT-3233") && late.err.contains("longer than \(limit) s"), "\(late.all)")
        #expect(took >= Double(limit) && took < Double(limit) + 10, "\(took)")
      }
      try endless(["--statement-timeout", "2"], limit: 2)
      let refused = try cluster.http("POST", "/api/2.0/sql/statements", token: cluster.token, body: #"{"statement":"select 1","statement_timeout":0}"#)
      #expect(refused.status == 400 && refused.body.contains("statement_timeout"), "\(refused.body)")

      // The files of two days go without being read.
      try sql("create table main.demo.days (day date, id bigint) partitioned by (day)")
      for day in 1...3 { try sql("insert into main.demo.days select date '2026-01-0\(day)', range from range(1000)") }
      let folder = try cluster.tableFolder("days", schema: "demo")
      let files = FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String }.filter {
        $0.hasSuffix(".parquet") && !$0.contains("day=2026-01-03")
      }
      #expect(files?.count == 2, "\(String(describing: files))")
      for file in files ?? [] { try Data("no rows".utf8).write(to: URL(fileURLWithPath: "\(folder)/\(file)")) }
      #expect(try cluster.cli(["sql", "delete from main.demo.days where day < date '2026-01-03'"]).err.contains("2000 row"))
      #expect(try cluster.scalar("select count(*) || '/' || count(distinct day) from main.demo.days") == "1000/1")
      #expect(try cluster.cli(["sql", "delete from main.demo.days"]).err.contains("1000 row"))
      #expect(try cluster.scalar("select count(*) from main.demo.days") == 0)

      // Columns that UPDATE and MERGE read.
      try sql("create table main.demo.people (id bigint, name string, mail string)")
      try sql("create table main.demo.news (id bigint, who string, address string)")
      try sql("insert into main.demo.people values (1, 'a', 'b')")
      try sql("insert into main.demo.news values (1, 'c', 'd'), (2, 'e', 'f')")
      try sql("update main.demo.people set mail = lower(name) || '@x' where id = 1")
      try sql(
        """
        merge into main.demo.people as p using (select id, upper(who) as who, address from main.demo.news) as n on p.id = n.id
        when matched then update set name = n.who, mail = coalesce(n.address, p.mail) when not matched then insert (id, name) values (n.id, n.who)
        """)
      let edges = try JSONValue(
        parsing: cluster.cli([
          "sql",
          "select distinct source_table_full_name || '.' || source_column_name || ' > ' || target_column_name as e from system.access.column_lineage where target_table_full_name = 'main.demo.people' order by 1",
          "-o", "json",
        ]).out)["rows"]
      #expect(
        edges == [
          ["main.demo.news.address > mail"], ["main.demo.news.id > id"], ["main.demo.news.who > name"], ["main.demo.people.mail > mail"],
          ["main.demo.people.name > mail"],
        ], "\(String(describing: edges?.sortedText))")

      // The service's, beyond which nobody can go.
      #expect(try cluster.cli(["down"]).status == 0)
      let limited = try cluster.cli(
        ["up", "--workers", "1", "--bind", cluster.http, "--node-bind", cluster.nodes], timeout: 120, environment: ["PLATFORM_STATEMENT_TIMEOUT": "3"])
      #expect(limited.status == 0, "\(limited.all)")
      try endless(["--statement-timeout", "500"], limit: 3)
    }
  }
}
