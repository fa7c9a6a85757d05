// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Models
import Tensor
import Training

/// Whole training steps of a small Llama on one rank: forward, backward, gradient clipping, AdamW.
enum TrainingGroup {
  static func run(_ setup: Setup, report: Group.Report) async throws {
    let configuration = TrainingConfiguration(vocabularySize: 4096, hiddenSize: 256, intermediateSize: 688, headCount: 8, keyValueHeadCount: 4)
    let decoder = try TrainableDecoder(configuration, collective: SingleRank())
    let optimizer = AdamW(decoder.parameters)
    var generator = SplitMix64(seed: 5)
    let count = configuration.rowsPerStep * (configuration.sequenceLength + 1)
    let tokens = (0..<count).map { _ in Int32(generator.next() % UInt64(configuration.vocabularySize)) }

    // The peer starts from our weights.
    let model = configuration.modelConfiguration(bos: nil, eos: nil)
    try FileManager.default.createDirectory(atPath: setup.file("start"), withIntermediateDirectories: true)
    var writer = SafeTensorsWriter()
    for (name, shape) in LlamaWeightNames.shapes(model) {
      let parameter = decoder.parameters[name]
      let values = UnsafeBufferPointer(start: decoder.parameters.values + parameter.offset, count: parameter.count)
      try writer.add(name, shape: shape, Array(values))
    }
    try writer.write(to: setup.file("start/model.safetensors"))
    try model.save(directory: setup.file("start"))
    try setup.peer.call(
      "training.load",
      [
        "folder": .string(setup.file("start")), "tokens": try setup.write(tokens, "batch"), "rows": .integer(Int64(configuration.rowsPerStep)),
        "beta1": .number(configuration.beta1), "beta2": .number(configuration.beta2), "epsilon": .number(configuration.epsilon),
        "decay": .number(configuration.weightDecay), "clip": .number(configuration.clip),
        "still": .array(decoder.parameters.parameters.filter { !$0.decays }.map { .string($0.name) }), "threads": 1,
      ])

    var step = 0
    func ours() throws -> Double {
      step += 1
      decoder.parameters.zeroGradients()
      let loss = try decoder.loss(tokens, rows: configuration.rowsPerStep, length: configuration.sequenceLength, train: true).mean
      let norm = try optimizer.gradientNorm(SingleRank())
      optimizer.update(step: step, learningRate: 1e-3, gradientNorm: norm, configuration)
      return loss
    }
    for _ in 0..<3 {
      let mine = try ours()
      let theirs = try setup.peer.call("training.step")["loss"]?.doubleValue ?? .nan
      try check(abs(mine / theirs - 1) < 1e-3, "loss of step \(step): \(mine) and \(theirs)")
    }
    try await report(
      Comparison(
        what: "training step, Llama of \(Table.short(Double(model.parameterCount) / 1e6))M", ours: "TrainableDecoder + AdamW",
        peer: "transformers + fused AdamW", threads: 1, amount: Double(configuration.batchTokens), unit: "tokens",
        runOurs: { _ in try seconds { _ = try ours() } }, runPeer: { _ in try setup.peer.time("training.step") }))
  }
}
