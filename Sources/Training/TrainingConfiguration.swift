// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
public import Models

/// Everything that determines a pretraining run besides its data. The same configuration, data and layout give the same bits.
public struct TrainingConfiguration: Codable, Sendable, Equatable {
  // Model
  public var vocabularySize: Int
  public var hiddenSize: Int
  public var intermediateSize: Int
  public var layerCount: Int
  public var headCount: Int
  public var keyValueHeadCount: Int
  public var tieWordEmbeddings: Bool
  public var ropeTheta: Double
  public var normEpsilon: Double
  /// Tokens of a training row.
  public var sequenceLength: Int
  // Optimisation
  /// Tokens of one step: rows * sequenceLength; a multiple of sequenceLength.
  public var batchTokens: Int
  public var steps: Int
  /// Peak of the learning rate, reached after `warmupSteps`; then a cosine down to `minimumRatio` of it at the last step.
  public var learningRate: Double
  public var warmupSteps: Int
  public var minimumRatio: Double
  /// AdamW's decoupled decay; applied to matrices of the layers and the head, never to norms or the embedding table.
  public var weightDecay: Double
  public var beta1: Double
  public var beta2: Double
  public var epsilon: Double
  /// Largest global gradient norm.
  public var clip: Double
  public var seed: UInt64
  /// Steps between checkpoints; 0: none.
  public var checkpointEvery: Int
  /// Ranks that share the model. Must divide head counts, intermediate size and vocabulary.
  public var tensorParallel: Int
  /// Rows of the test tokens that the validation loss is computed on, at most.
  public var validationRows: Int

  public init(
    vocabularySize: Int, hiddenSize: Int = 192, intermediateSize: Int = 512, layerCount: Int = 4, headCount: Int = 6,
    keyValueHeadCount: Int = 2, tieWordEmbeddings: Bool = true, ropeTheta: Double = 10_000, normEpsilon: Double = 1e-5,
    sequenceLength: Int = 128, batchTokens: Int = 2048, steps: Int = 1000, learningRate: Double = 3e-3,
    warmupSteps: Int = 50,
    minimumRatio: Double = 0.1, weightDecay: Double = 0.1, beta1: Double = 0.9, beta2: Double = 0.95, epsilon: Double = 1e-8,
    clip: Double = 1, seed: UInt64 = 1, checkpointEvery: Int = 200, tensorParallel: Int = 1, validationRows: Int = 256
  ) {
    self.vocabularySize = vocabularySize
    self.hiddenSize = hiddenSize
    self.intermediateSize = intermediateSize
    self.layerCount = layerCount
    self.headCount = headCount
    self.keyValueHeadCount = keyValueHeadCount
    self.tieWordEmbeddings = tieWordEmbeddings
    self.ropeTheta = ropeTheta
    self.normEpsilon = normEpsilon
    self.sequenceLength = sequenceLength
    self.batchTokens = batchTokens
    self.steps = steps
    self.learningRate = learningRate
    self.warmupSteps = warmupSteps
    self.minimumRatio = minimumRatio
    self.weightDecay = weightDecay
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.clip = clip
    self.seed = seed
    self.checkpointEvery = checkpointEvery
    self.tensorParallel = tensorParallel
    self.validationRows = validationRows
  }

  public var rowsPerStep: Int { batchTokens / sequenceLength }

  /// - Throws: `invalidArgument` naming the field.
  public func validate() throws {
    func refuse(_ text: String) -> PlatformError { PlatformError(.invalidArgument, "training configuration: \(text)") }
    for (name, value) in [
      ("vocabularySize", vocabularySize), ("hiddenSize", hiddenSize), ("intermediateSize", intermediateSize),
      ("layerCount", layerCount), ("headCount", headCount), ("keyValueHeadCount", keyValueHeadCount),
      ("sequenceLength", sequenceLength), ("batchTokens", batchTokens), ("steps", steps), ("tensorParallel", tensorParallel),
    ] where value < 1 || value > 1 << 24 {
      throw refuse("\(name) must lie between 1 and \(1 << 24), found \(value)")
    }
    for (name, value) in [
      ("vocabularySize", vocabularySize), ("headCount", headCount), ("keyValueHeadCount", keyValueHeadCount),
      ("intermediateSize", intermediateSize),
    ] where value % tensorParallel != 0 {
      throw refuse("tensorParallel \(tensorParallel) does not divide \(name) \(value)")
    }
    if headCount % keyValueHeadCount != 0 { throw refuse("keyValueHeadCount must divide headCount") }
    if hiddenSize % (2 * headCount) != 0 { throw refuse("hiddenSize must be a multiple of twice headCount") }
    if batchTokens % sequenceLength != 0 { throw refuse("batchTokens must be a multiple of sequenceLength") }
    if sequenceLength > 1 << 15 || batchTokens > 1 << 22 { throw refuse("sequenceLength or batchTokens is too large") }
    for (name, value, open) in [
      ("learningRate", learningRate, true), ("clip", clip, true), ("epsilon", epsilon, true),
      ("weightDecay", weightDecay, false),
      ("ropeTheta", ropeTheta, true), ("normEpsilon", normEpsilon, true),
    ] where !value.isFinite || value < 0 || (open && value == 0) {
      throw refuse("\(name) must be a positive number, found \(value)")
    }
    for (name, value) in [("beta1", beta1), ("beta2", beta2), ("minimumRatio", minimumRatio)]
    where !(value >= 0 && value < 1) {
      throw refuse("\(name) must lie in [0, 1), found \(value)")
    }
    if warmupSteps < 0 || checkpointEvery < 0 || validationRows < 0 { throw refuse("a count is negative") }
  }

  /// Learning rate of step `step`, counted from 0.
  public func learningRate(at step: Int) -> Double {
    if step < warmupSteps { return learningRate * Double(step + 1) / Double(warmupSteps) }
    let span = max(steps - warmupSteps, 1)
    let part = min(Double(step - warmupSteps) / Double(span), 1)
    return learningRate * (minimumRatio + (1 - minimumRatio) * 0.5 * (1 + cos(Double.pi * part)))
  }

  /// What is written to config.json.
  public func modelConfiguration(bos: Int?, eos: Int?) -> LlamaConfiguration {
    LlamaConfiguration(
      vocabularySize: vocabularySize, hiddenSize: hiddenSize, intermediateSize: intermediateSize, layerCount: layerCount,
      headCount: headCount, keyValueHeadCount: keyValueHeadCount, normEpsilon: normEpsilon, ropeTheta: ropeTheta,
      maxPositions: sequenceLength, tieWordEmbeddings: tieWordEmbeddings, bosTokenID: bos,
      eosTokenIDs: eos.map { [$0] } ?? [])
  }

  /// SHA-256 of the configuration in JSON with sorted keys: checkpoints of another configuration are refused.
  public func hash() throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    return SHA256Digest.hex(try encoder.encode(self))
  }
}
