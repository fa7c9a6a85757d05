// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tokenizers

@testable import Models
@testable import Tensor

extension FuzzTarget {
  /// What is read of one tensor at most.
  private static let elementLimit = 1 << 16

  private static func readTensors(_ source: some SafeTensorSource) throws {
    for name in source.names {
      let view = try source.tensor(name)
      try hold(view.byteCount >= 0 && view.elementCount >= 0, "\(name) has \(view.byteCount) bytes")
      if view.elementCount <= elementLimit {
        // Integers are refused by the first, the others by the second.
        for read in [{ _ = try view.float32() }, { _ = try view.int64() }] { do { try read() } catch is PlatformError {} }
        let whole = (try? view.float32()) ?? []  // refused above
        if whole.count > 3 {
          var part: Float = 0
          try view.copyFloat32(into: &part, from: whole.count - 2, count: 1)
          try hold(part.bitPattern == whole[whole.count - 2].bitPattern, "a part of \(name) is not what the whole has there")
        }
      }
      if let rows = view.shape.first, rows > 0, view.byteCount <= elementLimit {
        _ = view.slice(rows - 1)
        _ = view.rows { rows - 1 - $0 }
      }
    }
  }

  static let safetensors = FuzzTarget(
    name: "safetensors",
    samples: {
      func file(_ header: String, _ count: Int) -> [UInt8] {
        var sample = SampleBytes()
        sample.put(header)
        return sample.bytes + (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37) }
      }
      return [
        file(
          #"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[5],"data_offsets":[24,34]},"c":{"dtype":"I64","shape":[],"data_offsets":[34,42]}}"#,
          42),
        file(#"{"x":{"dtype":"F16","shape":[4,1,2],"data_offsets":[0,16]},"é\u00e9":{"dtype":"U8","shape":[0,9],"data_offsets":[16,16]}}"#, 16),
        file("{}", 0),
      ]
    },
    words: ["\"dtype\"", "\"shape\"", "\"data_offsets\"", "F64", "I32", "I8", "U8", "BOOL", "9223372036854775807", "-1", "1e3", "[]", "__metadata__"]
  ) { bytes in
    try readTensors(SafeTensorsFile(MappedFile(copying: bytes, path: "fuzzed")))
  }

  static let adapter = FuzzTarget(
    name: "adapter",
    samples: {
      [
        #"{"peft_type":"LORA","r":8,"lora_alpha":16,"target_modules":["q_proj","v_proj"],"bias":"none","rank_pattern":{"layers.1.self_attn.q_proj":3},"use_rslora":true}"#,
        #"{"peft_type":"LORA","r":4,"lora_alpha":2.5,"target_modules":".*\\.(1|2)\\.(self_attn\\.[qo]_proj|mlp)","exclude_modules":["k"],"alpha_pattern":{"^model\\.layers\\.[02]":30}}"#,
        #"{"peft_type":"LORA","r":1,"target_modules":"all-linear","layers_to_transform":[0,2],"layers_pattern":["layers","h"],"fan_in_fan_out":false,"loftq_config":{}}"#,
      ].map { Array($0.utf8) }
    },
    words: ["\"use_dora\":true", "\"bias\":\"all\"", "modules_to_save", "init_lora_weights", "null", "[]", "(?i)", ".*", "1e999", "-1", "all-linear"]
  ) { bytes in
    let configuration = try AdapterConfiguration(json: JSONValue(parsing: Data(bytes)))
    for module in ["model.layers.0.self_attn.q_proj", "model.layers.2.mlp.down_proj", "transformer.h.1.attn.c_attn", "lm_head", ""] {
      guard configuration.selects(module) else { continue }
      let rank = try configuration.rank(of: module)
      try hold((1...AdapterConfiguration.rankMax).contains(rank), "\(module) has rank \(rank)")
      let scale = try configuration.scale(of: module)
      try hold(scale.isFinite, "\(module) has scale \(scale)")
    }
  }

