// SPDX-License-Identifier: Apache-2.0

/// Mixtral: Mistral with experts in every layer, their weights summing to 1 (`MixtralForCausalLM`).
enum Mixtral: DecoderArchitecture {
  static let modelTypes = ["mixtral"]

  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan {
    let shape = try AttentionShape(c, keyValueHeads: 8)
    let epsilon = try c.epsilon("rms_norm_eps", 1e-5)
    let inner = try c.size("intermediate_size")
    let activation = try c.activation("hidden_act", "silu")
    let window = try c.windowOfAllLayers()
    let count = try c.layers("num_local_experts", 8)
    let chosen = try c.size("num_experts_per_tok", 2)
    return try DecoderPlan(
      c, tied: false, rotary: [RotaryPlan(c, headSize: shape.headSize, theta: ("rope_theta", 1_000_000))],
      finalNorm: .rms("model.norm", shape.hidden, epsilon)
    ) { index in
      let prefix = "model.layers.\(index)."
      var attention = AttentionPlan(prefix + "self_attn.", shape)
      attention.window = window
      let block = weights.contains(prefix + "mlp.gate.weight") ? prefix + "mlp." : prefix + "block_sparse_moe."
      let experts = ExpertsPlan(
        block, router: block + "gate", count: count, chosen: chosen, hidden: shape.hidden, inner: inner, activation: activation,
        weights: .normalized(p: 1), names: ("w1", "w3", "w2"), in: weights)
      return LayerPlan(prefix, attention: attention, mixer: .experts(experts), norm: { .rms($0, shape.hidden, epsilon) })
    }
  }
}
