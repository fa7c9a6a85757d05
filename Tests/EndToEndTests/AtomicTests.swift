// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// BEGIN ATOMIC .. END on real processes: all of it or nothing, whoever is killed and whoever else writes.
  @Suite(.serialized) struct AtomicTests {
    /// Adds one to the only row of two tables, again and again, and looks at both meanwhile.
    private static let counter = """
      import sys, json, threading, urllib.request
      host, token, writers, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
      def run(text):
        request = urllib.request.Request(f'http://{host}/api/2.0/sql/statements', data=json.dumps({'statement': text, 'wait_timeout': '50s'}).encode(),
          headers={'Authorization': 'Bearer ' + token, 'Content-Type': 'application/json'})
        with urllib.request.urlopen(request, timeout=60) as answer: body = json.load(answer)
        if body['status']['state'] != 'SUCCEEDED': raise Exception(json.dumps(body['status']))
        return body.get('result', {}).get('data_array')
      problems, over = [], threading.Event()
      def write():
        for _ in range(rounds):
          try:
            rows = run('BEGIN ATOMIC UPDATE main.demo.a SET n = n + 1; UPDATE main.demo.b SET n = n + 1; '
              'SELECT (SELECT n FROM main.demo.a) - (SELECT n FROM main.demo.b); END')
            if rows != [['0']]: problems.append(('inside', rows))
          except Exception as error: problems.append(str(error))
      def look():
        while not over.is_set():
          rows = run('SELECT a.n, b.n FROM main.demo.a AS a, main.demo.b AS b')
          if rows[0][0] != rows[0][1]: problems.append(('half', rows))
      reader = threading.Thread(target=look)
      threads = [threading.Thread(target=write) for _ in range(writers)]
      reader.start(); [t.start() for t in threads]; [t.join() for t in threads]; over.set(); reader.join()
      print(json.dumps({'problems': problems[:5], 'rows': run('SELECT a.n, b.n FROM main.demo.a AS a, main.demo.b AS b')}))
      """

    @Test func tablesChangeTogetherWhateverHappens() throws {
      let cluster = try LocalCluster("atomic")
      #expect(try cluster.start(workers: 1).status == 0)
      func sql(_ text: String) throws {
        let answer = try cluster.cli(["sql", text])
        #expect(answer.status == 0, "\(text)\n\(answer.all)")
      }
      func both() throws -> JSONValue { try cluster.scalar("select (select max(n) from main.demo.a) || '/' || (select max(n) from main.demo.b)") }
      for table in ["a", "b"] {
        try sql("create table main.demo.\(table) (n bigint)")
        try sql("insert into main.demo.\(table) values (0)")
      }

      // Writers that meet: each sees what it has done itself, none sees half of another, no change is lost.
      if Peers.python != nil {
        let answer = try JSONValue(parsing: Peers.run(Self.counter, [cluster.http, cluster.token, "3", "3"]))
        #expect(answer == ["problems": [], "rows": [["9", "9"]]], "\(answer.sortedText)")
      } else {
        for _ in 0..<9 { try sql("begin atomic update main.demo.a set n = n + 1; update main.demo.b set n = n + 1; end") }
      }
      #expect(try both() == "9/9")

      // A statement that fails takes back all that came before it.
      let failed = try cluster.cli(["sql", "begin atomic insert into main.demo.a values (99); insert into main.demo.b select 1 / n from nowhere; end"])
      #expect(failed.status != 0 && failed.err.contains("statement 2 of 2"), "\(failed.all)")
      #expect(try both() == "9/9")

      // Ordinary statements go on; history and lineage know the versions.
      try sql("insert into main.demo.a values (1)")
      try sql("delete from main.demo.a where n = 1")
      try sql("optimize main.demo.a")
      let history = try cluster.cli(["sql", "describe history main.demo.b limit 1", "-o", "json"]).out
      #expect(history.contains("UPDATE") && history.contains("main.demo.a"), "\(history)")

      // The coordinator dies between the decision and its publication: a folder takes the place of the version in one table's log.
      let log = try cluster.tableFolder("b") + "/_delta_log"
      let names = try FileManager.default.contentsOfDirectory(atPath: log).filter { $0.hasSuffix(".json") }.compactMap { Int($0.dropLast(5)) }
      let next = String(try #require(names.max()) + 1)
      let place = log + "/" + String(repeating: "0", count: 20 - next.count) + next + ".json"
      try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: false)
      let decided = try cluster.cli(["sql", "begin atomic update main.demo.a set n = 20; update main.demo.b set n = 20; end"])
      #expect(decided.status == 0, "\(decided.all)")
      let reading = try cluster.cli(["sql", "select n from main.demo.b"])
      #expect(reading.status != 0 || reading.out.contains("20"), "what was decided is not half there: \(reading.all)")
      for process in cluster.processes(["coordinator"]) { kill(process, SIGKILL) }
      try FileManager.default.removeItem(atPath: place)
      // The next coordinator finishes it before anybody asks.
      try cluster.wait("the publication") { FileManager.default.fileExists(atPath: place) }
      try cluster.wait("the coordinator") { try cluster.cli(["sql", "select 1"]).status == 0 }
      #expect(try both() == "20/20")

      // As a task of a workflow.
      let run = try cluster.submit(
        """
        resources:
          jobs:
            j:
              name: atomic
              tasks:
                - task_key: t
                  sql_task:
                    statement: begin atomic update main.demo.a set n = n + 1; update main.demo.b set n = n + 1; select n from main.demo.a; end
        """)
      let done = try cluster.finish(run)
      #expect(done["state"]?.stringValue?.uppercased() == "SUCCEEDED", "\(done.sortedText)")
      #expect(try both() == "21/21")
      let file = try cluster.write("t.sql", "begin atomic\ndelete from main.demo.a;\ndelete from main.demo.b;\nend;\nselect 1;\n")
      #expect(try cluster.cli(["sql", "-f", file]).status == 0)
      #expect(try cluster.scalar("select count(*) from (from main.demo.a union all from main.demo.b)") == 0)

      // Other programs read the tables, and are kept from writing them; given back, they may.
      guard Peers.python != nil else { return }
      let append = """
        import sys, deltalake, pyarrow
        t = deltalake.DeltaTable(sys.argv[1])
        try:
          deltalake.write_deltalake(t, pyarrow.table({'n': pyarrow.array([5], pyarrow.int64())}), mode='append')
          print('written')
        except Exception as error: print('coordinatedCommits' in str(error))
        """
      #expect(try Peers.run(append, [cluster.tableFolder("b")]) == "True\n")
      try sql("alter table main.demo.b drop feature `platform.coordinatedCommits`")
      #expect(try Peers.run(append, [cluster.tableFolder("b")]) == "written\n")
      try sql("insert into main.demo.b values (6)")
      #expect(try cluster.scalar("select cast(sum(n) as bigint) from main.demo.b") == 11)
    }
  }
}
