// SPDX-License-Identifier: Apache-2.0

import CKernels
import Foundation
import Tensor

/// Matrix products and feed-forward blocks over rows of tokens. Belongs to one thread at a time, which may be helped by others.
///
/// A row's numbers depend on that row only, bit for bit: not on the other rows, nor on the number of threads, nor on that of the parts
/// that a model is computed in.
final class BlockRunner {
  let isa: Int32
  let threads: Int
  /// Whose parts are put together; nil when this runner has the whole model.
  private let collective: (any Collective)?
  private let part: ModelPart
  private var buffers: [UnsafeMutableBufferPointer<Float>?] = Array(repeating: nil, count: Slot.allCases.count)
  private var codes = PackedRows()
  /// Is shown what matrices are multiplied with: [rows, columns].
  var observe: ((WritableKeyPath<LayerInputs, [Float]?>, UnsafePointer<Float>, _ rows: Int, _ columns: Int) -> Void)?
  /// Helpers that share the work of a step; nil when this thread is alone.
  private let pool: OpaquePointer?

  enum Slot: Int, CaseIterable {
    case gate, up, router, gathered, answer, sharedGate, inner, sum, sent, received, part, adapterInner, adapterAdded
  }

  init(isa: Int32, threads: Int, collective: (any Collective)? = nil) {
    self.isa = isa
    pool = threads > 1 ? pk_pool_create(threads) : nil
    self.threads = pool.map { pk_pool_threads($0) } ?? 1
    self.collective = collective.flatMap { $0.worldSize > 1 ? $0 : nil }
    part = ModelPart(rank: collective?.rank ?? 0, of: collective?.worldSize ?? 1)
  }

  deinit {
    for buffer in buffers { buffer?.deallocate() }
    codes.deallocate()
    if let pool { pk_pool_destroy(pool) }
  }

  func scratch(_ slot: Slot, _ count: Int) -> UnsafeMutablePointer<Float> {
    if let buffer = buffers[slot.rawValue], buffer.count >= count, let base = buffer.baseAddress { return base }
    buffers[slot.rawValue]?.deallocate()
    let base = UnsafeMutablePointer<Float>.allocate(capacity: max(1, count))
    base.initialize(repeating: 0, count: max(1, count))  // what pads a part is sent as well
    buffers[slot.rawValue] = UnsafeMutableBufferPointer(start: base, count: max(1, count))
    return base
  }

  /// How many threads a product is worth: a hand-over costs about a microsecond, in which one thread does some 20,000 multiplications.
  static func parts(threads: Int, rows: Int, outputs: Int, inputs: Int) -> Int {
    max(1, min(threads, outputs / 16, (rows * outputs * inputs) / 65536))
  }

  /// y: [rows, matrix.rows] = x: [rows, matrix.columns] * matrix transposed + bias.
  /// - Parameter again: x is what the product before had, unchanged.
  func linear(_ matrix: Matrix, _ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>, rows: Int, again: Bool = false) {
    let parts = Self.parts(threads: threads, rows: rows, outputs: matrix.rows, inputs: matrix.columns)
    let isScaledByRow = matrix.type == Int32(PK_WEIGHT_I8_ROWS)
    let isPacked = matrix.type >= Int32(PK_WEIGHT_I8)
    let form = CodeForm(x: x, rows: rows, columns: matrix.columns, byRow: isScaledByRow, factors: matrix.factors)
    if !isPacked {
      codes.form = nil
    } else if !again || codes.form != form {
      quantize(x, rows, matrix.columns, byRow: isScaledByRow, factors: matrix.factors)
      codes.form = form
    }
    // One row's weights are asked for from the memory ahead of time, which needs long pieces; of more rows, who starts late takes fewer pieces.
    let pieces = parts > 1 && rows > 1 ? parts * 4 : parts
    parallel(pieces) { [isa, codes] piece in
      let first = matrix.rows * piece / pieces / 16 * 16
      let last = piece + 1 == pieces ? matrix.rows : matrix.rows * (piece + 1) / pieces / 16 * 16
      guard last > first else { return }
      if isPacked, let input = codes.codes, let scales = codes.scales, let starts = codes.starts {
        if isScaledByRow {
          return pk_rows_linear(
            isa, input, scales, starts, matrix.weights, matrix.bias, y, rows, matrix.rows, matrix.columns, first, last)
        }
        pk_linear_packed(
          isa, matrix.type, input, scales, starts, matrix.weights, matrix.bias, y, rows, matrix.rows, matrix.columns, first, last)
      } else {
        pk_linear(isa, matrix.type, x, matrix.weights, matrix.bias, y, rows, matrix.rows, matrix.columns, first, last)
      }
    }
  }

