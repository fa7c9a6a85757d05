// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

/// One cluster at a time: two cores are shared by all its processes.
@Suite(.serialized) enum EndToEnd {}

extension EndToEnd {
  /// Real processes: supervisor, private Postgres, coordinator, workers, executors, driven as a person would.
  @Suite(.serialized) struct ClusterTests {
    @Test func startsOnceStopsAndPurges() throws {
      let cluster = try LocalCluster("updown")
      let first = try cluster.start(workers: 1)
      #expect(first.status == 0, "\(first.all)")
      #expect(first.err.contains("Console"))
      let again = try cluster.start(workers: 1)
      #expect(again.status == 0 && again.err.contains("already running"), "\(again.all)")
      #expect(try cluster.cli(["sql", "create table main.default.kept as select 42 as answer"]).status == 0)
      #expect(try cluster.cli(["down"]).err.contains("stopped"))
      #expect(try cluster.cli(["down"]).err.contains("already stopped"))
      let unreachable = try cluster.cli(["status"])
      #expect(unreachable.status == 69 && unreachable.err.contains("platform up"), "\(unreachable.all)")
      #expect(try cluster.start(workers: 1).status == 0)
      #expect(try cluster.scalar("select answer from main.default.kept") == 42)
      #expect(try cluster.cli(["down", "--purge"]).status == 64, "purging needs a confirmation")
      let purged = try cluster.cli(["down", "--purge", "--yes"])
      #expect(purged.status == 0, "\(purged.all)")
      #expect(!FileManager.default.fileExists(atPath: cluster.data))
      #expect(cluster.processes([]).isEmpty)
    }

    @Test func badInputIsExplainedWithItsExitCode() throws {
      let cluster = try LocalCluster("bad")
      // Before anything runs: the port is taken.
      let taken = try #require(Int(cluster.http.split(separator: ":")[1]))
      let blocker = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = UInt16(taken).bigEndian
      address.sin_addr.s_addr = inet_addr("127.0.0.1")
      let bound = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(blocker, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
      }
      #expect(bound == 0 && listen(blocker, 1) == 0)
      let inUse = try cluster.start()
      #expect(inUse.status == 73 && inUse.err.contains("\(taken)") && inUse.err.contains("--bind"), "\(inUse.all)")
      close(blocker)

      #expect(try cluster.start(workers: 1).status == 0)
      let misspelt = try cluster.cli(["runs", "wacth", "1"])
      #expect(misspelt.status == 64 && misspelt.err.contains("Did you mean 'platform runs watch'?"), "\(misspelt.all)")
      let missing = try cluster.cli(["submit", "/no/such/file.yml"])
      #expect(missing.status == 66 && missing.err.contains("/no/such/file.yml"), "\(missing.all)")
      let broken = try cluster.cli(["submit", try cluster.write("broken.yml", "resources:\n  jobs: [unclosed\n")])
      #expect(broken.status == 65, "\(broken.all)")
      let unknown = try cluster.cli([
        "submit",
        try cluster.write(
          "kind.yml",
          "resources:\n  jobs:\n    j:\n      name: n\n      tasks:\n        - task_key: a\n          ingst_task: { table: main.demo.d }\n"
        ),
      ])
      #expect(unknown.status == 65 && unknown.err.contains("ingest_task") && unknown.err.contains("7"), "\(unknown.all)")
      let cycle = try cluster.cli([
        "submit",
        try cluster.write(
          "cycle.yml",
          """
          resources:
            jobs:
              j:
                name: n
                tasks:
                  - { task_key: a, depends_on: [ { task_key: b } ], sql_task: { statement: select 1 } }
                  - { task_key: b, depends_on: [ { task_key: a } ], sql_task: { statement: select 1 } }
          """),
      ])
      #expect(cycle.status == 65 && cycle.err.contains("a -> b"), "\(cycle.all)")
      let noRun = try cluster.cli(["runs", "get", "999"])
      #expect(noRun.status == 66, "\(noRun.all)")
      let wrongToken = try cluster.cli(["status"], environment: ["PLATFORM_TOKEN": "plt_wrong"])
      #expect(wrongToken.status == 77 && wrongToken.err.contains("token"), "\(wrongToken.all)")
      let wrongJoin = try cluster.cli(
        ["join", cluster.joinAddress, "--token", "pt1.nonsense", "--name", "stranger"], timeout: 30)
      #expect(wrongJoin.status == 64 && wrongJoin.err.contains("token"), "\(wrongJoin.all)")
      let badSQL = try cluster.cli(["sql", "select * from main.demo.nothing"])
      #expect(badSQL.status == 66 && badSQL.err.contains("main.demo.nothing"), "\(badSQL.all)")
      #expect(badSQL.err.hasPrefix("✗ table 'main.demo.nothing'"), "\(badSQL.all)")
      let column = try cluster.cli(["sql", "select nothing from range(3)"])
      #expect(column.status == 64 && !column.err.contains("LINE") && column.err.hasPrefix("✗ Binder Error"), "\(column.all)")
      let stolen = try cluster.cli(["sql", "select * from read_csv('/etc/passwd')"])
      #expect(stolen.status == 77 && !stolen.all.contains("root:"), "\(stolen.all)")
      let json = try cluster.cli(["sql", "select * from main.demo.nothing", "-o", "json"])
      #expect(try JSONValue(parsing: json.err)["code"] == "PLT-3002", "\(json.all)")

      // A folder without anything readable, and one with a single 5 MB line.
      let empty = cluster.folder.file("empty")
      try FileManager.default.createDirectory(atPath: empty, withIntermediateDirectories: true)
      try Data([0, 1, 2, 3]).write(to: URL(fileURLWithPath: empty + "/program.txt"))
      func ingest(_ input: String) -> String {
        "resources:\n  jobs:\n    j:\n      name: n\n      tasks:\n        - task_key: a\n          ingest_task: { input: \"\(input)\", table: main.demo.d }\n"
      }
      let failed = try cluster.finish(try cluster.submit(ingest(empty)))
      #expect(failed["state"] == "FAILED" && failed.task("a").sortedText.contains("PLT-3101"), "\(failed.sortedText)")
      let long = cluster.folder.file("long")
      try FileManager.default.createDirectory(atPath: long, withIntermediateDirectories: true)
      try Data(String(repeating: "all in one line ", count: 330_000).utf8).write(to: URL(fileURLWithPath: long + "/one.txt"))
      let fine = try cluster.finish(try cluster.submit(ingest(long)))
      #expect(fine["state"] == "SUCCEEDED", "\(fine.sortedText)")
      #expect(try cluster.scalar("select max(length(content)) > 5000000 from main.demo.d") == true)
    }

