// SPDX-License-Identifier: Apache-2.0

import Core

/// SmolLM3: Llama with layers that have no positions (`SmolLM3ForCausalLM`).
enum SmolLM3: DecoderArchitecture {
  static let modelTypes = ["smollm3"]

  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan {
    let shape = try AttentionShape(c, keyValueHeads: 4)
    let epsilon = try c.epsilon("rms_norm_eps", 1e-6)
    let inner = try c.size("intermediate_size")
    let activation = try c.activation("hidden_act", "silu")
    let attentionBias = try c.flag("attention_bias", false)
    let bias = try c.flag("mlp_bias", false)
    let count = try c.layers("num_hidden_layers")
    let interval = try c.size("no_rope_layer_interval", 4)
    let turns = try c.list("no_rope_layers")?.map { $0.intValue.map { $0 != 0 } ?? $0.boolValue } ?? (0..<count).map { ($0 + 1) % interval != 0 }
    guard turns.count == count, !turns.contains(nil) else {
      throw ConfigurationFields.refusal("'no_rope_layers' must hold a 0 or 1 for each of the \(count) layers")
    }
    let windows = try c.windows(count) { index, _ in turns[index] == false }
    return try DecoderPlan(
      c, tied: true, rotary: [RotaryPlan(c, headSize: shape.headSize, theta: ("rope_theta", 2_000_000))],
      finalNorm: .rms("model.norm", shape.hidden, epsilon)
    ) { index in
      let prefix = "model.layers.\(index)."
      var attention = AttentionPlan(prefix + "self_attn.", shape, bias: attentionBias, outputBias: attentionBias)
      attention.rotary = turns[index] == true ? 0 : nil
      attention.window = windows[index]
      return LayerPlan(
        prefix, attention: attention, mixer: .dense(.gated(prefix + "mlp.", shape.hidden, inner, activation, bias: bias)),
        norm: { .rms($0, shape.hidden, epsilon) })
    }
  }
}
