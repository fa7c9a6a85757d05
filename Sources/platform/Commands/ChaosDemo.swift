// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Coordinator
import Core
import Foundation
import Synchronization

/// Kills processes of this machine's cluster at bad moments and compares what came out with a run in peace.
struct ChaosDemo {
  var client: PlatformClient
  var layout: DataLayout

  /// - Throws: when a row count differs or an answer breaks off.
  func run() async throws {
    let endpoints: EndpointList = try await client.get("/api/2.0/serving-endpoints")
    guard let endpoint = endpoints.endpoints.first(where: { $0.kind == "generate" && $0.ready > 0 }) else {
      throw PlatformError(.notFound, "there is no model to disturb yet", hint: "Run 'platform demo' first.")
    }
    let nodes: NodeList = try await client.get("/api/2.0/nodes")
    guard nodes.nodes.filter({ $0.state == "READY" }).count > 1 else {
      throw PlatformError(
        .conflict, "chaos needs two workers, this cluster has \(nodes.nodes.count)", hint: "platform down && platform up --workers 2")
    }
    let before = try await count("main.demo.chunks")
    try await killWorkerWhileEmbedding(expecting: before)
    try await killReplicaWhileAnswering(endpoint.name)
    Report.note("\(Report.check) nothing was lost")
  }

  private func count(_ table: String) async throws -> Int {
    let answer = try await client.run(StatementRequest(statement: "select count(*) from \(table)"))
    return answer.rows.first?.first?.intValue ?? 0
  }

  private func killWorkerWhileEmbedding(expecting rows: Int) async throws {
    let text = """
      resources:
        jobs:
          chaos:
            name: embed again under fire
            tasks:
              - task_key: embed
                embed_task: { source: main.demo.chunks, output: main.demo.chaos_embeddings }
      """
    let submitted: SubmitFileResponse = try await client.post(
      "/api/2.2/jobs/runs/submit-file", SubmitFileRequest(file: "chaos.yml", text: text))
    Report.note("\(Report.dot) run \(submitted.runID): embedding \(rows) rows again")
    var killed = false
    while true {
      let run: RunInfo = try await client.get("/api/2.0/runs/get?run_id=\(submitted.runID)")
      if run.isFinished {
        guard run.state == "SUCCEEDED" else { throw PlatformError(.internalError, "the run ended \(run.state): \(run.message)") }
        break
      }
      let nodes: NodeList = try await client.get("/api/2.0/nodes")
      let prefix = submitted.runID + "/"
      if !killed, let busy = nodes.nodes.first(where: { $0.running.contains { $0.hasPrefix(prefix) } }),
        let pid = Self.process(["worker", "--name", busy.name], cluster: layout.root)
      {
        kill(pid, SIGKILL)
        killed = true
        Report.note("\(Report.cross) killed worker \(busy.name) (process \(pid)) in the middle of it")
      }
      try await Task.sleep(for: .milliseconds(100))
    }
    if !killed { Report.note("! the run ended before a worker could be killed") }
    let after = try await count("main.demo.chaos_embeddings")
    guard after == rows else {
      throw PlatformError(.internalError, "the table has \(after) rows instead of \(rows)")
    }
    Report.note("\(Report.check) the same \(after) rows, once each")
  }

  /// Streams of one endpoint at the same time, each with a seed of its own.
  private static let streams = 16

