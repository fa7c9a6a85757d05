// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Core
import Inference
import Tokenizers

/// `platform tokenize`: texts to token ids.
struct TokenizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenize", abstract: "Texts to token ids with a model's tokenizer.",
    discussion: "The last line of the standard output is a JSON list with a list of token ids for each text.")
  @Argument(help: "A model folder, or its tokenizer.json, SentencePiece file (.model) or GGUF file.") var tokenizer: String
  @Option(help: "File with a JSON list of texts.") var texts: String
  @Flag(help: "Without the tokens that the model puts around a text.") var noSpecial = false

  func run() throws {
    let texts = try ModelFiles.texts(texts)
    let tokenizer = try ModelTokenizer.open(tokenizer)
    let lists = texts.map { text -> JSONValue in
      .array(tokenizer.encode(text, addSpecialTokens: !noSpecial).map { .integer(Int64($0)) })
    }
    Report.data(JSONValue.array(lists).sortedText)
  }
}

/// `platform detokenize`: token ids to texts.
struct DetokenizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "detokenize", abstract: "Token ids to texts with a model's tokenizer.",
    discussion: "The last line of the standard output is a JSON list of texts. Bytes that are no UTF-8 become U+FFFD.")
  @Argument(help: "A model folder, or its tokenizer.json, SentencePiece file (.model) or GGUF file.") var tokenizer: String
  @Option(help: "File with a JSON list of lists of token ids.") var ids: String
  @Flag(help: "Without special tokens.") var skipSpecial = false

  func run() throws {
    let lists = try ModelFiles.idLists(ids)
    let tokenizer = try ModelTokenizer.open(tokenizer)
    Report.data(JSONValue.array(lists.map { .string(tokenizer.decode($0, skipSpecialTokens: skipSpecial)) }).sortedText)
  }
}
