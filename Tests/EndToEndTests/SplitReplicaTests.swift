// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// Replicas whose model is split among processes, on one worker and on two, and what becomes of answers when one of them is killed.
  @Suite(.serialized) struct SplitReplicaTests {
    private func deploy(_ cluster: LocalCluster, _ task: String) throws -> JSONValue {
      try cluster.finish(try cluster.submit("resources:\n  jobs:\n    j:\n      name: n\n      tasks:\n        - { task_key: d, \(task) }\n"))
    }

    private func ask(_ cluster: LocalCluster, _ endpoint: String, _ options: String) throws -> String {
      let body = #"{"model": "\#(endpoint)", \#(options)}"#
      let answer = try cluster.http("POST", "/v1/completions", token: cluster.token, body: body)
      guard answer.status == 200 else { throw PlatformError(.internalError, "\(endpoint): \(answer)") }
      return try JSONValue(parsing: answer.body)["choices"]?.sortedText ?? ""
    }

    /// The process that runs a unit of exactly this name.
    private func process(_ cluster: LocalCluster, _ unit: String) -> Int32? {
      let file = unit.replacingOccurrences(of: "/", with: "_")
      return ["w0", "w1"].lazy.compactMap {
        FileManager.default.contents(atPath: "\(cluster.data)/workers/\($0)/units/\(file)").flatMap { Int32(String(decoding: $0, as: UTF8.self)) }
      }.first
    }

    /// The text of a stream, during which `unit` is killed.
    private func disturbed(_ cluster: LocalCluster, _ endpoint: String, _ options: String, killing unit: String) throws -> String {
      try cluster.wait("the process of \(unit)") { process(cluster, unit).map { kill($0, 0) == 0 } ?? false }
      let victim = try #require(process(cluster, unit))
      let file = cluster.folder.file("stream-\(UInt32.random(in: 0 ... .max))")
      let client = try Program(
        "/usr/bin/curl",
        [
          "-sN", "--max-time", "240", "-o", file, "-X", "POST", "http://\(cluster.http)/v1/completions", "-H", "Authorization: Bearer \(cluster.token)",
          "-H", "Content-Type: application/json", "--data-binary", #"{"model": "\#(endpoint)", "stream": true, \#(options)}"#,
        ])
      defer {
        client.signal(SIGKILL)
        client.wait()
      }
      func received() -> String { String(decoding: FileManager.default.contents(atPath: file) ?? Data(), as: UTF8.self) }
      let deadline = Date().addingTimeInterval(120)
      while !received().contains("data:"), Date() < deadline { usleep(1000) }
      kill(victim, SIGKILL)
      try cluster.wait("the end of the answer", seconds: 240) { received().contains("[DONE]") }
      let chunks = try received().split(separator: "\n").filter { $0.hasPrefix("data: {") }.map { try JSONValue(parsing: String($0.dropFirst(6))) }
      if let error = chunks.first(where: { $0["error"] != nil }) { Issue.record("\(error.sortedText)") }
      return chunks.map { $0["choices"]?.arrayValue?.first?["text"]?.stringValue ?? "" }.joined()
    }

    /// Requests of an endpoint that needed more than one replica.
    private func moved(_ cluster: LocalCluster, _ endpoint: String) throws -> Double {
      let name = "platform_endpoint_moved_total{endpoint=\"\(endpoint)\"} "
      let lines = try cluster.http("GET", "/metrics", token: cluster.token).body.split(separator: "\n")
      return lines.first { $0.hasPrefix(name) }.flatMap { Double($0.dropFirst(name.count)) } ?? 0
    }

    /// What it says depends on the machine; that all layouts are there does not.
    private func plans(_ cluster: LocalCluster) throws {
      let plan = try cluster.cli(["endpoints", "plan", "main.demo.noise", "--dtype", "int8", "-o", "json"])
      #expect(plan.status == 0, "\(plan.all)")
      let values = try JSONValue(parsing: plan.out)
      #expect(values["layouts"]?.arrayValue?.compactMap { $0["tensor_parallel"]?.intValue } == [1, 2])
      #expect(values["layouts"]?.arrayValue?.allSatisfy { $0["fits"] == true && $0["tokens_per_second_1"]?.doubleValue ?? 0 > 0 } == true)
      #expect(values["nodes"]?.arrayValue?.count == 2 && values["link"]?["meeting_seconds"]?.doubleValue ?? 0 > 0)
      let table = try cluster.cli(["endpoints", "plan", "main.demo.noise", "--nodes", "1"])
      #expect(table.status == 0 && table.out.contains("1 node x 1") && table.out.contains("most throughput, fastest answer"), "\(table.all)")
      let many = try cluster.cli(["endpoints", "plan", "main.demo.noise", "--nodes", "3"])
      #expect(many.status != 0 && many.err.contains("PLT-5294"), "\(many.all)")
      let unknown = try cluster.cli(["endpoints", "plan", "main.demo.nobody"])
      #expect(unknown.status != 0 && unknown.err.contains("main.demo.nobody"), "\(unknown.all)")
    }

    @Test(.timeLimit(.minutes(10))) func aSplitModelAnswersAsAWholeOneAlsoWhenARankIsKilled() throws {
      let folder = TemporaryDirectory("noise")
      try NoiseModel.write(folder)
      let cluster = try LocalCluster("split")
      #expect(try cluster.start(workers: 2, ["--cpus", "3"]).status == 0)
      let imported = try cluster.cli(["models", "import", "main.demo.noise", folder.path])
      #expect(imported.status == 0, "\(imported)")
      for task in [
        "deploy_task: { endpoint: one, model: main.demo.noise }",
        // Two ranks of two processors each have no room on one worker.
        "resources: { cpus: 2 }, deploy_task: { endpoint: two, model: main.demo.noise, tensor_parallel: 2 }",
        "deploy_task: { endpoint: four, model: main.demo.noise, tensor_parallel: 4 }",
      ] {
        let run = try deploy(cluster, task)
        #expect(run["state"] == "SUCCEEDED", "\(run.sortedText)")
      }
      func ranks(_ endpoint: String) throws -> [String] {
        let info = try JSONValue(parsing: cluster.cli(["endpoints", "get", endpoint, "-o", "json"]).out)
        return info["replicas"]?.arrayValue?.first?["ranks"]?.arrayValue?.compactMap(\.stringValue) ?? []
      }
      #expect(try ranks("two").sorted() == ["w0", "w1"])
      #expect(try Set(ranks("four")).count == 1 && ranks("four").count == 4)
      #expect(try ranks("one").isEmpty)

      for options in [
        #""prompt": "hello", "max_tokens": 40, "temperature": 0, "ignore_eos": true, "logprobs": 2"#,
        #""prompt": "The server reads the file and says what is in it", "max_tokens": 60, "temperature": 0.9, "seed": 7, "ignore_eos": true"#,
        #""prompt": "ab", "max_tokens": 30, "seed": 3, "guided_regex": "[a-p]{20}", "n": 2"#,
      ] {
        let whole = try ask(cluster, "one", options)
        #expect(try ask(cluster, "two", options) == whole && ask(cluster, "four", options) == whole)
      }

      try plans(cluster)

      // Whoever dies, and whatever the answer's state is made of: the client sees a pause.
      let long = #""prompt": "once", "max_tokens": 1500, "temperature": 0.8, "seed": 5, "ignore_eos": true, "frequency_penalty": 0.4, "presence_penalty": 0.2"#
      let strict = #""prompt": "once", "max_tokens": 1200, "seed": 6, "guided_regex": "([a-h]{5}[0-9]){150}""#
      for (endpoint, unit, options) in [("one", "service/one/0", long), ("two", "service/two/0/1", long), ("two", "service/two/0", strict)] {
        let whole = try JSONValue(parsing: ask(cluster, "one", options)).arrayValue?.first?["text"]?.stringValue ?? ""
        #expect(whole.utf8.count > 500)
        // On a busy machine an answer may be written before its beginning is seen.
        var hasMoved = false
        for _ in 0..<10 where !hasMoved {
          let before = try moved(cluster, endpoint)
          #expect(try disturbed(cluster, endpoint, options, killing: unit) == whole, "\(unit) was killed")
          hasMoved = try moved(cluster, endpoint) > before
        }
        #expect(hasMoved, "\(unit) was never killed in the middle of an answer")
      }
    }
  }
}