  /// Runs `body` for 0..<pieces on up to `threads` threads; returns when all are done.
  func parallel(_ pieces: Int, _ body: (Int) -> Void) {
    guard let pool, pieces > 1 else {
      for piece in 0..<pieces { body(piece) }
      return
    }
    withoutActuallyEscaping(body) { body in
      var shared = SharedBody(run: body)
      withUnsafeMutablePointer(to: &shared) { shared in
        pk_pool_run(pool, { $0?.assumingMemoryBound(to: SharedBody.self).pointee.run($1) }, shared, pieces)
      }
    }
  }

  /// Runs `body` for ranges of `count` rows, each at least `least` long, on up to `threads` threads.
  func byRows(_ count: Int, least: Int, _ body: (Range<Int>) -> Void) {
    let pieces = max(1, min(threads * 2, count / least))
    parallel(pieces) { piece in body(count * piece / pieces..<count * (piece + 1) / pieces) }
  }

  private func quantize(_ x: UnsafePointer<Float>, _ count: Int, _ columns: Int, byRow: Bool, factors: UnsafePointer<Float>?) {
    codes.reserve(count, columns)
    guard let codes = codes.codes, let scales = self.codes.scales, let starts = self.codes.starts else { return }
    let groups = (columns + Int(PK_GROUP) - 1) / Int(PK_GROUP)
    byRows(count, least: max(1, 16384 / columns)) { [isa] range in
      let first = range.lowerBound
      if byRow {
        return pk_rows_quantize(
          x + first * columns, range.count, columns, codes + first * groups * Int(PK_GROUP), scales + first, starts + first)
      }
      pk_quantize_rows(
        isa, x + first * columns, range.count, columns, factors, codes + first * groups * Int(PK_GROUP), scales + first * groups, starts + first * groups)
    }
  }

  /// Whole rows from the ranks' parts, on every rank.
  /// - Parameters:
  ///   - own: [rows, ranges[rank].count]
  ///   - ranges: each rank's columns; several ranks may have the same ones.
  ///   - whole: [rows, total]; must not be `own`.
  /// - Throws: `unavailable`, `timeout` as `Collective` does.
  func gather(_ own: UnsafePointer<Float>, _ ranges: [Range<Int>], total: Int, into whole: UnsafeMutablePointer<Float>, rows: Int) throws {
    guard let collective else { return whole.update(from: own, count: rows * total) }
    let widest = ranges.reduce(0) { max($0, $1.count) }
    let sent = scratch(.sent, rows * widest)
    sent.update(from: own, count: rows * ranges[part.rank].count)
    let received = scratch(.received, rows * widest * part.count)
    try collective.allGather(sent, count: rows * widest, into: received)
    for (rank, range) in ranges.enumerated() {
      let from = received + rank * rows * widest
      for row in 0..<rows { (whole + row * total + range.lowerBound).update(from: from + row * range.count, count: range.count) }
    }
  }

