// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// `platform endpoints create` and `delete`, and `platform embed`: from a model's name to an endpoint that answers, and to its end.
  @Suite(.serialized) struct EndpointCommandTests {
    private static let commit = "0123456789abcdef0123456789abcdef01234567"

    /// The hub's cache as `huggingface_hub` leaves it, with one model that is there whole.
    private func hubCache(_ folder: TemporaryDirectory) throws -> [String: String] {
      let root = folder.file("hub/models--org--noise")
      let made = TemporaryDirectory("noise")
      try NoiseModel.write(made)
      try FileManager.default.createDirectory(atPath: root + "/refs", withIntermediateDirectories: true)
      try FileManager.default.createDirectory(atPath: root + "/snapshots", withIntermediateDirectories: true)
      try Data(Self.commit.utf8).write(to: URL(fileURLWithPath: root + "/refs/main"))
      try FileManager.default.copyItem(atPath: made.path, toPath: root + "/snapshots/" + Self.commit)
      return ["HF_HOME": folder.path, "HF_HUB_OFFLINE": "1"]
    }

    private func complete(_ cluster: LocalCluster, _ model: String) throws -> (status: Int, body: String) {
      try cluster.http("POST", "/v1/completions", token: cluster.token, body: #"{"model":"\#(model)","prompt":"a","max_tokens":5,"seed":1}"#)
    }

    @Test(.timeLimit(.minutes(6))) func anEndpointIsMadeReplacedAndDeleted() throws {
      let cluster = try LocalCluster("endpoint-commands")
      #expect(try cluster.start(workers: 2).status == 0)
      #expect(try cluster.cli(["endpoints", "list"]).err.contains("platform endpoints create"))
      let cache = TemporaryDirectory("hub-cache")
      let hub = try hubCache(cache)
      func create(_ words: String...) throws -> LocalCluster.Output { try cluster.cli(["endpoints", "create"] + words, environment: hub) }

      // What cannot be is said before anything is fetched, registered or started.
      for (words, status, part) in [
        (["a b", "hf:org/noise"], 64, "letters, digits"), (["n", "org/noise"], 66, "hf:org/noise"), (["n", "main.default.none"], 66, "PLT-3002"),
        (["n", "hf:org/absent"], 66, "org/absent"), (["n", "main.default.none", "--as", "main.default.n"], 64, "PLT-4545"),
        (["n", "hf:org/noise", "--as", "noise"], 64, "PLT-3001"), (["n", "hf:org/noise", "--adapter", "x"], 64, "NAME=catalog.schema.model"),
      ] as [([String], Int32, String)] {
        let refused = try cluster.cli(["endpoints", "create"] + words, environment: hub)
        #expect(refused.status == status && refused.err.contains(part), "\(words): \(refused)")
      }
      #expect(try !cluster.cli(["models", "list", "--registered"]).out.contains("main.default"))

      let made = try create("first", "hf:org/noise")
      #expect(made.status == 0 && made.err.contains("first serves main.default.first/1: 1/1 replicas ready"), "\(made)")
      #expect(made.err.contains("platform chat first"))
      #expect(try complete(cluster, "first").status == 200)
      let twice = try create("first", "hf:org/noise")
      #expect(twice.status == 73 && twice.err.contains("--replace"), "\(twice)")

      // The same commit is not copied again; another form of the weights takes its place.
      let replaced = try create("first", "hf:org/noise@\(Self.commit)", "--replace", "--dtype", "f32", "--replicas", "2", "-o", "json")
      #expect(replaced.status == 0 && replaced.err.contains("main.default.first version 1 has it"), "\(replaced)")
      let endpoint = try JSONValue(parsing: replaced.out)
      #expect(endpoint["desired_replicas"]?.intValue == 2 && endpoint["model"]?.stringValue == "models:/main.default.first/1", "\(replaced)")
      #expect(try complete(cluster, "first").status == 200)

      let folder = TemporaryDirectory("folder")
      try NoiseModel.write(folder)
      let second = try create("second", folder.path, "--as", "main.demo.folder", "--wait", "0", "-o", "json")
      let run = try #require(try JSONValue(parsing: second.out)["run_id"]?.stringValue)
      #expect(try cluster.finish(run)["state"]?.stringValue == "SUCCEEDED")
      #expect(try complete(cluster, "second").status == 200)

      // Deleted in the middle of an answer, which is written to its end.
      let body = #"{"model":"second","prompt":"a","max_tokens":1900,"ignore_eos":true,"seed":1,"stream":true,"stream_options":{"include_usage":true}}"#
      let stream = try Program(
        "/usr/bin/curl",
        [
          "-sN", "--max-time", "100", "http://\(cluster.http)/v1/completions", "-H", "Authorization: Bearer \(cluster.token)", "-H",
          "Content-Type: application/json", "-d", body,
        ], output: .pipe)
      var lines = [try stream.line()]
      let asked = try cluster.cli(["endpoints", "delete", "second"])
      #expect(asked.status == 64 && asked.err.contains("--yes"), "\(asked)")
      let unknown = try cluster.cli(["endpoints", "delete", "secnd", "--yes"])
      #expect(unknown.status == 66 && unknown.err.contains("Did you mean 'second'"), "\(unknown)")
      let deleted = try cluster.cli(["endpoints", "delete", "second", "--yes"])
      #expect(deleted.status == 0 && deleted.err.contains("main.demo.folder/1 stays"), "\(deleted)")
      #expect(try complete(cluster, "second").status == 404)
      while let last = lines.last, !last.contains("[DONE]"), lines.count < 10_000 { lines.append(try stream.line()) }
      #expect(lines.contains { $0.contains(#""completion_tokens":1900"#) || $0.contains(#""completion_tokens" : 1900"#) }, "\(lines.suffix(6))")
      try cluster.wait("the end of its replicas") { try cluster.cli(["top", "--once", "-o", "json"]).out.contains("second") == false }

      // It stays deleted, also in a cluster that starts again, and its name is free.
      #expect(try cluster.cli(["down"]).status == 0)
      #expect(try cluster.start(workers: 2).status == 0)
      let list = try JSONValue(parsing: cluster.cli(["endpoints", "list", "-o", "json"]).out)
      #expect(list["endpoints"]?.arrayValue?.compactMap { $0["name"]?.stringValue } == ["first"], "\(list.sortedText)")
      #expect(try complete(cluster, "second").status == 404)
      let again = try create("second", "main.demo.folder@champion")
      #expect(again.status == 0 && again.err.contains("second serves main.demo.folder@champion"), "\(again)")
      #expect(try complete(cluster, "second").status == 200)
    }

    @Test(.timeLimit(.minutes(4)), .enabled(if: InstalledFiles.find("models/all-MiniLM-L6-v2") != nil, "all-MiniLM-L6-v2 is not installed"))
    func textsBecomeVectors() throws {
      let cluster = try LocalCluster("embed-command")
      #expect(try cluster.start(workers: 1).status == 0)
      let made = try cluster.cli(["endpoints", "create", "vectors", InstalledFiles.require("models/all-MiniLM-L6-v2", what: "all-MiniLM-L6-v2")])
      #expect(made.status == 0 && made.err.contains("platform embed vectors"), "\(made)")
      let texts = TemporaryDirectory("texts")
      let many = (0..<300).map { "text number \($0)" }
      try Data(JSONValue.array(many.map { .string($0) }).sortedText.utf8).write(to: URL(fileURLWithPath: texts.file("t.json")))
      let all = try cluster.cli(["embed", "vectors", "--file", texts.file("t.json")])
      let lines = all.out.split(separator: "\n")
      #expect(all.status == 0 && lines.count == 300, "\(all.err)")
      let one = try cluster.cli(["embed", "vectors", "text number 299", "-o", "json"])
      let single = try #require(try JSONValue(parsing: one.out).arrayValue?.first)
      let (a, b) = (
        try JSONValue(parsing: String(lines[299])).arrayValue?.compactMap(\.doubleValue) ?? [], single["embedding"]?.arrayValue?.compactMap(\.doubleValue) ?? []
      )
      #expect(single["text"]?.stringValue == "text number 299" && a.count == 384 && b.count == 384)
      // The same text in other company: the same vector but for the last bits of its sums.
      #expect(zip(a, b).allSatisfy { abs($0 - $1) < 1e-6 })
      let few = try cluster.cli(["embed", "vectors", "a", "--dimensions", "8"])
      #expect(try JSONValue(parsing: few.out).arrayValue?.count == 8)
      for (words, status) in [(["vectors"], 64), (["vectors", "a", "--file", "b"], 64), (["none", "a"], 66), (["vectors", "--file", "/none"], 66)]
        as [([String], Int32)]
      {
        let refused = try cluster.cli(["embed"] + words)
        #expect(refused.status == status && refused.out.isEmpty, "\(words): \(refused)")
      }
    }
  }
}
