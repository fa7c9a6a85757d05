// SPDX-License-Identifier: Apache-2.0

/// OLMoE: experts in every layer, norms on all queries and keys as one row (`OlmoeForCausalLM`).
enum Olmoe: DecoderArchitecture {
  static let modelTypes = ["olmoe"]

  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan {
    let shape = try AttentionShape(c)
    let epsilon = try c.epsilon("rms_norm_eps", 1e-5)
    let inner = try c.size("intermediate_size")
    let activation = try c.activation("hidden_act", "silu")
    let bias = try c.flag("attention_bias", false)
    let clip = try c.optionalPositive("clip_qkv").map { Float($0) }
    let count = try c.layers("num_experts", 64)
    let chosen = try c.size("num_experts_per_tok", 8)
    let normalizes = try c.flag("norm_topk_prob", false)
    return try DecoderPlan(
      c, tied: false, rotary: [RotaryPlan(c, headSize: shape.headSize)], finalNorm: .rms("model.norm", shape.hidden, epsilon)
    ) { index in
      let prefix = "model.layers.\(index)."
      var attention = Olmo2.attention(prefix + "self_attn.", shape, epsilon, bias: bias)
      attention.clip = clip
      let experts = ExpertsPlan(
        prefix + "mlp.", router: prefix + "mlp.gate", count: count, chosen: chosen, hidden: shape.hidden, inner: inner, activation: activation,
        weights: normalizes ? .normalized(p: 1) : .raw, names: ("gate_proj", "up_proj", "down_proj"), in: weights)
      return LayerPlan(prefix, attention: attention, mixer: .experts(experts), norm: { .rms($0, shape.hidden, epsilon) })
    }
  }
}
