// SPDX-License-Identifier: Apache-2.0

/// StarCoder2: LayerNorm and a feed-forward part without a gate (`Starcoder2ForCausalLM`).
enum Starcoder2: DecoderArchitecture {
  static let modelTypes = ["starcoder2"]

  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan {
    let shape = try AttentionShape(c, keyValueHeads: 2)
    let epsilon = try c.epsilon("norm_epsilon", 1e-5)
    let inner = try c.size("intermediate_size")
    let activation = try c.activation("hidden_act", "gelu_pytorch_tanh")
    let bias = try c.flag("use_bias", true)
    let window = try c.windowOfAllLayers()
    return try DecoderPlan(
      c, tied: true, rotary: [RotaryPlan(c, headSize: shape.headSize)], finalNorm: .layer("model.norm", shape.hidden, epsilon)
    ) { index in
      let prefix = "model.layers.\(index)."
      var attention = AttentionPlan(prefix + "self_attn.", shape, bias: bias, outputBias: bias)
      attention.window = window
      return LayerPlan(
        prefix, attention: attention,
        mixer: .dense(.plain(prefix + "mlp.c_fc", prefix + "mlp.c_proj", shape.hidden, inner, activation, bias: bias)),
        norm: { .layer($0, shape.hidden, epsilon) })
    }
  }
}
