// SPDX-License-Identifier: Apache-2.0

import Core

/// Nomic's text embedder: BERT with rotary positions and a gated feed-forward part (`NomicBertModel`). Reads the configuration of
/// transformers 5 and the older one with GPT-2's keys.
enum NomicBert: EncoderArchitecture {
  static let modelTypes = ["nomic_bert"]

  static func plan(_ c: ConfigurationFields) throws -> EncoderPlan {
    let isOld = c.has("n_embd")
    func key(_ new: String, _ old: String) -> String { isOld ? old : new }
    for name in ["prenorm", "parallel_block", "use_rms_norm", "rotary_emb_interleaved", "qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias", "causal"] {
      try c.refuse(name) { $0 == false }
    }
    try c.refuse("rotary_scaling_factor") { $0 == 1 }
    try c.refuse("rotary_emb_scale_base") { _ in false }
    try c.refuse("activation_function") { $0 == "swiglu" }
    try c.refuse("rotary_emb_fraction") { $0 == 1 }
    try c.refuse("num_experts") { $0 == 0 }
    let shape = try AttentionShape(
      hidden: c.size(key("hidden_size", "n_embd")), heads: c.size(key("num_attention_heads", "n_head")), headSize: c.optionalSize("head_dim"))
    let hidden = shape.hidden
    let width = shape.queryWidth
    let epsilon = try c.epsilon(key("layer_norm_eps", "layer_norm_epsilon"), 1e-12)
    let inner = try c.size(key("intermediate_size", "n_inner"))
    let activation = isOld ? Activation.silu : try c.activation("hidden_act", "silu")
    var rotary = try RotaryPlan(c, headSize: shape.headSize, theta: (isOld ? "rotary_emb_base" : "rope_theta", 1000))
    if isOld { rotary.maxPositions = try c.size(c.has("max_trained_positions") ? "max_trained_positions" : "n_positions", 2048) }
    return EncoderPlan(
      vocabularySize: try c.size("vocab_size"), hiddenSize: hidden, layerCount: try c.layers(key("num_hidden_layers", "n_layer")),
      embedding: "embeddings.word_embeddings.weight",
      typeEmbedding: ("embeddings.token_type_embeddings.weight", try c.size("type_vocab_size", 2)),
      embeddingNorm: .layer("emb_ln", hidden, epsilon), rotary: [rotary]
    ) { index in
      let prefix = "encoder.layers.\(index)."
      func part(_ number: Int) -> MatrixPlan {
        MatrixPlan(prefix + "attn.Wqkv", rows: number * width..<(number + 1) * width, of: 3 * width, hidden)
      }
      let block = FeedForwardPlan(
        gate: MatrixPlan(prefix + "mlp.fc12", inner, hidden), up: MatrixPlan(prefix + "mlp.fc11", inner, hidden),
        down: MatrixPlan(prefix + "mlp.fc2", hidden, inner), activation: activation)
      return LayerPlan(
        arrangement: .postNorm,
        attention: AttentionPlan(
          heads: shape.heads, keyValueHeads: shape.heads, headSize: shape.headSize, query: part(0), key: part(1), value: part(2),
          output: MatrixPlan(prefix + "attn.out_proj", hidden, width)),
        mixer: .dense(block), attentionOutputNorm: .layer(prefix + "norm1", hidden, epsilon),
        mixerOutputNorm: .layer(prefix + "norm2", hidden, epsilon))
    }
  }

  static func classifier(_ c: ConfigurationFields, hidden: Int) throws -> ClassifierPlan { .pooler(hidden, base: "nomic_bert") }
}
