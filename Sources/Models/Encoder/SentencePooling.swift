// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// How token vectors become one text vector, as the sentence-transformers files of a model folder say
/// (`modules.json`, `1_Pooling/config.json`, `sentence_bert_config.json`; layout of sentence-transformers 2 to 5).
public struct SentencePooling: Sendable, Equatable {
  public enum Mode: String, Sendable {
    /// Mean over all tokens of the text, special tokens included.
    case mean
    /// The first token.
    case cls
  }

  public var mode: Mode
  /// Whether vectors are scaled to length 1.
  public var normalizes: Bool
  /// `max_seq_length`: where the tokenizer should truncate (special tokens included), when the model states it.
  public var truncationTokens: Int?

  public init(mode: Mode = .mean, normalizes: Bool = true, truncationTokens: Int? = nil) {
    self.mode = mode
    self.normalizes = normalizes
    self.truncationTokens = truncationTokens
  }

  /// Reads the folder. Without `modules.json`: mean and normalised.
  /// - Throws: `invalidFile` (PLT-4102) for a module or pooling mode that is not built in.
  public init(folder: String) throws {
    self.init()
    var poolingFolder = "1_Pooling"
    let modulesPath = folder + "/modules.json"
    if FileManager.default.fileExists(atPath: modulesPath) {
      guard let modules = try ModelFolderFile.json(modulesPath).arrayValue else {
        throw PlatformError(.invalidFile, "modules.json is not a list", number: "PLT-4102", path: modulesPath)
      }
      normalizes = false
      for module in modules {
        let type = module["type"]?.stringValue ?? ""
        switch type.split(separator: ".").last.map(String.init) ?? "" {
        case "Transformer": break
        case "Pooling": poolingFolder = module["path"]?.stringValue ?? poolingFolder
        case "Normalize": normalizes = true
        default:
          throw PlatformError(
            .invalidFile, "module '\(type)' is not built in (Transformer, Pooling and Normalize are)", number: "PLT-4102",
            path: modulesPath)
        }
      }
    }
    guard poolingFolder.isEmpty || PathText.isInside(poolingFolder) else {
      throw PlatformError(.invalidFile, "module path leaves the folder", number: "PLT-4102", path: modulesPath)
    }
    let poolingPath = "\(folder)/\(poolingFolder)/config.json"
    if FileManager.default.fileExists(atPath: poolingPath) {
      mode = try Self.mode(ModelFolderFile.json(poolingPath), path: poolingPath)
    }
    let lengthPath = folder + "/sentence_bert_config.json"
    if FileManager.default.fileExists(atPath: lengthPath),
      let length = try ModelFolderFile.json(lengthPath)["max_seq_length"]?.intValue, length > 0
    {
      truncationTokens = length
    }
  }

  private static func mode(_ json: JSONValue, path: String) throws -> Mode {
    if let named = json["pooling_mode"]?.stringValue {
      if let mode = Mode(rawValue: named) { return mode }
      throw PlatformError(.invalidFile, "pooling mode '\(named)' is not supported", number: "PLT-4102", path: path)
    }
    let chosen = (json.objectValue ?? [:]).filter { $0.key.hasPrefix("pooling_mode_") && $0.value.boolValue == true }.keys
      .sorted()
    switch chosen {
    case ["pooling_mode_mean_tokens"]: return .mean
    case ["pooling_mode_cls_token"]: return .cls
    default:
      throw PlatformError(
        .invalidFile, "pooling \(chosen.joined(separator: " + ")) is not supported, only mean or cls", number: "PLT-4102",
        path: path)
    }
  }
}
