// SPDX-License-Identifier: Apache-2.0

/// Phi 1, 1.5 and 2: one LayerNorm for attention and feed-forward side by side, partly turning heads (`PhiForCausalLM`).
enum Phi: DecoderArchitecture {
  static let modelTypes = ["phi"]

  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan {
    let shape = try AttentionShape(c)
    let epsilon = try c.epsilon("layer_norm_eps", 1e-5)
    let inner = try c.size("intermediate_size")
    let activation = try c.activation("hidden_act", "gelu_new")
    let normsHeads = try c.flag("qk_layernorm", false)
    let rotary = try RotaryPlan(c, headSize: shape.headSize, partial: ("partial_rotary_factor", 0.5))
    var plan = try DecoderPlan(c, tied: false, rotary: [rotary], finalNorm: .layer("model.final_layernorm", shape.hidden, epsilon)) { index in
      let prefix = "model.layers.\(index)."
      var attention = AttentionPlan(prefix + "self_attn.", shape, bias: true, outputBias: true, output: "dense")
      if normsHeads {
        attention.queryNorm = .layer(prefix + "self_attn.q_layernorm", shape.headSize, epsilon)
        attention.keyNorm = .layer(prefix + "self_attn.k_layernorm", shape.headSize, epsilon)
      }
      return LayerPlan(
        arrangement: .parallel, attention: attention,
        mixer: .dense(.plain(prefix + "mlp.fc1", prefix + "mlp.fc2", shape.hidden, inner, activation, bias: true)),
        attentionNorm: .layer(prefix + "input_layernorm", shape.hidden, epsilon))
    }
    plan.headHasBias = true
    return plan
  }
}
