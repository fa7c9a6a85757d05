// SPDX-License-Identifier: Apache-2.0

import CKernels
import COpenBLAS
import Core
import Foundation
import Tensor

/// A text encoder of any known architecture: token ids in, hidden states or one vector a text out.
///
/// Texts lie one behind the other, so nothing is padded, and a text's numbers do not depend on its neighbours. Immutable and usable
/// from many threads.
public final class EncoderModel: @unchecked Sendable {  // all is written in init only
  public let architecture: String
  public let vocabularySize: Int
  public let hiddenSize: Int
  /// The longest text in tokens; nil when positions are computed.
  public let maxTokens: Int?
  /// The longest text that the model was made for.
  public let trainedTokens: Int
  /// Types of tokens that the model tells apart; 0 when it has none.
  public let typeCount: Int
  private let plan: EncoderPlan
  private let word: Matrix
  private let positions: Matrix?
  /// [types, hidden]
  private let types: UnsafePointer<Float>?
  private let embeddingNorm: Norm?
  private let relativeBias: Matrix?
  private let layers: [Layer]
  private let finalNorm: Norm?
  private let storage: WeightStorage
  /// Whether attention may round what it multiplies, as the matrices do.
  private let roundsAttention: Bool

  /// Opens a Hugging Face model folder: `config.json` and safetensors (one file or shards).
  /// - Parameter precision: what matrices are multiplied as.
  /// - Throws: `notFound`; `invalidFile` naming the key (PLT-4102), tensor (PLT-4103) or file (PLT-4101) that cannot be used;
  ///   PLT-5200 for an architecture that is not built.
  public init(directory: String, precision: WeightPrecision = .f32) throws {
    do {
      let fields = ConfigurationFields(json: try ModelFolder.configuration(directory))
      let architecture = try ModelArchitectures.encoder(fields)
      let plan = try architecture.plan(fields)
      let loader = WeightLoader(source: try SafeTensorsDirectory(path: directory), precision: precision, scalesWholeRows: true)
      func table(_ tensor: String, _ rows: Int, _ columns: Int) throws -> Matrix {
        let matrix = try loader.matrix(MatrixPlan(tensor: tensor, stored: [rows, columns], first: 0, rows: rows, columns: columns))
        return matrix
      }
      word = try table(plan.embedding, plan.vocabularySize, plan.hiddenSize)
      positions = try plan.positionEmbedding.map { try table($0.tensor, $0.rows, plan.hiddenSize) }
      if let types = plan.typeEmbedding {
        let matrix = try table(types.tensor, types.rows, plan.hiddenSize)
        let rows = loader.storage.floats(types.rows * plan.hiddenSize)
        for row in 0..<types.rows { pk_embed_row(matrix.type, matrix.weights, row, rows + row * plan.hiddenSize, plan.hiddenSize) }
        self.types = UnsafePointer(rows)
      } else {
        types = nil
      }
      typeCount = plan.typeEmbedding?.rows ?? 0
      embeddingNorm = try plan.embeddingNorm.map(loader.norm)
      layers = try (0..<plan.layerCount).map { try loader.layer(plan.layer($0)) }
      finalNorm = try plan.finalNorm.map(loader.norm)
      let heads = layers.first?.plan.attention.heads ?? 1
      relativeBias = try plan.relativeBias.map { try table($0.tensor, $0.buckets, heads) }
      self.plan = plan
      roundsAttention = precision == .int8
      self.architecture = fields.value("model_type")?.stringValue ?? architecture.modelTypes[0]
      storage = loader.storage
    } catch {
      throw PlatformError.from(error, context: "loading model \(directory)")
    }
    vocabularySize = plan.vocabularySize
    hiddenSize = plan.hiddenSize
    maxTokens = plan.maxTokens
    trainedTokens = plan.maxTokens ?? plan.rotary.map(\.maxPositions).min() ?? 512
    openblas_set_num_threads(1)  // parallelism is ours
  }

