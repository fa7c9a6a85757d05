// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tensor

/// What a model folder or GGUF file says about itself, read from its configuration and the headers of its weights.
public struct ModelSummary: Sendable, Equatable {
  /// `model_type` of `config.json`, or of a GGUF file `general.architecture`.
  public var architecture: String?
  /// `generate`, `embed`, `rerank` or `adapter`; nil for what is not built.
  public var kind: String?
  /// Weights: elements of all tensors of floats. A matrix that is stored once counts once.
  public var parameters: Int?
  /// Weights by how they are stored, `bf16`, `q4_K`.
  public var weightsByType: [String: Int] = [:]
  /// Positions that it was made for.
  public var contextLength: Int?
  /// Why something of the above is not known, or the model cannot be computed with.
  public var problem: String?

  public init() {}

  /// The type of most weights, with those beside it that have more than one weight in a hundred: `q4_K, q6_K`.
  public var dtype: String? {
    let most = weightsByType.filter { $0.value * 100 > (parameters ?? 0) }.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
    return most.isEmpty ? nil : most.map(\.key).joined(separator: ", ")
  }

  /// Never fails: what cannot be read is told in `problem`.
  public init(path: String) {
    do {
      if FileManager.default.fileExists(atPath: path + "/adapter_config.json") {
        try readAdapter(path)
      } else if let file = ModelFile.gguf(path) {
        try readFile(file)
      } else {
        try readFolder(path)
      }
    } catch {
      problem = PlatformError.from(error).message
    }
  }

  private mutating func readAdapter(_ path: String) throws {
    kind = "adapter"
    architecture = try ModelFolderFile.json(path + "/adapter_config.json")["peft_type"]?.stringValue?.lowercased()
    let weights = path + "/adapter_model.safetensors"
    if FileManager.default.fileExists(atPath: weights) { try count(SafeTensorsFile(path: weights)) }
  }

  private mutating func readFile(_ path: String) throws {
    let file = try GGUFFile(path: path)
    architecture = file.metadata["general.architecture"]?.text
    contextLength = architecture.flatMap { file.metadata["\($0).context_length"]?.int }
    try count(file)
    _ = try GGUFModel(file)
    kind = "generate"
  }

  private mutating func readFolder(_ path: String) throws {
    let configuration = try ModelFolder.configuration(path)
    architecture = configuration["model_type"]?.stringValue
    contextLength = ["max_position_embeddings", "n_positions", "max_seq_len"].lazy.compactMap { configuration[$0]?.intValue }.first
    // Also of what is not built the weights can be counted.
    do {
      try count(SafeTensorsDirectory(path: path))
    } catch {
      problem = PlatformError.from(error).message
    }
    kind = try ModelArchitectures.isCrossEncoder(directory: path) ? "rerank" : ModelArchitectures.isEncoder(directory: path) ? "embed" : "generate"
  }

  private mutating func count(_ source: some SafeTensorSource) throws {
    var total = 0
    for name in source.names {
      let tensor = try source.tensor(name)
      guard tensor.blocks != nil || tensor.dtype.isFloatingPoint else { continue }
      total += tensor.elementCount
      weightsByType[tensor.blocks.map { "\($0)" } ?? tensor.dtype.rawValue.lowercased(), default: 0] += tensor.elementCount
    }
    parameters = total
  }

  /// `135 M`: three digits.
  public static func short(_ count: Int) -> String {
    var (value, unit) = (Double(count), "")
    for next in ["k", "M", "B", "T"] where value >= 999.5 { (value, unit) = (value / 1000, " " + next) }
    return unit.isEmpty ? "\(count)" : String(format: value < 9.995 ? "%.2f%@" : value < 99.95 ? "%.1f%@" : "%.0f%@", value, unit)
  }
}
