// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tensor

/// Reads a GGUF file's metadata as a `config.json`.
struct GGUFConfiguration {
  let file: GGUFFile
  private let architecture: String

  /// Values of `general.architecture` that are built.
  static let architectures = [
    "gemma", "gemma2", "gemma3", "granite", "llama", "olmo2", "phi3", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "starcoder2",
  ]

  init(_ file: GGUFFile) {
    self.file = file
    architecture = file.metadata["general.architecture"]?.text ?? ""
  }

  var endTokens: [Int] {
    ["eos_token_id", "eot_token_id", "eom_token_id"].compactMap { file.metadata["tokenizer.ggml." + $0]?.int }.reduce(into: []) {
      if !$0.contains($1) { $0.append($1) }
    }
  }

  func read() throws -> (JSONValue, GGUFNames) {
    guard Self.architectures.contains(architecture) else {
      throw refusal("the architecture '\(architecture)' is not built", hint: "Known are \(Self.architectures.joined(separator: ", ")).")
    }
    if let count = value("split.count", prefixed: false)?.int, count > 1 {
      throw refusal("the file is one of \(count) parts", hint: "Join them with 'llama-gguf-split --merge'.")
    }
    var c = try common()
    var names = GGUFNames(layer: GGUFNames.plain)
    names.heads = c["num_attention_heads"]?.intValue ?? 1
    names.keyValueHeads = c["num_key_value_heads"]?.intValue ?? 1
    var handled: Set<String> = []
    switch architecture {
    case "llama", "granite":
      names.pairsRows = true
      try llama(&c)
      if architecture == "granite" {
        handled = ["attention.scale", "embedding_scale", "residual_scale", "logit_scale"]
        for (key, ours) in [
          ("attention.scale", "attention_multiplier"), ("embedding_scale", "embedding_multiplier"), ("residual_scale", "residual_multiplier"),
          ("logit_scale", "logits_scaling"),
        ] {
          if let number = try number(key) { c[ours] = .number(number) }
        }
        c["model_type"] = "granite"
      }
    case "qwen2", "qwen3":
      c["model_type"] = .string(architecture)
      c["attention_bias"] = .bool(file.contains("blk.0.attn_q.bias"))
    case "qwen2moe", "qwen3moe":
      c["model_type"] = .string(architecture == "qwen2moe" ? "qwen2_moe" : "qwen3_moe")
      try experts(&c)
    case "gemma":
      c["model_type"] = "gemma"
      names.gainsAreWhole = true
    case "gemma2", "gemma3":
      names.layer = GGUFNames.sandwich
      names.gainsAreWhole = true
      try gemma(&c)
      handled = ["attn_logit_softcapping", "final_logit_softcapping"]
    case "phi3":
      c["model_type"] = "phi3"
      c["sliding_window"] = try size("attention.sliding_window").flatMap { $0 == 0 ? nil : .integer(Int64($0)) } ?? .null
    case "olmo2":
      names.layer = GGUFNames.sandwich
      c["model_type"] = "olmo2"
    default:  // starcoder2
      c["model_type"] = "starcoder2"
      c["norm_epsilon"] = try number("attention.layer_norm_epsilon").map { .number($0) } ?? .null
      c["sliding_window"] = try size("attention.sliding_window").map { .integer(Int64($0)) } ?? .null
    }
    try refuseOthers(handled)
    return (.object(c), names)
  }

  // MARK: Parts

