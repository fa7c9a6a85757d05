// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core

/// Runs steps of a decoder of any architecture over a paged cache that it owns. Belongs to one thread at a time.
///
/// A row's numbers depend on its own sequence only, bit for bit: not on the other rows of the step, on how a prompt was cut into
/// chunks, or on the number of threads. (Beyond `DecoderModel.steadyLength` they depend on the sequence's length too.)
public final class DecoderRunner {
  public let model: DecoderModel
  /// Number of 16-token blocks of the cache.
  public let blockCount: Int
  public let maxRows: Int
  public static let blockSize = Int(PK_KV_BLOCK)

  /// Length that decides about frequencies that depend on it; nil: up to the last row of each sequence in a step.
  var rotaryLength: Int?

  private let blocks: BlockRunner
  private var keys: [UnsafeMutablePointer<Float>] = []
  private var values: [UnsafeMutablePointer<Float>] = []
  private var allocated: [UnsafeMutablePointer<Float>] = []
  private let hidden: UnsafeMutablePointer<Float>
  private let normed: UnsafeMutablePointer<Float>
  private let branch: UnsafeMutablePointer<Float>
  private let query: UnsafeMutablePointer<Float>
  private let key: UnsafeMutablePointer<Float>
  private let value: UnsafeMutablePointer<Float>
  private let attended: UnsafeMutablePointer<Float>
  private let cosines: [UnsafeMutablePointer<Float>]
  private let sines: [UnsafeMutablePointer<Float>]
  private var logits: UnsafeMutablePointer<Float>?
  private var logitCapacity = 0
  /// Frequencies of the last length that was asked for, by rotary kind.
  private var frequencies: [(length: Int, values: [Float])]

  /// - Parameters:
  ///   - threads: threads that help with matrix products.
  ///   - isa: an instruction set of `pk_decode.h` for tests; nil for the best.
  /// - Throws: `resourceExhausted` when the cache size overflows.
  public init(model: DecoderModel, blockCount: Int, maxRows: Int, threads: Int = 1, isa: Int? = nil) throws {
    precondition(blockCount > 0 && maxRows > 0)
    let (tokens, overflow) = blockCount.multipliedReportingOverflow(by: Self.blockSize)
    let (total, tooLarge) = tokens.multipliedReportingOverflow(by: max(1, model.cacheBytesPerToken))
    guard !overflow, !tooLarge, total < 1 << 46, blockCount < Int(Int32.max) else {
      throw PlatformError(.resourceExhausted, "a key/value cache of \(blockCount) blocks is too large")
    }
    var buffers: [UnsafeMutablePointer<Float>] = []
    func floats(_ count: Int) -> UnsafeMutablePointer<Float> {
      let buffer = UnsafeMutableRawPointer.allocate(byteCount: max(count * 4, 64), alignment: 64).bindMemory(
        to: Float.self, capacity: count)
      buffers.append(buffer)
      return buffer
    }
    let plans = model.layers.map(\.plan.attention)
    let queryWidth = plans.reduce(1) { max($0, $1.heads * $1.headSize) }
    let keyWidth = plans.reduce(1) { max($0, $1.keyValueHeads * $1.headSize) }
    self.model = model
    self.blockCount = blockCount
    self.maxRows = maxRows
    blocks = BlockRunner(isa: Int32(isa ?? Int(pk_decode_isa_best())), threads: threads)
    for plan in plans {
      keys.append(floats(tokens * plan.keyValueHeads * plan.headSize))
      values.append(floats(tokens * plan.keyValueHeads * plan.headSize))
    }
    hidden = floats(maxRows * model.hiddenSize)
    normed = floats(maxRows * model.hiddenSize)
    branch = floats(maxRows * model.hiddenSize)
    query = floats(maxRows * queryWidth)
    key = floats(maxRows * keyWidth)
    value = floats(maxRows * keyWidth)
    attended = floats(maxRows * queryWidth)
    cosines = model.plan.rotary.map { floats(maxRows * $0.half) }
    sines = model.plan.rotary.map { floats(maxRows * $0.half) }
    frequencies = model.plan.rotary.map { (1, $0.frequencies(length: 1)) }
    allocated = buffers
  }

