// SPDX-License-Identifier: Apache-2.0

/// Qwen2 and Qwen2.5: biases on queries, keys and values, windows in some layers (`Qwen2ForCausalLM`).
enum Qwen2: DecoderArchitecture {
  static let modelTypes = ["qwen2"]

  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan {
    let shape = try AttentionShape(c, keyValueHeads: 32)
    let epsilon = try c.epsilon("rms_norm_eps", 1e-6)
    let inner = try c.size("intermediate_size")
    let activation = try c.activation("hidden_act", "silu")
    let windows = try c.windows(c.layers("num_hidden_layers")) { $0 >= $1 }
    return try DecoderPlan(
      c, tied: false, rotary: [RotaryPlan(c, headSize: shape.headSize)], finalNorm: .rms("model.norm", shape.hidden, epsilon)
    ) { index in
      let prefix = "model.layers.\(index)."
      var attention = AttentionPlan(prefix + "self_attn.", shape, bias: true)
      attention.window = windows[index]
      return LayerPlan(
        prefix, attention: attention, mixer: .dense(.gated(prefix + "mlp.", shape.hidden, inner, activation)),
        norm: { .rms($0, shape.hidden, epsilon) })
    }
  }
}
