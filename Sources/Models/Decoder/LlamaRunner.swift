// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core

/// Runs steps of one model over a paged cache that it owns. Belongs to one thread at a time.
///
/// The logits of a row depend on its own sequence only, bit for bit: not on the other rows of the step, nor on how a
/// prompt was cut into chunks, nor on the number of threads.
public final class LlamaRunner {
  public let model: LlamaModel
  /// Number of 16-token blocks of the cache.
  public let blockCount: Int
  public let maxRows: Int
  public static let blockSize = Int(PK_KV_BLOCK)

  private let blocks: BlockRunner
  private let cache: KeyValueCache
  private let frequencies: [Float]
  private let hidden: UnsafeMutablePointer<Float>
  private let normed: UnsafeMutablePointer<Float>
  private let query: UnsafeMutablePointer<Float>
  private let key: UnsafeMutablePointer<Float>
  private let value: UnsafeMutablePointer<Float>
  private let attended: UnsafeMutablePointer<Float>
  private let gate: UnsafeMutablePointer<Float>
  private let up: UnsafeMutablePointer<Float>
  private let cosine: UnsafeMutablePointer<Float>
  private let sine: UnsafeMutablePointer<Float>
  private var logits: UnsafeMutablePointer<Float>
  private var logitRows = 0

  /// - Parameters:
  ///   - threads: that compute.
  ///   - cache: how keys and values are kept.
  ///   - isa: an instruction set of `pk_decode.h` for tests; nil for the best.
  /// - Throws: `resourceExhausted` when the cache size overflows.
  public init(model: LlamaModel, blockCount: Int, maxRows: Int, threads: Int = 1, cache: CacheFormat = .f32, isa: Int? = nil) throws {
    precondition(blockCount > 0 && maxRows > 0)
    let c = model.configuration
    func floats(_ count: Int) -> UnsafeMutablePointer<Float> {
      UnsafeMutableRawPointer.allocate(byteCount: max(count * 4, 64), alignment: 64).bindMemory(
        to: Float.self, capacity: count)
    }
    self.model = model
    self.blockCount = blockCount
    self.maxRows = maxRows
    blocks = BlockRunner(isa: Int32(isa ?? Int(pk_decode_isa_best())), threads: threads)
    self.cache = try KeyValueCache(
      Array(repeating: KeyValueCache.Shape(heads: c.keyValueHeadCount, size: c.headSize), count: c.layerCount), blockCount: blockCount, format: cache)
    frequencies = c.inverseFrequencies
    hidden = floats(maxRows * c.hiddenSize)
    normed = floats(maxRows * c.hiddenSize)
    query = floats(maxRows * c.queryWidth)
    key = floats(maxRows * c.keyValueWidth)
    value = floats(maxRows * c.keyValueWidth)
    attended = floats(maxRows * c.queryWidth)
    gate = floats(maxRows * c.intermediateSize)
    up = floats(maxRows * c.intermediateSize)
    cosine = floats(maxRows * c.headSize / 2)
    sine = floats(maxRows * c.headSize / 2)
    logits = floats(1)
  }

  deinit {
    for buffer in [hidden, normed, query, key, value, attended, gate, up, cosine, sine, logits] {
      buffer.deallocate()
    }
  }

