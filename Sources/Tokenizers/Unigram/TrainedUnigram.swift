// SPDX-License-Identifier: Apache-2.0

import Core

/// A Unigram vocabulary as it is written down. Opened like any other tokenizer: `TokenizerFile.open`.
public struct TrainedUnigram: Sendable {
  /// Of entries that stand for no text, far below all others, so that a text that spells one is not taken for it.
  private static let unlikely = -1000.0
  private static let unknown = "<unk>"

  let specials: [String]
  let entries: [UnigramTrainer.Entry]
  let beginning: String?
  let end: String?

  public var vocabularySize: Int { 1 + specials.count + 256 + entries.count }

  /// Writes the three files that `AutoTokenizer.from_pretrained` opens. Existing files are replaced.
  /// - Parameter maximumLength: `model_max_length`, the context that the model was made for.
  public func write(to directory: String, maximumLength: Int = 1_000_000) throws {
    var names = ["unk_token": Self.unknown]
    names["bos_token"] = beginning
    names["eos_token"] = end
    names["pad_token"] = end
    try TokenizerFolder.write(tokenizerFile(), names: names, maximumLength: maximumLength, to: directory)
  }

  /// The bytes of `tokenizer.json`: the same vocabulary always gives the same bytes.
  func tokenizerFile() -> [UInt8] {
    var out: [UInt8] = []
    func put(_ text: String) { out.append(contentsOf: text.utf8) }
    func string(_ bytes: some Sequence<UInt8>) { ByteJSON.appendString(bytes, to: &out) }
    put(#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":["#)
    for (id, token) in ([Self.unknown] + specials).enumerated() {
      put(id == 0 ? "{\"id\":\(id),\"content\":" : ",{\"id\":\(id),\"content\":")
      string(token.utf8)
      put(#","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}"#)
    }
    put(#"],"normalizer":null,"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true},"post_processor":null,"#)
    put(#""decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},"#)
    put(#"{"type":"Strip","content":" ","start":1,"stop":0}]},"model":{"type":"Unigram","unk_id":0,"byte_fallback":true,"vocab":["#)
    let bytes = (0..<256).map { Array(ByteTokens.spelling(UInt8($0))) }
    let withoutText = ([Self.unknown] + specials).map { Array($0.utf8) } + bytes
    for (id, entry) in (withoutText.map { ($0, Self.unlikely) } + entries.map { ($0.text, $0.score) }).enumerated() {
      put(id == 0 ? "[" : ",[")
      string(entry.0)
      put(",\(entry.1)]")
    }
    put("]}}")
    return out
  }
}
