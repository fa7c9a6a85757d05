// SPDX-License-Identifier: Apache-2.0

import Core

/// What makes one number of a text's hidden states, as the heads of `..ForSequenceClassification` do with one label.
struct ClassifierPlan {
  /// Of the hidden states: the first token's, or the mean of all.
  var pooling = SentencePooling.Mode.cls
  /// [hidden, hidden]
  var dense: MatrixPlan
  var activation: Activation
  var norm: NormPlan?
  /// [1, hidden]
  var output: MatrixPlan

  /// BERT's head: its pooler, then a linear layer.
  static func pooler(_ hidden: Int, base: String) -> ClassifierPlan {
    ClassifierPlan(
      dense: MatrixPlan("\(base).pooler.dense", hidden, hidden, bias: true), activation: .tanh, output: MatrixPlan("classifier", 1, hidden, bias: true))
  }

  /// RoBERTa's head, which MPNet has too.
  static func dense(_ hidden: Int) -> ClassifierPlan {
    ClassifierPlan(
      dense: MatrixPlan("classifier.dense", hidden, hidden, bias: true), activation: .tanh,
      output: MatrixPlan("classifier.out_proj", 1, hidden, bias: true))
  }
}
