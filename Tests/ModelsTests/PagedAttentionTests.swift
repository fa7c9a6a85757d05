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

/// The paged cache of one layer, in memory that held something else before.
private final class LayerMemory {
  let cache: pk_kv_cache
  private let memory: [UnsafeMutableRawPointer]

  init(_ type: Int32, blocks: Int, heads: Int, size: Int) {
    var memory: [UnsafeMutableRawPointer] = []
    /// Whatever an earlier owner left in a block must not be seen, not even NaN.
    func stale(_ count: Int) -> UnsafeMutableRawPointer {
      let buffer = UnsafeMutableRawPointer.allocate(byteCount: count, alignment: 64)
      buffer.initializeMemory(as: UInt8.self, repeating: 0xFF, count: count)
      memory.append(buffer)
      return buffer
    }
    let numbers = blocks * 16 * heads * size * (type == Int32(PK_KV_F32) ? 4 : type == Int32(PK_KV_BF16) ? 2 : 1)
    func scales() -> UnsafeMutablePointer<Float> { stale(blocks * 16 * heads * 4).assumingMemoryBound(to: Float.self) }
    cache = pk_kv_cache(
      type: type, kv_heads: heads, head: size, keys: stale(numbers), values: stale(numbers), key_scales: scales(), value_scales: scales())
    self.memory = memory
  }

  deinit {
    for buffer in memory { buffer.deallocate() }
  }

  func store(_ keys: [Float], _ values: [Float], _ slots: [Int64]) {
    withUnsafePointer(to: cache) { pk_kv_store($0, keys, values, slots, slots.count) }
  }
}

@Suite struct PagedAttentionTests {
  /// What stored numbers are, by a plain loop.
  private static func kept(_ x: [Float], _ type: Int32, size: Int) -> [Float] {
    switch type {
    case Int32(PK_KV_BF16):
      var bits = [UInt16](repeating: 0, count: x.count)
      pk_f32_to_bf16(x, &bits, x.count)
      return bits.map { Float(bitPattern: UInt32($0) << 16) }
    case Int32(PK_KV_I8):
      return stride(from: 0, to: x.count, by: size).flatMap { start -> [Float] in
        let most = x[start..<start + size].map(abs).max() ?? 0
        return x[start..<start + size].map { most > 0 ? ($0 * (127 / most)).rounded(.toNearestOrEven) * (most / 127) : 0 }
      }
    default: return x
    }
  }

  /// Against f64; what rounding the stored numbers costs is on both sides.
  @Test(
    arguments: [(4, 2, 8), (6, 1, 10), (3, 3, 64), (2, 1, 130)],
    [(0, 0, Int.max), (1, 0, 7), (2, 0, Int.max), (0, 0.5, 20), (2, 0.5, 20)] as [(Int, Double, Int)]
  )
  func attentionMatchesAPlainLoop(shape: (heads: Int, kvHeads: Int, size: Int), form: (type: Int, cap: Double, window: Int)) {
    let (heads, kvHeads, size) = shape
    let type = Int32(form.type)
    let tokens = 39
    let keys = random(tokens * kvHeads * size, seed: 8)
    let values = random(tokens * kvHeads * size, seed: 9)
    let query = random(tokens * heads * size, seed: 10)
    let blocks: [Int32] = [4, 0, 2]
    let layer = LayerMemory(type, blocks: 5, heads: kvHeads, size: size)
    layer.store(keys, values, (0..<tokens).map { Int64(blocks[$0 / 16]) * 16 + Int64($0 % 16) })
    let lengths = (0..<tokens).map { Int32($0 + 1) }
    let tables = [Int64](repeating: 0, count: tokens)
    let scale = 1 / Float(size).squareRoot()
    let (keptKeys, keptValues) = (Self.kept(keys, type, size: size), Self.kept(values, type, size: size))
    var cache = layer.cache
    var plan = pk_attention_plan(heads: heads, scale: scale, soft_cap: Float(form.cap), window: form.window)
    for isa in available {
      var out = [Float](repeating: 0, count: tokens * heads * size)
      pk_paged_attention(isa, &cache, &plan, query, lengths, tables, blocks, &out, 0, tokens, 0, kvHeads)
      for row in [0, 1, 15, 16, 17, 38] {
        let visible = max(0, row - min(form.window, row + 1) + 1)...row
        for head in 0..<heads {
          let kv = head / (heads / kvHeads)
          let scores = visible.map { t -> Double in
            let raw =
              (0..<size).reduce(0.0) { sum, d in
                sum + Double(query[(row * heads + head) * size + d]) * Double(keptKeys[(t * kvHeads + kv) * size + d])
              } * Double(scale)
            return form.cap > 0 ? tanh(raw / form.cap) * form.cap : raw
          }
          let weights = scores.map { exp($0 - (scores.max() ?? 0)) }
          let total = weights.reduce(0, +)
          for d in 0..<size {
            let expected = zip(visible, weights).reduce(0.0) { $0 + $1.1 / total * Double(keptValues[($1.0 * kvHeads + kv) * size + d]) }
            #expect(abs(Double(out[(row * heads + head) * size + d]) - expected) < 1e-5)
          }
        }
      }
    }
  }

