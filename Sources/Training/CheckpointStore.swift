// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tensor

/// Sharded checkpoints: `DIRECTORY/step-N/rank-R.bin` (values, first and second moments, f32) and `manifest.json`, written last.
/// Only a folder whose manifest and every file check out is loaded; the last two are kept. Any number of ranks reads what any other wrote.
struct CheckpointStore {
  struct Manifest: Codable {
    struct File: Codable {
      var name: String
      var bytes: Int
      var sha256: String
    }
    var version = 1
    /// Steps done; also the data cursor, because the order of the data is a function of seed and step.
    var step: Int
    var seed: UInt64
    var tensorParallel: Int
    /// Digests of the configuration, the data and the tokenizer that made the data.
    var configuration: String
    var data: String
    var tokenizer: String?
    /// For the message when a checkpoint does not fit; absent in early ones.
    var settings: TrainingConfiguration?
    var losses: [TrainResult.Point]
    var files: [File]
  }

  var directory: String
  var configuration: TrainingConfiguration
  var data: String
  /// Digest of the tokenizer that the data was made with.
  var tokenizer: String
  var collective: any Collective
  var log: (String) -> Void

  /// Collective. Blocks until the checkpoint is durable (rank 0) or rank 0's barrier is reached (others).
  func save(step: Int, seed: UInt64, losses: [TrainResult.Point], _ optimizer: AdamW) throws {
    let final = "\(directory)/step-\(step)"
    let temporary = final + ".tmp"
    let manager = FileManager.default
    if collective.rank == 0 {
      if manager.fileExists(atPath: temporary) { try manager.removeItem(atPath: temporary) }
      try manager.createDirectory(atPath: temporary, withIntermediateDirectories: true)
    }
    try collective.barrier()
    try DurableFile.write(
      optimizer.buffers.map { UnsafeRawBufferPointer($0) }, to: "\(temporary)/rank-\(collective.rank).bin")
    try collective.barrier()
    if collective.rank == 0 {
      let files = try (0..<collective.worldSize).map { rank in
        Manifest.File(
          name: "rank-\(rank).bin", bytes: optimizer.checkpointBytes, sha256: try SHA256Digest.hex(contentsOf: "\(temporary)/rank-\(rank).bin"))
      }
      let manifest = Manifest(
        step: step, seed: seed, tensorParallel: collective.worldSize, configuration: try configuration.hash(), data: data,
        tokenizer: tokenizer, settings: configuration, losses: losses, files: files)
      try DurableFile.write(try JSONEncoder().encode(manifest), to: temporary + "/manifest.json")
      // A folder of that name can only be one that `restore` could not use.
      if try DurableFile.exchange(temporary, with: final) { try manager.removeItem(atPath: temporary) }
      for old in steps().dropFirst(2) {
        try? manager.removeItem(atPath: "\(directory)/step-\(old)")  // one that stays costs space only
      }
    }
    try collective.barrier()
  }

  /// Loads the newest undamaged checkpoint on all ranks; damaged newer ones are passed over and logged. Returns nil when there
  /// is none at all. Collective: rank 0 chooses, and all ranks throw the same error.
  /// - Throws: `conflict` (PLT-4105) when the chosen one is of another configuration, data or tokenizer; `invalidFile`
  ///   (PLT-4106) when there are checkpoints but none can be read: training does not begin anew unasked.
  func restore(_ optimizer: AdamW) throws -> (step: Int, losses: [TrainResult.Point])? {
    var choice = Choice()
    if collective.rank == 0 {
      do { choice.step = try choose(optimizer)?.step } catch {
        choice.refusal = Choice.Refusal(PlatformError.from(error))
      }
    }
    try choice.broadcast(collective)
    if let refusal = choice.refusal { throw refusal.error }
    guard let step = choice.step else { return nil }
    let manifest = try manifest(step)
    for rank in 0..<manifest.tensorParallel {
      // Of as many ranks as there are now, each needs its own file only.
      guard manifest.tensorParallel != collective.worldSize || rank == collective.rank else { continue }
      let file = try MappedFile(path: "\(directory)/step-\(step)/rank-\(rank).bin")
      let part = optimizer.layout(rank: rank, world: manifest.tensorParallel)
      guard file.bytes.count == AdamW.checkpointBytes(part.count) else { throw damaged("the file has changed while it was read", file.path) }
      optimizer.take(part, from: file.bytes)
    }
    try collective.barrier()
    return (step, manifest.losses)
  }

