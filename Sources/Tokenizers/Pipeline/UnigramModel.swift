// SPDX-License-Identifier: Apache-2.0

import Core

/// The unigram language model of SentencePiece: the entries of the highest probability that make up a word (Kudo, "Subword
/// Regularization", 2018), found by the Viterbi algorithm.
struct UnigramModel: SubwordModel {
  let vocabulary: Vocabulary
  let unknown: Int32?
  /// Log probabilities by id.
  private let scores: [Double]
  private let unknownScore: Double
  private let trie: ByteTrie
  private let byteIDs: [Int32?]?

  /// How much less than the least probable entry an unknown character is, in the reference.
  private static let unknownPenalty = 10.0

  /// - Throws: `invalidFile` (PLT-3301).
  init(_ json: ByteJSON) throws {
    var tokens: [[UInt8]] = []
    var scores: [Double] = []
    for item in json["vocab"]?.items ?? [] {
      guard let pair = item.items, pair.count == 2, let token = pair[0].bytes, case .number(let score) = pair[1] else {
        throw PlatformError.unusableTokenizer("entry \(tokens.count) of its vocabulary is no token with its score")
      }
      tokens.append(token)
      scores.append(score)
    }
    let vocabulary = try Vocabulary(tokens.enumerated().map { ($1, Int32($0)) })
    self.vocabulary = vocabulary
    self.scores = scores
    unknown = json["unk_id"]?.id
    guard unknown.map({ Int($0) < tokens.count }) ?? true else { throw PlatformError.unusableTokenizer("its unk_id is outside of the vocabulary") }
    unknownScore = (scores.min() ?? 0) - Self.unknownPenalty
    trie = ByteTrie(tokens.enumerated().map { ($1, Int32($0)) })
    byteIDs = json["byte_fallback"]?.flag ?? false ? (0..<256).map { vocabulary.id(ByteTokens.spelling(UInt8($0))) } : nil
  }

  /// The best way to a place in the word.
  private struct Step {
    var score = 0.0
    var start = -1
    var isUnknown = false
  }

  func append(_ word: UnsafeBufferPointer<UInt8>, to ids: inout [Int32]) {
    guard let base = word.baseAddress else { return }
    withUnsafeTemporaryAllocation(of: Step.self, capacity: word.count + 1) { steps in
      steps.initialize(repeating: Step())
      var start = 0
      while start < word.count {
        let next = ScalarTable.decode(base, start).next
        let here = steps[start].score
        var isCovered = false
        func offer(_ end: Int, _ score: Double, _ isUnknown: Bool) {
          if steps[end].start < 0 || score > steps[end].score { steps[end] = Step(score: score, start: start, isUnknown: isUnknown) }
        }
        trie.prefixes(word, from: start) { length, id in
          offer(start + length, here + scores[Int(id)], id == unknown)
          if start + length == next { isCovered = true }
        }
        if !isCovered { offer(next, here + unknownScore, true) }
        start = next
      }
      var pieces: [Range<Int>] = []
      var end = word.count
      var wasUnknown = false
      while end > 0 {
        let step = steps[end]
        // Neighbours that are unknown are one.
        if step.isUnknown, wasUnknown, let last = pieces.last {
          pieces[pieces.count - 1] = step.start..<last.upperBound
        } else {
          pieces.append(step.start..<end)
        }
        wasUnknown = step.isUnknown
        end = step.start
      }
      for piece in pieces.reversed() { append(base, piece, to: &ids) }
    }
  }

  private func append(_ base: UnsafePointer<UInt8>, _ range: Range<Int>, to ids: inout [Int32]) {
    if let id = vocabulary.id(base + range.lowerBound, range.count) { return ids.append(id) }
    if let byteIDs {
      let bytes = range.compactMap { byteIDs[Int(base[$0])] }
      if bytes.count == range.count { return ids.append(contentsOf: bytes) }
    }
    if let unknown { ids.append(unknown) }
  }
}
