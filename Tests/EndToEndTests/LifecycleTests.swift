// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// The loop from files to a served model, and what happens to it when processes are killed.
  @Suite(.serialized) struct LifecycleTests {
    private func workflow(_ input: String, steps: Int, name: String = "lifecycle") -> String {
      """
      resources:
        jobs:
          lifecycle:
            name: \(name)
            tasks:
              - task_key: ingest
                ingest_task: { input: "\(input)", table: main.demo.documents, quarantine: main.demo.quarantine, limit: 400000 }
              - task_key: prepare
                depends_on: [ { task_key: ingest } ]
                prepare_task: { source: main.demo.documents, output: main.demo.chunks, chunk_tokens: 100, overlap: 16, split: { train: 0.7, test: 0.3 } }
              - task_key: embed
                depends_on: [ { task_key: prepare } ]
                embed_task: { source: main.demo.chunks, output: main.demo.embeddings }
              - task_key: index
                depends_on: [ { task_key: embed } ]
                index_sync_task: { index: main.demo.docs_index, source: main.demo.embeddings }
              - task_key: encoder
                depends_on: [ { task_key: ingest } ]
                deploy_task: { endpoint: minilm, model: system.ai.minilm }
              - task_key: train
                depends_on: [ { task_key: prepare } ]
                train_task:
                  data: main.demo.chunks
                  register_as: main.demo.doc_lm
                  vocabulary: 512
                  hidden: 48
                  layers: 2
                  heads: 4
                  kv_heads: 2
                  intermediate: 128
                  sequence_length: 64
                  batch_tokens: 512
                  steps: \(steps)
                  learning_rate: 0.01
                  checkpoint: { every_steps: 20 }
                  compute: { tensor_parallel: 2 }
              - task_key: evaluate
                depends_on: [ { task_key: train } ]
                evaluate_task: { model: "{{tasks.train.values.model_uri}}", data: main.demo.chunks, gate: { max_ratio_to_unigram: 0.9 } }
              - task_key: deploy
                depends_on: [ { task_key: evaluate } ]
                deploy_task: { endpoint: demo-lm, model: "{{tasks.train.values.model_uri}}", replicas: 2 }
              - task_key: monitor
                depends_on: [ { task_key: prepare } ]
                monitor_task: { table: main.demo.chunks, baseline: main.demo.chunks, output: main.demo.watch, columns: [ tokens, split ] }
      """
    }

    @Test func documentsBecomeAnAnsweringModel() throws {
      let cluster = try LocalCluster("lifecycle")
      #expect(try cluster.start(workers: 2).status == 0)
      let run = try cluster.finish(try cluster.submit(workflow(try cluster.documents(40), steps: 150)))
      #expect(run["state"] == "SUCCEEDED", "\(run.sortedText)")
      // Sharded stages ran on both workers, and so did the two ranks.
      for task in ["prepare", "embed", "train"] {
        #expect(run.task(task)["workers"]?.arrayValue?.count == 2, "\(task): \(run.task(task).sortedText)")
      }
      let values = run.task("evaluate")["values"] ?? .null
      let perplexity = try #require(values["perplexity"]?.doubleValue)
      let unigram = try #require(values["unigram"]?.doubleValue)
      #expect(perplexity < unigram)
      #expect(run.task("monitor")["values"]?["alerts"] == [])

      // Tables, index, vectors.
      let chunks = try cluster.scalar("select count(*) from main.demo.chunks")
      #expect(try cluster.scalar("select count(*) from main.demo.embeddings") == chunks)
      #expect(try cluster.scalar("select count(distinct chunk_id) from main.demo.embeddings") == chunks)
      let hits = try JSONValue(
        parsing: cluster.cli([
          "index", "query", "main.demo.docs_index", "the scheduler returns a message", "-k", "3", "-o", "json",
        ]).out)
      #expect(hits["hits"]?.arrayValue?.count == 3)
      #expect((hits["hits"]?.arrayValue?.first?["score"]?.doubleValue ?? 0) > 0.3)
      #expect(hits["hits"]?.arrayValue?.first?["path"]?.stringValue?.contains("doc-") == true)

      // Every kind of request leaves one row within a second of its reply.
      usleep(1_000_000)
      let before = try cluster.requestRows()
      let bodies = [
        (#"{"model":"demo-lm","prompt":"The server","max_tokens":8,"temperature":0}"#, "/v1/completions", 200),
        (
          #"{"model":"demo-lm","messages":[{"role":"user","content":"hi"}],"max_tokens":8,"stream":true}"#,
          "/v1/chat/completions", 200
        ),
        (#"{"model":"nobody","prompt":"x"}"#, "/v1/completions", 404),
        (#"{"model":"demo-lm","prompt":7}"#, "/v1/completions", 400),
        (#"{"model":"minilm","input":"hello"}"#, "/v1/embeddings", 200),
      ]
      for (body, path, status) in bodies {
        #expect(try cluster.http("POST", path, token: cluster.token, body: body).status == status, "\(body)")
      }
      usleep(1_000_000)
      #expect(try cluster.requestRows() == before + bodies.count)
      try watchRequests(cluster)

      // Scaling while answers stream fails none of them.
      if Peers.python != nil {
        let script = """
          import concurrent.futures as cf, openai, os, subprocess, sys
          client = openai.OpenAI(max_retries=0)
          def stream(i):
              text = ""
              for chunk in client.chat.completions.create(model="demo-lm", messages=[{"role": "user", "content": "The worker"}],
                  max_tokens=40, seed=i, stream=True):
                  if chunk.choices: text += chunk.choices[0].delta.content or ""
              return text
          calm = [stream(i) for i in range(16)]
          with cf.ThreadPoolExecutor(17) as pool:
              scale = pool.submit(subprocess.run, [sys.argv[1], "scale", "endpoint", "demo-lm", "--replicas", "3"], capture_output=True, text=True)
              rounds = [list(pool.map(stream, range(16))) for _ in range(3)]
              done = scale.result()
          assert done.returncode == 0, done.stderr
          assert all(r == calm for r in rounds), "an answer differs"
          down = subprocess.run([sys.argv[1], "scale", "endpoint", "demo-lm", "--replicas", "1"], capture_output=True, text=True)
          assert down.returncode == 0, down.stderr
          assert [stream(i) for i in range(4)] == calm[:4]
          vectors = client.embeddings.create(model="minilm", input=["a", "b"]).data
          assert len(vectors) == 2 and abs(sum(x * x for x in vectors[0].embedding) - 1) < 1e-3
          assert "demo-lm" in [m.id for m in client.models.list()]
          try:
              client.completions.create(model="nope", prompt="x"); assert False
          except openai.NotFoundError:
              pass
          print("ok")
          """
        let answer = try LocalCluster.run(
          Peers.python!, ["-c", script, LocalCluster.binary], timeout: 240,
          environment: cluster.clientEnvironment.merging(["PLATFORM_HOME": cluster.data]) { $1 })
        #expect(answer.status == 0 && answer.out.contains("ok"), "\(answer.all)")

        // transformers opens the model's folder, and continues a text as the endpoint does.
        let weights = try LocalCluster.run("/usr/bin/find", [cluster.data + "/models/main.demo.doc_lm", "-name", "config.json"], timeout: 20).out
        let directory = try #require(weights.split(separator: "\n").first.map { ($0 as Substring).dropLast("/config.json".count) })
        let continued = try Peers.run(
          """
          import sys, torch
          from transformers import AutoModelForCausalLM, AutoTokenizer
          m, t = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32), AutoTokenizer.from_pretrained(sys.argv[1])
          ids = t(sys.argv[2], return_tensors="pt").input_ids
          out = m.generate(ids, max_new_tokens=16, do_sample=False)
          print(t.decode(out[0][ids.shape[1]:], skip_special_tokens=True), end="")
          """, [String(directory), "The server reads the file"])
        let served = try cluster.http(
          "POST", "/v1/completions", token: cluster.token,
          body: #"{"model":"demo-lm","prompt":"The server reads the file","max_tokens":16,"temperature":0}"#)
        #expect(try JSONValue(parsing: served.body)["choices"]?.arrayValue?.first?["text"]?.stringValue == continued)

        // Other readers see the same table at each version.
        let location = try cluster.tableFolder("chunks")
        let rows = try Peers.run(
          "import sys, deltalake; t = deltalake.DeltaTable(sys.argv[1]); print(t.version(), t.to_pyarrow_table().num_rows, flush=True); __import__('os')._exit(0)",
          [location])
        #expect(
          rows.split(separator: " ").last.map { $0.trimmingCharacters(in: .whitespacesAndNewlines) } == chunks.sortedText)
      }
      #expect(
        try cluster.http("GET", "/metrics", token: cluster.token).body.contains(
          "platform_endpoint_requests_total{endpoint=\"demo-lm\"}"))
      let dashboard = try JSONValue(parsing: cluster.http("GET", "/api/2.0/console/dashboard", token: cluster.token).body)
      #expect((dashboard["loss"]?["points"]?.arrayValue?.count ?? 0) > 10)
      #expect(dashboard["nodes"]?.arrayValue?.count == 2)
      let logs = try cluster.cli(["runs", "logs", run["run_id"]?.stringValue ?? ""])
      #expect(logs.out.contains("shared memory"))
    }

    /// How many workers share the documents changes nothing in any row.
    @Test func rowsAreTheSameForAnyNumberOfWorkers() throws {
      let input = try LocalCluster("input")
      let documents = try input.documents(60)
      var seen: [[JSONValue]] = []
      for workers in [1, 2, 4] {
        let cluster = try LocalCluster("workers\(workers)")
        #expect(try cluster.start(workers: workers).status == 0)
        let run = try cluster.finish(
          try cluster.submit(
            """
            resources:
              jobs:
                j:
                  name: rows
                  tasks:
                    - task_key: ingest
                      ingest_task: { input: "\(documents)", table: main.demo.documents }
                    - task_key: prepare
                      depends_on: [ { task_key: ingest } ]
                      prepare_task: { source: main.demo.documents, output: main.demo.chunks, chunk_tokens: 100, overlap: 16, split: { train: 0.8, test: 0.2 } }
                    - task_key: embed
                      depends_on: [ { task_key: prepare } ]
                      embed_task: { source: main.demo.chunks, output: main.demo.embeddings }
            """))
        #expect(run["state"] == "SUCCEEDED", "\(run.sortedText)")
        seen.append([
          try cluster.scalar("select md5(string_agg(path || sha256 || content, '' order by path)) from main.demo.documents"),
          try cluster.scalar("select md5(string_agg(chunk_id || path || position || text || tokens || split, '' order by chunk_id)) from main.demo.chunks"),
          try cluster.scalar("select count(*) from main.demo.embeddings"),
          // Batches differ with the shards, and with them the last bits of a sum.
          try cluster.scalar("select round(sum(embedding[1] + 2 * embedding[100] + 3 * embedding[384]), 3)::varchar from main.demo.embeddings"),
        ])
        #expect(try cluster.cli(["down"]).status == 0)
      }
      #expect(seen[0] == seen[1] && seen[0] == seen[2], "\(seen)")
      #expect((seen[0][2].intValue ?? 0) > 60)
    }

    /// The log of an endpoint becomes a table that is watched like any other.
    private func watchRequests(_ cluster: LocalCluster) throws {
      func watch(_ body: String) throws -> JSONValue {
        try cluster.finish(
          try cluster.submit(
            "resources:\n  jobs:\n    j:\n      name: watch\n      tasks:\n        - task_key: m\n          monitor_task: \(body)\n"))
      }
      for index in 0..<30 {
        let words = index < 15 ? "The server" : "The server reads the file and a message and the result and every row"
        let body = #"{"model":"demo-lm","prompt":"\#(words)","max_tokens":\#(index < 15 ? 2 : 20),"temperature":0}"#
        #expect(try cluster.http("POST", "/v1/completions", token: cluster.token, body: body).status == 200)
      }
      usleep(1_000_000)
      let run = try watch("{ endpoint: demo-lm, output: main.demo.served }")
      #expect(run["state"] == "SUCCEEDED", "\(run.sortedText)")
      #expect(run.task("m")["values"]?["alerts"]?.arrayValue?.contains("prompt_tokens") == true, "\(run.sortedText)")
      let logged = try cluster.scalar("select count(*) from main.demo.served_requests where operation = 'completions' and status = 200")
      #expect((logged.intValue ?? 0) >= 30)
      #expect(try cluster.scalar("select alert from main.demo.served_drift where column_name = 'completion_tokens'") == true)
      let same = try watch("{ endpoint: demo-lm, baseline: main.demo.served_requests, columns: [ prompt_tokens ], output: main.demo.again }")
      #expect(same.task("m")["values"]?["alerts"] == [], "\(same.sortedText)")
      let nobody = try watch("{ endpoint: nobody-asked, output: main.demo.none }")
      #expect(nobody["state"] == "FAILED" && nobody.task("m").sortedText.contains("PLT-4502"), "\(nobody.sortedText)")
    }

    @Test func killedProcessesLoseNothing() throws {
      let cluster = try LocalCluster("kill")
      #expect(try cluster.start(workers: 2).status == 0)
      let documents = try cluster.documents(40)

      // In peace.
      let calm = try cluster.finish(try cluster.submit(workflow(documents, steps: 120, name: "calm")))
      #expect(calm["state"] == "SUCCEEDED", "\(calm.sortedText)")
      let rows = try cluster.scalar("select count(*) from main.demo.embeddings")
      let loss = try #require(calm.task("train")["values"]?["final_loss"]?.doubleValue)

      // A rank, a worker and the coordinator die while the same runs again.
      let id = try cluster.submit(workflow(documents, steps: 120, name: "fire"))
      try cluster.wait("a rank at work") { cluster.executor("\(id)_train_1_2_") != nil }
      usleep(700_000)
      if let rank = cluster.executor("\(id)_train_1_2_0") { kill(rank, SIGKILL) }
      try cluster.wait("an embedding shard") {
        try cluster.executor("\(id)_embed") != nil || cluster.run(id).task("embed")["state"] == "SUCCEEDED"
      }
      if let worker = cluster.processes(["worker", "w1"]).first { kill(worker, SIGKILL) }
      usleep(500_000)
      for coordinator in cluster.processes(["coordinator"]) { kill(coordinator, SIGKILL) }
      let fire = try cluster.finish(id)
      #expect(fire["state"] == "SUCCEEDED", "\(fire.sortedText)")
      #expect(try cluster.scalar("select count(*) from main.demo.embeddings") == rows)
      #expect(try cluster.scalar("select count(distinct chunk_id) from main.demo.embeddings") == rows)
      let again = try #require(fire.task("train")["values"]?["final_loss"]?.doubleValue)
      // A resumed gang of the same layout and seed computes the same bits.
      #expect(again == loss)

      // Postgres dies: what was acknowledged is there, and everything answers again.
      let server = String(
        decoding: FileManager.default.contents(atPath: cluster.data + "/pg/data/postmaster.pid") ?? Data(), as: UTF8.self)
      if let pid = server.split(separator: "\n").first.flatMap({ Int32($0) }) { kill(pid, SIGKILL) }
      try cluster.wait("the API after Postgres came back") {
        try cluster.cli(["status"]).status == 0 && cluster.http("GET", "/readyz", token: nil).status == 200
      }
      #expect(try cluster.scalar("select count(*) from main.demo.embeddings") == rows)

      // A worker that joins while everything runs.
      let token = try cluster.cli(["token", "create"])
      let words = token.out.split(separator: " ").map(String.init)
      #expect(words.count >= 5, "\(token.all)")
      let joined = try Program(
        LocalCluster.binary,
        [
          "join", words[2], "--token", words[4].trimmingCharacters(in: .whitespacesAndNewlines), "--name", "w9", "--data-dir",
          cluster.folder.file("joined"),
        ])
      defer {
        joined.signal(SIGTERM)
        joined.wait()
      }
      try cluster.wait("the joined worker") { try cluster.cli(["nodes", "list"]).out.contains("w9") }
      let reused = try cluster.cli(
        [
          "join", words[2], "--token", words[4].trimmingCharacters(in: .whitespacesAndNewlines), "--name", "w10",
          "--data-dir", cluster.folder.file("second"),
        ], timeout: 30)
      #expect(reused.status == 77 && reused.err.contains("used up"), "\(reused.all)")
    }

    @Test func cancelledAndFailedRunsSayWhy() throws {
      let cluster = try LocalCluster("cancel")
      #expect(try cluster.start(workers: 1).status == 0)
      let id = try cluster.submit(workflow(try cluster.documents(30), steps: 100_000))
      try cluster.wait("training") { (try cluster.run(id)).task("train")["state"] == "RUNNING" }
      #expect(try cluster.cli(["runs", "cancel", id]).status == 0)
      let run = try cluster.finish(id)
      #expect(run["state"] == "CANCELLED", "\(run.sortedText)")
      #expect(try cluster.cli(["runs", "watch", id]).status == 11)
      // The gate keeps a bad model from being deployed.
      let gated = try cluster.finish(
        try cluster.submit(
          workflow(try cluster.documents(30), steps: 5).replacing(
            "max_ratio_to_unigram: 0.9", with: "max_ratio_to_unigram: 0.01")))
      #expect(gated["state"] == "FAILED")
      #expect(gated.task("evaluate")["error"]?["number"] == "PLT-4413", "\(gated.sortedText)")
      #expect(gated.task("deploy")["state"] == "SKIPPED")
      let watched = try cluster.cli(["runs", "watch", gated["run_id"]?.stringValue ?? ""])
      #expect(watched.status == 10, "\(watched.all)")
      // The same key submits once.
      let small =
        "resources:\n  jobs:\n    j:\n      name: once\n      tasks:\n        - { task_key: a, sql_task: { statement: select 1 } }\n"
      let first = try cluster.submit(small, ["--idempotency-key", "k1"])
      #expect(try cluster.submit(small, ["--idempotency-key", "k1"]) == first)
    }
  }
}

extension LocalCluster {
  /// Rows of the inference log, read from Postgres itself.
  func requestRows() throws -> Int {
    let answer = try Self.run(
      "/usr/bin/psql",
      ["-h", data + "/pg", "-U", "platform", "-d", "platform", "-tAc", "select count(*) from platform.inference_log"],
      timeout: 20)
    return Int(answer.out.trimmingCharacters(in: .whitespacesAndNewlines)) ?? -1
  }

  /// Folder of a table of main.demo.
  func tableFolder(_ name: String, schema: String = "demo") throws -> String {
    let parent = data + "/lake/main/" + schema
    guard let folder = try FileManager.default.contentsOfDirectory(atPath: parent).first(where: { $0.hasPrefix(name + "-") })
    else {
      throw PlatformError(.notFound, "no folder of table \(name)")
    }
    return parent + "/" + folder
  }
}