  private func choose(_ optimizer: AdamW) throws -> Manifest? {
    var first: PlatformError?
    for step in steps() {
      do {
        let manifest = try check(step)
        if let refusal = try refusal(of: manifest, optimizer) { throw refusal }
        return manifest
      } catch let error as PlatformError where error.code == .invalidFile {
        log("checkpoint step-\(step) is skipped: \(error)")
        first = first ?? error
      }
    }
    if let first {
      throw PlatformError(
        .invalidFile, "no checkpoint can be read; of the newest, \(first.message)",
        hint: "Restore the file from a copy, or remove \(directory) to train from the first step.", number: "PLT-4106", path: first.path)
    }
    return nil
  }

  /// Why a sound checkpoint is not this run's.
  private func refusal(of manifest: Manifest, _ optimizer: AdamW) throws -> PlatformError? {
    var reasons: [String] = []
    // How many ranks compute a step is no part of what it computes.
    var configuration = configuration
    configuration.tensorParallel = manifest.tensorParallel
    if manifest.configuration != (try configuration.hash()) {
      let changed = try differences(manifest.settings, configuration)
      if !changed.isEmpty { reasons.append("its configuration has " + changed.joined(separator: ", ")) }
      if changed.isEmpty && reasons.isEmpty { reasons.append("its configuration is another") }
    }
    if let theirs = manifest.tokenizer, theirs != tokenizer {
      reasons.append("its data was made with tokenizer \(theirs.prefix(12)), not \(tokenizer.prefix(12))")
    } else if manifest.data != data {
      reasons.append("it was trained on other data (\(manifest.data.prefix(12)), not \(data.prefix(12)))")
    }
    if reasons.isEmpty {
      for (rank, file) in manifest.files.enumerated() {
        let bytes = AdamW.checkpointBytes(optimizer.layout(rank: rank, world: manifest.tensorParallel).count)
        if file.bytes != bytes { reasons.append("\(file.name) has \(file.bytes) bytes where this layout has \(bytes)") }
      }
    }
    guard !reasons.isEmpty else { return nil }
    return PlatformError(
      .conflict, "checkpoint step-\(manifest.step) does not belong to this run: " + reasons.joined(separator: "; "),
      hint: "Train with what it was made with, or use an empty checkpoint directory.", number: "PLT-4105",
      path: "\(directory)/step-\(manifest.step)/manifest.json")
  }

  /// "hiddenSize 192 (here 256)", sorted by name.
  private func differences(_ theirs: TrainingConfiguration?, _ configuration: TrainingConfiguration) throws -> [String] {
    guard let theirs, case .object(let old) = try JSONValue(encoding: theirs), case .object(let new) = try JSONValue(encoding: configuration)
    else { return [] }
    return old.keys.sorted().filter { old[$0] != new[$0] }.map { key in
      "\(key) \((old[key] ?? .null).sortedText) (here \((new[key] ?? .null).sortedText))"
    }
  }

  /// Steps of finished folders, newest first.
  private func steps() -> [Int] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []  // a missing directory holds no checkpoints
    return names.compactMap { $0.hasPrefix("step-") ? Int($0.dropFirst(5)) : nil }.sorted(by: >)
  }

  private func manifest(_ step: Int) throws -> Manifest {
    let path = "\(directory)/step-\(step)/manifest.json"
    guard let data = FileManager.default.contents(atPath: path) else { throw damaged("the manifest is missing", path) }
    do {
      return try JSONDecoder().decode(Manifest.self, from: data)
    } catch {
      throw damaged("the manifest cannot be read: \(JSONValue.reason(error))", path)
    }
  }

  private func check(_ step: Int) throws -> Manifest {
    let folder = "\(directory)/step-\(step)"
    let manifest = try manifest(step)
    guard manifest.version == 1, manifest.step == step, manifest.files.count == manifest.tensorParallel, manifest.tensorParallel > 0, step >= 0 else {
      throw damaged("the manifest contradicts itself", folder + "/manifest.json")
    }
    for (rank, file) in manifest.files.enumerated() {
      let path = "\(folder)/rank-\(rank).bin"
      guard file.name == "rank-\(rank).bin" else { throw damaged("the manifest contradicts itself", folder + "/manifest.json") }
      guard let size = try? FileManager.default.attributesOfItem(atPath: path)[.size] as? Int else {  // absent, or not to be looked at
        throw damaged("\(file.name) is missing", path)
      }
      guard size == file.bytes else { throw damaged("\(file.name) has \(size) bytes, its manifest says \(file.bytes)", path) }
      guard try SHA256Digest.hex(contentsOf: path) == file.sha256 else {
        throw damaged("\(file.name) does not have the digest that its manifest says", path)
      }
    }
    return manifest
  }

  private func damaged(_ message: String, _ path: String) -> PlatformError {
    PlatformError(.invalidFile, message, hint: "Restore the file from a copy, or remove its folder.", number: "PLT-4106", path: path)
  }
}

