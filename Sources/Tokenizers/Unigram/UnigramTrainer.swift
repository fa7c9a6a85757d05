// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Learns a Unigram vocabulary from word counts (Kudo, "Subword Regularization", 2018).
///
/// Many frequent strings are candidates. Two steps of expectation maximisation make them likelier or not, those without which the text would be hardly less
/// likely are given up, a quarter at a time, and so on until the vocabulary has its size. Constants are those of SentencePiece. The same counts give
/// the same tokenizer, whatever the order in which they were collected. What has no entry is spelled in bytes, so that every text can be encoded.
public struct UnigramTrainer: Sendable, Codable, Equatable {
  /// Ids in all: the unknown one, special tokens, 256 bytes, and entries.
  public var vocabularySize: Int
  /// Take the ids behind that of the unknown one, in this order.
  public var specialTokens: [String]
  public var endToken: String?
  public var beginningToken: String?
  /// The share of the text whose characters get entries; rarer ones are spelled in bytes.
  public var coverage: Double

  public init(
    vocabularySize: Int, specialTokens: [String] = ["<|endoftext|>"], endToken: String? = "<|endoftext|>", beginningToken: String? = "<|endoftext|>",
    coverage: Double = 0.9995
  ) {
    self.vocabularySize = vocabularySize
    self.specialTokens = specialTokens
    self.endToken = endToken
    self.beginningToken = beginningToken
    self.coverage = coverage
  }

  struct Entry: Equatable {
    var text: [UInt8]
    /// Logarithm of its probability.
    var score: Double
    /// One character, which is kept in any case.
    var isCharacter: Bool
  }

  /// Entries that are expected less often are given up.
  private static let leastExpected = 0.5
  private static let shrinking = 0.75
  private static let stepsPerRound = 2
  /// U+2581, which only stands for a space when it has an entry, and what byte entries are spelled with: a text that has such a spelling is put together
  /// from these.
  private static let always = WordCounts.spaceMark + Array("<0x123456789ABCDEF>".utf8)
  private static let alwaysCount = 20

  /// Trains; blocks for some seconds per million characters of distinct words, of which at most 4 million are used: the most frequent ones. The vocabulary
  /// comes out smaller than asked for when the text has no more strings that occur twice.
  /// - Parameters:
  ///   - isCancelled: asked once for some thousand words.
  ///   - progress: called with the number of entries that are left, and how many shall be.
  /// - Throws: `invalidArgument` PLT-3302 for a size that leaves no room for the bytes; `CancellationError`.
  public func train(_ counts: WordCounts, isCancelled: () -> Bool = { false }, progress: (Int, Int) -> Void = { _, _ in }) throws -> TrainedUnigram {
    try check()
    let specials = specials
    let wanted = vocabularySize - 1 - specials.count - 256
    let corpus = UnigramCorpus(counts, always: Self.always, coverage: coverage, most: wanted)
    var entries = Self.candidates(corpus, most: max(50_000, wanted * 8))
    // A little more than wanted, so that the best can be chosen in the end.
    let enough = max(wanted * 11 / 10, corpus.alphabet.count)
    while !entries.isEmpty {
      progress(entries.count, wanted)
      for _ in 0..<Self.stepsPerRound { entries = try Self.step(entries, corpus, isCancelled) }
      guard entries.count > enough else { break }
      entries = try Self.pruned(entries, corpus, to: max(Int(Double(entries.count) * Self.shrinking), enough), isCancelled)
    }
    let (characters, strings) = (entries.filter(\.isCharacter), entries.filter { !$0.isCharacter })
    let chosen = characters + Self.likeliestFirst(strings).prefix(max(0, wanted - characters.count))
    return TrainedUnigram(specials: specials, entries: Self.likeliestFirst(chosen), beginning: beginningToken, end: endToken)
  }

  /// What is said of a size that cannot be.
  /// - Throws: `invalidArgument` PLT-3302.
  public func check() throws {
    let least = 1 + specials.count + 256 + Self.alwaysCount
    guard vocabularySize >= least, vocabularySize <= 1 << 20 else {
      throw PlatformError(
        .invalidArgument, "vocabulary size \(vocabularySize) must be between \(least) and \(1 << 20)",
        hint: "256 bytes, \(Self.alwaysCount) characters and \(1 + specials.count) special tokens are part of every Unigram vocabulary.", number: "PLT-3302")
    }
  }

  /// Each once.
  private var specials: [String] {
    specialTokens.reduce(into: []) { list, token in
      if !token.isEmpty, !list.contains(where: { $0.utf8.elementsEqual(token.utf8) }) { list.append(token) }
    }
  }

  private static func likeliestFirst(_ entries: [Entry]) -> [Entry] {
    entries.sorted { $0.score != $1.score ? $0.score > $1.score : $0.text.lexicographicallyPrecedes($1.text) }
  }

