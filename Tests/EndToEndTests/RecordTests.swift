// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// Records that clients push are in the table once, whoever is killed meanwhile.
  @Suite(.serialized) struct RecordTests {
    /// Pushes until every batch was answered: the answers by batch, each as `version rows replayed`.
    private static let pusher = """
      import sys, json, threading, time, urllib.request, urllib.error
      host, token, table, pushers, batches, seconds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), float(sys.argv[6])
      answers, problems = {}, []
      def send(batch, body, kind='application/x-ndjson', extra={}):
        request = urllib.request.Request(f'http://{host}/api/2.1/unity-catalog/tables/{table}/records', data=body, method='POST',
          headers={'Authorization': 'Bearer ' + token, 'Content-Type': kind, 'Idempotency-Key': batch, **extra})
        with urllib.request.urlopen(request, timeout=60) as answer: return json.load(answer)
      def work(p):
        for b in range(batches):
          name = f'{p}-{b}'
          body = ''.join(json.dumps({'id': (p * batches + b) * 3 + i, 'batch': name, 'part': p % 2}) + '\\n' for i in range(3)).encode()
          while True:
            try:
              one = send(name, body)
              again = send(name, body)
              if again['version'] != one['version'] or not again['replayed'] or again['rows'] != 3: problems.append((name, one, again))
              answers[name] = one
              break
            except urllib.error.HTTPError as error:
              if error.code not in (429, 503, 504, 409): problems.append((name, error.code, error.read().decode())); break
            except Exception: pass
            time.sleep(0.2)
          time.sleep(seconds / batches)
      threads = [threading.Thread(target=work, args=(p,)) for p in range(pushers)]
      [t.start() for t in threads]; [t.join() for t in threads]
      print(json.dumps({'answered': len(answers), 'versions': len({a['version'] for a in answers.values()}), 'problems': problems[:5]}))
      """

    @Test(.enabled(if: Peers.python != nil, "no peer environment")) func everyBatchOnceWhateverIsKilled() throws {
      let cluster = try LocalCluster("push")
      #expect(try cluster.start(workers: 1).status == 0)
      let made = try cluster.cli([
        "sql", "create table main.demo.pushed (id bigint not null, batch varchar, part int) partitioned by (part)",
      ])
      #expect(made.status == 0, "\(made.all)")
      let killer = Thread {
        var random = SplitMix64(seed: 5)
        for _ in 0..<3 {
          usleep(UInt32.random(in: 1_500_000...3_000_000, using: &random))
          for process in cluster.processes(["coordinator"]) { kill(process, SIGKILL) }
        }
      }
      killer.start()
      let answer = try JSONValue(parsing: Peers.run(Self.pusher, [cluster.http, cluster.token, "main.demo.pushed", "16", "6", "12"]))
      #expect(answer["answered"] == 96 && answer["problems"] == [], "\(answer.sortedText)")
      let versions = answer["versions"]?.intValue ?? 0
      #expect(versions > 0 && versions < 96, "batches that met did not share commits: \(versions) versions")
      let read = try Peers.run(
        """
        import sys, deltalake
        t = deltalake.DeltaTable(sys.argv[1]).to_pyarrow_table()
        ids = t['id'].to_pylist()
        print(len(ids), len(set(ids)), sum(ids))
        """, [try location(cluster, "main.demo.pushed")])
      #expect(read == "288 288 41328\n")
      #expect(try cluster.scalar("select count(*) || '/' || count(distinct batch) from main.demo.pushed") == "288/96")
    }

    private func location(_ cluster: LocalCluster, _ table: String) throws -> String {
      let text = try JSONValue(parsing: cluster.cli(["tables", "get", table, "-o", "json"]).out)["storage_location"]?.stringValue ?? ""
      return text.hasPrefix("file://") ? String(text.dropFirst(7)) : text
    }

    @Test func recordsAreCheckedAndFilesAppended() throws {
      let cluster = try LocalCluster("append")
      #expect(try cluster.start(workers: 1).status == 0)
      #expect(
        try cluster.cli([
          "sql", "create table main.demo.e (id bigint not null, kind varchar default 'click', price decimal(9,2), check (price > 0 or price is null))",
        ]).status
          == 0)
      func push(_ body: String, _ headers: [String] = [], path: String = "main.demo.e/records", type: String = "application/x-ndjson") throws -> (
        Int, JSONValue
      ) {
        let file = try cluster.write(UUID().uuidString, body)
        let arguments =
          ["-s", "-w", "\n%{http_code}", "-X", "POST", "http://\(cluster.http)/api/2.1/unity-catalog/tables/\(path)", "--data-binary", "@\(file)"]
          + (["Authorization: Bearer \(cluster.token)", "Content-Type: \(type)"] + headers).flatMap { ["-H", $0] }
        let lines = try LocalCluster.run("/usr/bin/curl", arguments, timeout: 60).out.split(separator: "\n")
        return (Int(lines.last ?? "") ?? 0, try JSONValue(parsing: lines.dropLast().joined(separator: "\n")))
      }
      let first = try push(#"{"id":1,"price":2.50}"# + "\n" + #"{"id":2,"kind":"view"}"#, ["Idempotency-Key: one"])
      #expect(first.0 == 200 && first.1["rows"] == 2 && first.1["batch_id"] == "one" && first.1["replayed"] == false, "\(first)")
      let again = try push(#"{"id":99}"#, path: "main.demo.e/records?batch_id=one")
      #expect(again.0 == 200 && again.1["version"] == first.1["version"] && again.1["replayed"] == true, "\(again)")
      let bad = try push(#"{"id":3}"# + "\n" + #"{"id":4,"price":-1}"#)
      #expect(
        bad.0 == 400 && bad.1["message"]?.stringValue?.contains("record 2: ") == true && bad.1["message"]?.stringValue?.contains("price") == true, "\(bad)")
      #expect(try push(#"{"id":3}"#, type: "text/plain").0 == 400)
      #expect(try push(#"{"id":3}"#, ["Idempotency-Key: \(String(repeating: "x", count: 200))"]).0 == 400)
      #expect(try push(#"{"id":3}"#, path: "main.demo.none/records").0 == 404)
      #expect(try push("", path: "main.demo.e/records").0 == 400)
      #expect(try cluster.http("POST", "/api/2.1/unity-catalog/tables/main.demo.e/records", token: nil, body: "{}").status == 401)
      // The command cuts files, and the same file under the same identifier adds nothing.
      let line = #"{"id":7,"kind":""# + String(repeating: "k", count: 200) + "\"}\n"
      let file = try cluster.write("events.ndjson", String(repeating: line, count: 45_000))
      for _ in 0..<2 {
        let appended = try cluster.cli(["tables", "append", "main.demo.e", file, "--batch-id", "day-17", "-o", "json"])
        #expect(appended.status == 0, "\(appended.all)")
        let answer = try JSONValue(parsing: appended.out)
        #expect(answer["rows"] == 45_000 && answer["batches"] == 2, "\(appended.all)")
      }
      // It is cut at the same lines however it comes.
      let piped = try LocalCluster.run(
        "/bin/sh", ["-c", #"dd bs=7777 if="$1" 2>/dev/null | "$0" tables append main.demo.e - --batch-id day-17 -o json"#, LocalCluster.binary, file],
        timeout: 120, environment: ["PLATFORM_HOME": cluster.data])
      #expect(try piped.status == 0 && JSONValue(parsing: piped.out)["replayed"] == 2, "\(piped.all)")
      let wrong = try cluster.cli(["tables", "append", "main.demo.e", cluster.write("bad.ndjson", "{\"id\":1}\n{\"colour\":1}\n")])
      #expect(wrong.status != 0 && wrong.err.contains("colour"), "\(wrong.all)")
      #expect(try cluster.scalar("select count(*) || '/' || count(distinct kind) || '/' || sum(price) from main.demo.e") == "45002/3/2.50")
    }

    @Test func filesOfThisMachineAreImported() throws {
      let cluster = try LocalCluster("import")
      #expect(try cluster.start(workers: 1).status == 0)
      let folder = cluster.folder.file("exports")
      try FileManager.default.createDirectory(atPath: folder + "/b", withIntermediateDirectories: true)
      try Data("id;name\n1;one\n2;two\n".utf8).write(to: URL(fileURLWithPath: folder + "/a.csv"))
      try Data("id;name;more\n3;three;x\nbroken\n".utf8).write(to: URL(fileURLWithPath: folder + "/b/b.csv"))
      let first = try cluster.cli(["import", folder, "main.demo.imported", "--set", "delimiter=;"])
      #expect(first.status == 0 && first.err.contains("3 rows, 1 bad records in main.demo.imported_quarantine"), "\(first.all)")
      let second = try cluster.cli(["import", folder + "/a.csv", "main.demo.imported", "--set", "delimiter=;", "-o", "json"])
      #expect(second.status == 0, "\(second.all)")
      #expect(try JSONValue(parsing: second.out)["rows_out"] == 2)
      #expect(try cluster.scalar("select count(*) || '/' || sum(id) || '/' || max(more) from main.demo.imported") == "5/9/x")
      let left = try cluster.cli(["fs", "ls", "/Volumes/main/demo/imports"])
      #expect(left.status == 0 && left.out.trimmingCharacters(in: .whitespacesAndNewlines).isEmpty, "\(left.all)")
      for arguments in [["none.csv", "main.demo.t"], [folder, "demo.t"], ["s3://bucket/x", "main.demo.t"], [folder, "main.demo.t", "--from", "x"]] {
        #expect(try cluster.cli(["import"] + arguments).status != 0)
      }
    }
  }
}