  /// y: [rows, total], of which `matrix` has this rank's outputs, with what adapters add to it.
  func whole(
    _ matrix: Matrix, _ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>, total: Int, rows: Int, _ adapters: [AdapterSpan], _ place: AdapterPlace
  ) throws {
    let own = collective == nil ? y : scratch(.part, rows * matrix.rows)
    linear(matrix, x, own, rows: rows)
    if !adapters.isEmpty { adapt(adapters, place, x, own) }
    guard collective != nil else { return }
    try gather(own, part.ranges(total), total: total, into: y, rows: rows)
  }

  /// out: [rows, hidden].
  func run(
    _ mixer: Layer.Mixer, _ x: UnsafePointer<Float>, _ out: UnsafeMutablePointer<Float>, rows: Int, hidden: Int,
    _ adapters: AdaptedLayer = AdaptedLayer(spans: [], index: 0)
  ) throws {
    guard collective != nil else { return try compute(mixer, x, out, rows: rows, adapters) }
    let own = scratch(.sum, rows * hidden)
    try compute(mixer, x, own, rows: rows, adapters)
    try gather(own, part.ranges(hidden), total: hidden, into: out, rows: rows)
  }

  /// out: [rows, this rank's part of hidden].
  private func compute(
    _ mixer: Layer.Mixer, _ x: UnsafePointer<Float>, _ out: UnsafeMutablePointer<Float>, rows: Int, _ adapters: AdaptedLayer
  ) throws {
    switch mixer {
    case .dense(let block):
      observe?(\.mixer, x, rows, block.up.columns)
      let inner = try inner(block, x, rows: rows, adapters)
      observe?(\.inner, inner, rows, block.down.columns)
      // What `activateRows` has brought to 8 bits is not brought there again.
      linear(block.down, inner, out, rows: rows, again: block.down.type == Int32(PK_WEIGHT_I8_ROWS))
      adapt(adapters, .down, inner, out)
    case .experts(let experts):
      observe?(\.mixer, x, rows, experts.router.columns)
      try compute(experts, x, out, rows: rows)
    }
  }

  /// What `down` is multiplied with: [rows, inner], valid until the next block.
  private func inner(_ block: FeedForward, _ x: UnsafePointer<Float>, rows: Int, _ adapters: AdaptedLayer? = nil) throws -> UnsafePointer<Float> {
    let own = scratch(.gate, rows * block.up.rows)
    activate(block, x, own, rows: rows, adapters)
    guard collective != nil else { return UnsafePointer(own) }
    let inner = scratch(.inner, rows * block.inner)
    try gather(own, part.ranges(block.inner), total: block.inner, into: inner, rows: rows)
    return UnsafePointer(inner)
  }

  /// out: [rows, this rank's part of inner]: activation(x gate) * (x up), or without a gate activation(x up).
  private func activate(
    _ block: FeedForward, _ x: UnsafePointer<Float>, _ out: UnsafeMutablePointer<Float>, rows: Int, _ adapters: AdaptedLayer? = nil
  ) {
    let width = block.up.rows
    let least = max(1, 2048 / width)
    guard let gate = block.gate else {
      linear(block.up, x, out, rows: rows)
      if let adapters { adapt(adapters, .up, x, out) }
      if block.down.type == Int32(PK_WEIGHT_I8_ROWS), collective == nil { return activateRows(block, out, rows: rows) }
      return byRows(rows, least: least) { block.activation.apply(out + $0.lowerBound * width, $0.count * width) }
    }
    let up = scratch(.up, rows * width)
    linear(block.up, x, up, rows: rows)
    linear(gate, x, out, rows: rows, again: true)
    if let adapters {
      adapt(adapters, .up, x, up)
      adapt(adapters, .gate, x, out)
    }
    byRows(rows, least: least) {
      block.activation.apply(gate: out + $0.lowerBound * width, up: up + $0.lowerBound * width, $0.count * width)
    }
  }

