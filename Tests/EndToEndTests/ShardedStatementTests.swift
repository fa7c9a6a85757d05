// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// Statements of workflows that run as shards on all workers and are committed once.
  @Suite(.serialized) struct ShardedStatementTests {
    private func workflow(_ body: String) -> String {
      """
      resources:
        jobs:
          j:
            name: shards
            tasks:
              - task_key: agg
                max_retries: 3
                sql_task:
      \(body.split(separator: "\n").map { "            " + $0 }.joined(separator: "\n"))
      """
    }

    private func versions(_ cluster: LocalCluster, _ table: String) throws -> Int {
      try JSONValue(parsing: cluster.cli(["sql", "describe history \(table)", "-o", "json"]).out)["rows"]?.arrayValue?.count ?? -1
    }

    /// Rows that only one of two tables has.
    private func difference(_ cluster: LocalCluster, _ one: String, _ other: String) throws -> JSONValue {
      try cluster.scalar("select count(*) from ((from \(one) except all from \(other)) union all (from \(other) except all from \(one)))")
    }

    @Test func rowsAreThereOnceWhoeverIsKilled() throws {
      let cluster = try LocalCluster("shards")
      #expect(try cluster.start(workers: 2).status == 0)
      func sql(_ text: String) throws {
        let answer = try cluster.cli(["sql", text])
        #expect(answer.status == 0, "\(text)\n\(answer.all)")
      }
      try sql("create table main.demo.src (id bigint, word string, x double)")
      for part in 0..<4 {
        try sql(
          """
          insert into main.demo.src select case when i % 97 = 0 then null else (i * 7919) % 40000 end, md5(cast(i as varchar)), (i % 100) / 4
          from range(\(part * 300_000), \((part + 1) * 300_000)) r(i)
          """)
      }
      try sql("delete from main.demo.src where x = 2.25")
      // Slow enough to be hit in the middle.
      let query =
        "select id, count(*) as n, sum(x) as total, max(sha256(sha256(sha256(sha256(word))))) as w, count(distinct md5(sha256(word))) as d from main.demo.src group by id"
      try sql("create table main.demo.whole as \(query)")
      try sql("create table main.demo.agg (id bigint, n bigint, total double, w string, d bigint)")
      let run = try cluster.submit(
        workflow(
          """
              statement: insert overwrite main.demo.agg \(query)
              partition_by: [id]
              shards: 8
          """))
      try cluster.wait("the exchange") { cluster.executor("\(run)_agg_1_0_") != nil }
      for process in cluster.processes(["coordinator"]) { kill(process, SIGKILL) }
      try cluster.wait("the shards", seconds: 120) { cluster.executor("\(run)_agg_1_1_") != nil }
      let victim = try #require(cluster.executor("\(run)_agg_1_1_"))
      for process in cluster.processes(["worker", "w1"]) { kill(process, SIGKILL) }
      kill(victim, SIGKILL)
      let done = try cluster.finish(run)
      #expect(done["state"]?.stringValue?.uppercased() == "SUCCEEDED", "\(done.sortedText)")
      #expect(try versions(cluster, "main.demo.agg") == 2)
      #expect(try difference(cluster, "main.demo.agg", "main.demo.whole") == 0)
      #expect(try cluster.scalar("select count(*) from main.demo.agg") == cluster.scalar("select count(*) from main.demo.whole"))
      let lineage = try cluster.cli(["lineage", "main.demo.agg", "--up", "1"])
      #expect(lineage.out.contains("main.demo.src"), "\(lineage.all)")

      // By files, into a new table: a second commit of the same run is no second version.
      let copied = try cluster.finish(
        try cluster.submit(
          workflow(
            """
                statement: create table main.demo.copy partitioned by (q) as select id, upper(word) as word, x, cast(x as int) % 3 as q from main.demo.src where x > 1
                shards: auto
            """)))
      #expect(copied["state"]?.stringValue?.uppercased() == "SUCCEEDED", "\(copied.sortedText)")
      try sql("create table main.demo.copy2 as select id, upper(word) as word, x, cast(x as int) % 3 as q from main.demo.src where x > 1")
      #expect(try difference(cluster, "main.demo.copy", "main.demo.copy2") == 0)
      #expect(try versions(cluster, "main.demo.copy") == 1)

      // Empty tables, and what cannot run in shards.
      try sql("create table main.demo.none (id bigint, x double)")
      let empty = try cluster.finish(
        try cluster.submit(
          workflow("    statement: create table main.demo.none2 as select id, sum(x) as s from main.demo.none group by id\n    partition_by: [id]")))
      #expect(empty["state"]?.stringValue?.uppercased() == "SUCCEEDED", "\(empty.sortedText)")
      #expect(try cluster.scalar("select count(*) from main.demo.none2") == 0)
      for (body, says) in [
        ("    statement: insert into main.demo.agg (n) select count(*) from main.demo.src\n    shards: 4", "an aggregate needs rows of several shards"),
        ("    statement: delete from main.demo.agg where n = 0\n    shards: 4", "it is no INSERT"),
        ("    statement: insert into main.demo.agg (id) select id from main.demo.src; select 1\n    shards: 2", "one of several"),
      ] {
        let refused = try cluster.finish(try cluster.submit(workflow(body)))
        #expect(refused["state"]?.stringValue?.uppercased() == "FAILED" && refused.sortedText.contains(says), "\(refused.sortedText)")
        #expect(refused.sortedText.contains("PLT-3220"), "\(refused.sortedText)")
      }
    }

    @Test func documentsArePreparedInShards() throws {
      let cluster = try LocalCluster("shards-prepare")
      #expect(try cluster.start(workers: 2).status == 0)
      let documents = try cluster.documents(20)
      func task(_ key: String, _ body: String, after: String = "") -> String {
        "          - { task_key: \(key), \(body)\(after.isEmpty ? "" : ", depends_on: [ { task_key: \(after) } ]") }"
      }
      let run = try cluster.submit(
        """
        resources:
          jobs:
            j:
              tasks:
        \(task("ingest", "ingest_task: { input: '\(documents)', table: main.demo.documents }"))
        \(task("more", "sql_task: { statement: 'insert into main.demo.documents select path || $$/again$$, size, sha256, content || $$ 1$$, read_at from main.demo.documents' }", after: "ingest"))
        \(task("two", "prepare_task: { source: main.demo.documents, output: main.demo.two, shards: 2 }", after: "more"))
        \(task("one", "prepare_task: { source: main.demo.documents, output: main.demo.one, shards: 1 }", after: "more"))
        \(task("each", "prepare_task: { source: main.demo.documents, output: main.demo.each }", after: "more"))
        """)
      let done = try cluster.finish(run)
      #expect(done["state"]?.stringValue?.uppercased() == "SUCCEEDED", "\(done.sortedText)")
      #expect(try cluster.scalar("select count(*) > 20 from main.demo.two") == true)
      #expect(try difference(cluster, "main.demo.two", "main.demo.each") == 0)
      #expect(try difference(cluster, "main.demo.one", "main.demo.each") == 0)
      #expect(done.task("one")["units_total"] == 1 && done.task("two")["units_total"] == 2, "\(done.sortedText)")
    }

    @Test func theExampleOfThePageRuns() throws {
      let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../docs/sql.md")
      let text = String(decoding: try Data(contentsOf: page), as: UTF8.self)
      let part = try #require(text.range(of: "## Statements in shards"))
      let rest = text[part.upperBound...]
      let start = try #require(rest.range(of: "```yaml\n")), end = try #require(rest[start.upperBound...].range(of: "```"))
      let cluster = try LocalCluster("shards-page")
      #expect(try cluster.start(workers: 2).status == 0)
      let made = try cluster.cli([
        "sql",
        """
        create schema main.shop; create table main.shop.visits as select range % 30 as id, 'note ' || range as note from range(1000);
        create table main.shop.people as select range as id, 'name ' || range as name from range(20);
        create table main.shop.totals (id bigint, visits bigint, newest string)
        """,
      ])
      #expect(made.status == 0, "\(made.all)")
      let done = try cluster.finish(try cluster.submit(String(rest[start.upperBound..<end.lowerBound])))
      #expect(done["state"]?.stringValue?.uppercased() == "SUCCEEDED", "\(done.sortedText)")
      #expect(try cluster.scalar("select count(*) || '/' || sum(visits) || '/' || max(newest) from main.shop.totals") == "30/1000/note 999")
      #expect(try cluster.scalar("select count(*) || '/' || min(name) from main.shop.named") == "670/name 0")
    }
  }
}