  /// Rows of two sequences of different lengths, through a window or not: what a row gets in any company is what it gets alone, to the bit, and what
  /// plain C computes; by heads or all together.
  @Test(arguments: [(4, 2, 8), (6, 1, 10), (9, 3, 64), (8, 8, 128), (5, 1, 96)], [(3, 0), (20, 1), (Int.max, 2), (Int.max, 0)])
  func attentionOfARowDoesNotDependOnItsCompany(shape: (heads: Int, kvHeads: Int, size: Int), form: (window: Int, type: Int)) {
    let (heads, kvHeads, size) = shape
    let lengths = (1...39).map { Int32($0) } + (10...37).map { Int32($0) }
    let rows = lengths.count
    let blocks: [Int32] = [4, 0, 2, 1, 5, 3]
    let tables = lengths.indices.map { Int64($0 < 39 ? 0 : 3) }
    let query = random(rows * heads * size, seed: 21)
    func slot(_ token: Int, from table: Int) -> Int64 { Int64(blocks[table + token / 16]) * 16 + Int64(token % 16) }
    let slots = (0..<39).map { slot($0, from: 0) } + (0..<37).map { slot($0, from: 3) }
    let stored = random(slots.count * kvHeads * size, seed: 22)
    let layer = LayerMemory(Int32(form.type), blocks: 6, heads: kvHeads, size: size)
    layer.store(stored, stored.reversed(), slots)
    var cache = layer.cache
    var plan = pk_attention_plan(heads: heads, scale: 0.3, soft_cap: form.window == 20 ? 2 : 0, window: form.window)
    func attend(_ isa: Int32, _ rows: Range<Int>, heads: Range<Int>, into out: inout [Float]) {
      pk_paged_attention(
        isa, &cache, &plan, query, lengths, tables, blocks, &out, rows.lowerBound, rows.upperBound, heads.lowerBound, heads.upperBound)
    }
    var plain = [Float](repeating: 0, count: rows * heads * size)
    attend(0, 0..<rows, heads: 0..<kvHeads, into: &plain)
    // With fused multiplication all give the same bits, whatever their width.
    var fused: [Float]?
    for isa in available {
      var whole = [Float](repeating: 0, count: plain.count)
      attend(isa, 0..<rows, heads: 0..<kvHeads, into: &whole)
      if isa > 0 {
        #expect(fused == nil || fused == whole)
        fused = whole
      }
      let worst = zip(whole, plain).map { abs($0 - $1) }.max() ?? .nan
      #expect(worst < 1e-5, "isa \(isa): \(worst)")
      for width in [1, 2, 3, 7, 30] {
        var parts = [Float](repeating: 0, count: plain.count)
        for first in stride(from: 0, to: rows, by: width) { attend(isa, first..<min(rows, first + width), heads: 0..<kvHeads, into: &parts) }
        #expect(parts == whole, "isa \(isa), \(width) rows at once")
      }
      var parts = [Float](repeating: 0, count: plain.count)
      for head in 0..<kvHeads { attend(isa, 0..<rows, heads: head..<head + 1, into: &parts) }
      #expect(parts == whole, "isa \(isa), heads one by one")
    }
  }

  /// In 8 bits a token of zeros stays zeros, a tiny one is nothing, and one that is not finite is not taken for a number.
  @Test func unusualNumbersInEightBits() {
    let size = 4
    let tokens: [([Float], Float)] = [([0, 0, 0, 0], 0), ([1e-38, 0, 0, -1e-38], 0), ([1, .infinity, 0, 0], .nan), ([1, .nan, 0, 0], .nan)]
    for (token, expected) in tokens {
      let layer = LayerMemory(Int32(PK_KV_I8), blocks: 1, heads: 1, size: size)
      layer.store([Float](repeating: 1, count: size), token, [0])
      var cache = layer.cache
      var plan = pk_attention_plan(heads: 1, scale: 1, soft_cap: 0, window: .max)
      for isa in available {
        var out = [Float](repeating: 7, count: size)
        pk_paged_attention(isa, &cache, &plan, [1, 1, 1, 1], [1], [0], [0], &out, 0, 1, 0, 1)
        #expect(out.allSatisfy { expected.isNaN ? $0.isNaN : $0 == 0 }, "\(token): \(out)")
      }
    }
  }
}
