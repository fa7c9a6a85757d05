// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
import Foundation
import Testing

private func random(_ count: Int, seed: UInt64) -> [Float] {
  var generator = SplitMix64(seed: seed)
  return (0..<count).map { _ in Float(generator.nextUnit() * 2 - 1) }
}

/// A matrix of `outputs` rows in panels.
private func packed(_ w: [Float], _ outputs: Int, _ inner: Int) -> [UInt8] {
  let size = pk_rows_panel_bytes(inner)
  let height = Int(PK_PANEL)
  var panels = [UInt8](repeating: 0, count: (outputs + height - 1) / height * size)
  panels.withUnsafeMutableBytes { panels in
    w.withUnsafeBufferPointer { w in
      for first in stride(from: 0, to: outputs, by: height) {
        pk_rows_pack(w.baseAddress! + first * inner, min(height, outputs - first), inner, panels.baseAddress! + first / height * size)
      }
    }
  }
  return panels
}

private struct Codes {
  var codes: [Int8]
  var scales: [Float]
  var starts: [Int32]

  init(_ x: [Float], _ rows: Int, _ inner: Int) {
    codes = Array(repeating: 99, count: rows * ((inner + 31) / 32 * 32))
    scales = Array(repeating: .nan, count: rows)
    starts = Array(repeating: 99, count: rows)
    pk_rows_quantize(x, rows, inner, &codes, &scales, &starts)
  }
}

@Suite struct RowKernelTests {
  private let sets = (0...Int(pk_decode_isa_best())).map { Int32($0) }

