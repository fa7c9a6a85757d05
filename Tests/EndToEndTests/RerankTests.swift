// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// A cross-encoder and an encoder as endpoints: their scores and vectors are those of `transformers`.
  @Suite(.serialized, .enabled(if: Peers.python != nil, "no peer environment")) struct RerankTests {
    private let folder = TemporaryDirectory("rerank")

    @Test(.timeLimit(.minutes(5))) func scoresOfAnEndpointAreThoseOfTransformers() throws {
      _ = try Peers.run(Self.makeModels, [folder.path])
      let cluster = try LocalCluster("rerank")
      #expect(try cluster.start(workers: 1).status == 0)
      for (name, told) in [("judge", "a cross-encoder"), ("vectors", "an encoder")] {
        let imported = try cluster.cli(["models", "import", "main.demo.\(name)", folder.file(name)])
        #expect(imported.status == 0 && imported.err.contains(told), "\(imported)")
      }
      let tasks = ["judge", "vectors"].map { "        - task_key: \($0)\n          deploy_task: { endpoint: \($0), model: main.demo.\($0) }\n" }
      let run = try cluster.submit("resources:\n  jobs:\n    j:\n      name: n\n      tasks:\n" + tasks.joined())
      #expect(try cluster.finish(run)["state"]?.stringValue == "SUCCEEDED", "\(run)")
      let answer = try LocalCluster.run(Peers.python ?? "", ["-c", Self.script, folder.path], timeout: 240, environment: cluster.clientEnvironment)
      #expect(answer.status == 0 && answer.out.contains("all done"), "\(answer.all.suffix(4000))")

      // The commands, with and without a cluster, say the same.
      try Data("river lakes\n\nquick fox\ntable\n".utf8).write(to: URL(fileURLWithPath: folder.file("texts.txt")))
      try Data(#"["river lakes", "quick fox", "table"]"#.utf8).write(to: URL(fileURLWithPath: folder.file("texts.json")))
      let offline = try cluster.cli(["model", "rerank", folder.file("judge"), "--query", "quick river", "--documents", folder.file("texts.json")])
      let scores: [Double] = try JSONValue(parsing: offline.out).decode()
      for file in ["texts.txt", "texts.json"] {
        let told = try cluster.cli(["rerank", "judge", folder.file(file), "--query", "quick river", "--top", "2", "-o", "json"])
        let results = try #require(try JSONValue(parsing: told.out)["results"]?.arrayValue, "\(told)")
        let best = scores.indices.sorted { scores[$0] > scores[$1] }.prefix(2)
        #expect(results.map { $0["index"]?.intValue } == best.map { $0 }, "\(told) \(scores)")
        #expect(zip(results, best).allSatisfy { abs(($0["relevance_score"]?.doubleValue ?? .nan) - scores[$1]) < 1e-6 }, "\(told) \(scores)")
      }
      let table = try cluster.cli(["rerank", "judge", folder.file("texts.txt"), "--query", "quick river"])
      #expect(table.status == 0 && table.out.split(separator: "\n").count == 4, "\(table)")
    }

    private static let makeModels = #"""
      import json, os, sys, torch
      from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, decoders
      from transformers import BertConfig, BertForSequenceClassification, BertModel
      words = "[PAD] [UNK] [CLS] [SEP] table river lakes engine write reader quick brown fox jump vector score ##s ##ed ##ing".split()
      t = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
      t.normalizer, t.pre_tokenizer, t.decoder = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
      t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
      config = BertConfig(vocab_size=len(words), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=40, initializer_range=0.3, num_labels=1)
      for number, (name, kind) in enumerate([("judge", BertForSequenceClassification), ("vectors", BertModel)]):
          torch.manual_seed(number)
          kind(config).eval().save_pretrained(f"{sys.argv[1]}/{name}")
          t.save(f"{sys.argv[1]}/{name}/tokenizer.json")
          json.dump(dict(model_max_length=32, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]", model_input_names=["input_ids", "token_type_ids", "attention_mask"]), open(f"{sys.argv[1]}/{name}/tokenizer_config.json", "w"))
      """#

    private static let script = #"""
      import json, math, openai, os, random, sys, torch, urllib.error, urllib.request
      from transformers import AutoModelForSequenceClassification, AutoModel, AutoTokenizer
      base = os.environ["OPENAI_BASE_URL"].removesuffix("/v1")
      def post(path, body):
          request = urllib.request.Request(base + path, data=json.dumps(body).encode(), headers={"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "Content-Type": "application/json"})
          try: return json.load(urllib.request.urlopen(request, timeout=60))
          except urllib.error.HTTPError as e: return {"status": e.code, **json.load(e)}
      random.seed(3)
      words = "table river lakes engine writes reader quick brown fox jumped vector score nonsense".split()
      texts = [" ".join(random.choice(words) for _ in range(random.choice([1, 3, 8, 20, 50]))) for _ in range(40)]
      query = "quick river engine"
      tokenizer = AutoTokenizer.from_pretrained(sys.argv[1] + "/judge")
      model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1] + "/judge").eval()
      def scores(queries, documents):
          x = tokenizer(queries, documents, padding=True, truncation="longest_first", max_length=32, return_tensors="pt")
          with torch.no_grad(): return torch.sigmoid(model(**x).logits[:, 0]).tolist(), int(x["attention_mask"].sum())
      wanted, tokens = scores([query] * len(texts), texts)
      body = {"model": "judge", "query": query, "documents": texts}
      first = post("/v1/rerank", body)
      assert first["model"] == "judge" and first["id"].startswith("rerank-") and first["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}, first
      assert sorted(x["index"] for x in first["results"]) == list(range(40))
      assert all(abs(x["relevance_score"] - wanted[x["index"]]) < 1e-5 and x["document"] == {"text": texts[x["index"]]} for x in first["results"])
      told = [x["relevance_score"] for x in first["results"]]
      assert told == sorted(told, reverse=True) and told[0] - told[-1] > 0.01
      for path in ("/rerank", "/v2/rerank"):
          some = post(path, {**body, "documents": [{"text": t} for t in texts], "top_n": 3, "return_documents": False})
          assert [x["index"] for x in some["results"]] == [x["index"] for x in first["results"][:3]] and not any("document" in x for x in some["results"])
      for path in ("/v1/score", "/score"):
          pairs = post(path, {"model": "judge", "text_1": texts[:4], "text_2": texts[4:8]})
          assert [x["index"] for x in pairs["data"]] == [0, 1, 2, 3] and all(abs(x["score"] - w) < 1e-5 for x, w in zip(pairs["data"], scores(texts[:4], texts[4:8])[0]))
      assert len(post("/v1/score", {"model": "judge", "text_1": query, "text_2": texts})["data"]) == 40
      for parameter, change in [("query", {"query": 5}), ("documents", {"documents": []}), ("documents", {"documents": [5]}), ("top_n", {"top_n": 0}), ("colour", {"colour": 1}), ("rank_fields", {"rank_fields": ["a"]})]:
          for path in ("/v1/rerank", "/rerank"):
              bad = post(path, {**body, **change})
              assert bad["status"] == 400 and bad["error"]["param"] == parameter, bad
      assert post("/v1/score", {"model": "judge", "text_1": ["a", "b"], "text_2": ["a"]})["error"]["param"] == "text_1"
      assert post("/v1/rerank", {**body, "model": "nobody"})["status"] == 404
      assert post("/v1/rerank", {**body, "model": "vectors"})["error"]["code"] == "PLT-4301"

      # Embeddings of token ids, and the first numbers of vectors.
      client = openai.OpenAI(max_retries=0)
      assert {m.id for m in client.models.list()} == {"judge", "vectors"}
      def embed(input, **options): return [x.embedding for x in client.embeddings.create(model="vectors", input=input, **options).data]
      encoder = AutoModel.from_pretrained(sys.argv[1] + "/vectors").eval()
      short = texts[:6]
      ids = [tokenizer(t, truncation=True, max_length=40)["input_ids"] for t in short]
      whole = embed(short)
      for vector, text in zip(whole, ids):
          with torch.no_grad(): mean = encoder(torch.tensor([text])).last_hidden_state[0].mean(0)
          assert all(abs(a - b) < 1e-5 for a, b in zip(vector, (mean / mean.norm()).tolist()))
      def near(a, b): return len(a) == len(b) and all(abs(x - y) < 1e-6 for v, w in zip(a, b) for x, y in zip(v, w))
      assert near(embed(ids), whole) and near(embed(ids[2]), whole[2:3]) and near(embed(ids[0], encoding_format="float"), whole[:1])
      assert client.embeddings.create(model="vectors", input=ids).usage.prompt_tokens == sum(map(len, ids))
      cut = embed(short, dimensions=8)
      for a, b in zip(cut, whole):
          length = math.sqrt(sum(x * x for x in b[:8]))
          assert len(a) == 8 and all(abs(x - y / length) < 1e-6 for x, y in zip(a, b))
      assert near(embed(short, dimensions=32), whole)
      for parameter, call in [("dimensions", lambda: embed(short, dimensions=33)), ("dimensions", lambda: embed(short, dimensions=0)), ("input", lambda: embed([])), ("input", lambda: embed([[]])),
          ("input", lambda: embed([[1], "a"])), ("input", lambda: embed("")), ("colour", lambda: embed("a", extra_body={"colour": 1}))]:
          try: call(); raise AssertionError(parameter)
          except openai.BadRequestError as e: assert e.param == parameter, e.body
      for bad in ([[9999]], [[-1]], [list(range(4)) * 20]):
          try: embed(bad); raise AssertionError(bad)
          except openai.BadRequestError: pass
      print("all done")
      """#
  }
}
