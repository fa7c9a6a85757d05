// SPDX-License-Identifier: Apache-2.0

import Core

/// Qwen1.5-MoE and Qwen2-MoE: experts in some layers beside one that every token passes (`Qwen2MoeForCausalLM`).
enum Qwen2Moe: DecoderArchitecture {
  static let modelTypes = ["qwen2_moe"]

  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan {
    let shape = try AttentionShape(c, keyValueHeads: 16)
    let epsilon = try c.epsilon("rms_norm_eps", 1e-6)
    let inner = try c.size("intermediate_size")
    let activation = try c.activation("hidden_act", "silu")
    let windows = try c.windows(c.layers("num_hidden_layers")) { ($0 + 1) % 2 != 0 && $0 < $1 }
    let bias = try c.flag("qkv_bias", true)
    let sparse = try SparseLayers(c, experts: 60, inner: 1408, chosen: 4)
    let sharedInner = try c.size("shared_expert_intermediate_size", 5632)
    return try DecoderPlan(
      c, tied: false, rotary: [RotaryPlan(c, headSize: shape.headSize)], finalNorm: .rms("model.norm", shape.hidden, epsilon)
    ) { index in
      let prefix = "model.layers.\(index)."
      var attention = AttentionPlan(prefix + "self_attn.", shape, bias: bias)
      attention.window = windows[index]
      var mixer = MixerPlan.dense(.gated(prefix + "mlp.", shape.hidden, inner, activation))
      if sparse.contains(index) {
        var experts = sparse.plan(prefix + "mlp.", shape.hidden, activation, weights)
        experts.shared = (
          .gated(prefix + "mlp.shared_expert.", shape.hidden, sharedInner, activation),
          MatrixPlan(prefix + "mlp.shared_expert_gate", 1, shape.hidden)
        )
        mixer = .experts(experts)
      }
      return LayerPlan(prefix, attention: attention, mixer: mixer, norm: { .rms($0, shape.hidden, epsilon) })
    }
  }
}

/// Which layers of the Qwen family have experts, and which ones.
struct SparseLayers {
  private var only: Set<Int>
  private var step: Int
  private var count: Int
  private var inner: Int
  private var chosen: Int
  private var normalizes: Bool

  init(_ c: ConfigurationFields, experts: Int, inner: Int, chosen: Int) throws {
    only = Set(try c.list("mlp_only_layers")?.compactMap(\.intValue) ?? [])
    step = try c.size("decoder_sparse_step", 1)
    count = try c.layers(c.has("num_experts") ? "num_experts" : "num_local_experts", experts)
    self.inner = try c.size("moe_intermediate_size", inner)
    self.chosen = try c.size("num_experts_per_tok", chosen)
    normalizes = try c.flag("norm_topk_prob", false)
  }

  func contains(_ index: Int) -> Bool { !only.contains(index) && (index + 1) % step == 0 }

  func plan(_ prefix: String, _ hidden: Int, _ activation: Activation, _ weights: WeightLoader) -> ExpertsPlan {
    ExpertsPlan(
      prefix, router: prefix + "gate", count: count, chosen: chosen, hidden: hidden, inner: inner, activation: activation,
      weights: normalizes ? .normalized(p: 1) : .raw, names: ("gate_proj", "up_proj", "down_proj"), in: weights)
  }
}
