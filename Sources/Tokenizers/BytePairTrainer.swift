// SPDX-License-Identifier: Apache-2.0

import Core

/// Learns byte pair merges from word counts.
///
/// The algorithm is that of Hugging Face `BpeTrainer`: always the most frequent pair, ties to the pair with the smaller
/// ids; pair counts are kept up to date incrementally and a heap of possibly outdated counts finds the next one. The same
/// counts give the same tokenizer, whatever the order in which they were collected.
public struct BytePairTrainer: Sendable, Codable, Equatable {
  /// Ids in all: special tokens, 256 bytes, and merges.
  public var vocabularySize: Int
  /// Take the first ids, in this order.
  public var specialTokens: [String]
  public var endToken: String?
  public var beginningToken: String?
  public var paddingToken: String?
  /// Pairs that occur less often are not merged.
  public var minimumFrequency: Int

  public init(
    vocabularySize: Int, specialTokens: [String] = ["<|endoftext|>"], endToken: String? = "<|endoftext|>",
    beginningToken: String? = "<|endoftext|>", paddingToken: String? = "<|endoftext|>", minimumFrequency: Int = 2
  ) {
    self.vocabularySize = vocabularySize
    self.specialTokens = specialTokens
    self.endToken = endToken
    self.beginningToken = beginningToken
    self.paddingToken = paddingToken
    self.minimumFrequency = minimumFrequency
  }

  /// Trains; blocks for about a second per 100,000 distinct words. The vocabulary comes out smaller than asked for when the
  /// text has no more pairs that are frequent enough.
  /// - Parameter isCancelled: asked after every merge.
  /// - Throws: `invalidArgument` for a size that leaves no room for the bytes; `CancellationError`.
  public func train(_ counts: WordCounts, isCancelled: () -> Bool = { false }) throws -> BytePairTokenizer {
    let specials = specialTokens.reduce(into: [String]()) { list, token in
      if !token.isEmpty && !list.contains(where: { Array($0.utf8) == Array(token.utf8) }) { list.append(token) }
    }
    guard vocabularySize >= specials.count + 256, vocabularySize <= 1 << 20 else {
      throw PlatformError(
        .invalidArgument, "vocabulary size \(vocabularySize) must be between \(specials.count + 256) and \(1 << 20)",
        number: "PLT-3302")
    }
    var entries: [[UInt8]?] = specials.map { _ in nil }
    entries += ByteAlphabet.ordered.map { [$0] }
    var state = TrainingState(counts, firstByteID: specials.count)
    let known = ByteStringTable(minimumCapacity: vocabularySize)
    var knownIDs: [Int32] = []
    for (id, bytes) in entries.enumerated() {
      guard let bytes else { continue }
      known.insert(bytes)
      knownIDs.append(Int32(id))
    }
    var merges: [BytePairTokenizer.Merge] = []
    while entries.count < vocabularySize, let (left, right) = state.mostFrequent(atLeast: max(1, minimumFrequency)) {
      if isCancelled() { throw CancellationError() }
      let (leftBytes, rightBytes) = (entries[Int(left)]!, entries[Int(right)]!)  // symbols of words are never special
      let index = known.insert(leftBytes + rightBytes)
      if index == knownIDs.count {
        knownIDs.append(Int32(entries.count))
        entries.append(leftBytes + rightBytes)
      }
      merges.append(BytePairTokenizer.Merge(left: leftBytes, right: rightBytes))
      state.merge(left, right, into: knownIDs[index])
    }
    let added = specials.enumerated().map { AddedToken(id: Int32($0), content: Array($1.utf8)) }
    func id(_ token: String?) -> Int32? {
      guard let token else { return nil }
      return specials.firstIndex { Array($0.utf8) == Array(token.utf8) }.map(Int32.init)
    }
    return try BytePairTokenizer(
      entries: entries, merges: merges, addedTokens: added,
      special: SpecialTokens(beginning: id(beginningToken), end: id(endToken), padding: id(paddingToken)))
  }
}

/// Words as symbols, pairs with their counts and the words that have them.
private struct TrainingState: ~Copyable {
  private let symbols: UnsafeMutablePointer<Int32>
  private let starts: UnsafeMutablePointer<Int>
  private let lengths: UnsafeMutablePointer<Int32>
  private let frequencies: UnsafeMutablePointer<Int>
  private let wordCount: Int

  /// Pair -> index into the arrays below.
  private let pairs = PairTable(minimumCapacity: 1 << 14)
  private var pairKeys: ContiguousArray<UInt64> = []
  private var pairCounts: ContiguousArray<Int> = []
  /// Words that have, or had, the pair: a linked list of nodes; the last word is kept to skip repeats.
  private var pairHeads: ContiguousArray<Int32> = []
  /// The merge during which the pair was last put into `grown`.
  private var pairStamps: ContiguousArray<Int32> = []
  private var stamp: Int32 = 0
  private var nodeWords: ContiguousArray<Int32> = []
  private var nodeNext: ContiguousArray<Int32> = []
  private var heap = BinaryHeap<Candidate>()
  /// Pairs whose count grew during the merge under way.
  private var grown: ContiguousArray<Int32> = []

