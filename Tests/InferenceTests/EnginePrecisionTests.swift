// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Models
import Tensor
import TestSupport
import Testing

@testable import Inference

/// Large enough that a step's matrices are shared among threads.
private let wide = LlamaConfiguration(
  vocabularySize: 258, hiddenSize: 256, intermediateSize: 512, layerCount: 2, headCount: 4, keyValueHeadCount: 2, maxPositions: 256,
  tieWordEmbeddings: true, bosTokenID: 256, eosTokenIDs: [257])

@Suite(.timeLimit(.minutes(2))) struct EnginePrecisionTests {
  private let prompt = (0..<160).map { Int32($0 * 7 % 256) }

  private func logits(_ model: any GenerativeModel, threads: Int, _ cache: CacheFormat? = nil) throws -> [Float] {
    let runner = try model.makeRunner(blockCount: 10, maxRows: 160, threads: threads, cache: cache ?? model.cacheFormat)
    var batch = DecoderBatch()
    batch.append(tokens: prompt, computed: 0, blocks: (0..<10).map { $0 }, logits: .all)
    return Array(try runner.forward(batch))
  }

  @Test func everyPrecisionGivesTheSameBitsForAnyNumberOfThreads() throws {
    let folder = try TestModel.folder(wide, seed: 3, spread: 0.1)
    for precision in WeightPrecision.allCases {
      let model = try GenerativeModels.open(folder.path, precision: precision)
      #expect((model is LlamaModel) == (precision == .f32))
      let one = try logits(model, threads: 1)
      #expect(try logits(model, threads: 3) == one, "\(precision)")
      #expect(one.allSatisfy(\.isFinite) && one.count == 160 * 258)
      // The stored numbers by the general path: nothing of a Llama is computed otherwise there.
      if precision == .f32 { #expect(try logits(DecoderModel(directory: folder.path), threads: 2) == one) }
    }
  }

  /// Keys and values in fewer bits move the numbers a little, as Llama and as any decoder alike.
  @Test func smallerCachesMoveNumbersALittle() throws {
    let folder = try TestModel.folder(wide, seed: 3, spread: 0.1)
    for model in [try GenerativeModels.open(folder.path), try DecoderModel(directory: folder.path)] {
      let exact = try logits(model, threads: 1)
      let deviation = Self.deviation(exact)
      for (format, bound) in [(CacheFormat.bf16, Float(0.02)), (.int8, 0.1)] {
        let one = try logits(model, threads: 1, format)
        #expect(try logits(model, threads: 3, format) == one, "\(format)")
        let worst = zip(one, exact).map { abs($0 - $1) }.max() ?? .nan
        #expect(worst > 0 && worst < bound * deviation, "\(format): \(worst / deviation)")
      }
    }
  }

  private static func deviation(_ x: [Float]) -> Float {
    let mean = x.reduce(0, +) / Float(x.count)
    return (x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Float(x.count)).squareRoot()
  }

  @Test func anEngineTakesPrecisionAndThreadsFromItsConfiguration() async throws {
    let folder = try TestModel.folder(TestModel.small, seed: 5)
    var made: [[Int32]] = []
    for (precision, threads) in [(WeightPrecision.int8, 1), (.int8, 2), (.f32, 2)] {
      var configuration = InferenceEngine.Configuration()
      configuration.precision = precision
      configuration.threads = threads
      let model = try GenerativeModels.open(folder.path, precision: configuration.precision)
      let engine = try InferenceEngine(model: model, tokenizer: ByteTokenizer(), configuration: configuration)
      var request = GenerationRequest(id: "1", prompt: .text("some text"))
      request.sampling = .greedy
      request.maxTokens = 12
      made.append(try await engine.complete(request).tokenIDs)
    }
    #expect(made[0] == made[1] && made[0].count == made[2].count)
    var none = InferenceEngine.Configuration()
    none.threads = 0
    #expect(throws: PlatformError.self) { try InferenceEngine(directory: folder.path, configuration: none) }
  }
}
