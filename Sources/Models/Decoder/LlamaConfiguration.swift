// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// The shape of a Llama decoder: the `config.json` that Hugging Face's `LlamaForCausalLM` reads and writes.
///
/// Both spellings of the rotary settings are read and written: `rope_theta` with `rope_scaling` (transformers 4) and
/// `rope_parameters` (transformers 5). Anything that would change the computation and is not known here is refused by name.
public struct LlamaConfiguration: Sendable, Equatable {
  /// How rotary frequencies are stretched beyond the length that the model was trained on.
  public enum RopeScaling: Sendable, Equatable {
    case none
    /// Every frequency divided by `factor` (Chen et al., 2023: position interpolation).
    case linear(factor: Double)
    /// Llama 3.1's piecewise scaling: low frequencies are divided by `factor`, high ones kept, those between blended.
    case llama3(factor: Double, lowFrequencyFactor: Double, highFrequencyFactor: Double, originalMaxPositions: Int)
  }

  public var vocabularySize: Int
  public var hiddenSize: Int
  public var intermediateSize: Int
  public var layerCount: Int
  public var headCount: Int
  public var keyValueHeadCount: Int
  public var headSize: Int
  public var normEpsilon: Double
  public var ropeTheta: Double
  public var ropeScaling: RopeScaling
  /// Longest sequence (prompt and output) in tokens.
  public var maxPositions: Int
  public var tieWordEmbeddings: Bool
  public var attentionBias: Bool
  public var mlpBias: Bool
  public var bosTokenID: Int?
  /// Tokens that end a generation; empty when the model names none.
  public var eosTokenIDs: [Int]
  public var padTokenID: Int?
  /// `float32`, `bfloat16` or `float16`: how the weights are stored.
  public var storageType: String

  /// - Parameter keyValueHeadCount: nil for one per query head. `headSize`: nil for hiddenSize / headCount.
  public init(
    vocabularySize: Int, hiddenSize: Int, intermediateSize: Int, layerCount: Int, headCount: Int,
    keyValueHeadCount: Int? = nil, headSize: Int? = nil, normEpsilon: Double = 1e-5, ropeTheta: Double = 10_000,
    ropeScaling: RopeScaling = .none, maxPositions: Int = 2048, tieWordEmbeddings: Bool = false,
    attentionBias: Bool = false, mlpBias: Bool = false, bosTokenID: Int? = nil, eosTokenIDs: [Int] = [],
    padTokenID: Int? = nil, storageType: String = "float32"
  ) {
    self.vocabularySize = vocabularySize
    self.hiddenSize = hiddenSize
    self.intermediateSize = intermediateSize
    self.layerCount = layerCount
    self.headCount = headCount
    self.keyValueHeadCount = keyValueHeadCount ?? headCount
    self.headSize = headSize ?? (headCount > 0 ? hiddenSize / headCount : 0)
    self.normEpsilon = normEpsilon
    self.ropeTheta = ropeTheta
    self.ropeScaling = ropeScaling
    self.maxPositions = maxPositions
    self.tieWordEmbeddings = tieWordEmbeddings
    self.attentionBias = attentionBias
    self.mlpBias = mlpBias
    self.bosTokenID = bosTokenID
    self.eosTokenIDs = eosTokenIDs
    self.padTokenID = padTokenID
    self.storageType = storageType
  }

  /// Reads and checks `DIRECTORY/config.json`.
  /// - Throws: `notFound` when there is none, `invalidFile` (PLT-4102) naming the offending key.
  public static func load(directory: String) throws -> LlamaConfiguration {
    let path = directory + "/config.json"
    guard let data = FileManager.default.contents(atPath: path) else {
      throw PlatformError(.notFound, "the model directory has no readable config.json", path: path)
    }
    do {
      return try LlamaConfiguration(json: JSONValue(parsing: data))
    } catch var error as PlatformError {
      error.code = .invalidFile
      error.number = "PLT-4102"
      error.path = path
      throw error
    }
  }

  /// Writes `DIRECTORY/config.json`, replacing an older one.
  public func save(directory: String) throws {
    let path = directory + "/config.json"
    do {
      try Data((json.sortedText + "\n").utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
    } catch {
      throw PlatformError(.unavailable, "cannot write the model configuration: \(error)", path: path)
    }
  }

  // MARK: Derived sizes

  /// Width of all query heads together.
  public var queryWidth: Int { headCount * headSize }
  /// Width of all key (or value) heads together.
  public var keyValueWidth: Int { keyValueHeadCount * headSize }

  /// Number of stored parameters.
  public var parameterCount: Int {
    let attention = hiddenSize * (2 * queryWidth + 2 * keyValueWidth)
    let attentionBiases = attentionBias ? queryWidth + 2 * keyValueWidth + hiddenSize : 0
    let feedForward = 3 * hiddenSize * intermediateSize + (mlpBias ? 2 * intermediateSize + hiddenSize : 0)
    let embeddings = vocabularySize * hiddenSize * (tieWordEmbeddings ? 1 : 2)
    return embeddings + hiddenSize + layerCount * (attention + attentionBiases + feedForward + 2 * hiddenSize)
  }

  /// [headSize / 2] angle per position of each rotary pair (i, i + headSize/2), in f32 as transformers computes them.
  public var inverseFrequencies: [Float] {
    let half = headSize / 2
    let base = (0..<half).map { 1 / powf(Float(ropeTheta), Float(2 * $0) / Float(headSize)) }
    switch ropeScaling {
    case .none:
      return base
    case .linear(let factor):
      return base.map { $0 / Float(factor) }
    case .llama3(let factor, let low, let high, let original):
      let lowWavelength = Float(Double(original) / low)
      let highWavelength = Float(Double(original) / high)
      return base.map { frequency in
        let wavelength = 2 * Float.pi / frequency
        if wavelength < highWavelength { return frequency }
        if wavelength > lowWavelength { return frequency / Float(factor) }
        let smooth = (Float(original) / wavelength - Float(low)) / Float(high - low)
        return (1 - smooth) * frequency / Float(factor) + smooth * frequency
      }
    }
  }
}