  deinit {
    for buffer in allocated { buffer.deallocate() }
    logits?.deallocate()
  }

  /// Computes one step. Blocking, on the calling thread.
  ///
  /// Returns [outputs, vocabulary] f32 logits, row-major, valid until the next call.
  public func forward(_ batch: DecoderBatch) -> UnsafeBufferPointer<Float> {
    guard let head = model.head, let states = compute(batch) else { return UnsafeBufferPointer(start: nil, count: 0) }
    let rows = batch.outputs.count
    let count = rows * model.vocabularySize
    let logits = reserveLogits(count)
    blocks.linear(head, states, logits, rows: rows)
    if model.plan.logitScale != 1 { pk_scale(logits, model.plan.logitScale, count) }
    if let cap = model.plan.logitSoftCap, cap > 0 { pk_soft_cap(logits, cap, count) }
    return UnsafeBufferPointer(start: logits, count: count)
  }

  /// The hidden states behind the final norm of the rows in `batch.outputs`: [outputs, hidden], valid until the next call.
  public func hiddenStates(_ batch: DecoderBatch) -> UnsafeBufferPointer<Float> {
    guard let states = compute(batch) else { return UnsafeBufferPointer(start: nil, count: 0) }
    return UnsafeBufferPointer(start: states, count: batch.outputs.count * model.hiddenSize)
  }

  private func compute(_ batch: DecoderBatch) -> UnsafePointer<Float>? {
    let rows = batch.tokens.count
    let width = model.hiddenSize
    precondition(rows > 0 && rows <= maxRows && batch.positions.count == rows && batch.tables.count == rows)
    let lengths = batch.lengths
    let slots = batch.slots(blockCount: blockCount)
    for row in 0..<rows {
      precondition(batch.tokens[row] >= 0 && batch.tokens[row] < model.vocabularySize)
      pk_embed_row(model.embedding.type, model.embedding.weights, Int(batch.tokens[row]), hidden + row * width, width)
      if let positions = model.positions {
        precondition(batch.positions[row] < positions.rows)
        pk_embed_row(positions.type, positions.weights, Int(batch.positions[row]), normed, width)
        pk_add(hidden + row * width, normed, width)
      }
    }
    if model.plan.embeddingScale != 1 { pk_scale(hidden, model.plan.embeddingScale, rows * width) }
    turn(batch)
    for (index, layer) in model.layers.enumerated() {
      let scale = layer.plan.residualScale
      normalize(layer.attentionNorm, hidden, normed, rows)
      attend(layer, index, batch, lengths, slots)
      if let norm = layer.attentionOutputNorm { norm.apply(branch, branch, rows: rows, count: width) }
      if layer.plan.arrangement == .parallel {
        // The mixer reads what was there before attention's answer is added.
        if layer.mixerNorm != nil { normalize(layer.mixerNorm, hidden, normed, rows) }
        pk_add_scaled(hidden, branch, scale, rows * width)
      } else {
        pk_add_scaled(hidden, branch, scale, rows * width)
        normalize(layer.mixerNorm, hidden, normed, rows)
      }
      blocks.run(layer.mixer, normed, branch, rows: rows)
      if let norm = layer.mixerOutputNorm { norm.apply(branch, branch, rows: rows, count: width) }
      pk_add_scaled(hidden, branch, scale, rows * width)
    }
    guard !batch.outputs.isEmpty else { return nil }
    for (place, row) in batch.outputs.enumerated() {
      model.finalNorm.apply(hidden + row * width, normed + place * width, rows: 1, count: width)
    }
    return UnsafePointer(normed)
  }

  private func normalize(_ norm: Norm?, _ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>, _ rows: Int) {
    if let norm {
      norm.apply(x, y, rows: rows, count: model.hiddenSize)
    } else {
      y.update(from: x, count: rows * model.hiddenSize)
    }
  }

