// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
import Foundation
public import Grammar

/// Chooses the next token from logits. Order: bias, penalties, temperature, min-p, top-k, top-p, draw.
///
/// The random number of a position is a hash of (seed, position), so the same request gives the same tokens in any
/// batch and after moving to another engine.
public struct Sampler: Sendable {
  public let parameters: SamplingParameters
  /// How often each token was produced.
  private var produced: [Int32: Int] = [:]
  /// Every token of the prompt and the output; kept only for the repetition penalty.
  private var seen: Set<Int32> = []

  public init(_ parameters: SamplingParameters, prompt: [Int32]) {
    self.parameters = parameters
    if parameters.repetitionPenalty != 1 { seen = Set(prompt) }
  }

  /// Notes a produced token.
  public mutating func append(_ token: Int32) {
    if parameters.frequencyPenalty != 0 || parameters.presencePenalty != 0 { produced[token, default: 0] += 1 }
    if parameters.repetitionPenalty != 1 { seen.insert(token) }
  }

  /// A number in [0, 1) with 53 random bits.
  public static func unit(seed: UInt64, position: Int) -> Double {
    let key = SplitMix64.mix(seed &+ 0x9E37_79B9_7F4A_7C15)
    let word = SplitMix64.mix(key &+ UInt64(bitPattern: Int64(position)) &* 0xD1B5_4A32_D192_ED03)
    return Double(word >> 11) * 0x1.0p-53
  }

  /// The token for `position` (its index in the sequence). logits: [vocabulary] f32, changed in place.
  /// - Parameters:
  ///   - banned: tokens that cannot be drawn, whatever their bias.
  ///   - allowed: nothing but these can be drawn, when given.
  public func draw(
    _ logits: UnsafeMutableBufferPointer<Float>, position: Int, banned: Set<Int32> = [], allowed: (mask: TokenMask, ends: Set<Int32>)? = nil
  ) -> Int32 {
    guard let base = logits.baseAddress, logits.count > 0 else { preconditionFailure("no logits") }
    let count = logits.count
    for (id, bias) in parameters.logitBias { base[Int(id)] += Float(bias) }
    for id in banned { base[Int(id)] = -.infinity }
    if let allowed { Self.keep(allowed.mask, allowed.ends, base, count) }
    if parameters.repetitionPenalty != 1 {
      let penalty = Float(parameters.repetitionPenalty)
      for id in seen { base[Int(id)] = base[Int(id)] > 0 ? base[Int(id)] / penalty : base[Int(id)] * penalty }
    }
    for (id, times) in produced {
      base[Int(id)] -= Float(parameters.frequencyPenalty * Double(times) + parameters.presencePenalty)
    }
    let best = pk_argmax(base, count)
    if parameters.temperature == 0 { return Int32(best) }
    // Scaled around the largest, so that a tiny temperature cannot overflow.
    let largest = base[best]
    let scale = Float(1 / parameters.temperature)
    let floor = parameters.minP > 0 ? Float(log(parameters.minP)) : -Float.infinity
    for index in 0..<count {
      let scaled = (base[index] - largest) * scale
      base[index] = scaled >= floor ? scaled : -Float.infinity
    }
    let unit = Self.unit(seed: parameters.seed, position: position)
    let limit = parameters.topK > 0 ? min(parameters.topK, count) : count
    if parameters.topP >= 1 && limit == count {
      return Int32(pk_draw(base, count, pk_log_sum_exp(base, count), unit))
    }
    return drawFromBest(base, count: count, limit: limit, unit: unit)
  }

  /// Takes away what is in neither set.
  private static func keep(_ mask: TokenMask, _ ends: Set<Int32>, _ base: UnsafeMutablePointer<Float>, _ count: Int) {
    let kept = ends.map { ($0, base[Int($0)]) }
    mask.words.withUnsafeBufferPointer { words in
      for (index, word) in words.enumerated() where word != .max {
        let start = index * 64
        let end = min(start + 64, count)
        if word == 0 {
          for id in start..<max(start, end) { base[id] = -.infinity }
        } else {
          for id in start..<max(start, end) where word >> UInt64(id - start) & 1 == 0 { base[id] = -.infinity }
        }
      }
      for id in min(words.count * 64, count)..<count { base[id] = -.infinity }
    }
    for (id, value) in kept { base[Int(id)] = value }
  }

  /// Draws among the `limit` best tokens, cut where their probabilities reach top-p.
  private func drawFromBest(_ base: UnsafePointer<Float>, count: Int, limit: Int, unit: Double) -> Int32 {
    // Without top-k the nucleus is usually small, so it is looked for among growing numbers of candidates.
    var candidates = limit < count ? limit : min(256, count)
    let everything = limit < count ? 0 : exp(pk_log_sum_exp(base, count))
    while true {
      var ids = [Int32](repeating: 0, count: candidates)
      pk_top_k(base, count, candidates, &ids)
      let weights = ids.map { exp(Double(base[Int($0)])) }
      let total = limit < count ? weights.reduce(0, +) : everything
      var kept = 0
      var sum = 0.0
      while kept < candidates && (kept == 0 || sum < parameters.topP * total) && weights[kept] > 0 {
        sum += weights[kept]
        kept += 1
      }
      let reached = sum >= parameters.topP * total || kept < candidates || candidates == limit
      guard reached else {
        candidates = min(limit, candidates * 8)
        continue
      }
      var rest = unit * sum
      for index in 0..<kept {
        rest -= weights[index]
        if rest < 0 { return ids[index] }
      }
      return ids[max(kept - 1, 0)]
    }
  }
}
