// SPDX-License-Identifier: Apache-2.0

/// Phi 3, 3.5 and 4: fused projections, longrope (`Phi3ForCausalLM`).
enum Phi3: DecoderArchitecture {
  static let modelTypes = ["phi3"]

  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan {
    let shape = try AttentionShape(c)
    let epsilon = try c.epsilon("rms_norm_eps", 1e-5)
    let inner = try c.size("intermediate_size")
    let activation = try c.activation("hidden_act", "silu")
    let window = try c.windowOfAllLayers()
    // Early files call the same scaling "su" and, by mistake, "yarn".
    let rotary = try RotaryPlan(c, headSize: shape.headSize, aliases: ["su": "longrope", "yarn": "longrope"])
    let (q, kv) = (shape.queryWidth, shape.keyValueWidth)
    return try DecoderPlan(c, tied: false, rotary: [rotary], finalNorm: .rms("model.norm", shape.hidden, epsilon)) { index in
      let prefix = "model.layers.\(index)."
      func part(_ rows: Range<Int>) -> MatrixPlan { MatrixPlan(prefix + "self_attn.qkv_proj", rows: rows, of: q + 2 * kv, shape.hidden) }
      var attention = AttentionPlan(
        heads: shape.heads, keyValueHeads: shape.keyValueHeads, headSize: shape.headSize, query: part(0..<q), key: part(q..<q + kv),
        value: part(q + kv..<q + 2 * kv), output: MatrixPlan(prefix + "self_attn.o_proj", shape.hidden, q))
      attention.window = window
      let fused = prefix + "mlp.gate_up_proj"
      let block = FeedForwardPlan(
        gate: MatrixPlan(fused, rows: 0..<inner, of: 2 * inner, shape.hidden),
        up: MatrixPlan(fused, rows: inner..<2 * inner, of: 2 * inner, shape.hidden),
        down: MatrixPlan(prefix + "mlp.down_proj", shape.hidden, inner), activation: activation)
      return LayerPlan(prefix, attention: attention, mixer: .dense(block), norm: { .rms($0, shape.hidden, epsilon) })
    }
  }
}
