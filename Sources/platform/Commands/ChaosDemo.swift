// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Coordinator
import Core
import Foundation

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
    let before = try await count("main.demo.embeddings")
    try await killWorkerWhileEmbedding(expecting: before)
    try await killReplicaWhileAnswering(endpoint.name)
    Report.note("\(Report.check) nothing was lost")
  }

  private func count(_ table: String) async throws -> Int {
    let answer: StatementResponse = try await client.post(
      "/api/2.0/sql/statements", StatementRequest(statement: "select count(*) from \(table)"))
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
      let run: RunInfo = try await client.get("/api/2.2/jobs/runs/get?run_id=\(submitted.runID)")
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

  private func killReplicaWhileAnswering(_ name: String) async throws {
    let prompt = "The following conditions"
    func body(stream: Bool) -> JSONValue {
      [
        "model": .string(name), "prompt": .string(prompt), "max_tokens": 200, "temperature": 0.8, "seed": 7, "stream": .bool(stream),
        "ignore_eos": true,
      ]
    }
    let calm: JSONValue = try await client.post("/v1/completions", body(stream: false))
    let expected = calm["choices"]?.arrayValue?.first?["text"]?.stringValue ?? ""
    var streamed = ""
    var killed = false
    var finish = ""
    for try await event in client.events("POST", "/v1/completions", body: try JSONEncoder.platform.encode(body(stream: true))) {
      if event.data == "[DONE]" { break }
      let chunk = try JSONValue(parsing: event.data)
      if let failure = chunk["error"]?["message"]?.stringValue { throw PlatformError(.internalError, "the stream broke: \(failure)") }
      streamed += chunk["choices"]?.arrayValue?.first?["text"]?.stringValue ?? ""
      finish = chunk["choices"]?.arrayValue?.first?["finish_reason"]?.stringValue ?? finish
      if !killed && streamed.count > 20 {
        killed = true
        let endpoint: EndpointInfo = try await client.get("/api/2.0/serving-endpoints/\(segment(name))")
        if let busy = endpoint.replicas.first(where: { $0.outstanding > 0 }),
          let pid = Self.executor(of: busy.unit, cluster: layout.root)
        {
          kill(pid, SIGKILL)
          Report.note("\(Report.cross) killed replica \(busy.unit) on \(busy.node) (process \(pid)) in mid-sentence")
        } else {
          Report.note("! the answer was finished before its replica could be killed")
        }
      }
    }
    guard streamed == expected, !finish.isEmpty else {
      throw PlatformError(.internalError, "the answer differs: \(streamed.count) instead of \(expected.count) characters")
    }
    Report.note("\(Report.check) the answer went on elsewhere and is the same, letter for letter (\(streamed.count) characters)")
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
