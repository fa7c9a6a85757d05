// SPDX-License-Identifier: Apache-2.0

import Core

/// Gemma 3, text only: five window layers to one that sees all, each kind with its own rotary base, norms on heads
/// (`Gemma3ForCausalLM`, and the text part of `Gemma3ForConditionalGeneration`).
enum Gemma3: DecoderArchitecture {
  static let modelTypes = ["gemma3_text", "gemma3"]

  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan {
    guard !c.has("text_config") else {
      // The outer file decides about tying; the inner one leaves out what has its usual value.
      var inner = try c.object("text_config")
      var members = inner.json.objectValue ?? [:]
      if members["tie_word_embeddings"] == nil, let tied = c.value("tie_word_embeddings") { members["tie_word_embeddings"] = tied }
      for (key, usual) in usualText where members[key] == nil { members[key] = usual }
      inner.json = .object(members)
      return try plan(inner, weights)
    }
    try c.refuse("use_bidirectional_attention") { $0 == false }
    let shape = try AttentionShape(c, headSize: 256, keyValueHeads: 4)
    let epsilon = try c.epsilon("rms_norm_eps", 1e-6)
    let count = try c.layers("num_hidden_layers")
    let pattern = try c.size(c.has("sliding_window_pattern") ? "sliding_window_pattern" : "_sliding_window_pattern", 6)
    let sliding = try c.slidingLayers(count) ?? (0..<count).map { ($0 + 1) % pattern != 0 }
    let window = c.json["sliding_window"] == nil ? 4096 : try c.windowOfAllLayers()
    let layer = try Gemma2.sandwich(c, shape)
    // An old-style scaling concerns the layers that see all only.
    var local = c
    if !(c.value("rope_scaling")?.objectValue?.isEmpty ?? true), case .object(var members) = c.json {
      members["rope_scaling"] = .null
      local.json = .object(members)
    }
    let rotary = [
      try RotaryPlan(c, headSize: shape.headSize, theta: ("rope_theta", 1_000_000), layerType: "full_attention"),
      try RotaryPlan(local, headSize: shape.headSize, theta: ("rope_local_base_freq", 10_000), layerType: "sliding_attention"),
    ]
    var plan = try DecoderPlan(c, tied: true, rotary: rotary, finalNorm: .rms("model.norm", shape.hidden, epsilon, addsOne: true)) { index in
      var one = layer(index)
      one.attention.window = sliding[index] ? window : nil
      one.attention.rotary = sliding[index] ? 1 : 0
      one.attention.queryNorm = .rms("model.layers.\(index).self_attn.q_norm", shape.headSize, epsilon, addsOne: true)
      one.attention.keyNorm = .rms("model.layers.\(index).self_attn.k_norm", shape.headSize, epsilon, addsOne: true)
      return one
    }
    plan.embeddingScale = Float(Double(shape.hidden).squareRoot())
    plan.logitSoftCap = try c.optionalPositive("final_logit_softcapping").map { Float($0) }
    return plan
  }

  /// What the text part of a published multimodal file leaves out.
  private static let usualText: [String: JSONValue] = [
    "vocab_size": 262_208, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26, "num_attention_heads": 8,
    "num_key_value_heads": 4, "max_position_embeddings": 131_072,
  ]
}
