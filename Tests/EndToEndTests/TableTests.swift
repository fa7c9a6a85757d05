// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// Tables that change: what SQL did is what every reader sees, at every version, and no update is lost.
  @Suite(.serialized) struct TableTests {
    @Test func rowsAreChangedAndNothingIsLost() throws {
      let cluster = try LocalCluster("tables")
      #expect(try cluster.start(workers: 2).status == 0)
      func sql(_ text: String) throws -> LocalCluster.Output { try cluster.cli(["sql", text]) }
      #expect(try sql("create table main.demo.t as select range as id, 0 as n, 'row ' || range as name from range(100)").status == 0)
      #expect(try sql("create table main.demo.s as select range as id, 'new ' || range as name from range(90, 120)").status == 0)
      let deleted = try sql("delete from main.demo.t where id % 10 = 3")
      #expect(deleted.status == 0 && deleted.err.contains("10 rows, version 1"), "\(deleted.all)")
      #expect(try sql("update main.demo.t set name = upper(name) where id < 5").err.contains("4 rows, version 2"))
      let merged = try sql(
        "merge into main.demo.t using main.demo.s as s on t.id = s.id when matched then update set name = s.name when not matched then insert (id, n, name) values (s.id, 0, s.name)"
      )
      #expect(merged.err.contains("30 rows, version 3"), "\(merged.all)")
      #expect(try cluster.scalar("select count(*) from main.demo.t") == 111)
      #expect(try cluster.scalar("select count(*) from main.demo.t version as of 0") == 100)
      #expect(try cluster.scalar("select string_agg(name, ',' order by id) from main.demo.t where id < 3 or id = 119") == "ROW 0,ROW 1,ROW 2,new 119")
      #expect(try sql("update main.demo.t set name = 'x' where id = -1").err.contains("0 rows"))

      // Eight at once, each adding one to the same row.
      let group = DispatchGroup()
      let failures = Failures()
      for _ in 0..<8 {
        group.enter()
        Thread.detachNewThread {
          defer { group.leave() }
          do {
            let answer = try cluster.cli(["sql", "update main.demo.t set n = n + 1 where id = 7"])
            if answer.status != 0 { failures.add(answer.all) }
          } catch { failures.add("\(error)") }
        }
      }
      group.wait()
      #expect(failures.texts.isEmpty, "\(failures.texts)")
      #expect(try cluster.scalar("select n from main.demo.t where id = 7") == 8)

      let history = try cluster.cli(["sql", "describe history main.demo.t", "-o", "csv"]).out
      for operation in ["CREATE TABLE AS SELECT", "DELETE", "UPDATE", "MERGE"] { #expect(history.contains(",\(operation),"), "\(history)") }
      let detail = try JSONValue(parsing: cluster.cli(["sql", "describe detail main.demo.t", "-o", "json"]).out)
      #expect(detail["rows"]?.arrayValue?.first?.arrayValue?.last == 111, "\(detail.sortedText)")
      if Peers.python != nil {
        let seen = try Peers.run(
          """
          import sys, deltalake
          for v in range(4):
              t = deltalake.DeltaTable(sys.argv[1], version=v).to_pyarrow_table()
              print(t.num_rows, sum(x.as_py() for x in t["id"]))
          __import__("os")._exit(sys.stdout.flush() or 0)
          """, [try cluster.tableFolder("t")])
        #expect(seen == "100 4950\n90 4470\n90 4470\n111 6753\n", "\(seen)")
      }
      #expect(try sql("insert overwrite main.demo.t select 1, 2, 'only'").status == 0)
      #expect(try cluster.scalar("select count(*) from main.demo.t") == 1)
      #expect(try sql("truncate table main.demo.t").err.contains("1 row"))
      #expect(try cluster.scalar("select count(*) from main.demo.t") == 0)
    }
  }
}

private final class Failures: @unchecked Sendable {  // protected by `lock`
  private let lock = NSLock()
  private var found: [String] = []
  func add(_ text: String) { lock.withLock { found.append(text) } }
  var texts: [String] { lock.withLock { found } }
}
