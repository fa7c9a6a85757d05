// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
public import Tensor

/// Runs steps of a decoder of any architecture over a paged cache that it owns. Belongs to one thread at a time.
///
/// A row's numbers depend on its own sequence only, bit for bit: not on the other rows of the step, on how a prompt was cut into
/// chunks, on the number of threads, or on that of the parts that a model is computed in. (Beyond `DecoderModel.steadyLength` they depend on the sequence's length too.)
public final class DecoderRunner {
  public let model: DecoderModel
  /// Number of 16-token blocks of the cache.
  public let blockCount: Int
  public let maxRows: Int
  public static let blockSize = Int(PK_KV_BLOCK)

  /// Length that decides about frequencies that depend on it; nil: up to the last row of each sequence in a step.
  var rotaryLength: Int?

  private let blocks: BlockRunner
  private let cache: KeyValueCache
  private var allocated: [UnsafeMutablePointer<Float>] = []
  private let hidden: UnsafeMutablePointer<Float>
  private let normed: UnsafeMutablePointer<Float>
  private let branch: UnsafeMutablePointer<Float>
  private let query: UnsafeMutablePointer<Float>
  private let key: UnsafeMutablePointer<Float>
  private let value: UnsafeMutablePointer<Float>
  private let attended: UnsafeMutablePointer<Float>
  /// Rows of all heads, where attention is computed in parts; else empty.
  private let joined: UnsafeMutablePointer<Float>
  private let cosines: [UnsafeMutablePointer<Float>]
  private let sines: [UnsafeMutablePointer<Float>]
  private var logits: UnsafeMutablePointer<Float>?
  private var logitCapacity = 0
  /// Frequencies of the last length that was asked for, by rotary kind.
  private var frequencies: [(length: Int, values: [Float])]

  /// - Parameters:
  ///   - threads: threads that help with matrix products.
  ///   - collective: of the ranks that compute a model's parts; all of them run the same steps.
  ///   - cache: how keys and values are kept; nil for what suits the weights.
  ///   - isa: an instruction set of `pk_decode.h` for tests; nil for the best.
  /// - Throws: `resourceExhausted` when the cache size overflows.
  public init(
    model: DecoderModel, blockCount: Int, maxRows: Int, threads: Int = 1, collective: (any Collective)? = nil, cache: CacheFormat? = nil,
    isa: Int? = nil
  ) throws {
    precondition(blockCount > 0 && maxRows > 0)
    precondition(model.part == ModelPart(rank: collective?.rank ?? 0, of: collective?.worldSize ?? 1))
    var buffers: [UnsafeMutablePointer<Float>] = []
    func floats(_ count: Int) -> UnsafeMutablePointer<Float> {
      let buffer = UnsafeMutableRawPointer.allocate(byteCount: max(count * 4, 64), alignment: 64).bindMemory(
        to: Float.self, capacity: count)
      buffers.append(buffer)
      return buffer
    }
    let queryWidth = model.layers.reduce(1) { max($0, $1.heads.count * $1.plan.attention.headSize) }
    let keyWidth = model.layers.reduce(1) { max($0, $1.keyHeads.count * $1.plan.attention.headSize) }
    let joinedWidth = model.part == .whole ? 0 : model.layers.reduce(1) { max($0, $1.plan.attention.heads * $1.plan.attention.headSize) }
    self.model = model
    self.blockCount = blockCount
    self.maxRows = maxRows
    blocks = BlockRunner(isa: Int32(isa ?? Int(pk_decode_isa_best())), threads: threads, collective: collective)
    self.cache = try KeyValueCache(
      model.layers.map { KeyValueCache.Shape(heads: $0.keyHeads.count, size: $0.plan.attention.headSize) }, blockCount: blockCount,
      format: cache ?? model.cacheFormat)
    hidden = floats(maxRows * model.hiddenSize)
    normed = floats(maxRows * model.hiddenSize)
    branch = floats(maxRows * model.hiddenSize)
    query = floats(maxRows * queryWidth)
    key = floats(maxRows * keyWidth)
    value = floats(maxRows * keyWidth)
    attended = floats(maxRows * queryWidth)
    joined = floats(maxRows * joinedWidth)
    cosines = model.plan.rotary.map { floats(maxRows * $0.half) }
    sines = model.plan.rotary.map { floats(maxRows * $0.half) }
    frequencies = model.plan.rotary.map { (1, $0.frequencies(length: 1)) }
    allocated = buffers
  }

