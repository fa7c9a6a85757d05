// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Unigram, bigram and trigram models of token ids with Jelinek-Mercer interpolation: what a neural model has to beat.
///
/// P_0 = 1 / vocabulary;  P_n(w | h) = l_n c(h w) / c(h) + (1 - l_n) P_n-1(w | h'), where h' drops the oldest token;
/// a history that was never seen, or that would begin before the sequence, leaves P_n = P_n-1. The weights l_n are fitted
/// by expectation maximisation on held-out sequences, lowest order first (Jelinek and Mercer, 1980; Chen and Goodman,
/// 1998, section 2.3, with one weight an order).
public struct InterpolatedNGram: Sendable {
  /// l_1, l_2, l_3.
  public private(set) var weights: [Double] = [0.5, 0.5, 0.5]
  public let vocabularySize: Int
  private var unigrams: [Int32: Int] = [:]
  private var total = 0
  private var bigrams: [UInt64: Int] = [:]
  private var bigramHistories: [Int32: Int] = [:]
  private var trigrams: [UInt64: Int] = [:]
  private var trigramHistories: [UInt64: Int] = [:]

  /// Counts `counted` and fits the weights on `heldOut`.
  /// - Throws: `invalidArgument` when there is nothing to count or an id lies outside the vocabulary (at most 2^21).
  public init(counted: [[Int32]], heldOut: [[Int32]], vocabularySize: Int) throws {
    guard vocabularySize > 0, vocabularySize <= 1 << 21 else {
      throw PlatformError(.invalidArgument, "a vocabulary of \(vocabularySize) cannot be counted; at most \(1 << 21) can")
    }
    self.vocabularySize = vocabularySize
    for sequence in counted + heldOut {
      if let bad = sequence.first(where: { $0 < 0 || $0 >= vocabularySize }) {
        throw PlatformError(.invalidArgument, "token \(bad) is outside the vocabulary of \(vocabularySize)")
      }
    }
    for sequence in counted { count(sequence) }
    guard total > 0 else { throw PlatformError(.invalidArgument, "there are no training tokens to count") }
    fit(heldOut)
  }

  /// Splits `sequences` into counted and held-out ones (every k-th, so that about `share` are held out).
  public static func split(_ sequences: [[Int32]], share: Double) -> (counted: [[Int32]], heldOut: [[Int32]]) {
    let every = max(2, Int((1 / min(max(share, 0.001), 0.5)).rounded()))
    guard sequences.count >= every else {
      // Too few sequences: cut the end off each.
      let cut = sequences.map { max(1, $0.count - Int(Double($0.count) * share)) }
      return (zip(sequences, cut).map { Array($0.prefix($1)) }, zip(sequences, cut).map { Array($0.dropFirst($1)) })
    }
    var parts: (counted: [[Int32]], heldOut: [[Int32]]) = ([], [])
    for (index, sequence) in sequences.enumerated() {
      if index % every == every - 1 { parts.heldOut.append(sequence) } else { parts.counted.append(sequence) }
    }
    return parts
  }

  private static func key(_ a: Int32, _ b: Int32) -> UInt64 { UInt64(a) << 21 | UInt64(b) }
  private static func key(_ a: Int32, _ b: Int32, _ c: Int32) -> UInt64 { UInt64(a) << 42 | UInt64(b) << 21 | UInt64(c) }

  private mutating func count(_ tokens: [Int32]) {
    for (index, token) in tokens.enumerated() {
      unigrams[token, default: 0] += 1
      total += 1
      if index >= 1 {
        bigrams[Self.key(tokens[index - 1], token), default: 0] += 1
        bigramHistories[tokens[index - 1], default: 0] += 1
      }
      if index >= 2 {
        trigrams[Self.key(tokens[index - 2], tokens[index - 1], token), default: 0] += 1
        trigramHistories[Self.key(tokens[index - 2], tokens[index - 1]), default: 0] += 1
      }
    }
  }

  /// Relative frequency of order `order` for token `index`, nil when its history is unknown.
  private func frequency(_ tokens: [Int32], _ index: Int, order: Int) -> Double? {
    let token = tokens[index]
    switch order {
    case 1: return Double(unigrams[token] ?? 0) / Double(total)
    case 2:
      guard index >= 1, let histories = bigramHistories[tokens[index - 1]] else { return nil }
      return Double(bigrams[Self.key(tokens[index - 1], token)] ?? 0) / Double(histories)
    default:
      guard index >= 2, let histories = trigramHistories[Self.key(tokens[index - 2], tokens[index - 1])] else { return nil }
      return Double(trigrams[Self.key(tokens[index - 2], tokens[index - 1], token)] ?? 0) / Double(histories)
    }
  }

  /// P_order(tokens[index] | up to order - 1 tokens before it). order: 0...3.
  public func probability(_ tokens: [Int32], at index: Int, order: Int) -> Double {
    var value = 1 / Double(vocabularySize)
    for level in stride(from: 1, through: order, by: 1) {
      if let frequency = frequency(tokens, index, order: level) {
        value = weights[level - 1] * frequency + (1 - weights[level - 1]) * value
      }
    }
    return value
  }

  private mutating func fit(_ heldOut: [[Int32]]) {
    for order in 1...3 {
      var pairs: [(frequency: Double, lower: Double)] = []
      for tokens in heldOut {
        for index in tokens.indices.dropFirst() {
          if let frequency = frequency(tokens, index, order: order) {
            pairs.append((frequency, probability(tokens, at: index, order: order - 1)))
          }
        }
      }
      guard !pairs.isEmpty else { continue }
      var weight = 0.5
      for _ in 0..<100 {
        let share = pairs.reduce(0.0) { sum, pair in
          let upper = weight * pair.frequency
          return sum + upper / (upper + (1 - weight) * pair.lower)
        }
        // Kept off the ends, so that no token gets probability 0.
        let next = min(max(share / Double(pairs.count), 1e-6), 1 - 1e-6)
        let change = abs(next - weight)
        weight = next
        if change < 1e-9 { break }
      }
      weights[order - 1] = weight
    }
  }

  /// Sum of -ln P_order over tokens 1 ..< count of every sequence, and their number.
  public func negativeLogLikelihood(_ sequences: [[Int32]], order: Int) -> (sum: Double, tokens: Int) {
    var result = (sum: 0.0, tokens: 0)
    for tokens in sequences {
      for index in tokens.indices.dropFirst() {
        result.sum -= log(probability(tokens, at: index, order: order))
        result.tokens += 1
      }
    }
    return result
  }
}
