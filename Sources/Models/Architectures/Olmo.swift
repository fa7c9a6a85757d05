// SPDX-License-Identifier: Apache-2.0

/// OLMo 1: LayerNorm without parameters, optionally cut projections (`OlmoForCausalLM`).
enum Olmo: DecoderArchitecture {
  static let modelTypes = ["olmo"]

  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan {
    let shape = try AttentionShape(c)
    let inner = try c.size("intermediate_size")
    let activation = try c.activation("hidden_act", "silu")
    let bias = try c.flag("attention_bias", false)
    let clip = try c.optionalPositive("clip_qkv").map { Float($0) }
    let norm = NormPlan(kind: .layer, epsilon: 1e-5)
    return try DecoderPlan(c, tied: false, rotary: [RotaryPlan(c, headSize: shape.headSize)], finalNorm: norm) { index in
      let prefix = "model.layers.\(index)."
      var attention = AttentionPlan(prefix + "self_attn.", shape, bias: bias, outputBias: bias)
      attention.clip = clip
      return LayerPlan(
        prefix, attention: attention, mixer: .dense(.gated(prefix + "mlp.", shape.hidden, inner, activation)), norm: { _ in norm })
    }
  }
}
