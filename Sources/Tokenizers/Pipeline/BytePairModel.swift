// SPDX-License-Identifier: Apache-2.0

import Core

/// Byte pair encoding over characters, as SentencePiece and the first GPT have it: with byte fallback, unknown characters, and marks at the
/// begin or end of words. `BytePairTokenizer` is the faster way for the byte-level kind.
struct BytePairModel: SubwordModel {
  let vocabulary: Vocabulary
  let unknown: Int32?
  let allowsMarkedWords: Bool
  private let merges: PairMerges
  private let continuingPrefix: [UInt8]
  private let endSuffix: [UInt8]
  private let fusesUnknown: Bool
  private let ignoresMerges: Bool
  /// By byte; nil where the model has no such tokens or does not use them.
  private let byteIDs: [Int32?]?

  /// - Throws: `invalidFile` (PLT-3301) for a merge that is not in the vocabulary.
  init(_ json: ByteJSON) throws {
    guard json["dropout"]?.isNothing ?? true else { throw PlatformError.unusableTokenizer("its merges are left out by chance (dropout)") }
    let vocabulary = try Vocabulary((json["vocab"]?.members ?? []).map { ($0.key, $0.value.id) })
    self.vocabulary = vocabulary
    unknown = vocabulary.id(json["unk_token"]?.text)
    continuingPrefix = json["continuing_subword_prefix"]?.bytes ?? []
    endSuffix = json["end_of_word_suffix"]?.bytes ?? []
    fusesUnknown = json["fuse_unk"]?.flag ?? false
    ignoresMerges = json["ignore_merges"]?.flag ?? false
    byteIDs = json["byte_fallback"]?.flag ?? false ? (0..<256).map { vocabulary.id(ByteTokens.spelling(UInt8($0))) } : nil
    let prefix = continuingPrefix.count
    // No merge reaches over a cut, and what is unknown in front of one is never joined to what is behind it.
    var staysInWords = prefix == 0 && endSuffix.isEmpty && !ignoresMerges && vocabulary.id(MarkedWords.mark) != nil
    merges = PairMerges(
      try (json["merges"]?.items ?? []).enumerated().map { rank, item in
        let sides = item.items.map { $0.compactMap(\.bytes) } ?? (item.bytes ?? []).split(separator: 0x20, omittingEmptySubsequences: false).map(Array.init)
        guard sides.count == 2, let left = vocabulary.id(sides[0]), let right = vocabulary.id(sides[1]),
          let whole = vocabulary.id(sides[0] + sides[1].dropFirst(prefix))
        else { throw PlatformError.unusableTokenizer("merge \(rank) is not in the vocabulary") }
        if staysInWords, MarkedWords.crosses(sides[0] + sides[1]) { staysInWords = false }
        return (left, right, whole)
      })
    allowsMarkedWords = staysInWords
  }

  func append(_ word: UnsafeBufferPointer<UInt8>, to ids: inout [Int32]) {
    guard let base = word.baseAddress else { return }
    if ignoresMerges, let whole = vocabulary.id(base, word.count) { return ids.append(whole) }
    withUnsafeTemporaryAllocation(of: Int32.self, capacity: word.count + 1) { symbols in
      var count = 0
      var isUnknown = false
      func put(_ id: Int32) {
        symbols[count] = id
        count += 1
      }
      func flush() {
        if isUnknown, let unknown { put(unknown) }
        isUnknown = false
      }
      var index = 0
      while index < word.count {
        let (_, next) = ScalarTable.decode(base, index)
        defer { index = next }
        if let id = symbol(base, index..<next, word.count) {
          flush()
          put(id)
        } else if let bytes = fallback(base, index..<next, word.count) {
          for id in bytes { put(id) }
        } else if unknown != nil {
          if !fusesUnknown { flush() }
          isUnknown = true
        }
      }
      flush()
      guard count > 0, let start = symbols.baseAddress else { return }
      ids.append(contentsOf: symbols[0..<merges.merge(start, count)])
    }
  }

  /// A character as the vocabulary spells it at its place in a word.
  private func spelled(_ base: UnsafePointer<UInt8>, _ range: Range<Int>, _ count: Int) -> [UInt8] {
    let own = UnsafeBufferPointer(start: base + range.lowerBound, count: range.count)
    return (range.lowerBound == 0 ? [] : continuingPrefix) + own + (range.upperBound == count ? endSuffix : [])
  }

  private func symbol(_ base: UnsafePointer<UInt8>, _ range: Range<Int>, _ count: Int) -> Int32? {
    if continuingPrefix.isEmpty && endSuffix.isEmpty { return vocabulary.id(base + range.lowerBound, range.count) }
    return vocabulary.id(spelled(base, range, count))
  }

  private func fallback(_ base: UnsafePointer<UInt8>, _ range: Range<Int>, _ count: Int) -> [Int32]? {
    guard let byteIDs, continuingPrefix.isEmpty, endSuffix.isEmpty else { return nil }
    let ids = range.compactMap { byteIDs[Int(base[$0])] }
    return ids.count == range.count ? ids : nil
  }
}
