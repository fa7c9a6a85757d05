// SPDX-License-Identifier: Apache-2.0

import Core

/// RoBERTa, XLM-RoBERTa and CamemBERT: BERT with positions counted behind the padding token's number (`RobertaModel`).
enum Roberta: EncoderArchitecture {
  static let modelTypes = ["roberta", "xlm-roberta", "camembert"]

  static func plan(_ c: ConfigurationFields) throws -> EncoderPlan {
    var plan = try Bert.plan(c)
    let padding = try c.tokens("pad_token_id").first ?? 1
    guard padding >= 0, padding + 1 < plan.positionEmbedding?.rows ?? 0 else {
      throw ConfigurationFields.refusal("'pad_token_id' (\(padding)) leaves no positions")
    }
    plan.positions = .behind(padding: Int32(padding))
    return plan
  }

  static func classifier(_ c: ConfigurationFields, hidden: Int) throws -> ClassifierPlan { .dense(hidden) }
}
