// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
import Foundation
import Testing

/// Instruction sets that this machine has.
private let available = (0...Int(pk_decode_isa_best())).map { Int32($0) }
private let packed = [Int32(PK_WEIGHT_I8), Int32(PK_WEIGHT_I4)]

/// Sums of uniform numbers: near a normal distribution of deviation 1.
private func random(_ count: Int, seed: UInt64) -> [Float] {
  var generator = SplitMix64(seed: seed)
  return (0..<count).map { _ in Float((0..<12).reduce(-6.0) { sum, _ in sum + generator.nextUnit() }) }
}

/// A matrix [rows, columns] in panels, at an address that is a multiple of 4 only.
private final class Panels {
  let type: Int32
  let rows: Int
  let columns: Int
  private let memory: UnsafeMutableRawPointer
  var start: UnsafeMutableRawPointer { memory + 4 }

  init(_ type: Int32, _ w: [Float], rows: Int, columns: Int, isa: Int32 = pk_decode_isa_best()) {
    self.type = type
    self.rows = rows
    self.columns = columns
    let size = pk_panel_bytes(type, columns)
    memory = .allocate(byteCount: (rows + 15) / 16 * size + 4, alignment: 64)
    w.withUnsafeBufferPointer { w in
      guard let base = w.baseAddress else { return }
      for first in stride(from: 0, to: rows, by: 16) {
        pk_pack_panel(isa, type, base + first * columns, min(16, rows - first), columns, memory + 4 + first / 16 * size)
      }
    }
  }

  deinit { memory.deallocate() }

  var bytes: [UInt8] { Array(UnsafeRawBufferPointer(start: start, count: (rows + 15) / 16 * pk_panel_bytes(type, columns))) }

  /// The weights as they are multiplied.
  var values: [Float] {
    var all = [Float](repeating: 0, count: rows * columns)
    let size = pk_panel_bytes(type, columns)
    for first in stride(from: 0, to: rows, by: 16) {
      let count = min(16, rows - first)
      var part = [Float](repeating: 0, count: count * columns)
      pk_unpack_panel(type, start + first / 16 * size, count, columns, &part)
      all.replaceSubrange(first * columns..<(first + count) * columns, with: part)
    }
    return all
  }

  func linear(_ isa: Int32, _ x: [Float], _ count: Int, bias: [Float]? = nil, _ ranges: [Range<Int>]? = nil) -> [Float] {
    let input = Inputs(isa, x, count, columns)
    var y = [Float](repeating: -7, count: count * rows)
    for range in ranges ?? [0..<rows] {
      pk_linear_packed(
        isa, type, input.codes, input.scales, input.starts, start, bias, &y, count, rows, columns, range.lowerBound, range.upperBound)
    }
    return y
  }
}

/// Rows [count, columns] in 8 bits.
private struct Inputs {
  var codes: [Int8]
  var scales: [Float]
  var starts: [Int32]

  init(_ isa: Int32, _ x: [Float], _ count: Int, _ columns: Int, factors: [Float]? = nil) {
    let groups = count * ((columns + 31) / 32)
    codes = Array(repeating: 0, count: groups * 32)
    scales = Array(repeating: 0, count: groups)
    starts = Array(repeating: 0, count: groups)
    pk_quantize_rows(isa, x, count, columns, factors, &codes, &scales, &starts)
  }
}

/// Equal bits; one NaN is as good as another.
private func same(_ a: [Float], _ b: [Float]) -> Bool {
  a.count == b.count && zip(a, b).allSatisfy { $0.bitPattern == $1.bitPattern || ($0.isNaN && $1.isNaN) }
}

@Suite struct PackedKernelTests {
  @Test(arguments: [1, 31, 32, 33, 64, 97, 320]) func everyInstructionSetGivesTheSameBits(inner: Int) {
    for type in packed {
      for outputs in [1, 7, 16, 33, 65, 83] {
        var w = random(outputs * inner, seed: UInt64(inner * 100 + outputs)).map { $0 * 0.02 }
        let bias = random(outputs, seed: 3)
        for isBroken in [false, true] {
          if isBroken {
            w[w.count / 2] = Float(bitPattern: 700)
            w[w.count - 1] = .infinity
            w[inner / 2] = .nan
          }
          let panels = Panels(type, w, rows: outputs, columns: inner)
          for rows in [1, 2, 4, 7, 13] {
            var x = random(rows * inner, seed: UInt64(rows))
            if isBroken { x[rows / 2 * inner + inner / 3] = rows % 2 == 0 ? .nan : -.infinity }
            let expected = panels.linear(0, x, rows, bias: bias)
            for isa in available.dropFirst() {
              #expect(same(expected, panels.linear(isa, x, rows, bias: bias)), "isa \(isa) type \(type): \(rows) x \(outputs) x \(inner)")
            }
            guard isBroken else { continue }
            // What is not finite spoils its own outputs and rows only.
            #expect(expected[0].isNaN && expected[rows / 2 * outputs + outputs / 2].isNaN)
            #expect(outputs < 4 || rows < 3 || expected[outputs / 4 + 1].isFinite)
          }
        }
      }
    }
  }

