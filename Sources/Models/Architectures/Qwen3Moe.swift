// SPDX-License-Identifier: Apache-2.0

/// Qwen3-MoE: Qwen3's attention, experts in some layers (`Qwen3MoeForCausalLM`).
enum Qwen3Moe: DecoderArchitecture {
  static let modelTypes = ["qwen3_moe"]

  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan {
    let shape = try AttentionShape(c, keyValueHeads: 4)
    let epsilon = try c.epsilon("rms_norm_eps", 1e-6)
    let inner = try c.size("intermediate_size")
    let activation = try c.activation("hidden_act", "silu")
    let bias = try c.flag("attention_bias", false)
    let window = try c.flag("use_sliding_window", false) ? try c.size("sliding_window", 4096) : nil
    let sparse = try SparseLayers(c, experts: 128, inner: 768, chosen: 8)
    return try DecoderPlan(
      c, tied: false, rotary: [RotaryPlan(c, headSize: shape.headSize)], finalNorm: .rms("model.norm", shape.hidden, epsilon)
    ) { index in
      let prefix = "model.layers.\(index)."
      let mixer: MixerPlan =
        sparse.contains(index)
        ? .experts(sparse.plan(prefix + "mlp.", shape.hidden, activation, weights))
        : .dense(.gated(prefix + "mlp.", shape.hidden, inner, activation))
      return LayerPlan(
        prefix, attention: Qwen3.attention(prefix + "self_attn.", shape, epsilon, bias: bias, window: window), mixer: mixer,
        norm: { .rms($0, shape.hidden, epsilon) })
    }
  }
}
