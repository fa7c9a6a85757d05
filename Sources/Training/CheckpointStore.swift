// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tensor

/// Sharded checkpoints: `DIRECTORY/step-N/rank-R.bin` (values, first and second moments, f32) and `manifest.json`, written last.
/// Only a folder whose manifest and every file check out is loaded; the last two are kept.
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
    var configuration: String
    var data: String
    var losses: [TrainResult.Point]
    var files: [File]
  }

  var directory: String
  var configuration: String
  var data: String
  var collective: any Collective
  var log: (String) -> Void

  /// Collective. Blocks until the checkpoint is durable (rank 0) or rank 0's barrier is reached (others).
  func save(step: Int, seed: UInt64, losses: [TrainResult.Point], _ optimizer: AdamW) throws {
    let final = "\(directory)/step-\(step)"
    let temporary = final + ".tmp"
    let manager = FileManager.default
    if collective.rank == 0 {
      for path in [temporary, final] where manager.fileExists(atPath: path) { try manager.removeItem(atPath: path) }
      try manager.createDirectory(atPath: temporary, withIntermediateDirectories: true)
    }
    try collective.barrier()
    try DurableFile.write(
      optimizer.buffers.map { UnsafeRawBufferPointer($0) }, to: "\(temporary)/rank-\(collective.rank).bin")
    try collective.barrier()
    if collective.rank == 0 {
      let files = try (0..<collective.worldSize).map { rank in
        let path = "\(temporary)/rank-\(rank).bin"
        return Manifest.File(
          name: "rank-\(rank).bin", bytes: optimizer.buffers.reduce(0) { $0 + $1.count * 4 },
          sha256: try SHA256Digest.hex(contentsOf: path))
      }
      let manifest = Manifest(
        step: step, seed: seed, tensorParallel: collective.worldSize, configuration: configuration, data: data,
        losses: losses,
        files: files)
      try DurableFile.write(try JSONEncoder().encode(manifest), to: temporary + "/manifest.json")
      try DurableFile.move(temporary, to: final)
      for old in steps().dropFirst(2) {
        // An old checkpoint that stays costs space only.
        try? manager.removeItem(atPath: "\(directory)/step-\(old)")
      }
    }
    try collective.barrier()
  }

  /// Loads the newest valid checkpoint on all ranks. Returns nil when there is none. Collective: rank 0 chooses.
  /// - Throws: `conflict` when the newest valid one is of another configuration, data or layout.
  func restore(_ optimizer: AdamW) throws -> (step: Int, losses: [TrainResult.Point])? {
    var chosen: Int64 = -1
    var refusal: PlatformError?
    if collective.rank == 0 {
      for step in steps() {
        do {
          let manifest = try check(step)
          if manifest.configuration != configuration || manifest.data != data
            || manifest.tensorParallel != collective.worldSize
          {
            refusal = mismatch(manifest, step)
            chosen = -2
          } else {
            chosen = Int64(step)
          }
          break
        } catch {
          log("checkpoint step-\(step) is skipped: \(error)")
        }
      }
    }
    try withUnsafeMutableBytes(of: &chosen) { try collective.broadcast($0.baseAddress!, byteCount: 8, root: 0) }
    if chosen == -2 { throw refusal ?? PlatformError(.conflict, "rank 0 refused the checkpoint", path: directory) }
    guard chosen >= 0 else { return nil }
    let folder = "\(directory)/step-\(chosen)"
    let file = try MappedFile(path: "\(folder)/rank-\(collective.rank).bin")
    var offset = 0
    for buffer in optimizer.buffers {
      let bytes = buffer.count * 4
      guard offset + bytes <= file.bytes.count else {
        throw PlatformError(.invalidFile, "the checkpoint file is too short", path: file.path)
      }
      UnsafeMutableRawBufferPointer(buffer).copyMemory(from: .init(rebasing: file.bytes[offset..<offset + bytes]))
      offset += bytes
    }
    let manifest = try manifest(Int(chosen))
    try collective.barrier()
    return (Int(chosen), manifest.losses)
  }

  private func mismatch(_ manifest: Manifest, _ step: Int) -> PlatformError {
    PlatformError(
      .conflict,
      "checkpoint step-\(step) was written by \(manifest.tensorParallel) ranks with configuration "
        + "\(manifest.configuration.prefix(12)) and data \(manifest.data.prefix(12)); this run has \(collective.worldSize) ranks, "
        + "\(configuration.prefix(12)) and \(data.prefix(12))",
      hint: "Use the same configuration, data and tensorParallel, or an empty checkpoint directory.", path: directory)
  }

  /// Steps of finished folders, newest first.
  private func steps() -> [Int] {
    // A missing directory holds no checkpoints.
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    return names.compactMap { $0.hasPrefix("step-") ? Int($0.dropFirst(5)) : nil }.sorted(by: >)
  }

  private func manifest(_ step: Int) throws -> Manifest {
    let path = "\(directory)/step-\(step)/manifest.json"
    guard let data = FileManager.default.contents(atPath: path) else {
      throw PlatformError(.invalidFile, "no manifest", path: path)
    }
    return try JSONDecoder().decode(Manifest.self, from: data)
  }

  private func check(_ step: Int) throws -> Manifest {
    let manifest = try manifest(step)
    guard manifest.version == 1, manifest.step == step, manifest.files.count == manifest.tensorParallel else {
      throw PlatformError(.invalidFile, "the manifest contradicts itself")
    }
    for (rank, file) in manifest.files.enumerated() {
      let path = "\(directory)/step-\(step)/rank-\(rank).bin"
      guard file.name == "rank-\(rank).bin", try SHA256Digest.hex(contentsOf: path) == file.sha256 else {
        throw PlatformError(.invalidFile, "\(file.name) does not have the digest that the manifest names")
      }
    }
    return manifest
  }
}

extension AdamW {
  /// What a checkpoint holds.
  var buffers: [UnsafeMutableBufferPointer<Float>] {
    [parameters.values, first, second].map { UnsafeMutableBufferPointer(start: $0, count: parameters.count) }
  }
}