/// What rank 0 decided, told to all.
private struct Choice: Codable {
  struct Refusal: Codable {
    var code: PlatformError.Code
    var message: String
    var hint: String
    var number: String
    var path: String?

    init(_ error: PlatformError) {
      (code, message, hint, number, path) = (error.code, error.message, error.hint, error.number, error.path)
    }
    var error: PlatformError { PlatformError(code, message, hint: hint, number: number, path: path) }
  }
  var step: Int?
  var refusal: Refusal?

  mutating func broadcast(_ collective: any Collective) throws {
    guard collective.worldSize > 1 else { return }
    var text = collective.rank == 0 ? Array(try JSONEncoder().encode(self)) : []
    var count = Int64(text.count)
    try withUnsafeMutableBytes(of: &count) { try collective.broadcast($0.baseAddress!, byteCount: 8, root: 0) }
    guard count > 0, count < 1 << 20 else { throw PlatformError(.internalError, "rank 0 sent a choice of \(count) bytes") }
    if collective.rank != 0 { text = [UInt8](repeating: 0, count: Int(count)) }
    try text.withUnsafeMutableBytes { try collective.broadcast($0.baseAddress!, byteCount: Int(count), root: 0) }
    self = try JSONDecoder().decode(Self.self, from: Data(text))
  }
}

extension AdamW {
  /// What a checkpoint holds.
  var buffers: [UnsafeMutableBufferPointer<Float>] {
    [parameters.values, first, second].map { UnsafeMutableBufferPointer(start: $0, count: parameters.count) }
  }

  /// Size of a rank's file.
  static func checkpointBytes(_ count: Int) -> Int { 3 * 4 * count }
  var checkpointBytes: Int { Self.checkpointBytes(parameters.count) }

  /// Where the part of a rank lies when there are `world` of them.
  func layout(rank: Int, world: Int) -> (parameters: [Parameter], count: Int) {
    ParameterStore.layout(
      parameters.parameters.map { .init($0.name, rows: $0.wholeRows, columns: $0.wholeColumns, split: $0.split, decays: $0.decays) },
      rank: rank, world: world)
  }

  /// Copies what this rank shares with the part that a file holds.
  func take(_ part: (parameters: [Parameter], count: Int), from file: UnsafeRawBufferPointer) {
    for (index, buffer) in buffers.enumerated() {
      let source = UnsafeRawBufferPointer(rebasing: file[index * 4 * part.count..<(index + 1) * 4 * part.count])
      for (own, other) in zip(parameters.parameters, part.parameters) {
        let rows = max(own.firstRow, other.firstRow)..<max(own.firstRow, other.firstRow, min(own.firstRow + own.rows, other.firstRow + other.rows))
        let first = max(own.firstColumn, other.firstColumn)
        let columns = min(own.firstColumn + own.columns, other.firstColumn + other.columns) - first
        guard columns > 0 else { continue }
        for row in rows {
          let here = own.offset + (row - own.firstRow) * own.columns + first - own.firstColumn
          let there = other.offset + (row - other.firstRow) * other.columns + first - other.firstColumn
          UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[here * 4..<(here + columns) * 4]).copyMemory(
            from: .init(rebasing: source[there * 4..<(there + columns) * 4]))
        }
      }
    }
  }
}
