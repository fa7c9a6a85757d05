// SPDX-License-Identifier: Apache-2.0

import Foundation
import Models
public import Tensor

/// A Llama decoder on a tape: one rank's part of it. Tensor-parallel as Megatron-LM (Shoeybi et al., 2019): q, k, v, gate, up
/// split by rows, o and down by columns, vocabulary by rows; norms replicated.
public final class TrainableDecoder {
  public let configuration: TrainingConfiguration
  public let parameters: ParameterStore
  public let tape: Tape
  private let rotation: UnsafeMutablePointer<Float>
  private let ids: UnsafeMutablePointer<Int32>
  private let targets: UnsafeMutablePointer<Int32>
  private let capacity: Int

  /// Allocates and initialises the weights: normal numbers of deviation 0.02, divided by sqrt(2 * layers) for o and down
  /// (Radford et al., 2019); gains 1. They depend on the seed only, not on the layout.
  public init(_ configuration: TrainingConfiguration, collective: any Collective) throws {
    try configuration.validate()
    self.configuration = configuration
    parameters = ParameterStore(
      Self.declarations(configuration), rank: collective.rank, world: collective.worldSize)
    tape = Tape(parameters: parameters, collective: collective)
    capacity = configuration.batchTokens
    ids = .allocate(capacity: capacity)
    targets = .allocate(capacity: capacity)
    let model = configuration.modelConfiguration(bos: nil, eos: nil)
    let size = model.headSize
    rotation = .allocate(capacity: configuration.sequenceLength * size)
    for (index, frequency) in model.inverseFrequencies.enumerated() {
      for position in 0..<configuration.sequenceLength {
        let angle = Float(position) * frequency
        rotation[position * size + index] = cosf(angle)
        rotation[position * size + size / 2 + index] = sinf(angle)
      }
    }
    let residual = 0.02 / Float(2 * configuration.layerCount).squareRoot()
    for parameter in parameters.parameters {
      if parameter.name.hasSuffix("norm.weight") {
        parameters.fill(parameter, with: 1)
      } else {
        let deviation: Float = parameter.split == .columns ? residual : 0.02
        parameters.initializeNormal(parameter, seed: configuration.seed, deviation: deviation)
      }
    }
  }

  deinit {
    rotation.deallocate()
    ids.deallocate()
    targets.deallocate()
  }

  private static func declarations(_ c: TrainingConfiguration) -> [ParameterStore.Declaration] {
    let model = c.modelConfiguration(bos: nil, eos: nil)
    return LlamaWeightNames.shapes(model).map { name, shape in
      let split: ParameterSplit
      if shape.count == 1 {
        split = .replicated
      } else if name.hasSuffix("o_proj.weight") || name.hasSuffix("down_proj.weight") {
        split = .columns
      } else {
        split = .rows
      }
      return .init(
        name, rows: shape.count == 1 ? 1 : shape[0], columns: shape.last ?? 1, split: split,
        decays: shape.count > 1 && name != LlamaWeightNames.embedding)
    }
  }

  /// Forward over `rows` rows of `length` + 1 tokens (input and, shifted by one, target), and with `train` the gradients of
  /// the mean loss, added to the parameter store. Collective: every rank passes the same rows.
  /// - Parameter length: at most the configured sequence length; rows * length at most `batchTokens`.
  public func loss(_ tokens: UnsafePointer<Int32>, rows: Int, length: Int, train: Bool) throws -> CrossEntropy {
    precondition(length <= configuration.sequenceLength && rows * length <= capacity)
    for row in 0..<rows {
      (ids + row * length).update(from: tokens + row * (length + 1), count: length)
      (targets + row * length).update(from: tokens + row * (length + 1) + 1, count: length)
    }
    tape.reset()
    tape.records = train
    let hidden = tape.enterParallel(try body(count: rows * length, length: length))
    let head = configuration.tieWordEmbeddings ? LlamaWeightNames.embedding : LlamaWeightNames.head
    let result = try tape.crossEntropy(hidden, head: parameters[head], targets: targets)
    if train { try tape.backward() }
    return result
  }

  /// [count, hidden] after the final norm.
  private func body(count: Int, length: Int) throws -> Activation {
    let c = configuration
    let (world, epsilon) = (tape.collective.worldSize, Float(c.normEpsilon))
    let table = parameters[LlamaWeightNames.embedding]
    var x = try tape.leaveParallel(tape.embedding(ids, count: count, table: table))
    for index in 0..<c.layerCount {
      let names = LlamaWeightNames.layer(index)
      let normed = tape.enterParallel(tape.rmsNorm(x, gain: parameters[names.inputNorm], epsilon: epsilon))
      let attended = tape.causalAttention(
        tape.linear(normed, weights: [parameters[names.query], parameters[names.key], parameters[names.value]]),
        heads: c.headCount / world, groups: c.keyValueHeadCount / world, size: c.hiddenSize / c.headCount, length: length,
        rotation: rotation)
      x = tape.add(x, try tape.leaveParallel(tape.linear(attended, weight: parameters[names.output])))
      let second = tape.enterParallel(tape.rmsNorm(x, gain: parameters[names.attentionNorm], epsilon: epsilon))
      let gated = tape.swiGLU(tape.linear(second, weights: [parameters[names.gate], parameters[names.up]]))
      x = tape.add(x, try tape.leaveParallel(tape.linear(gated, weight: parameters[names.down])))
    }
    return tape.rmsNorm(x, gain: parameters[LlamaWeightNames.finalNorm], epsilon: epsilon)
  }
}
