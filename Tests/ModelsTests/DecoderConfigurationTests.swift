// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tensor
import TestSupport
import Testing

@testable import Models

private let good: [String: JSONValue] = [
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 12,
  "num_hidden_layers": 1, "num_attention_heads": 2, "rms_norm_eps": 1e-5, "rope_theta": 500, "eos_token_id": 2,
]

/// Weights in memory, from a pattern.
private final class PatternWeights {
  let file: String
  let folder = TemporaryDirectory("weights")

  /// Writes a safetensors file by hand, so that broken ones can be made as well.
  init(_ tensors: [(name: String, shape: [Int])], dropBytes: Int = 0) throws {
    var header: [String: JSONValue] = [:]
    var data = Data()
    for (name, shape) in tensors {
      let count = shape.reduce(1, *)
      let begin = data.count
      for index in 0..<count { withUnsafeBytes(of: Float(index % 7) * 0.1 - 0.3) { data.append(contentsOf: $0) } }
      header[name] = [
        "dtype": "F32", "shape": .array(shape.map { .integer(Int64($0)) }),
        "data_offsets": [.integer(Int64(begin)), .integer(Int64(data.count))],
      ]
    }
    let text = Data(JSONValue.object(header).sortedText.utf8)
    var whole = withUnsafeBytes(of: UInt64(text.count).littleEndian) { Data($0) }
    whole += text
    whole += data
    file = folder.file("model.safetensors")
    try whole.dropLast(dropBytes).write(to: URL(fileURLWithPath: file))
    try Data(JSONValue.object(good).sortedText.utf8).write(to: URL(fileURLWithPath: folder.file("config.json")))
  }
}

private func message(_ body: () throws -> Void) -> String {
  do {
    try body()
    return "nothing was thrown"
  } catch let error as PlatformError {
    return error.code == .invalidFile ? "\(error.number) \(error.description)" : "\(error.code): \(error.description)"
  } catch {
    return "\(error)"
  }
}

@Suite struct DecoderConfigurationTests {
  @Test func readsBothSpellingsOfRope() throws {
    var json = good
    #expect(try LlamaConfiguration(json: .object(json)).ropeTheta == 500)
    #expect(try LlamaConfiguration(json: .object(json)).eosTokenIDs == [2])
    json["rope_theta"] = nil
    json["rope_parameters"] = ["rope_type": "linear", "rope_theta": 700, "factor": 2]
    var configuration = try LlamaConfiguration(json: .object(json))
    #expect(configuration.ropeTheta == 700 && configuration.ropeScaling == .linear(factor: 2))
    json["rope_parameters"] = nil
    json["rope_theta"] = 900
    json["rope_scaling"] = ["type": "linear", "factor": 3]
    json["eos_token_id"] = [2, 5]
    configuration = try LlamaConfiguration(json: .object(json))
    #expect(configuration.ropeTheta == 900 && configuration.ropeScaling == .linear(factor: 3))
    #expect(configuration.eosTokenIDs == [2, 5] && configuration.keyValueHeadCount == 2 && configuration.headSize == 4)
    #expect(try LlamaConfiguration(json: configuration.json) == configuration)
  }

  @Test(
    arguments: [
      ("hidden_size", nil), ("hidden_size", -8), ("hidden_size", "8"), ("num_attention_heads", 1_000_000),
      ("vocab_size", 1.5),
      ("num_key_value_heads", 3), ("head_dim", 3), ("hidden_act", "gelu"), ("architectures", ["MistralForCausalLM"]),
      ("model_type", "mamba"), ("auto_map", ["AutoModel": "x.py"]), ("eos_token_id", 32), ("eos_token_id", "end"),
      ("rope_scaling", ["rope_type": "yarn", "factor": 2]), ("rope_scaling", ["rope_type": "linear"]), ("rms_norm_eps", 0),
      ("torch_dtype", "float8"), ("quantization_config", ["bits": 4]), ("attention_bias", "yes"),
    ] as [(String, JSONValue?)]) func refusesByName(key: String, value: JSONValue?)
  {
    var json = good
    json[key] = value
    let text = message { _ = try LlamaConfiguration(json: .object(json)) }
    #expect(text.hasPrefix("PLT-4102") && text.contains(key), "\(text)")
  }

  @Test func loadsWhatFitsAndNamesWhatDoesNot() throws {
    let configuration = try LlamaConfiguration(json: .object(good))
    let shapes = LlamaWeightNames.shapes(configuration)
    #expect(shapes.reduce(0) { $0 + $1.shape.reduce(1, *) } == configuration.parameterCount)
    func load(_ weights: PatternWeights) throws {
      // The files live as long as `weights`.
      try withExtendedLifetime(weights) { _ = try LlamaModel(directory: weights.folder.path) }
    }
    try load(PatternWeights(shapes))
    let missing = try PatternWeights(shapes.filter { !$0.name.hasSuffix("up_proj.weight") })
    #expect(message { try load(missing) }.contains("model.layers.0.mlp.up_proj.weight"))
    let misshapen = try PatternWeights(shapes.map { $0.name == "lm_head.weight" ? ($0.name, [32, 9]) : $0 })
    let text = message { try load(misshapen) }
    #expect(text.contains("lm_head.weight") && text.contains("[32, 9]") && text.contains("[32, 8]"))
    let truncated = try PatternWeights(shapes, dropBytes: 5)
    #expect(message { try load(truncated) }.contains("truncated"))
    #expect(message { _ = try LlamaModel(directory: "/nonexistent") }.hasPrefix("notFound"))
  }
}
