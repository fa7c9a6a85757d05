// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore

extension DeltaTable {
  /// Applies a checkpoint of `version`: classic, in parts, or V2 with its sidecars.
  /// - Throws: `invalidFile` for a checkpoint that is damaged or belongs to another version.
  func load(_ checkpoint: CheckpointFiles, version: Int64, into state: inout LogReplay) throws {
    var sidecars: [Sidecar] = []
    var mark: CheckpointMetadata?
    var hasFiles = false
    let actions = try checkpointActions(checkpoint)
    state.files.reserveCapacity(actions.count)
    for action in actions {
      switch action {
      case .sidecar(let value): sidecars.append(value)
      case .checkpoint(let value): mark = value
      case .add, .remove:
        hasFiles = true
        state.apply(action)
      case .commitInfo, .change: break
      default: state.apply(action)
      }
    }
    let name = checkpoint.paths.first?.text
    let isUnique = checkpoint.paths.count == 1 && name.map { !$0.hasSuffix(".checkpoint.parquet") } == true
    if isUnique && mark == nil { throw PlatformError(.invalidFile, "a V2 checkpoint without checkpointMetadata", path: name) }
    if let mark, mark.version != version {
      throw PlatformError(.invalidFile, "a checkpoint of version \(version) says it is of \(mark.version)", path: name)
    }
    guard !(hasFiles && !sidecars.isEmpty) else {
      throw PlatformError(.invalidFile, "a V2 checkpoint has files both in itself and in sidecars", path: name)
    }
    for sidecar in sidecars {
      let path = try sidecarPath(sidecar)
      let data = try store.get(path)
      guard Int64(data.count) == sidecar.sizeInBytes else {
        throw PlatformError(.invalidFile, "a sidecar has \(data.count) bytes, its checkpoint says \(sidecar.sizeInBytes)", path: path.text)
      }
      for action in try rows(of: data, name: path.text) {
        switch action {
        case .add, .remove: state.apply(action)
        default: throw PlatformError(.invalidFile, "a sidecar holds more than file actions", path: path.text)
        }
      }
    }
  }

  /// The actions in a checkpoint's own files, without those in sidecars.
  func checkpointActions(_ checkpoint: CheckpointFiles) throws -> [Action] {
    func read(_ path: ObjectPath) throws -> [Action] {
      checkpoint.isJSON ? try Action.parse(store.get(path), name: path.text) : try rows(of: store.get(path), name: path.text)
    }
    return checkpoint.paths.count == 1 ? try read(checkpoint.paths[0]) : try checkpoint.paths.flatMap(read)
  }

  private func rows(of parquet: Data, name: String) throws -> [Action] {
    do { return try self.parquet.readCheckpointActions(parquet, name: name) } catch {
      let reason = PlatformError.from(error)
      if reason.path == name { throw reason }
      throw PlatformError(.invalidFile, "a checkpoint cannot be read: \(reason.message)", path: name)
    }
  }

  /// Sidecars lie in `_delta_log/_sidecars` whatever their path says in front of the name.
  func sidecarPath(_ sidecar: Sidecar) throws -> ObjectPath {
    guard let name = PathText.components(sidecar.path).last?.removingPercentEncoding, !name.isEmpty,
      !name.utf8.contains(UInt8(ascii: "/"))
    else {
      throw PlatformError(.invalidFile, "a sidecar without a name", path: sidecar.path)
    }
    return try path.appending("_delta_log/_sidecars/\(name)")
  }
}
