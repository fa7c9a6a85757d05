// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
import Foundation
import Tensor

/// A model that reads two texts together and says how well they fit: an encoder with a classification head of one label
/// (`BertForSequenceClassification` and the like, as sentence-transformers' `CrossEncoder` saves them).
///
/// Scores do not depend on which pairs are scored together. Immutable and usable from many threads.
public final class CrossEncoder: @unchecked Sendable {  // all is written in init only
  public let encoder: EncoderModel
  /// What the model's files say about its score.
  private let ending: Activation?
  private let pooling: SentencePooling.Mode
  private let dense: Matrix
  private let activation: Activation
  private let norm: Norm?
  private let output: Matrix
  private let storage: WeightStorage
  /// Tokens that are computed together; more need more memory, fewer leave matrices half used.
  private static let packTokens = 2048

  /// Opens a Hugging Face model folder.
  /// - Throws: like `EncoderModel`; `invalidFile` (PLT-4102) for a model that has no head of one label.
  public init(directory: String, precision: WeightPrecision = .f32) throws {
    encoder = try EncoderModel(directory: directory, precision: precision)
    do {
      let fields = ConfigurationFields(json: try ModelFolder.configuration(directory))
      guard Self.labelCount(fields) == 1 else {
        throw ConfigurationFields.refusal("the model gives \(Self.labelCount(fields)) numbers a text, and a score is one")
      }
      let plan = try ModelArchitectures.encoder(fields).classifier(fields, hidden: encoder.hiddenSize)
      ending = try Self.ending(fields)
      let loader = WeightLoader(source: try SafeTensorsDirectory(path: directory))
      pooling = plan.pooling
      dense = try loader.matrix(plan.dense)
      activation = plan.activation
      norm = try plan.norm.map(loader.norm)
      output = try loader.matrix(plan.output)
      storage = loader.storage
    } catch {
      throw PlatformError.from(error, context: "loading model \(directory)")
    }
  }

  /// Whether a model folder holds such a model, as far as its configuration tells.
  static func isOne(_ fields: ConfigurationFields) -> Bool {
    let names = fields.value("architectures")?.arrayValue?.compactMap(\.stringValue) ?? []
    return labelCount(fields) == 1 && names.contains { $0.hasSuffix("ForSequenceClassification") }
  }

  /// Numbers that the head gives; transformers' own default is 2.
  private static func labelCount(_ fields: ConfigurationFields) -> Int {
    fields.value("id2label")?.objectValue?.count ?? fields.value("num_labels")?.intValue ?? 2
  }

  /// As sentence-transformers has it: by name, a sigmoid when nothing is said.
  private static func ending(_ fields: ConfigurationFields) throws -> Activation? {
    let named = try fields.object("sentence_transformers").text("activation_fn") ?? fields.text("sbert_ce_default_activation_function")
    switch named?.split(separator: ".").last {
    case nil, "Sigmoid": return .sigmoid
    case "Identity": return nil
    case "Tanh": return .tanh
    default: throw ConfigurationFields.refusal("the activation '\(named ?? "")' is not built; Identity, Sigmoid and Tanh are")
    }
  }

  /// One score for each sequence, in the order given. `isCancelled` is asked every few thousand tokens.
  /// - Parameters:
  ///   - texts: ids of two texts, joined as the model's tokenizer does it.
  ///   - types: of each id.
  /// - Throws: like `EncoderModel.hiddenStates`; `CancellationError`.
  public func score(
    _ texts: [[Int32]], types: [[Int32]]? = nil, threads: Int = 1, isCancelled: (@Sendable () -> Bool)? = nil
  ) throws -> [Float] {
    try encoder.check(texts)
    let width = encoder.hiddenSize
    var pooled = [Float](repeating: 0, count: max(1, texts.count) * width)
    var first = 0
    while first < texts.count {
      if isCancelled?() == true { throw CancellationError() }
      var (end, tokens) = (first, 0)
      while end < texts.count, end == first || tokens + texts[end].count <= Self.packTokens {
        tokens += texts[end].count
        end += 1
      }
      let states = try encoder.hiddenStates(Array(texts[first..<end]), types: types.map { Array($0[first..<end]) }, threads: threads)
      pool(states, texts[first..<end], into: &pooled)
      first = end
    }
    return head(&pooled, count: texts.count)
  }

  /// states: [tokens, hidden]; pooled: [all texts, hidden]
  private func pool(_ states: [Float], _ texts: ArraySlice<[Int32]>, into pooled: inout [Float]) {
    let width = encoder.hiddenSize
    states.withUnsafeBufferPointer { states in
      pooled.withUnsafeMutableBufferPointer { pooled in
        guard var place = states.baseAddress, let rows = pooled.baseAddress else { return }
        for index in texts.indices {
          switch pooling {
          case .mean: pk_mean_rows_f32(rows + index * width, place, texts[index].count, width)
          case .cls: (rows + index * width).update(from: place, count: width)
          }
          place += texts[index].count * width
        }
      }
    }
  }

  /// pooled: [count, hidden]
  private func head(_ pooled: inout [Float], count: Int) -> [Float] {
    let width = encoder.hiddenSize
    let blocks = BlockRunner(isa: pk_decode_isa_best(), threads: 1)
    var inner = [Float](repeating: 0, count: pooled.count)
    return [Float](unsafeUninitializedCapacity: count) { scores, made in
      made = count
      guard count > 0, let scores = scores.baseAddress else { return }
      inner.withUnsafeMutableBufferPointer { inner in
        guard let inner = inner.baseAddress else { return }
        pooled.withUnsafeBufferPointer { if let rows = $0.baseAddress { blocks.linear(dense, rows, inner, rows: count) } }
        activation.apply(inner, count * width)
        norm?.apply(inner, inner, rows: count, count: width)
        blocks.linear(output, inner, scores, rows: count)
      }
      ending?.apply(scores, count)
    }
  }
}
