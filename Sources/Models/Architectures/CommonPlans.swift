// SPDX-License-Identifier: Apache-2.0

import Core

extension DecoderPlan {
  /// What nearly all decoders share: the keys of sizes, and tensors `model.embed_tokens`, `lm_head`.
  init(
    _ c: ConfigurationFields, tied missing: Bool, rotary: [RotaryPlan], finalNorm: NormPlan, layer: @escaping (Int) throws -> LayerPlan
  ) throws {
    self.init(
      vocabularySize: try c.size("vocab_size"), hiddenSize: try c.size("hidden_size"), layerCount: try c.layers("num_hidden_layers"),
      maxPositions: try c.size("max_position_embeddings", 2048), embedding: "model.embed_tokens.weight", rotary: rotary, finalNorm: finalNorm,
      isTied: try c.flag("tie_word_embeddings", missing), layer: layer)
  }
}

extension LayerPlan {
  /// Norm, attention, norm, feed-forward, by the names of Llama.
  init(_ prefix: String, attention: AttentionPlan, mixer: MixerPlan, norm: (String) -> NormPlan) {
    self.init(
      attention: attention, mixer: mixer, attentionNorm: norm(prefix + "input_layernorm"),
      mixerNorm: norm(prefix + "post_attention_layernorm"))
  }
}

extension ConfigurationFields {
  /// `sliding_window` of architectures that apply it to every layer.
  func windowOfAllLayers() throws -> Int? { try optionalSize("sliding_window") }

  /// The window of each layer where `use_sliding_window` and `layer_types` (or `max_window_layers`) decide.
  func windows(_ count: Int, defaultTypes: (_ layer: Int, _ bound: Int) -> Bool) throws -> [Int?] {
    let isUsed = try flag("use_sliding_window", false)
    let window = isUsed ? try size("sliding_window", 4096) : nil
    let bound = try self.count("max_window_layers", 28)
    let types = try slidingLayers(count) ?? (0..<count).map { isUsed && defaultTypes($0, bound) }
    if window == nil, types.contains(true) {
      throw Self.refusal("'layer_types' names sliding_attention, but 'use_sliding_window' is off")
    }
    return types.map { $0 ? window : nil }
  }
}

extension ExpertsPlan {
  /// Experts `PREFIX.experts.N.gate_proj` (or the names given), or all of them in the fused tensors `experts.gate_up_proj` and `down_proj`.
  init(
    _ prefix: String, router: String, count: Int, chosen: Int, hidden: Int, inner: Int, activation: Activation, weights: Weights,
    names: (gate: String, up: String, down: String), in file: WeightLoader
  ) {
    let fused = prefix + "experts.gate_up_proj"
    let isFused = file.contains(fused)
    let experts = (0..<count).map { expert -> FeedForwardPlan in
      guard !isFused else {
        let stored = [count, 2 * inner, hidden]
        return FeedForwardPlan(
          gate: MatrixPlan(tensor: fused, stored: stored, first: expert * 2 * inner, rows: inner, columns: hidden),
          up: MatrixPlan(tensor: fused, stored: stored, first: expert * 2 * inner + inner, rows: inner, columns: hidden),
          down: MatrixPlan(
            tensor: prefix + "experts.down_proj", stored: [count, hidden, inner], first: expert * hidden, rows: hidden, columns: inner),
          activation: activation)
      }
      let name = prefix + "experts.\(expert)."
      return FeedForwardPlan(
        gate: MatrixPlan(name + names.gate, inner, hidden), up: MatrixPlan(name + names.up, inner, hidden),
        down: MatrixPlan(name + names.down, hidden, inner), activation: activation)
    }
    self.init(router: MatrixPlan(router, count, hidden), experts: experts, chosen: chosen, weights: weights)
  }
}
