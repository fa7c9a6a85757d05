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
    }
  }
}