  /// The last hidden states of all tokens: [tokens of all texts, hidden], texts one behind the other.
  /// - Parameter types: of each token of each text, for a model that has several; nil: 0.
  /// - Throws: `invalidArgument` (PLT-5202) for an empty text, one that is too long, or an id outside the vocabulary or type that is none.
  public func hiddenStates(_ texts: [[Int32]], types: [[Int32]]? = nil, threads: Int = 1) throws -> [Float] {
    try check(texts)
    if let types {
      guard types.map(\.count) == texts.map(\.count), types.allSatisfy({ $0.allSatisfy { (0..<Int32(max(1, typeCount))).contains($0) } }) else {
        throw PlatformError(.invalidArgument, "every token needs a type below \(max(1, typeCount))", number: "PLT-5202")
      }
    }
    let tokens = texts.reduce(0) { $0 + $1.count }
    guard tokens > 0 else { return [] }
    return try [Float](unsafeUninitializedCapacity: tokens * hiddenSize) { buffer, count in
      count = tokens * hiddenSize
      if let base = buffer.baseAddress { try forward(texts, types, base, tokens, EncoderWorkspace(threads: threads)) }
    }
  }

  /// One vector [hidden] for each text, in the order given. `isCancelled` is asked before every few hundred tokens.
  /// - Throws: like `hiddenStates`; `CancellationError`.
  public func encode(_ texts: [[Int32]], pooling: SentencePooling, threads: Int = 1, isCancelled: (@Sendable () -> Bool)? = nil) throws -> [[Float]] {
    try check(texts)
    let workspace = EncoderWorkspace(threads: threads)
    var vectors: [[Float]] = []
    vectors.reserveCapacity(texts.count)
    var states: [Float] = []
    for batch in EncoderWorkspace.batches(texts.map(\.count)) {
      if isCancelled?() == true { throw CancellationError() }
      let own = Array(texts[batch])
      let tokens = own.reduce(0) { $0 + $1.count }
      if states.count < tokens * hiddenSize { states = [Float](repeating: 0, count: tokens * hiddenSize) }
      try states.withUnsafeMutableBufferPointer { states in
        guard let base = states.baseAddress else { return }
        try forward(own, nil, base, tokens, workspace)
        var first = 0
        for text in own {
          vectors.append(pooled(base + first * hiddenSize, text.count, pooling))
          first += text.count
        }
      }
    }
    return vectors
  }

  /// x: [tokens, hidden] of one text.
  private func pooled(_ x: UnsafePointer<Float>, _ tokens: Int, _ pooling: SentencePooling) -> [Float] {
    [Float](unsafeUninitializedCapacity: hiddenSize) { buffer, count in
      count = hiddenSize
      guard let out = buffer.baseAddress else { return }
      switch pooling.mode {
      case .mean: pk_mean_rows_f32(out, x, tokens, hiddenSize)
      case .cls: out.update(from: x, count: hiddenSize)
      }
      if pooling.normalizes { pk_normalize_f32(out, hiddenSize) }
    }
  }

  /// Whether `hiddenStates` takes the texts.
  /// - Throws: what it would.
  public func check(_ texts: [[Int32]]) throws {
    func refuse(_ what: String) -> PlatformError { PlatformError(.invalidArgument, what, number: "PLT-5202") }
    for (number, ids) in texts.enumerated() {
      guard !ids.isEmpty else { throw refuse("text \(number) has no token ids") }
      if let maxTokens, ids.count > maxTokens { throw refuse("text \(number) has \(ids.count) tokens, the model takes \(maxTokens)") }
      if let bad = ids.first(where: { $0 < 0 || $0 >= vocabularySize }) {
        throw refuse("text \(number) has token id \(bad), the vocabulary has \(vocabularySize)")
      }
    }
  }

  private func numbers(_ ids: [Int32]) -> [Int32] {
    switch plan.positions {
    case .counted: return (0..<Int32(ids.count)).map { $0 }
    case .behind(let padding):
      var next = padding
      return ids.map { id in
        guard id != padding else { return padding }
        next += 1
        return next
      }
    }
  }

