// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Writes the files that `AutoTokenizer.from_pretrained` opens.
enum TokenizerFolder {
  /// Existing files are replaced.
  /// - Parameters:
  ///   - file: the bytes of `tokenizer.json`.
  ///   - names: special tokens by what they are for, as `eos_token`.
  ///   - maximumLength: `model_max_length`, the context that the model was made for.
  ///   - settings: more of `tokenizer_config.json`.
  /// - Throws: `unavailable` for what cannot be written.
  static func write(_ file: [UInt8], names: [String: String], maximumLength: Int, settings: [String: JSONValue] = [:], to directory: String) throws {
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    func put(_ name: String, _ bytes: [UInt8]) throws {
      do {
        try Data(bytes).write(to: URL(fileURLWithPath: directory + "/" + name), options: .atomic)
      } catch {
        throw PlatformError(.unavailable, "cannot write tokenizer file: \(error.localizedDescription)", path: directory + "/" + name)
      }
    }
    try put("tokenizer.json", file)
    var members = names.mapValues { JSONValue.string($0) }
    try put("special_tokens_map.json", Array(JSONValue.object(members).sortedText.utf8))
    members["tokenizer_class"] = "PreTrainedTokenizerFast"
    members["model_max_length"] = .integer(Int64(maximumLength))
    members["clean_up_tokenization_spaces"] = false
    members.merge(settings) { $1 }
    try put("tokenizer_config.json", Array(JSONValue.object(members).sortedText.utf8))
  }
}