  /// Activates what `down` is multiplied with and brings it to 8 bits on the way.
  private func activateRows(_ block: FeedForward, _ x: UnsafeMutablePointer<Float>, rows: Int) {
    let columns = block.down.columns
    codes.reserve(rows, columns)
    guard let codes = codes.codes, let scales = self.codes.scales, let starts = self.codes.starts else { return }
    let stride = (columns + Int(PK_GROUP) - 1) / Int(PK_GROUP) * Int(PK_GROUP)
    byRows(rows, least: max(1, 2048 / columns)) { range in
      let first = range.lowerBound
      pk_rows_activate(block.activation.kind, x + first * columns, range.count, columns, codes + first * stride, scales + first, starts + first)
    }
    self.codes.form = CodeForm(x: UnsafePointer(x), rows: rows, columns: columns, byRow: true, factors: nil)
  }

  /// Tokens are gathered by expert; a token's answers are added in the order of the experts' numbers.
  private func compute(_ block: Experts, _ x: UnsafePointer<Float>, _ out: UnsafeMutablePointer<Float>, rows: Int) throws {
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
    // The inner numbers of all experts go in one exchange: [rows * chosen, inner], expert by expert.
    let width = block.experts[0].up.rows
    let whole = block.experts[0].inner
    let gathered = scratch(.gathered, rows * hidden)
    let own = scratch(.gate, rows * block.chosen * width)
    var place = 0
    for (expert, tokens) in work.enumerated() where !tokens.isEmpty {
      for (row, token) in tokens.enumerated() { (gathered + row * hidden).update(from: x + token.row * hidden, count: hidden) }
      activate(block.experts[expert], gathered, own + place * width, rows: tokens.count)
      place += tokens.count
    }
    var inner = UnsafePointer(own)
    if collective != nil {
      let joined = scratch(.inner, place * whole)
      try gather(own, part.ranges(whole), total: whole, into: joined, rows: place)
      inner = UnsafePointer(joined)
    }
    let answered = block.experts[0].down.rows
    let answer = scratch(.answer, rows * answered)
    out.update(repeating: 0, count: rows * answered)
    place = 0
    for (expert, tokens) in work.enumerated() where !tokens.isEmpty {
      linear(block.experts[expert].down, inner + place * whole, answer, rows: tokens.count)
      for (row, token) in tokens.enumerated() { pk_add_scaled(out + token.row * answered, answer + row * answered, token.weight, answered) }
      place += tokens.count
    }
    guard let shared = block.shared else { return }
    linear(shared.expert.down, try self.inner(shared.expert, x, rows: rows), answer, rows: rows)
    let gates = scratch(.sharedGate, rows)
    linear(shared.gate, x, gates, rows: rows)
    pk_activate(Int32(PK_SIGMOID), gates, rows)
    for row in 0..<rows { pk_add_scaled(out + row * answered, answer + row * answered, gates[row], answered) }
  }
}

/// Which rows were brought to 8 bits, and how.
private struct CodeForm: Equatable {
  var x: UnsafePointer<Float>
  var rows: Int
  var columns: Int
  var byRow: Bool
  var factors: UnsafePointer<Float>?
}

/// Rows of inputs in 8 bits, as `pk_quantize_rows` or `pk_rows_quantize` makes them. The owner frees it.
private struct PackedRows {
  private(set) var codes: UnsafeMutablePointer<Int8>?
  private(set) var scales: UnsafeMutablePointer<Float>?
  private(set) var starts: UnsafeMutablePointer<Int32>?
  private var capacity = 0
  /// What they are of.
  var form: CodeForm?

  mutating func reserve(_ rows: Int, _ columns: Int) {
    let width = Int(PK_GROUP)
    let groups = rows * ((columns + width - 1) / width)
    if capacity < groups {
      deallocate()
      codes = .allocate(capacity: groups * width)
      scales = .allocate(capacity: groups)
      starts = .allocate(capacity: groups)
      capacity = groups
    }
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