  /// x: [tokens, hidden]
  private func forward(_ texts: [[Int32]], _ kinds: [[Int32]]?, _ x: UnsafeMutablePointer<Float>, _ tokens: Int, _ workspace: EncoderWorkspace) throws {
    let blocks = workspace.blocks
    let width = hiddenSize
    let widest = layers.reduce(width) { max($0, $1.plan.attention.heads * $1.plan.attention.headSize) }
    let normed = workspace.floats(tokens * (2 * width + 4 * widest))
    let branch = normed + tokens * width
    let query = branch + tokens * width
    let key = query + tokens * widest
    let value = key + tokens * widest
    let context = value + tokens * widest

    let counted = texts.flatMap { (0..<Int32($0.count)).map { $0 } }
    var row = 0
    for (number, text) in texts.enumerated() {
      for (place, (id, position)) in zip(text, numbers(text)).enumerated() {
        pk_embed_row(word.type, word.weights, Int(id), x + row * width, width)
        if let types { pk_add(x + row * width, types + Int(kinds?[number][place] ?? 0) * width, width) }
        if let positions {
          pk_embed_row(positions.type, positions.weights, Int(position), normed, width)
          pk_add(x + row * width, normed, width)
        }
        row += 1
      }
    }
    func normalize(_ norm: Norm?, _ from: UnsafePointer<Float>, _ to: UnsafeMutablePointer<Float>) {
      guard let norm else { return }
      blocks.byRows(tokens, least: max(1, 16384 / width)) {
        norm.apply(from + $0.lowerBound * width, to + $0.lowerBound * width, rows: $0.count, count: width)
      }
    }
    /// A few rows at a time, which are near while they are normalised.
    func add(_ branch: UnsafePointer<Float>, _ norm: Norm?) {
      blocks.byRows(tokens, least: max(1, 16384 / width)) { rows in
        for first in stride(from: rows.lowerBound, to: rows.upperBound, by: 4) {
          let (count, at) = (min(4, rows.upperBound - first), first * width)
          pk_add(x + at, branch + at, count * width)
          norm?.apply(x + at, x + at, rows: count, count: width)
        }
      }
    }
    normalize(embeddingNorm, x, x)
    let turns = plan.rotary.map { RotaryTable($0, counted) }
    for layer in layers {
      let input = layer.attentionNorm == nil ? x : normed
      normalize(layer.attentionNorm, x, normed)
      blocks.linear(layer.query, input, query, rows: tokens)
      blocks.linear(layer.key, input, key, rows: tokens, again: true)
      blocks.linear(layer.value, input, value, rows: tokens, again: true)
      let attention = layer.plan.attention
      if let kind = attention.rotary, turns.indices.contains(kind) {
        turns[kind].apply(query, tokens, attention.heads, attention.headSize)
        turns[kind].apply(key, tokens, attention.heads, attention.headSize)
      }
      attend(attention, texts, query, key, value, context, workspace)
      blocks.linear(layer.output, context, branch, rows: tokens)
      add(branch, layer.plan.arrangement == .postNorm ? layer.attentionOutputNorm : nil)
      let between = layer.mixerNorm == nil ? x : normed
      normalize(layer.mixerNorm, x, normed)
      try blocks.run(layer.mixer, between, branch, rows: tokens, hidden: width)
      add(branch, layer.plan.arrangement == .postNorm ? layer.mixerOutputNorm : nil)
    }
    normalize(finalNorm, x, x)
  }

