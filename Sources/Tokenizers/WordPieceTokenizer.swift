// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// The tokenizer of BERT and of the sentence encoders made from it (`tokenizer.json` with a `WordPiece` model).
///
/// Gives the ids of Hugging Face `tokenizers` for `BertNormalizer` and `BertPreTokenizer`. Words are cut by greedy longest
/// match; every text position hashes each prefix once.
public final class WordPieceTokenizer: Tokenizer {
  public let vocabularySize: Int
  public let special: SpecialTokens
  public let pairTemplate: PairTemplate?
  public let templatePrefix: [Int32]
  public let templateSuffix: [Int32]
  public let classificationID: Int32?
  public let separatorID: Int32?
  public let maskID: Int32?
  /// `truncation.max_length` of the file; `encode(_:maximumLength:)` applies a limit, nothing else does.
  public let fileMaximumLength: Int?

  private let normalizer: BertNormalizer
  private let added: AddedTokenMatcher
  private let addedNormalized: AddedTokenMatcher
  private let specialIDs: Set<Int32>
  /// Spelling of id i is string `spelling[i]`; -1 for a hole.
  private let spellings: [Int32]
  private let entries: ByteStringTable
  private let entryIDs: [Int32]
  /// Entries with the continuation prefix, stored without it.
  private let continuations: ByteStringTable
  private let continuationIDs: [Int32]
  private let unknown: Int32
  private let prefix: [UInt8]
  private let cleanUpSpaces: Bool
  private let maximumWordCharacters: Int
  private let longestEntry: Int

  /// Reads a `tokenizer.json`.
  /// - Throws: `notFound`; `invalidFile` when the file has another model or parts that this type does not implement.
  public convenience init(tokenizerJSON path: String) throws { try self.init(ByteJSON.read(path), path: path) }

  /// - Parameter path: of the file that `file` was read from, for errors.
  init(_ file: ByteJSON, path: String) throws {
    func refuse(_ what: String) -> PlatformError {
      .unusableTokenizer(what, path: path)
    }
    guard let model = file["model"], model["type"]?.text == "WordPiece", let vocabulary = model["vocab"]?.members else {
      throw refuse("expected a model of type WordPiece")
    }
    switch file["normalizer"]?["type"]?.text {
    case "BertNormalizer":
      let settings = file["normalizer"]!
      let lower = settings["lowercase"]?.flag ?? true
      normalizer = BertNormalizer(
        cleanText: settings["clean_text"]?.flag ?? true, handleIdeographs: settings["handle_chinese_chars"]?.flag ?? true,
        stripAccents: settings["strip_accents"]?.flag ?? lower, lowercase: lower)
    case nil: normalizer = BertNormalizer(cleanText: false, handleIdeographs: false, stripAccents: false, lowercase: false)
    case let other?: throw refuse("normalizer \(other) is not supported")
    }
    guard file["pre_tokenizer"]?["type"]?.text == "BertPreTokenizer" else { throw refuse("expected a BertPreTokenizer") }

    let addedTokens = AddedToken.read(file)
    let largest = max(vocabulary.compactMap(\.value.id).max() ?? -1, addedTokens.map(\.id).max() ?? -1)
    guard largest >= 0, Int(largest) < vocabulary.count + addedTokens.count + 1_000_000 else {
      throw refuse("bad ids in the vocabulary")
    }
    prefix = model["continuing_subword_prefix"]?.bytes ?? Array("##".utf8)
    maximumWordCharacters = model["max_input_chars_per_word"]?.id.map(Int.init) ?? 100

    let entries = ByteStringTable(minimumCapacity: vocabulary.count + addedTokens.count)
    let continuations = ByteStringTable(minimumCapacity: 1024)
    var entryIDs: [Int32] = []
    var continuationIDs: [Int32] = []
    var spellings = [Int32](repeating: -1, count: Int(largest) + 1)
    var longest = 0
    func add(_ token: [UInt8], _ id: Int32) {
      let index = entries.insert(token)
      if index == entryIDs.count { entryIDs.append(id) }
      spellings[Int(id)] = Int32(index)
    }
    for (token, value) in vocabulary {
      guard let id = value.id else { throw refuse("an id in the vocabulary is not a number") }
      add(token, id)
      longest = max(longest, token.count)
      if token.starts(with: prefix), token.count > prefix.count {
        if continuations.insert(Array(token[prefix.count...])) == continuationIDs.count { continuationIDs.append(id) }
      }
    }
    for token in addedTokens { add(token.content, token.id) }
    self.entries = entries
    self.entryIDs = entryIDs
    self.continuations = continuations
    self.continuationIDs = continuationIDs
    self.spellings = spellings
    longestEntry = longest
    vocabularySize = Int(largest) + 1

    func lookUp(_ text: String) -> Int32? {
      let index = entries.find(Array(text.utf8))
      return index < 0 ? nil : entryIDs[index]
    }
    guard let unknown = lookUp(model["unk_token"]?.text ?? "[UNK]") else {
      throw refuse("the vocabulary lacks its unknown token")
    }
    self.unknown = unknown
    special = SpecialTokens(padding: lookUp("[PAD]"), unknown: unknown)
    classificationID = lookUp("[CLS]")
    separatorID = lookUp("[SEP]")
    maskID = lookUp("[MASK]")
    fileMaximumLength = file["truncation"]?["max_length"]?.id.map(Int.init)
    cleanUpSpaces = file["decoder"]?["cleanup"]?.flag ?? true
    added = AddedTokenMatcher(addedTokens.filter { !$0.normalized })
    let normalizer = self.normalizer
    addedNormalized = AddedTokenMatcher(
      addedTokens.filter(\.normalized).compactMap { token in
        var folded: [UInt8] = []
        token.content.withUnsafeBufferPointer { normalizer.append($0, to: &folded) }
        guard !folded.isEmpty else { return nil }
        var copy = token
        copy.content = folded
        return copy
      })
    specialIDs = Set(addedTokens.filter(\.special).map(\.id))
    guard let template = TemplatePieces(file["post_processor"]) else { throw refuse("its post_processor is not supported") }
    pairTemplate = template.pair
    templatePrefix = template.prefix
    templateSuffix = template.suffix
  }

