// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import Tokenizers

@Suite struct UnigramTrainerTests {
  private static let sentences = [
    "the cat sat on the mat", "the dog sat on the log", "a cat and a dog", "she sells sea shells by the sea shore", "peter piper picked a peck",
    "naïve café, déjà vu", "日本語の文章です。日本語は難しい。", "😀 emoji 😀 and\ttabs\nlines", "the thermometer then thickened there",
  ]

  private func counts(_ texts: [String] = sentences, times: Int = 5) -> WordCounts {
    var counts = WordCounts()
    for _ in 0..<times { for text in texts { counts.addSpaced(text) } }
    return counts
  }

  private func open(_ trained: TrainedUnigram) throws -> any Tokenizer {
    let folder = TemporaryDirectory("unigram")
    try trained.write(to: folder.path)
    return try TokenizerFile.open(folder.path)
  }

  @Test func wordsAreCutAsMetaspaceDoes() {
    var counts = WordCounts()
    counts.addSpaced("a bc  a")
    counts.addSpaced(" a")
    counts.addSpaced("")
    counts.addSpaced(String(repeating: "é", count: 2000))
    #expect(counts.count(of: "▁a") == 3 && counts.count(of: "▁bc") == 1 && counts.count(of: "▁") == 1)
    // A word of 4,000 bytes is cut between characters.
    #expect(counts.total == 5 + 4)
  }

  /// Every string of 2 to 16 characters that occurs twice and is followed by different characters, or ends its word, is among the seeds, with its count.
  @Test func seedsAreTheRepeatedStrings() {
    let counts = counts(times: 1)
    let corpus = UnigramCorpus(counts, coverage: 1, most: 1000)
    let found = UnigramSeeds.find(corpus, most: .max).reduce(into: [String: Int]()) {
      $0[String(decoding: corpus.text[$1.start..<$1.start + $1.length], as: UTF8.self)] = $1.count
    }
    var occurrences: [String: Int] = [:]
    var followers: [String: Set<String>] = [:]
    for word in 0..<counts.count {
      let (text, count) = counts.withWord(word) { (Array(String(decoding: $0, as: UTF8.self).unicodeScalars).map { String($0) }, $1) }
      for start in text.indices {
        for length in 2...16 where start + length <= text.count {
          let piece = text[start..<start + length].joined()
          occurrences[piece, default: 0] += count
          followers[piece, default: []].insert(start + length < text.count && length < 16 ? text[start + length] : "end of \(word)")
        }
      }
    }
    let expected = occurrences.filter { $1 > 1 && ((followers[$0]?.count ?? 0) > 1 || followers[$0]?.first?.hasPrefix("end") == true) }
    #expect(found == expected)
    #expect(found["▁the"] == 9 && found["日本語"] == 2)
  }

  /// Expectations against all ways of a word, one by one.
  @Test func expectationsAreThoseOfAllWays() throws {
    let texts = ["a", "b", "c", "ab", "bc", "abc", "ca", "ü", "aü"]
    var generator = SplitMix64(seed: 3)
    let entries = texts.map { UnigramTrainer.Entry(text: Array($0.utf8), score: log(0.01 + generator.nextUnit()), isCharacter: $0.count == 1) }
    let word = Array("abcabcaüca".utf8)
    func ways(_ rest: ArraySlice<UInt8>) -> [[Int]] {
      rest.isEmpty
        ? [[]]
        : entries.indices.flatMap { id in
          rest.starts(with: entries[id].text) ? ways(rest.dropFirst(entries[id].text.count)).map { [id] + $0 } : []
        }
    }
    let all = ways(word[...])
    let weights = all.map { way in exp(way.reduce(0.0) { $0 + entries[$1].score }) }
    let sum = weights.reduce(0, +)
    var expected = [Double](repeating: 0, count: entries.count)
    for (way, weight) in zip(all, weights) { for id in way { expected[id] += 7 * weight / sum } }
    var lattice = UnigramLattice(entries)
    var got = [Double](repeating: 0, count: entries.count)
    let likelihood = word.withUnsafeBufferPointer { lattice.expect($0, factors: entries.map { exp($0.score) }, times: 7, expected: &got) }
    #expect(all.count > 10 && abs(likelihood - log(sum)) < 1e-12)
    #expect(zip(got, expected).allSatisfy { abs($0 - $1) < 1e-12 })
    let best = try #require(zip(all, weights).max { $0.1 < $1.1 })
    let path = word.withUnsafeBufferPointer { lattice.path($0, scores: entries.map(\.score)) }
    #expect(path == best.0.map { Int32($0) })
    let without = word.withUnsafeBufferPointer { lattice.path($0, scores: entries.map(\.score), without: 5) }
    #expect(without?.contains(5) == false)
    #expect(Array("xa".utf8).withUnsafeBufferPointer { lattice.path($0, scores: entries.map(\.score)) } == nil)
  }

