// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// Statements over HTTP: their forms, their limits, and what becomes of them when a process dies.
  @Suite(.serialized) struct StatementTests {
    private let path = "/api/2.0/sql/statements"
    /// Minutes of work for any machine.
    private let endless = "select sum(a.range * b.range) from range(3000000) a, range(3000000) b"

    private func post(_ cluster: LocalCluster, _ body: JSONValue) throws -> (status: Int, body: JSONValue) {
      let answer = try cluster.http("POST", path, token: cluster.token, body: body.sortedText)
      return (answer.status, (try? JSONValue(parsing: answer.body)) ?? .null)  // no JSON: the test says so
    }

    private func get(_ cluster: LocalCluster, _ path: String) throws -> JSONValue {
      try JSONValue(parsing: cluster.http("GET", path, token: cluster.token).body)
    }

    private func state(_ value: JSONValue) -> String { value["status"]?["state"]?.stringValue ?? "" }

    @Test func resultsComeInEveryForm() throws {
      let cluster = try LocalCluster("statements")
      #expect(try cluster.start(workers: 1).status == 0)
      let one = try post(cluster, ["statement": "select 1 as a, 'x' as b, null as c, 1.50::decimal(5,2) as d, true as e, [1, 2] as f"]).body
      #expect(state(one) == "SUCCEEDED", "\(one.sortedText)")
      #expect(one["result"]?["data_array"] == [["1", "x", nil, "1.50", "true", "[1,2]"]])
      let columns = one["manifest"]?["schema"]?["columns"]?.arrayValue ?? []
      #expect(columns.map { $0["type_name"]?.stringValue ?? "" } == ["INT", "STRING", "INT", "DECIMAL", "BOOLEAN", "ARRAY"], "\(columns)")
      #expect(columns.map { $0["position"]?.intValue ?? -1 } == Array(0..<6))

      for (field, value) in [
        ("wait_timeout", "3s"), ("wait_timeout", "51s"), ("on_wait_timeout", "STOP"), ("disposition", "FILE"), ("format", "XML"), ("row_limit", 0),
        ("row_limit", "many"), ("engine", "spark"), ("statement", " "),
      ] as [(String, JSONValue)] {
        var body: [String: JSONValue] = ["statement": "select 1"]
        body[field] = value
        let answer = try post(cluster, .object(body))
        #expect(answer.status == 400 && answer.body["message"]?.stringValue?.contains(field) == true, "\(field): \(answer.body.sortedText)")
      }
      let wrong = try post(cluster, ["statement": "select nothing from nowhere"])
      #expect(wrong.status == 200 && state(wrong.body) == "FAILED")
      #expect(wrong.body["status"]?["error"]?["error_code"] == "NOT_FOUND", "\(wrong.body.sortedText)")

      // More than one chunk, in order and complete.
      let large = try post(cluster, ["statement": "select range as i, repeat('y', 200) as t from range(50000)"]).body
      #expect(large["manifest"]?["total_row_count"] == 50_000)
      var index: Int? = 0
      var seen = 0
      let id = large["statement_id"]?.stringValue ?? ""
      while let next = index {
        let chunk = try get(cluster, "\(path)/\(id)/result/chunks/\(next)")
        let rows = chunk["data_array"]?.arrayValue ?? []
        #expect(chunk["row_offset"]?.intValue == seen)
        #expect(rows.first?.arrayValue?.first == .string("\(seen)"))
        seen += rows.count
        index = chunk["next_chunk_index"]?.intValue
      }
      #expect(seen == 50_000)
      let limited = try post(cluster, ["statement": "select * from range(10)", "row_limit": 3]).body
      #expect(limited["result"]?["data_array"] == [["0"], ["1"], ["2"]] && limited["manifest"]?["truncated"] == true)

      // Links need no token, and only the right ones work.
      let csv = try post(
        cluster, ["statement": "select 1 as a, 'x,\"y\"' as b union all select null, 'z' order by 2 desc", "disposition": "EXTERNAL_LINKS", "format": "CSV"]
      ).body
      let link = csv["result"]?["external_links"]?.arrayValue?.first?["external_link"]?.stringValue ?? ""
      let fetched = try LocalCluster.run("/usr/bin/curl", ["-s", link], timeout: 20).out
      #expect(fetched == "a,b\r\nnull,z\r\n1,\"x,\"\"y\"\"\"\r\n", "\(csv.sortedText) \(fetched)")
      let forged = try LocalCluster.run("/usr/bin/curl", ["-s", "-w", "%{http_code}", link.replacingOccurrences(of: "/0?", with: "/1?")], timeout: 20).out
      #expect(forged.hasSuffix("403"))
      let stranger = try cluster.http("GET", "\(path)/00000000-0000-0000-0000-000000000000", token: cluster.token)
      #expect(stranger.status == 404)

      // Not waited for, then asked about, then cancelled.
      let slow = try post(cluster, ["statement": .string(endless), "wait_timeout": "0s"]).body
      #expect(["PENDING", "RUNNING"].contains(state(slow)))
      let slowPath = "\(path)/\(slow["statement_id"]?.stringValue ?? "")"
      try cluster.wait("the statement runs") { state(try get(cluster, slowPath)) == "RUNNING" }
      #expect(try cluster.http("POST", slowPath + "/cancel", token: cluster.token, body: "{}").status == 200)
      try cluster.wait("the statement is cancelled", seconds: 5) { state(try get(cluster, slowPath)) == "CANCELED" }
      let stopped = try post(cluster, ["statement": .string(endless), "wait_timeout": "5s", "on_wait_timeout": "CANCEL"]).body
      #expect(state(stopped) == "CANCELED", "\(stopped.sortedText)")

      // Waited for in vain, it goes on. The connection does not, and the client is told.
      let waited = try LocalCluster.run(
        "/usr/bin/curl",
        [
          "-s", "-i", "http://\(cluster.http)\(path)", "-H", "Authorization: Bearer \(cluster.token)", "-d",
          (["statement": .string(endless), "wait_timeout": "5s"] as JSONValue).sortedText,
        ], timeout: 60
      ).out.split(separator: "\r\n", omittingEmptySubsequences: true).map(String.init)
      #expect(waited.contains { $0.lowercased() == "connection: close" }, "\(waited)")
      let long = try JSONValue(parsing: waited.last ?? "")
      #expect(state(long) == "RUNNING", "\(long.sortedText)")
      Thread.sleep(forTimeInterval: 1)
      let longPath = "\(path)/\(long["statement_id"]?.stringValue ?? "")"
      #expect(state(try get(cluster, longPath)) == "RUNNING")
      #expect(try cluster.http("POST", longPath + "/cancel", token: cluster.token, body: "{}").status == 200)

      let history = try get(cluster, "/api/2.0/sql/history/queries?filter_by.statuses=CANCELED&max_results=1")
      #expect(history["res"]?.arrayValue?.count == 1 && history["has_next_page"] == true, "\(history.sortedText)")
      let warehouses = try get(cluster, "/api/2.0/sql/warehouses")
      #expect(warehouses["warehouses"]?.arrayValue?.first?["state"] == "RUNNING")
    }

    @Test(.enabled(if: Peers.python != nil, "no peer environment")) func databricksClientsRunStatements() throws {
      let cluster = try LocalCluster("statements-sdk")
      #expect(try cluster.start(workers: 1).status == 0)
      let seen = try Peers.run(
        """
        import sys, time, urllib.request, pyarrow.ipc as ipc
        from databricks.sdk import WorkspaceClient
        from databricks.sdk.service.sql import Disposition, Format, StatementParameterListItem, ExecuteStatementRequestOnWaitTimeout as OnWait
        w = WorkspaceClient(host=sys.argv[1], token=sys.argv[2], auth_type="pat")
        wid = [x.id for x in w.warehouses.list()][0]
        print(w.warehouses.get(wid).state.value)
        s = w.statement_execution
        r = s.execute_statement("select range as i, 'n' || range as t from range(3)", wid)
        print(r.status.state.value, r.result.data_array, [(c.name, c.type_name.value, c.type_text) for c in r.manifest.schema.columns])
        r = s.execute_statement("create table main.default.sdk as select range as i from range(10)", wid)
        print(r.status.state.value, s.execute_statement("delete from main.default.sdk where i < 4", wid).result.data_array)
        r = s.execute_statement("select nope", wid)
        print(r.status.state.value, r.status.error.error_code.value)
        r = s.execute_statement('''select range::integer as i, range / 4.0 as f, 't' || range as t, case when range % 3 = 0 then null else range end as n,
          [range, null] as l, {'a': range, 'b': 'x'} as s, date '2024-02-29' as d, timestamp '2024-01-02 03:04:05.678901' as ts, 12.50::decimal(9, 2) as c,
          map {'k': range} as m, range % 2 = 0 as b, 'bytes'::blob as x from range(5000)''', wid, disposition=Disposition.EXTERNAL_LINKS, format=Format.ARROW_STREAM)
        t = ipc.open_stream(urllib.request.urlopen(r.result.external_links[0].external_link)).read_all()
        t.validate(full=True)
        print(t.num_rows, t.slice(4999, 1).to_pylist())
        print([str(f.type) for f in t.schema])
        r = s.execute_statement(sys.argv[3], wid, wait_timeout="0s")
        s.cancel_execution(r.statement_id)
        while s.get_statement(r.statement_id).status.state.value in ("PENDING", "RUNNING"): time.sleep(0.05)
        print(s.get_statement(r.statement_id).status.state.value)
        print(len(w.query_history.list(max_results=50).res) >= 5)
        """, ["http://\(cluster.http)", cluster.token, endless])
      let lines = seen.split(separator: "\n").map(String.init)
      #expect(lines.first == "RUNNING")
      #expect(lines.dropFirst().first == "SUCCEEDED [['0', 'n0'], ['1', 'n1'], ['2', 'n2']] [('i', 'LONG', 'BIGINT'), ('t', 'STRING', 'STRING')]", "\(seen)")
      #expect(seen.contains("SUCCEEDED [['4']]") && seen.contains("FAILED BAD_REQUEST"), "\(seen)")
      #expect(
        seen.contains(
          "5000 [{'i': 4999, 'f': 1249.75, 't': 't4999', 'n': 4999, 'l': [4999, None], 's': {'a': 4999, 'b': 'x'}, 'd': datetime.date(2024, 2, 29)"), "\(seen)")
      #expect(seen.contains("'c': Decimal('12.50'), 'm': [('k', 4999)], 'b': False, 'x': b'bytes'}]"), "\(seen)")
      #expect(lines.suffix(2) == ["CANCELED", "True"], "\(seen)")
    }

    @Test(.enabled(if: Peers.python != nil, "no peer environment")) func databricksClientsUseEveryOption() throws {
      let cluster = try LocalCluster("statements-options")
      #expect(try cluster.start(workers: 1).status == 0)
      let seen = try Peers.run(
        """
        import sys, time, urllib.request, pyarrow.ipc as ipc
        from databricks.sdk import WorkspaceClient
        from databricks.sdk.errors import DatabricksError
        from databricks.sdk.service.sql import Disposition, Format, StatementParameterListItem as P, ExecuteStatementRequestOnWaitTimeout as OnWait
        w = WorkspaceClient(host=sys.argv[1], token=sys.argv[2], auth_type="pat")
        wid = next(iter(w.warehouses.list())).id
        s = w.statement_execution
        fetch = lambda link: urllib.request.urlopen(link.external_link).read()

        r = s.execute_statement("select :a + 1 as x, :t as t, cast(:d as date) + 1 as d, :n is null as n, :c as c", wid, parameters=[P("a", type="INT", value="41"),
          P("t", value="it's; --"), P("d", type="DATE", value="2024-02-28"), P("n", type="STRING"), P("c", type="DECIMAL(10,2)", value="1.5")])
        assert r.result.data_array == [["42", "it's; --", "2024-02-29", "true", "1.50"]], r
        assert [c.type_text for c in r.manifest.schema.columns][4] == "DECIMAL(10,2)", r.manifest.schema
        r = s.execute_statement("select :missing", wid)
        assert r.status.state.value == "FAILED" and ":missing" in r.status.error.message and r.status.error.error_code.value == "BAD_REQUEST", r.status

        r = s.execute_statement("select range from range(100)", wid, row_limit=7)
        assert r.manifest.truncated and r.manifest.total_row_count == 7 and len(r.result.data_array) == 7
        r = s.execute_statement("select repeat('x', 1000) from range(1000)", wid, byte_limit=20_000)
        assert r.manifest.truncated and 10 <= r.manifest.total_row_count < 100, r.manifest
        assert not s.execute_statement("select 1", wid, row_limit=1).manifest.truncated

        r = s.execute_statement("select range as i, repeat('y', 500) as t from range(20000)", wid, wait_timeout="0s")
        while r.status.state.value in ("PENDING", "RUNNING"):
            time.sleep(0.05)
            r = s.get_statement(r.statement_id)
        assert r.status.state.value == "SUCCEEDED" and r.manifest.total_chunk_count > 1 and r.manifest.total_row_count == 20000, r.manifest
        rows, index = [], 0
        while index is not None:
            part = s.get_statement_result_chunk_n(r.statement_id, index)
            rows += [int(row[0]) for row in part.data_array]
            index = part.next_chunk_index
        assert rows == list(range(20000))

        for form, read in ((Format.JSON_ARRAY, lambda b: len(__import__("json").loads(b))), (Format.CSV, lambda b: b.count(b"\\r\\n")),
                           (Format.ARROW_STREAM, lambda b: ipc.open_stream(b).read_all().num_rows)):
            r = s.execute_statement("select range as i, repeat('z', 500) as t from range(20000)", wid, wait_timeout="50s", disposition=Disposition.EXTERNAL_LINKS, format=form)
            assert r.manifest.format == form and r.manifest.total_chunk_count > 1, r.manifest
            count, index, chunks = 0, 0, 0
            while index is not None:
                link = s.get_statement_result_chunk_n(r.statement_id, index).external_links[0]
                assert link.chunk_index == index and link.expiration
                count, index, chunks = count + read(fetch(link)), link.next_chunk_index, chunks + 1
            assert count == 20000 + (form == Format.CSV) and chunks == r.manifest.total_chunk_count, (form, count, chunks)

        # Statements that read no rows have results in every form as well, and those of several units are runs.
        s.execute_statement("create table main.default.o as select range as i from range(10)", wid)
        for n in range(3): s.execute_statement(f"insert into main.default.o values ({n})", wid)
        r = s.execute_statement("describe table main.default.o", wid)
        assert [c.type_name.value for c in r.manifest.schema.columns] == ["STRING"] * 3 and r.result.data_array[0][:2] == ["i", "bigint"], r
        r = s.execute_statement("describe table main.default.o", wid, disposition=Disposition.EXTERNAL_LINKS, format=Format.ARROW_STREAM)
        assert ipc.open_stream(fetch(r.result.external_links[0])).read_all().column("col_name").to_pylist() == ["i"]
        r = s.execute_statement("optimize main.default.o", wid, wait_timeout="50s")
        assert r.status.state.value == "SUCCEEDED" and r.manifest.total_row_count == 1, r
        r = s.execute_statement("use catalog main; create temp view v as select i from main.default.o where i > 7; select count(*) from v", wid)
        assert r.result.data_array == [["2"]], r
        r = s.execute_statement("select 1;\\n select nope", wid)
        assert r.status.state.value == "FAILED" and "statement 2 of 2" in r.status.error.message, r.status

        r = s.execute_statement(sys.argv[3], wid, wait_timeout="5s", on_wait_timeout=OnWait.CANCEL)
        assert r.status.state.value == "CANCELED", r.status
        for wrong in (lambda: s.execute_statement("select 1", wid, wait_timeout="2s"), lambda: s.get_statement("00000000-0000-0000-0000-000000000000"),
                      lambda: s.execute_statement("select 1", wid, format=Format.CSV), lambda: w.warehouses.get("another"),
                      lambda: s.get_statement_result_chunk_n(r.statement_id, 0)):
            try: wrong()
            except DatabricksError as e: assert str(e), repr(e)
            else: raise SystemExit("no error")
        print("done")
        """, ["http://\(cluster.http)", cluster.token, endless])
      #expect(seen == "done\n", "\(seen)")
    }

    @Test func statementsSurviveTheirWorkersAndNotTheirCoordinator() throws {
      let cluster = try LocalCluster("statements-death")
      #expect(try cluster.start(workers: 2).status == 0)
      #expect(try cluster.cli(["sql", "create table main.default.t as select range as i from range(100)"]).status == 0)
      // An executor dies: the statement runs once more, and only the second attempt's rows are there.
      let killed = try post(cluster, ["statement": .string(endless), "wait_timeout": "0s"]).body
      let killedPath = "\(path)/\(killed["statement_id"]?.stringValue ?? "")"
      try cluster.wait("the executor is known") { cluster.executor("statement") != nil }
      let first = try #require(cluster.executor("statement"))
      kill(first, SIGKILL)
      try cluster.wait("another executor runs it") { cluster.executor("statement").map { $0 != first } ?? false }
      #expect(state(try get(cluster, killedPath)) == "RUNNING")
      // Once more is enough.
      if let second = cluster.executor("statement") { kill(second, SIGKILL) }
      try cluster.wait("it has failed") { state(try get(cluster, killedPath)) == "FAILED" }
      #expect(try get(cluster, killedPath)["status"]?["error"]?["error_code"] == "TEMPORARILY_UNAVAILABLE")

      // A whole worker dies under a write.
      let write = try post(
        cluster,
        ["statement": "insert into main.default.t select count(*) from range(12000) a, range(12000) b where a.range * b.range % 7 = 9", "wait_timeout": "0s"]
      ).body
      let writePath = "\(path)/\(write["statement_id"]?.stringValue ?? "")"
      try cluster.wait("a worker runs it") { try cluster.executor("statement") != nil || state(get(cluster, writePath)) == "SUCCEEDED" }
      for worker in cluster.processes(["worker"]) {
        let children = (FileManager.default.contents(atPath: "/proc/\(worker)/task/\(worker)/children")).map { String(decoding: $0, as: UTF8.self) } ?? ""
        if let executor = cluster.executor("statement"), children.contains(String(executor)) { kill(worker, SIGKILL) }
      }
      try cluster.wait("the write is done", seconds: 120) { state(try get(cluster, writePath)) == "SUCCEEDED" }
      #expect(try cluster.scalar("select count(*) from main.default.t") == 101)

      // A client that goes away takes its statement with it.
      _ = try LocalCluster.run(
        "/usr/bin/curl",
        [
          "-s", "-m", "2", "-X", "POST", "http://\(cluster.http)\(path)", "-H", "Authorization: Bearer \(cluster.token)", "-d",
          (["statement": .string(endless + " where a.range > 1"), "wait_timeout": "50s"] as JSONValue).sortedText,
        ], timeout: 20)
      try cluster.wait("the abandoned statement ends", seconds: 10) {
        let history = try get(cluster, "/api/2.0/sql/history/queries?filter_by.statuses=CANCELED")
        return history["res"]?.arrayValue?.contains { $0["query_text"]?.stringValue?.contains("where a.range > 1") == true } == true
      }

      // The coordinator dies: what ran has failed, what was committed stays.
      let lost = try post(cluster, ["statement": .string(endless), "wait_timeout": "0s"]).body
      let lostPath = "\(path)/\(lost["statement_id"]?.stringValue ?? "")"
      for process in cluster.processes(["coordinator"]) { kill(process, SIGKILL) }
      try cluster.wait("the next coordinator knows", seconds: 90) {
        let answer = try cluster.http("GET", lostPath, token: cluster.token)
        guard answer.status == 200 else { return false }
        return state(try JSONValue(parsing: answer.body)) == "FAILED"
      }
      try cluster.wait("statements run again", seconds: 60) { try cluster.cli(["sql", "select 1"]).status == 0 }
      #expect(try cluster.scalar("select count(*) from main.default.t") == 101)
    }

    /// A person at a terminal: several lines, the program's own commands, Ctrl-C.
    @Test(.enabled(if: Peers.python != nil, "no peer environment")) func theConversationWorksOnATerminal() throws {
      let cluster = try LocalCluster("statements-shell")
      #expect(try cluster.start(workers: 1).status == 0)
      let file = try cluster.write("several.sql", "create table main.default.p as select 1 as a, 'x;y' as b; -- one; two\nselect b from p;\nselect 'last' as c")
      let read = try cluster.cli(["sql", "-f", file])
      #expect(read.status == 0 && read.out.contains("x;y") && read.out.contains("last"), "\(read.all)")
      let several = try cluster.cli(["sql", "-e", "select 1 as one; select 2 as two", "-e", "select null as n", "--markdown"])
      #expect(several.out == "| one |\n| ---: |\n| 1 |\n| two |\n| ---: |\n| 2 |\n| n |\n| ---: |\n| NULL |\n", "\(several.all)")
      // A separator of lines that is none to the engine ends no comment.
      let comment = try cluster.cli(["sql", "select 7 -- seven\u{2028}; and more\n + 1 as n", "-o", "csv"])
      #expect(comment.status == 0 && comment.out == "n\r\n8\r\n", "\(comment.all)")
      #expect(try cluster.cli(["sql", "select nope"]).status == 64)
      let seen = try Peers.run(
        """
        import os, pty, sys, time, select
        binary, home, endless, folder = sys.argv[1:5]
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ.pop("CI", None)  # there, no line says how far a statement is
            os.environ.update(PLATFORM_HOME=home, TERM="xterm", PAGER="cat", XDG_STATE_HOME=folder, LC_ALL="C.UTF-8")
            os.execv(binary, [binary, "sql"])
        seen, rest = "", ""
        def until(text, seconds=60):
            global seen, rest
            end = time.time() + seconds
            while text not in rest:
                if time.time() > end: raise SystemExit(f"no {text!r} in {rest!r}")
                if select.select([terminal], [], [], 0.2)[0]: rest += os.read(terminal, 65536).decode(errors="replace")
            at = rest.index(text) + len(text)
            seen, rest = seen + rest[:at], rest[at:]
        def send(text): os.write(terminal, text.encode())
        until("main.default=> ")
        send("select 41 +\\r"); until("main.default-> ")
        send(" 1 as answer;\\r"); until("1 row"); until("=> ")
        send("\\\\d\\r"); until("MANAGED"); until("=> ")
        send("\\\\d p\\r"); until("string"); until("=> ")
        send("\\\\x\\r"); until("expanded display is on"); until("=> ")
        send("\\x1b[A\\x1b[A\\x1b[A\\x1b[A"); until("select 41 +  1 as answer;"); send("\\x03"); until("=> ")
        for turn in range(2):
            send(endless + ";\\r"); until("running"); send("\\x03"); until("cancelled", 4); until("=> ")
        send("select 6 * 7 as again;\\r"); until("again"); until("42"); until("=> ")
        send("\\\\q\\r")
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), "answer" in seen, open(folder + "/platform/sql_history").read().count("again"))
        """, [LocalCluster.binary, cluster.data, endless, cluster.folder.path])
      #expect(seen == "0 True 1\n", "\(seen)")
    }
  }
}