  @Test(arguments: [(1, 1, 1), (1, 17, 31), (3, 33, 32), (5, 64, 33), (6, 65, 100), (7, 130, 384), (13, 48, 1536)])
  func productsAreThoseOfTheRoundedNumbers(rows: Int, outputs: Int, inner: Int) {
    let x = random(rows * inner, seed: 1)
    let w = random(outputs * inner, seed: 2)
    let bias = random(outputs, seed: 3)
    let panels = packed(w, outputs, inner)
    let c = Codes(x, rows, inner)
    let width = (inner + 31) / 32 * 32
    var results: [[Float]] = []
    for isa in sets {
      var y = [Float](repeating: .nan, count: rows * outputs)
      pk_rows_linear(isa, c.codes, c.scales, c.starts, panels, bias, &y, rows, outputs, inner, 0, outputs)
      results.append(y)
    }
    #expect(results.allSatisfy { $0 == results[0] })
    var unpacked = [Float](repeating: 0, count: 16 * inner)
    for n in 0..<outputs {
      if n % 16 == 0 {
        panels.withUnsafeBytes { pk_rows_unpack($0.baseAddress! + n / 16 * pk_rows_panel_bytes(inner), min(16, outputs - n), inner, &unpacked) }
      }
      let largest = w[n * inner..<(n + 1) * inner].map { abs($0) }.max() ?? 0
      for i in 0..<inner { #expect(abs(unpacked[n % 16 * inner + i] - w[n * inner + i]) <= largest / 127 * 0.501) }
      for m in 0..<rows {
        var sum = Double(bias[n])
        for i in 0..<inner { sum += Double(c.codes[m * width + i]) * Double(c.scales[m]) * Double(unpacked[n % 16 * inner + i]) }
        // The product itself is exact; two roundings of the scales and one of the sum are left.
        #expect(abs(Double(results[0][m * outputs + n]) - sum) < 4e-7 * Double(inner), "row \(m) output \(n)")
      }
    }
  }

  @Test func rowsAndRangesStandAlone() {
    let (rows, outputs, inner) = (14, 100, 70)
    let c = Codes(random(rows * inner, seed: 4), rows, inner)
    let panels = packed(random(outputs * inner, seed: 5), outputs, inner)
    for isa in sets {
      var whole = [Float](repeating: 0, count: rows * outputs)
      pk_rows_linear(isa, c.codes, c.scales, c.starts, panels, nil, &whole, rows, outputs, inner, 0, outputs)
      var parts = [Float](repeating: 0, count: rows * outputs)
      for (first, last) in [(0, 16), (16, 64), (64, 100)] {
        pk_rows_linear(isa, c.codes, c.scales, c.starts, panels, nil, &parts, rows, outputs, inner, first, last)
      }
      #expect(parts == whole)
      for row in 0..<rows {
        var alone = [Float](repeating: 0, count: outputs)
        pk_rows_linear(
          isa, Array(c.codes[row * 96..<(row + 1) * 96]), [c.scales[row]], [c.starts[row]], panels, nil, &alone, 1, outputs, inner, 0, outputs)
        #expect(alone == Array(whole[row * outputs..<(row + 1) * outputs]))
      }
    }
  }

  /// What is no number stays none in its own row; zeros and tiny numbers are zero.
  @Test func numbersAtTheEnds() {
    let inner = 40
    var x = random(4 * inner, seed: 6)
    x[5] = .nan
    x[inner + 7] = .infinity
    for i in 0..<inner { x[2 * inner + i] = i % 2 == 0 ? 0 : 1e-35 }
    let c = Codes(x, 4, inner)
    #expect(c.scales[0].isNaN && c.scales[1].isNaN && c.scales[2] == 0 && c.scales[3] > 0)
    var w = random(16 * inner, seed: 7)
    w[3 * inner] = .nan
    let panels = packed(w, 16, inner)
    for isa in sets {
      var y = [Float](repeating: 0, count: 4 * 16)
      pk_rows_linear(isa, c.codes, c.scales, c.starts, panels, nil, &y, 4, 16, inner, 0, 16)
      #expect(y[0..<32].allSatisfy { $0.isNaN })
      #expect((0..<16).allSatisfy { $0 == 3 ? y[32 + $0].isNaN : y[32 + $0] == 0 })
      #expect((0..<16).allSatisfy { y[48 + $0].isNaN == ($0 == 3) })
    }
  }

  /// An activation on the way to 8 bits is the exact one to 2e-4, which seldom moves a number; each row has the bits that it has alone.
  @Test(arguments: [Int32(PK_GELU_ERF), Int32(PK_RELU), Int32(PK_GELU_TANH)], [1, 31, 64, 385]) func activatedRows(kind: Int32, inner: Int) {
    let rows = 5
    let x = random(rows * inner, seed: 11).map { $0 * 9 }
    var exact = x
    pk_activate(kind, &exact, exact.count)
    let stride = (inner + 31) / 32 * 32
    func activated(_ rows: Range<Int>) -> (x: [Float], codes: [Int8], scales: [Float], starts: [Int32]) {
      var y = Array(x[rows.lowerBound * inner..<rows.upperBound * inner])
      var codes = [Int8](repeating: 1, count: rows.count * stride)
      var scales = [Float](repeating: 0, count: rows.count)
      var starts = [Int32](repeating: 0, count: rows.count)
      pk_rows_activate(kind, &y, rows.count, inner, &codes, &scales, &starts)
      return (y, codes, scales, starts)
    }
    let whole = activated(0..<rows)
    #expect(zip(whole.x, exact).allSatisfy { abs($0 - $1) < 2.5e-4 })
    let plain = Codes(whole.x, rows, inner)
    #expect(whole.codes == plain.codes && whole.scales == plain.scales && whole.starts == plain.starts)
    for row in 0..<rows {
      let alone = activated(row..<row + 1)
      #expect(alone.codes == Array(whole.codes[row * stride..<(row + 1) * stride]) && alone.scales == [whole.scales[row]])
    }
  }
}

@Suite(.serialized) struct TextAttentionTests {
  /// Of each instruction set, against f64; scores are below 10, so that f32 rounding stays under 1e-5.
  @Test(arguments: [(1, 16), (2, 32), (15, 32), (16, 64), (17, 48), (37, 96), (70, 32)])
  func attentionMatchesAPlainLoop(count: Int, size: Int) {
    let stride = size * 2
    let (q, k, v) = (random(count * stride, seed: 1), random(count * stride, seed: 2), random(count * stride, seed: 3))
    defer { pk_encoder_set_isa(-1) }
    for isa in 0...2 {
      pk_encoder_set_isa(Int32(isa))
      var scratch = [Float](repeating: .nan, count: pk_text_attention_scratch(count, size))
      var out = [Float](repeating: 7, count: count * stride)
      pk_text_attention_f32(q, k, v, stride, &out, count, size, 0.5, &scratch)
      // Rounded to 8 bits of mantissa, scores move by some thousandths, and weights and values by as much.
      var rounded = [Float](repeating: 7, count: count * stride)
      scratch = scratch.map { _ in .nan }
      pk_text_attention_bf16(q, k, v, stride, &rounded, count, size, 0.5, &scratch)
      for i in 0..<count {
        let scores = (0..<count).map { j in (0..<size).reduce(0.0) { $0 + Double(q[i * stride + $1]) * Double(k[j * stride + $1]) } * 0.5 }
        let weights = scores.map { exp($0) }
        let total = weights.reduce(0, +)
        for d in 0..<size {
          let expected = (0..<count).reduce(0.0) { $0 + weights[$1] / total * Double(v[$1 * stride + d]) }
          #expect(abs(Double(out[i * stride + d]) - expected) < 1e-5)
          #expect(abs(Double(rounded[i * stride + d]) - expected) < 2e-2)
        }
        for answer in [out, rounded] { #expect(answer[i * stride + size..<(i + 1) * stride].allSatisfy { $0 == 7 }) }
      }
    }
  }

  @Test(arguments: [1, 7, 31, 32, 33, 64, 100, 384]) func normsInPlaceAreThoseBesideAndThoseOfAPlainLoop(count: Int) {
    let rows = 3
    let x = random(rows * count, seed: 5)
    let (gain, shift) = (random(count, seed: 6), random(count, seed: 7))
    for (g, s) in [(gain, shift), (gain, nil), (nil, nil)] as [([Float]?, [Float]?)] {
      var beside = [Float](repeating: .nan, count: rows * count)
      var place = x
      func norm(_ from: UnsafePointer<Float>, _ to: UnsafeMutablePointer<Float>) {
        switch (g, s) {
        case (let g?, let s?): pk_layer_norm(from, g, s, to, rows, count, 1e-5)
        case (let g?, nil): pk_layer_norm(from, g, nil, to, rows, count, 1e-5)
        default: pk_layer_norm(from, nil, nil, to, rows, count, 1e-5)
        }
      }
      norm(x, &beside)
      place.withUnsafeMutableBufferPointer { if let base = $0.baseAddress { norm(base, base) } }
      #expect(beside == place)
      for row in 0..<rows {
        let numbers = x[row * count..<(row + 1) * count].map { Double($0) }
        let mean = numbers.reduce(0, +) / Double(count)
        let deviation = (numbers.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(count) + 1e-5).squareRoot()
        for i in 0..<count {
          let expected = (numbers[i] - mean) / deviation * Double(g?[i] ?? 1) + Double(s?[i] ?? 0)
          #expect(abs(Double(place[row * count + i]) - expected) < 1e-5)
        }
      }
    }
  }
}
