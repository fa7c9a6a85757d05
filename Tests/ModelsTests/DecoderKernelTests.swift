// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
import Foundation
import Testing

/// Instruction sets that this machine has.
private let available = (0...Int(pk_decode_isa_best())).map { Int32($0) }

private func random(_ count: Int, seed: UInt64) -> [Float] {
  var generator = SplitMix64(seed: seed)
  return (0..<count).map { _ in Float(generator.nextUnit() * 2 - 1) }
}

@Suite struct DecoderKernelTests {
  @Test(arguments: [(1, 1, 1), (1, 9, 17), (2, 8, 16), (3, 5, 31), (5, 13, 100), (7, 33, 129), (16, 4, 64)])
  func linearMatchesAPlainLoop(rows: Int, outputs: Int, inner: Int) {
    let x = random(rows * inner, seed: 1)
    let w = random(outputs * inner, seed: 2)
    let bias = random(outputs, seed: 3)
    let half = w.map { UInt16($0.bitPattern >> 16) }
    let widened = half.map { Float(bitPattern: UInt32($0) << 16) }
    for isa in available {
      for (type, weights) in [(Int32(PK_WEIGHT_F32), w), (Int32(PK_WEIGHT_BF16), widened)] {
        var y = [Float](repeating: .nan, count: rows * outputs)
        if type == Int32(PK_WEIGHT_F32) {
          pk_linear(isa, type, x, w, bias, &y, rows, outputs, inner, 0, outputs)
        } else {
          pk_linear(isa, type, x, half, bias, &y, rows, outputs, inner, 0, outputs)
        }
        for m in 0..<rows {
          for n in 0..<outputs {
            var sum = Double(bias[n])
            for k in 0..<inner { sum += Double(x[m * inner + k]) * Double(weights[n * inner + k]) }
            // f32 sums of up to 129 terms below 1: rounding stays under 1e-5.
            #expect(abs(Double(y[m * outputs + n]) - sum) < 1e-5, "isa \(isa) type \(type) row \(m) column \(n)")
          }
        }
      }
    }
  }

  @Test(arguments: [15, 64, 100, 257]) func aRowDoesNotDependOnItsNeighbours(inner: Int) {
    let outputs = 37
    let x = random(7 * inner, seed: 4)
    let w = random(outputs * inner, seed: 5)
    let half = w.map { UInt16($0.bitPattern >> 16) }
    for isa in available {
      for type in [Int32(PK_WEIGHT_F32), Int32(PK_WEIGHT_BF16)] {
        func apply(_ rows: [Float], _ count: Int) -> [Float] {
          var y = [Float](repeating: 0, count: count * outputs)
          if type == Int32(PK_WEIGHT_F32) {
            pk_linear(isa, type, rows, w, nil, &y, count, outputs, inner, 0, outputs)
          } else {
            pk_linear(isa, type, rows, half, nil, &y, count, outputs, inner, 0, outputs)
          }
          return y
        }
        let together = apply(x, 7)
        for row in 0..<7 {
          let alone = apply(Array(x[row * inner..<(row + 1) * inner]), 1)
          #expect(alone == Array(together[row * outputs..<(row + 1) * outputs]), "isa \(isa) type \(type) row \(row)")
        }
      }
    }
  }

  @Test func columnRangesGiveTheSameBits() {
    let (inner, outputs) = (50, 21)
    let x = random(inner, seed: 6)
    let w = random(outputs * inner, seed: 7)
    for isa in available {
      var whole = [Float](repeating: 0, count: outputs)
      pk_linear(isa, 0, x, w, nil, &whole, 1, outputs, inner, 0, outputs)
      var parts = [Float](repeating: 0, count: outputs)
      pk_linear(isa, 0, x, w, nil, &parts, 1, outputs, inner, 0, 5)
      pk_linear(isa, 0, x, w, nil, &parts, 1, outputs, inner, 5, outputs)
      #expect(whole == parts)
    }
  }

  @Test func logitReductions() {
    let x = random(1000, seed: 11).map { $0 * 20 }
    let exact = log(x.reduce(0.0) { $0 + exp(Double($1)) })
    #expect(abs(pk_log_sum_exp(x, x.count) - exact) < 1e-5)
    var tied: [Float] = [1, 3, .nan, 3, 2]
    #expect(pk_argmax(tied, 5) == 1)
    tied = [.nan, -.infinity, -.infinity]
    #expect(pk_argmax(tied, 3) == 1)
    let values = random(500, seed: 12).map { ($0 * 20).rounded() }
    let sorted = (0..<500).sorted { values[$0] != values[$1] ? values[$0] > values[$1] : $0 < $1 }.map { Int32($0) }
    for k in [1, 2, 7, 499, 500] {
      var ids = [Int32](repeating: 0, count: k)
      pk_top_k(values, 500, k, &ids)
      #expect(ids == Array(sorted[..<k]))
    }
    let even = [Float](repeating: 0, count: 4)
    #expect([0, 0.3, 0.51, 0.99].map { pk_draw(even, 4, log(4), $0) } == [0, 1, 2, 3])
  }

  /// Lengths around those of the vectors, NaN anywhere; draws in the middle of each probability, where no rounding decides.
  @Test(arguments: [1, 5, 63, 64, 65, 128, 200, 1000])
  func largestAndDrawsOfAnyLength(count: Int) {
    for seed in 20..<30 {
      var x = random(count, seed: UInt64(seed)).map { ($0 * 10).rounded() }
      let top = x.enumerated().max { $0.element != $1.element ? $0.element < $1.element : $0.offset > $1.offset }
      #expect(pk_argmax(x, count) == top?.offset)
      let logSum = pk_log_sum_exp(x, count)
      var before = 0.0
      for (id, value) in x.enumerated() {
        let part = exp(Double(value) - logSum)
        // f32 exponentials: the sum of those in front is known to some 1e-6.
        if part > 1e-4 { #expect(pk_draw(x, count, logSum, before + part / 2) == id) }
        before += part
      }
      #expect(pk_draw(x, count, logSum, 2) == x.indices.last)
      guard count > 2, let place = top?.offset else { continue }
      for other in x.indices where other != place && other % 3 == 0 { x[other] = .nan }
      #expect(pk_argmax(x, count) == place)
    }
    let lowest = [Float](repeating: -.infinity, count: count)
    #expect(pk_argmax(lowest, count) == 0)
    #expect(pk_log_sum_exp(lowest, count) == -.infinity)
    #expect(pk_argmax([Float](repeating: .nan, count: count), count) == 0)
  }

  @Test func normRopeAndGate() {
    let x = random(2 * 19, seed: 13)
    let gain = random(19, seed: 14)
    var y = [Float](repeating: 0, count: 38)
    pk_rms_norm(x, gain, &y, 2, 19, 1e-5)
    for r in 0..<2 {
      let mean = (0..<19).reduce(0.0) { $0 + pow(Double(x[r * 19 + $1]), 2) } / 19
      for i in 0..<19 {
        #expect(abs(Double(y[r * 19 + i]) - Double(x[r * 19 + i]) / (mean + 1e-5).squareRoot() * Double(gain[i])) < 1e-5)
      }
    }
    var gate: [Float] = [-100, -2, 0, 0.5, 90]
    let up: [Float] = [1, 2, 3, 4, 5]
    let expected = zip(gate, up).map { Double($0) / (1 + exp(-Double($0))) * Double($1) }
    pk_swiglu(&gate, up, 5)
    for (a, b) in zip(gate, expected) { #expect(abs(Double(a) - b) <= 1e-6 * max(1, abs(b))) }
  }
}
