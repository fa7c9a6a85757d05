// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// `platform ps` and `stop`: what is served, an answer that is written to its end while its endpoint stops, and a stop that lasts.
  @Suite(.serialized) struct StopTests {
    private func ps(_ cluster: LocalCluster, _ arguments: String...) throws -> [JSONValue] {
      let answer = try cluster.cli(["ps", "-o", "json"] + arguments)
      #expect(answer.status == 0, "\(answer)")
      return try #require(try JSONValue(parsing: answer.out)["models"]?.arrayValue)
    }

    private func complete(_ cluster: LocalCluster, _ model: String) throws -> (status: Int, body: String) {
      try cluster.http("POST", "/v1/completions", token: cluster.token, body: #"{"model":"\#(model)","prompt":"a","max_tokens":5,"seed":1}"#)
    }

    @Test(.timeLimit(.minutes(6))) func whatIsStoppedStaysStopped() throws {
      let cluster = try LocalCluster("stop")
      let none = try cluster.cli(["ps"])
      #expect(none.status == 69 && none.err.contains("PLT-1501"), "\(none)")
      #expect(try cluster.start(workers: 1).status == 0)
      let empty = try cluster.cli(["ps"])
      #expect(empty.status == 0 && empty.out.isEmpty && empty.err.contains("No model is being served"), "\(empty)")
      #expect(empty.err.contains("platform endpoints create"), "\(empty)")
      let nothing = try cluster.cli(["stop", "first"])
      #expect(nothing.status == 66 && nothing.err.contains("PLT-4304") && nothing.err.contains("Nothing is being served"), "\(nothing)")

      let base = TemporaryDirectory("noise")
      try NoiseModel.write(base)
      #expect(try cluster.cli(["models", "import", "main.demo.noise", base.path]).status == 0)
      for name in ["first", "second"] {
        let run = try cluster.submit(
          "resources:\n  jobs:\n    j:\n      name: n\n      tasks:\n        - { task_key: d, deploy_task: { endpoint: \(name), model: main.demo.noise } }\n")
        #expect(try cluster.finish(run)["state"]?.stringValue == "SUCCEEDED")
      }
      let before = try complete(cluster, "first")
      #expect(before.status == 200, "\(before)")
      let served = try ps(cluster)
      #expect(served.map { $0["endpoint"]?.stringValue } == ["first", "second"])
      let first = try #require(served.first)
      #expect(first["state"]?.stringValue == "RUNNING" && first["ready"]?.intValue == 1 && first["wanted"]?.intValue == 1, "\(first.sortedText)")
      #expect(first["memory_bytes"]?.intValue ?? 0 > 1 << 20 && first["last_request_at"]?.stringValue != nil && first["requests"]?.intValue == 1)
      #expect(first["nodes"]?.arrayValue?.count == 1 && first["model"]?.stringValue == "models:/main.demo.noise/1", "\(first.sortedText)")
      let table = try cluster.cli(["ps"])
      #expect(table.out.hasPrefix("ENDPOINT") && table.out.contains("main.demo.noise/1") && table.out.contains("s ago"), "\(table)")

      // Names are looked at before anything is done.
      for (words, status, part) in [
        (["first", "frist"], 66, "There are: first, second"), (["main.demo.noise"], 66, "served by first, second"), ([], 64, "platform ps"),
        (["--all", "first"], 64, "not both"), (["--all"], 64, "--yes"),
      ] as [([String], Int32, String)] {
        let refused = try cluster.cli(["stop"] + words)
        #expect(refused.status == status && refused.err.contains(part), "\(words): \(refused)")
      }
      #expect(try ps(cluster).allSatisfy { $0["state"]?.stringValue == "RUNNING" })

      // An answer that has begun is written to its end.
      let body = #"{"model":"first","prompt":"a","max_tokens":1900,"ignore_eos":true,"seed":1,"stream":true,"stream_options":{"include_usage":true}}"#
      let stream = try Program(
        "/usr/bin/curl",
        [
          "-sN", "--max-time", "100", "http://\(cluster.http)/v1/completions", "-H", "Authorization: Bearer \(cluster.token)", "-H",
          "Content-Type: application/json", "-d", body,
        ], output: .pipe)
      var lines = [try stream.line()]
      let stopped = try cluster.cli(["stop", "first"])
      #expect(stopped.status == 0 && stopped.err.contains("first stopped") && stopped.err.contains("platform scale endpoint first --replicas 1"), "\(stopped)")
      while let last = lines.last, !last.contains("[DONE]"), lines.count < 10_000 { lines.append(try stream.line()) }
      #expect(lines.contains { $0.contains(#""completion_tokens":1900"#) || $0.contains(#""completion_tokens" : 1900"#) }, "\(lines.suffix(6))")

      func stays() throws {
        #expect(try ps(cluster).map { $0["endpoint"]?.stringValue } == ["second"])
        #expect(try ps(cluster, "--all").map { $0["state"]?.stringValue } == ["STOPPED", "RUNNING"])
        let refused = try complete(cluster, "first")
        let models = try cluster.http("GET", "/v1/models", token: cluster.token).body
        #expect(models.contains(#""second""#) && !models.contains(#""first""#), "\(models)")
        #expect(try cluster.cli(["status"]).out.contains("ENDPOINTS 1/1"))
        #expect(refused.status == 503 && refused.body.contains("PLT-4540") && refused.body.contains("platform scale endpoint first"), "\(refused)")
        let again = try cluster.cli(["stop", "first"])
        #expect(again.status == 0 && again.err.contains("already stopped"), "\(again)")
      }
      try stays()
      #expect(try cluster.cli(["ps"]).err.contains("1 stopped: first"))
      #expect(try cluster.cli(["down"]).status == 0)
      #expect(try cluster.start(workers: 1).status == 0)
      try cluster.wait("the other endpoint") { try ps(cluster).first?["state"]?.stringValue == "RUNNING" }
      try stays()

      #expect(try cluster.cli(["scale", "endpoint", "first", "--replicas", "1"]).status == 0)
      let after = try complete(cluster, "first")
      #expect(after.status == 200)
      let all = try cluster.cli(["stop", "--all", "--yes", "-o", "json"])
      #expect(all.status == 0 && all.out.contains(#""desired_replicas" : 0"#), "\(all)")
      let rest = try cluster.cli(["ps"])
      #expect(rest.out.isEmpty && rest.err.contains("Stopped: first, second"), "\(rest)")
    }
  }
}
