// SPDX-License-Identifier: Apache-2.0

import CKernels
import COpenBLAS
import Core
import Foundation
import Synchronization
import Tensor

/// A BERT text encoder in f32 (Devlin et al. 2018; weights as `transformers.BertModel` names them): token ids in, one
/// vector a text out.
///
///     let encoder = try BertEncoder(folder: path)
///     let vectors = try encoder.encode([[101, 7592, 102]], threads: 2)
///
/// Texts are packed one after the other (T tokens in all), so no work is spent on padding. Immutable and usable from any
/// number of threads; calls compute on the calling thread (and `threads` - 1 more).
public final class BertEncoder: Sendable {
  public let configuration: BertConfiguration
  public let pooling: SentencePooling
  private let weights: BertWeights

  /// Numbers in one vector.
  public var dimension: Int { configuration.hiddenSize }
  /// The most tokens that one text may have.
  public var maximumTokens: Int { configuration.maximumPositions }
  /// Where a tokenizer should truncate: what the model was made for, never above `maximumTokens`.
  public var truncationTokens: Int { min(pooling.truncationTokens ?? maximumTokens, maximumTokens) }

  /// Opens a model folder in Hugging Face layout: `config.json`, safetensors weights and, when present, the files of
  /// sentence-transformers. `pooling` overrides those.
  /// - Throws: `notFound`, or `invalidFile` (PLT-4101 weights, PLT-4102 configuration).
  public init(folder: String, pooling: SentencePooling? = nil) throws {
    configuration = try BertConfiguration(folder: folder)
    self.pooling = try pooling ?? SentencePooling(folder: folder)
    weights = try BertWeights(SafeTensorsDirectory(path: folder), configuration)
    openblas_set_num_threads(1)  // parallelism is ours, one text batch a thread
  }

  /// One vector [dimension] for each text of token ids (special tokens included), in the order given.
  ///
  /// Texts of similar length share a batch of up to `batchTokens` tokens; `threads` batches run at once. `isCancelled` is
  /// asked before each batch.
  /// - Throws: `invalidArgument` for an empty text, one above `maximumTokens`, or an id outside the vocabulary;
  ///   `CancellationError`.
  public func encode(
    _ texts: [[Int32]], threads: Int = 1, batchTokens: Int = 2048, isCancelled: (@Sendable () -> Bool)? = nil
  ) throws -> [[Float]] {
    try check(texts)
    let batches = Self.batches(texts.map(\.count), limit: max(1, batchTokens))
    let results = Mutex([[Float]](repeating: [], count: texts.count))
    let next = Atomic<Int>(0)
    let cancelled = Atomic<Bool>(false)
    let body: @Sendable () -> Void = { [self] in
      let workspace = Workspace()
      while true {
        let index = next.add(1, ordering: .relaxed).oldValue
        guard index < batches.count else { return }
        if isCancelled?() == true { cancelled.store(true, ordering: .relaxed) }
        if cancelled.load(ordering: .relaxed) { return }
        let vectors = forward(batches[index].map { texts[$0] }, workspace)
        results.withLock { for (row, vector) in zip(batches[index], vectors) { $0[row] = vector } }
      }
    }
    ComputeThreads.run(min(max(1, threads), batches.count), body)
    if cancelled.load(ordering: .relaxed) { throw CancellationError() }
    return results.withLock { $0 }
  }

  private func check(_ texts: [[Int32]]) throws {
    for (row, ids) in texts.enumerated() {
      guard !ids.isEmpty else { throw PlatformError(.invalidArgument, "text \(row) has no tokens") }
      guard ids.count <= maximumTokens else {
        throw PlatformError(
          .invalidArgument, "text \(row) has \(ids.count) tokens, the model takes \(maximumTokens)",
          hint: "Truncate to \(truncationTokens) tokens.")
      }
      if let bad = ids.first(where: { $0 < 0 || $0 >= configuration.vocabularySize }) {
        throw PlatformError(
          .invalidArgument, "text \(row) has token id \(bad), the vocabulary has \(configuration.vocabularySize)")
      }
    }
  }

  /// Rows in batches of at most `limit` tokens (at least one text each), longest first.
  static func batches(_ counts: [Int], limit: Int) -> [[Int]] {
    let order = counts.indices.sorted { (counts[$1], $0) < (counts[$0], $1) }
    var batches: [[Int]] = []
    var tokens = 0
    for row in order {
      if batches.isEmpty || tokens + counts[row] > limit {
        batches.append([])
        tokens = 0
      }
      batches[batches.count - 1].append(row)
      tokens += counts[row]
    }
    return batches
  }

  /// Buffers of one thread, grown to the largest batch seen.
  private final class Workspace {
    private var buffers: [Int: UnsafeMutableBufferPointer<Float>] = [:]

    func floats(_ slot: Int, _ count: Int) -> UnsafeMutablePointer<Float> {
      if let buffer = buffers[slot], buffer.count >= count, let base = buffer.baseAddress { return base }
      buffers[slot]?.deallocate()
      let base = UnsafeMutablePointer<Float>.allocate(capacity: max(1, count))
      buffers[slot] = UnsafeMutableBufferPointer(start: base, count: max(1, count))
      return base
    }

    deinit { for buffer in buffers.values { buffer.deallocate() } }
  }

