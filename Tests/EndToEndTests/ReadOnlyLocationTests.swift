// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// What a read-only external location holds can be read in every way, and written in none.
  @Suite(.serialized) struct ReadOnlyLocationTests {
    private func names(_ folder: String) -> [String] { (FileManager.default.enumerator(atPath: folder)?.allObjects as? [String] ?? []).sorted() }

    @Test func nothingIsWrittenThere() throws {
      let cluster = try LocalCluster("readonly")
      #expect(try cluster.start(workers: 1).status == 0)
      let folder = cluster.folder.path + "/shared"
      try FileManager.default.createDirectory(atPath: folder + "/v", withIntermediateDirectories: true)
      try FileManager.default.createSymbolicLink(atPath: cluster.folder.path + "/link", withDestinationPath: folder)
      try Data("id\n7\n".utf8).write(to: URL(fileURLWithPath: folder + "/v/in.csv"))
      func sql(_ text: String) throws -> LocalCluster.Output { try cluster.cli(["sql", text]) }
      func must(_ text: String) throws {
        let done = try sql(text)
        #expect(done.status == 0, "\(text): \(done.all)")
      }
      #expect(try cluster.cli(["locations", "create", "raw", "file://" + folder]).status == 0)
      #expect(try cluster.cli(["volumes", "create", "main.demo.v", "--location", folder + "/v"]).status == 0)
      try must("create table main.demo.t (id bigint) location '\(folder)/t'")
      try must("insert into main.demo.t values (1), (2), (3)")
      try must("delete from main.demo.t where id = 3")
      try must("create table main.demo.src as select 1::bigint as id")
      #expect(try cluster.cli(["locations", "update", "raw", "--read-only", "true"]).status == 0)
      #expect(try cluster.cli(["locations", "get", "raw"]).out.contains("yes"))

      let before = names(folder)
      for text in [
        "insert into main.demo.t values (4)", "insert into main.demo.t select range from range(10)", "update main.demo.t set id = 9",
        "delete from main.demo.t where id = 1", "truncate table main.demo.t",
        "merge into main.demo.t t using (select 1 as id) s on t.id = s.id when matched then delete", "alter table main.demo.t add column x bigint",
        "alter table main.demo.t set tblproperties ('delta.appendOnly' = 'true')", "optimize main.demo.t", "vacuum main.demo.t",
        "restore table main.demo.t to version as of 0", "create or replace table main.demo.t as select 5 as id",
        "create table main.demo.n (id bigint) location '\(folder)/n'", "create table main.demo.n (id bigint) location '\(cluster.folder.path)/link/n'",
        "copy into main.demo.t from '/Volumes/main/demo/v/in.csv' fileformat = csv", "create or replace table main.demo.t deep clone main.demo.src",
      ] {
        let refused = try sql(text)
        #expect(refused.status != 0 && refused.all.contains("PLT-3261") && refused.all.contains("'raw'"), "\(text): \(refused.all)")
      }
      let records = try cluster.cli(["tables", "append", "main.demo.t", cluster.write("r.ndjson", #"{"id":1}"# + "\n")])
      #expect(records.status != 0 && records.all.contains("PLT-3261"), "\(records.all)")
      for (method, path) in [
        ("PUT", "/api/2.0/fs/files/Volumes/main/demo/v/new.csv"), ("DELETE", "/api/2.0/fs/files/Volumes/main/demo/v/in.csv"),
        ("PUT", "/api/2.0/fs/directories/Volumes/main/demo/v/new"), ("DELETE", "/api/2.0/fs/directories/Volumes/main/demo/v/x"),
      ] {
        let refused = try cluster.http(method, path, token: cluster.token, body: method == "PUT" ? "x" : nil)
        #expect(refused.status == 403 && refused.body.contains("PLT-3261"), "\(method) \(path): \(refused)")
      }
      for (operation, status) in [("PATH_READ", 200), ("PATH_READ_WRITE", 403), ("PATH_CREATE_TABLE", 403)] {
        let body: JSONValue = ["url": .string("file://" + folder + "/t"), "operation": .string(operation)]
        let answer = try cluster.http("POST", "/api/2.1/unity-catalog/temporary-path-credentials", token: cluster.token, body: body.sortedText)
        #expect(answer.status == status, "\(operation): \(answer)")
      }
      let load = try cluster.submit(
        """
        resources:
          jobs:
            j:
              name: load
              tasks:
                - task_key: load
                  ingest_task: { source: { path: /Volumes/main/demo/v, format: csv }, target: main.demo.t, trigger: available_now }
        """)
      let failed = try cluster.finish(load)
      #expect(failed.sortedText.contains("PLT-3261"), "\(failed.sortedText)")
      #expect(names(folder) == before)

      // All of it can be read, also under another name.
      #expect(try cluster.scalar("select count(*) || '/' || sum(id) from main.demo.t") == "2/3")
      #expect(try cluster.scalar("select max(id) from read_files('/Volumes/main/demo/v/in.csv')") == 7)
      try must("create table main.demo.own deep clone main.demo.t")
      try must("create table main.demo.thin shallow clone main.demo.t")
      try must("insert into main.demo.thin values (8)")
      try must("drop table main.demo.thin")
      try must("drop table main.demo.t")
      try must("create table main.demo.t location '\(folder)/t'")
      #expect(names(folder) == before)

      #expect(try cluster.cli(["locations", "update", "raw", "--read-only", "false"]).status == 0)
      try must("insert into main.demo.t values (4)")
      #expect(try cluster.scalar("select count(*) from main.demo.t") == 3)
      #expect(try cluster.http("PUT", "/api/2.0/fs/files/Volumes/main/demo/v/new.csv", token: cluster.token, body: "x").status == 204)
    }
  }
}
