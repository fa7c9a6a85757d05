// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tensor
import TestSupport
import Testing

@testable import Training

@Suite struct TrainingTests {
  /// Central differences of the whole model's loss for some elements of every parameter: every operator's backward is on
  /// the path. Tolerance: f32 losses of about 4 carry 5e-7, over 2 * 1e-2 that is 2.5e-5 of absolute error and more from curvature.
  @Test(arguments: [1, 2], [false, true]) func gradientsEqualFiniteDifferences(world: Int, tied: Bool) throws {
    let worst = try ThreadGang.run(world) { collective in
      let decoder = try TrainableDecoder(tiny(world: world, tied: tied), collective: collective)
      var generator = SplitMix64(seed: 5)
      // Larger weights than at the start of training: gradients well above the noise of f32.
      for p in decoder.parameters.parameters where p.wholeRows > 1 {
        for i in 0..<p.count { decoder.parameters.values[p.offset + i] *= 6 }
      }
      let tokens = (0..<4 * 17).map { _ in Int32.random(in: 0..<64, using: &generator) }
      func loss(_ train: Bool) throws -> Double { try decoder.loss(tokens, rows: 4, length: 16, train: train).mean }
      decoder.parameters.zeroGradients()
      _ = try loss(true)
      var worst = 0.0
      for p in decoder.parameters.parameters {
        for _ in 0..<3 {
          let row = Int.random(in: 0..<p.wholeRows, using: &generator)
          let column = Int.random(in: 0..<p.wholeColumns, using: &generator)
          let mine =
            row >= p.firstRow && row < p.firstRow + p.rows && column >= p.firstColumn
            && column < p.firstColumn + p.columns
          let place = mine ? p.offset + (row - p.firstRow) * p.columns + column - p.firstColumn : nil
          let step: Float = 1e-2
          let before = place.map { decoder.parameters.values[$0] } ?? 0
          if let place { decoder.parameters.values[place] = before + step }
          let above = try loss(false)
          if let place { decoder.parameters.values[place] = before - step }
          let below = try loss(false)
          if let place {
            decoder.parameters.values[place] = before
            let numeric = (above - below) / Double(2 * step)
            let exact = Double(decoder.parameters.gradients[place])
            worst = max(worst, abs(numeric - exact) / (abs(exact) + 0.02))
          }
        }
      }
      return worst
    }
    #expect(worst.allSatisfy { $0 < 2e-2 }, "\(worst)")
  }

  @Test func twoRanksFollowOne() throws {
    let folder = TemporaryDirectory("train")
    try writeTokens(folder.file("tokens"))
    let curves = try [1, 2].map { world in
      try train(folder, "tp\(world)", tiny(world: world, steps: 50), world)[0]
    }
    #expect(curves[0].losses.count == 50 && curves[0].losses.last!.loss < curves[0].losses[0].loss - 0.5)
    for (one, two) in zip(curves[0].losses, curves[1].losses) {
      #expect(abs(one.loss - two.loss) < 1e-3 * one.loss, "step \(one.step)")
    }
    #expect(abs(curves[0].validationLoss! - curves[1].validationLoss!) < 1e-2)
  }

  @Test(arguments: [1, 2]) func resumedWeightsAreEqualBitForBit(world: Int) throws {
    let folder = TemporaryDirectory("train")
    try writeTokens(folder.file("tokens"))
    let c = tiny(world: world, steps: 12, checkpointEvery: 3)
    let whole = try train(folder, "whole", c, world)[0]
    #expect(throws: (any Error).self) { try train(folder, "cut", c, world, stopAfter: 8) }
    // A damaged newer checkpoint and an unfinished one must both be passed over.
    let newest = folder.file("cut-checkpoints/step-6")
    #expect(FileManager.default.fileExists(atPath: newest))
    try Data("damage".utf8).write(to: URL(fileURLWithPath: newest + "/rank-0.bin"))
    try FileManager.default.createDirectory(
      atPath: folder.file("cut-checkpoints/step-9.tmp"), withIntermediateDirectories: true)
    let resumed = try train(folder, "cut", c, world)[0]
    #expect(resumed.losses == whole.losses)
    func digest(_ result: TrainResult) -> String? { result.files.first { $0.path.hasSuffix("model.safetensors") }?.sha256 }
    #expect(digest(whole) != nil && digest(whole) == digest(resumed))
  }

  @Test func notANumberStopsAtOnce() throws {
    let folder = TemporaryDirectory("train")
    try writeTokens(folder.file("tokens"))
    var c = tiny(steps: 50)
    c.learningRate = 1e38
    c.warmupSteps = 0
    #expect { try train(folder, "nan", c, 1) } throws: { ($0 as? PlatformError)?.message.contains("of step") ?? false }
  }

  @Test func damagedTokenFilesAreRefused() throws {
    let folder = TemporaryDirectory("train")
    let path = folder.file("tokens")
    try writeTokens(path)
    let good = try Data(contentsOf: URL(fileURLWithPath: path))
    #expect(try TokenShardFile(path: path).documentCount == 40)
    for damage in [0, 8, 15, 24, 32, 80] {
      var bad = good
      bad[damage] = bad[damage] &+ 0x55
      try bad.write(to: URL(fileURLWithPath: path))
      #expect(throws: PlatformError.self) { try TokenShardFile(path: path) }
    }
    try good.dropLast().write(to: URL(fileURLWithPath: path))
    #expect(throws: PlatformError.self) { try TokenShardFile(path: path) }
  }

  /// transformers computes the same loss from the directory that we wrote: architecture, names, rotary pairs and layout agree.
  @Test(.enabled(if: Peers.python != nil, "no peer environment")) func transformersFindsTheSameLoss() throws {
    let folder = TemporaryDirectory("train")
    try writeTokens(folder.file("tokens"))
    let result = try train(folder, "peer", tiny(steps: 20), 1)[0]
    let source = try BatchSource([try TokenShardFile(path: folder.file("tokens"))], length: 16, seed: 7)
    var rows: [[Int32]] = []
    for row in 0..<8 {
      var tokens = [Int32](repeating: 0, count: 17)
      source.copy(row: row, &tokens)
      rows.append(tokens)
    }
    let out = try Peers.run(
      """
      import sys, json, torch
      from transformers import AutoModelForCausalLM
      m = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
      x = torch.tensor(json.loads(sys.argv[2]))
      with torch.no_grad(): y = m(x[:, :-1]).logits
      print(torch.nn.functional.cross_entropy(y.reshape(-1, y.shape[-1]), x[:, 1:].reshape(-1)).item())
      """, [result.modelDirectory, "\(rows)"])
    let peer = try #require(Double(out.trimmingCharacters(in: .whitespacesAndNewlines)))
    // Both sum in f32; the loss is a mean of 128 terms.
    #expect(abs(peer - result.validationLoss!) < 1e-4)
  }

  @discardableResult
  private func train(
    _ folder: TemporaryDirectory, _ name: String, _ c: TrainingConfiguration, _ world: Int, stopAfter: Int = .max
  ) throws -> [TrainResult] {
    let tokens = folder.file("tokens")
    let (checkpoints, output) = (folder.file(name + "-checkpoints"), folder.file(name + "-model"))
    return try ThreadGang.run(world) { collective in
      try TrainRank.run(
        TrainRankShard(
          configuration: c, rank: collective.rank, world: world, trainFiles: [tokens], testFiles: [tokens],
          checkpointDirectory: checkpoints, outputDirectory: output),
        collective: collective, context: StoppingContext(looks: stopAfter))
    }
  }
}
