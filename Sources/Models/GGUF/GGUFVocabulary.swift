// SPDX-License-Identifier: Apache-2.0

import Core
import Tensor

/// The vocabulary and chat template that a GGUF file carries (`tokenizer.ggml.*`).
public struct GGUFVocabulary: Sendable {
  /// `gpt2`, `llama`, `bert`, ..
  public var model: String
  public var split: String?
  public var tokens: [String]
  /// By token; empty when the file has none.
  public var types: [Int]
  public var scores: [Double]
  public var merges: [String]
  public var beginning: Int32?
  public var end: Int32?
  public var padding: Int32?
  public var unknown: Int32?
  public var addsBeginning: Bool?
  public var addsEnd: Bool?
  public var addsSpace: Bool?
  public var chatTemplate: String?

  /// Whether the file at `path` is a GGUF file, by its first bytes.
  public static func isGGUF(_ path: String) -> Bool { GGUFFile.isGGUF(path) }

  /// - Throws: `notFound`; `invalidFile` PLT-5210 for a broken file, PLT-5212 when it has no vocabulary.
  public init(path: String) throws { try self.init(GGUFFile(path: path)) }

  init(_ file: GGUFFile) throws {
    let (metadata, path) = (file.metadata, file.path)
    func bad(_ what: String) -> PlatformError { PlatformError(.invalidFile, what, number: "PLT-5212", path: path) }
    func list<T>(_ key: String, _ read: (GGUFValue) -> T?) throws -> [T] {
      guard let value = metadata["tokenizer.ggml." + key] else { return [] }
      let items = value.list?.map(read) ?? [nil]
      guard items.allSatisfy({ $0 != nil }) else { throw bad("'tokenizer.ggml.\(key)' is not a list of the kind that it should be") }
      return items.compactMap { $0 }
    }
    func id(_ key: String) throws -> Int32? {
      guard let value = metadata["tokenizer.ggml." + key] else { return nil }
      guard let number = value.int, number >= 0, let id = Int32(exactly: number) else { throw bad("'tokenizer.ggml.\(key)' is not a token id") }
      return id
    }
    guard let model = metadata["tokenizer.ggml.model"]?.text else { throw bad("the file has no vocabulary ('tokenizer.ggml.model')") }
    self.model = model
    split = metadata["tokenizer.ggml.pre"]?.text
    tokens = try list("tokens", \.text)
    types = try list("token_type", \.int)
    scores = try list("scores", \.double)
    merges = try list("merges", \.text)
    beginning = try id("bos_token_id")
    end = try id("eos_token_id")
    padding = try id("padding_token_id")
    unknown = try id("unknown_token_id")
    addsBeginning = metadata["tokenizer.ggml.add_bos_token"]?.flag
    addsEnd = metadata["tokenizer.ggml.add_eos_token"]?.flag
    addsSpace = metadata["tokenizer.ggml.add_space_prefix"]?.flag
    chatTemplate = metadata["tokenizer.chat_template"]?.text
  }
}
