// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// `platform chat` with served models: lines from a pipe, one message, a terminal with two columns, and what goes wrong.
  @Suite(.serialized) struct ChatCommandTests {
    private func talk(_ cluster: LocalCluster, _ arguments: String, _ lines: [String]) throws -> LocalCluster.Output {
      let input = cluster.folder.file("lines")
      try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: input))
      return try LocalCluster.run(
        "/bin/sh", ["-c", "exec \(LocalCluster.binary) chat \(arguments) < \(input)"], timeout: 120, environment: ["PLATFORM_HOME": cluster.data])
    }

    @Test(.timeLimit(.minutes(6))) func conversationsOverAPipeAndATerminal() throws {
      let cluster = try LocalCluster("chat")
      #expect(try cluster.start(workers: 1).status == 0)
      let none = try cluster.cli(["chat", "-m", "anybody?"])
      #expect(none.status != 0 && none.err.contains("no model is being served"), "\(none)")
      let base = TemporaryDirectory("noise")
      try NoiseModel.write(base)
      #expect(try cluster.cli(["models", "import", "main.demo.noise", base.path]).status == 0)
      func deploy(_ name: String) throws {
        let run = try cluster.submit(
          "resources:\n  jobs:\n    j:\n      name: n\n      tasks:\n        - { task_key: d, deploy_task: { endpoint: \(name), model: main.demo.noise } }\n")
        #expect(try cluster.finish(run)["state"]?.stringValue == "SUCCEEDED")
      }
      try deploy("first")

      // The one model need not be named; the same seed, the same answer.
      let once = try cluster.cli(["chat", "-m", "hello", "--seed", "3", "--max-tokens", "12"])
      let again = try cluster.cli(["chat", "first", "-m", "hello", "--seed", "3", "--max-tokens", "12"])
      #expect(once.status == 0 && once.out.count > 1 && once.out == again.out, "\(once) \(again)")

      let kept = cluster.folder.file("talk.json")
      let talk = try self.talk(
        cluster, "first",
        [
          "/set max_tokens 9", "/set seed 3", "/set temperature 0.7", "/set system be brief", "hello", "\"\"\"two", "lines\"\"\"", "/nonsense",
          "/set colour red", "/set top_p 7", "refused", "/set top_p", "/show", "/save \(kept)", "/clear", "/bye", "never said",
        ])
      #expect(talk.status == 0, "\(talk)")
      for part in ["there is no command /nonsense", "there is no setting colour", "top_p", "kept in \(kept): 2 questions"] {
        #expect(talk.err.contains(part), "\(part): \(talk.err)")
      }
      #expect(talk.err.components(separatedBy: "TTFT ").count == 3, "\(talk.err)")
      for part in ["models    first", "system    be brief", "max_tokens = 9", "seed = 3", "turns     2"] {
        #expect(talk.out.contains(part), "\(talk.out)")
      }
      let saved = try JSONValue(parsing: String(decoding: FileManager.default.contents(atPath: kept) ?? Data(), as: UTF8.self))
      #expect(saved["turns"]?.arrayValue?.map { $0["question"]?.stringValue } == ["hello", "two\nlines"], "\(saved.sortedText)")
      #expect(saved["turns"]?.arrayValue?.allSatisfy { $0["answers"]?["first"]?.stringValue?.isEmpty == false } == true)
      let loaded = try self.talk(cluster, "first", ["/load \(kept)", "/show", "/load \(base.file("config.json"))", "/load /nowhere/x"])
      #expect(loaded.status == 0 && loaded.out.contains("turns     2") && loaded.out.contains("system    be brief"), "\(loaded)")
      #expect(loaded.err.contains("kept with /save") && loaded.err.contains("/nowhere/x"), "\(loaded)")

      try deploy("second")
      let unnamed = try cluster.cli(["chat", "-m", "hello"])
      #expect(unnamed.status != 0 && unnamed.err.contains("first, second"), "\(unnamed)")
      let missing = try cluster.cli(["chat", "third", "-m", "hello"])
      #expect(missing.status != 0 && missing.err.contains("third"), "\(missing)")
      let both = try cluster.cli(["chat", "first", "second", "-m", "hello", "--seed", "3", "--max-tokens", "12"])
      #expect(both.status == 0 && both.out == "first:\n\(once.out)second:\n\(once.out)", "\(both)")
      let columns = try LocalCluster.run(
        "/usr/bin/script",
        ["-qec", "stty cols 100; \(LocalCluster.binary) chat first second -m hello --seed 3 --max-tokens 12", "/dev/null"], timeout: 120,
        environment: ["PLATFORM_HOME": cluster.data])
      #expect(columns.status == 0 && columns.out.contains(" │ second"), "\(columns)")
    }
  }
}
