// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// What an operator asks a cluster: what happened, what runs, what was said.
  @Suite(.serialized) struct OperationsTests {
    @Test func eventsLogsAndLoadOfACluster() throws {
      let cluster = try LocalCluster("operate")
      #expect(try cluster.start(workers: 1).status == 0)
      func kinds(_ arguments: [String] = []) throws -> [String] {
        let answer = try cluster.cli(["events", "-o", "json"] + arguments)
        guard answer.status == 0 else { throw PlatformError(.internalError, "events failed: \(answer.all)") }
        return try JSONValue(parsing: answer.out)["events"]?.arrayValue?.compactMap { $0["kind"]?.stringValue } ?? []
      }
      // On a loaded machine nodes may be silent for a moment at any time: only what has to be there is asked for.
      try cluster.wait("the node's event") { try kinds().contains("node.joined") }
      #expect(try kinds().first == "leader.changed")

      let run = try cluster.submit(
        """
        resources:
          jobs:
            j: { name: broken, tasks: [ { task_key: talk, command_task: { command: "echo one; echo two words; exit 3" } } ] }
        """)
      #expect(try cluster.finish(run)["state"] == "FAILED")
      // Stored with the end of the run itself.
      #expect(try Set(kinds(["--kind", "task,run.failed"])) == ["task.failed", "run.failed"])
      let text = try cluster.cli(["events", "--kind", "run"]).out
      #expect(text.contains("run \(run) (broken) failed") && text.contains("PLT-4210"), "\(text)")
      #expect(try kinds(["--since", "2099-01-01T00:00:00Z"]).isEmpty)
      #expect(try kinds(["--limit", "1"]).count == 1)
      let wrong = try cluster.cli(["events", "--kind", "nod"])
      #expect(wrong.status == 64 && wrong.err.contains("Did you mean 'node'?") && wrong.err.contains("PLT-4410"), "\(wrong.all)")
      #expect(try cluster.cli(["events", "--since", "soon"]).status == 64)

      #expect(try cluster.cli(["logs", run]).out == "talk#1  one\ntalk#1  two words\n")
      #expect(try cluster.cli(["logs", "run/\(run)/talk#1", "--grep", "^two", "--follow"]).out == "talk#1  two words\n")
      #expect(try cluster.cli(["logs", run, "--grep", "("]).status == 64)
      #expect(try cluster.cli(["logs", "coordinator", "--grep", "leading", "--lines", "1"]).out.contains("leading"))
      let missing = try cluster.cli(["logs", "coordinatr"])
      #expect(missing.status == 66 && missing.err.contains("Did you mean 'coordinator'?"), "\(missing.all)")

      #expect(try cluster.cli(["nodes", "cordon", "w0"]).status == 0)
      let worker = try #require(cluster.processes(["worker"]).first)
      kill(worker, SIGSTOP)
      defer { kill(worker, SIGCONT) }
      try cluster.wait("silence") { try kinds(["--kind", "node"]).drop { $0 != "node.cordoned" }.contains("node.silent") }
      // Folders of other tests' programs are no business of this one.
      func doctor(_ arguments: [String]) throws -> LocalCluster.Output {
        try cluster.cli(["doctor"] + arguments, environment: ["TMPDIR": cluster.folder.path])
      }
      let ill = try doctor([])
      #expect(ill.status == 1 && ill.out.contains("stopped: worker w0") && ill.out.contains("Fix: platform doctor --fix"), "\(ill.all)")
      #expect(
        try doctor(["--fix"]).status == 64 && doctor(["--yes"]).status == 64 && doctor(["--fix", "--plan"]).out.contains("To do: let process \(worker) go on"))
      let mended = try doctor(["--fix", "--yes"])
      #expect(mended.status == 0, "\(mended.all)")
      try cluster.wait("its return") { try kinds(["--kind", "node"]).last == "node.returned" }
      kill(worker, SIGKILL)
      try cluster.wait("another one") { try kinds(["--kind", "node.joined"]).count == 2 }

      let top = try cluster.cli(["top"])
      #expect(top.status == 0 && top.out.hasPrefix("NODE") && top.out.contains("w0"), "\(top.all)")
      #expect(try JSONValue(parsing: cluster.cli(["top", "-o", "json"]).out)["nodes"]?.arrayValue?.first?["name"] == "w0")
      #expect(try cluster.cli(["top", "runs"]).out == "RUN  NAME  STATE  FOR\n")
      // A coordinator that starts again leads with another epoch; what it knows of nodes it knew before.
      let leaders = try kinds(["--kind", "leader"]).count
      let joins = try kinds(["--kind", "node.joined"]).count
      let leader = try #require(cluster.processes(["coordinator"]).first)
      kill(leader, SIGKILL)
      try cluster.wait("the next leader") {
        let answer = try cluster.cli(["events", "--kind", "leader", "-o", "json"])
        guard answer.status == 0 else { return false }
        return try JSONValue(parsing: answer.out)["events"]?.arrayValue?.count ?? 0 > leaders
      }
      try cluster.wait("the node") { try cluster.cli(["nodes", "list"]).out.contains("CORDONED") }
      #expect(try kinds(["--kind", "node.joined"]).count == joins, "it did not join again")
      let healthy = try doctor([])
      #expect(healthy.status == 0 && !healthy.out.contains("!"), "\(healthy.all)")

      // The supervisor is killed: nothing runs any more, and what it has left behind goes.
      let state = try JSONValue(parsing: FileManager.default.contents(atPath: cluster.data + "/cluster.json") ?? Data())
      kill(Int32(try #require(state["supervisorPID"]?.intValue)), SIGKILL)
      try cluster.wait("the end of all") { cluster.processes([]).isEmpty }
      let left = try doctor(["--fix", "--yes"])
      #expect(left.status == 1 && left.out.contains("cluster.json  done: remove it") && left.out.contains("PLT-1501") == false, "\(left.all)")
      #expect(try doctor(["--fix"]).out.contains("there is nothing to mend"))
      let again = try cluster.start(workers: 1)
      #expect(again.status == 0, "\(again.all)")
      #expect(try cluster.cli(["runs", "get", run]).status == 0)
    }
  }
}
