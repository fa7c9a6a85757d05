// SPDX-License-Identifier: Apache-2.0

/// GPT-NeoX and Pythia: attention and feed-forward side by side, queries, keys and values interleaved head by head
/// (`GPTNeoXForCausalLM`).
enum GPTNeoX: DecoderArchitecture {
  static let modelTypes = ["gpt_neox"]

  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan {
    let shape = try AttentionShape(hidden: c.size("hidden_size"), heads: c.size("num_attention_heads"))
    let hidden = shape.hidden
    let epsilon = try c.epsilon("layer_norm_eps", 1e-5)
    let inner = try c.size("intermediate_size")
    let activation = try c.activation("hidden_act", "gelu")
    let bias = try c.flag("attention_bias", true)
    let isParallel = try c.flag("use_parallel_residual", true)
    let rotary = try RotaryPlan(
      c, headSize: shape.headSize, theta: (c.has("rotary_emb_base") ? "rotary_emb_base" : "rope_theta", 10_000),
      partial: (c.has("rotary_pct") ? "rotary_pct" : "partial_rotary_factor", 0.25))
    var plan = try DecoderPlan(c, tied: false, rotary: [rotary], finalNorm: .layer("gpt_neox.final_layer_norm", hidden, epsilon)) { index in
      let prefix = "gpt_neox.layers.\(index)."
      func part(_ number: Int) -> MatrixPlan {
        MatrixPlan(prefix + "attention.query_key_value", part: number, of: 3, heads: shape.heads, headSize: shape.headSize, hidden, bias: bias)
      }
      let attention = AttentionPlan(
        heads: shape.heads, keyValueHeads: shape.heads, headSize: shape.headSize, query: part(0), key: part(1), value: part(2),
        output: MatrixPlan(prefix + "attention.dense", hidden, hidden, bias: bias))
      return LayerPlan(
        arrangement: isParallel ? .parallel : .sequential, attention: attention,
        mixer: .dense(.plain(prefix + "mlp.dense_h_to_4h", prefix + "mlp.dense_4h_to_h", hidden, inner, activation, bias: true)),
        attentionNorm: .layer(prefix + "input_layernorm", hidden, epsilon),
        mixerNorm: .layer(prefix + "post_attention_layernorm", hidden, epsilon))
    }
    plan.embedding = "gpt_neox.embed_in.weight"
    plan.head = weights.contains("embed_out.weight") ? "embed_out" : "lm_head"
    return plan
  }
}