  deinit {
    for buffer in allocated { buffer.deallocate() }
    logits?.deallocate()
  }

  /// Computes one step of a whole model. Blocking, on the calling thread.
  ///
  /// Returns [outputs, vocabulary] f32 logits, row-major, valid until the next call.
  public func forward(_ batch: DecoderBatch) -> UnsafeBufferPointer<Float> {
    do {
      return try logits(batch)
    } catch {
      preconditionFailure("a model in one part depends on nobody: \(error)")
    }
  }

  /// Computes one step, together with the ranks of the other parts. Blocking, on the calling thread.
  ///
  /// Returns [outputs, vocabulary] f32 logits on every rank, row-major, valid until the next call.
  /// - Throws: `unavailable`, `timeout` when another rank has gone; never for a model in one part.
  public func logits(_ batch: DecoderBatch) throws -> UnsafeBufferPointer<Float> {
    guard let head = model.head, let states = try compute(batch) else { return UnsafeBufferPointer(start: nil, count: 0) }
    let rows = batch.outputs.count
    let count = rows * model.vocabularySize
    let logits = reserveLogits(count)
    try blocks.whole(head, states, logits, total: model.vocabularySize, rows: rows, batch.outputAdapters, .head)
    if model.plan.logitScale != 1 { pk_scale(logits, model.plan.logitScale, count) }
    if let cap = model.plan.logitSoftCap, cap > 0 { pk_soft_cap(logits, cap, count) }
    return UnsafeBufferPointer(start: logits, count: count)
  }

  /// The hidden states behind the final norm of the rows in `batch.outputs`: [outputs, hidden], valid until the next call.
  /// - Throws: as `logits`.
  public func hiddenStates(_ batch: DecoderBatch) throws -> UnsafeBufferPointer<Float> {
    guard let states = try compute(batch) else { return UnsafeBufferPointer(start: nil, count: 0) }
    return UnsafeBufferPointer(start: states, count: batch.outputs.count * model.hiddenSize)
  }

  private func compute(_ batch: DecoderBatch) throws -> UnsafePointer<Float>? {
    let rows = batch.tokens.count
    let width = model.hiddenSize
    precondition(rows > 0 && rows <= maxRows && batch.positions.count == rows && batch.tables.count == rows)
    let lengths = batch.lengths
    let slots = batch.slots(blockCount: blockCount)
    for row in 0..<rows {
      precondition(batch.tokens[row] >= 0 && batch.tokens[row] < model.vocabularySize)
      try model.embedding.copy(row: Int(batch.tokens[row]), into: hidden + row * width)
      if let positions = model.positions {
        precondition(batch.positions[row] < positions.rows)
        try positions.copy(row: Int(batch.positions[row]), into: normed)
        pk_add(hidden + row * width, normed, width)
      }
    }
    if model.plan.embeddingScale != 1 { pk_scale(hidden, model.plan.embeddingScale, rows * width) }
    try pass(batch, lengths, slots)
    guard !batch.outputs.isEmpty else { return nil }
    for (place, row) in batch.outputs.enumerated() {
      model.finalNorm.apply(hidden + row * width, normed + place * width, rows: 1, count: width)
    }
    return UnsafePointer(normed)
  }

  /// Takes rows of states through the layers, in place, and shows what their matrices are multiplied with. states: [rows, hidden]
  func pass(
    _ states: UnsafeMutablePointer<Float>, _ batch: DecoderBatch,
    _ observe: @escaping (WritableKeyPath<LayerInputs, [Float]?>, UnsafePointer<Float>, _ rows: Int, _ columns: Int) -> Void
  ) throws {
    blocks.observe = observe
    defer { blocks.observe = nil }
    hidden.update(from: states, count: batch.tokens.count * model.hiddenSize)
    try pass(batch, batch.lengths, batch.slots(blockCount: blockCount))
    states.update(from: hidden, count: batch.tokens.count * model.hiddenSize)
  }

