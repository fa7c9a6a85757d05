// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation

/// What `config.json` of a BERT model says, checked. Any sizes; absolute positions only.
public struct BertConfiguration: Sendable, Equatable {
  public enum Activation: String, Sendable {
    case geluErf
    case geluTanh
    case relu
  }

  public var vocabularySize: Int
  public var hiddenSize: Int
  public var layerCount: Int
  public var headCount: Int
  public var intermediateSize: Int
  public var maximumPositions: Int
  public var typeVocabularySize: Int
  public var layerNormEpsilon: Float
  public var activation: Activation

  public var headSize: Int { hiddenSize / headCount }

  /// Reads `config.json` of a model folder.
  /// - Throws: `notFound`, or `invalidFile` (PLT-4102) naming the member that is missing or cannot be served.
  public init(folder: String) throws {
    let path = folder + "/config.json"
    try self.init(json: ModelFolderFile.json(path), path: path)
  }

  public init(json: JSONValue, path: String) throws {
    func bad(_ message: String, hint: String = "") -> PlatformError {
      PlatformError(.invalidFile, message, hint: hint, number: "PLT-4102", path: path)
    }
    func size(_ name: String, atMost limit: Int, default missing: Int? = nil) throws -> Int {
      guard let member = json[name] else {
        if let missing { return missing }
        throw bad("'\(name)' is missing")
      }
      guard let value = member.intValue, value > 0, value <= limit else {
        throw bad("'\(name)' is not a whole number from 1 to \(limit)")
      }
      return value
    }
    if json["auto_map"] != nil {
      throw bad(
        "the model wants to run its own Python code (auto_map), which is never done",
        hint: "Use a model whose architecture is built in: bert.")
    }
    guard json["model_type"]?.stringValue == "bert" else {
      throw bad(
        "model_type '\(json["model_type"]?.stringValue ?? "")' is not an encoder that can be served",
        hint: "Use a model of type bert.")
    }
    if let position = json["position_embedding_type"]?.stringValue, position != "absolute" {
      throw bad("position_embedding_type '\(position)' is not supported, only absolute")
    }
    if json["is_decoder"]?.boolValue == true { throw bad("a BERT decoder (is_decoder) cannot be used as an encoder") }
    vocabularySize = try size("vocab_size", atMost: 1 << 24)
    hiddenSize = try size("hidden_size", atMost: 1 << 16)
    layerCount = try size("num_hidden_layers", atMost: 1 << 10)
    headCount = try size("num_attention_heads", atMost: 1 << 10)
    intermediateSize = try size("intermediate_size", atMost: 1 << 18)
    maximumPositions = try size("max_position_embeddings", atMost: 1 << 16)
    typeVocabularySize = try size("type_vocab_size", atMost: 1 << 16, default: 2)
    guard hiddenSize % headCount == 0 else {
      throw bad("hidden_size \(hiddenSize) is not a multiple of num_attention_heads \(headCount)")
    }
    let epsilon = json["layer_norm_eps"]?.doubleValue ?? 1e-12
    guard epsilon >= 0, epsilon < 1 else { throw bad("layer_norm_eps \(epsilon) is not in [0, 1)") }
    layerNormEpsilon = Float(epsilon)
    switch json["hidden_act"]?.stringValue ?? "gelu" {
    case "gelu": activation = .geluErf
    case "gelu_new", "gelu_pytorch_tanh": activation = .geluTanh
    case "relu": activation = .relu
    case let other: throw bad("hidden_act '\(other)' is not supported")
    }
  }
}

/// Small JSON files of model folders.
enum ModelFolderFile {
  /// - Throws: `notFound`, or `invalidFile` when it is not JSON or larger than 16 MiB.
  static func json(_ path: String) throws -> JSONValue {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw PlatformError(.notFound, "no such file", number: "PLT-4102", path: path)
    }
    guard data.count <= 16 << 20 else {
      throw PlatformError(.invalidFile, "file of \(data.count) bytes is not a configuration", number: "PLT-4102", path: path)
    }
    do {
      return try JSONValue(parsing: data)
    } catch {
      throw PlatformError(.invalidFile, PlatformError.from(error).message, number: "PLT-4102", path: path)
    }
  }
}
