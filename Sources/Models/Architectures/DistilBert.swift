// SPDX-License-Identifier: Apache-2.0

/// DistilBERT: BERT without token types, by names of its own (`DistilBertModel`).
enum DistilBert: EncoderArchitecture {
  static let modelTypes = ["distilbert"]

  static func plan(_ c: ConfigurationFields) throws -> EncoderPlan {
    let shape = try AttentionShape(hidden: c.size("dim", 768), heads: c.size("n_heads", 12))
    let hidden = shape.hidden
    let inner = try c.size("hidden_dim", 3072)
    let activation = try c.activation("activation", "gelu")
    return EncoderPlan(
      vocabularySize: try c.size("vocab_size", 30_522), hiddenSize: hidden, layerCount: try c.layers("n_layers", 6),
      embedding: "embeddings.word_embeddings.weight",
      positionEmbedding: ("embeddings.position_embeddings.weight", try c.size("max_position_embeddings", 512)),
      embeddingNorm: .layer("embeddings.LayerNorm", hidden, 1e-12)
    ) { index in
      let prefix = "transformer.layer.\(index)."
      func part(_ name: String) -> MatrixPlan { MatrixPlan(prefix + "attention." + name, hidden, hidden, bias: true) }
      return LayerPlan(
        arrangement: .postNorm,
        attention: AttentionPlan(
          heads: shape.heads, keyValueHeads: shape.heads, headSize: shape.headSize, query: part("q_lin"), key: part("k_lin"),
          value: part("v_lin"), output: part("out_lin")),
        mixer: .dense(.plain(prefix + "ffn.lin1", prefix + "ffn.lin2", hidden, inner, activation, bias: true)),
        attentionOutputNorm: .layer(prefix + "sa_layer_norm", hidden, 1e-12), mixerOutputNorm: .layer(prefix + "output_layer_norm", hidden, 1e-12))
    }
  }

  static func classifier(_ c: ConfigurationFields, hidden: Int) throws -> ClassifierPlan {
    ClassifierPlan(
      dense: MatrixPlan("pre_classifier", hidden, hidden, bias: true), activation: .relu, output: MatrixPlan("classifier", 1, hidden, bias: true))
  }
}