  /// Computes one step. Blocking, on the calling thread.
  ///
  /// Returns [outputs, vocabulary] f32 logits, row-major, valid until the next call.
  public func forward(_ batch: DecoderBatch) -> UnsafeBufferPointer<Float> {
    let c = model.configuration
    let rows = batch.tokens.count
    precondition(rows > 0 && rows <= maxRows && batch.positions.count == rows && batch.tables.count == rows)
    let lengths = batch.lengths
    let slots = batch.slots(blockCount: blockCount)
    for row in 0..<rows {
      precondition(batch.tokens[row] >= 0 && batch.tokens[row] < c.vocabularySize)
      pk_embed_row(
        model.embedding.type, model.embedding.weights, Int(batch.tokens[row]), hidden + row * c.hiddenSize, c.hiddenSize)
    }
    let half = c.headSize / 2
    pk_rope_table(batch.positions, frequencies, cosine, sine, rows, half)
    let scores = pk_attention_plan(heads: c.headCount, scale: 1 / Float(c.headSize).squareRoot(), soft_cap: 0, window: .max)
    for (index, layer) in model.layers.enumerated() {
      normalize(layer.inputNorm, rows)
      linear(layer.query, normed, query, rows)
      linear(layer.key, normed, key, rows, again: true)
      linear(layer.value, normed, value, rows, again: true)
      let adapters = AdaptedLayer(spans: batch.adapters, index: index)
      blocks.adapt(adapters, .query, normed, query)
      blocks.adapt(adapters, .key, normed, key)
      blocks.adapt(adapters, .value, normed, value)
      pk_rope_apply(query, cosine, sine, rows, c.headCount, half)
      pk_rope_apply(key, cosine, sine, rows, c.keyValueHeadCount, half)
      cache.store(layer: index, key, value, slots, rows: rows)
      blocks.attend(cache.layers[index], scores, batch, lengths, query, attended)
      linear(layer.output, attended, normed, rows)
      blocks.adapt(adapters, .output, attended, normed)
      pk_add(hidden, normed, rows * c.hiddenSize)
      normalize(layer.attentionNorm, rows)
      linear(layer.gate, normed, gate, rows)
      linear(layer.up, normed, up, rows, again: true)
      blocks.adapt(adapters, .gate, normed, gate)
      blocks.adapt(adapters, .up, normed, up)
      let inner = c.intermediateSize
      blocks.byRows(rows, least: max(1, 8192 / inner)) { [gate, up] range in
        pk_swiglu(gate + range.lowerBound * inner, up + range.lowerBound * inner, range.count * inner)
      }
      linear(layer.down, gate, normed, rows)
      blocks.adapt(adapters, .down, gate, normed)
      pk_add(hidden, normed, rows * c.hiddenSize)
    }
    let wanted = batch.outputs
    guard !wanted.isEmpty else { return UnsafeBufferPointer(start: nil, count: 0) }
    reserveLogits(wanted.count)
    for (place, row) in wanted.enumerated() {
      pk_rms_norm(
        hidden + row * c.hiddenSize, model.finalNorm, normed + place * c.hiddenSize, 1, c.hiddenSize, Float(c.normEpsilon))
    }
    linear(model.head, normed, logits, wanted.count)
    if !batch.adapters.isEmpty { blocks.adapt(batch.outputAdapters, .head, normed, logits) }
    return UnsafeBufferPointer(start: logits, count: wanted.count * c.vocabularySize)
  }

  private func linear(
    _ matrix: LlamaModel.Matrix, _ input: UnsafePointer<Float>, _ output: UnsafeMutablePointer<Float>, _ rows: Int, again: Bool = false
  ) {
    let matrix = Matrix(type: matrix.type, rows: matrix.rows, columns: matrix.columns, weights: matrix.weights, bias: matrix.bias)
    blocks.linear(matrix, input, output, rows: rows, again: again)
  }

  /// normed = norm of hidden: [rows, hidden].
  private func normalize(_ gain: UnsafePointer<Float>, _ rows: Int) {
    let (width, epsilon) = (model.configuration.hiddenSize, Float(model.configuration.normEpsilon))
    blocks.byRows(rows, least: max(1, 32768 / width)) { [hidden, normed] range in
      let first = range.lowerBound * width
      pk_rms_norm(hidden + first, gain, normed + first, range.count, width, epsilon)
    }
  }

  private func reserveLogits(_ rows: Int) {
    guard rows > logitRows else { return }
    logits.deallocate()
    let count = rows * model.configuration.vocabularySize
    logits = UnsafeMutableRawPointer.allocate(byteCount: count * 4, alignment: 64).bindMemory(
      to: Float.self, capacity: count)
    logitRows = rows
  }
}