  private struct Candidate: Comparable {
    var count: Int
    var key: UInt64
    var pair: Int32
    /// The most frequent pair first, then the smaller ids.
    static func < (a: Self, b: Self) -> Bool { a.count != b.count ? a.count > b.count : a.key < b.key }
  }

  init(_ counts: WordCounts, firstByteID: Int) {
    wordCount = counts.count
    var byteIDs = [Int32](repeating: 0, count: 256)
    for (place, byte) in ByteAlphabet.ordered.enumerated() { byteIDs[Int(byte)] = Int32(firstByteID + place) }
    var total = 0
    for word in 0..<wordCount { total += counts.withWord(word) { bytes, _ in bytes.count } }
    symbols = .allocate(capacity: max(1, total))
    starts = .allocate(capacity: max(1, wordCount))
    lengths = .allocate(capacity: max(1, wordCount))
    frequencies = .allocate(capacity: max(1, wordCount))
    var place = 0
    for word in 0..<wordCount {
      counts.withWord(word) { bytes, frequency in
        starts[word] = place
        lengths[word] = Int32(bytes.count)
        frequencies[word] = frequency
        for byte in bytes {
          symbols[place] = byteIDs[Int(byte)]
          place &+= 1
        }
      }
    }
    for word in 0..<wordCount {
      let base = symbols + starts[word]
      var index = 0
      while index &+ 1 < Int(lengths[word]) {
        change(base[index], base[index &+ 1], by: frequencies[word], word: Int32(word))
        index &+= 1
      }
    }
    grown.removeAll()
    for pair in pairKeys.indices { heap.push(Candidate(count: pairCounts[pair], key: pairKeys[pair], pair: Int32(pair))) }
  }

  deinit {
    symbols.deallocate()
    starts.deallocate()
    lengths.deallocate()
    frequencies.deallocate()
  }

  private mutating func change(_ left: Int32, _ right: Int32, by amount: Int, word: Int32) {
    let key = PairTable.key(left, right)
    let fresh = Int32(pairKeys.count)
    let pair = pairs.insert(key, fresh)
    if pair == fresh {
      pairKeys.append(key)
      pairCounts.append(0)
      pairHeads.append(-1)
      pairStamps.append(-1)
    }
    pairCounts[Int(pair)] &+= amount
    guard amount > 0 else { return }
    let head = pairHeads[Int(pair)]
    if head < 0 || nodeWords[Int(head)] != word {
      nodeWords.append(word)
      nodeNext.append(head)
      pairHeads[Int(pair)] = Int32(nodeWords.count - 1)
    }
    if pairStamps[Int(pair)] != stamp {
      pairStamps[Int(pair)] = stamp
      grown.append(pair)
    }
  }

  /// The pair to merge next, or nil when none occurs `minimum` times.
  mutating func mostFrequent(atLeast minimum: Int) -> (Int32, Int32)? {
    while let top = heap.pop() {
      let now = pairCounts[Int(top.pair)]
      if now == top.count {
        guard now >= minimum else { return nil }
        return (Int32(truncatingIfNeeded: top.key >> 32), Int32(truncatingIfNeeded: top.key & 0xFFFF_FFFF))
      }
      if now >= minimum { heap.push(Candidate(count: now, key: top.key, pair: top.pair)) }
    }
    return nil
  }

  /// Replaces the pair in every word that has it, left to right.
  mutating func merge(_ left: Int32, _ right: Int32, into merged: Int32) {
    let pair = Int(pairs.find(PairTable.key(left, right)))
    grown.removeAll(keepingCapacity: true)
    stamp += 1
    var node = pairHeads[pair]
    pairHeads[pair] = -1
    while node >= 0 {
      let word = nodeWords[Int(node)]
      node = nodeNext[Int(node)]
      let base = symbols + starts[Int(word)]
      let frequency = frequencies[Int(word)]
      let length = Int(lengths[Int(word)])
      var read = 0
      var write = 0
      while read < length {
        if read &+ 1 < length, base[read] == left, base[read &+ 1] == right {
          if write > 0 {
            change(base[write &- 1], left, by: -frequency, word: word)
            change(base[write &- 1], merged, by: frequency, word: word)
          }
          if read &+ 2 < length {
            change(right, base[read &+ 2], by: -frequency, word: word)
            change(merged, base[read &+ 2], by: frequency, word: word)
          }
          base[write] = merged
          read &+= 2
        } else {
          base[write] = base[read]
          read &+= 1
        }
        write &+= 1
      }
      lengths[Int(word)] = Int32(write)
    }
    pairCounts[pair] = 0
    for index in grown {
      let count = pairCounts[Int(index)]
      if count > 0, Int(index) != pair {
        heap.push(Candidate(count: count, key: pairKeys[Int(index)], pair: index))
      }
    }
  }
}
