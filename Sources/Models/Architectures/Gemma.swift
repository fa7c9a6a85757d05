// SPDX-License-Identifier: Apache-2.0

import Core

/// Gemma 1: gains stored less 1, embeddings times the root of their width (`GemmaForCausalLM`).
enum Gemma: DecoderArchitecture {
  static let modelTypes = ["gemma"]

  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan {
    try c.refuse("use_bidirectional_attention") { $0 == false }
    let shape = try AttentionShape(c, headSize: 256, keyValueHeads: 16)
    let epsilon = try c.epsilon("rms_norm_eps", 1e-6)
    let inner = try c.size("intermediate_size")
    // The first files say "gelu" and mean its tanh form; `hidden_activation` came later and goes first.
    let named = try c.activation(c.has("hidden_activation") ? "hidden_activation" : "hidden_act", "gelu_pytorch_tanh")
    let activation = named == .geluErf ? .geluTanh : named
    let bias = try c.flag("attention_bias", false)
    var plan = try DecoderPlan(
      c, tied: true, rotary: [RotaryPlan(c, headSize: shape.headSize)],
      finalNorm: .rms("model.norm", shape.hidden, epsilon, addsOne: true)
    ) { index in
      let prefix = "model.layers.\(index)."
      return LayerPlan(
        prefix, attention: AttentionPlan(prefix + "self_attn.", shape, bias: bias, outputBias: bias),
        mixer: .dense(.gated(prefix + "mlp.", shape.hidden, inner, activation)),
        norm: { .rms($0, shape.hidden, epsilon, addsOne: true) })
    }
    plan.embeddingScale = Float(Double(shape.hidden).squareRoot())
    return plan
  }
}