  private func common() throws -> [String: JSONValue] {
    let embedding = try file.tensor("token_embd.weight")
    guard embedding.shape.count == 2 else { throw broken("tensor 'token_embd.weight' has shape \(embedding.shape)") }
    let heads = try wanted("attention.head_count")
    let hidden = try wanted("embedding_length")
    let headSize = try size("attention.key_length") ?? hidden / max(1, heads)
    if let value = try size("attention.value_length"), value != headSize {
      throw refusal("'\(architecture).attention.value_length' (\(value)) is not the length of keys (\(headSize)), which is not built")
    }
    var c: [String: JSONValue] = [
      "vocab_size": .integer(Int64(embedding.shape[0])), "hidden_size": .integer(Int64(hidden)),
      "intermediate_size": .integer(Int64(try wanted("feed_forward_length"))), "num_hidden_layers": .integer(Int64(try wanted("block_count"))),
      "num_attention_heads": .integer(Int64(heads)), "num_key_value_heads": .integer(Int64(try size("attention.head_count_kv") ?? heads)),
      "head_dim": .integer(Int64(headSize)), "max_position_embeddings": .integer(Int64(try wanted("context_length"))),
      "tie_word_embeddings": .bool(!file.contains("output.weight")), "rope_theta": .number(try number("rope.freq_base") ?? 10_000),
      "eos_token_id": .array(endTokens.map { .integer(Int64($0)) }),
    ]
    if let epsilon = try number("attention.layer_norm_rms_epsilon") { c["rms_norm_eps"] = .number(epsilon) }
    if let turning = try size("rope.dimension_count"), headSize > 0, turning != headSize {
      c["partial_rotary_factor"] = .number(Double(turning) / Double(headSize))
    }
    if let scaling = try scaling(&c) { c["rope_scaling"] = scaling }
    return c
  }

  /// `rope_scaling`. Llama 3's is stored as divisors for each pair, so it is read as those.
  private func scaling(_ c: inout [String: JSONValue]) throws -> JSONValue? {
    func factors(_ name: String) throws -> JSONValue? {
      guard file.contains(name) else { return nil }
      return .array(try file.float32(name).map { .number(Double($0)) })
    }
    let longest = c["max_position_embeddings"] ?? .null
    if let divisors = try factors("rope_freqs.weight") {
      return ["rope_type": "longrope", "short_factor": divisors, "long_factor": divisors, "attention_factor": 1, "original_max_position_embeddings": longest]
    }
    let original = try size("rope.scaling.original_context_length")
    if let short = try factors("rope_factors_short.weight"), let long = try factors("rope_factors_long.weight") {
      c["original_max_position_embeddings"] = original.map { .integer(Int64($0)) } ?? longest
      var made: [String: JSONValue] = ["rope_type": "longrope", "short_factor": short, "long_factor": long]
      if let amplitude = try number("rope.scaling.attn_factor") { made["attention_factor"] = .number(amplitude) }
      return .object(made)
    }
    let kind = try text("rope.scaling.type") ?? "none"
    let factor = try number("rope.scaling.factor") ?? 0
    guard kind != "none", factor != 0 else { return nil }
    var made: [String: JSONValue] = ["rope_type": .string(kind), "factor": .number(factor)]
    if kind == "yarn" {
      if let original { made["original_max_position_embeddings"] = .integer(Int64(original)) }
      for (key, ours) in [("yarn_beta_fast", "beta_fast"), ("yarn_beta_slow", "beta_slow"), ("yarn_attn_factor", "attention_factor")] {
        if let number = try number("rope.scaling." + key) { made[ours] = .number(number) }
      }
    }
    return .object(made)
  }

  private func llama(_ c: inout [String: JSONValue]) throws {
    c["attention_bias"] = .bool(file.contains("blk.0.attn_q.bias"))
    c["mlp_bias"] = .bool(file.contains("blk.0.ffn_gate.bias"))
    let window = try size("attention.sliding_window") ?? 0
    if let count = try size("expert_count"), count > 0 {
      c["model_type"] = "mixtral"
      c["num_local_experts"] = .integer(Int64(count))
      c["num_experts_per_tok"] = .integer(Int64(try wanted("expert_used_count")))
    } else {
      c["model_type"] = window > 0 ? "mistral" : "llama"
    }
    c["sliding_window"] = window > 0 ? .integer(Int64(window)) : .null
  }

  private func experts(_ c: inout [String: JSONValue]) throws {
    c["num_experts"] = .integer(Int64(try wanted("expert_count")))
    c["num_experts_per_tok"] = .integer(Int64(try wanted("expert_used_count")))
    c["norm_topk_prob"] = .bool(architecture == "qwen3moe")
    if let inner = try size("expert_feed_forward_length") { c["moe_intermediate_size"] = .integer(Int64(inner)) }
    if let inner = try size("expert_shared_feed_forward_length") { c["shared_expert_intermediate_size"] = .integer(Int64(inner)) }
    c["attention_bias"] = .bool(file.contains("blk.0.attn_q.bias"))
    c["qkv_bias"] = c["attention_bias"]
    let layers = c["num_hidden_layers"]?.intValue ?? 0
    guard layers <= 4096 else { throw broken("'\(architecture).block_count' is \(layers), the most is 4096") }
    c["mlp_only_layers"] = .array((0..<layers).filter { !file.contains("blk.\($0).ffn_gate_inp.weight") }.map { .integer(Int64($0)) })
  }

