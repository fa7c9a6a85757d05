// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tensor
import TestSupport
import Testing

@testable import Training

/// Figures, not checks: set PLATFORM_BENCHMARK=1 to run.
@Suite struct ThroughputTests {
  @Test(.enabled(if: ProcessInfo.processInfo.environment["PLATFORM_BENCHMARK"] != nil, "a benchmark"), arguments: [1])
  func tokensPerSecond(world: Int) throws {
    let c = TrainingConfiguration(vocabularySize: 2048, steps: 6, checkpointEvery: 0, tensorParallel: world, validationRows: 0)
    let seconds = try ThreadGang.run(world) { collective in
      let decoder = try TrainableDecoder(c, collective: collective)
      let optimizer = AdamW(decoder.parameters)
      var generator = SplitMix64(seed: 1)
      let tokens = (0..<c.rowsPerStep * (c.sequenceLength + 1)).map { _ in Int32.random(in: 0..<2048, using: &generator) }
      var best = Double.infinity
      for step in 1...c.steps {
        let began = DispatchTime.now().uptimeNanoseconds
        decoder.parameters.zeroGradients()
        _ = try decoder.loss(tokens, rows: c.rowsPerStep, length: c.sequenceLength, train: true)
        let norm = try optimizer.gradientNorm(collective)
        optimizer.update(step: step, learningRate: 1e-3, gradientNorm: norm, c)
        best = min(best, Double(DispatchTime.now().uptimeNanoseconds - began) / 1e9)
      }
      return best
    }
    print("ranks \(world): \(Int(Double(c.batchTokens) / seconds.max()!)) tokens/s, d 192, 4 layers, vocabulary 2048")
  }
}
