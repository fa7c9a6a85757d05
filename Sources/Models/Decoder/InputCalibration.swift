// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
import Foundation
import Tensor

/// How large the inputs of a decoder's matrices usually are: measured on a few random tokens, layer by layer while the weights are loaded, so that
/// no more than one layer is in memory beside them. Which inputs are large is a matter of the weights; random tokens show it as well as a text does.
final class InputCalibration {
  private let plan: DecoderPlan
  private let loader: WeightLoader
  private let embedding: EmbeddingTable
  private let batch: DecoderBatch
  /// [tokens, hidden], before the layer that comes next.
  private var states: [Float]

  /// Nil where nothing is levelled, or where a file's own 4 bits are kept: those ask for no more.
  /// - Throws: as reading the embeddings does.
  init?(_ plan: DecoderPlan, _ loader: WeightLoader, _ embedding: EmbeddingTable, _ positions: EmbeddingTable?) throws {
    guard plan.layerCount > 0, plan.vocabularySize > 0, loader.precision == .int8 || loader.precision == .int4 else { return nil }
    let attention = try plan.layer(0).attention
    guard try loader.levels(of: [attention.query, attention.key, attention.value], nil) != nil else { return nil }
    self.plan = plan
    self.embedding = embedding
    // Weights as the file holds them, where they can be used like that; else in what takes little memory and time.
    let query = try loader.view(attention.query.tensor, shape: attention.query.stored)
    let precision: WeightPrecision = query.blocks != nil ? .int8 : query.dtype == .f16 ? .bf16 : .f32
    self.loader = WeightLoader(source: loader.source, precision: precision, gainsAreWhole: loader.gainsAreWhole)
    let count = min(DecoderRunner.blockSize, plan.maxPositions)
    var generator = SplitMix64(seed: 0x5eed)
    let tokens = (0..<count).map { _ in Int32(generator.next() % UInt64(plan.vocabularySize)) }
    var batch = DecoderBatch()
    batch.append(tokens: tokens, computed: 0, blocks: [0], logits: .none)
    self.batch = batch
    var states = [Float](repeating: 0, count: count * plan.hiddenSize)
    var position = [Float](repeating: 0, count: plan.hiddenSize)
    try states.withUnsafeMutableBufferPointer { states in
      guard let base = states.baseAddress else { return }
      for (row, token) in tokens.enumerated() {
        try embedding.copy(row: Int(token), into: base + row * plan.hiddenSize)
        guard let positions else { continue }
        try positions.copy(row: row, into: &position)
        pk_add(base + row * plan.hiddenSize, position, plan.hiddenSize)
      }
      if plan.embeddingScale != 1 { pk_scale(base, plan.embeddingScale, states.count) }
    }
    self.states = states
  }

  /// Takes the tokens through a layer; layers come in order.
  /// - Throws: as loading it does.
  func layer(_ index: Int) throws -> LayerInputs {
    var loader = loader
    loader.storage = WeightStorage()
    let model = try DecoderModel(layer: index, of: plan, loader, embedding)
    let runner = try DecoderRunner(
      model: model, blockCount: 1, maxRows: batch.tokens.count, threads: min(8, ProcessInfo.processInfo.activeProcessorCount), cache: .f32)
    var inputs = LayerInputs()
    try states.withUnsafeMutableBufferPointer { states in
      guard let base = states.baseAddress else { return }
      try runner.pass(base, batch) { place, x, rows, columns in
        inputs[keyPath: place] = Self.meanSquares(x, rows, columns)
        loader.storage.dropPages()  // of the matrices before: they were multiplied with
      }
    }
    loader.storage.dropPages()
    return inputs
  }

  /// Of what the vocabulary's matrix is multiplied with, behind the last layer: [hidden].
  func states(behind norm: Norm) -> [Float] {
    var normed = states
    normed.withUnsafeMutableBufferPointer { normed in
      guard let base = normed.baseAddress else { return }
      norm.apply(base, base, rows: batch.tokens.count, count: plan.hiddenSize)
    }
    return Self.meanSquares(normed, batch.tokens.count, plan.hiddenSize)
  }

  /// x: [rows, columns]
  private static func meanSquares(_ x: UnsafePointer<Float>, _ rows: Int, _ columns: Int) -> [Float] {
    var squares = [Float](repeating: 0, count: columns)
    pk_mean_squares(x, rows, columns, &squares)
    return squares
  }
}
