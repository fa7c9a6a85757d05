// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import Evaluation

@Suite struct InterpolatedNGramTests {
  @Test func countsMatchAHandComputation() throws {
    // c(0)=2 c(1)=3 c(2)=1 of 6; after 0 always 1; after 1: 0 and 2 once each (the last 1 has no successor).
    let model = try InterpolatedNGram(counted: [[0, 1, 0, 1, 2, 1]], heldOut: [], vocabularySize: 4)
    #expect(model.weights == [0.5, 0.5, 0.5])
    let p1 = 0.5 * 3 / 6 + 0.5 / 4
    #expect(abs(model.probability([0, 1], at: 1, order: 1) - p1) < 1e-12)
    #expect(abs(model.probability([0, 1], at: 1, order: 2) - (0.5 + 0.5 * p1)) < 1e-12)
    #expect(model.probability([0, 1], at: 1, order: 3) == model.probability([0, 1], at: 1, order: 2))
    let p1of2 = 0.5 / 6 + 0.5 / 4
    let p2of2 = 0.5 * 0.5 + 0.5 * p1of2
    #expect(abs(model.probability([0, 1, 2], at: 2, order: 3) - (0.5 * 0.5 + 0.5 * p2of2)) < 1e-12)
    // A history that was never seen falls back.
    #expect(model.probability([3, 1], at: 1, order: 2) == model.probability([3, 1], at: 1, order: 1))
    for history in [[0], [1], [3], [0, 1], [1, 0]] as [[Int32]] {
      let sum = (0..<4).reduce(0.0) { $0 + model.probability(history + [Int32($1)], at: history.count, order: 3) }
      #expect(abs(sum - 1) < 1e-12)
    }
  }

  @Test func fittedWeightsAreTheBestOfAGrid() throws {
    var random = SplitMix64(seed: 3)
    let sequences = (0..<60).map { _ -> [Int32] in
      var tokens: [Int32] = [0]
      for _ in 0..<30 { tokens.append(random.next() % 3 == 0 ? Int32(random.next() % 12) : (tokens.last! * 5 + 1) % 12) }
      return tokens
    }
    let parts = InterpolatedNGram.split(sequences, share: 0.2)
    #expect(parts.heldOut.count == 12 && parts.counted.count == 48)
    let model = try InterpolatedNGram(counted: parts.counted, heldOut: parts.heldOut, vocabularySize: 12)
    let best = model.negativeLogLikelihood(parts.heldOut, order: 2).sum
    for weight in stride(from: 0.05, to: 1, by: 0.05) {
      let other = parts.heldOut.reduce(0.0) { sum, tokens in
        sum
          - tokens.indices.dropFirst().reduce(0.0) { inner, index in
            let lower = model.probability(tokens, at: index, order: 1)
            let full = model.probability(tokens, at: index, order: 2)
            let frequency = (full - (1 - model.weights[1]) * lower) / model.weights[1]
            return inner + log(weight * frequency + (1 - weight) * lower)
          }
      }
      #expect(best <= other + 1e-6)
    }
    // The source is a noisy bigram: order 2 must beat order 1 by far.
    #expect(
      model.negativeLogLikelihood(parts.heldOut, order: 2).sum < 0.8
        * model.negativeLogLikelihood(parts.heldOut, order: 1).sum)
  }

  @Test func badInputIsRefused() {
    #expect(throws: PlatformError.self) { try InterpolatedNGram(counted: [], heldOut: [], vocabularySize: 4) }
    #expect(throws: PlatformError.self) { try InterpolatedNGram(counted: [[4]], heldOut: [], vocabularySize: 4) }
    #expect(throws: PlatformError.self) { try InterpolatedNGram(counted: [[-1]], heldOut: [], vocabularySize: 4) }
  }

  @Test func tokenFilesAreSplitAndChecked() throws {
    let folder = TemporaryDirectory("tokens")
    let path = folder.file("a.bin")
    try Data([1, 0, 5, 0, 1, 0, 6, 0, 7, 0]).write(to: URL(fileURLWithPath: path))
    var files = EvaluateShard.TokenFiles(paths: [path], bytesPerToken: 2, separator: 1)
    #expect(try files.read(path, vocabularySize: 8) == [[1, 5], [1, 6, 7]])
    #expect(throws: PlatformError.self) { try files.read(path, vocabularySize: 7) }
    files.bytesPerToken = 4
    #expect(throws: PlatformError.self) { try files.read(path, vocabularySize: 8) }
    #expect(throws: PlatformError.self) { try files.read(folder.file("none"), vocabularySize: 8) }
  }
}
