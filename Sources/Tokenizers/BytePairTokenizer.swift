// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// Byte-level byte pair encoding as GPT-2 introduced it: every text has ids, and decoding gives the text back exactly.
///
/// Reads and writes the Hugging Face files (`tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json`); ids equal
/// those of `tokenizers` for models with a `ByteLevel` pre-tokenizer. Words are cached (up to 64 Ki of them).
public final class BytePairTokenizer: Tokenizer {
  /// A learnt merge: two entries, as bytes.
  struct Merge: Equatable {
    var left: [UInt8]
    var right: [UInt8]
  }

  public let vocabularySize: Int
  public let special: SpecialTokens
  public let pairTemplate: PairTemplate?
  public let templatePrefix: [Int32]
  public let templateSuffix: [Int32]

  /// Bytes of the model's entries by id; nil for holes and added tokens.
  let entryBytes: [[UInt8]?]
  let merges: [Merge]
  let addedTokens: [AddedToken]
  let addPrefixSpace: Bool

  private let addedByID: [Int32: AddedToken]
  private let addedBySpelling: [[UInt8]: Int32]
  private let added: AddedTokenMatcher
  private let addedNormalized: AddedTokenMatcher
  private let table: ByteStringTable
  private let tableIDs: [Int32]
  private let byteIDs: [Int32]
  private let pairs: PairMerges
  let ignoresMerges: Bool
  let splitsDigits: Bool
  let split: WordSplit
  /// Whether text is put into its composed form (NFC) first.
  let composes: Bool
  private let cache = Mutex(WordCache())

  /// From what a trainer or a file gives. `entries[id]` are bytes, nil for ids of added tokens and holes.
  init(
    entries: [[UInt8]?], merges: [Merge], addedTokens: [AddedToken], special: SpecialTokens, template: TemplatePieces? = nil,
    addPrefixSpace: Bool = false, ignoreMerges: Bool = false, splitDigits: Bool = false, split: WordSplit = .plain, composes: Bool = false
  ) throws {
    self.split = split
    self.composes = composes
    self.entryBytes = entries
    self.merges = merges
    self.addedTokens = addedTokens
    self.addPrefixSpace = addPrefixSpace
    ignoresMerges = ignoreMerges
    splitsDigits = splitDigits
    self.special = special
    pairTemplate = template?.pair
    templatePrefix = template?.prefix ?? []
    templateSuffix = template?.suffix ?? []
    let table = ByteStringTable(minimumCapacity: entries.count)
    var tableIDs: [Int32] = []
    for (id, bytes) in entries.enumerated() {
      guard let bytes else { continue }
      if table.insert(bytes) == tableIDs.count { tableIDs.append(Int32(id)) }
    }
    self.table = table
    self.tableIDs = tableIDs
    func id(_ bytes: [UInt8]) -> Int32? {
      let index = table.find(bytes)
      return index < 0 ? nil : tableIDs[index]
    }
    byteIDs = try (0..<256).map { byte in
      guard let id = id([UInt8(byte)]) else {
        throw PlatformError(.invalidFile, "byte-level vocabulary lacks an entry for byte \(byte)", number: "PLT-3301")
      }
      return id
    }
    pairs = PairMerges(
      try merges.enumerated().map { rank, merge in
        guard let left = id(merge.left), let right = id(merge.right), let whole = id(merge.left + merge.right) else {
          throw PlatformError(
            .invalidFile, "merge \(rank) (\(ByteAlphabet.spell(merge.left)) \(ByteAlphabet.spell(merge.right))) is not in the vocabulary",
            number: "PLT-3301")
        }
        return (left, right, whole)
      })
    added = AddedTokenMatcher(addedTokens.filter { !$0.normalized })
    addedNormalized = AddedTokenMatcher(addedTokens.filter(\.normalized))
    addedByID = Dictionary(addedTokens.map { ($0.id, $0) }, uniquingKeysWith: { $1 })
    addedBySpelling = Dictionary(addedTokens.map { ($0.content, $0.id) }, uniquingKeysWith: { $1 })
    vocabularySize = max(entries.count, Int(addedTokens.map(\.id).max() ?? -1) + 1)
  }

  public func append(utf8 bytes: UnsafeBufferPointer<UInt8>, to ids: inout [Int32]) {
    if cache.withLockIfAvailable({ appendPieces(bytes, &$0, to: &ids) }) == nil {
      var own = WordCache()  // another thread is encoding: a cache of this call alone
      appendPieces(bytes, &own, to: &ids)
    }
  }

  private func appendPieces(_ bytes: UnsafeBufferPointer<UInt8>, _ cache: inout WordCache, to ids: inout [Int32]) {
    added.split(bytes) { piece, id in
      if let id {
        ids.append(id)
        return
      }
      composed(piece) { piece in addNormalized(piece, &cache, to: &ids) }
    }
  }

  private func composed(_ piece: UnsafeBufferPointer<UInt8>, _ body: (UnsafeBufferPointer<UInt8>) -> Void) {
    guard composes, piece.contains(where: { $0 >= 0x80 }) else { return body(piece) }
    var text = String(decoding: piece, as: UTF8.self).precomposedStringWithCanonicalMapping
    text.withUTF8(body)
  }

