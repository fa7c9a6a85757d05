// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tensor
import TestSupport
import Testing

@testable import Models

/// A random Llama whose logits spread as those of trained models do.
struct RandomLlama {
  let folder = TemporaryDirectory("precision")
  static let vocabulary = 400

  init(tied: Bool = true) throws {
    let (hidden, inner) = (256, 320)
    var generator = SplitMix64(seed: 11)
    func normal(_ shape: [Int], _ deviation: Float, plus: Float = 0) -> [Float] {
      (0..<shape.reduce(1, *)).map { _ in Float((0..<4).reduce(-2.0) { sum, _ in sum + generator.nextUnit() } * 1.7320508) * deviation + plus }
    }
    var writer = SafeTensorsWriter()
    func add(_ name: String, _ shape: [Int], _ deviation: Float, plus: Float = 0) throws {
      try writer.add(name, shape: shape, normal(shape, deviation, plus: plus))
    }
    try add("model.embed_tokens.weight", [Self.vocabulary, hidden], tied ? 0.15 : 1)
    if !tied { try add("lm_head.weight", [Self.vocabulary, hidden], 0.15) }
    try add("model.norm.weight", [hidden], 0.1, plus: 1)
    for layer in 0..<2 {
      let prefix = "model.layers.\(layer)."
      try add(prefix + "input_layernorm.weight", [hidden], 0.1, plus: 1)
      try add(prefix + "post_attention_layernorm.weight", [hidden], 0.1, plus: 1)
      for (name, rows, columns) in [
        ("self_attn.q_proj", hidden, hidden), ("self_attn.k_proj", hidden / 2, hidden), ("self_attn.v_proj", hidden / 2, hidden),
        ("self_attn.o_proj", hidden, hidden), ("mlp.gate_proj", inner, hidden), ("mlp.up_proj", inner, hidden), ("mlp.down_proj", hidden, inner),
      ] {
        try add(prefix + name + ".weight", [rows, columns], 0.05)
      }
    }
    _ = try writer.write(to: folder.file("model.safetensors"))
    let configuration: JSONValue = [
      "model_type": "llama", "vocab_size": .integer(Int64(Self.vocabulary)), "hidden_size": 256, "intermediate_size": 320, "num_hidden_layers": 2,
      "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "tie_word_embeddings": .bool(tied),
      "eos_token_id": 2,
    ]
    try Data(configuration.sortedText.utf8).write(to: URL(fileURLWithPath: folder.file("config.json")))
  }

  static func logits(_ model: DecoderModel, threads: Int = 1, chunk: Int = 256, collective: (any Collective)? = nil) throws -> [Float] {
    var all: [Float] = []
    try SingleSequence(model: model, threads: threads, chunk: chunk, collective: collective).logits(ids) { all.append(contentsOf: $0) }
    return all
  }

  static let ids = (0..<60).map { Int32($0 * 31 % vocabulary) }

  /// Mean over the positions of sum(p log(p / q)), p of `exact`.
  static func divergence(_ exact: [Float], _ other: [Float]) -> Double {
    func logarithms(_ row: ArraySlice<Float>) -> [Double] {
      let top = Double(row.max() ?? 0)
      let total = log(row.reduce(0.0) { $0 + exp(Double($1) - top) }) + top
      return row.map { Double($0) - total }
    }
    return (0..<ids.count).reduce(0.0) { sum, row in
      let range = row * vocabulary..<(row + 1) * vocabulary
      return sum + zip(logarithms(exact[range]), logarithms(other[range])).reduce(0.0) { $0 + exp($1.0) * ($1.0 - $1.1) }
    } / Double(ids.count)
  }
}

@Suite struct WeightPrecisionTests {
  @Test(arguments: [true, false]) func smallerWeightsStayNearTheExactLogits(isTied: Bool) throws {
    let model = try RandomLlama(tied: isTied)
    let exact = try RandomLlama.logits(DecoderModel(directory: model.folder.path))
    for (precision, bar) in [(WeightPrecision.bf16, 1e-4), (.int8, 2e-3), (.int4, 3e-2)] as [(WeightPrecision, Double)] {
      let loaded = try DecoderModel(directory: model.folder.path, precision: precision)
      let logits = try RandomLlama.logits(loaded)
      let divergence = RandomLlama.divergence(exact, logits)
      #expect(divergence < bar && divergence > 0, "\(precision): \(divergence)")
      for (threads, chunk) in [(2, 256), (1, 7), (3, 1)] {
        #expect(try RandomLlama.logits(loaded, threads: threads, chunk: chunk) == logits, "\(precision): \(threads) threads or chunks of \(chunk)")
      }
    }
  }

  @Test func weightsTakeTheSpaceThatTheirNameSays() throws {
    let model = try RandomLlama(tied: false)
    let attention = 2 * 256 * 256 * 3
    let inner = 2 * 256 * 320 * 3
    let head = RandomLlama.vocabulary * 256
    let bytes = try Dictionary(
      uniqueKeysWithValues: WeightPrecision.allCases.map { ($0, try DecoderModel(directory: model.folder.path, precision: $0).copiedBytes) })
    let norms = try #require(bytes[.f32])
    #expect(bytes[.bf16] == 2 * (attention + inner + head) + norms)
    // 8 weights of 32 with their scale are 34 bytes, 4-bit ones 18; 128 bytes for 16 rows come on top.
    // A factor for each input of attention, its output, gate with up, down and the head.
    let extra = (attention + inner + head) / 256 / 16 * 128 + (2 * (3 * 256 + 320) + 256) * 4 + 10_000
    let int8 = (attention + inner + head) / 32 * 34
    let int4 = (attention + head + inner / 3 * 2) / 32 * 34 + inner / 3 / 32 * 18
    #expect((int8...int8 + extra).contains(try #require(bytes[.int8]) - norms))
    #expect((int4...int4 + extra).contains(try #require(bytes[.int4]) - norms))
  }
}
