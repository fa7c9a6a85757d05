// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// A tokenizer made of the steps that its file names: normalizer, pre-tokenizer, model, template and decoder.
///
/// Gives the ids and texts of Hugging Face `tokenizers` for every model (BPE, Unigram, WordPiece, WordLevel) with the steps in use.
/// `BytePairTokenizer` and `WordPieceTokenizer` are faster ways for two common kinds. Words are cached (up to 64 Ki of them).
public final class PipelineTokenizer: Tokenizer {
  public let vocabularySize: Int
  public let special: SpecialTokens
  public let pairTemplate: PairTemplate?
  public let templatePrefix: [Int32]
  public let templateSuffix: [Int32]
  public var decodesApart: Bool { false }

  private let normalizer: Normalizer?
  private let preTokenizer: PreTokenizer?
  private let model: any SubwordModel
  private let decoder: TokenDecoder?
  private let added: AddedTokenMatcher
  private let addedNormalized: AddedTokenMatcher
  private let addedByID: [Int32: AddedToken]
  private let addedBySpelling: [[UInt8]: Int32]
  private let cache = Mutex(WordCache())

  /// - Parameter path: a `tokenizer.json`, or a model folder that has one.
  /// - Throws: `notFound`; `invalidFile` (PLT-3301) naming the part that is not supported.
  public convenience init(path: String) throws {
    let place = TokenizerFile.place(path)
    try self.init(ByteJSON.read(place.file), folder: place.folder, path: place.file)
  }

  /// - Parameters:
  ///   - folder: has the files that name special tokens.
  ///   - path: of the file that `json` was read from, for errors.
  convenience init(_ json: ByteJSON, folder: String, path: String) throws {
    try self.init(json, names: SpecialNames.read(folder), path: path)
  }

  /// - Parameter names: of special tokens, as `tokenizer_config.json` has them.
  init(_ json: ByteJSON, names: [String: String], path: String) throws {
    do {
      guard let model = json["model"] else { throw PlatformError.unusableTokenizer("it has no model") }
      self.model = try Self.model(model)
      let normalizer = try Normalizer(json["normalizer"])
      if let growth = normalizer?.growth, growth > Normalizer.growthLimit {
        throw PlatformError.unusableTokenizer("its normalizer can make a text more than \(Int(Normalizer.growthLimit)) times as long")
      }
      self.normalizer = normalizer
      preTokenizer = try PreTokenizer(json["pre_tokenizer"])
      decoder = try TokenDecoder(json["decoder"])
      guard let template = TemplatePieces(json["post_processor"]) else {
        throw PlatformError.unusableTokenizer("its post_processor is not supported")
      }
      (templatePrefix, templateSuffix, pairTemplate) = (template.prefix, template.suffix, template.pair)
      let tokens = AddedToken.read(json)
      added = AddedTokenMatcher(tokens.filter { !$0.normalized })
      // These are searched in normalised text, and so normalised themselves; that is also how they are spelled.
      let normalized = tokens.filter(\.normalized).compactMap { token in
        var copy = token
        if let normalizer { copy.content = normalizer.apply(token.content) }
        return copy.content.isEmpty ? nil : copy
      }
      addedNormalized = AddedTokenMatcher(normalized)
      addedByID = Dictionary((tokens + normalized).map { ($0.id, $0) }, uniquingKeysWith: { $1 })
      addedBySpelling = Dictionary(tokens.map { ($0.content, $0.id) }, uniquingKeysWith: { $1 })
      vocabularySize = max(self.model.vocabulary.count, Int(tokens.map(\.id).max() ?? -1) + 1)
      let (vocabulary, spellings) = (self.model.vocabulary, addedBySpelling)
      func find(_ name: String) -> Int32? { names[name].flatMap { spellings[Array($0.utf8)] ?? vocabulary.id($0) } }
      special = SpecialTokens(
        beginning: find("bos_token"), end: find("eos_token"), padding: find("pad_token"), unknown: find("unk_token") ?? self.model.unknown)
    } catch var error as PlatformError {
      if error.path == nil { error.path = path }
      throw error
    }
  }

  private static func model(_ json: ByteJSON) throws -> any SubwordModel {
    switch json["type"]?.text {
    case "BPE": return try BytePairModel(json)
    case "Unigram": return try UnigramModel(json)
    case "WordPiece": return try LongestMatchModel(json)
    case "WordLevel": return try WordLevelModel(json)
    case let kind:
      throw PlatformError.unusableTokenizer("its model is of type \(kind ?? "null")", hint: "BPE, Unigram, WordPiece and WordLevel are built.")
    }
  }

  public func append(utf8 bytes: UnsafeBufferPointer<UInt8>, to ids: inout [Int32]) {
    if cache.withLockIfAvailable({ append(bytes, &$0, to: &ids) }) == nil {
      var own = WordCache()  // another thread is encoding: a cache of this call alone
      append(bytes, &own, to: &ids)
    }
  }

  private func append(_ bytes: UnsafeBufferPointer<UInt8>, _ cache: inout WordCache, to ids: inout [Int32]) {
    added.split(bytes) { piece, id in
      if let id { return ids.append(id) }
      let isStart = piece.baseAddress == bytes.baseAddress
      let text = normalizer?.apply(Array(piece)) ?? Array(piece)
      text.withUnsafeBufferPointer { text in
        addedNormalized.split(text) { part, id in
          if let id { return ids.append(id) }
          appendWords(TextPieces(Array(part), isStart: isStart && part.baseAddress == text.baseAddress), &cache, to: &ids)
        }
      }
    }
  }

  private func appendWords(_ pieces: TextPieces, _ cache: inout WordCache, to ids: inout [Int32]) {
    var pieces = pieces
    preTokenizer?.apply(&pieces)
    pieces.bytes.withUnsafeBufferPointer { bytes in
      for range in pieces.words where !range.isEmpty {
        let word = UnsafeBufferPointer(rebasing: bytes[range])
        if model.allowsMarkedWords {
          MarkedWords.words(word) { appendWord(UnsafeBufferPointer(rebasing: word[$0]), &cache, to: &ids) }
        } else {
          appendWord(word, &cache, to: &ids)
        }
      }
    }
  }

  private func appendWord(_ word: UnsafeBufferPointer<UInt8>, _ cache: inout WordCache, to ids: inout [Int32]) {
    guard let base = word.baseAddress, word.count <= WordCache.longestWord else { return model.append(word, to: &ids) }
    if cache.append(base, word.count, to: &ids) { return }
    let first = ids.count
    model.append(word, to: &ids)
    cache.store(base, word.count, ids, from: first)
  }

  private func spelling(_ id: Int32) -> [UInt8]? { addedByID[id]?.content ?? model.vocabulary.token(id) }

  public func token(_ id: Int32) -> String? { spelling(id).map { String(decoding: $0, as: UTF8.self) } }

  public func id(_ token: String) -> Int32? { addedBySpelling[Array(token.utf8)] ?? model.vocabulary.id(token) }

  public func isSpecial(_ id: Int32) -> Bool { addedByID[id]?.special ?? false }

  /// The text of the id alone; among others it may be another, see `decodesApart`.
  public func bytes(_ id: Int32) -> [UInt8]? { spelling(id).map { _ in Array(decode([id], skipSpecialTokens: false).utf8) } }

  public func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String {
    let tokens = ids.compactMap { skipSpecialTokens && isSpecial($0) ? nil : spelling($0) }
    guard let decoder else { return String(decoding: Array(tokens.joined(separator: [0x20])), as: UTF8.self) }
    return String(decoding: Array(decoder.apply(tokens).joined()), as: UTF8.self)
  }
}
