// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// The offline model commands as programs call them. No cluster is started.
  @Suite(.serialized) struct ModelCommandTests {
    /// A Llama of 8 tokens whose layer does nothing and whose head takes each token to the one after it; token 5 ends a text.
    private let folder = TemporaryDirectory("modelcli")

    init() throws { try writeModel(vocabulary: 8) }

    /// Tokens from 8 on are never drawn: their rows are 0.
    private func writeModel(vocabulary: Int) throws {
      let width = 8
      func matrix(_ rows: Int, _ element: (Int, Int) -> Float) -> [Float] { (0..<rows * width).map { element($0 / width, $0 % width) } }
      let ones = [Float](repeating: 1, count: width)
      let zeros = matrix(width) { _, _ in 0 }
      var tensors: [(String, [Int], [Float])] = [
        ("model.embed_tokens.weight", [vocabulary, width], matrix(vocabulary) { $0 == $1 ? 1 : 0 }), ("model.norm.weight", [width], ones),
        ("lm_head.weight", [vocabulary, width], matrix(vocabulary) { $0 == ($1 + 1) % width ? 1 : 0 }),
        ("model.layers.0.input_layernorm.weight", [width], ones), ("model.layers.0.post_attention_layernorm.weight", [width], ones),
      ]
      for name in ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"] {
        tensors.append(("model.layers.0.\(name).weight", [width, width], zeros))
      }
      try save(tensors)
      try put(
        "config.json",
        #"{"model_type":"llama","vocab_size":8,"hidden_size":8,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":2,"eos_token_id":5}"#)
    }

    private func save(_ tensors: [(String, [Int], [Float])]) throws {
      var header: [String: JSONValue] = [:]
      var data = Data()
      for (name, shape, values) in tensors {
        let begin = data.count
        values.withUnsafeBytes { data.append(contentsOf: $0) }
        header[name] = [
          "dtype": "F32", "shape": .array(shape.map { .integer(Int64($0)) }),
          "data_offsets": [.integer(Int64(begin)), .integer(Int64(data.count))],
        ]
      }
      let text = Data(JSONValue.object(header).sortedText.utf8)
      let file = withUnsafeBytes(of: UInt64(text.count).littleEndian) { Data($0) } + text + data
      try file.write(to: URL(fileURLWithPath: folder.file("model.safetensors")))
    }

    private func put(_ name: String, _ text: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: folder.file(name))) }

    private func cli(_ words: String...) throws -> LocalCluster.Output {
      try LocalCluster.run(LocalCluster.binary, words.map { $0.replacingOccurrences(of: "@", with: folder.path + "/") }, timeout: 60, environment: [:])
    }

    @Test func logitsHiddenStatesAndTextOfAModel() throws {
      try put("ids.json", "[0, 7]")
      let logits = try cli("model", "logits", folder.path, "--ids", "@ids.json", "--out", "@out.f32")
      #expect(logits.status == 0 && logits.out.isEmpty && logits.err.contains("2 x 8 f32"), "\(logits)")
      let values = try Data(contentsOf: URL(fileURLWithPath: folder.file("out.f32"))).withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
      #expect(values.count == 16 && values[1] > 2 && values[8] > 2 && values[0] == 0)
      let made = try cli("model", "generate", folder.path, "--ids", "@ids.json", "--max-tokens", "3")
      #expect(made.out == "[0,1,2]\n", "\(made)")
      #expect(try cli("model", "generate", folder.path, "--ids", "@ids.json", "--max-tokens", "20").out == "[0,1,2,3,4,5]\n")
      #expect(try cli("model", "generate", folder.path, "--ids", "@ids.json", "--max-tokens", "8", "--ignore-eos").out == "[0,1,2,3,4,5,6,7]\n")
      let rounds = ["model", "generate", folder.path, "--ids", folder.file("ids.json"), "--max-tokens", "40", "--ignore-eos"]
      let round = try LocalCluster.run(LocalCluster.binary, rounds, timeout: 60, environment: [:])
      let supposed = try LocalCluster.run(LocalCluster.binary, rounds + ["--speculate", "8"], timeout: 60, environment: [:])
      #expect(round.status == 0 && supposed.status == 0 && round.out == supposed.out, "\(supposed)")
      let refused = try LocalCluster.run(LocalCluster.binary, rounds + ["--speculate", "9"], timeout: 60, environment: [:])
      #expect(refused.status != 0 && refused.err.contains("PLT-5201"), "\(refused)")
      for dtype in ["f32", "bf16", "int8", "int4"] {
        let words = ["model", "logits", folder.path, "--ids", folder.file("ids.json"), "--out", folder.file("\(dtype).f32"), "--dtype", dtype]
        #expect(try LocalCluster.run(LocalCluster.binary, words, timeout: 60, environment: [:]).status == 0)
        let other = try Data(contentsOf: URL(fileURLWithPath: folder.file("\(dtype).f32"))).withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
        #expect(dtype == "f32" ? other == values : zip(other, values).allSatisfy { abs($0 - $1) < 0.03 }, "\(dtype): \(other)")
      }
      for (cache, isKnown) in [("auto", true), ("bf16", true), ("int8", true), ("f16", false)] {
        let said = try LocalCluster.run(LocalCluster.binary, rounds + ["--kv-cache-dtype", cache], timeout: 60, environment: [:])
        #expect(isKnown ? said.out == round.out : said.status != 0 && said.err.contains("PLT-5201"), "\(said)")
      }
      try put("generation_config.json", #"{"eos_token_id": [2, 6]}"#)
      #expect(try cli("model", "generate", folder.path, "--ids", "@ids.json", "--max-tokens", "20").out == "[0,1,2]\n")
      try put("batch.json", "[[3], [0, 1, 2]]")
      #expect(try cli("model", "embed", folder.path, "--batch", "@batch.json", "--pooling", "last", "--out", "@v.f32").status == 0)
      let vectors = try Data(contentsOf: URL(fileURLWithPath: folder.file("v.f32"))).withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
      #expect(vectors == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0])
    }

    /// All bytes in GPT-2's spelling, the first letters of the alphabet in front.
    private static let letters: [String] = {
      let plain = (33...126).map { UInt32($0) } + (161...172).map { UInt32($0) } + (174...255).map { UInt32($0) }
      let spellings = (plain + (256..<324).map { UInt32($0) }).compactMap { Unicode.Scalar($0).map { String(Character($0)) } }
      let first = "abcdefgh".map { String($0) }
      return first + spellings.filter { !first.contains($0) }
    }()

    private func writeLetters() throws {
      let vocabulary = JSONValue.object(Dictionary(uniqueKeysWithValues: Self.letters.enumerated().map { ($1, .integer(Int64($0))) }))
      let tokenizer: JSONValue = [
        "added_tokens": [], "normalizer": .null, "pre_tokenizer": ["type": "ByteLevel", "add_prefix_space": false], "post_processor": .null,
        "decoder": ["type": "ByteLevel"], "model": ["type": "BPE", "vocab": vocabulary, "merges": []],
      ]
      try put("tokenizer.json", tokenizer.sortedText)
    }

    private func deploy(_ cluster: LocalCluster, _ body: String) throws -> JSONValue {
      let run = try cluster.submit("resources:\n  jobs:\n    j:\n      name: n\n      tasks:\n        - task_key: d\n          deploy_task: { \(body) }\n")
      return try cluster.finish(run)
    }

    private func completes(_ cluster: LocalCluster, _ endpoint: String) throws -> Bool {
      let answer = try cluster.http(
        "POST", "/v1/completions", token: cluster.token, body: #"{"model": "\#(endpoint)", "prompt": "ab", "temperature": 0, "max_tokens": 20}"#)
      let choice = try JSONValue(parsing: answer.body)["choices"]?.arrayValue?.first
      return choice?["text"] == "cde" && choice?["finish_reason"] == "stop"
    }

    /// A folder of another architecture than Llama and a GGUF file, from the import to text over HTTP, and an encoder that is not BERT.
    @Test func importedModelsAreServed() throws {
      let cluster = try LocalCluster("modelimport")
      #expect(try cluster.start(workers: 1).status == 0)
      try writeModel(vocabulary: 256)
      try put(
        "config.json",
        #"{"model_type":"mistral","vocab_size":256,"hidden_size":8,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":2,"max_position_embeddings":64,"eos_token_id":5}"#
      )
      try writeLetters()
      let imported = try cluster.cli(["models", "import", "main.demo.letters", folder.path])
      #expect(imported.status == 0 && imported.err.contains("version 1: a language model, 3 files"), "\(imported)")
      #expect(try deploy(cluster, "endpoint: letters, model: main.demo.letters")["state"]?.stringValue == "SUCCEEDED")
      #expect(try completes(cluster, "letters"))
      let small = "endpoint: small, model: main.demo.letters, dtype: int8, threads: 2, kv_cache_dtype: int8, kv_cache_memory: 16MB"
      #expect(try deploy(cluster, small)["state"]?.stringValue == "SUCCEEDED")
      #expect(try completes(cluster, "small"))
      let metrics = try cluster.http("GET", "/metrics", token: cluster.token).body
      #expect(metrics.contains(#"cache_dtype="int8""#) && metrics.contains(#"cache_dtype="f32""#))

      try Data(lettersGGUF()).write(to: URL(fileURLWithPath: folder.file("letters.gguf")))
      let file = try cluster.cli(["models", "import", "main.demo.stored", folder.file("letters.gguf")])
      #expect(file.status == 0 && file.err.contains("version 1: a language model, 1 file,"), "\(file)")
      #expect(try deploy(cluster, "endpoint: stored, model: main.demo.stored, dtype: bf16")["state"]?.stringValue == "SUCCEEDED")
      #expect(try completes(cluster, "stored"))

      // What no endpoint can serve is refused before a version is made.
      try put("config.json", #"{"model_type": "mamba"}"#)
      let unknown = try cluster.cli(["models", "import", "main.demo.letters", folder.path])
      #expect(unknown.status == 65 && unknown.err.contains("'mamba' is not built"), "\(unknown)")
      let kept = try cluster.cli(["models", "get", "main.demo.letters"])
      #expect(kept.out.contains("READY") && !kept.out.contains("PENDING"), "\(kept)")
      // Other clients may register any files; deploying them says why not.
      let base = "/api/2.1/unity-catalog/models/versions"
      let made = try JSONValue(
        parsing: cluster.http(
          "POST", base, token: cluster.token,
          body: #"{"catalog_name":"main","schema_name":"demo","model_name":"letters","source":"elsewhere"}"#
        ).body)
      let version = try #require(made["version"]?.intValue, "\(made)")
      let final = try cluster.http(
        "PATCH", "/api/2.1/unity-catalog/models/main.demo.letters/versions/\(version)/finalize", token: cluster.token, body: "{}")
      #expect(final.status == 200, "\(final)")
      let refused = try deploy(cluster, "endpoint: letters, model: main.demo.letters/\(version)")
      #expect(refused["state"]?.stringValue == "FAILED" && "\(refused)".contains("PLT-5204"), "\(refused)")
      #expect(try completes(cluster, "letters"), "what was served goes on")

      try writeEncoder()
      let encoder = try cluster.cli(["models", "import", "main.demo.encoder", folder.path])
      #expect(encoder.status == 0 && encoder.err.contains("an encoder"), "\(encoder)")
      var vectors: [[Double]] = []
      for options in ["", ", dtype: f32, threads: 2"] {
        #expect(try deploy(cluster, "endpoint: encoder, model: main.demo.encoder\(options)")["state"]?.stringValue == "SUCCEEDED")
        let answer = try cluster.http("POST", "/v1/embeddings", token: cluster.token, body: #"{"model": "encoder", "input": "abca"}"#)
        vectors.append(try JSONValue(parsing: answer.body)["data"]?.arrayValue?.first?["embedding"]?.decode() ?? [])
      }
      #expect(vectors[0].count == 8 && vectors[0] == vectors[1], "\(vectors)")
      #expect(abs(vectors[0].reduce(0) { $0 + $1 * $1 } - 1) < 1e-5, "\(vectors)")
    }

    /// A DistilBERT with nothing in its layer but norms.
    private func writeEncoder() throws {
      let width = 8
      let ones = [Float](repeating: 1, count: width)
      let zeros = [Float](repeating: 0, count: width)
      let square = [Float](repeating: 0, count: width * width)
      var tensors: [(String, [Int], [Float])] = [
        ("embeddings.word_embeddings.weight", [256, width], (0..<256 * width).map { Float(($0 * 37 + $0 / width) % 11) - 5 }),
        ("embeddings.position_embeddings.weight", [16, width], (0..<16 * width).map { Float($0 % 5) * 0.1 }),
        ("embeddings.LayerNorm.weight", [width], ones), ("embeddings.LayerNorm.bias", [width], zeros),
      ]
      for name in ["attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "ffn.lin1", "ffn.lin2"] {
        tensors += [("transformer.layer.0.\(name).weight", [width, width], square), ("transformer.layer.0.\(name).bias", [width], zeros)]
      }
      for name in ["sa_layer_norm", "output_layer_norm"] {
        tensors += [("transformer.layer.0.\(name).weight", [width], ones), ("transformer.layer.0.\(name).bias", [width], zeros)]
      }
      try save(tensors)
      try put(
        "config.json", #"{"model_type":"distilbert","vocab_size":256,"dim":8,"hidden_dim":8,"n_layers":1,"n_heads":2,"max_position_embeddings":16}"#)
    }

    /// The model of `writeModel` as llama.cpp's converter stores one.
    private func lettersGGUF() -> [UInt8] {
      var bytes = Array("GGUF".utf8)
      func put(_ value: some FixedWidthInteger) { withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) } }
      func put(_ text: String) {
        put(UInt64(text.utf8.count))
        bytes += Array(text.utf8)
      }
      let width = 8
      let square = [Float](repeating: 0, count: width * width)
      let ones = [Float](repeating: 1, count: width)
      func rows(_ element: (Int, Int) -> Bool) -> [Float] { (0..<256 * width).map { element($0 / width, $0 % width) ? 1 : 0 } }
      let tensors: [(name: String, shape: [Int], values: [Float])] =
        [
          ("token_embd.weight", [width, 256], rows { $0 == $1 }), ("output.weight", [width, 256], rows { $0 == ($1 + 1) % width }),
          ("output_norm.weight", [width], ones), ("blk.0.attn_norm.weight", [width], ones), ("blk.0.ffn_norm.weight", [width], ones),
        ] + ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"].map { ("blk.0.\($0).weight", [width, width], square) }
      let sizes: [(String, UInt32)] = [
        ("llama.context_length", 64), ("llama.embedding_length", 8), ("llama.block_count", 1), ("llama.feed_forward_length", 8),
        ("llama.attention.head_count", 2), ("llama.attention.head_count_kv", 2), ("tokenizer.ggml.eos_token_id", 5),
      ]
      put(UInt32(3))
      put(UInt64(tensors.count))
      put(UInt64(sizes.count + 6))
      for (key, value) in sizes {
        put(key)
        put(UInt32(4))
        put(value)
      }
      put("llama.attention.layer_norm_rms_epsilon")
      put(UInt32(6))
      put(Float(1e-6).bitPattern)
      for (key, value) in [("general.architecture", "llama"), ("tokenizer.ggml.model", "gpt2"), ("tokenizer.ggml.pre", "gpt-2")] {
        put(key)
        put(UInt32(8))
        put(value)
      }
      for (key, texts) in [("tokenizer.ggml.tokens", Self.letters), ("tokenizer.ggml.merges", [])] {
        put(key)
        put(UInt32(9))
        put(UInt32(8))
        put(UInt64(texts.count))
        for text in texts { put(text) }
      }
      var offset = 0
      for tensor in tensors {
        put(tensor.name)
        put(UInt32(tensor.shape.count))
        for size in tensor.shape { put(UInt64(size)) }
        put(UInt32(0))
        put(UInt64(offset))
        offset += (tensor.values.count * 4 + 31) / 32 * 32
      }
      func align() { while bytes.count % 32 != 0 { bytes.append(0) } }
      for tensor in tensors {
        align()
        tensor.values.withUnsafeBytes { bytes.append(contentsOf: $0) }
      }
      align()
      return bytes
    }

    @Test func benchTellsWhatTheModelDoes() throws {
      try put("ids.json", "[0]")
      let words = ["model", "bench", folder.path, "--threads", "1", "--prompt", "20", "--generate", "8", "--parallel", "1,3", "--dtype", "int8"]
      let text = try LocalCluster.run(LocalCluster.binary, words, timeout: 60, environment: [:])
      #expect(text.status == 0 && text.out.contains("OF MEMORY") && text.out.contains("prefill of 20 tokens"), "\(text)")
      let output = try LocalCluster.run(LocalCluster.binary, words + ["-o", "json"], timeout: 60, environment: [:])
      let result = try JSONValue(parsing: output.out)
      #expect(result["dtype"] == "int8" && result["threads"] == 1, "\(output)")
      #expect(result["prefill"]?["prompt_tokens"] == 20 && result["prefill"]?["tokens_per_second"]?.doubleValue ?? 0 > 0)
      // 8 matrices of one panel: 16 units, a table, 16 scales, 512 codes.
      #expect(result["weight_bytes_per_token"] == 5632 && result["cache_bytes_per_token"] == 32, "\(output)")
      for key in ["load_seconds", "peak_memory_bytes", "memory_gigabytes_per_second"] { #expect(result[key]?.doubleValue ?? 0 > 0, "\(key): \(output)") }
      let decode = try #require(result["decode"]?.arrayValue)
      #expect(decode.compactMap { $0["parallel"]?.intValue } == [1, 3] && decode.allSatisfy { $0["tokens_per_second"]?.doubleValue ?? 0 > 0 }, "\(output)")
      #expect(decode[1]["bytes_per_step"] == .integer(5632 + 3 * 20 * 32), "\(output)")
      for (option, value) in [("--parallel", "0"), ("--parallel", "1,,2"), ("--prompt", "0"), ("--generate", "1"), ("--prompt", "5000")] {
        let refused = try cli("model", "bench", folder.path, option, value)
        #expect(refused.status == 64 && refused.err.contains("PLT-520"), "\(option) \(value): \(refused)")
      }
    }

    @Test func partsComputeWhatTheWholeDoes() throws {
      try writeModel(vocabulary: 64)
      try put("config.json", Self.wide)
      try put("ids.json", "[0, 7, 31, 2]")
      for dtype in ["f32", "int8"] {
        var made: [Data] = []
        for parts in ["1", "2", "3"] {
          let logits = try cli(
            "model", "logits", folder.path, "--ids", "@ids.json", "--out", "@out.f32", "--dtype", dtype, "--tensor-parallel", parts)
          #expect(logits.status == 0 && logits.err.contains("4 x 64 f32"), "\(parts): \(logits)")
          made.append(try Data(contentsOf: URL(fileURLWithPath: folder.file("out.f32"))))
        }
        #expect(made[0] == made[1] && made[0] == made[2] && made[0].count == 4 * 64 * 4, "\(dtype)")
      }
      try put("ids.json", "[0]")
      #expect(try cli("model", "generate", folder.path, "--ids", "@ids.json", "--max-tokens", "20", "--tensor-parallel", "2").out == "[1,2,3,4,5]\n")
      // What is wrong with the files is told once, by rank 0.
      try put("config.json", Self.wide.replacingOccurrences(of: #""intermediate_size":8"#, with: #""intermediate_size":9"#))
      let broken = try cli("model", "generate", folder.path, "--ids", "@ids.json", "--max-tokens", "2", "--tensor-parallel", "2")
      #expect(broken.status == 65 && broken.err.contains("PLT-4103") && !broken.err.contains("PLT-5221"), "\(broken)")
    }

    private static let wide =
      #"{"model_type":"llama","vocab_size":64,"hidden_size":8,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":2,"eos_token_id":5}"#

    /// A rank that dies ends the command, and the command's end ends the ranks.
    @Test func ranksEndTogether() throws {
      try put("ids.json", "[0]")
      let words = ["model", "generate", folder.path, "--ids", folder.file("ids.json"), "--max-tokens", "1000000", "--ignore-eos", "--tensor-parallel", "2"]
      func started(_ errors: String) throws -> (command: Program, rank: Int32) {
        let command = try Program(LocalCluster.binary, words, error: .file(folder.file(errors)))
        let limit = Date().addingTimeInterval(60)
        while Date() < limit, command.isRunning {
          if let rank = Self.children(of: command.processID).first { return (command, rank) }
          usleep(10_000)
        }
        command.signal(SIGKILL)
        throw PlatformError(.timeout, "no rank has started")
      }
      let (first, victim) = try started("first")
      kill(victim, SIGKILL)
      #expect(first.wait() == 69)
      let said = try String(contentsOfFile: folder.file("first"), encoding: .utf8)
      #expect(said.contains("rank 1 of 2 has ended with signal 9") && said.contains("PLT-5221"), "\(said)")

      let (second, orphan) = try started("second")
      // Once both have joined, the name of their memory is gone and nothing can be left of it.
      let joined = Date().addingTimeInterval(60)
      while Date() < joined, !Self.hasJoined(orphan) { usleep(10_000) }
      #expect(Self.hasJoined(orphan))
      second.signal(SIGKILL)
      #expect(second.wait() == 128 + SIGKILL)
      let limit = Date().addingTimeInterval(60)
      while Date() < limit, Self.isRank(orphan) { usleep(10_000) }
      #expect(!Self.isRank(orphan))
    }

    /// Ranks that a command has started.
    private static func children(of process: Int32) -> [Int32] {
      let numbers = (try? FileManager.default.contentsOfDirectory(atPath: "/proc"))?.compactMap { Int32($0) } ?? []
      return numbers.filter { number in
        guard let text = try? String(contentsOfFile: "/proc/\(number)/stat", encoding: .utf8), let end = text.lastIndex(of: ")") else { return false }
        return text[end...].split(separator: " ").dropFirst(2).first == "\(process)" && isRank(number)
      }
    }

    private static func hasJoined(_ rank: Int32) -> Bool {
      let maps = (try? String(contentsOfFile: "/proc/\(rank)/maps", encoding: .utf8)) ?? ""
      return maps.split(separator: "\n").contains { $0.contains("/platform-") && $0.contains("(deleted)") }
    }

    private static func isRank(_ process: Int32) -> Bool {
      (try? String(contentsOfFile: "/proc/\(process)/cmdline", encoding: .utf8))?.contains("model\0rank\0") == true
    }

    @Test func whatIsNotBuiltOrWrongIsRefused() throws {
      try put("ids.json", "[0, 7]")
      for (words, status, part) in [
        (["--dtype", "f8"], 64, "--dtype f8 is unknown"),
        (["--tensor-parallel", "0"], 64, "--tensor-parallel 0"), (["--tensor-parallel", "257"], 64, "--tensor-parallel 257"),
        (["--threads", "0"], 64, "--threads 0"),
        (["--max-tokens", "-1"], 64, "--max-tokens"),
      ] as [([String], Int32, String)] {
        let all = ["model", "generate", folder.path, "--ids", folder.file("ids.json")] + (words.contains("--max-tokens") ? [] : ["--max-tokens", "2"]) + words
        let output = try LocalCluster.run(LocalCluster.binary, all, timeout: 60, environment: [:])
        #expect(output.status == status && output.err.contains(part) && output.out.isEmpty, "\(words): \(output)")
      }
      for (content, part) in [
        ("[8]", "token id 8 is outside the vocabulary of 8"), ("[]", "there are no token ids"), ("[1.5]", "holds 1.5, which is not a token id"),
        ("{}", "must be a JSON list"), ("[1", "ids.json"),
      ] {
        try put("ids.json", content)
        let output = try cli("model", "logits", folder.path, "--ids", "@ids.json", "--out", "@none.f32")
        #expect(output.status == 64 && output.err.contains(part), "\(content): \(output)")
        #expect(!FileManager.default.fileExists(atPath: folder.file("none.f32")))
      }
      #expect(try cli("model", "logits", "@nowhere", "--ids", "@missing.json", "--out", "@none.f32").status == 66)
      try put("config.json", #"{"model_type": "mamba"}"#)
      try put("ids.json", "[1]")
      let unknown = try cli("model", "logits", folder.path, "--ids", "@ids.json", "--out", "@none.f32")
      #expect(unknown.status == 65 && unknown.err.contains("'mamba' is not built") && unknown.err.contains("qwen3"), "\(unknown)")
    }

    @Test func templatesAndTokenizers() throws {
      try put("t.jinja", "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if refuse %}{{ raise_exception('no tools') }}{% endif %}")
      try put("c.json", #"{"messages": [{"role": "user", "content": "hä"}]}"#)
      #expect(try cli("model", "render", "@t.jinja", "--context", "@c.json", "--out", "@t.txt").status == 0)
      #expect(try String(contentsOfFile: folder.file("t.txt"), encoding: .utf8) == "<user>hä")
      try put("c.json", #"{"messages": [], "refuse": true}"#)
      let refused = try cli("model", "render", "@t.jinja", "--context", "@c.json", "--out", "@none.txt")
      #expect(refused.status == 64 && refused.err.contains("no tools") && !FileManager.default.fileExists(atPath: folder.file("none.txt")))
      try put(
        "tokenizer.json",
        ###"{"added_tokens":[{"id":0,"content":"[CLS]","special":true,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false},{"id":1,"content":"[SEP]","special":true,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false}],"normalizer":{"type":"BertNormalizer","lowercase":true},"pre_tokenizer":{"type":"BertPreTokenizer"},"post_processor":{"type":"BertProcessing","sep":["[SEP]",1],"cls":["[CLS]",0]},"decoder":{"type":"WordPiece","prefix":"##"},"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,"vocab":{"[CLS]":0,"[SEP]":1,"[UNK]":2,"hel":3,"##lo":4,"world":5}}}"###
      )
      try put("texts.json", #"["Hello world", ""]"#)
      #expect(try cli("tokenize", folder.path, "--texts", "@texts.json").out == "[[0,3,4,5,1],[0,1]]\n")
      #expect(try cli("tokenize", "@tokenizer.json", "--texts", "@texts.json", "--no-special").out == "[[3,4,5],[]]\n")
      try put("ids.json", "[[0,3,4,5,1]]")
      #expect(try cli("detokenize", folder.path, "--ids", "@ids.json", "--skip-special").out == "[\"hello world\"]\n")
      try put("texts.json", "[1]")
      let bad = try cli("tokenize", folder.path, "--texts", "@texts.json")
      #expect(bad.status == 64 && bad.err.contains("entry 0 is 1, not a text"))
    }
  }
}
