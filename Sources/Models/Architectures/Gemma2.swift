// SPDX-License-Identifier: Apache-2.0

import Core

/// Gemma 2: norms before and behind each branch, alternating windows, soft caps on scores and logits (`Gemma2ForCausalLM`).
enum Gemma2: DecoderArchitecture {
  static let modelTypes = ["gemma2"]

  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan {
    try c.refuse("use_bidirectional_attention") { $0 == false }
    let shape = try AttentionShape(c, headSize: 256, keyValueHeads: 4)
    let count = try c.layers("num_hidden_layers")
    let sliding = try c.slidingLayers(count) ?? (0..<count).map { ($0 + 1) % 2 != 0 }
    let window = c.json["sliding_window"] == nil ? 4096 : try c.windowOfAllLayers()
    let cap = c.json["attn_logit_softcapping"] == nil ? 50 : try c.optionalPositive("attn_logit_softcapping")
    let layer = try sandwich(c, shape)
    var plan = try DecoderPlan(
      c, tied: true, rotary: [RotaryPlan(c, headSize: shape.headSize)],
      finalNorm: .rms("model.norm", shape.hidden, c.epsilon("rms_norm_eps", 1e-6), addsOne: true)
    ) { index in
      var one = layer(index)
      one.attention.window = sliding[index] ? window : nil
      one.attention.softCap = cap.map { Float($0) }
      return one
    }
    plan.embeddingScale = Float(Double(shape.hidden).squareRoot())
    plan.logitSoftCap = Float(try c.json["final_logit_softcapping"] == nil ? 30 : c.optionalPositive("final_logit_softcapping") ?? 0)
    return plan
  }

  /// The layer that Gemma 2 and 3 share, without windows and caps.
  static func sandwich(_ c: ConfigurationFields, _ shape: AttentionShape) throws -> (Int) -> LayerPlan {
    let epsilon = try c.epsilon("rms_norm_eps", 1e-6)
    let inner = try c.size("intermediate_size")
    let activation = try c.activation("hidden_activation", "gelu_pytorch_tanh")
    let bias = try c.flag("attention_bias", false)
    let scale = 1 / Float(try c.positive("query_pre_attn_scalar", 256).squareRoot())
    return { index in
      let prefix = "model.layers.\(index)."
      func norm(_ name: String) -> NormPlan { .rms(prefix + name, shape.hidden, epsilon, addsOne: true) }
      var attention = AttentionPlan(prefix + "self_attn.", shape, bias: bias, outputBias: bias)
      attention.scale = scale
      return LayerPlan(
        attention: attention, mixer: .dense(.gated(prefix + "mlp.", shape.hidden, inner, activation)), attentionNorm: norm("input_layernorm"),
        attentionOutputNorm: norm("post_attention_layernorm"), mixerNorm: norm("pre_feedforward_layernorm"),
        mixerOutputNorm: norm("post_feedforward_layernorm"))
    }
  }
}
