// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing
import Tokenizers

@testable import Pipelines

let prose = """
  The committee has been asked to look into the matter and to report what it found by the end of the year. There are many \
  people who think that this is the best way to go on, but it is not the only one. We have to know what they want before we \
  can say which of these plans would work for all of them.
  """

/// A different sentence for each number, with common English words.
func sentence(_ number: Int) -> String {
  var random = SplitMix64(seed: UInt64(number))
  let words = [
    "the", "of", "and", "in", "that", "it", "was", "for", "house", "river", "engine", "winter", "garden", "letter", "window",
    "market",
    "paper", "morning", "teacher", "station", "bridge", "doctor", "island", "number", "with", "from", "this", "people",
    "water", "music",
  ]
  return (0..<12).map { _ in words[Int(random.next() % UInt64(words.count))] }.joined(separator: " ") + "."
}

func document(_ sentences: Range<Int>) -> String { sentences.map(sentence).joined(separator: " ") }

@Suite struct PreparationTests {
  @Test(arguments: [
    ("a\r\nb\rc\u{2028}d\u{85}e", "a\nb\nc\nd\ne"), ("  a \t b  \n\n\n\n c ", "a b\n\nc"), ("e\u{301}\u{0}x\u{7}", "éx"),
    ("\u{FEFF}a\u{200B}b\u{AD}c", "abc"),
    ("a\u{A0}\u{3000}b", "a b"), ("", ""), ("\n \n", ""), ("한글", "한글"), ("a \n b", "a\nb"),
  ]) func textIsNormalised(_ text: String, _ expected: String) {
    let normal = TextNormalizer.normalize(text)
    #expect(normal.utf8.elementsEqual(expected.utf8))
    #expect(TextNormalizer.normalize(normal).utf8.elementsEqual(normal.utf8))
  }

  @Test(
    arguments: [
      (prose, nil), ("Too short to keep.", .tooShort), ("", .tooShort),
      (String(repeating: "a b c d e f g h ", count: 20), .wordLength),
      (
        String(repeating: "Das Wetter wird morgen schöner als gestern und alle freuen sich darüber sehr. ", count: 6),
        .notEnglish
      ),
      (String(repeating: "### the windows # of engineering ## and markets ... to # be found # in ", count: 10), .symbols),
      (String(repeating: "4711 1234 5678 99.9 the and of to in 1.5 2.25 3.125 1000 2000 ", count: 8), .notAlphabetic),
      ((0..<20).map { _ in "the same line of text that is in the file" }.joined(separator: "\n"), .repeatedLines),
      ((0..<20).map { "- the item of the list that has number \($0) in it" }.joined(separator: "\n"), .bulletLines),
      (
        (0..<20).map { "the line that ends with dots and number \($0) to be ...\nbut it is here" }.joined(separator: "\n"),
        .ellipsisLines
      ),
      (
        String(repeating: "whenever (the) { winters } of {to} letters {in} houses {that} bridges {be} and ", count: 10),
        .braces
      ),
      (prose + " Lorem ipsum dolor sit amet.", .placeholder),
      (String(repeating: "antidisestablishmentarianism ", count: 40), .wordLength),
    ] as [(String, QualityRules.Rejection?)]) func qualityRulesGiveTheirReason(
      _ text: String, _ expected: QualityRules.Rejection?
    )
  {
    #expect(QualityRules().rejection(of: text) == expected)
  }

  @Test func signatureEstimatesTheExactSimilarity() {
    var worst = 0.0
    for shared in stride(from: 0, through: 40, by: 4) {
      let (a, b) = (document(0..<40), document(40 - shared..<80 - shared))
      let (left, right) = (Set(MinHash.shingles(a)), Set(MinHash.shingles(b)))
      let exact = Double(left.intersection(right).count) / Double(left.union(right).count)
      let estimate = MinHash.similarity(MinHash.signature(a), MinHash.signature(b))
      worst = max(worst, abs(exact - estimate))
    }
    // Four standard errors of 112 samples at one half.
    #expect(worst < 0.19)
    #expect(MinHash.similarity(MinHash.signature("The QUICK, brown fox"), MinHash.signature("the quick brown fox!")) == 1)
    let signature = MinHash.signature(prose)
    #expect(MinHash.decode(MinHash.encode(signature)) == signature)
    #expect(MinHash.decode("zz") == nil)
    #expect(MinHash.shingles("") == [] && MinHash.shingles("one two").count == 1)
  }

  static func dedupeInput(_ texts: [(String, String)]) -> [Deduplicator.Document] {
    texts.map { .init(path: $0.0, textHash: SHA256Digest.hex($0.1), signature: MinHash.signature($0.1)) }
  }

