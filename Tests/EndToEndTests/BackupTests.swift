// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// A backup of a cluster at work, and the same answers somewhere else.
  @Suite(.serialized) struct BackupTests {
    @Test func aBackupUnderLoadGivesTheSameAnswersElsewhere() throws {
      let cluster = try LocalCluster("backup")
      #expect(try cluster.start(workers: 1).status == 0)
      let made = try cluster.cli([
        "sql",
        "create table main.default.facts as select range as i, 'text ' || range as t from range(1000); "
          + "update main.default.facts set t = 'other' where i = 7",
      ])
      #expect(made.status == 0, "\(made.all)")
      #expect(try cluster.cli(["volumes", "create", "main.default.files"]).status == 0)
      let note = try cluster.write("note.txt", "kept\n")
      #expect(try cluster.cli(["fs", "cp", note, "/Volumes/main/default/files/note.txt"]).status == 0)
      let facts = "select count(*), sum(i), max(t) from main.default.facts"
      let before = try cluster.cli(["sql", facts, "-o", "csv"]).out
      let past = "select t from main.default.facts version as of 0 where i = 7"
      let run = try cluster.submit(
        """
        resources:
          jobs:
            j: { name: n, tasks: [ { task_key: one, sql_task: { statement: "create table main.default.made as select 1 as n" } } ] }
        """)
      #expect(try cluster.finish(run)["state"] == "SUCCEEDED")

      let ledger = try InsertLedger(cluster, table: "main.default.kept")
      try ledger.advance(cluster, by: 3)
      let least = ledger.count
      let backup = cluster.folder.file("saved")
      let created = try cluster.cli(["backup", "create", backup, "-o", "json"])
      #expect(created.status == 0, "\(created.all)")
      #expect(try JSONValue(parsing: created.out)["tables"]?.arrayValue?.count == 3)
      try ledger.advance(cluster, by: 3)
      let most = ledger.count + 1
      #expect(try ledger.verdict(cluster) == nil)
      #expect(try cluster.cli(["backup", "verify", backup]).status == 0)
      #expect(try cluster.cli(["backup", "create", backup]).status == 73, "nothing is overwritten")
      #expect(try cluster.cli(["down"]).status == 0)

      let other = try LocalCluster("restored")
      let restored = try other.cli(["backup", "restore", backup])
      #expect(restored.status == 0, "\(restored.all)")
      let started = try other.start(workers: 1)
      #expect(started.status == 0, "\(started.all)")
      #expect(other.token == cluster.token)
      #expect(try other.cli(["sql", facts, "-o", "csv"]).out == before)
      #expect(try other.scalar(past) == "text 7", "older versions too")
      #expect(try other.cli(["fs", "cat", "/Volumes/main/default/files/note.txt"]).out == "kept\n")
      #expect(try other.run(run)["state"] == "SUCCEEDED")
      // All that was acknowledged before it, and each number once.
      guard case .integer(let rows) = try other.scalar("select count(*) from main.default.kept") else { throw PlatformError(.internalError, "no count") }
      #expect((least...most).contains(Int(rows)), "\(least) \(rows) \(most)")
      #expect(try other.scalar("select count(distinct i) from main.default.kept") == .integer(rows))
      #expect(try !ledger.failures.isEmpty || other.scalar("select max(i) from main.default.kept") == .integer(rows), "none is missing in between")
      // It goes on from there.
      #expect(try other.cli(["sql", "insert into main.default.kept values (-1)"]).status == 0)
      #expect(try other.scalar("select count(*) from main.default.kept") == .integer(rows + 1))
      #expect(try other.cli(["backup", "restore", backup]).status == 73, "a cluster is not overwritten")
      #expect(try other.cli(["down"]).status == 0)

      // One bit.
      let objects = try String(contentsOfFile: backup + "/objects.jsonl", encoding: .utf8).split(separator: "\n")
      let line = try #require(objects.first { $0.contains("/facts-") && $0.contains(".parquet\"") && !$0.contains("_delta_log") })
      let path = try #require(try JSONValue(parsing: String(line))["path"]?.stringValue)
      var bytes = try #require(FileManager.default.contents(atPath: backup + "/" + path))
      bytes[bytes.count / 2] ^= 1
      try bytes.write(to: URL(fileURLWithPath: backup + "/" + path))
      let verdict = try cluster.cli(["backup", "verify", backup])
      #expect(verdict.status == 65 && verdict.out.contains(path), "\(verdict.all)")
      let third = try LocalCluster("damaged")
      let refused = try third.cli(["backup", "restore", backup])
      #expect(refused.status == 65 && refused.err.contains(path), "\(refused.all)")
      #expect(!FileManager.default.fileExists(atPath: third.data), "nothing was made")
    }
  }
}