  /// Ordinary numbers, and those at the edges of what floats, f16 scales and rounding do.
  @Test func everyInstructionSetPacksTheSameBytes() {
    let odd: [Float] = [
      .nan, .infinity, -.infinity, 0, -0.0, .leastNonzeroMagnitude, 1e-30, -1e-30, 9.9e-31, .greatestFiniteMagnitude, -.greatestFiniteMagnitude, 1e-38, 1e30,
    ]
    var generator = SplitMix64(seed: 17)
    for columns in [1, 7, 31, 32, 33, 64, 100, 257] {
      for round in 0..<40 {
        let rows = 1 + round % 16
        var w = random(rows * columns, seed: UInt64(columns * 100 + round)).map { $0 * (round % 3 == 0 ? 0.02 : 1) }
        switch round % 8 {
        // Halves, where rounding decides; two extremes of one size; few levels.
        case 1: w = w.map { ($0 * 4).rounded() / 2 }
        case 2: w = w.map { $0 < 0 ? -1 : 1 }
        case 3: w = w.map { Float(Int($0 * 60)) - 0.5 }
        // Rows with groups of very different sizes.
        case 4: for index in w.indices { w[index] *= pow(10, Float(index / 32 % 12) * 3 - 30) }
        case 5: for _ in 0...w.count / 40 { w[Int(generator.next() % UInt64(w.count))] = odd[Int(generator.next() % UInt64(odd.count))] }
        case 6: w = w.map { _ in 0 }
        default: break
        }
        for type in packed {
          let expected = Panels(type, w, rows: rows, columns: columns, isa: 0).bytes
          for isa in available.dropFirst() {
            #expect(Panels(type, w, rows: rows, columns: columns, isa: isa).bytes == expected, "isa \(isa) type \(type) columns \(columns) round \(round)")
          }
        }
      }
    }
  }

  @Test(arguments: [1, 31, 32, 33, 64, 97, 320]) func rotationsKeepProductsAndHaveTheSameBitsEverywhere(inner: Int) {
    let (outputs, rows) = (5, 3)
    let x = random(rows * inner, seed: 31)
    let w = random(outputs * inner, seed: 32)
    let sizes = random(inner, seed: 33).map { exp2($0.rounded()) }
    let factors = sizes.enumerated().map { 1 / $1 / ($0 < inner / 32 * 32 ? 32 : 1) }
    func rotated(_ isa: Int32, _ x: [Float], _ count: Int, _ factors: [Float]) -> [Float] {
      var out = x
      pk_rotate_rows(isa, x, count, inner, factors, &out)
      return out
    }
    let (left, right) = (rotated(0, x, rows, factors), rotated(0, w, outputs, sizes))
    for m in 0..<rows {
      for n in 0..<outputs {
        func product(_ x: [Float], _ w: [Float]) -> Double { (0..<inner).reduce(0.0) { $0 + Double(x[m * inner + $1]) * Double(w[n * inner + $1]) } }
        #expect(abs(product(x, w) - product(left, right)) < 1e-4)
      }
    }
    var broken = x
    broken[inner / 2] = .infinity
    broken[rows * inner - 1] = .nan
    let expected = Inputs(0, left, rows, inner)
    for isa in available {
      #expect(same(rotated(isa, x, rows, factors), left) && same(rotated(isa, broken, rows, factors), rotated(0, broken, rows, factors)))
      let inputs = Inputs(isa, x, rows, inner, factors: factors)
      #expect(inputs.codes == expected.codes && same(inputs.scales, expected.scales) && inputs.starts == expected.starts)
      #expect(same(Inputs(isa, broken, rows, inner, factors: factors).scales, Inputs(0, broken, rows, inner, factors: factors).scales))
    }
    // What is large in one input is spread over its group.
    guard inner == 64 else { return }
    var one = [Float](repeating: 0, count: 64)
    one[5] = 32
    let spread = rotated(0, one, 1, [Float](repeating: 1 / 32, count: 64))
    #expect(spread[..<32].allSatisfy { abs($0) == 1 } && spread[32...].allSatisfy { $0 == 0 })
  }

  @Test func rowsAndRangesOfOutputsStandAlone() {
    let (inner, outputs) = (200, 150)
    let w = random(outputs * inner, seed: 5)
    let x = random(9 * inner, seed: 6)
    for type in packed {
      let panels = Panels(type, w, rows: outputs, columns: inner)
      for isa in available {
        let whole = panels.linear(isa, x, 9)
        #expect(same(whole, panels.linear(isa, x, 9, [0..<16, 16..<80, 80..<150])))
        for row in 0..<9 {
          let alone = panels.linear(isa, Array(x[row * inner..<(row + 1) * inner]), 1, [0..<96, 96..<150])
          #expect(same(alone, Array(whole[row * outputs..<(row + 1) * outputs])), "isa \(isa) type \(type) row \(row)")
        }
      }
    }
  }