  /// Attention inside each text, to both sides. query, key, value, context: [tokens, heads * size].
  private func attend(
    _ plan: AttentionPlan, _ texts: [[Int32]], _ query: UnsafePointer<Float>, _ key: UnsafePointer<Float>, _ value: UnsafePointer<Float>,
    _ context: UnsafeMutablePointer<Float>, _ workspace: EncoderWorkspace
  ) {
    let (heads, size) = (plan.heads, plan.headSize)
    let stride = Int32(heads * size)
    let longest = texts.reduce(0) { max($0, $1.count) }
    let isPlain = relativeBias == nil && plan.window == nil && size % 16 == 0
    if isPlain {
      let part = pk_text_attention_scratch(longest, size)
      let scratch = workspace.scores(heads * part)
      return workspace.blocks.parallel(heads) { head in
        var first = 0
        for text in texts {
          let place = (first * heads + head) * size
          let attention = roundsAttention ? pk_text_attention_bf16 : pk_text_attention_f32
          attention(query + place, key + place, value + place, heads * size, context + place, text.count, size, plan.scale, scratch + head * part)
          first += text.count
        }
      }
    }
    // Of long texts the scores of all heads at once would be too much.
    let scratch = heads * longest * longest <= 1 << 22 ? workspace.scores(heads * longest * longest) : nil
    var first = 0
    for text in texts {
      let count = text.count
      let rows = Int32(count)
      let offset = first * heads * size
      let buckets = relativeBias == nil ? [] : Self.buckets(count)
      workspace.blocks.parallel(heads) { head in
        let scores = scratch.map { $0 + head * longest * longest } ?? .allocate(capacity: count * count)
        defer { if scratch == nil { scores.deallocate() } }
        let place = offset + head * size
        cblas_sgemm(
          CblasRowMajor, CblasNoTrans, CblasTrans, rows, rows, Int32(size), 1, query + place, stride, key + place, stride, 0, scores, rows)
        var scale = plan.scale
        if let bias = relativeBias {
          let table = UnsafeMutablePointer<Float>.allocate(capacity: bias.rows * heads)
          defer { table.deallocate() }
          for row in 0..<bias.rows { pk_embed_row(bias.type, bias.weights, row, table + row * heads, heads) }
          pk_attention_bias(scores, table, heads, head, buckets, count, scale)
          scale = 1
        }
        if let reach = plan.window { pk_attention_window(scores, count, reach) }
        pk_softmax_rows_f32(scores, scale, count, count, count)
        cblas_sgemm(
          CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, Int32(size), rows, 1, scores, rows, value + place, stride, 0, context + place, stride)
      }
      first += count
    }
  }

  /// T5's buckets of distances (Raffel et al., 2020) as MPNet uses them: 32, half of them for tokens behind, the larger distances
  /// up to 128 in logarithmic steps. [2 * count - 1], by distance + count - 1.
  static func buckets(_ count: Int) -> [Int32] {
    (1 - count..<count).map { distance in
      let side: Int32 = distance > 0 ? 16 : 0
      let size = abs(distance)
      if size < 8 { return side + Int32(size) }
      let large = 8 + Int32(log(Float(size) / 8) / Float(log(128.0 / 8.0)) * 8)
      return side + min(large, 15)
    }
  }
}

/// Cosines and sines of packed texts.
private final class RotaryTable {
  private let half: Int
  private let cosine: UnsafeMutablePointer<Float>
  private let sine: UnsafeMutablePointer<Float>

  init(_ plan: RotaryPlan, _ positions: [Int32]) {
    half = plan.half
    cosine = .allocate(capacity: max(1, positions.count * half))
    sine = .allocate(capacity: max(1, positions.count * half))
    let longest = positions.reduce(0) { max($0, Int($1) + 1) }
    pk_rope_table(positions, plan.frequencies(length: longest), cosine, sine, positions.count, half)
    if plan.amplitude != 1 {
      pk_scale(cosine, plan.amplitude, positions.count * half)
      pk_scale(sine, plan.amplitude, positions.count * half)
    }
  }

  func apply(_ x: UnsafeMutablePointer<Float>, _ rows: Int, _ heads: Int, _ size: Int) {
    pk_rope_apply_partial(x, cosine, sine, rows, heads, size, half)
  }

  deinit {
    cosine.deallocate()
    sine.deallocate()
  }
}
