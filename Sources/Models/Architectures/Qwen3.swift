// SPDX-License-Identifier: Apache-2.0

/// Qwen3 and Qwen3-Embedding: norms on each head's query and key (`Qwen3ForCausalLM`).
enum Qwen3: DecoderArchitecture {
  static let modelTypes = ["qwen3"]

  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan {
    let shape = try AttentionShape(c, headSize: 128, keyValueHeads: 32)
    let epsilon = try c.epsilon("rms_norm_eps", 1e-6)
    let inner = try c.size("intermediate_size")
    let activation = try c.activation("hidden_act", "silu")
    let windows = try c.windows(c.layers("num_hidden_layers")) { $0 >= $1 }
    let bias = try c.flag("attention_bias", false)
    return try DecoderPlan(
      c, tied: false, rotary: [RotaryPlan(c, headSize: shape.headSize)], finalNorm: .rms("model.norm", shape.hidden, epsilon)
    ) { index in
      let prefix = "model.layers.\(index)."
      return LayerPlan(
        prefix, attention: attention(prefix + "self_attn.", shape, epsilon, bias: bias, window: windows[index]),
        mixer: .dense(.gated(prefix + "mlp.", shape.hidden, inner, activation)), norm: { .rms($0, shape.hidden, epsilon) })
    }
  }

  static func attention(_ prefix: String, _ shape: AttentionShape, _ epsilon: Float, bias: Bool, window: Int?) -> AttentionPlan {
    var attention = AttentionPlan(prefix, shape, bias: bias, outputBias: bias)
    attention.window = window
    attention.queryNorm = .rms(prefix + "q_norm", shape.headSize, epsilon)
    attention.keyNorm = .rms(prefix + "k_norm", shape.headSize, epsilon)
    return attention
  }
}
