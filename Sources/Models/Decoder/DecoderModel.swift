// SPDX-License-Identifier: Apache-2.0

import CKernels
public import Core
public import Tensor

/// The weights of a decoder of any known architecture. Immutable, so many `DecoderRunner`s may share it.
///
/// With `WeightPrecision.f32` f32 and bf16 weights stay in the mapped files; f16 and matrices that lie otherwise than they are used
/// become f32 copies. With other precisions most matrices are copies of that form.
public final class DecoderModel: @unchecked Sendable {  // all is written in init only
  /// `model_type` of the configuration.
  public let architecture: String
  public let cacheFormat: CacheFormat
  public let vocabularySize: Int
  public let hiddenSize: Int
  /// The length that the model was made for.
  public let maxPositions: Int
  /// The longest sequence that the model has positions for; nil when positions are computed.
  public let positionLimit: Int?
  /// The longest sequence whose numbers do not depend on what follows it; nil when there is no such limit.
  public let steadyLength: Int?
  /// Tokens that end a generation, as `generation_config.json` or else `config.json` says.
  public let endTokenIDs: [Int]
  public let parameterCount: Int
  /// Bytes of weights in memory of their own, and in mapped files.
  public var copiedBytes: Int { storage.copiedBytes }
  public var mappedBytes: Int { storage.mappedBytes }

  /// Which part of the model this is.
  public let part: ModelPart

  let plan: DecoderPlan
  let embedding: EmbeddingTable
  let positions: EmbeddingTable?
  let layers: [Layer]
  let finalNorm: Norm
  let head: Matrix?
  let targets: AdapterTargets
  private let storage: WeightStorage

  /// Opens a Hugging Face model folder, `config.json` and safetensors (one file or shards), or a GGUF file.
  /// - Parameters:
  ///   - precision: what matrices are multiplied as.
  ///   - part: which outputs of matrices are loaded; the ranks of all parts compute together.
  /// - Throws: `notFound`; `invalidFile` naming the key (PLT-4102), tensor (PLT-4103) or file (PLT-4101) that cannot be used;
  ///   PLT-5200 for an architecture that is not built; PLT-5210 and 5211 for GGUF files that are broken or hold what is not built.
  public convenience init(directory: String, precision: WeightPrecision = .f32, part: ModelPart = .whole) throws {
    let source = try Source(directory)
    do {
      try self.init(
        configuration: source.configuration, ends: source.ends, weights: source.weights, precision: precision, part: part,
        gainsAreWhole: source.gainsAreWhole)
    } catch {
      throw PlatformError.from(error, context: "loading model \(directory)")
    }
  }

  /// Whether a path holds a decoder that is known. Loads nothing.
  /// - Throws: as `init(directory:)`, but for tensors.
  public static func check(directory: String) throws { _ = try planned(directory: directory) }

  /// What a path's decoder computes, and where its tensors are. Loads nothing.
  /// - Throws: as `check`.
  static func planned(directory: String) throws -> (plan: DecoderPlan, loader: WeightLoader) {
    let source = try Source(directory)
    do {
      let fields = ConfigurationFields(json: source.configuration)
      let loader = WeightLoader(source: source.weights, gainsAreWhole: source.gainsAreWhole)
      return (try ModelArchitectures.decoder(fields).plan(fields, loader), loader)
    } catch {
      throw PlatformError.from(error, context: "loading model \(directory)")
    }
  }

  /// A model folder or GGUF file before any weight is read.
  private struct Source {
    var configuration: JSONValue
    var ends: [Int]
    var weights: any SafeTensorSource
    var gainsAreWhole = false

    init(_ directory: String) throws {
      do {
        if let path = ModelFile.gguf(directory) {
          let file = try GGUFModel(path: path)
          (configuration, ends, weights, gainsAreWhole) = (file.configuration, file.endTokenIDs, file.weights, file.gainsAreWhole)
          return
        }
      } catch {
        throw PlatformError.from(error, context: "loading model \(directory)")
      }
      configuration = try ModelFolder.configuration(directory)
      do {
        ends = try ModelFolder.endTokens(directory, configuration)
        weights = try SafeTensorsDirectory(path: directory)
      } catch {
        throw PlatformError.from(error, context: "loading model \(directory)")
      }
    }
  }