  public func append(utf8 bytes: UnsafeBufferPointer<UInt8>, to ids: inout [Int32]) {
    added.split(bytes) { piece, id in
      if let id {
        ids.append(id)
        return
      }
      var normalised: [UInt8] = []
      normalizer.append(piece, to: &normalised)
      normalised.withUnsafeBufferPointer { normalised in
        addedNormalized.split(normalised) { part, id in
          if let id { ids.append(id) } else { appendWords(part, to: &ids) }
        }
      }
    }
  }

  /// White space separates words, punctuation is a word of its own.
  private func appendWords(_ text: UnsafeBufferPointer<UInt8>, to ids: inout [Int32]) {
    guard let base = text.baseAddress else { return }
    let count = text.count
    var index = 0
    var wordStart = 0
    var characters = 0
    while index < count {
      let (scalar, next) = ScalarTable.decode(base, index)
      let flags = ScalarTable.classOf(scalar)
      if flags & (ScalarTable.whitespace | ScalarTable.punctuation) == 0 {
        characters &+= 1
      } else {
        if index > wordStart { appendWord(base + wordStart, index &- wordStart, characters, to: &ids) }
        if flags & ScalarTable.punctuation != 0 { appendWord(base + index, next &- index, 1, to: &ids) }
        wordStart = next
        characters = 0
      }
      index = next
    }
    if count > wordStart { appendWord(base + wordStart, count - wordStart, characters, to: &ids) }
  }

  private func appendWord(_ word: UnsafePointer<UInt8>, _ count: Int, _ characters: Int, to ids: inout [Int32]) {
    guard characters <= maximumWordCharacters else { return ids.append(unknown) }
    let firstID = ids.count
    withUnsafeTemporaryAllocation(of: UInt64.self, capacity: longestEntry + 1) { hashes in
      var start = 0
      while start < count {
        let reach = min(longestEntry, count &- start)
        var hash = ByteStringTable.hashStart
        var length = 0
        while length < reach {
          hash = ByteStringTable.step(hash, word[start &+ length])
          length &+= 1
          hashes[length] = hash
        }
        let table = start == 0 ? entries : continuations
        var found = -1
        while length > 0 {
          if start &+ length == count || word[start &+ length] & 0xC0 != 0x80 {
            found = table.find(word + start, length, hash: hashes[length])
            if found >= 0 { break }
          }
          length &-= 1
        }
        guard found >= 0 else {
          ids.removeSubrange(firstID...)
          ids.append(unknown)
          return
        }
        ids.append(start == 0 ? entryIDs[found] : continuationIDs[found])
        start &+= length
      }
    }
  }

  private func spelling(_ id: Int32) -> [UInt8]? {
    guard id >= 0, Int(id) < spellings.count, spellings[Int(id)] >= 0 else { return nil }
    return entries[Int(spellings[Int(id)])]
  }

  public func token(_ id: Int32) -> String? { spelling(id).map { String(decoding: $0, as: UTF8.self) } }

  public func id(_ token: String) -> Int32? {
    let index = entries.find(Array(token.utf8))
    return index < 0 ? nil : entryIDs[index]
  }

  public func isSpecial(_ id: Int32) -> Bool { specialIDs.contains(id) }

  /// A continuation without its prefix, any other entry with a space before it.
  public func bytes(_ id: Int32) -> [UInt8]? {
    spelling(id).map { $0.starts(with: prefix) ? Array($0[prefix.count...]) : [0x20] + $0 }
  }

  /// Joins words with spaces and, where the file asks for it, draws English punctuation to the word before it.
  public func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String {
    var out = ""
    for id in ids where !(skipSpecialTokens && isSpecial(id)) {
      guard let spelling = spelling(id) else { continue }
      var piece = String(decoding: spelling, as: UTF8.self)
      if !out.isEmpty {
        piece = spelling.starts(with: prefix) ? String(decoding: spelling[prefix.count...], as: UTF8.self) : " " + piece
      }
      if cleanUpSpaces && piece.utf8.contains(0x20) {
        for (from, to) in Self.cleanUps { piece = piece.replacingOccurrences(of: from, with: to) }
      }
      out += piece
    }
    return out
  }

  private static let cleanUps = [
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" do not", " don't"),
    (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
  ]
}