  @Test func duplicatesAreTransitiveAndTheSmallestPathStays() throws {
    // Neighbours share 92 % of their sentences; the ends of the chain share little, yet all are one component.
    var texts = (0..<12).map { ("/chain/\(String(format: "%02d", $0))", document($0 * 4..<$0 * 4 + 100)) }
    texts.append(("/a/copy", document(0..<100)))
    texts.append(("/z/other", document(1000..<1100)))
    texts.append(("/empty/1", "!!!"))
    texts.append(("/empty/2", "???"))
    let input = Self.dedupeInput(texts)
    let dropped = try Deduplicator().dropped(input)
    #expect(Set(dropped.map(\.path)) == Set((0..<12).map { "/chain/\(String(format: "%02d", $0))" }))
    #expect(Set(dropped.map(\.kept)) == ["/a/copy"])
    #expect(dropped.first { $0.path == "/chain/00" }?.kind == "exact")
    #expect(dropped.filter { $0.kind == "near" }.count == 11)
    var random = SplitMix64(seed: 3)
    for _ in 0..<5 { #expect(try Deduplicator().dropped(input.shuffled(using: &random)) == dropped) }
    #expect(try Deduplicator(threshold: 1).dropped(input).map(\.kind) == ["exact"])
    #expect(throws: CancellationError.self) { try Deduplicator().dropped(input) { true } }
  }

  /// One token a word, so that chunk sizes can be seen at once.
  struct WordTokenizer: Tokenizer {
    var vocabularySize: Int { 1 }
    var special: SpecialTokens { SpecialTokens() }
    var templatePrefix: [Int32] { [] }
    var templateSuffix: [Int32] { [] }
    func append(utf8: UnsafeBufferPointer<UInt8>, to ids: inout [Int32]) {
      for word in utf8.split(whereSeparator: { $0 <= 0x20 }) { ids += [Int32](repeating: 0, count: (word.count + 31) / 32) }
    }
    func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String { "" }
    func token(_ id: Int32) -> String? { nil }
    func bytes(_ id: Int32) -> [UInt8]? { nil }
    func id(_ token: String) -> Int32? { nil }
    func isSpecial(_ id: Int32) -> Bool { false }
  }

  @Test func chunksCoverTheTextWithinTheirBudget() throws {
    let text = (0..<40).map { document($0 * 5..<$0 * 5 + 5) }.joined(separator: "\n\n")
    let chunks = try Chunker(tokenizer: WordTokenizer()).chunks(path: "/x", text: text)
    #expect(chunks.count > 10)
    #expect(chunks.allSatisfy { $0.tokens <= 200 && $0.tokens >= 60 })
    #expect(chunks.map(\.position) == Array(0..<chunks.count))
    #expect(Set(chunks.map(\.id)).count == chunks.count)
    // Each begins where a sentence begins, and the text between two starts is within the first of them.
    var from = text.startIndex
    for chunk in chunks {
      let place = try #require(text.range(of: chunk.text, range: from..<text.endIndex))
      #expect(chunk.text.hasSuffix("."))
      from = text.index(after: place.lowerBound)
    }
    #expect(text.hasSuffix(chunks.last!.text))
    #expect(try Chunker(tokenizer: WordTokenizer()).chunks(path: "/x", text: text) == chunks)
    #expect(try Chunker(tokenizer: WordTokenizer()).chunks(path: "/y", text: text)[0].id != chunks[0].id)
  }

  @Test func overlapRepeatsWordsWhenThereAreNoSentences() throws {
    let words = (0..<500).map { "w\($0)" }
    let chunks = try Chunker(tokenizer: WordTokenizer(), maximumTokens: 100, overlapTokens: 20).chunks(
      path: "/x", text: words.joined(separator: " "))
    #expect(chunks.map(\.tokens) == [100, 100, 100, 100, 100, 100])
    #expect(chunks[1].text.hasPrefix("w80 "))
    #expect(chunks.last!.text.hasSuffix(" w499"))
  }

  @Test func oneEndlessWordIsCutAtCharacters() throws {
    let text = String(repeating: "é", count: 20_000)
    let chunks = try Chunker(tokenizer: WordTokenizer(), maximumTokens: 50, overlapTokens: 0).chunks(path: "/x", text: text)
    #expect(chunks.allSatisfy { !$0.text.contains("\u{FFFD}") && $0.tokens <= 50 })
    #expect(chunks.map(\.text).joined() == text)
    #expect(try Chunker(tokenizer: WordTokenizer()).chunks(path: "/x", text: "").isEmpty)
    #expect(throws: PlatformError.self) { try Chunker(tokenizer: WordTokenizer(), maximumTokens: 100, overlapTokens: 50) }
  }

  @Test func splitIsByDocumentAndNearTheAskedShare() {
    let sides = (0..<10_000).map { DocumentSplit.side(path: "/doc/\($0)", trainShare: 0.9, seed: 17) }
    let train = sides.count { $0 == "train" }
    #expect(abs(train - 9000) < 150)
    #expect(DocumentSplit.side(path: "/a", trainShare: 1, seed: 1) == "train")
    #expect(DocumentSplit.side(path: "/a", trainShare: 0, seed: 1) == "test")
  }

  @Test func configurationIsChecked() throws {
    var configuration = PrepareConfiguration()
    try configuration.validate()
    let again = try JSONDecoder.platform.decode(PrepareConfiguration.self, from: JSONEncoder.platform.encode(configuration))
    #expect(again == configuration)
    configuration.trainShare = 1.5
    #expect(throws: PlatformError.self) { try configuration.validate() }
  }
}
