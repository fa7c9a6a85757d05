// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Models
import Tensor

/// Writes the model of a gang as a Hugging Face directory: rank 0 gathers the parts through the collective.
enum ModelWriter {
  /// What has been done so far. Between any two of them the process may end.
  enum Step: CaseIterable {
    case staged, weights, configuration, tokenizer, synced, exchanged, cleaned
  }

  /// Collective. Everything is written and synced in a staging folder beside `directory`, which then takes the name in one step:
  /// at every moment `directory` is the old model (or absent, when there was none) or the whole new one. Staging folders that
  /// ended attempts have left are removed at the end. Other ranks get an empty list.
  ///
  /// The beginning and end tokens of config.json and generation_config.json are those that the token files name; for our own
  /// tokenizers both are `<|endoftext|>`, as for GPT-2 (see `BatchSource`).
  /// - Parameter passing: called after each step on rank 0; tests throw from it as a crash would.
  static func write(
    _ parameters: ParameterStore, model: LlamaConfiguration, tokenizerDirectory: String?, collective: any Collective,
    to directory: String, passing: (Step) throws -> Void = { _ in }
  ) throws -> [TrainResult.File] {
    var writer = SafeTensorsWriter()
    let shapes = Dictionary(uniqueKeysWithValues: LlamaWeightNames.shapes(model).map { ($0.name, $0.shape) })
    for parameter in parameters.parameters {
      let whole = try gather(parameter, parameters, collective)
      if collective.rank == 0 { try writer.add(parameter.name, shape: shapes[parameter.name] ?? [], whole) }
    }
    var files: [TrainResult.File] = []
    if collective.rank == 0 {
      let manager = FileManager.default
      let staging = stagingPrefix(directory) + "\(getpid())-\(String(UInt64.random(in: 0 ... .max), radix: 36))"
      try manager.createDirectory(atPath: staging, withIntermediateDirectories: true)
      try passing(.staged)
      try writer.write(to: staging + "/model.safetensors")
      try passing(.weights)
      try model.save(directory: staging)
      try DurableFile.write(generation(model), to: staging + "/generation_config.json")
      try passing(.configuration)
      for name in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"] {
        guard let source = tokenizerDirectory.map({ $0 + "/" + name }), manager.fileExists(atPath: source) else { continue }
        try DurableFile.write(try Data(contentsOf: URL(fileURLWithPath: source)), to: staging + "/" + name)
      }
      try passing(.tokenizer)
      try DurableFile.syncContents(of: staging)
      try passing(.synced)
      _ = try DurableFile.exchange(staging, with: directory)
      try passing(.exchanged)
      removeStaging(directory)
      try passing(.cleaned)
      files = try manager.contentsOfDirectory(atPath: directory).sorted().map { name in
        let path = directory + "/" + name
        let size = try manager.attributesOfItem(atPath: path)[.size] as? Int ?? 0
        return TrainResult.File(path: path, sizeBytes: size, sha256: try SHA256Digest.hex(contentsOf: path))
      }
    }
    try collective.barrier()
    return files
  }

  private static func generation(_ model: LlamaConfiguration) -> Data {
    var members: [String: JSONValue] = ["_from_model_config": .bool(true)]
    if let bos = model.bosTokenID { members["bos_token_id"] = .integer(Int64(bos)) }
    if let eos = model.eosTokenIDs.first { members["eos_token_id"] = .integer(Int64(eos)) }
    return Data((JSONValue.object(members).sortedText + "\n").utf8)
  }

  private static func stagingPrefix(_ directory: String) -> String { directory + ".staging-" }

  /// The old model, and what attempts left that ended while they wrote. A gang that still writes to one has been replaced by
  /// this one: it fails, as it should.
  private static func removeStaging(_ directory: String) {
    let folder = (directory as NSString).deletingLastPathComponent
    let prefix = (stagingPrefix(directory) as NSString).lastPathComponent
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.isEmpty ? "." : folder)) ?? []  // then it stays: space only
    for name in names where name.hasPrefix(prefix) {
      try? FileManager.default.removeItem(atPath: (folder as NSString).appendingPathComponent(name))  // as above
    }
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