    /// Clients that send too much, too little or nonsense get an answer or are cut off; nobody else notices.
    @Test func hostileRequestsHarmNobody() throws {
      let cluster = try LocalCluster("hostile")
      #expect(try cluster.start(workers: 0).status == 0)
      let script = """
        import json, socket, sys, time
        host, port, token = sys.argv[1], int(sys.argv[2]), sys.argv[3]
        auth = f"Authorization: Bearer {token}\\r\\n"
        def send(raw, wait=20):
            s = socket.create_connection((host, port), timeout=wait)
            try:
                s.sendall(raw)
                return s.recv(65536).split(b"\\r\\n")[0].decode(errors="replace")
            except (ConnectionError, socket.timeout) as e:
                return type(e).__name__
            finally:
                s.close()
        def post(path, body, extra=""):
            head = f"POST {path} HTTP/1.1\\r\\nHost: {host}:{port}\\r\\n{auth}{extra}Content-Type: application/json\\r\\nContent-Length: {len(body)}\\r\\nConnection: close\\r\\n\\r\\n"
            return send(head.encode() + body)
        silent = [socket.create_connection((host, port)) for _ in range(300)]
        for s in silent[:100]: s.sendall(b"GET /healthz HTTP/1.1\\r\\nHost: x")
        seen = {
          "deep": post("/api/2.0/sql/statements", b"[" * 200000),
          "deep object": post("/v1/completions", b'{"a":' * 100000),
          "large": post("/api/2.0/sql/statements", b'{"statement":"' + b"x" * (9 << 20) + b'"}'),
          "not text": post("/v1/chat/completions", bytes(range(256))),
          "wrong length": send(f"POST /v1/completions HTTP/1.1\\r\\nHost: x\\r\\n{auth}Content-Length: -5\\r\\n\\r\\n".encode()),
          "two lengths": send(f"POST /v1/completions HTTP/1.1\\r\\nHost: {host}\\r\\n{auth}Content-Length: 5\\r\\nContent-Length: 6\\r\\n\\r\\nabcdef".encode()),
          "smuggling": send(f"POST /v1/completions HTTP/1.1\\r\\nHost: {host}\\r\\n{auth}Content-Length: 5\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n".encode()),
          "header": send(b"GET /healthz HTTP/1.1\\r\\nHost: x\\r\\nX: " + b"y" * (1 << 20) + b"\\r\\n\\r\\n"),
          "nonsense": send(b"\\x16\\x03\\x01\\x02\\x00\\x01\\x00\\x01\\xfc\\x03\\x03\\r\\n\\r\\n"),
          "dots": send(f"GET /../../etc/passwd HTTP/1.1\\r\\nHost: {host}:{port}\\r\\n{auth}Connection: close\\r\\n\\r\\n".encode()),
          "other site": send(f"POST /api/2.2/jobs/runs/cancel HTTP/1.1\\r\\nHost: {host}:{port}\\r\\nOrigin: http://evil.example\\r\\n{auth}Content-Length: 2\\r\\nConnection: close\\r\\n\\r\\n{{}}".encode()),
          "rebound": send(f"GET / HTTP/1.1\\r\\nHost: evil.example\\r\\nCookie: platform_session={token}\\r\\nConnection: close\\r\\n\\r\\n".encode()),
        }
        # An error to HEAD has no body: what follows on the connection is the next answer.
        s = socket.create_connection((host, port), timeout=20)
        for method, path in (("HEAD", "/api/2.0/fs/files/Volumes/none/none/none/x"), ("HEAD", "/nothing"), ("GET", "/healthz")):
            s.sendall(f"{method} {path} HTTP/1.1\\r\\nHost: {host}:{port}\\r\\n{auth}\\r\\n".encode())
            received = b""
            while b"\\r\\n\\r\\n" not in received: received += s.recv(65536)
            time.sleep(0.2)
            if method == "HEAD": seen["head " + path] = received.split(b"\\r\\n\\r\\n", 1)[1].decode()
            else: seen["after heads"] = received.split(b"\\r\\n")[0].decode()
        print(json.dumps(seen))
        """
      let parts = cluster.http.split(separator: ":").map(String.init)
      let answer = try LocalCluster.run("/usr/bin/env", ["python3", "-c", script, parts[0], parts[1], cluster.token], timeout: 120)
      let seen = try JSONValue(parsing: answer.out.isEmpty ? "{}" : answer.out)
      func code(_ name: String) -> Int { Int(seen[name]?.stringValue?.split(separator: " ").dropFirst().first ?? "") ?? 0 }
      for name in ["deep", "deep object", "large", "not text"] { #expect((400..<500).contains(code(name)), "\(name): \(answer.all)") }
      #expect(code("dots") == 404, "\(answer.all)")
      #expect(code("other site") == 403 && code("rebound") == 403, "\(answer.all)")
      #expect(code("after heads") == 200, "\(answer.all)")
      // Cut off, or refused: never taken.
      for name in ["wrong length", "two lengths", "smuggling", "header", "nonsense"] { #expect(!(200..<300).contains(code(name)), "\(name): \(answer.all)") }
      #expect(try cluster.http("GET", "/healthz", token: nil).status == 200)
      #expect(try cluster.cli(["status"]).status == 0)
      #expect(cluster.processes(["coordinator"]).count == 1)
    }

    @Test func everyRouteButHealthNeedsTheToken() throws {
      let cluster = try LocalCluster("access")
      #expect(try cluster.start(workers: 0).status == 0)
      for path in ["/healthz", "/readyz", "/livez"] {
        #expect(try cluster.http("GET", path, token: nil).status == 200, "\(path)")
      }
      for (method, path) in [
        ("GET", "/"), ("GET", "/console.js"), ("GET", "/metrics"), ("GET", "/v1/models"), ("POST", "/v1/completions"),
        ("POST", "/v1/chat/completions"), ("POST", "/v1/embeddings"), ("GET", "/api/2.0/status"), ("GET", "/api/2.0/nodes"),
        ("POST", "/api/2.0/join-tokens"), ("POST", "/api/2.2/jobs/runs/submit-file"), ("GET", "/api/2.2/jobs/runs/list"),
        ("POST", "/api/2.2/jobs/runs/cancel"), ("POST", "/api/2.0/sql/statements"), ("GET", "/api/2.0/serving-endpoints"),
        ("PUT", "/api/2.0/serving-endpoints/x/scale"), ("GET", "/api/2.0/console/events"), ("GET", "/nothing"),
        ("DELETE", "/v1/models"),
      ] {
        #expect(
          try cluster.http(method, path, token: nil, body: method == "GET" ? nil : "{}").status == 401, "\(method) \(path)")
        #expect(
          try cluster.http(method, path, token: "plt_x", body: method == "GET" ? nil : "{}").status == 401,
          "\(method) \(path)")
      }
      #expect(try cluster.http("GET", "/metrics", token: cluster.token).status == 200)
      #expect(try cluster.http("GET", "/", token: cluster.token).body.contains("<html"))
      // A sign-in link works once, and only a token makes one.
      #expect(try cluster.http("POST", "/api/2.0/login-links", token: nil, body: "{}").status == 401)
      let link = try cluster.cli(["open"]).out.trimmingCharacters(in: .whitespacesAndNewlines)
      let path = try #require(link.range(of: "/login").map { String(link[$0.lowerBound...]) })
      #expect(!link.contains(cluster.token))
      #expect(try cluster.http("GET", path, token: nil).status == 303)
      #expect(try cluster.http("GET", path, token: nil).status == 401)
      #expect(try cluster.http("GET", "/login?t=\(cluster.token)", token: nil).status == 401)
      #expect(try cluster.http("GET", "/api/2.2/jobs/runs/logs?run_id=1&attempt=x", token: cluster.token).status == 400)
      // The token is kept as a hash, in one private file, and nowhere in the logs.
      let mode = try FileManager.default.attributesOfItem(atPath: cluster.data + "/admin-token")[.posixPermissions] as? Int
      #expect(mode == 0o600)
      for log in try FileManager.default.contentsOfDirectory(atPath: cluster.data + "/logs") {
        let text = String(
          decoding: FileManager.default.contents(atPath: cluster.data + "/logs/" + log) ?? Data(), as: UTF8.self)
        #expect(!text.contains(cluster.token), "\(log)")
      }
    }
  }
}

extension LocalCluster {
  /// Where new nodes introduce themselves: the port above the nodes' one.
  var joinAddress: String {
    let parts = nodes.split(separator: ":")
    return "\(parts[0]):\(Int(parts[1])! + 1)"
  }
}
