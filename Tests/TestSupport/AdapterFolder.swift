// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation

/// A LoRA adapter in PEFT's layout with random weights, whatever a test wants to be wrong with it.
public struct AdapterFolder {
  public typealias Module = (name: String, inputs: Int, outputs: Int)

  public var configuration: [String: JSONValue]
  public var tensors: [(name: String, shape: [Int], values: [Float])] = []

  /// - Parameter modules: with their names inside the model.
  public init(_ modules: [Module], rank: Int = 4, alpha: Int64 = 8, seed: UInt64, spread: Double = 0.4) {
    let kinds = Set(modules.map { String($0.name.split(separator: ".").last ?? "") }).sorted()
    configuration = [
      "peft_type": "LORA", "r": .integer(Int64(rank)), "lora_alpha": .integer(alpha), "target_modules": .array(kinds.map { .string($0) }), "bias": "none",
      "task_type": "CAUSAL_LM", "inference_mode": true,
    ]
    var random = SplitMix64(seed: seed)
    for (name, inputs, outputs) in modules {
      for (half, shape) in [("A", [rank, inputs]), ("B", [outputs, rank])] {
        let values = (0..<shape.reduce(1, *)).map { _ in Float((random.nextUnit() * 2 - 1) * spread) }
        tensors.append(("base_model.model.\(name).lora_\(half).weight", shape, values))
      }
    }
  }

  public func write(to folder: String) throws {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try Data(JSONValue.object(configuration).sortedText.utf8).write(to: URL(fileURLWithPath: folder + "/adapter_config.json"))
    var header: [String: JSONValue] = [:]
    var data = Data()
    for (name, shape, values) in tensors {
      let begin = data.count
      values.withUnsafeBytes { data.append(contentsOf: $0) }
      header[name] = [
        "dtype": "F32", "shape": .array(shape.map { .integer(Int64($0)) }), "data_offsets": [.integer(Int64(begin)), .integer(Int64(data.count))],
      ]
    }
    let text = Data(JSONValue.object(header).sortedText.utf8)
    let file = withUnsafeBytes(of: UInt64(text.count).littleEndian) { Data($0) } + text + data
    try file.write(to: URL(fileURLWithPath: folder + "/adapter_model.safetensors"))
  }

  /// The linear layers of a Llama.
  public static func llama(layers: Int, hidden: Int, keys: Int, inner: Int, _ kinds: Set<String>? = nil) -> [Module] {
    (0..<layers).flatMap { layer -> [Module] in
      let all: [Module] = [
        ("self_attn.q_proj", hidden, hidden), ("self_attn.k_proj", hidden, keys), ("self_attn.v_proj", hidden, keys), ("self_attn.o_proj", hidden, hidden),
        ("mlp.gate_proj", hidden, inner), ("mlp.up_proj", hidden, inner), ("mlp.down_proj", inner, hidden),
      ]
      return all.filter { module in kinds?.contains { module.name.hasSuffix($0) } ?? true }.map { ("model.layers.\(layer).\($0.name)", $0.inputs, $0.outputs) }
    }
  }
}