  private func killReplicaWhileAnswering(_ name: String) async throws {
    func body(_ seed: Int, stream: Bool) -> JSONValue {
      [
        "model": .string(name), "prompt": "The following conditions", "max_tokens": 100, "temperature": 0.8,
        "seed": .integer(Int64(seed)), "stream": .bool(stream), "ignore_eos": true,
      ]
    }
    // The worker that was killed before may still be bringing its replicas back.
    for _ in 0..<300 {
      let endpoint: EndpointInfo = try await client.get("/api/2.0/serving-endpoints/\(segment(name))")
      if endpoint.ready >= endpoint.desiredReplicas { break }
      try await Task.sleep(for: .milliseconds(100))
    }
    var expected: [String] = []
    for seed in 0..<Self.streams {
      let calm: JSONValue = try await client.post("/v1/completions", body(seed, stream: false))
      expected.append(calm["choices"]?.arrayValue?.first?["text"]?.stringValue ?? "")
    }
    let endpoint: EndpointInfo = try await client.get("/api/2.0/serving-endpoints/\(segment(name))")
    guard let victim = endpoint.replicas.first(where: { $0.state == "READY" }), let pid = Self.executor(of: victim.unit, cluster: layout.root)
    else { throw PlatformError(.conflict, "\(name) has no replica on this machine") }
    let movedBefore = try await moved(name)
    let client = self.client
    let once = OneShot()
    let answers = try await withThrowingTaskGroup(of: (Int, String).self) { group in
      for seed in 0..<Self.streams {
        let request = try JSONEncoder.platform.encode(body(seed, stream: true))
        group.addTask {
          var text = ""
          for try await event in client.events("POST", "/v1/completions", body: request) {
            if event.data == "[DONE]" { break }
            let chunk = try JSONValue(parsing: event.data)
            if let failure = chunk["error"]?["message"]?.stringValue {
              throw PlatformError(.internalError, "a stream broke: \(failure)")
            }
            text += chunk["choices"]?.arrayValue?.first?["text"]?.stringValue ?? ""
            // In the middle of the streams, at the first sign of text.
            if !text.isEmpty && once.take() { kill(pid, SIGKILL) }
          }
          return (seed, text)
        }
      }
      var all = [String](repeating: "", count: Self.streams)
      for try await (seed, text) in group { all[seed] = text }
      return all
    }
    Report.note("\(Report.cross) killed replica \(victim.unit) on \(victim.node) (process \(pid)) while \(Self.streams) answers streamed")
    guard answers == expected else {
      let different = zip(answers, expected).filter { $0 != $1 }.count
      throw PlatformError(.internalError, "\(different) of \(Self.streams) answers differ from those in peace")
    }
    let count = try await moved(name) - movedBefore
    Report.note("\(Report.check) \(Self.streams) answers finished, \(count) of them on another replica; all are the same, letter for letter")
  }

  /// Requests of an endpoint that needed more than one replica.
  private func moved(_ name: String) async throws -> Int {
    let text = String(decoding: try await client.send("GET", "/metrics", body: nil), as: UTF8.self)
    let line = text.split(separator: "\n").first { $0.hasPrefix("platform_endpoint_moved_total{endpoint=\"\(name)\"}") }
    return line.flatMap { $0.split(separator: " ").last }.flatMap { Int($0) } ?? 0
  }

  /// A process of this cluster whose command line holds all `words`.
  private static func process(_ words: [String], cluster: String) -> Int32? {
    pids { command in words.allSatisfy { command.contains($0) } && command.contains { $0.hasPrefix(cluster) } }
  }

  /// The process of a unit, as its worker notes it under `units/`.
  private static func executor(of unit: String, cluster: String) -> Int32? {
    let file = "\(cluster)/workers"
    for worker in (try? FileManager.default.contentsOfDirectory(atPath: file)) ?? [] {  // no workers here: nobody to kill
      let name = unit.replacingOccurrences(of: "/", with: "_")
      let path = "\(file)/\(worker)/units/\(name)"
      if let data = FileManager.default.contents(atPath: path), let pid = Int32(String(decoding: data, as: UTF8.self)) { return pid }
    }
    return nil
  }

  private static func pids(_ matches: ([String]) -> Bool) -> Int32? {
    for entry in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {  // no /proc: nobody to kill
      guard let pid = Int32(entry), let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { continue }
      let words = String(decoding: data, as: UTF8.self).split(separator: "\0").map(String.init)
      if matches(words) { return pid }
    }
    return nil
  }
}

/// True for the first caller only.
private final class OneShot: Sendable {
  private let taken = Mutex(false)
  func take() -> Bool {
    taken.withLock { value in
      defer { value = true }
      return !value
    }
  }
}
