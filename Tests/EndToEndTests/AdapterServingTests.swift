// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// Adapters of an endpoint's model, from the import to text over HTTP, and what becomes of an answer whose replica is killed.
  @Suite(.serialized, .enabled(if: Peers.python != nil, "no peer environment")) struct AdapterServingTests {
    private func deploy(_ cluster: LocalCluster, _ body: String) throws -> JSONValue {
      try cluster.finish(
        try cluster.submit("resources:\n  jobs:\n    j:\n      name: n\n      tasks:\n        - { task_key: d, deploy_task: { \(body) } }\n"))
    }

    private func text(_ cluster: LocalCluster, _ options: String) throws -> String {
      let answer = try cluster.http("POST", "/v1/completions", token: cluster.token, body: "{\(options)}")
      guard answer.status == 200 else { throw PlatformError(.internalError, "\(options): \(answer)") }
      return try JSONValue(parsing: answer.body)["choices"]?.arrayValue?.first?["text"]?.stringValue ?? ""
    }

    private func replica(_ cluster: LocalCluster, _ unit: String) -> Int32? {
      FileManager.default.contents(atPath: "\(cluster.data)/workers/w0/units/\(unit)").flatMap { Int32(String(decoding: $0, as: UTF8.self)) }
    }

    /// The text of a stream, during which the replica is killed.
    private func disturbed(_ cluster: LocalCluster, _ options: String) throws -> String {
      try cluster.wait("the replica") { replica(cluster, "service_noise_0").map { kill($0, 0) == 0 } ?? false }
      let victim = try #require(replica(cluster, "service_noise_0"))
      let file = cluster.folder.file("stream-\(UInt32.random(in: 0 ... .max))")
      let client = try Program(
        "/usr/bin/curl",
        [
          "-sN", "--max-time", "240", "-o", file, "-X", "POST", "http://\(cluster.http)/v1/completions", "-H", "Authorization: Bearer \(cluster.token)",
          "-H", "Content-Type: application/json", "--data-binary", #"{"stream": true, \#(options)}"#,
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

    private func moved(_ cluster: LocalCluster, _ name: String) throws -> Double {
      let start = "platform_endpoint_moved_total{endpoint=\"\(name)\"} "
      let lines = try cluster.http("GET", "/metrics", token: cluster.token).body.split(separator: "\n")
      return lines.first { $0.hasPrefix(start) }.flatMap { Double($0.dropFirst(start.count)) } ?? 0
    }

    @Test(.timeLimit(.minutes(10))) func adaptersAreModelsOfTheirOwn() throws {
      let cluster = try LocalCluster("adapters")
      #expect(try cluster.start(workers: 1).status == 0)
      let base = TemporaryDirectory("noise")
      try NoiseModel.write(base)
      let modules = AdapterFolder.llama(layers: 1, hidden: 32, keys: 16, inner: 64)
      let folders = TemporaryDirectory("adapters")
      try AdapterFolder(modules, seed: 1).write(to: folders.file("polite"))
      try AdapterFolder(modules.filter { $0.name.hasSuffix("v_proj") }, rank: 8, alpha: 40, seed: 2).write(to: folders.file("brief"))
      try AdapterFolder([("model.layers.3.mlp.up_proj", 32, 64)], seed: 3).write(to: folders.file("foreign"))
      var broken = AdapterFolder(modules, seed: 4)
      broken.configuration["use_dora"] = true
      try broken.write(to: folders.file("dora"))
      #expect(try cluster.cli(["models", "import", "main.demo.noise", base.path]).status == 0)
      for name in ["polite", "brief", "foreign"] {
        let imported = try cluster.cli(["models", "import", "main.demo.\(name)", folders.file(name)])
        #expect(imported.status == 0 && imported.err.contains("a LoRA adapter"), "\(imported.all)")
      }
      let refused = try cluster.cli(["models", "import", "main.demo.dora", folders.file("dora")])
      #expect(refused.status != 0 && refused.err.contains("PLT-4504") && refused.err.contains("use_dora"), "\(refused.all)")

      let run = try deploy(cluster, "endpoint: noise, model: main.demo.noise, adapters: { polite: main.demo.polite, brief: main.demo.brief/1 }, max_loras: 1")
      #expect(run["state"] == "SUCCEEDED", "\(run.sortedText)")
      let listed = try cluster.cli(["endpoints", "get", "noise"])
      #expect(listed.out.contains("polite") && listed.out.contains("models:/main.demo.brief/1"), "\(listed.all)")
      let answer = try LocalCluster.run(Peers.python ?? "", ["-c", Self.script], timeout: 240, environment: cluster.clientEnvironment)
      #expect(answer.status == 0 && answer.out.contains("all done"), "\(answer.all.suffix(4000))")

      try refusals(cluster)
      try commands(cluster, base.path, folders.file("polite"))

      // A model in parts says the same.
      let split = try deploy(cluster, "endpoint: split, model: main.demo.noise, tensor_parallel: 2, adapters: { both: main.demo.polite }")
      #expect(split["state"] == "SUCCEEDED", "\(split.sortedText)")
      let drawn = #""prompt": "The server reads", "max_tokens": 60, "temperature": 0.9, "seed": 7, "ignore_eos": true, "logprobs": 2"#
      #expect(try text(cluster, #""model": "both", \#(drawn)"#) == text(cluster, #""model": "polite", \#(drawn)"#))
      #expect(try text(cluster, #""model": "split", \#(drawn)"#) == text(cluster, #""model": "noise", \#(drawn)"#))

      // A replica that is killed in the middle of an answer.
      let long = #""prompt": "once", "max_tokens": 1500, "temperature": 0.8, "seed": 5, "ignore_eos": true, "frequency_penalty": 0.4"#
      let whole = try text(cluster, #""model": "polite", \#(long)"#)
      #expect(whole.utf8.count > 500)
      #expect(try text(cluster, #""model": "noise", \#(long)"#) != whole)
      var hasMoved = false
      for _ in 0..<10 where !hasMoved {
        let before = try moved(cluster, "polite")
        #expect(try disturbed(cluster, #""model": "polite", \#(long)"#) == whole)
        hasMoved = try moved(cluster, "polite") > before
      }
      #expect(hasMoved, "the replica was never killed in the middle of an answer")

      // Other adapters, the same replica; a coordinator that starts again knows them.
      try cluster.wait("the replica") { replica(cluster, "service_noise_0").map { kill($0, 0) == 0 } ?? false }
      let process = replica(cluster, "service_noise_0")
      let again = try deploy(cluster, "endpoint: noise, model: main.demo.noise, adapters: { courteous: main.demo.polite }, max_loras: 1")
      #expect(again["state"] == "SUCCEEDED", "\(again.sortedText)")
      #expect(replica(cluster, "service_noise_0") == process)
      let hello = #""prompt": "hello", "max_tokens": 30, "temperature": 0, "ignore_eos": true"#
      let told = try text(cluster, #""model": "courteous", \#(hello)"#)
      #expect(try cluster.http("POST", "/v1/completions", token: cluster.token, body: #"{"model": "polite", \#(hello)}"#).status == 404)
      try loads(cluster, hello)
      for coordinator in cluster.processes(["coordinator"]) { kill(coordinator, SIGKILL) }
      try cluster.wait("the coordinator") {
        let answer = try? cluster.http("POST", "/v1/completions", token: cluster.token, body: #"{"model": "courteous", \#(hello)}"#)  // not there yet
        guard let answer, answer.status == 200 else { return false }
        return try JSONValue(parsing: answer.body)["choices"]?.arrayValue?.first?["text"]?.stringValue == told
      }
      // What a request brought is still there, also for a replica that starts anew; then it goes.
      let brought = try text(cluster, #""model": "hot", \#(hello)"#)
      #expect(brought != told)
      if let process = replica(cluster, "service_noise_0") { kill(process, SIGKILL) }
      #expect(try text(cluster, #""model": "hot", \#(hello)"#) == brought)
      #expect(try change(cluster, "unload", #""lora_name": "hot""#).status == 200)
      #expect(try change(cluster, "unload", #""lora_name": "hot""#).status == 404)
      #expect(try cluster.http("POST", "/v1/completions", token: cluster.token, body: #"{"model": "hot", \#(hello)}"#).status == 404)
    }

    private func change(_ cluster: LocalCluster, _ what: String, _ body: String, token: String? = nil) throws -> (status: Int, body: String) {
      let isWhole = what == "unload" || body.contains("base_model_name")
      return try cluster.http(
        "POST", "/v1/\(what)_lora_adapter", token: token ?? cluster.token, body: isWhole ? "{\(body)}" : #"{\#(body), "base_model_name": "noise"}"#)
    }

    /// Adapters come and go by requests of administrators, and stay when the endpoint is deployed again.
    private func loads(_ cluster: LocalCluster, _ hello: String) throws {
      let process = replica(cluster, "service_noise_0")
      let ambiguous = try change(cluster, "load", #""lora_name": "hot", "lora_path": "main.demo.brief", "base_model_name": null"#)
      #expect(ambiguous.status == 400 && ambiguous.body.contains("PLT-4509"), "\(ambiguous)")
      let made = try change(cluster, "load", #""lora_name": "hot", "lora_path": "main.demo.brief""#)
      #expect(made.status == 200 && made.body == "Success: LoRA adapter 'hot' added successfully.", "\(made)")
      let hot = try text(cluster, #""model": "hot", \#(hello)"#)
      #expect(try hot != text(cluster, #""model": "noise", \#(hello)"#))
      for (body, status, says) in [
        (#""lora_name": "hot", "lora_path": "main.demo.brief""#, 409, "already been loaded"),
        (#""lora_name": "noise", "lora_path": "main.demo.brief""#, 409, "PLT-4507"), (#""lora_name": "x", "lora_path": "main.demo.foreign""#, 400, "PLT-4505"),
        (#""lora_name": "x", "lora_path": "main.demo.noise""#, 400, "PLT-4508"), (#""lora_name": "x", "lora_path": "/tmp/x""#, 400, "registered models"),
        (#""lora_name": "x", "lora_path": "main.demo.nobody""#, 404, "main.demo.nobody"),
        (#""lora_name": "a b", "lora_path": "main.demo.brief""#, 400, "PLT-4509"),
        (#""lora_name": "x""#, 400, "lora_path"), (#""lora_name": "x", "lora_path": "main.demo.brief", "base_model_name": "nobody""#, 404, "nobody"),
        (#""lora_name": "x", "lora_path": "main.demo.brief", "rank": 4"#, 400, "'rank'"),
      ] {
        let refused = try change(cluster, "load", body)
        #expect(refused.status == status && refused.body.contains(says), "\(body): \(refused)")
      }
      #expect(try change(cluster, "load", #""lora_name": "hot2", "lora_path": "main.demo.brief", "base_model_name": "split""#).status == 200)
      #expect(try text(cluster, #""model": "hot2", \#(hello)"#) == hot)
      let other = #""lora_name": "hot", "lora_path": "main.demo.polite", "load_inplace": true, "base_model_name": "noise""#
      #expect(try change(cluster, "load", other).status == 200)
      #expect(try text(cluster, #""model": "hot", \#(hello)"#) == text(cluster, #""model": "courteous", \#(hello)"#))
      #expect(try change(cluster, "load", #""lora_name": "hot", "lora_path": "main.demo.brief/1", "load_inplace": true"#).status == 200)
      let user = try cluster.cli(["users", "create", "eve"])
      let secret = user.out.trimmingCharacters(in: .whitespacesAndNewlines)
      for what in ["load", "unload"] {
        let refused = try change(cluster, what, #""lora_name": "hot", "lora_path": "main.demo.brief""#, token: secret)
        #expect(refused.status == 403, "\(user.all): \(refused)")
      }
      let again = try deploy(cluster, "endpoint: noise, model: main.demo.noise, adapters: { courteous: main.demo.polite }, max_loras: 1")
      #expect(again["state"] == "SUCCEEDED", "\(again.sortedText)")
      #expect(try text(cluster, #""model": "hot", \#(hello)"#) == hot)
      let encoder = try deploy(cluster, "endpoint: noise, model: system.ai.minilm")
      #expect(encoder["state"] == "FAILED" && encoder.sortedText.contains("PLT-4506"), "\(encoder.sortedText)")
      #expect(replica(cluster, "service_noise_0") == process)
    }

    private func refusals(_ cluster: LocalCluster) throws {
      for (body, number) in [
        ("endpoint: other, model: main.demo.polite", "PLT-4508"),
        ("endpoint: other, model: main.demo.noise, adapters: { x: main.demo.noise }", "PLT-4508"),
        ("endpoint: other, model: main.demo.noise, adapters: { x: main.demo.foreign }", "PLT-4505"),
        ("endpoint: other, model: main.demo.noise, tensor_parallel: 2, adapters: { x: main.demo.foreign }", "PLT-4505"),
        ("endpoint: other, model: system.ai.minilm, adapters: { x: main.demo.polite }", "PLT-4506"),
        ("endpoint: other, model: main.demo.noise, adapters: { polite: main.demo.polite }", "PLT-4507"),
        ("endpoint: other, model: main.demo.noise, adapters: { noise: main.demo.polite }", "PLT-4507"),
        ("endpoint: other, model: main.demo.noise, adapters: { other: main.demo.polite }", "PLT-4507"),
        ("endpoint: polite, model: main.demo.noise", "PLT-4507"),
      ] {
        let run = try deploy(cluster, body)
        #expect(run["state"] == "FAILED" && run.sortedText.contains(number), "\(body): \(run.sortedText)")
      }
      for (body, number) in [
        ("adapters: [ main.demo.polite ]", "PLT-1202"), ("adapters: { \"a b\": main.demo.polite }", "PLT-1204"), ("adapters: { a: polite }", "PLT-1204"),
      ] {
        let file = try cluster.write(
          "bad.yml", "resources:\n  jobs:\n    j:\n      tasks:\n        - { task_key: d, deploy_task: { endpoint: e, model: main.demo.noise, \(body) } }\n")
        let answer = try cluster.cli(["submit", file])
        #expect(answer.status != 0 && answer.err.contains(number), "\(body): \(answer.all)")
      }
    }

    /// What the commands without a cluster compute is what is served.
    private func commands(_ cluster: LocalCluster, _ model: String, _ adapter: String) throws {
      let ids = try cluster.write("ids.json", "[40, 41, 42, 43]")
      let words = ["model", "generate", model, "--ids", ids, "--max-tokens", "40", "--ignore-eos"]
      let plain = try cluster.cli(words)
      let made = try cluster.cli(words + ["--adapter", adapter])
      #expect(plain.status == 0 && made.status == 0 && plain.out != made.out, "\(made.all)")
      let lists = try cluster.write("lists.json", "[\(made.out)]")
      let texts = try cluster.cli(["detokenize", model, "--ids", lists])
      let served = try text(cluster, #""model": "polite", "prompt": [40, 41, 42, 43], "max_tokens": 40, "temperature": 0, "ignore_eos": true"#)
      #expect(try JSONValue(parsing: texts.out).arrayValue?.first?.stringValue == served, "\(texts.all)")
      let out = cluster.folder.file("logits.f32")
      let logits = try cluster.cli(["model", "logits", model, "--ids", ids, "--out", out, "--adapter", adapter])
      #expect(logits.status == 0 && FileManager.default.contents(atPath: out)?.count == 4 * 257 * 4, "\(logits.all)")
      let split = try cluster.cli(words + ["--adapter", adapter, "--tensor-parallel", "2"])
      #expect(split.status == 0 && split.out == made.out, "\(split.all)")
      let bench = try cluster.cli(
        ["model", "bench", model, "--prompt", "20", "--generate", "8", "--parallel", "3", "--adapter", adapter, "--adapter", adapter, "-o", "json"])
      let told = try JSONValue(parsing: bench.out)
      let read = (told["decode"]?.arrayValue?.first?["bytes_per_step"]?.intValue ?? 0) - (told["weight_bytes_per_token"]?.intValue ?? 0)
      // Two adapters of 2048 numbers, beside what three requests have in the cache.
      let cache = 3 * 20 * (told["cache_bytes_per_token"]?.intValue ?? 0)
      #expect(bench.status == 0 && read == cache + 2 * 2048 * 4, "\(bench.all)")
      let none = try cluster.cli(words + ["--adapter", model])
      #expect(none.status != 0 && none.err.contains("PLT-4503"), "\(none.all)")
    }

    private static let script = #"""
      import openai, concurrent.futures, json, os, urllib.request
      client = openai.OpenAI(max_retries=0)
      models = {m.id: m for m in client.models.list()}
      assert models["polite"].parent == models["brief"].parent == "noise" and models["noise"].parent is None, models
      assert models["polite"].root == "models:/main.demo.polite/1" and models["noise"].root == "models:/main.demo.noise/1"
      assert client.models.retrieve("brief").parent == "noise"
      def ask(model, seed=1, **options):
          answer = client.completions.create(model=model, prompt="hello there", seed=seed, **{"max_tokens": 40, "extra_body": {"ignore_eos": True}, **options})
          assert answer.model == model
          return answer.choices[0].text
      names = ["noise", "polite", "brief"]
      alone = {(name, seed): ask(name, seed) for name in names for seed in range(6)}
      assert len(set(alone.values())) == 18
      # All at once, with one place for adapters: the same, some have to wait.
      with concurrent.futures.ThreadPoolExecutor(18) as pool:
          for _ in range(2):
              assert dict(zip(alone, pool.map(lambda key: ask(*key), alone))) == alone
      # Chats, streams, log-probabilities.
      hello = [{"role": "user", "content": "hello"}]
      for name in names:
          whole = client.chat.completions.create(model=name, messages=hello, seed=3, max_tokens=20, logprobs=True)
          parts = list(client.chat.completions.create(model=name, messages=hello, seed=3, max_tokens=20, stream=True))
          assert "".join(p.choices[0].delta.content or "" for p in parts if p.choices) == whole.choices[0].message.content
          assert {p.model for p in parts} == {name}
      # The prefix cache keeps them apart: a prompt of three blocks is found by its own adapter alone.
      ids = [3 + x * 7 % 90 for x in range(50)]
      def cached(name): return client.completions.create(model=name, prompt=ids, max_tokens=1).usage.prompt_tokens_details.cached_tokens
      assert [cached(name) for name in names] == [0, 0, 0] and [cached(name) for name in names] == [48, 48, 48]
      ask_tokens = lambda name: urllib.request.urlopen(urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/tokenize", data=json.dumps({"model": name, "prompt": "hello"}).encode(),
          headers={"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "Content-Type": "application/json"}), timeout=60).read()
      assert ask_tokens("polite") == ask_tokens("noise")
      try:
          ask("nobody")
          raise AssertionError("a model that does not exist answered")
      except openai.NotFoundError: pass
      try:
          client.embeddings.create(model="polite", input="x")
          raise AssertionError("an adapter of a language model embedded")
      except openai.BadRequestError: pass
      page = urllib.request.Request(os.environ["OPENAI_BASE_URL"].removesuffix("/v1") + "/metrics", headers={"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]})
      lines = urllib.request.urlopen(page, timeout=60).read().decode().splitlines()
      info = [l for l in lines if l.startswith("vllm:lora_requests_info{")]
      assert len(info) == 1 and 'max_lora="1"' in info[0] and 'running_lora_adapters=""' in info[0], info
      assert any(l.startswith('platform_endpoint_requests_total{endpoint="polite"}') for l in lines)
      print("all done")
      """#
  }
}