  private func pass(_ batch: DecoderBatch, _ lengths: [Int32], _ slots: [Int64]) throws {
    let (rows, width) = (batch.tokens.count, model.hiddenSize)
    turn(batch)
    for (index, layer) in model.layers.enumerated() {
      let scale = layer.plan.residualScale
      normalize(layer.attentionNorm, hidden, normed, rows)
      try attend(layer, index, batch, lengths, slots)
      if let norm = layer.attentionOutputNorm { norm.apply(branch, branch, rows: rows, count: width) }
      if layer.plan.arrangement == .parallel {
        // The mixer reads what was there before attention's answer is added.
        if layer.mixerNorm != nil { normalize(layer.mixerNorm, hidden, normed, rows) }
        pk_add_scaled(hidden, branch, scale, rows * width)
      } else {
        pk_add_scaled(hidden, branch, scale, rows * width)
        normalize(layer.mixerNorm, hidden, normed, rows)
      }
      try blocks.run(layer.mixer, normed, branch, rows: rows, hidden: width, AdaptedLayer(spans: batch.adapters, index: index))
      if let norm = layer.mixerOutputNorm { norm.apply(branch, branch, rows: rows, count: width) }
      pk_add_scaled(hidden, branch, scale, rows * width)
    }
  }

  private func normalize(_ norm: Norm?, _ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>, _ rows: Int) {
    let width = model.hiddenSize
    if let norm {
      blocks.byRows(rows, least: max(1, 32768 / width)) {
        norm.apply(x + $0.lowerBound * width, y + $0.lowerBound * width, rows: $0.count, count: width)
      }
    } else {
      y.update(from: x, count: rows * width)
    }
  }

  /// Attention of one layer over `normed`, its answer in `branch`.
  private func attend(_ layer: Layer, _ index: Int, _ batch: DecoderBatch, _ lengths: [Int32], _ slots: [Int64]) throws {
    let plan = layer.plan.attention
    let rows = batch.tokens.count
    let (heads, keyHeads, size) = (layer.heads.count, layer.keyHeads.count, plan.headSize)
    func columns(_ heads: Range<Int>) -> Range<Int> { heads.lowerBound * size..<heads.upperBound * size }
    let shares = (0..<model.part.count).map { model.part.heads(plan.heads, plan.keyValueHeads, of: $0) }
    blocks.observe?(\.attention, normed, rows, layer.query.columns)
    blocks.linear(layer.query, normed, query, rows: rows)
    blocks.linear(layer.key, normed, key, rows: rows, again: true)
    blocks.linear(layer.value, normed, value, rows: rows, again: true)
    let adapters = AdaptedLayer(spans: batch.adapters, index: index)
    blocks.adapt(adapters, .query, normed, query)
    blocks.adapt(adapters, .key, normed, key)
    blocks.adapt(adapters, .value, normed, value)
    for (norm, x, count) in [(layer.queryNorm, query, heads), (layer.keyNorm, key, keyHeads)] {
      guard let norm else { continue }
      if plan.normsHeads {
        norm.apply(x, x, rows: rows * count, count: size)
      } else if model.part == .whole {
        norm.apply(x, x, rows: rows, count: count * size)
      } else {
        // The norm is one of all heads: they come together for it, and each rank takes its own back.
        let isQuery = x == query
        let total = (isQuery ? plan.heads : plan.keyValueHeads) * size
        try blocks.gather(x, shares.map { columns(isQuery ? $0.queries : $0.keys) }, total: total, into: joined, rows: rows)
        norm.apply(joined, joined, rows: rows, count: total)
        let own = columns(isQuery ? layer.heads : layer.keyHeads)
        for row in 0..<rows { (x + row * own.count).update(from: joined + row * total + own.lowerBound, count: own.count) }
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
    cache.store(layer: index, key, value, slots, rows: rows)
    let scores = pk_attention_plan(heads: heads, scale: plan.scale, soft_cap: plan.softCap ?? 0, window: plan.window ?? .max)
    blocks.attend(cache.layers[index], scores, batch, lengths, query, attended)
    var context = UnsafePointer(attended)
    if model.part != .whole {
      try blocks.gather(attended, shares.map { columns($0.queries) }, total: plan.heads * size, into: joined, rows: rows)
      context = UnsafePointer(joined)
    }
    blocks.observe?(\.output, context, rows, layer.output.columns)
    try blocks.whole(layer.output, context, branch, total: model.hiddenSize, rows: rows, batch.adapters, .layer(index, .output))
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
