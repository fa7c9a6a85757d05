// SPDX-License-Identifier: Apache-2.0

/// OLMo 2: norms behind the branches instead of before them, and on all queries and keys as one row (`Olmo2ForCausalLM`).
enum Olmo2: DecoderArchitecture {
  static let modelTypes = ["olmo2"]

  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan {
    let shape = try AttentionShape(c)
    let epsilon = try c.epsilon("rms_norm_eps", 1e-5)
    let inner = try c.size("intermediate_size")
    let activation = try c.activation("hidden_act", "silu")
    let bias = try c.flag("attention_bias", false)
    return try DecoderPlan(
      c, tied: false, rotary: [RotaryPlan(c, headSize: shape.headSize)], finalNorm: .rms("model.norm", shape.hidden, epsilon)
    ) { index in
      let prefix = "model.layers.\(index)."
      return LayerPlan(
        attention: attention(prefix + "self_attn.", shape, epsilon, bias: bias),
        mixer: .dense(.gated(prefix + "mlp.", shape.hidden, inner, activation)),
        attentionOutputNorm: .rms(prefix + "post_attention_layernorm", shape.hidden, epsilon),
        mixerOutputNorm: .rms(prefix + "post_feedforward_layernorm", shape.hidden, epsilon))
    }
  }

  static func attention(_ prefix: String, _ shape: AttentionShape, _ epsilon: Float, bias: Bool) -> AttentionPlan {
    var attention = AttentionPlan(prefix, shape, bias: bias, outputBias: bias)
    attention.normsHeads = false
    attention.queryNorm = .rms(prefix + "q_norm", shape.queryWidth, epsilon)
    attention.keyNorm = .rms(prefix + "k_norm", shape.keyValueWidth, epsilon)
    return attention
  }
}
