// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
import Foundation
import Tensor
import TestSupport
import Testing

@testable import Models

/// Adapters without peers: which bits rows get beside others, and what is refused.
@Suite struct AdapterTests {
  private static let configuration = LlamaConfiguration(
    vocabularySize: 90, hiddenSize: 32, intermediateSize: 56, layerCount: 2, headCount: 4, keyValueHeadCount: 2, maxPositions: 128)
  private let folder = TemporaryDirectory("adapters")

  private func model() throws -> TemporaryDirectory {
    let folder = TemporaryDirectory("model")
    var generator = SplitMix64(seed: 3)
    var writer = SafeTensorsWriter()
    for (name, shape) in LlamaWeightNames.shapes(Self.configuration) {
      try writer.add(name, shape: shape, (0..<shape.reduce(1, *)).map { _ in (shape.count == 1 ? 1 : 0) + Float(generator.nextUnit() * 0.6 - 0.3) })
    }
    try writer.write(to: folder.file("model.safetensors"))
    try Self.configuration.save(directory: folder.path)
    return folder
  }

  private func modules(_ kinds: Set<String>? = nil) -> [AdapterFolder.Module] { AdapterFolder.llama(layers: 2, hidden: 32, keys: 16, inner: 56, kinds) }

  private func adapter(_ name: String, _ made: AdapterFolder, _ targets: AdapterTargets) throws -> LoRAAdapter {
    try made.write(to: folder.file(name))
    return try LoRAAdapter(name: name, directory: folder.file(name), targets: targets)
  }

