// SPDX-License-Identifier: Apache-2.0

/// What a decoder computes and which tensors it needs: an architecture's reading of one `config.json`.
struct DecoderPlan {
  var vocabularySize: Int
  var hiddenSize: Int
  var layerCount: Int
  /// `max_position_embeddings`: the length that the model was made for.
  var maxPositions: Int
  /// [vocabulary, hidden]
  var embedding: String
  var embeddingScale: Float = 1
  /// [maxPositions, hidden], added to the embeddings; sequences cannot be longer.
  var positionEmbedding: String?
  var rotary: [RotaryPlan] = []
  var finalNorm: NormPlan
  var head = "lm_head"
  var headHasBias = false
  /// Whether the embedding is the head when the file has none.
  var isTied: Bool
  /// Multiplied to the logits.
  var logitScale: Float = 1
  var logitSoftCap: Float?
  /// The plan of a layer, from 0.
  var layer: (Int) throws -> LayerPlan

  /// What states become logits by: a head of its own before a tied one, as the reference has it, for the file knows better than its
  /// configuration. Nil: the checkpoint has none.
  func headMatrix(_ weights: WeightLoader) -> MatrixPlan? {
    if weights.contains(head + ".weight") { return MatrixPlan(head, vocabularySize, hiddenSize, bias: headHasBias) }
    return isTied ? MatrixPlan(tensor: embedding, stored: [vocabularySize, hiddenSize], first: 0, rows: vocabularySize, columns: hiddenSize) : nil
  }
}

/// A family of decoders, by the names that configurations use.
protocol DecoderArchitecture: Sendable {
  /// Values of `model_type`.
  static var modelTypes: [String] { get }
  /// - Throws: `invalidFile` (PLT-4102) naming the key that is missing or asks for what is not built.
  static func plan(_ c: ConfigurationFields, _ weights: WeightLoader) throws -> DecoderPlan
}