  /// - Parameters:
  ///   - configuration: the content of a `config.json`.
  ///   - ends: token ids that end a generation.
  ///   - precision: what matrices are multiplied as.
  public convenience init(configuration: JSONValue, ends: [Int], weights: any SafeTensorSource, precision: WeightPrecision = .f32) throws {
    try self.init(configuration: configuration, ends: ends, weights: weights, precision: precision, part: .whole, gainsAreWhole: false)
  }

  private init(
    configuration: JSONValue, ends: [Int], weights: any SafeTensorSource, precision: WeightPrecision, part: ModelPart, gainsAreWhole: Bool
  ) throws {
    let fields = ConfigurationFields(json: configuration)
    let architecture = try ModelArchitectures.decoder(fields)
    cacheFormat = precision.cacheFormat
    let loader = WeightLoader(source: weights, precision: precision, part: part, gainsAreWhole: gainsAreWhole, isLevelling: true)
    let plan = try architecture.plan(fields, loader)
    for rotary in plan.rotary where rotary.half > 512 {
      throw ConfigurationFields.refusal("heads of more than 1024 turning numbers are not built")
    }
    // The lookup stays in the file, row by row; only the rows of a text are read.
    embedding = try loader.table(plan.embedding, plan.vocabularySize, plan.hiddenSize)
    positions = try plan.positionEmbedding.map { try loader.table($0, plan.maxPositions, plan.hiddenSize) }
    let calibration = try InputCalibration(plan, loader, embedding, positions)
    layers = try (0..<plan.layerCount).map { try loader.layer(plan.layer($0), inputs: calibration?.layer($0)) }
    finalNorm = try loader.norm(plan.finalNorm)
    let states = calibration?.states(behind: finalNorm)
    head = try plan.headMatrix(loader).map {
      try loader.linear($0.part(part.range(plan.vocabularySize)), loader.levels(of: [$0], states), least: .int8)
    }
    targets = try AdapterTargets(plan, part: part)
    self.part = part
    self.plan = plan
    self.architecture = fields.value("model_type")?.stringValue ?? architecture.modelTypes[0]
    vocabularySize = plan.vocabularySize
    hiddenSize = plan.hiddenSize
    maxPositions = plan.maxPositions
    positionLimit = plan.positionEmbedding == nil ? nil : plan.maxPositions
    steadyLength = plan.rotary.compactMap(\.fixedLength).min()
    endTokenIDs = ends
    storage = loader.storage
    parameterCount = weights.names.reduce(0) { $0 + ((try? weights.tensor($1))?.elementCount ?? 0) }  // a sum for people; tensors were checked above
  }

  /// One layer of a model, whole, for `InputCalibration`.
  init(layer: Int, of plan: DecoderPlan, _ loader: WeightLoader, _ embedding: EmbeddingTable) throws {
    let own = try plan.layer(layer)
    var alone = plan
    alone.layerCount = 1
    alone.layer = { _ in own }
    self.plan = alone
    self.embedding = embedding
    positions = nil
    layers = [try loader.layer(own)]
    finalNorm = Norm(kind: plan.finalNorm.kind, gain: nil, shift: nil, epsilon: plan.finalNorm.epsilon)
    head = nil
    part = .whole
    targets = try AdapterTargets(alone, part: part)
    architecture = ""
    cacheFormat = .f32
    vocabularySize = plan.vocabularySize
    hiddenSize = plan.hiddenSize
    maxPositions = plan.maxPositions
    positionLimit = nil
    steadyLength = nil
    endTokenIDs = []
    storage = loader.storage
    parameterCount = 0
  }

  /// Whether the checkpoint has what logits need; a bare model has embeddings only.
  public var hasHead: Bool { head != nil }

  /// Bytes of keys and values that one token takes in the cache of this part.
  public func cacheBytesPerToken(_ format: CacheFormat) -> Int {
    layers.reduce(0) { $0 + format.bytes(heads: $1.keyHeads.count, size: $1.plan.attention.headSize) }
  }
}