  /// The scale of scores is not stored: it goes by a head's size, in the largest models by the width.
  private func gemma(_ c: inout [String: JSONValue]) throws {
    let isLargest = c["num_hidden_layers"]?.intValue == (architecture == "gemma2" ? 46 : 62)
    let width = (c["hidden_size"]?.intValue ?? 0) / max(1, c["num_attention_heads"]?.intValue ?? 1)
    c["query_pre_attn_scalar"] = .integer(Int64(isLargest ? width : c["head_dim"]?.intValue ?? 0))
    c["model_type"] = architecture == "gemma2" ? "gemma2" : "gemma3_text"
    let window = try size("attention.sliding_window") ?? 0
    c["sliding_window"] = window > 0 ? .integer(Int64(window)) : .null
    c["final_logit_softcapping"] = try number("final_logit_softcapping").map { .number($0) } ?? .null
    c["attn_logit_softcapping"] = try number("attn_logit_softcapping").map { .number($0) } ?? .null
    guard architecture == "gemma3" else { return }
    c["rope_local_base_freq"] = .number(try number("rope.freq_base_swa") ?? 10_000)
    if try number("rope.freq_base") == nil { c["rope_theta"] = 1_000_000 }
    if let pattern = value("attention.sliding_window_pattern") {
      if let list = pattern.list {
        c["layer_types"] = .array(list.map { $0.flag == true || $0.int == 1 ? "sliding_attention" : "full_attention" })
      } else if let number = pattern.int {
        c["sliding_window_pattern"] = .integer(Int64(number))
      }
    }
  }

  /// Settings that change the numbers and that the architecture does not know here.
  private func refuseOthers(_ handled: Set<String>) throws {
    let known = [
      "attention.scale", "embedding_scale", "residual_scale", "logit_scale", "attn_logit_softcapping", "final_logit_softcapping", "attention.clamp_kqv",
      "attention.max_alibi_bias", "router_logit_softcapping", "expert_weights_scale", "attention.temperature_scale",
    ]
    for key in known where !handled.contains(key) {
      if let number = try number(key), number != 0 { throw refusal("'\(architecture).\(key)' is \(number), which is not built") }
    }
    if value("attention.causal")?.flag == false { throw refusal("'\(architecture).attention.causal' is false: encoders in GGUF are not built") }
  }

  // MARK: Values

  private func value(_ key: String, prefixed: Bool = true) -> GGUFValue? { file.metadata[prefixed ? architecture + "." + key : key] }

  private func broken(_ what: String) -> PlatformError { PlatformError(.invalidFile, what, number: "PLT-5210", path: file.path) }

  private func refusal(_ what: String, hint: String = "") -> PlatformError {
    PlatformError(.invalidFile, what, hint: hint, number: "PLT-5211", path: file.path)
  }

  /// A count from 0 to 2^31, or a list of equal ones, as files with a count for each layer have.
  private func size(_ key: String) throws -> Int? {
    guard var value = value(key) else { return nil }
    if let list = value.list {
      guard let first = list.first, list.allSatisfy({ $0 == first }) else { throw refusal("'\(architecture).\(key)' differs by layer, which is not built") }
      value = first
    }
    guard let size = value.int, size >= 0, size <= 1 << 31 else { throw broken("'\(architecture).\(key)' is not a count") }
    return size
  }

  private func wanted(_ key: String) throws -> Int {
    guard let size = try size(key) else { throw broken("'\(architecture).\(key)' is missing") }
    return size
  }

  private func number(_ key: String) throws -> Double? {
    guard let value = value(key) else { return nil }
    guard let number = value.double, number.isFinite else { throw broken("'\(architecture).\(key)' is not a number") }
    return number
  }

  private func text(_ key: String) throws -> String? {
    guard let value = value(key) else { return nil }
    guard let text = value.text else { throw broken("'\(architecture).\(key)' is not a text") }
    return text
  }
}
