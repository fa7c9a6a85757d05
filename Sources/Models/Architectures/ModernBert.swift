// SPDX-License-Identifier: Apache-2.0

/// ModernBERT: rotary positions, gated feed-forward, windows in two layers of three (`ModernBertModel`).
enum ModernBert: EncoderArchitecture {
  static let modelTypes = ["modernbert"]

  static func plan(_ c: ConfigurationFields) throws -> EncoderPlan {
    let shape = try AttentionShape(hidden: c.size("hidden_size", 768), heads: c.size("num_attention_heads", 12))
    let hidden = shape.hidden
    let epsilon = try c.epsilon("norm_eps", 1e-5)
    let inner = try c.size("intermediate_size", 1152)
    let activation = try c.activation("hidden_activation", "gelu")
    let normBias = try c.flag("norm_bias", false)
    let attentionBias = try c.flag("attention_bias", false)
    let bias = try c.flag("mlp_bias", false)
    let count = try c.layers("num_hidden_layers", 22)
    let every = try c.size("global_attn_every_n_layers", 3)
    let sliding = try c.slidingLayers(count) ?? (0..<count).map { $0 % every != 0 }
    let reach = try c.size("local_attention", 128) / 2
    return EncoderPlan(
      vocabularySize: try c.size("vocab_size", 50_368), hiddenSize: hidden, layerCount: count, embedding: "embeddings.tok_embeddings.weight",
      embeddingNorm: .layer("embeddings.norm", hidden, epsilon, bias: normBias),
      rotary: [
        try RotaryPlan(c, headSize: shape.headSize, theta: ("global_rope_theta", 160_000), layerType: "full_attention"),
        try RotaryPlan(c, headSize: shape.headSize, theta: ("local_rope_theta", 10_000), layerType: "sliding_attention"),
      ], finalNorm: .layer("final_norm", hidden, epsilon, bias: normBias)
    ) { index in
      let prefix = "layers.\(index)."
      func part(_ number: Int) -> MatrixPlan {
        MatrixPlan(prefix + "attn.Wqkv", rows: number * hidden..<(number + 1) * hidden, of: 3 * hidden, hidden, bias: attentionBias)
      }
      var attention = AttentionPlan(
        heads: shape.heads, keyValueHeads: shape.heads, headSize: shape.headSize, query: part(0), key: part(1), value: part(2),
        output: MatrixPlan(prefix + "attn.Wo", hidden, hidden, bias: attentionBias))
      attention.rotary = sliding[index] ? 1 : 0
      attention.window = sliding[index] ? reach : nil
      let block = FeedForwardPlan(
        gate: MatrixPlan(prefix + "mlp.Wi", rows: 0..<inner, of: 2 * inner, hidden, bias: bias),
        up: MatrixPlan(prefix + "mlp.Wi", rows: inner..<2 * inner, of: 2 * inner, hidden, bias: bias),
        down: MatrixPlan(prefix + "mlp.Wo", hidden, inner, bias: bias), activation: activation)
      return LayerPlan(
        attention: attention, mixer: .dense(block),
        // The first layer reads what the embeddings' norm gave.
        attentionNorm: index == 0 ? nil : .layer(prefix + "attn_norm", hidden, epsilon, bias: normBias),
        mixerNorm: .layer(prefix + "mlp_norm", hidden, epsilon, bias: normBias))
    }
  }

  static func classifier(_ c: ConfigurationFields, hidden: Int) throws -> ClassifierPlan {
    let pooling = try c.text("classifier_pooling") ?? "cls"
    guard let mode = SentencePooling.Mode(rawValue: pooling) else {
      throw ConfigurationFields.refusal("'classifier_pooling' is '\(pooling)', which is not built; 'cls' and 'mean' are")
    }
    return ClassifierPlan(
      pooling: mode, dense: MatrixPlan("head.dense", hidden, hidden, bias: try c.flag("classifier_bias", false)),
      activation: try c.activation("classifier_activation", "gelu"),
      norm: .layer("head.norm", hidden, try c.epsilon("norm_eps", 1e-5), bias: try c.flag("norm_bias", false)),
      output: MatrixPlan("classifier", 1, hidden, bias: true))
  }
}
