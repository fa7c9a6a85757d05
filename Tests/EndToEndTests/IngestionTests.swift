// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// Files come in once, whoever is killed meanwhile.
  @Suite(.serialized) struct IngestionTests {
    private func volume(_ cluster: LocalCluster) throws -> String {
      #expect(try cluster.cli(["volumes", "create", "main.demo.in"]).status == 0)
      let answer = try cluster.cli(["volumes", "get", "main.demo.in", "-o", "json"])
      let location = try JSONValue(parsing: answer.out)["storage_location"]?.stringValue ?? ""
      let folder = location.hasPrefix("file://") ? String(location.dropFirst(7)) : location
      try #require(FileManager.default.fileExists(atPath: folder), "\(answer.all)")
      return folder
    }

    private func put(_ folder: String, _ name: String, _ text: String) throws {
      try FileManager.default.createDirectory(atPath: ((folder + "/" + name) as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
      try Data(text.utf8).write(to: URL(fileURLWithPath: folder + "/" + name), options: .atomic)
    }

    @Test func filesAreReadAndCopiedOnce() throws {
      let cluster = try LocalCluster("copy")
      #expect(try cluster.start(workers: 1).status == 0)
      let folder = try volume(cluster)
      func sql(_ text: String) throws -> LocalCluster.Output { try cluster.cli(["sql", text]) }
      try put(folder, "a/1.csv", "id,name\n1,one\n2,two\n")
      try put(folder, "a/2.csv", "id,name\n3,three\nbroken\n")
      #expect(try cluster.scalar("select count(*) from read_files('/Volumes/main/demo/in/a/*.csv', format => 'csv')") == 4)
      #expect(
        try cluster.scalar("select sum(id) || '/' || min(_metadata.file_name) from read_files('/Volumes/main/demo/in/a', format => 'csv') where id is not null")
          == "6/1.csv")
      for path in ["/etc/passwd", "/Volumes/main/demo/in/../../../etc/passwd", "/Volumes/main/demo/none/x"] {
        #expect(try sql("select * from read_files('\(path)', format => 'text')").status != 0)
      }
      #expect(try sql("create table main.demo.t (id bigint, name varchar)").status == 0)
      let copy = "copy into main.demo.t from '/Volumes/main/demo/in/a' fileformat = csv"
      let first = try sql(copy)
      #expect(first.status == 0, "\(first.all)")
      #expect(try cluster.scalar("select count(*) from main.demo.t") == 3)
      #expect(try cluster.scalar("select raw from main.demo.t_quarantine") == "broken")
      #expect(try sql(copy).status == 0)
      #expect(try cluster.scalar("select count(*) from main.demo.t") == 3)
      try put(folder, "a/3.csv", "id,name,more\n4,four,x\n")
      let refused = try sql(copy)
      #expect(refused.status != 0 && refused.err.contains("more VARCHAR"), "\(refused.all)")
      #expect(try sql(copy + " copy_options ('mergeSchema' = 'true')").status == 0)
      #expect(try cluster.scalar("select more from main.demo.t where id = 4") == "x")
      let view = try sql("create view main.demo.v as select * from read_files('/Volumes/main/demo/in/a', format => 'csv')")
      #expect(view.status != 0 && view.err.contains("PLT-3115"), "\(view.all)")
      let both = try sql(copy + " files = ('1.csv') pattern = '*.csv'")
      #expect(both.status != 0 && both.err.contains("exclude each other"), "\(both.all)")
      #expect(try sql("insert into main.demo.t by name select id, name from read_files('/Volumes/main/demo/in/a/1.csv', format => 'csv')").status == 0)
      // Of which nothing can be read: told, put aside, loaded when it is whole.
      try put(folder, "z/1.json", "no JSON\n")
      try put(folder, "z/2.json", "{\"id\":70,\"name\":\"x\"}\n")
      let other = "copy into main.demo.t from '/Volumes/main/demo/in/z' fileformat = json"
      let unreadable = try sql(other)
      #expect(unreadable.status != 0 && unreadable.err.contains("PLT-3290") && unreadable.err.contains("/Volumes/main/demo/in/z/1.json:1"), "\(unreadable.all)")
      #expect(try cluster.scalar("select count(*) from main.demo.t where id >= 70") == 0)
      for _ in 0..<2 {
        let apart = try sql(other + " copy_options ('quarantineBadRows' = 'true')")
        #expect(apart.status == 0, "\(apart.all)")
      }
      #expect(try cluster.scalar("select count(*) from main.demo.t where id >= 70") == 1)
      #expect(try cluster.scalar("select count(*) from main.demo.t_quarantine where file like '%/z/1.json' and line is null") == 1)
      try put(folder, "z/1.json", "{\"id\":71,\"name\":\"y\"}\n")
      #expect(try sql(other).status == 0)
      #expect(try cluster.scalar("select string_agg(id, ' ' order by id) from main.demo.t where id >= 70") == "70 71")
      #expect(try sql("delete from main.demo.t where id >= 70").status == 0)
      #expect(try sql("delete from main.demo.t where id = 1").status == 0)
      #expect(try sql("delete from main.demo.t where id = 2").status == 0)
      #expect(try sql("insert into main.demo.t by name select id, name from read_files('/Volumes/main/demo/in/a/1.csv', format => 'csv')").status == 0)
      let evolving = try sql("insert with schema evolution into main.demo.t select id, name from read_files('/Volumes/main/demo/in/a/1.csv', format => 'csv')")
      #expect(evolving.status != 0 && evolving.err.contains("mergeSchema"), "\(evolving.all)")
      #expect(
        try sql("copy into main.demo.t from '/Volumes/main/demo/in/a' fileformat = csv files = ('1.csv') copy_options ('force' = 'true')").status == 0)
      #expect(try cluster.scalar("select count(*) from main.demo.t") == 6)
    }

    @Test func partitionsAndRulesAreKept() throws {
      let cluster = try LocalCluster("ruled")
      #expect(try cluster.start(workers: 1).status == 0)
      let folder = try volume(cluster)
      try put(folder, "a/1.csv", "id,day,price\n1,2024-01-01,5\n2,2024-01-02,6\n")
      try put(folder, "a/2.csv", "id,day\n3,2024-01-02\n")
      let made = try cluster.cli([
        "sql",
        """
        create table main.demo.r (n bigint generated always as identity, id bigint not null, day date, price bigint default 1, twice bigint generated always as (price * 2),
          check (price > 0)) partitioned by (day)
        """,
      ])
      #expect(made.status == 0, "\(made.all)")
      let copy = "copy into main.demo.r from '/Volumes/main/demo/in/a' fileformat = csv"
      let first = try cluster.cli(["sql", copy + " files = ('1.csv')"])
      #expect(first.status == 0, "\(first.all)")
      let second = try cluster.cli(["sql", copy])
      #expect(second.status == 0, "\(second.all)")
      #expect(
        try cluster.scalar("select string_agg(concat_ws(':', id, day, price, twice), ' ' order by id) from main.demo.r")
          == "1:2024-01-01:5:10 2:2024-01-02:6:12 3:2024-01-02:1:2")
      #expect(try cluster.scalar("select count(distinct n) from main.demo.r") == 3)
      try put(folder, "a/3.csv", "id,day,price\n4,2024-01-03,-1\n")
      let refused = try cluster.cli(["sql", copy])
      #expect(refused.status != 0 && refused.err.contains("PLT-3204"), "\(refused.all)")
      #expect(try cluster.scalar("select count(*) from main.demo.r") == 3)

      // Put aside when the statement, or the task, says so.
      try put(folder, "a/3.csv", "id,day,price\n4,2024-01-03,-1\n5,2024-01-03,2\n,2024-01-03,2\n")
      let apart = try cluster.cli(["sql", copy + " copy_options ('quarantineBadRows' = 'true')"])
      #expect(apart.status == 0, "\(apart.all)")
      #expect(try cluster.scalar("select count(*) from main.demo.r") == 4)
      let bad = "select string_agg(parse_filename(file) || ':' || line || ':' || reason, ' ' order by line) from main.demo.r_quarantine"
      #expect(try cluster.scalar(bad) == "3.csv:2:breaks the CHECK constraint 'check_1' (price > 0) 3.csv:4:breaks the NOT NULL column 'id'")
      try put(folder, "b/4.json", "{\"id\":6,\"day\":\"2024-01-04\",\"price\":3}\n{\"id\":7,\"day\":\"2024-01-04\",\"price\":-3}\n")
      func load(_ more: String) throws -> JSONValue {
        try cluster.finish(
          cluster.submit(
            """
            resources:
              jobs:
                j:
                  name: load
                  tasks:
                    - task_key: load
                      ingest_task: { source: { path: /Volumes/main/demo/in/b, format: json }, target: main.demo.r, quarantine: main.demo.aside\(more) }
            """))
      }
      #expect(try load("").sortedText.contains("PLT-3204"))
      let done = try load(", bad_rows: quarantine")
      #expect(done["state"]?.stringValue?.uppercased() == "SUCCEEDED", "\(done.sortedText)")
      #expect(try cluster.scalar("select max(id) from main.demo.r") == 6)

      // Files of which nothing can be read, and files without a header.
      func ingest(_ path: String, _ more: String, _ options: String = "") throws -> (run: JSONValue, text: String) {
        let run = try cluster.finish(
          cluster.submit(
            """
            resources:
              jobs:
                j:
                  name: load
                  tasks:
                    - task_key: load
                      ingest_task: { source: { path: /Volumes/main/demo/in/\(path), format: csv\(options) }, target: main.demo.h\(more) }
            """))
        return (run, run.sortedText)
      }
      #expect(try cluster.cli(["sql", "create table main.demo.h (id bigint, name varchar)"]).status == 0)
      try put(folder, "h/1.csv", "1,one\n2,two,more\n")
      let headless = try ingest("h", "", ", options: { header: \"false\" }")
      #expect(headless.run["state"]?.stringValue?.uppercased() == "SUCCEEDED", "\(headless.text)")
      #expect(try cluster.scalar("select string_agg(concat_ws(':', id, name), ' ' order by id) from main.demo.h") == "1:one")
      #expect(try cluster.scalar("select count(*) from main.demo.h_quarantine where raw = '2,two,more'") == 1)
      let columns = "select string_agg(column_name, ' ' order by ordinal_position) from main.information_schema.columns where table_name = 'h'"
      #expect(try cluster.scalar(columns) == "id name _rescued_data")
      try put(folder, "g/1.csv", "id,name\n3,three\n")
      try put(folder, "g/2.csv.gz", "no gzip")
      let refusedFile = try ingest("g", "")
      #expect(
        refusedFile.text.contains("PLT-3290") && refusedFile.text.contains("g/2.csv.gz") && refusedFile.text.contains("damaged gzip"), "\(refusedFile.text)")
      #expect(try cluster.scalar("select count(*) from main.demo.h") == 1)
      let asideFile = try ingest("g", ", bad_rows: quarantine")
      #expect(asideFile.text.contains("1 rows of 1 files, 1 quarantined, 1 file unreadable"), "\(asideFile.text)")
      func metric(_ name: String) throws -> Bool {
        try cluster.http("GET", "/metrics", token: cluster.token).body
          .contains(#"platform_ingest_files_\#(name){source="/Volumes/main/demo/in/g",table="main.demo.h"} 1"#)
      }
      #expect(try metric("unreadable"))
      try FileManager.default.removeItem(atPath: folder + "/g/2.csv.gz")
      try put(folder, "g/2.csv.gz", "no gzip either")
      // It is tried again, and can be removed from what a run has left.
      #expect(try ingest("g", "").text.contains("PLT-3290"))
      try FileManager.default.removeItem(atPath: folder + "/g/2.csv.gz")
      try put(folder, "g/3.csv", "id,name\n4,four\n")
      let rest = try ingest("g", "")
      #expect(rest.run["state"]?.stringValue?.uppercased() == "SUCCEEDED", "\(rest.text)")
      #expect(try cluster.scalar("select max(id) || '/' || count(*) from main.demo.h") == "4/3")
      #expect(try !metric("unreadable") && !metric("changed"))
      #expect(try cluster.scalar("select line || raw from main.demo.aside").stringValue?.hasPrefix("2{") == true)
    }

    @Test(.enabled(if: MotoServer.isThere, "no peer environment")) func everyObjectOnceWhateverIsKilled() throws {
      let cluster = try LocalCluster("ingest-bucket")
      #expect(try cluster.start(workers: 2).status == 0)
      let (endpoint, bucket) = (try MotoServer.shared().endpoint, "ingest-\(UUID().uuidString.lowercased().prefix(13))")
      func python(_ lines: String) throws {
        _ = try Peers.run(
          """
          import boto3, sys
          c = boto3.client("s3", endpoint_url=sys.argv[1], aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
          b = sys.argv[2]
          \(lines)
          """, [endpoint, bucket])
      }
      func post(_ path: String, _ body: JSONValue) throws -> Int {
        try cluster.http("POST", "/api/2.1/unity-catalog" + path, token: cluster.token, body: body.sortedText).status
      }
      try python(
        #"""
        c.create_bucket(Bucket=b)
        for n in range(80): c.put_object(Bucket=b, Key="drop/in/f%d.json" % (1000 + n), Body='{"n":%d}\n{"n":%d}\n' % (2 * n, 2 * n + 1))
        """#)
      let place = "s3://\(bucket)/drop/in"
      let file = """
        resources:
          jobs:
            j:
              name: load
              tasks:
                - task_key: load
                  max_retries: 3
                  ingest_task:
                    source: { path: "\(place)", format: json }
                    target: main.demo.numbers
                    trigger: available_now
                    max_files_per_batch: 10
        """
      // Outside of all external locations nothing is looked at.
      let outside = try cluster.cli(["sql", "select * from read_files('\(place)/*.json')"])
      #expect(outside.status != 0 && outside.all.contains("PLT-3260"), "\(outside.all)")
      let keys: JSONValue = ["access_key_id": "test-access", "secret_access_key": "very-secret-key", "endpoint": .string(endpoint)]
      #expect(try post("/storage-credentials", ["name": "moto", "s3_access_key": keys]) == 200)
      #expect(try post("/external-locations", ["name": "drop", "url": .string("s3://\(bucket)/drop"), "credential_name": "moto"]) == 200)
      #expect(try cluster.scalar("select count(*) || '/' || sum(n) from read_files('\(place)/f100*.json')") == "20/190")

      // The table lies in the bucket, too.
      let table = try cluster.cli(["sql", "create table main.demo.numbers (n bigint) location 's3://\(bucket)/drop/numbers'"])
      #expect(table.status == 0, "\(table.all)")
      let run = try cluster.submit(file)
      var random = SplitMix64(seed: 23)
      for round in 0..<4 {
        usleep(UInt32.random(in: 300_000...2_500_000, using: &random))
        if round % 2 == 0 {
          for process in cluster.processes(["coordinator"]) { kill(process, SIGKILL) }
        } else if let executor = cluster.executor("\(run)_load_") {
          kill(executor, SIGKILL)
        }
      }
      let done = try cluster.finish(run)
      #expect(done["state"]?.stringValue?.uppercased() == "SUCCEEDED", "\(done.sortedText)")
      #expect(try cluster.scalar("select count(*) || '/' || count(distinct n) || '/' || sum(n) from main.demo.numbers") == "160/160/12720")

      // What is new comes with the next run; an object of the same size that was replaced is another one, and left alone.
      try python(
        #"""
        c.put_object(Bucket=b, Key="drop/in/f1000.json", Body='{"n":8}\n{"n":9}\n')
        c.put_object(Bucket=b, Key="drop/in/a.json", Body='{"n":1000,"extra":"x"}\nnonsense\n')
        """#)
      let second = try cluster.finish(try cluster.submit(file))
      #expect(second["state"]?.stringValue?.uppercased() == "SUCCEEDED", "\(second.sortedText)")
      #expect(try cluster.scalar("select count(*) || '/' || max(extra) from main.demo.numbers") == "161/x")
      #expect(try cluster.scalar("select file || ':' || line || ':' || raw from main.demo.numbers_quarantine") == .string("\(place)/a.json:2:nonsense"))
      let metrics = try cluster.http("GET", "/metrics", token: cluster.token).body
      #expect(metrics.contains(#"platform_ingest_files_changed{source="\#(place)",table="main.demo.numbers"} 1"#), "\(metrics)")

      // Each file once into a table by hand, too: in a folder, and in the bucket by its rules and partitions.
      #expect(try cluster.cli(["sql", "create table main.demo.c (n bigint)"]).status == 0)
      let ruled = try cluster.cli([
        "sql",
        "create table main.demo.d (n bigint not null, p bigint generated always as (n % 2)) partitioned by (p) location 's3://\(bucket)/drop/d'",
      ])
      #expect(ruled.status == 0, "\(ruled.all)")
      for target in ["c", "d"] {
        for _ in 0..<2 {
          let copied = try cluster.cli(["sql", "copy into main.demo.\(target) from '\(place)' fileformat = json pattern = 'f101?.json'"])
          #expect(copied.status == 0, "\(copied.all)")
        }
        #expect(try cluster.scalar("select count(*) || '/' || sum(n) from main.demo.\(target)") == "20/590")
      }
      #expect(try cluster.scalar("select count(*) from main.demo.d where p = 1") == 10)
      try put(cluster.data, "pushed.ndjson", "{\"n\":5000}\n")
      let pushed = try cluster.cli(["tables", "append", "main.demo.numbers", cluster.data + "/pushed.ndjson", "--batch-id", "one"])
      #expect(pushed.status == 0, "\(pushed.all)")
      // What attempts wrote that did not count is not named by the log; what is named is there once.
      try python(
        """
        import deltalake
        o = {"AWS_ENDPOINT_URL": sys.argv[1], "AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
        n = sorted(deltalake.DeltaTable("s3://%s/drop/numbers" % b, storage_options=o).to_pyarrow_table(columns=["n"])["n"].to_pylist())
        assert n == list(range(160)) + [1000, 5000], n
        sys.stdout.flush()
        __import__("os")._exit(0)
        """)
      let leaked = try LocalCluster.run("/bin/grep", ["-rl", "very-secret-key", cluster.data], timeout: 60)
      #expect(leaked.out == "", "\(leaked.out)")
    }

    @Test func everyFileOnceWhateverIsKilled() throws {
      let cluster = try LocalCluster("ingest")
      #expect(try cluster.start(workers: 2).status == 0)
      let folder = try volume(cluster)
      let count = 120
      for number in 0..<count { try put(folder, "in/f\(1000 + number).json", "{\"n\":\(number * 2)}\n{\"n\":\(number * 2 + 1)}\n") }
      let file = """
        resources:
          jobs:
            j:
              name: load
              tasks:
                - task_key: load
                  max_retries: 3
                  ingest_task:
                    source: { path: /Volumes/main/demo/in/in, format: json }
                    target: main.demo.numbers
                    trigger: available_now
                    max_files_per_batch: 10
        """
      let run = try cluster.submit(file)
      var random = SplitMix64(seed: 11)
      for round in 0..<4 {
        usleep(UInt32.random(in: 300_000...2_500_000, using: &random))
        if round % 2 == 0 {
          for process in cluster.processes(["coordinator"]) { kill(process, SIGKILL) }
        } else if let executor = cluster.executor("\(run)_load_") {
          kill(executor, SIGKILL)
        }
      }
      let done = try cluster.finish(run)
      #expect(done["state"]?.stringValue?.uppercased() == "SUCCEEDED", "\(done.sortedText)")
      #expect(try cluster.scalar("select count(*) || '/' || count(distinct n) || '/' || sum(n) from main.demo.numbers") == "240/240/28680")

      // A second run loads what is new, takes up the new column, and leaves changed files alone.
      try put(folder, "in/f1000.json", "{\"n\":1}\n")
      try put(folder, "in/g.json", "{\"n\":1000,\"extra\":\"x\"}\nnonsense\n")
      let second = try cluster.finish(try cluster.submit(file))
      #expect(second["state"]?.stringValue?.uppercased() == "SUCCEEDED", "\(second.sortedText)")
      #expect(try cluster.scalar("select count(*) || '/' || max(extra) from main.demo.numbers") == "241/x")
      #expect(try cluster.scalar("select raw || line from main.demo.numbers_quarantine") == "nonsense2")
      let metrics = try cluster.http("GET", "/metrics", token: cluster.token).body
      #expect(metrics.contains(#"platform_ingest_files_changed{source="/Volumes/main/demo/in/in",table="main.demo.numbers"} 1"#), "\(metrics)")
      #expect(metrics.contains(#"platform_ingest_files_waiting{source="/Volumes/main/demo/in/in",table="main.demo.numbers"} 0"#))
    }
  }
}
