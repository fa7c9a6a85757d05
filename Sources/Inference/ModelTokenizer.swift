// SPDX-License-Identifier: Apache-2.0

import Models
public import Tokenizers

/// Opens the tokenizer of a model folder, a `tokenizer.json` or a GGUF file.
public enum ModelTokenizer {
  /// - Throws: `notFound`; `invalidFile` saying what of a file cannot be used.
  public static func open(_ path: String) throws -> any Tokenizer {
    guard let file = ModelFile.gguf(path) else { return try TokenizerFile.open(path) }
    let stored = try GGUFVocabulary(path: file)
    return try StoredVocabulary(
      model: stored.model, split: stored.split, tokens: stored.tokens, types: stored.types, scores: stored.scores, merges: stored.merges,
      special: SpecialTokens(beginning: stored.beginning, end: stored.end, padding: stored.padding, unknown: stored.unknown),
      addsBeginning: stored.addsBeginning, addsEnd: stored.addsEnd, addsSpace: stored.addsSpace
    ).tokenizer(path: file)
  }
}
