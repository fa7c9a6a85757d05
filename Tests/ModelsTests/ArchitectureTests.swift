// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tensor
import TestSupport
import Testing

@testable import Models

/// What configurations and files are refused for, and that dialects mean the same.
@Suite struct ArchitectureTests {
  private static let llama: [String: JSONValue] = [
    "model_type": "llama", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "eos_token_id": 2,
  ]

  /// Answers any name with a tensor of the wrong shape, so that only the configuration can be at fault first.
  private struct NoWeights: SafeTensorSource {
    var names: [String] { [] }
    func contains(_ name: String) -> Bool { false }
    func tensor(_ name: String) throws -> SafeTensorView { throw PlatformError(.notFound, name) }
  }

  private func message(_ changes: [String: JSONValue]) -> String {
    do {
      _ = try DecoderModel(configuration: .object(Self.llama.merging(changes) { $1 }), ends: [], weights: NoWeights())
      return "taken"
    } catch {
      return PlatformError.from(error).message + " " + PlatformError.from(error).hint
    }
  }

  @Test func refusalsNameTheKeyAndWhatIsKnown() {
    for (changes, parts) in [
      (["model_type": "mamba"], ["'mamba' is not built", "qwen3", "modernbert"]),
      (["model_type": "bert"], ["'bert' is a text encoder", "embed"]),
      (["model_type": .null], ["'model_type' is missing"]),
      (["hidden_act": "xielu"], ["'hidden_act' is 'xielu'", "silu"]),
      (["rope_scaling": ["rope_type": "spiral", "factor": 2]], ["'rope_scaling.rope_type' is 'spiral'", "longrope"]),
      (["rope_parameters": ["rope_type": "linear"]], ["'rope_parameters.factor' is missing"]),
      (["rope_parameters": ["rope_type": "longrope", "short_factor": [1], "long_factor": [1]]], ["'rope_parameters.short_factor' must hold 4"]),
      (["rope_parameters": ["full_attention": ["rope_type": "default"]]], ["'rope_parameters.full_attention'", "not built"]),
      (["quantization_config": ["bits": 4]], ["'quantization_config'", "not built"]),
      (["num_attention_heads": 3], ["'hidden_size' (16) is not a multiple"]),
      (["num_key_value_heads": 5], ["'num_key_value_heads' (5) does not divide"]),
      (["num_hidden_layers": 1_000_000], ["'num_hidden_layers' is 1000000, the most is 4096"]),
      (["hidden_size": -4], ["'hidden_size' must be a whole number"]),
      (["rms_norm_eps": "tiny"], ["'rms_norm_eps' must be a number"]),
      (["model_type": "qwen2", "layer_types": ["chunked_attention"]], ["'layer_types' names \"chunked_attention\""]),
      (["model_type": "qwen2", "layer_types": ["sliding_attention"]], ["'use_sliding_window' is off"]),
      (["model_type": "gemma", "use_bidirectional_attention": true], ["'use_bidirectional_attention' is true"]),
      (["model_type": "gpt2", "add_cross_attention": true], ["'add_cross_attention' is true"]),
      ([:], ["no tensor 'model.embed_tokens.weight'"]),
    ] as [([String: JSONValue], [String])] {
      let text = message(changes)
      for part in parts { #expect(text.contains(part), "\(changes): \(text)") }
    }
  }

  @Test func dialectsOfRotarySettingsMeanTheSame() throws {
    func plan(_ json: JSONValue) throws -> RotaryPlan { try RotaryPlan(ConfigurationFields(json: json), headSize: 16) }
    let old = try plan([
      "rope_theta": 500_000, "max_position_embeddings": 128,
      "rope_scaling": ["type": "yarn", "factor": 4, "original_max_position_embeddings": 32],
    ])
    let new = try plan([
      "max_position_embeddings": 128,
      "rope_parameters": ["rope_type": "yarn", "rope_theta": 500_000, "factor": 4, "original_max_position_embeddings": 32],
    ])
    #expect(old == new && old.amplitude > 1)
    #expect(try plan(["rope_theta": 500, "rope_scaling": .null]) == plan(["rope_parameters": ["rope_type": "default", "rope_theta": 500]]))
    #expect(try plan(["partial_rotary_factor": 0.5]).dimensions == 8)
    #expect(try plan([:]).theta == 10_000)
    // The part of the length beyond which numbers change.
    let dynamic = try plan(["rope_scaling": ["type": "dynamic", "factor": 2], "max_position_embeddings": 32])
    #expect(dynamic.fixedLength == 32 && dynamic.frequencies(length: 32) == dynamic.frequencies(length: 4))
    #expect(dynamic.frequencies(length: 40) != dynamic.frequencies(length: 32))
  }

  /// A wrong shape and a truncated file are told with the tensor's name, the latter with the place.
  @Test func badFilesAreNamed() throws {
    let folder = TemporaryDirectory("badmodel")
    try Data(JSONValue.object(Self.llama).sortedText.utf8).write(to: URL(fileURLWithPath: folder.file("config.json")))
    let data = Data(repeating: 0, count: 32 * 8 * 4)
    let header = #"{"model.embed_tokens.weight":{"dtype":"F32","shape":[32,8],"data_offsets":[0,1024]}}"#
    let length = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
    func failure(_ content: Data) throws -> PlatformError {
      try content.write(to: URL(fileURLWithPath: folder.file("model.safetensors")))
      do {
        _ = try DecoderModel(directory: folder.path)
        return PlatformError(.internalError, "taken")
      } catch {
        return PlatformError.from(error)
      }
    }
    let shape = try failure(length + Data(header.utf8) + data)
    #expect(shape.number == "PLT-4103" && shape.message.contains("'model.embed_tokens.weight' has shape [32, 8]"))
    let cut = try failure(length + Data(header.utf8) + data.dropLast(100))
    #expect(cut.number == "PLT-4101" && cut.message.contains("'model.embed_tokens.weight' should begin at byte \(8 + header.utf8.count)"))
    #expect(cut.path?.hasSuffix("model.safetensors") == true)
  }

  @Test func mpnetBucketsFollowT5() {
    // From transformers' MPNetEncoder.relative_position_bucket of -130 ... 130 in part.
    let buckets = EncoderModel.buckets(131)
    func bucket(_ distance: Int) -> Int32 { buckets[distance + 130] }
    #expect([0, -1, -7, -8, -11, -12, -100, -130].map(bucket) == [0, 1, 7, 8, 8, 9, 15, 15])
    #expect([1, 7, 8, 16, 130].map(bucket) == [17, 23, 24, 26, 31])
  }
}
