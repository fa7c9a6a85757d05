// SPDX-License-Identifier: Apache-2.0

/// Granite: Llama with multipliers on embeddings, scores, residuals and logits (`GraniteForCausalLM`).
enum Granite: DecoderArchitecture {
  static let modelTypes = ["granite"]

  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan {
    var plan = try Llama.plan(c, weights)
    let scale = Float(try c.number("attention_multiplier", 1))
    let residual = Float(try c.number("residual_multiplier", 1))
    let layer = plan.layer
    plan.layer = { index in
      var one = try layer(index)
      one.attention.scale = scale
      one.residualScale = residual
      return one
    }
    plan.embeddingScale = Float(try c.number("embedding_multiplier", 1))
    plan.logitScale = Float(1 / (try c.positive("logits_scaling", 1)))
    return plan
  }
}
