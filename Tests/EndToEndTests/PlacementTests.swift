// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// Tasks that ask for processors, memory and labels, on workers that say what they have.
  @Suite(.serialized) struct PlacementTests {
    @Test(.timeLimit(.minutes(5))) func tasksGoWhereTheirDemandsAreMetAndSayWhatIsMissing() throws {
      let cluster = try LocalCluster("place")
      let refused = try cluster.cli(["up", "--label", "node=x"])
      #expect(refused.status != 0 && refused.all.contains("PLT-4260"))
      #expect(try cluster.start(workers: 2, ["--label", "disk=ssd", "--cpus", "3", "--memory", "6GB"]).status == 0)
      try cluster.wait("both nodes") {
        let list = try JSONValue(parsing: cluster.cli(["nodes", "list", "-o", "json"]).out)["nodes"]?.arrayValue ?? []
        return list.count { $0["state"] == "READY" } == 2
          && list.allSatisfy { $0["cpus"]?.doubleValue == 3 && $0["memory_bytes"] == 6_000_000_000 && $0["labels"] == ["disk": "ssd"] }
      }
      #expect(try cluster.cli(["nodes", "list"]).out.contains("disk=ssd"))
      let id = try cluster.submit(
        """
        resources:
          jobs:
            placed:
              tasks:
                - { task_key: here, node_labels: { node: w1, disk: ssd }, resources: { cpus: 1.5, memory: 2GB }, command_task: { command: "true" } }
                - { task_key: each, for_each_task: { inputs: [ 1, 2 ], concurrency: 2, task: { task_key: one, node_labels: { node: w0 }, command_task: { command: "true" } } } }
                - { task_key: large, resources: { cpus: 64, memory: 2GB }, command_task: { command: "true" } }
                - { task_key: tape, node_labels: { disk: tape }, command_task: { command: "true" } }
        """)
      // What can run does, what cannot says why.
      var run: JSONValue = .null
      try cluster.wait("what can run") {
        run = try cluster.run(id)
        return run.task("here")["state"] == "SUCCEEDED" && run.task("each")["state"] == "SUCCEEDED"
          && run.task("large")["summary"]?.stringValue?.isEmpty == false && run.task("tape")["summary"]?.stringValue?.isEmpty == false
      }
      #expect(run.task("here")["workers"] == ["w1"])
      #expect(run.task("large")["summary"] == "no connected worker has 64 processors and 2.0 GB of memory; the most is 3 processors and 6.0 GB of memory")
      #expect(run.task("tape")["summary"] == "no connected worker has the label disk=tape")
      #expect(try cluster.cli(["runs", "cancel", id]).status == 0)
      #expect(try cluster.finish(id)["state"] == "CANCELLED")
      try replicasTakeTheRoomOfOtherWork(cluster)
      try aPartThatHangsIsStartedASecondTime(cluster)
      try aBatchIsDoneAgainWhenItsExecutorDies(cluster)
    }

    private func aBatchIsDoneAgainWhenItsExecutorDies(_ cluster: LocalCluster) throws {
      let run = try cluster.submit(
        "resources:\n  jobs:\n    j:\n      tasks:\n        - { task_key: short, wait_task: { milliseconds: 50, parts: 100 }, parts_per_batch: 16 }\n")
      try cluster.wait("a batch") { cluster.executor("short") != nil }
      if let process = cluster.executor("short") { kill(process, SIGKILL) }
      let ended = try cluster.finish(run)
      #expect(ended["state"] == "SUCCEEDED")
      // No part is missing or twice, and there was a lease for each sixteen.
      #expect(ended.task("short")["summary"] == "waited 50 ms in 100 parts" && ended.task("short")["units_total"] == 7, "\(ended)")
    }

    /// Its process stands still, and its worker does not.
    private func aPartThatHangsIsStartedASecondTime(_ cluster: LocalCluster) throws {
      let run = try cluster.submit(
        "resources:\n  jobs:\n    j:\n      tasks:\n        - { task_key: hangs, wait_task: { milliseconds: 3000, parts: 4 } }\n")
      try cluster.wait("a part") { cluster.executor("hangs") != nil }
      guard let process = cluster.executor("hangs") else { return }
      kill(process, SIGSTOP)
      defer { kill(process, SIGCONT) }
      try cluster.wait("the other parts") { (try cluster.run(run).task("hangs")["units_done"]?.intValue ?? 0) >= 3 }
      // Otherwise it had ended before it was stopped.
      let hangs = cluster.executor("hangs") == process
      #expect(try cluster.finish(run)["state"] == "SUCCEEDED")
      if hangs { try cluster.wait("the end of the first attempt") { kill(process, 0) != 0 } }
    }

    /// Both workers' memory is taken for long; an endpoint gets its part of it all the same.
    private func replicasTakeTheRoomOfOtherWork(_ cluster: LocalCluster) throws {
      func job(_ task: String) -> String { "resources:\n  jobs:\n    j:\n      tasks:\n        - \(task)\n" }
      let long = try cluster.submit(job("{ task_key: long, resources: { memory: 5GB }, wait_task: { milliseconds: 900000, parts: 2 } }"))
      try cluster.wait("both parts") { try cluster.run(long).task("long")["workers"]?.arrayValue?.count == 2 }
      let deploy = try cluster.submit(
        job("{ task_key: serve, resources: { memory: 2GB }, deploy_task: { endpoint: minilm, model: system.ai.minilm } }"))
      #expect(try cluster.finish(deploy)["state"] == "SUCCEEDED")
      let run = try cluster.run(long)
      #expect(run["state"] == "RUNNING")
      #expect(run.task("long")["summary"] == "1 of 2 units were stopped to make room for service 'minilm', and wait for room")
      let events = try cluster.cli(["events", "--kind", "unit.preempted"])
      #expect(events.out.contains("is stopped to make room for service minilm"))
      #expect(try cluster.cli(["runs", "cancel", long]).status == 0)
      #expect(try cluster.finish(long)["state"] == "CANCELLED")
    }
  }
}
