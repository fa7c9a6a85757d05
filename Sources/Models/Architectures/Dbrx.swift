// SPDX-License-Identifier: Apache-2.0

import Core

/// DBRX: LayerNorm without shift, cut and fused projections, all experts of a layer in three tensors (`DbrxForCausalLM`).
enum Dbrx: DecoderArchitecture {
  static let modelTypes = ["dbrx"]

  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan {
    let attentionFields = try c.object("attn_config")
    let expertFields = try c.object("ffn_config")
    let shape = try AttentionShape(
      hidden: c.size("d_model", 2048), heads: c.size("n_heads", 16), keyValueHeads: attentionFields.size("kv_n_heads", 1))
    let hidden = shape.hidden
    let clip = try attentionFields.optionalPositive("clip_qkv").map { Float($0) }
    let inner = try expertFields.size("ffn_hidden_size", 3584)
    let count = try expertFields.layers("moe_num_experts", 4)
    let chosen = try expertFields.size("moe_top_k", 1)
    let p = expertFields.json["moe_normalize_expert_weights"] == nil ? 1 : try expertFields.optionalPositive("moe_normalize_expert_weights")
    let activation = try expertFields.object("ffn_act_fn").activation("name", "silu")
    let maxPositions = try c.size("max_seq_len", 2048)
    // The base lies among attention's settings in files from before transformers 5.
    var rotaryFields = c
    if case .object(var members) = c.json {
      members["max_position_embeddings"] = .integer(Int64(maxPositions))
      if members["rope_theta"] == nil, let theta = attentionFields.value("rope_theta") { members["rope_theta"] = theta }
      rotaryFields.json = .object(members)
    }
    let (q, kv) = (shape.queryWidth, shape.keyValueWidth)
    return DecoderPlan(
      vocabularySize: try c.size("vocab_size", 32_000), hiddenSize: hidden, layerCount: try c.layers("n_layers", 24), maxPositions: maxPositions,
      embedding: "transformer.wte.weight", rotary: [try RotaryPlan(rotaryFields, headSize: shape.headSize)],
      finalNorm: .layer("transformer.norm_f", hidden, 1e-5, bias: false), isTied: try c.flag("tie_word_embeddings", false)
    ) { index in
      let prefix = "transformer.blocks.\(index)."
      let attentionPrefix = prefix + "norm_attn_norm."
      func part(_ rows: Range<Int>) -> MatrixPlan { MatrixPlan(attentionPrefix + "attn.Wqkv", rows: rows, of: q + 2 * kv, hidden) }
      var attention = AttentionPlan(
        heads: shape.heads, keyValueHeads: shape.keyValueHeads, headSize: shape.headSize, query: part(0..<q), key: part(q..<q + kv),
        value: part(q + kv..<q + 2 * kv), output: MatrixPlan(attentionPrefix + "attn.out_proj", hidden, q))
      attention.clip = clip
      let stored = [count * inner, hidden]
      let experts = (0..<count).map { expert in
        FeedForwardPlan(
          gate: MatrixPlan(tensor: prefix + "ffn.experts.mlp.w1", stored: stored, first: expert * inner, rows: inner, columns: hidden),
          up: MatrixPlan(tensor: prefix + "ffn.experts.mlp.v1", stored: stored, first: expert * inner, rows: inner, columns: hidden),
          down: MatrixPlan(tensor: prefix + "ffn.experts.mlp.w2", stored: stored, transposing: expert * inner, rows: hidden, columns: inner),
          activation: activation)
      }
      let mixer = ExpertsPlan(
        router: MatrixPlan(prefix + "ffn.router.layer", count, hidden), experts: experts, chosen: chosen,
        weights: p.map { .normalized(p: $0) } ?? .raw)
      return LayerPlan(
        attention: attention, mixer: .experts(mixer), attentionNorm: .layer(attentionPrefix + "norm_1", hidden, 1e-5, bias: false),
        mixerNorm: .layer(attentionPrefix + "norm_2", hidden, 1e-5, bias: false))
    }
  }
}