  /// Attention of one layer over `normed`, its answer in `branch`.
  private func attend(_ layer: Layer, _ index: Int, _ batch: DecoderBatch, _ lengths: [Int32], _ slots: [Int64]) {
    let plan = layer.plan.attention
    let rows = batch.tokens.count
    let (heads, keyHeads, size) = (plan.heads, plan.keyValueHeads, plan.headSize)
    blocks.linear(layer.query, normed, query, rows: rows)
    blocks.linear(layer.key, normed, key, rows: rows)
    blocks.linear(layer.value, normed, value, rows: rows)
    for (norm, x, count) in [(layer.queryNorm, query, heads), (layer.keyNorm, key, keyHeads)] {
      guard let norm else { continue }
      if plan.normsHeads {
        norm.apply(x, x, rows: rows * count, count: size)
      } else {
        norm.apply(x, x, rows: rows, count: count * size)
      }
    }
    if let clip = plan.clip {
      pk_clip(query, clip, rows * heads * size)
      pk_clip(key, clip, rows * keyHeads * size)
      pk_clip(value, clip, rows * keyHeads * size)
    }
    if let kind = plan.rotary {
      let half = model.plan.rotary[kind].half
      pk_rope_apply_partial(query, cosines[kind], sines[kind], rows, heads, size, half)
      pk_rope_apply_partial(key, cosines[kind], sines[kind], rows, keyHeads, size, half)
    }
    pk_kv_store(key, value, slots, keys[index], values[index], rows, keyHeads, size)
    let isPlain = plan.window == nil && plan.softCap == nil
    let window = plan.window ?? Int.max
    let cap = plan.softCap ?? 0
    let isa = blocks.isa
    let (query, attended) = (self.query, self.attended)
    let (keys, values) = (self.keys[index], self.values[index])
    blocks.parallel(min(rows, blocks.threads * 2)) { piece in
      let pieces = min(rows, blocks.threads * 2)
      let first = rows * piece / pieces
      let last = rows * (piece + 1) / pieces
      if isPlain {
        pk_paged_attention(
          isa, query, keys, values, lengths, batch.tables, batch.blocks, attended, heads, keyHeads, size, plan.scale, first, last)
      } else {
        pk_paged_attention_windowed(
          query, keys, values, lengths, batch.tables, batch.blocks, attended, heads, keyHeads, size, plan.scale, window, cap, first, last)
      }
    }
    blocks.linear(layer.output, attended, branch, rows: rows)
  }

  /// Cosines and sines of the rows' positions.
  private func turn(_ batch: DecoderBatch) {
    let rows = batch.tokens.count
    for (kind, plan) in model.plan.rotary.enumerated() {
      let half = plan.half
      if plan.fixedLength == nil {
        pk_rope_table(batch.positions, frequencies[kind].values, cosines[kind], sines[kind], rows, half)
      } else {
        var longest: [Int64: Int] = [:]
        for row in 0..<rows { longest[batch.tables[row]] = max(longest[batch.tables[row]] ?? 0, Int(batch.positions[row]) + 1) }
        for row in 0..<rows {
          let length = rotaryLength ?? longest[batch.tables[row]] ?? 1
          if frequencies[kind].length != length { frequencies[kind] = (length, plan.frequencies(length: length)) }
          pk_rope_table([batch.positions[row]], frequencies[kind].values, cosines[kind] + row * half, sines[kind] + row * half, 1, half)
        }
      }
      if plan.amplitude != 1 {
        pk_scale(cosines[kind], plan.amplitude, rows * half)
        pk_scale(sines[kind], plan.amplitude, rows * half)
      }
    }
  }

  private func reserveLogits(_ count: Int) -> UnsafeMutablePointer<Float> {
    if let logits, logitCapacity >= count { return logits }
    logits?.deallocate()
    let buffer = UnsafeMutableRawPointer.allocate(byteCount: count * 4, alignment: 64).bindMemory(to: Float.self, capacity: count)
    logits = buffer
    logitCapacity = count
    return buffer
  }
}
