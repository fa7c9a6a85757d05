// SPDX-License-Identifier: Apache-2.0

/// Which tokens begin, end, pad a text or stand for what is unknown, as a model folder says.
enum SpecialNames {
  /// From `special_tokens_map.json`, overridden by `tokenizer_config.json`; both may be missing.
  static func read(_ folder: String) -> [String: String] {
    var names: [String: String] = [:]
    for file in ["special_tokens_map.json", "tokenizer_config.json"] {
      // Neither file is needed to encode; a broken one only leaves the special ids unset.
      guard let members = (try? ByteJSON.read(folder + "/" + file))?.members else { continue }
      for (key, value) in members {
        if let spelling = value.text ?? value["content"]?.text { names[String(decoding: key, as: UTF8.self)] = spelling }
      }
    }
    return names
  }
}
