// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// Not a test of what is right but a measurement: how many files a second an `ingest_task` and a COPY INTO load from one folder, in their first
  /// and last tenths. `INGEST_FILES=100000 swift test --filter IngestScaleTests`, and `INGEST_OBJECTS` for a bucket.
  @Suite(.serialized) struct IngestScaleTests {
    static let files = ProcessInfo.processInfo.environment["INGEST_FILES"].flatMap { Int($0) }
    static let objects = ProcessInfo.processInfo.environment["INGEST_OBJECTS"].flatMap { Int($0) }
    private static let batch = 1000

    private func load(_ cluster: LocalCluster, from place: String, into table: String) throws {
      let begun = ContinuousClock.now
      let run = try cluster.submit(
        """
        resources:
          jobs:
            j:
              name: load
              tasks:
                - task_key: load
                  ingest_task: { source: { path: "\(place)", format: json }, target: \(table), trigger: available_now, max_files_per_batch: \(Self.batch) }
        """)
      let done = try cluster.finish(run, seconds: 7200)
      #expect(done["state"]?.stringValue?.uppercased() == "SUCCEEDED", "\(done.sortedText)")
      print("ingest \(place): \(ContinuousClock.now - begun) with its listing")
    }

    /// Rates between the commits of a table in a folder.
    private func rates(_ cluster: LocalCluster, _ table: String, files: Int) throws -> (first: Double, last: Double) {
      let detail = try JSONValue(parsing: cluster.cli(["sql", "describe detail \(table)", "-o", "json"]).out)
      let location = detail["rows"]?.arrayValue?.first?.arrayValue?.compactMap(\.stringValue).first { $0.hasPrefix("file://") } ?? ""
      let log = location.dropFirst(7) + "/_delta_log"
      let times = try FileManager.default.contentsOfDirectory(atPath: String(log)).filter { $0.hasSuffix(".json") && !$0.hasPrefix("_") }.sorted().map { name in
        var info = stat()
        stat("\(log)/\(name)", &info)
        return Double(info.st_mtim.tv_sec) + Double(info.st_mtim.tv_nsec) * 1e-9
      }
      let commits = Array(times.suffix(files / Self.batch))
      let tenth = max(1, commits.count / 10)
      func rate(_ part: ArraySlice<Double>) -> Double {
        guard let first = part.first, let last = part.last, last > first else { return .infinity }
        return Double((part.count - 1) * Self.batch) / (last - first)
      }
      return (rate(commits.prefix(tenth + 1)), rate(commits.suffix(tenth + 1)))
    }

    @Test(.enabled(if: files != nil, "INGEST_FILES says how many, by hand")) func aFolderOfManyFiles() throws {
      let count = Self.files ?? 0
      let cluster = try LocalCluster("many-files")
      #expect(try cluster.start(workers: 2).status == 0)
      #expect(try cluster.cli(["volumes", "create", "main.demo.in"]).status == 0)
      let location = try JSONValue(parsing: cluster.cli(["volumes", "get", "main.demo.in", "-o", "json"]).out)["storage_location"]?.stringValue ?? ""
      let folder = location.replacing("file://", with: "") + "/many"
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      for number in 0..<count {
        let file = open("\(folder)/f\(10_000_000 + number).json", O_WRONLY | O_CREAT | O_EXCL, 0o644)
        _ = "{\"n\":\(number),\"name\":\"row \(number)\"}\n".withCString { write(file, $0, strlen($0)) }
        close(file)
      }
      try load(cluster, from: "/Volumes/main/demo/in/many", into: "main.demo.many")
      #expect(try cluster.scalar("select count(*) || '/' || count(distinct n) from main.demo.many") == .string("\(count)/\(count)"))
      let (first, last) = try rates(cluster, "main.demo.many", files: count)
      print("ingest: \(count) files of a folder; \(Int(first)) a second in the first tenth, \(Int(last)) in the last")
      // Nothing is new: what a run costs that finds all of them known.
      try load(cluster, from: "/Volumes/main/demo/in/many", into: "main.demo.many")
      #expect(try cluster.cli(["sql", "create table main.demo.copied (n bigint, name string)"]).status == 0)
      for what in ["all", "none"] {
        let begun = ContinuousClock.now
        let copied = try cluster.cli(["sql", "copy into main.demo.copied from '/Volumes/main/demo/in/many' fileformat = json"], timeout: 3600)
        #expect(copied.status == 0, "\(copied.all)")
        print("copy into, \(what) of \(count) files new: \(ContinuousClock.now - begun)")
      }
      #expect(try cluster.scalar("select count(*) from main.demo.copied") == .integer(Int64(count)))
    }

    @Test(.enabled(if: objects != nil, "INGEST_OBJECTS says how many, by hand")) func aBucketOfManyObjects() throws {
      let count = Self.objects ?? 0
      let cluster = try LocalCluster("many-objects")
      #expect(try cluster.start(workers: 2).status == 0)
      let (endpoint, bucket) = (try MotoServer.shared().endpoint, "many-\(UUID().uuidString.lowercased().prefix(13))")
      _ = try Peers.run(
        #"""
        import boto3, sys
        from concurrent.futures import ThreadPoolExecutor
        c = boto3.client("s3", endpoint_url=sys.argv[1], aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
        b = sys.argv[2]
        c.create_bucket(Bucket=b)
        put = lambda n: c.put_object(Bucket=b, Key="drop/in/f%d.json" % (10000000 + n), Body='{"n":%d,"name":"row %d"}\n' % (n, n))
        with ThreadPoolExecutor(8) as e: list(e.map(put, range(int(sys.argv[3]))))
        """#, [endpoint, bucket, String(count)])
      let keys: JSONValue = ["access_key_id": "test-access", "secret_access_key": "very-secret-key", "endpoint": .string(endpoint)]
      for (path, body) in [
        ("storage-credentials", ["name": "moto", "s3_access_key": keys] as JSONValue),
        ("external-locations", ["name": "drop", "url": .string("s3://\(bucket)/drop"), "credential_name": "moto"]),
      ] {
        #expect(try cluster.http("POST", "/api/2.1/unity-catalog/\(path)", token: cluster.token, body: body.sortedText).status == 200)
      }
      // What the server can do by itself on this machine: it is most of the work.
      let alone = try Peers.run(
        #"""
        import http.client, sys, time
        from concurrent.futures import ThreadPoolExecutor
        host, bucket, count = sys.argv[1].split("//")[1], sys.argv[2], min(int(sys.argv[3]), 3000)
        auth = {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"}
        def get(n):
            c = http.client.HTTPConnection(host)
            c.request("GET", "/%s/drop/in/f%d.json" % (bucket, 10000000 + n), headers=auth)
            answer = c.getresponse()
            assert answer.status == 200 and answer.read()
            c.close()
        begun = time.time()
        with ThreadPoolExecutor(16) as e: list(e.map(get, range(count)))
        print(round(count / (time.time() - begun)), end="")
        """#, [endpoint, bucket, String(count)])
      print("ingest: the server answers \(alone) GETs a second when nothing else is asked of it")
      func requests() throws -> String { try LocalCluster.run("/usr/bin/curl", ["-s", endpoint + "/__requests"], timeout: 60).out }
      print("ingest: requests before: \(try requests())")
      try load(cluster, from: "s3://\(bucket)/drop/in", into: "main.demo.many")
      print("ingest: requests behind: \(try requests())")
      #expect(try cluster.scalar("select count(*) || '/' || count(distinct n) from main.demo.many") == .string("\(count)/\(count)"))
      let (first, last) = try rates(cluster, "main.demo.many", files: count)
      print("ingest: \(count) objects of a bucket; \(Int(first)) a second in the first tenth, \(Int(last)) in the last")
      // Nothing is new.
      try load(cluster, from: "s3://\(bucket)/drop/in", into: "main.demo.many")
      print("ingest: requests behind the second run: \(try requests())")
    }
  }
}
