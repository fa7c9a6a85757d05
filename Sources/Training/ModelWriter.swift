// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Models
import Tensor

/// Writes the model of a gang as a Hugging Face directory: rank 0 gathers the parts through the collective.
enum ModelWriter {
  /// Collective. `directory` is replaced only when everything was written; other ranks get an empty list.
  static func write(
    _ parameters: ParameterStore, model: LlamaConfiguration, tokenizerDirectory: String?, collective: any Collective,
    to directory: String
  ) throws -> [TrainResult.File] {
    let manager = FileManager.default
    let temporary = directory + ".tmp"
    var writer = SafeTensorsWriter()
    let shapes = Dictionary(uniqueKeysWithValues: LlamaWeightNames.shapes(model).map { ($0.name, $0.shape) })
    for parameter in parameters.parameters {
      let whole = try gather(parameter, parameters, collective)
      if collective.rank == 0 { try writer.add(parameter.name, shape: shapes[parameter.name] ?? [], whole) }
    }
    var files: [TrainResult.File] = []
    if collective.rank == 0 {
      if manager.fileExists(atPath: temporary) { try manager.removeItem(atPath: temporary) }
      try manager.createDirectory(atPath: temporary, withIntermediateDirectories: true)
      try writer.write(to: temporary + "/model.safetensors")
      try model.save(directory: temporary)
      var generation: [String: JSONValue] = ["_from_model_config": .bool(true)]
      if let bos = model.bosTokenID { generation["bos_token_id"] = .integer(Int64(bos)) }
      if let eos = model.eosTokenIDs.first { generation["eos_token_id"] = .integer(Int64(eos)) }
      try DurableFile.write(
        Data((JSONValue.object(generation).sortedText + "\n").utf8), to: temporary + "/generation_config.json")
      for name in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"] {
        guard let source = tokenizerDirectory.map({ $0 + "/" + name }), manager.fileExists(atPath: source) else { continue }
        try DurableFile.write(try Data(contentsOf: URL(fileURLWithPath: source)), to: temporary + "/" + name)
      }
      if manager.fileExists(atPath: directory) { try manager.removeItem(atPath: directory) }
      try DurableFile.move(temporary, to: directory)
      files = try manager.contentsOfDirectory(atPath: directory).sorted().map { name in
        let path = directory + "/" + name
        let size = try manager.attributesOfItem(atPath: path)[.size] as? Int ?? 0
        return TrainResult.File(path: path, sizeBytes: size, sha256: try SHA256Digest.hex(contentsOf: path))
      }
    }
    try collective.barrier()
    return files
  }

  /// The whole [wholeRows, wholeColumns] matrix on every rank. Parts have equal sizes: the configuration was checked.
  static func gather(_ p: Parameter, _ store: ParameterStore, _ collective: any Collective) throws -> [Float] {
    let part = store.values + p.offset
    guard p.split != .replicated, collective.worldSize > 1 else {
      return Array(UnsafeBufferPointer(start: part, count: p.count))
    }
    let world = collective.worldSize
    var all = [Float](repeating: 0, count: p.count * world)
    try all.withUnsafeMutableBufferPointer { try collective.allGather(part, count: p.count, into: $0.baseAddress!) }
    guard p.split == .columns else { return all }
    var whole = [Float](repeating: 0, count: all.count)
    whole.withUnsafeMutableBufferPointer { out in
      all.withUnsafeBufferPointer { input in
        for rank in 0..<world {
          for row in 0..<p.rows {
            (out.baseAddress! + row * p.wholeColumns + rank * p.columns).update(
              from: input.baseAddress! + rank * p.count + row * p.columns, count: p.columns)
          }
        }
      }
    }
    return whole
  }
}
