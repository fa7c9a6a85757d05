// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Inference
import Models

/// Greedy generation with a random Llama of 28 million parameters in f32.
enum DecodeGroup {
  static let newTokens = 64

  static func run(_ setup: Setup, report: Group.Report) async throws {
    let folder = setup.file("llama")
    try setup.peer.call("decode.make", ["folder": .string(folder)])
    let model = try LlamaModel(directory: folder)
    let engine = try InferenceEngine(model: model, tokenizer: nil)
    defer { engine.shutdown() }
    let vocabulary = UInt64(model.configuration.vocabularySize)

    /// Other prompts in every round, so that no cache of prompts helps.
    func prompts(_ count: Int, _ length: Int, _ round: Int) -> [[Int32]] {
      var generator = SplitMix64(seed: UInt64(round * 1000 + count * 10 + length))
      return (0..<count).map { _ in (0..<length).map { _ in Int32(3 + generator.next() % (vocabulary - 3)) } }
    }
    func ours(_ prompts: [[Int32]], _ tokens: Int) async throws -> (seconds: Double, ids: [[Int32]]) {
      let began = ContinuousClock.now
      let ids = try await withThrowingTaskGroup(of: (Int, [Int32]).self) { group in
        for (index, prompt) in prompts.enumerated() {
          group.addTask {
            var request = GenerationRequest(id: "\(index)", prompt: .tokens(prompt))
            request.sampling = .greedy
            request.maxTokens = tokens
            request.ignoreEOS = true
            return (index, try await engine.complete(request).tokenIDs)
          }
        }
        var all = [[Int32]](repeating: [], count: prompts.count)
        for try await (index, ids) in group { all[index] = ids }
        return all
      }
      return ((ContinuousClock.now - began).inSeconds, ids)
    }
    func arguments(_ prompts: [[Int32]], _ tokens: Int) throws -> [String: JSONValue] {
      ["prompts": try JSONValue(encoding: prompts), "tokens": .integer(Int64(tokens)), "threads": 1]
    }

    for (what, batch, length, tokens) in [
      ("Llama decode, one request", 1, 16, newTokens), ("Llama decode, 8 requests", 8, 16, newTokens), ("Llama prefill of 512 tokens", 1, 512, 1),
    ] {
      let first = prompts(batch, length, 0)
      let theirs: [[Int32]] = try setup.peer.call("decode.run", arguments(first, tokens))["ids"]?.decode() ?? []
      let mine = try await ours(first, tokens).ids
      try check(mine == theirs, "tokens of \(what)")
      try await report(
        Comparison(
          what: what, ours: "InferenceEngine", peer: "transformers generate", threads: 1,
          amount: Double(tokens == 1 ? batch * length : batch * tokens), unit: "tokens",
          runOurs: { try await ours(prompts(batch, length, $0), tokens).seconds },
          runPeer: { try setup.peer.time("decode.run", arguments(prompts(batch, length, $0), tokens)) }))
    }
  }
}
