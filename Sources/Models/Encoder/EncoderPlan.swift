// SPDX-License-Identifier: Apache-2.0

/// What a text encoder computes and which tensors it needs: an architecture's reading of one `config.json`.
struct EncoderPlan {
  enum Positions: Sendable {
    /// 0, 1, 2, ..
    case counted
    /// Tokens other than `padding` are counted from padding + 1 on; padding itself has its own number (fairseq).
    case behind(padding: Int32)
  }
  var vocabularySize: Int
  var hiddenSize: Int
  var layerCount: Int
  /// [vocabulary, hidden]
  var embedding: String
  /// [rows, hidden]
  var positionEmbedding: (tensor: String, rows: Int)?
  var positions = Positions.counted
  /// [rows, hidden], by the token's type.
  var typeEmbedding: (tensor: String, rows: Int)?
  var embeddingNorm: NormPlan?
  var rotary: [RotaryPlan] = []
  /// MPNet: [buckets, heads], added to the scores by distance.
  var relativeBias: (tensor: String, buckets: Int)?
  var finalNorm: NormPlan?
  var layer: (Int) throws -> LayerPlan

  /// The longest text; nil when positions are computed.
  var maxTokens: Int? {
    guard let rows = positionEmbedding?.rows else { return nil }
    return switch positions {
    case .counted: rows
    case .behind(let padding): rows - Int(padding) - 1
    }
  }
}

/// A family of encoders, by the names that configurations use.
protocol EncoderArchitecture: Sendable {
  /// Values of `model_type`.
  static var modelTypes: [String] { get }
  /// - Throws: `invalidFile` (PLT-4102) naming the key that is missing or asks for what is not built.
  static func plan(_ c: ConfigurationFields) throws -> EncoderPlan
  /// What gives a score to a text, in a model `..ForSequenceClassification`.
  /// - Throws: like `plan`.
  static func classifier(_ c: ConfigurationFields, hidden: Int) throws -> ClassifierPlan
}