  /// Characters and seeds, as likely as they are frequent.
  static func candidates(_ corpus: UnigramCorpus, most: Int) -> [Entry] {
    let seeds = UnigramSeeds.find(corpus, most: max(0, most - corpus.alphabet.count))
    let total = Double(corpus.alphabet.reduce(0) { $0 + $1.count } + seeds.reduce(0) { $0 + $1.count })
    return corpus.alphabet.map { Entry(text: $0.character, score: log(Double($0.count) / total), isCharacter: true) }
      + seeds.map { seed in
        Entry(text: Array(corpus.text[seed.start..<seed.start + seed.length]), score: log(Double(seed.count) / total), isCharacter: false)
      }
  }

  /// One step of expectation maximisation, in its Bayesian form, which favours few entries.
  static func step(_ entries: [Entry], _ corpus: UnigramCorpus, _ isCancelled: () -> Bool) throws -> [Entry] {
    let expected = try expectation(entries, corpus, isCancelled).expected
    var left: [Entry] = []
    var counts: [Double] = []
    for (entry, count) in zip(entries, expected) where count >= leastExpected || entry.isCharacter {
      left.append(entry)
      counts.append(max(count, leastExpected))
    }
    let total = digamma(counts.reduce(0, +))
    for index in left.indices { left[index].score = digamma(counts[index]) - total }
    return left
  }

  /// How often entries are used on average, and the logarithm of the text's probability.
  static func expectation(
    _ entries: [Entry], _ corpus: UnigramCorpus, _ isCancelled: () -> Bool
  ) throws -> (expected: [Double], likelihood: Double) {
    var lattice = UnigramLattice(entries)
    // Products over many entries leave the range of numbers. A factor for each character, which is the same for all ways through a text, keeps them near 1.
    let perCharacter = 3.0
    let lengths = entries.map { entry in entry.text.reduce(0) { $0 + ($1 & 0xC0 != 0x80 ? 1 : 0) } }
    let factors = zip(entries, lengths).map { exp($0.score + perCharacter * Double($1)) }
    var expected = [Double](repeating: 0, count: entries.count)
    var likelihood = 0.0
    try corpus.forEach(isCancelled) { text, frequency in
      let characters = text.reduce(0) { $0 + ($1 & 0xC0 != 0x80 ? 1 : 0) }
      let sum = lattice.expect(text, factors: factors, times: Double(frequency), expected: &expected)
      likelihood += Double(frequency) * (sum - perCharacter * Double(characters))
    }
    return (expected, likelihood)
  }

  /// The `count` entries that are missed most: of each, how much less likely the text would be if the next best way took its place.
  static func pruned(_ entries: [Entry], _ corpus: UnigramCorpus, to count: Int, _ isCancelled: () -> Bool) throws -> [Entry] {
    var lattice = UnigramLattice(entries)
    let scores = entries.map(\.score)
    var uses = [Double](repeating: 0, count: entries.count)
    try corpus.forEach(isCancelled) { text, frequency in
      for id in lattice.path(text, scores: scores) ?? [] { uses[Int(id)] += Double(frequency) }
    }
    let total = uses.reduce(0, +)
    var kept: [Entry] = []
    var others: [(entry: Entry, loss: Double)] = []
    for (id, entry) in entries.enumerated() {
      if id % 4096 == 0, isCancelled() { throw CancellationError() }
      if entry.isCharacter {
        kept.append(entry)
        continue
      }
      let used = uses[id]
      guard used > 0, let other = entry.text.withUnsafeBufferPointer({ lattice.path($0, scores: scores, without: Int32(id)) }) else { continue }
      // Without it, each of the others is used as often more, and there are as many uses more.
      let all = log(total + used * Double(other.count - 1))
      let instead = other.reduce(0.0) { $0 + log(uses[Int($1)] + used) - all }
      others.append((entry, used / total * (log(used) - log(total) - instead)))
    }
    others.sort { $0.loss != $1.loss ? $0.loss > $1.loss : $0.entry.text.lexicographicallyPrecedes($1.entry.text) }
    return kept + others.prefix(max(0, count - kept.count)).map(\.entry)
  }

  /// The derivative of the logarithm of the gamma function, for x above 0 (Abramowitz and Stegun, 6.3.5 and 6.3.18).
  static func digamma(_ x: Double) -> Double {
    var (x, result) = (x, 0.0)
    while x < 8 {
      result -= 1 / x
      x += 1
    }
    let square = 1 / (x * x)
    return result + log(x) - 0.5 / x - square * (1.0 / 12 - square * (1.0 / 120 - square * (1.0 / 252 - square / 240)))
  }
}

extension UnigramCorpus {
  /// Calls `body` with each piece and how often it occurs.
  /// - Throws: `CancellationError`.
  fileprivate func forEach(_ isCancelled: () -> Bool, _ body: (UnsafeBufferPointer<UInt8>, Int) -> Void) throws {
    try text.withUnsafeBufferPointer { text in
      for piece in 0..<count {
        if piece % 4096 == 0, isCancelled() { throw CancellationError() }
        body(UnsafeBufferPointer(rebasing: text[starts[piece]..<starts[piece + 1]]), frequencies[piece])
      }
    }
  }
}