  /// Without its prior, which favours few entries, no step would make the text less likely; with it, none does by much.
  @Test func stepsMakeTheTextLikelier() throws {
    let corpus = UnigramCorpus(counts(), coverage: 1, most: 1000)
    var entries = UnigramTrainer.candidates(corpus, most: 1000)
    var last = -Double.infinity
    for round in 0..<6 {
      let now = try UnigramTrainer.expectation(entries, corpus, { false }).likelihood
      #expect(now > last - (round < 2 ? 0 : 0.02 * abs(last)), "round \(round): \(last) -> \(now)")
      last = now
      entries = try UnigramTrainer.step(entries, corpus, { false })
    }
    let total = entries.reduce(0.0) { $0 + exp($1.score) }
    #expect(total > 0.5 && total <= 1)
  }

  @Test func digammaIsTheReferences() {
    // Values of scipy.special.digamma.
    for (x, expected) in [(0.5, -1.9635100260214235), (1, -0.5772156649015329), (7.25, 1.9104535268837355), (1000, 6.907255195648812)] {
      #expect(abs(UnigramTrainer.digamma(x) - expected) < 1e-9)
    }
  }

  @Test(arguments: [278, 300, 320, 340]) func theVocabularyHasItsSizeAndSpellsEverything(size: Int) throws {
    let trained = try UnigramTrainer(vocabularySize: size).train(counts())
    #expect(trained.vocabularySize == size)
    let tokenizer = try open(trained)
    #expect(tokenizer.vocabularySize == size && tokenizer.eosID == 1 && tokenizer.bosID == 1 && tokenizer.unkID == 0)
    for text in Self.sentences + ["", "never seen: ЖЖЖ \u{1} \u{7F} <0x41> <unk", "two  spaces", "a\u{2028}b", "👩‍👩‍👧 family"] {
      let ids = tokenizer.encode(text)
      #expect(tokenizer.decode(ids, skipSpecialTokens: false) == text && !ids.contains(0), "\(size): \(text)")
    }
    let shorter = Self.sentences.reduce(0) { $0 + tokenizer.encode($1).count }
    #expect(size < 340 || shorter < Self.sentences.reduce(0) { $0 + $1.utf8.count } / 2)
  }

  @Test func theSameCountsGiveTheSameBytes() throws {
    let trainer = UnigramTrainer(vocabularySize: 360)
    let one = try trainer.train(counts()).tokenizerFile()
    var merged = counts(Array(Self.sentences.reversed().prefix(4)))
    merged.merge(counts(Array(Self.sentences.reversed().dropFirst(4))))
    #expect(try trainer.train(merged).tokenizerFile() == one)
  }

  @Test func sizesThatCannotBeAndTextThatIsTooLittle() throws {
    for size in [0, 277, (1 << 20) + 1] {
      #expect(throws: PlatformError.self) { try UnigramTrainer(vocabularySize: size).train(counts()) }
    }
    // No text at all: bytes are left, and spell everything.
    let none = try UnigramTrainer(vocabularySize: 1000).train(WordCounts())
    #expect(none.vocabularySize == 278)
    #expect(try open(none).decode(open(none).encode("bytes only"), skipSpecialTokens: false) == "bytes only")
    let little = try UnigramTrainer(vocabularySize: 5000).train(counts(["ab ab"], times: 1))
    #expect(little.vocabularySize > 278 && little.vocabularySize < 300)
    #expect(throws: CancellationError.self) { try UnigramTrainer(vocabularySize: 300).train(counts(), isCancelled: { true }) }
  }
}
