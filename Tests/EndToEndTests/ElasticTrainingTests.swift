// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// A training that goes on when there are fewer workers than it has ranks.
  @Suite(.serialized) struct ElasticTrainingTests {
    @Test(.timeLimit(.minutes(5))) func aTrainingGoesOnWithoutAWorkerThatStaysAway() throws {
      let cluster = try LocalCluster("elastic")
      #expect(try cluster.start(workers: 1, ["--slots", "1"]).status == 0)
      // One that nobody starts again.
      let token = try cluster.cli(["token", "create"]).out.split(whereSeparator: \.isWhitespace).map(String.init)
      try #require(token.count >= 5, "\(token)")
      let worker = try Program(
        LocalCluster.binary,
        ["join", cluster.joinAddress, "--token", token[4], "--name", "away", "--slots", "1", "--data-dir", cluster.folder.file("joined")])
      defer {
        worker.signal(SIGKILL)
        worker.wait()
      }
      try cluster.wait("both workers") {
        let nodes = try JSONValue(parsing: cluster.cli(["nodes", "list", "-o", "json"]).out)["nodes"]?.arrayValue ?? []
        return nodes.count { $0["state"] == "READY" } == 2
      }
      let steps = 1_500
      let run = try cluster.submit(
        """
        resources:
          jobs:
            j:
              tasks:
                - task_key: ingest
                  ingest_task: { input: "\(try cluster.documents(20))", table: main.demo.documents }
                - task_key: prepare
                  depends_on: [ { task_key: ingest } ]
                  prepare_task: { source: main.demo.documents, output: main.demo.chunks, chunk_tokens: 100, overlap: 16, split: { train: 0.8, test: 0.2 } }
                - task_key: train
                  depends_on: [ { task_key: prepare } ]
                  train_task:
                    { data: main.demo.chunks, register_as: main.demo.lm, vocabulary: 300, tokenizer: unigram, hidden: 64, layers: 2, heads: 4, kv_heads: 2, intermediate: 128,
                      sequence_length: 64, batch_tokens: 512, steps: \(steps), learning_rate: 0.003, checkpoint: { every_steps: 20 },
                      compute: { tensor_parallel: 2, min_tensor_parallel: 1, shrink_after_seconds: 1 } }
        """)
      let checkpoints = "\(cluster.data)/checkpoints/\(run)/train"
      try cluster.wait("a checkpoint of two ranks", seconds: 120) {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: checkpoints)) ?? []  // not made yet
        return names.contains { $0.hasPrefix("step-") && FileManager.default.fileExists(atPath: "\(checkpoints)/\($0)/rank-1.bin") && !$0.hasSuffix(".tmp") }
      }
      worker.signal(SIGKILL)
      let ended = try cluster.finish(run)
      #expect(ended["state"] == "SUCCEEDED", "\(ended.sortedText)")
      let values = ended.task("train")["values"] ?? .null
      #expect(values["steps"]?.intValue == steps && values["summary"]?.stringValue?.hasSuffix("on 1 rank") == true, "\(values.sortedText)")
      #expect(try cluster.cli(["events", "--kind", "gang.shrunk"]).out.contains("task train of run \(run) goes on with 1 of 2 ranks"))
      // It went on from a checkpoint of both, and its curve with it.
      let log = try cluster.cli(["runs", "logs", run, "--task", "train"]).out
      let from = log.split(separator: "\n").compactMap { line in line.range(of: "continuing after step ").flatMap { Int(line[$0.upperBound...]) } }
      #expect(!from.isEmpty && from.allSatisfy { $0 > 0 && $0 % 20 == 0 && $0 < steps }, "\(log)")
      let answer = try cluster.http("GET", "/api/2.2/jobs/runs/metrics?run_id=\(run)&task_key=train&name=loss", token: cluster.token)
      let points = try JSONValue(parsing: answer.body)["points"]?.arrayValue ?? []
      let curve = points.compactMap { point in point["step"]?.intValue.flatMap { step in point["value"]?.doubleValue.map { (step: step, loss: $0) } } }
      #expect(curve.last?.step == steps && zip(curve, curve.dropFirst()).allSatisfy { $0.step < $1.step }, "\(answer.body.prefix(500))")
      let first = try #require(curve.first { $0.step > (from.first ?? 0) }), last = try #require(curve.last)
      #expect(last.loss < first.loss)
    }
  }
}
