// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
import Tensor

/// What a decoder takes of a machine: read from its configuration, without loading it.
public struct DecoderSizes: Codable, Sendable, Equatable {
  public var layers: Int
  /// Of all matrices, in the form that they are multiplied in.
  public var weightBytes: Int
  /// Of those that one token is multiplied with: of experts, the chosen ones.
  public var weightBytesPerToken: Int
  /// Multiplications with matrices for one token.
  public var multiplicationsPerToken: Int
  /// Keys and values of one token.
  public var cacheBytesPerToken: Int
  /// What ranks put together for one token, when they compute the model in parts.
  public var gatheredBytesPerToken: Int

  /// - Parameters:
  ///   - precision: what matrices are multiplied as.
  ///   - cache: how keys and values are kept; nil for what suits the weights.
  /// - Throws: as `DecoderModel.init`, but for tensors.
  public init(directory: String, precision: WeightPrecision = .f32, cache: CacheFormat? = nil) throws {
    let (plan, loader) = try DecoderModel.planned(directory: directory)
    (layers, weightBytes, weightBytesPerToken, multiplicationsPerToken, cacheBytesPerToken, gatheredBytesPerToken) = (plan.layerCount, 0, 0, 0, 0, 0)
    let stored = try Self.storedBytes(plan.layer(0).attention.query, loader)
    func panels(_ type: Int32, _ matrix: MatrixPlan) -> Int {
      (matrix.rows + Int(PK_PANEL) - 1) / Int(PK_PANEL) * pk_panel_bytes(type, matrix.columns)
    }
    /// - Parameter used: how often a token passes such a matrix; the file has `held` of them.
    func add(_ matrix: MatrixPlan, least: WeightPrecision? = nil, held: Int = 1, used: Int = 1) throws {
      let count = matrix.rows * matrix.columns
      let bytes: Int
      switch precision == .int4 ? try (loader.holdsFourBits(matrix) ? .int4 : least ?? .int4) : precision {
      case .f32: bytes = count * stored
      case .bf16: bytes = count * 2
      case .int8: bytes = panels(Int32(PK_WEIGHT_I8), matrix)
      case .int4: bytes = panels(Int32(PK_WEIGHT_I4), matrix)
      }
      weightBytes += bytes * held
      weightBytesPerToken += bytes * used
      multiplicationsPerToken += count * used
    }
    func add(_ block: FeedForwardPlan, held: Int = 1, used: Int = 1) throws {
      if let gate = block.gate { try add(gate, held: held, used: used) }
      try add(block.up, least: block.leastOfUp, held: held, used: used)
      try add(block.down, least: block.leastOfDown, held: held, used: used)
      gatheredBytesPerToken += 4 * block.up.rows * used
    }
    for index in 0..<plan.layerCount {
      let layer = try plan.layer(index)
      let attention = layer.attention
      for matrix in [attention.query, attention.key, attention.value, attention.output] { try add(matrix, least: .int8) }
      cacheBytesPerToken += (cache ?? precision.cacheFormat).bytes(heads: attention.keyValueHeads, size: attention.headSize)
      // Heads, and the answers of attention and of the block behind it.
      gatheredBytesPerToken += 4 * (attention.heads * attention.headSize + 2 * plan.hiddenSize)
      switch layer.mixer {
      case .dense(let block): try add(block)
      case .experts(let experts):
        try add(experts.router, least: .f32)
        if let first = experts.experts.first { try add(first, held: experts.experts.count, used: experts.chosen) }
        if let shared = experts.shared { try add(shared.expert) }
      }
    }
    if let head = plan.headMatrix(loader) { try add(head, least: .int8) }
    gatheredBytesPerToken += 4 * plan.vocabularySize
  }

  /// Bytes of one weight as `WeightPrecision.f32` keeps it.
  private static func storedBytes(_ plan: MatrixPlan, _ loader: WeightLoader) throws -> Int {
    let view = try loader.view(plan.tensor, shape: plan.stored)
    return view.blocks == nil && view.dtype == .bf16 && plan.isContiguous ? 2 : 4
  }
}