  static let gguf = FuzzTarget(
    name: "gguf", samples: { [sampleGGUF(vocabulary: "llama"), sampleGGUF(vocabulary: "gpt2")] },
    words: ["GGUF", "general.alignment", "llama.block_count", "llama.rope.scaling.type", "tokenizer.ggml.pre", "qwen2", "gemma", "\0\0\0\0\0\0\0\0"]
  ) { bytes in
    let file = try GGUFFile(MappedFile(copying: bytes, path: "fuzzed"))
    try readTensors(file)
    for read in [
      {
        let model = try GGUFModel(file)
        for name in ["model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight", "model.embed_tokens.weight"]
        where model.weights.contains(name) {
          let view = try model.weights.tensor(name)
          if view.elementCount <= elementLimit { _ = try? view.float32() }  // integers are refused
        }
      },
      {
        let stored = try GGUFVocabulary(file)
        let tokenizer = try StoredVocabulary(
          model: stored.model, split: stored.split, tokens: stored.tokens, types: stored.types, scores: stored.scores, merges: stored.merges,
          special: SpecialTokens(beginning: stored.beginning, end: stored.end, padding: stored.padding, unknown: stored.unknown),
          addsBeginning: stored.addsBeginning, addsEnd: stored.addsEnd, addsSpace: stored.addsSpace
        ).tokenizer(path: "fuzzed")
        try use(tokenizer)
      },
    ] as [() throws -> Void] {
      // Each goes on where the other has refused.
      do { try read() } catch let error as PlatformError where error.code != .internalError {}
    }
  }

  private static func sampleGGUF(vocabulary: String) -> [UInt8] {
    var pairs: [(String, UInt32, (inout SampleBytes) -> Void)] = []
    func text(_ key: String, _ value: String) { pairs.append((key, 8, { $0.put(value) })) }
    func number(_ key: String, _ value: UInt32) { pairs.append((key, 4, { $0.put(value) })) }
    func fraction(_ key: String, _ value: Float) { pairs.append((key, 6, { $0.put(value.bitPattern) })) }
    func list(_ key: String, _ kind: UInt32, _ count: Int, _ put: @escaping (inout SampleBytes, Int) -> Void) {
      pairs.append(
        (
          key, 9,
          {
            $0.put(kind)
            $0.put(UInt64(count))
            for index in 0..<count { put(&$0, index) }
          }
        ))
    }
    text("general.architecture", "llama")
    for (key, value) in [
      ("block_count", 1), ("embedding_length", 32), ("feed_forward_length", 64), ("attention.head_count", 2), ("attention.head_count_kv", 1),
      ("context_length", 64),
    ] as [(String, UInt32)] { number("llama." + key, value) }
    fraction("llama.attention.layer_norm_rms_epsilon", 1e-5)
    fraction("llama.rope.freq_base", 10_000)
    text("tokenizer.ggml.model", vocabulary)
    let tokens: [String]
    if vocabulary == "llama" {
      tokens = ["<unk>", "<s>", "</s>", "<0x0A>", "<0xE6>", "\u{2581}", "a", "b", "ab", "\u{2581}a", "\u{2581}ab"]
      let types: [Int32] = [2, 3, 3, 6, 6, 1, 1, 1, 1, 1, 1]
      list("tokenizer.ggml.token_type", 5, types.count) { $0.put(types[$1]) }
      list("tokenizer.ggml.scores", 6, types.count) { $0.put(Float(-$1).bitPattern) }
      number("tokenizer.ggml.unknown_token_id", 0)
    } else {
      text("tokenizer.ggml.pre", "llama-bpe")
      tokens = ["<s>", "</s>"] + byteLetters + ["th", "the"]
      let merges = ["t h", "th e"]
      list("tokenizer.ggml.merges", 8, merges.count) { $0.put(merges[$1]) }
    }
    list("tokenizer.ggml.tokens", 8, tokens.count) { $0.put(tokens[$1]) }
    number("tokenizer.ggml.bos_token_id", 1)
    let tensors: [(name: String, shape: [UInt64], kind: UInt32, offset: UInt64)] = [
      ("token_embd.weight", [32, 2], 8, 0), ("blk.0.attn_q.weight", [32, 4], 2, 96), ("blk.0.attn_k.weight", [32, 2], 1, 192), ("x", [3], 26, 320),
    ]
    var sample = SampleBytes(bytes: Array("GGUF".utf8))
    sample.put(UInt32(3))
    sample.put(UInt64(tensors.count))
    sample.put(UInt64(pairs.count))
    for (key, kind, put) in pairs {
      sample.put(key)
      sample.put(kind)
      put(&sample)
    }
    for tensor in tensors {
      sample.put(tensor.name)
      sample.put(UInt32(tensor.shape.count))
      for size in tensor.shape { sample.put(size) }
      sample.put(tensor.kind)
      sample.put(tensor.offset)
    }
    while sample.bytes.count % 32 != 0 { sample.put(UInt8(0)) }
    return sample.bytes + (0..<352).map { UInt8(truncatingIfNeeded: $0 &* 29) }
  }
}
