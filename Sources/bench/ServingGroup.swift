// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import Inference

/// What HTTP, the router and the way to a replica add to an answer of one token: the model is so small that it takes next to nothing itself.
enum ServingGroup {
  static let requests = SchedulingGroup.number("BENCH_REQUESTS", 500)

  static func run(_ setup: Setup, report: Group.Report) async throws {
    let folder = setup.file("small")
    try setup.peer.call("serving.write", ["folder": .string(folder)])
    let engine = try InferenceEngine(directory: folder)
    defer { engine.shutdown() }
    let cluster = try await BenchCluster(setup, name: "serving", workers: 1, slots: 2)
    do {
      try await cluster.command(["schemas", "create", "main.bench"])
      try await cluster.command(["models", "import", "main.bench.small", folder])
      _ = try await cluster.run([["task_key": "d", "deploy_task": ["endpoint": "small", "model": "main.bench.small"]]])
      try await measure(setup, cluster, engine)
    } catch {
      try? await cluster.down()  // the first error counts
      throw error
    }
    try await cluster.down()
  }

  private static func measure(_ setup: Setup, _ cluster: BenchCluster, _ engine: InferenceEngine) async throws {
    var own: [Double] = []
    var whole: [Double] = []
    for round in 0..<requests + 50 {
      // Another prompt each time, so that no cache of prompts helps.
      let prompt = (0..<16).map { Int32((round * 31 + $0 * 7) % 256) }
      var request = GenerationRequest(id: "\(round)", prompt: .tokens(prompt))
      request.sampling = .greedy
      request.maxTokens = 1
      var began = ContinuousClock.now
      _ = try await engine.complete(request)
      let alone = (ContinuousClock.now - began).inSeconds
      let body: JSONValue = ["model": "small", "prompt": try JSONValue(encoding: prompt), "max_tokens": 1, "temperature": 0]
      began = ContinuousClock.now
      let _: JSONValue = try await cluster.client.post("/v1/completions", body)
      guard round >= 50 else { continue }
      own.append(alone)
      whole.append((ContinuousClock.now - began).inSeconds)
    }
    let (inside, outside) = (Latencies(own), Latencies(whole))
    let added = outside.quantile(0.5) - inside.quantile(0.5)
    SchedulingGroup.note(setup, Figure(what: "an answer of one token over HTTP", value: outside.text, wanted: "-"))
    SchedulingGroup.note(setup, Figure(what: "of that not in the engine, p50", value: Latencies.milliseconds(added), wanted: "2 ms"))
  }
}
