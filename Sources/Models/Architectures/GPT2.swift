// SPDX-License-Identifier: Apache-2.0

import Core

/// GPT-2: learned positions, LayerNorm, matrices stored [in, out] (`GPT2LMHeadModel`).
enum GPT2: DecoderArchitecture {
  static let modelTypes = ["gpt2"]

  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan {
    try c.refuse("add_cross_attention") { $0 == false }
    let shape = try AttentionShape(hidden: c.size("n_embd", 768), heads: c.size("n_head", 12))
    let hidden = shape.hidden
    let epsilon = try c.epsilon("layer_norm_epsilon", 1e-5)
    let inner = try c.size("n_inner", 4 * hidden)
    let activation = try c.activation("activation_function", "gelu_new")
    let scales = try c.flag("scale_attn_weights", true)
    let scalesByLayer = try c.flag("scale_attn_by_inverse_layer_idx", false)
    return DecoderPlan(
      vocabularySize: try c.size("vocab_size", 50_257), hiddenSize: hidden, layerCount: try c.layers("n_layer", 12),
      maxPositions: try c.size("n_positions", 1024), embedding: "transformer.wte.weight", positionEmbedding: "transformer.wpe.weight",
      finalNorm: .layer("transformer.ln_f", hidden, epsilon), isTied: try c.flag("tie_word_embeddings", true)
    ) { index in
      let prefix = "transformer.h.\(index)."
      func part(_ number: Int) -> MatrixPlan {
        MatrixPlan(prefix + "attn.c_attn", transposed: number * hidden..<(number + 1) * hidden, of: 3 * hidden, hidden)
      }
      var attention = AttentionPlan(
        heads: shape.heads, keyValueHeads: shape.heads, headSize: shape.headSize, query: part(0), key: part(1), value: part(2),
        output: MatrixPlan(prefix + "attn.c_proj", transposed: 0..<hidden, of: hidden, hidden))
      attention.rotary = nil
      if !scales { attention.scale = 1 }
      if scalesByLayer { attention.scale /= Float(index + 1) }
      let block = FeedForwardPlan(
        up: MatrixPlan(prefix + "mlp.c_fc", transposed: 0..<inner, of: inner, hidden),
        down: MatrixPlan(prefix + "mlp.c_proj", transposed: 0..<hidden, of: hidden, inner), activation: activation)
      return LayerPlan(
        attention: attention, mixer: .dense(block), attentionNorm: .layer(prefix + "ln_1", hidden, epsilon),
        mixerNorm: .layer(prefix + "ln_2", hidden, epsilon))
    }
  }
}
