// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// Statements that append at once, and what is done for a table behind its commits.
  @Suite(.serialized) struct UpkeepTests {
    @Test func statementsThatMeetShareVersionsAndLoseNothing() throws {
      let cluster = try LocalCluster("upkeep")
      #expect(try cluster.start(workers: 1).status == 0)
      #expect(
        try cluster.cli([
          "sql", "create table main.demo.t (id bigint, constraint small check (id < 1000)) tblproperties ('delta.enableChangeDataFeed' = 'true')",
        ]).status == 0)
      // Sixteen at once, each told a version that holds its row and whose predecessor does not.
      let told = Told()
      let group = DispatchGroup()
      for index in 0..<16 {
        group.enter()
        Thread.detachNewThread {
          defer { group.leave() }
          for step in 0..<3 {
            do {
              let id = index * 10 + step
              let answer = try cluster.http(
                "POST", "/api/2.0/sql/statements", token: cluster.token,
                body: "{\"statement\": \"insert into main.demo.t values (\(id))\", \"warehouse_id\": \"local\", \"wait_timeout\": \"50s\"}")
              told.add(id, answer.body)
            } catch { told.add(-1, "\(error)") }
          }
        }
      }
      group.wait()
      for (id, body) in told.answers { #expect(id >= 0 && body.contains("SUCCEEDED"), "\(id): \(body)") }
      #expect(try cluster.scalar("select count(*) from main.demo.t") == 48)
      #expect(try cluster.scalar("select count(distinct id) from main.demo.t") == 48)
      let latest = try #require(try cluster.scalar("select max(_commit_version) from table_changes('main.demo.t', 0)").intValue)
      #expect(latest <= 48)
      #expect(try cluster.scalar("select count(*) from table_changes('main.demo.t', 1, \(latest)) where _change_type = 'insert'") == 48)
      // A version that was told holds the row; the one before does not.
      for id in [0, 50, 150] {
        let version = try #require(try cluster.scalar("select _commit_version from table_changes('main.demo.t', 1) where id = \(id)").intValue)
        #expect(try cluster.scalar("select count(*) from main.demo.t version as of \(version) where id = \(id)") == 1)
        #expect(try cluster.scalar("select count(*) from main.demo.t version as of \(version - 1) where id = \(id)") == 0)
      }
      // What says no to one says nothing to the others.
      #expect(try cluster.cli(["sql", "insert into main.demo.t values (2000)"]).all.contains("CHECK constraint 'small'"))
      // A rule that comes in between holds for those behind it.
      #expect(try cluster.cli(["sql", "alter table main.demo.t add constraint even check (id % 2 = 0 or id < 200)"]).status == 0)
      #expect(try cluster.cli(["sql", "insert into main.demo.t values (301)"]).all.contains("CHECK constraint 'even'"))
      #expect(try cluster.cli(["sql", "insert into main.demo.t values (302)"]).status == 0)

      // Small files are put together behind the commits, while statements go on.
      #expect(
        try cluster.cli([
          "sql", "create table main.demo.small (id bigint) tblproperties ('delta.autoOptimize.autoCompact' = 'true', 'delta.checkpointInterval' = '5')",
        ]).status == 0)
      for index in 0..<51 { #expect(try cluster.cli(["sql", "insert into main.demo.small values (\(index))"]).status == 0) }
      func files() throws -> Int {
        let detail = try JSONValue(parsing: cluster.cli(["sql", "describe detail main.demo.small", "-o", "json"]).out)
        let names = detail["columns"]?.arrayValue?.map { $0["name"]?.stringValue ?? "" } ?? []
        guard let index = names.firstIndex(of: "numFiles") else { return -1 }
        return detail["rows"]?.arrayValue?.first?.arrayValue?[index].intValue ?? -1
      }
      try cluster.wait("small files to be put together", seconds: 60) {
        let count = try files()
        return count > 0 && count < 20
      }
      #expect(try cluster.scalar("select count(distinct id) from main.demo.small") == 51)
      #expect(try cluster.cli(["sql", "describe history main.demo.small", "-o", "csv"]).out.contains("OPTIMIZE"))

      // A file that is gone: told by name, and taken out on demand.
      let folder = try cluster.tableFolder("t")
      let names = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".parquet") }.sorted()
      let lost = try #require(names.first)
      try FileManager.default.removeItem(atPath: folder + "/" + lost)
      let failed = try cluster.cli(["sql", "select sum(id) from main.demo.t"])
      #expect(failed.status != 0 && failed.all.contains("a data file of the table is missing") && failed.all.contains(lost), "\(failed.all)")
      let shown = try cluster.cli(["sql", "fsck repair table main.demo.t dry run", "-o", "csv"])
      #expect(shown.out.contains("\(lost),true"), "\(shown.all)")
      #expect(try cluster.cli(["sql", "fsck repair table main.demo.t"]).status == 0)
      let left = try #require(try cluster.scalar("select count(*) from main.demo.t").intValue)
      #expect(left < 49)
      #expect(try cluster.cli(["sql", "fsck repair table main.demo.t dry run", "-o", "csv"]).out.split(separator: "\n").count == 1)

      // A damaged one: the statement fails with its name, the worker goes on.
      let small = try cluster.tableFolder("small")
      let sizes = try FileManager.default.contentsOfDirectory(atPath: small).filter { $0.hasSuffix(".parquet") }.map { name in
        (name: name, size: try FileManager.default.attributesOfItem(atPath: small + "/" + name)[.size] as? Int ?? 0)
      }
      // The largest is the one that all others were put into.
      let other = try #require(sizes.max { $0.size < $1.size }?.name)
      let path = small + "/" + other
      var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
      for index in bytes.indices.suffix(60) { bytes[index] = 0xFF }
      try bytes.write(to: URL(fileURLWithPath: path))
      let damaged = try cluster.cli(["sql", "select sum(id) from main.demo.small"])
      #expect(damaged.status != 0 && damaged.all.contains("a data file cannot be read") && damaged.all.contains(other), "\(damaged.all)")
      #expect(try cluster.scalar("select 1") == 1)
    }

    private final class Told: @unchecked Sendable {  // protected by `lock`
      private let lock = NSLock()
      private var list: [(Int, String)] = []
      func add(_ id: Int, _ body: String) { lock.withLock { list.append((id, body)) } }
      var answers: [(Int, String)] { lock.withLock { list } }
    }
  }
}
