// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tensor

/// Which file a model's path means.
public enum ModelFile {
  /// The GGUF file that `path` is, or that a folder without `config.json` holds as the only one; nil for folders in Hugging Face layout.
  public static func gguf(_ path: String) -> String? {
    if GGUFFile.isGGUF(path) { return path }
    guard !FileManager.default.fileExists(atPath: path + "/config.json") else { return nil }
    let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []  // no folder: no GGUF file in it
    let files = names.filter { $0.lowercased().hasSuffix(".gguf") }
    guard files.count == 1, GGUFFile.isGGUF(path + "/" + files[0]) else { return nil }
    return path + "/" + files[0]
  }
}

/// The configuration files of a model folder in Hugging Face layout.
enum ModelFolder {
  /// `config.json`.
  static func configuration(_ directory: String) throws -> JSONValue {
    let path = directory + "/config.json"
    guard FileManager.default.fileExists(atPath: path) else {
      throw PlatformError(
        .notFound, "the model directory has no config.json", hint: "Name a folder in Hugging Face layout.", number: "PLT-4102", path: path)
    }
    let json = try ModelFolderFile.json(path)
    guard json.objectValue != nil else { throw PlatformError(.invalidFile, "config.json is not a JSON object", number: "PLT-4102", path: path) }
    return json
  }

  /// Tokens that end a generation: those of `generation_config.json` when there is one, else those of the configuration.
  static func endTokens(_ directory: String, _ configuration: JSONValue) throws -> [Int] {
    let path = directory + "/generation_config.json"
    if FileManager.default.fileExists(atPath: path) {
      return try ConfigurationFields(json: ModelFolderFile.json(path)).tokens("eos_token_id")
    }
    return try ConfigurationFields(json: configuration).tokens("eos_token_id")
  }
}
