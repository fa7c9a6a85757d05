// SPDX-License-Identifier: Apache-2.0

import Core
import ObjectStore

/// What a file below `_delta_log` is, from its name alone.
enum LogFile: Sendable, Hashable {
  enum CheckpointKind: Sendable, Hashable {
    case classic
    /// Part `index` (from 1) of `count`.
    case part(index: Int, count: Int)
    /// A V2 checkpoint named by a UUID.
    case unique(isJSON: Bool)
  }

  case commit(Int64)
  case checkpoint(Int64, CheckpointKind)
  case compaction(from: Int64, to: Int64)
  case checksum(Int64)
  case sidecar
  case stagedCommit(Int64)
  case lastCheckpoint

  /// Versions above this are refused, so that sums of versions cannot overflow.
  static let versionLimit = Int64.max >> 2

  /// - Parameter name: relative to `_delta_log`. nil for names that the protocol does not know.
  init?(name: String) {
    if name == "_last_checkpoint" {
      self = .lastCheckpoint
      return
    }
    if name.hasPrefix("_sidecars/") {
      guard name.hasSuffix(".parquet"), name.utf8.count > 18 else { return nil }
      self = .sidecar
      return
    }
    if name.hasPrefix("_staged_commits/") {
      let pieces = name.dropFirst(16).split(separator: ".", omittingEmptySubsequences: false)
      guard pieces.count == 3, pieces[2] == "json", let version = Self.version(pieces[0]) else { return nil }
      self = .stagedCommit(version)
      return
    }
    let pieces = name.split(separator: ".", omittingEmptySubsequences: false)
    guard pieces.count >= 2, let version = Self.version(pieces[0]) else { return nil }
    switch (pieces.count, pieces[1]) {
    case (2, "json"): self = .commit(version)
    case (2, "crc"): self = .checksum(version)
    case (3, "checkpoint") where pieces[2] == "parquet": self = .checkpoint(version, .classic)
    case (4, "checkpoint") where (pieces[3] == "parquet" || pieces[3] == "json") && pieces[2].utf8.count == 36:
      self = .checkpoint(version, .unique(isJSON: pieces[3] == "json"))
    case (5, "checkpoint") where pieces[4] == "parquet":
      guard pieces[2].utf8.count == 10, pieces[3].utf8.count == 10, let index = Int(pieces[2]), let count = Int(pieces[3]),
        index >= 1, index <= count
      else { return nil }
      self = .checkpoint(version, .part(index: index, count: count))
    case (4, _) where pieces[2] == "compacted" && pieces[3] == "json":
      guard let end = Self.version(pieces[1]), end > version else { return nil }
      self = .compaction(from: version, to: end)
    default: return nil
    }
  }

  private static func version(_ text: Substring) -> Int64? {
    guard text.utf8.count == 20, text.utf8.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }),
      let version = Int64(text), version <= versionLimit
    else { return nil }
    return version
  }
}

/// A complete checkpoint: the files that hold it.
struct CheckpointFiles: Sendable, Hashable {
  var paths: [ObjectPath]
  var isJSON = false
}

/// The files of a table's log that readers use.
struct LogListing: Sendable {
  var commits: [Int64: ObjectInfo] = [:]
  /// All complete checkpoints of a version, the ones to try first in front.
  var checkpoints: [Int64: [CheckpointFiles]] = [:]
  /// By first version: last version and file, longest first.
  var compactions: [Int64: [(to: Int64, path: ObjectPath)]] = [:]
  /// Versions below this are not looked at; -1 where everything is.
  var start: Int64 = -1
  var latest: Int64? { [commits.keys.max(), checkpoints.keys.max()].compactMap { $0 }.max() }

  /// - Parameters:
  ///   - objects: everything below the log's folder.
  ///   - prefix: the log's folder with a slash at its end.
  init(_ objects: [ObjectInfo], prefix: String) {
    struct Parts: Hashable {
      var version: Int64
      var count: Int
    }
    var parts: [Parts: [Int: ObjectPath]] = [:]
    for info in objects {
      guard info.path.text.hasPrefix(prefix), let file = LogFile(name: String(info.path.text.dropFirst(prefix.count))) else { continue }
      switch file {
      case .commit(let version): commits[version] = info
      case .checkpoint(let version, .classic): checkpoints[version, default: []].insert(CheckpointFiles(paths: [info.path]), at: 0)
      case .checkpoint(let version, .unique(let isJSON)):
        checkpoints[version, default: []].append(CheckpointFiles(paths: [info.path], isJSON: isJSON))
      case .checkpoint(let version, .part(let index, let count)):
        parts[Parts(version: version, count: count), default: [:]][index] = info.path
      case .compaction(let from, let to): compactions[from, default: []].append((to, info.path))
      case .checksum, .sidecar, .stagedCommit, .lastCheckpoint: break
      }
    }
    for (key, paths) in parts where paths.count == key.count {
      checkpoints[key.version, default: []].append(CheckpointFiles(paths: paths.sorted { $0.key < $1.key }.map(\.value)))
    }
    for from in compactions.keys { compactions[from]?.sort { $0.to > $1.to } }
  }
}