  @Test func rowsWithAndWithoutAdaptersGetTheBitsThatEachGetsAlone() throws {
    let base = try model()
    let (llama, decoder) = (try LlamaModel(directory: base.path), try DecoderModel(directory: base.path))
    let targets = try #require(llama.adapterTargets)
    let adapters: [LoRAAdapter?] = [
      nil, try adapter("a", AdapterFolder(modules(), seed: 1), targets),
      try adapter("b", AdapterFolder(modules(["q_proj", "down_proj"]), rank: 9, alpha: 30, seed: 2), targets),
      try adapter("c", AdapterFolder(modules(["v_proj"]) + [("lm_head", 32, 90)], rank: 1, seed: 3), targets),
    ]
    #expect(Set(adapters.compactMap { $0?.identity }).count == 3)
    for threads in [1, 3] {
      let runners: [any GenerativeRunner] = [
        try llama.makeRunner(blockCount: 40, maxRows: 256, threads: threads), try decoder.makeRunner(blockCount: 40, maxRows: 256, threads: threads),
      ]
      for runner in runners {
        func computed(_ pieces: [(text: Int, adapter: LoRAAdapter?, range: Range<Int>)]) throws -> [[Float]] {
          var batch = DecoderBatch()
          for piece in pieces {
            let ids = (0..<40).map { Int32(($0 * 7 + piece.text * 13) % 90) }
            batch.append(
              tokens: ids[piece.range], computed: piece.range.lowerBound, blocks: (0..<3).map { Int32(piece.text * 3 + $0) }, logits: .all,
              adapter: piece.adapter)
          }
          let logits = try runner.forward(batch)
          var place = 0
          return pieces.map { piece in
            defer { place += piece.range.count * 90 }
            return Array(logits[place..<place + piece.range.count * 90])
          }
        }
        // Twelve texts, three with each adapter; alone first.
        let order = (0..<12).map { (text: $0, adapter: adapters[$0 % 4]) }
        let alone = try order.map { try computed([($0.text, $0.adapter, 0..<20)])[0] }
        #expect(Set(alone).count == 12)
        for turn in 0..<4 {
          let turned = Array(order[turn...] + order[..<turn])
          let together = try computed(turned.map { ($0.text, $0.adapter, 0..<20) })
          for (one, logits) in zip(turned, together) { #expect(logits == alone[one.text], "text \(one.text)") }
        }
        // In pieces, each beside rows of others.
        for end in [7, 8, 20] {
          let start = [7: 0, 8: 7, 20: 8][end] ?? 0
          let pieces = try computed(order.reversed().map { ($0.text, $0.adapter, start..<end) })
          for (one, logits) in zip(order.reversed(), pieces) { #expect(logits == Array(alone[one.text][start * 90..<end * 90]), "text \(one.text)") }
        }
      }
    }
  }

  /// Products that are large enough for several threads.
  @Test func threadsThatShareAdaptersChangeNoBits() throws {
    let folder = TemporaryDirectory("wide")
    let pairs = try (0..<6).map { index -> LoRAAdapter in
      let targets = AdapterTargets(layerCount: 1, [(.layer(0, .query), MatrixPlan("q", 301, 257))])
      try AdapterFolder([("q", 257, 301)], rank: 60 + index, seed: UInt64(index)).write(to: folder.file("\(index)"))
      return try LoRAAdapter(name: "\(index)", directory: folder.file("\(index)"), targets: targets)
    }
    var random = SplitMix64(seed: 9)
    let x = (0..<40 * 257).map { _ in Float(random.nextUnit() - 0.5) }
    let start = (0..<40 * 301).map { _ in Float(random.nextUnit() - 0.5) }
    func added(_ spans: [AdapterSpan], threads: Int) -> [Float] {
      var y = start
      let runner = BlockRunner(isa: Int32(pk_decode_isa_best()), threads: threads)
      x.withUnsafeBufferPointer { x in y.withUnsafeMutableBufferPointer { runner.adapt(spans, .layer(0, .query), x.baseAddress!, $0.baseAddress!) } }
      return y
    }
    let spans = [0..<1, 3..<10, 10..<11, 12..<30, 30..<39, 39..<40].enumerated().map { AdapterSpan(rows: $1, adapter: pairs[$0]) }
    let one = added(spans, threads: 1)
    for threads in [2, 3, 8] { #expect(added(spans, threads: threads) == one) }
    for row in [1, 2, 11] { #expect(one[row * 301..<(row + 1) * 301] == start[row * 301..<(row + 1) * 301]) }
    for (index, span) in spans.enumerated() {
      for row in span.rows {
        let alone = added([AdapterSpan(rows: row..<row + 1, adapter: pairs[index])], threads: 1)
        #expect(alone[row * 301..<(row + 1) * 301] == one[row * 301..<(row + 1) * 301], "row \(row)")
      }
    }
  }

  /// The product that is added, in f64, against both runners' answer for a model of which only the head does anything.
  @Test func theScaleIsAlphaByRankOrByItsRoot() throws {
    let base = try model()
    let model = try DecoderModel(directory: base.path)
    let targets = try #require(model.adapterTargets)
    func head(_ change: (inout AdapterFolder) -> Void) throws -> [Float] {
      var made = AdapterFolder([("lm_head", 32, 90)], rank: 4, alpha: 8, seed: 5)
      change(&made)
      let adapter = try adapter("head", made, targets)
      var logits: [Float] = []
      try SingleSequence(model: model, adapter: adapter).logits([3, 4, 5]) { logits += Array($0) }
      return logits
    }
    var plain: [Float] = []
    try SingleSequence(model: model).logits([3, 4, 5]) { plain += Array($0) }
    func added(_ change: (inout AdapterFolder) -> Void = { _ in }) throws -> [Float] { try zip(head(change), plain).map { $0 - $1 } }
    let usual = try added()
    func times(_ factor: Float, _ other: [Float]) -> Bool { zip(usual, other).allSatisfy { abs($0 * factor - $1) < 1e-4 } }
    #expect(usual.contains { abs($0) > 0.1 })
    #expect(times(2, try added { $0.configuration["lora_alpha"] = 16 }))
    #expect(times(2, try added { $0.configuration["use_rslora"] = true }))
    #expect(times(3, try added { $0.configuration["alpha_pattern"] = ["lm_head": 24] }))
    #expect(times(0.25, try added { $0.configuration["alpha_pattern"] = ["lm_.*": 2, "q_proj": 100] }))
    #expect(times(0, try added { $0.configuration["lora_alpha"] = 0 }))
  }

  @Test func brokenAndForeignAdaptersAreRefusedByName() throws {
    let base = try model()
    let targets = try AdapterTargets.read(directory: base.path)
    func refusal(_ change: (inout AdapterFolder) -> Void) -> (number: String, text: String) {
      var made = AdapterFolder(modules(["q_proj", "up_proj"]), seed: 7)
      change(&made)
      do {
        _ = try adapter("bad", made, targets)
        return ("accepted", "")
      } catch {
        let error = PlatformError.from(error)
        return (error.number, error.message + " " + (error.path ?? ""))
      }
    }
    #expect(refusal { _ in }.number == "accepted")
    let keys: [(key: String, value: JSONValue, number: String)] = [
      ("peft_type", "IA3", "PLT-4504"), ("peft_type", 3, "PLT-4503"), ("peft_type", .null, "PLT-4503"), ("r", 0, "PLT-4503"), ("r", "8", "PLT-4503"),
      ("r", 4.5, "PLT-4503"), ("r", 513, "PLT-4503"), ("r", 1e300, "PLT-4503"), ("r", 5, "PLT-4505"), ("lora_alpha", "x", "PLT-4503"),
      ("lora_alpha", 1e300, "PLT-4503"), ("bias", "all", "PLT-4504"), ("bias", "lora_only", "PLT-4504"), ("use_dora", true, "PLT-4504"),
      ("use_dora", "yes", "PLT-4504"), ("use_rslora", "yes", "PLT-4503"), ("modules_to_save", ["lm_head"], "PLT-4504"),
      ("trainable_token_indices", [1], "PLT-4504"), ("layer_replication", [[0, 2]], "PLT-4504"), ("target_parameters", ["experts.w"], "PLT-4504"),
      ("lora_bias", true, "PLT-4504"), ("use_qalora", true, "PLT-4504"), ("alora_invocation_tokens", [5], "PLT-4504"),
      ("something_new", 7, "PLT-4504"), ("init_lora_weights", "pissa", "PLT-4504"), ("target_modules", .null, "PLT-4503"), ("target_modules", 7, "PLT-4503"),
      ("target_modules", [1], "PLT-4503"), ("target_modules", "(", "PLT-4503"), ("target_modules", ["q_proj"], "PLT-4505"),
      ("target_modules", ["q_proj", "up_proj", "k_proj"], "PLT-4505"), ("target_modules", "all-linear", "PLT-4505"),
      ("layers_to_transform", 0, "PLT-4505"), ("layers_to_transform", "first", "PLT-4503"), ("rank_pattern", ["q_proj": 3], "PLT-4505"),
      ("rank_pattern", ["q_proj": 0.5], "PLT-4503"), ("rank_pattern", [3], "PLT-4503"), ("alpha_pattern", ["q_proj": "x"], "PLT-4503"),
      ("alpha_pattern", ["q_proj": 3, ".*proj": 4], "PLT-4503"), ("alpha_pattern", ["(": 1], "PLT-4503"),
      ("exclude_modules", ["q_proj"], "PLT-4505"), ("fan_in_fan_out", 1, "PLT-4503"),
    ]
    for (key, value, number) in keys {
      let told = refusal { $0.configuration[key] = value }
      #expect(told.number == number, "\(key): \(value.sortedText): \(told)")
      if number != "PLT-4505" { #expect(told.text.contains(key) && told.text.contains("adapter_config.json"), "\(key): \(told)") }
    }
    for (key, value) in [
      ("modules_to_save", [] as JSONValue), ("use_dora", false), ("something_new", .null), ("loftq_config", [:]), ("init_lora_weights", "gaussian"),
    ] {
      #expect(refusal { $0.configuration[key] = value }.number == "accepted", "\(key)")
    }
    let name = "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight"
    func tensor(_ change: @escaping (inout (name: String, shape: [Int], values: [Float])) -> Void) -> (number: String, text: String) {
      refusal { made in
        for place in made.tensors.indices where made.tensors[place].name == name { change(&made.tensors[place]) }
      }
    }
    for (what, told) in [
      ("shape", tensor { $0.shape = [4, 56] }), ("rows", tensor { ($0.shape, $0.values) = ([55, 4], Array($0.values.dropLast(4))) }),
      ("NaN", tensor { $0.values[9] = .nan }), ("infinite", tensor { $0.values[0] = .infinity }),
    ] {
      #expect(told.number == "PLT-4505" && told.text.contains(name) && told.text.contains("adapter_model.safetensors"), "\(what): \(told)")
    }
    for (renamed, number) in [
      ("model.layers.1.mlp.up_proj.lora_B.weight", "PLT-4505"), ("base_model.model.model.layers.1.mlp.up_proj.lora_B.bias", "PLT-4504"),
      ("base_model.model.model.layers.9.mlp.up_proj.lora_B.weight", "PLT-4505"), ("base_model.model.model.embed_tokens.lora_embedding_B", "PLT-4504"),
      ("base_model.model.lm_head.weight", "PLT-4504"), ("base_model.model.model.layers.1.mlp.up_proj.lora_magnitude_vector.weight", "PLT-4504"),
      ("base_model.model.model.layers.1.mlp.experts.3.up_proj.lora_B.weight", "PLT-4505"),
    ] {
      let told = tensor { $0.name = renamed }
      #expect(told.number == number && told.text.contains("layers.1") || told.text.contains(renamed), "\(renamed): \(told)")
    }
    let half = refusal { $0.tensors.removeAll { $0.name == name } }
    #expect(half.number == "PLT-4505" && half.text.contains("lora_B"), "\(half)")
    #expect(refusal { $0.tensors = [] }.number == "PLT-4505")
    #expect(refusal { $0.configuration = [:] }.number == "PLT-4503")
  }

  @Test func filesThatAreNoneAreRefused() throws {
    let base = try model()
    let targets = try AdapterTargets.read(directory: base.path)
    func number(_ files: [String: String]) -> String {
      let folder = TemporaryDirectory("bad")
      do {
        for (name, text) in files { try Data(text.utf8).write(to: URL(fileURLWithPath: folder.file(name))) }
        _ = try LoRAAdapter(name: "bad", directory: folder.path, targets: targets)
        return "accepted"
      } catch { return PlatformError.from(error).number }
    }
    let good = #"{"peft_type":"LORA","r":4,"lora_alpha":4,"target_modules":["q_proj"]}"#
    #expect(number([:]) == "PLT-4503")
    #expect(number(["adapter_config.json": "{"]) == "PLT-4503")
    #expect(number(["adapter_config.json": "[]"]) == "PLT-4503")
    #expect(number(["adapter_config.json": good]) == "PLT-4505")
    #expect(number(["adapter_config.json": good, "adapter_model.bin": "x"]) == "PLT-4505")
    #expect(number(["adapter_config.json": good, "adapter_model.safetensors": "x"]) == "PLT-4101")
    #expect(number(["adapter_config.json": good, "adapter_model.safetensors": String(repeating: "\u{7f}", count: 64)]) == "PLT-4101")
  }

  /// An expression that takes for ever ends.
  @Test(.timeLimit(.minutes(2))) func expressionsThatTakeTooLongAreRefused() throws {
    let base = try model()
    let targets = try AdapterTargets.read(directory: base.path)
    var made = AdapterFolder(modules(["q_proj"]), seed: 7)
    made.configuration["target_modules"] = #"(([a-z_.0-9]+)+)+#"#
    #expect(throws: PlatformError.self) { try adapter("slow", made, targets) }
  }
}