  private func addNormalized(_ piece: UnsafeBufferPointer<UInt8>, _ cache: inout WordCache, to ids: inout [Int32]) {
    addedNormalized.split(piece) { part, id in
      if let id {
        ids.append(id)
      } else if addPrefixSpace, let first = part.first, first != 0x20 {
        ([0x20] + Array(part)).withUnsafeBufferPointer { appendText($0, &cache, to: &ids) }
      } else {
        appendText(part, &cache, to: &ids)
      }
    }
  }

  private func appendText(_ text: UnsafeBufferPointer<UInt8>, _ cache: inout WordCache, to ids: inout [Int32]) {
    guard let base = text.baseAddress else { return }
    guard splitsDigits else { return appendWords(base, text.count, &cache, to: &ids) }
    var start = 0
    var index = 0
    while index < text.count {
      let (scalar, next) = ScalarTable.decode(base, index)
      if ScalarTable.classOf(scalar) & ScalarTable.number != 0 {
        if index > start { appendWords(base + start, index - start, &cache, to: &ids) }
        appendWords(base + index, next - index, &cache, to: &ids)
        start = next
      }
      index = next
    }
    if start < text.count { appendWords(base + start, text.count - start, &cache, to: &ids) }
  }

  private func appendWords(_ base: UnsafePointer<UInt8>, _ count: Int, _ cache: inout WordCache, to ids: inout [Int32]) {
    switch split {
    case .plain: appendWords(base, ByteLevelScanner(base, count), &cache, to: &ids)
    case .marked(let digits): appendWords(base, MarkedWordScanner(base, count, digits: digits), &cache, to: &ids)
    }
  }

  private func appendWords(_ base: UnsafePointer<UInt8>, _ scanner: some WordScanner, _ cache: inout WordCache, to ids: inout [Int32]) {
    var scanner = scanner
    var start = 0
    while let end = scanner.next() {
      let word = base + start
      let length = end &- start
      start = end
      if length == 1 {
        ids.append(byteIDs[Int(word[0])])
        continue
      }
      if length <= WordCache.longestWord {
        if cache.append(word, length, to: &ids) { continue }
        let from = ids.count
        encodeWord(word, length, to: &ids)
        cache.store(word, length, ids, from: from)
      } else {
        encodeWord(word, length, to: &ids)
      }
    }
  }

  private func encodeWord(_ word: UnsafePointer<UInt8>, _ count: Int, to ids: inout [Int32]) {
    if ignoresMerges {
      let whole = table.find(word, count)
      if whole >= 0 { return ids.append(tableIDs[whole]) }
    }
    withUnsafeTemporaryAllocation(of: Int32.self, capacity: count) { symbols in
      for index in 0..<count { symbols[index] = byteIDs[Int(word[index])] }
      let left = pairs.merge(symbols.baseAddress!, count)
      ids.append(contentsOf: symbols[0..<left])
    }
  }

  public func bytes(_ id: Int32) -> [UInt8]? {
    guard id >= 0 else { return nil }
    if let token = addedByID[id] { return ByteAlphabet.unspell(token.content) ?? token.content }
    return Int(id) < entryBytes.count ? entryBytes[Int(id)] : nil
  }

  public func token(_ id: Int32) -> String? {
    if let token = addedByID[id] { return String(decoding: token.content, as: UTF8.self) }
    guard id >= 0, Int(id) < entryBytes.count else { return nil }
    return entryBytes[Int(id)].map { ByteAlphabet.spell($0) }
  }

  public func id(_ token: String) -> Int32? {
    let spelling = Array(token.utf8)
    if let id = addedBySpelling[spelling] { return id }
    guard let bytes = ByteAlphabet.unspell(spelling) else { return nil }
    let index = table.find(bytes)
    return index < 0 ? nil : tableIDs[index]
  }

  public func isSpecial(_ id: Int32) -> Bool { addedByID[id]?.special ?? false }

  public func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String {
    var out: [UInt8] = []
    for id in ids where !(skipSpecialTokens && isSpecial(id)) { out += bytes(id) ?? [] }
    return String(decoding: out, as: UTF8.self)
  }
}

/// Ids of words seen before.
struct WordCache: Sendable {
  static let longestWord = 32
  private static let limit = 1 << 16

  private var words = ByteStringTable(minimumCapacity: 256)
  private var starts: [Int32] = [0]
  private var ids: [Int32] = []

  func append(_ word: UnsafePointer<UInt8>, _ count: Int, to out: inout [Int32]) -> Bool {
    let index = words.find(word, count)
    guard index >= 0 else { return false }
    out.append(contentsOf: ids[Int(starts[index])..<Int(starts[index + 1])])
    return true
  }

  /// Keeps `all[from...]` as the ids of a word that is not stored yet; at the limit everything is dropped first.
  mutating func store(_ word: UnsafePointer<UInt8>, _ count: Int, _ all: [Int32], from: Int) {
    if words.count >= Self.limit { self = WordCache() }
    words.insert(word, count)
    ids.append(contentsOf: all[from...])
    starts.append(Int32(ids.count))
  }
}
