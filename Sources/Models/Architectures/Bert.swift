// SPDX-License-Identifier: Apache-2.0

import Core

/// BERT (Devlin et al., 2018): learned positions, norms behind each residual (`BertModel`).
enum Bert: EncoderArchitecture {
  static let modelTypes = ["bert"]

  static func plan(_ c: ConfigurationFields) throws -> EncoderPlan {
    try c.refuse("position_embedding_type") { $0 == "absolute" }
    try c.refuse("is_decoder") { $0 == false }
    let shape = try AttentionShape(hidden: c.size("hidden_size"), heads: c.size("num_attention_heads"))
    let hidden = shape.hidden
    let epsilon = try c.epsilon("layer_norm_eps", 1e-12)
    let inner = try c.size("intermediate_size")
    let activation = try c.activation("hidden_act", "gelu")
    return EncoderPlan(
      vocabularySize: try c.size("vocab_size"), hiddenSize: hidden, layerCount: try c.layers("num_hidden_layers"),
      embedding: "embeddings.word_embeddings.weight",
      positionEmbedding: ("embeddings.position_embeddings.weight", try c.size("max_position_embeddings")),
      typeEmbedding: ("embeddings.token_type_embeddings.weight", try c.size("type_vocab_size", 2)),
      embeddingNorm: .layer("embeddings.LayerNorm", hidden, epsilon)
    ) { index in
      let prefix = "encoder.layer.\(index)."
      func part(_ name: String) -> MatrixPlan { MatrixPlan(prefix + "attention.self." + name, hidden, hidden, bias: true) }
      return LayerPlan(
        arrangement: .postNorm,
        attention: AttentionPlan(
          heads: shape.heads, keyValueHeads: shape.heads, headSize: shape.headSize, query: part("query"), key: part("key"), value: part("value"),
          output: MatrixPlan(prefix + "attention.output.dense", hidden, hidden, bias: true)),
        mixer: .dense(.plain(prefix + "intermediate.dense", prefix + "output.dense", hidden, inner, activation, bias: true)),
        attentionOutputNorm: .layer(prefix + "attention.output.LayerNorm", hidden, epsilon),
        mixerOutputNorm: .layer(prefix + "output.LayerNorm", hidden, epsilon))
    }
  }

  static func classifier(_ c: ConfigurationFields, hidden: Int) throws -> ClassifierPlan { .pooler(hidden, base: "bert") }
}