  private func forward(_ texts: [[Int32]], _ workspace: Workspace) -> [[Float]] {
    let hidden = configuration.hiddenSize
    let inner = configuration.intermediateSize
    let epsilon = configuration.layerNormEpsilon
    let tokens = texts.reduce(0) { $0 + $1.count }
    let longest = texts.reduce(0) { max($0, $1.count) }
    let ids = texts.flatMap { $0 }
    let positions = texts.flatMap { (0..<Int32($0.count)).map { $0 } }
    var x = workspace.floats(0, tokens * hidden)
    var other = workspace.floats(1, tokens * hidden)
    let qkv = workspace.floats(2, tokens * 3 * hidden)
    let context = workspace.floats(3, tokens * hidden)
    let expanded = workspace.floats(4, tokens * inner)
    let scores = workspace.floats(5, longest * longest)

    pk_bert_embed_f32(
      x, weights.word.pointer, weights.position.pointer, weights.type.pointer, ids, positions, nil, tokens, hidden)
    pk_layernorm_f32(x, nil, nil, weights.gain.pointer, weights.shift.pointer, epsilon, tokens, hidden)
    for layer in weights.layers {
      Self.linear(x, layer.qkv.pointer, qkv, rows: tokens, inputs: hidden, outputs: 3 * hidden)
      pk_bias_add_f32(qkv, layer.qkvBias.pointer, tokens, 3 * hidden)
      attention(texts, qkv, context, scores)
      Self.linear(context, layer.attentionOutput.pointer, other, rows: tokens, inputs: hidden, outputs: hidden)
      pk_layernorm_f32(
        other, layer.attentionOutputBias.pointer, x, layer.attentionGain.pointer, layer.attentionShift.pointer, epsilon,
        tokens, hidden)
      swap(&x, &other)
      Self.linear(x, layer.up.pointer, expanded, rows: tokens, inputs: hidden, outputs: inner)
      switch configuration.activation {
      case .geluErf: pk_bias_gelu_erf_f32(expanded, layer.upBias.pointer, tokens, inner)
      case .geluTanh: pk_bias_gelu_tanh_f32(expanded, layer.upBias.pointer, tokens, inner)
      case .relu: pk_bias_relu_f32(expanded, layer.upBias.pointer, tokens, inner)
      }
      Self.linear(expanded, layer.down.pointer, other, rows: tokens, inputs: inner, outputs: hidden)
      pk_layernorm_f32(
        other, layer.downBias.pointer, x, layer.outputGain.pointer, layer.outputShift.pointer, epsilon, tokens, hidden)
      swap(&x, &other)
    }
    return pool(texts, x)
  }

  /// out: [rows, outputs] = x: [rows, inputs] * weight: [outputs, inputs] transposed.
  private static func linear(
    _ x: UnsafePointer<Float>, _ weight: UnsafePointer<Float>, _ out: UnsafeMutablePointer<Float>, rows: Int, inputs: Int,
    outputs: Int
  ) {
    cblas_sgemm(
      CblasRowMajor, CblasNoTrans, CblasTrans, Int32(rows), Int32(outputs), Int32(inputs), 1, x, Int32(inputs), weight,
      Int32(inputs), 0, out, Int32(outputs))
  }

  /// Bidirectional attention inside each text. qkv: [T, 3H]; context: [T, H]; scores: room for longest * longest.
  private func attention(
    _ texts: [[Int32]], _ qkv: UnsafePointer<Float>, _ context: UnsafeMutablePointer<Float>,
    _ scores: UnsafeMutablePointer<Float>
  ) {
    let hidden = configuration.hiddenSize
    let headSize = configuration.headSize
    let scale = 1 / Float(headSize).squareRoot()
    let stride = Int32(3 * hidden)
    var first = 0
    for text in texts {
      let count = text.count
      let rows = Int32(count)
      for head in 0..<configuration.headCount {
        let query = qkv + first * 3 * hidden + head * headSize
        cblas_sgemm(
          CblasRowMajor, CblasNoTrans, CblasTrans, rows, rows, Int32(headSize), 1, query, stride, query + hidden, stride, 0,
          scores, rows)
        pk_softmax_rows_f32(scores, scale, count, count, count)
        cblas_sgemm(
          CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, Int32(headSize), rows, 1, scores, rows, query + 2 * hidden,
          stride, 0, context + first * hidden + head * headSize, Int32(hidden))
      }
      first += count
    }
  }

  private func pool(_ texts: [[Int32]], _ x: UnsafePointer<Float>) -> [[Float]] {
    let hidden = configuration.hiddenSize
    var first = 0
    return texts.map { text in
      defer { first += text.count }
      return [Float](unsafeUninitializedCapacity: hidden) { buffer, count in
        count = hidden
        guard let out = buffer.baseAddress else { return }
        switch pooling.mode {
        case .mean: pk_mean_rows_f32(out, x + first * hidden, text.count, hidden)
        case .cls: out.update(from: x + first * hidden, count: hidden)
        }
        if pooling.normalizes { pk_normalize_f32(out, hidden) }
      }
    }
  }
}

/// A few threads for the length of one call.
enum ComputeThreads {
  /// Runs `body` on `count` threads, the caller's among them; returns when all are done.
  static func run(_ count: Int, _ body: @escaping @Sendable () -> Void) {
    let finished = DispatchSemaphore(value: 0)
    for _ in 1..<max(1, count) {
      let thread = Thread {
        body()
        finished.signal()
      }
      thread.stackSize = 8 << 20
      thread.start()
    }
    body()
    for _ in 1..<max(1, count) { finished.wait() }
  }
}
