// SPDX-License-Identifier: Apache-2.0

/// Llama 1, 2, 3 and what shares its form: SmolLM, SmolLM2, TinyLlama, Yi, .. (`LlamaForCausalLM`).
enum Llama: DecoderArchitecture {
  static let modelTypes = ["llama"]

  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan {
    let shape = try AttentionShape(c)
    let epsilon = try c.epsilon("rms_norm_eps", 1e-6)
    let inner = try c.size("intermediate_size")
    let activation = try c.activation("hidden_act", "silu")
    let attentionBias = try c.flag("attention_bias", false)
    let bias = try c.flag("mlp_bias", false)
    return try DecoderPlan(
      c, tied: false, rotary: [RotaryPlan(c, headSize: shape.headSize)], finalNorm: .rms("model.norm", shape.hidden, epsilon)
    ) { index in
      let prefix = "model.layers.\(index)."
      return LayerPlan(
        prefix, attention: AttentionPlan(prefix + "self_attn.", shape, bias: attentionBias, outputBias: attentionBias),
        mixer: .dense(.gated(prefix + "mlp.", shape.hidden, inner, activation, bias: bias)),
        norm: { .rms($0, shape.hidden, epsilon) })
    }
  }
}