  @Test func productsAreThoseOfTheRoundedNumbers() {
    let (inner, outputs, rows) = (130, 21, 3)
    let x = random(rows * inner, seed: 7)
    let input = Inputs(0, x, rows, inner)
    for type in packed {
      let panels = Panels(type, random(outputs * inner, seed: 8), rows: outputs, columns: inner)
      let values = panels.values
      let y = panels.linear(available.last ?? 0, x, rows)
      for m in 0..<rows {
        for n in 0..<outputs {
          let sum = (0..<inner).reduce(0.0) { sum, k in
            let group = m * 5 + k / 32
            return sum + Double(values[n * inner + k]) * Double(input.codes[group * 32 + k % 32]) * Double(input.scales[group])
          }
          #expect(abs(Double(y[m * outputs + n]) - sum) < 2e-5, "type \(type) row \(m) output \(n)")
        }
      }
    }
    let off = zip(x.indices, x).map { index, value in
      let group = index / inner * 5 + index % inner / 32
      return abs(value - Float(input.codes[group * 32 + index % inner % 32]) * input.scales[group])
    }
    #expect((off.max() ?? 1) <= 0.5001 * (input.scales.max() ?? 0))
  }

  /// Squared errors of normal numbers. For comparison: 4 bits in equal steps, the largest of a group at its end, leave 7.4e-3.
  @Test(arguments: [(Int32(PK_WEIGHT_I8), 3e-5), (Int32(PK_WEIGHT_I4), 5.6e-3)]) func weightsAreNearWhatTheyWere(type: Int32, bar: Double) {
    for scale in [Float(1), 1e-9, 3e7] {
      let w = random(64 * 512, seed: 9).map { $0 * scale }
      let values = Panels(type, w, rows: 64, columns: 512).values
      let error = zip(w, values).reduce(0.0) { $0 + pow(Double($1.0) - Double($1.1), 2) }
      #expect(error / w.reduce(0.0) { $0 + Double($1) * Double($1) } < bar, "\(error) at \(scale)")
    }
  }

  @Test func extremeWeights() {
    for type in packed {
      var w = [Float](repeating: 0, count: 6 * 64)
      for column in 0..<64 {
        w[column] = 3  // one number: exact
        w[64 + column] = column == 40 ? 1e30 : 1e-20  // far apart in two groups
        w[128 + column] = Float(bitPattern: 700)
        w[192 + column] = column % 2 == 0 ? 3e38 : -3e38
        w[256 + column] = column < 32 ? -1 : 0
      }
      let values = Panels(type, w, rows: 6, columns: 64).values
      #expect(values[..<64].allSatisfy { abs($0 - 3) < 0.003 })
      #expect(abs(values[64 + 40] / 1e30 - 1) < 0.003 && values[64] == 0)
      #expect(values[128..<192].allSatisfy { $0 == 0 } && values[320...].allSatisfy { $0 == 0 })
      #expect(values[192..<256].allSatisfy { !$0.isNaN })
      #expect(values[256..<288].allSatisfy { abs($0 + 1) < 0.001 } && values[288..<320].allSatisfy { $0 == 0 })
    }
  }

  @Test func storedCodesStayAsTheyAre() {
    let columns = 96
    let codes = (0..<3 * columns).map { Int8(truncatingIfNeeded: $0 * 37 - 128) }
    let scales = (0..<9).map { UInt16(0x3000 + $0 * 77) }
    let table = (0..<16).map { Int8($0 - 8) }
    for type in packed {
      let stored = type == Int32(PK_WEIGHT_I8) ? codes : codes.map { $0 & 15 }
      var panel = [UInt8](repeating: 0, count: pk_panel_bytes(type, columns))
      pk_pack_codes(type, stored, scales, table, 3, columns, &panel)
      var values = [Float](repeating: 0, count: 3 * columns)
      pk_unpack_panel(type, panel, 3, columns, &values)
      var wide = [Float](repeating: 0, count: 9)
      pk_f16_to_f32(scales, &wide, 9)
      for index in values.indices {
        let number = type == Int32(PK_WEIGHT_I8) ? stored[index] : table[Int(stored[index])]
        #expect(values[index] == Float(number) * wide[index / 32])
      }
    }
  }

  @Test func bf16IsRoundedToTheNearestEvenNumber() {
    let cases: [(UInt32, UInt16)] = [
      (0x3F80_0000, 0x3F80), (0x3F80_8000, 0x3F80), (0x3F81_8000, 0x3F82), (0x3F80_8001, 0x3F81), (0x7F7F_FFFF, 0x7F80), (0x7F80_0000, 0x7F80),
      (0x7F80_0001, 0x7FC0), (0x8000_0001, 0x8000),
    ]
    var out = [UInt16](repeating: 0, count: cases.count)
    pk_f32_to_bf16(cases.map { Float(bitPattern: $0.0) }, &out, cases.count)
    #expect(out == cases.map(\.1))
  }
}
