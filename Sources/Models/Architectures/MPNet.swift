// SPDX-License-Identifier: Apache-2.0

import Core

/// MPNet: RoBERTa's positions and a bias on scores by distance, shared by all layers (`MPNetModel`).
enum MPNet: EncoderArchitecture {
  static let modelTypes = ["mpnet"]

  static func plan(_ c: ConfigurationFields) throws -> EncoderPlan {
    try c.refuse("relative_attention_num_buckets") { $0 == 32 }
    let shape = try AttentionShape(hidden: c.size("hidden_size"), heads: c.size("num_attention_heads"))
    let hidden = shape.hidden
    let epsilon = try c.epsilon("layer_norm_eps", 1e-12)
    let inner = try c.size("intermediate_size")
    let activation = try c.activation("hidden_act", "gelu")
    return EncoderPlan(
      vocabularySize: try c.size("vocab_size"), hiddenSize: hidden, layerCount: try c.layers("num_hidden_layers"),
      embedding: "embeddings.word_embeddings.weight",
      positionEmbedding: ("embeddings.position_embeddings.weight", try c.size("max_position_embeddings")),
      positions: .behind(padding: 1), embeddingNorm: .layer("embeddings.LayerNorm", hidden, epsilon),
      relativeBias: ("encoder.relative_attention_bias.weight", 32)
    ) { index in
      let prefix = "encoder.layer.\(index)."
      func part(_ name: String) -> MatrixPlan { MatrixPlan(prefix + "attention.attn." + name, hidden, hidden, bias: true) }
      return LayerPlan(
        arrangement: .postNorm,
        attention: AttentionPlan(
          heads: shape.heads, keyValueHeads: shape.heads, headSize: shape.headSize, query: part("q"), key: part("k"), value: part("v"),
          output: part("o")),
        mixer: .dense(.plain(prefix + "intermediate.dense", prefix + "output.dense", hidden, inner, activation, bias: true)),
        attentionOutputNorm: .layer(prefix + "attention.LayerNorm", hidden, epsilon),
        mixerOutputNorm: .layer(prefix + "output.LayerNorm", hidden, epsilon))
    }
  }

  static func classifier(_ c: ConfigurationFields, hidden: Int) throws -> ClassifierPlan { .dense(hidden) }
}
