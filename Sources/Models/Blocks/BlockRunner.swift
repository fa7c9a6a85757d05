// SPDX-License-Identifier: Apache-2.0

import CKernels
import Dispatch
import Foundation

/// Matrix products and feed-forward blocks over rows of tokens. Belongs to one thread at a time, which may be helped by others.
///
/// A row's numbers depend on that row only, bit for bit: not on the other rows, nor on the number of threads.
final class BlockRunner {
  let isa: Int32
  let threads: Int
  private var buffers: [UnsafeMutableBufferPointer<Float>?] = Array(repeating: nil, count: Slot.allCases.count)
  private var codes = PackedRows()

  private enum Slot: Int, CaseIterable { case gate, up, router, gathered, answer, shared, sharedGate }

  init(isa: Int32, threads: Int) {
    self.isa = isa
    self.threads = max(1, threads)
  }

  deinit {
    for buffer in buffers { buffer?.deallocate() }
    codes.deallocate()
  }

  private func scratch(_ slot: Slot, _ count: Int) -> UnsafeMutablePointer<Float> {
    if let buffer = buffers[slot.rawValue], buffer.count >= count, let base = buffer.baseAddress { return base }
    buffers[slot.rawValue]?.deallocate()
    let base = UnsafeMutablePointer<Float>.allocate(capacity: max(1, count))
    buffers[slot.rawValue] = UnsafeMutableBufferPointer(start: base, count: max(1, count))
    return base
  }

  /// y: [rows, matrix.rows] = x: [rows, matrix.columns] * matrix transposed + bias.
  func linear(_ matrix: Matrix, _ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>, rows: Int) {
    // A hand-over costs some 10 us: below about 4 million multiplications one thread is quicker.
    let parts = min(threads, matrix.rows / 16, max(1, rows * matrix.rows * matrix.columns >> 22))
    let isPacked = matrix.type >= Int32(PK_WEIGHT_I8)
    if isPacked { codes.quantize(isa, x, rows, matrix.columns) }
    let pieces = parts > 1 ? parts * 4 : 1
    parallel(pieces) { [isa, codes] piece in
      let first = matrix.rows * piece / pieces / 16 * 16
      let last = piece + 1 == pieces ? matrix.rows : matrix.rows * (piece + 1) / pieces / 16 * 16
      guard last > first else { return }
      if isPacked, let input = codes.codes, let scales = codes.scales, let starts = codes.starts {
        pk_linear_packed(
          isa, matrix.type, input, scales, starts, matrix.weights, matrix.bias, y, rows, matrix.rows, matrix.columns, first, last)
      } else {
        pk_linear(isa, matrix.type, x, matrix.weights, matrix.bias, y, rows, matrix.rows, matrix.columns, first, last)
      }
    }
  }

  /// Runs `body` for 0..<pieces on up to `threads` threads; returns when all are done.
  func parallel(_ pieces: Int, _ body: (Int) -> Void) {
    if threads == 1 || pieces == 1 {
      for piece in 0..<pieces { body(piece) }
    } else {
      withoutActuallyEscaping(body) { body in
        let shared = SharedBody(run: body)
        DispatchQueue.concurrentPerform(iterations: pieces) { shared.run($0) }
      }
    }
  }

  func run(_ mixer: Layer.Mixer, _ x: UnsafePointer<Float>, _ out: UnsafeMutablePointer<Float>, rows: Int) {
    switch mixer {
    case .dense(let block): run(block, x, out, rows: rows)
    case .experts(let experts): run(experts, x, out, rows: rows)
    }
  }

  /// out: [rows, hidden].
  func run(_ block: FeedForward, _ x: UnsafePointer<Float>, _ out: UnsafeMutablePointer<Float>, rows: Int) {
    let inner = rows * block.up.rows
    let up = scratch(.up, inner)
    linear(block.up, x, up, rows: rows)
    guard let gateMatrix = block.gate else {
      block.activation.apply(up, inner)
      linear(block.down, up, out, rows: rows)
      return
    }
    let gate = scratch(.gate, inner)
    linear(gateMatrix, x, gate, rows: rows)
    block.activation.apply(gate: gate, up: up, inner)
    linear(block.down, gate, out, rows: rows)
  }

  /// Tokens are gathered by expert; a token's answers are added in the order of the experts' numbers.
  private func run(_ block: Experts, _ x: UnsafePointer<Float>, _ out: UnsafeMutablePointer<Float>, rows: Int) {
    let hidden = block.router.columns
    let count = block.experts.count
    let router = scratch(.router, rows * count)
    linear(block.router, x, router, rows: rows)
    var work: [[(row: Int, weight: Float)]] = Array(repeating: [], count: count)
    var best = [Int32](repeating: 0, count: block.chosen)
    for row in 0..<rows {
      let logits = router + row * count
      pk_top_k(logits, count, block.chosen, &best)
      let top = logits[Int(best[0])]
      var total: Float = 0
      for index in 0..<count { total += exp(logits[index] - top) }
      var weights = best.map { exp(logits[Int($0)] - top) / total }
      if case .normalized(let p) = block.weights {
        let length = p == 1 ? weights.reduce(0, +) : Float(pow(weights.reduce(0.0) { $0 + pow(Double($1), p) }, 1 / p))
        weights = weights.map { $0 / length }
      }
      for (expert, weight) in zip(best, weights) { work[Int(expert)].append((row, weight)) }
    }
    out.update(repeating: 0, count: rows * hidden)
    let gathered = scratch(.gathered, rows * hidden)
    let answer = scratch(.answer, rows * hidden)
    for (expert, tokens) in work.enumerated() where !tokens.isEmpty {
      for (place, token) in tokens.enumerated() {
        (gathered + place * hidden).update(from: x + token.row * hidden, count: hidden)
      }
      run(block.experts[expert], gathered, answer, rows: tokens.count)
      for (place, token) in tokens.enumerated() {
        pk_add_scaled(out + token.row * hidden, answer + place * hidden, token.weight, hidden)
      }
    }
    guard let shared = block.shared else { return }
    run(shared.expert, x, answer, rows: rows)
    let gates = scratch(.sharedGate, rows)
    linear(shared.gate, x, gates, rows: rows)
    pk_activate(Int32(PK_SIGMOID), gates, rows)
    for row in 0..<rows { pk_add_scaled(out + row * hidden, answer + row * hidden, gates[row], hidden) }
  }
}

/// Rows of inputs in 8 bits, as `pk_quantize_rows` makes them. The owner frees it.
private struct PackedRows {
  private(set) var codes: UnsafeMutablePointer<Int8>?
  private(set) var scales: UnsafeMutablePointer<Float>?
  private(set) var starts: UnsafeMutablePointer<Int32>?
  private var capacity = 0

  mutating func quantize(_ isa: Int32, _ x: UnsafePointer<Float>, _ rows: Int, _ columns: Int) {
    let width = Int(PK_GROUP)
    let groups = rows * ((columns + width - 1) / width)
    if capacity < groups {
      deallocate()
      codes = .allocate(capacity: groups * width)
      scales = .allocate(capacity: groups)
      starts = .allocate(capacity: groups)
      capacity = groups
    }
    if let codes, let scales, let starts { pk_quantize_rows(isa, x, rows, columns, codes, scales, starts) }
  }

  func deallocate() {
    codes?.deallocate()
    scales?.deallocate()
    starts?.deallocate()
  }
}

/// A closure that several threads run at once; each call writes to a place of its own.
private struct SharedBody: @unchecked Sendable {
  var run: (Int) -> Void
}
