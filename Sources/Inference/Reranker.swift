// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
public import Models
import Tokenizers

/// Scores documents for a query with a cross-encoder: reads each pair as sentence-transformers' `CrossEncoder` does, cut at the model's limit.
public struct Reranker: Sendable {
  private let model: CrossEncoder
  private let tokenizer: any Tokenizer
  private let template: PairTemplate
  /// Whether the model is told which of the two texts a token is of.
  private let usesTypes: Bool
  /// The longest pair in tokens.
  public let limit: Int

  /// Opens a model folder.
  /// - Throws: like `CrossEncoder`; `invalidFile` (PLT-3301) when its tokenizer does not say how two texts are joined.
  public init(directory: String, precision: WeightPrecision = .f32) throws {
    model = try CrossEncoder(directory: directory, precision: precision)
    tokenizer = try TokenizerFile.open(directory)
    guard let template = tokenizer.pairTemplate else {
      throw PlatformError(
        .invalidFile, "the model's tokenizer does not say how two texts are joined", hint: "It needs a tokenizer.json with a template for pairs.",
        number: "PLT-4520", path: directory)
    }
    self.template = template
    var settings: JSONValue?
    if let data = FileManager.default.contents(atPath: directory + "/tokenizer_config.json") { settings = try JSONValue(parsing: data) }
    let named = settings?["model_input_names"]?.arrayValue
    usesTypes = model.encoder.typeCount > 1 && named?.contains("token_type_ids") ?? true
    // Files that know no limit say 10^30.
    let stated = settings?["model_max_length"]?.doubleValue.flatMap { $0 >= 1 && $0 < 1e9 ? Int($0) : nil }
    limit = min(stated ?? .max, model.encoder.trainedTokens)
    guard limit > template.addedCount else {
      throw PlatformError(.invalidFile, "the model reads \(limit) tokens, too few for two texts", number: "PLT-4520", path: directory)
    }
  }

  /// One score for each document, in the order given, and the tokens that were read.
  /// - Parameter queries: one for all documents, or one for each.
  /// - Throws: `invalidArgument`; `CancellationError`.
  public func score(
    queries: [String], documents: [String], threads: Int = 1, isCancelled: (@Sendable () -> Bool)? = nil
  ) throws -> (scores: [Float], tokens: Int) {
    guard queries.count == 1 || queries.count == documents.count else {
      throw PlatformError(.invalidArgument, "\(queries.count) queries do not fit \(documents.count) documents")
    }
    let asked = queries.map { tokenizer.encode($0, addSpecialTokens: false) }
    let pairs = documents.enumerated().map { index, document in
      template.join(asked[asked.count == 1 ? 0 : index], tokenizer.encode(document, addSpecialTokens: false), maximumLength: limit)
    }
    let scores = try model.score(pairs.map(\.ids), types: usesTypes ? pairs.map(\.types) : nil, threads: threads, isCancelled: isCancelled)
    return (scores, pairs.reduce(0) { $0 + $1.ids.count })
  }
}
