// SPDX-License-Identifier: Apache-2.0

import Core

/// Mistral: Llama with a sliding window in every layer (`MistralForCausalLM`).
enum Mistral: DecoderArchitecture {
  static let modelTypes = ["mistral"]

  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan {
    let shape = try AttentionShape(c, keyValueHeads: 8)
    let epsilon = try c.epsilon("rms_norm_eps", 1e-6)
    let inner = try c.size("intermediate_size")
    let activation = try c.activation("hidden_act", "silu")
    // Before the key could be null, leaving it out meant 4096.
    let window = c.json["sliding_window"] == nil ? 4096 : try c.windowOfAllLayers()
    return try DecoderPlan(
      c, tied: false, rotary: [RotaryPlan(c, headSize: shape.headSize)], finalNorm: .rms("model.norm", shape.hidden, epsilon)
    ) { index in
      let prefix = "model.layers.\(index)."
      var attention = AttentionPlan(prefix + "self_attn.", shape)
      attention.window = window
      return LayerPlan(
        prefix, attention: attention, mixer: .dense(.gated(prefix + "mlp.", shape.hidden, inner, activation)),
        norm: { .rms($0, shape.hidden, epsilon) })
    }
  }
}
