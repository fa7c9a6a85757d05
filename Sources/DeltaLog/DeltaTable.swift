// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
public import ObjectStore

/// A Delta table in an object store. A value without state: every call reads the log. Calls block.
///
/// Follows the Delta Lake protocol (github.com/delta-io/delta/blob/master/PROTOCOL.md): reader version 1, writer version 2.
public struct DeltaTable: Sendable {
  /// One line of the history.
  public struct HistoryEntry: Sendable {
    public var version: Int64
    public var timestampMilliseconds: Int64
    public var info: CommitInfo?
  }

  /// A commit file or checkpoint of the log.
  struct LogListing {
    var commits: [Int64: ObjectInfo] = [:]
    /// Complete checkpoints: version to its parts.
    var checkpoints: [Int64: [ObjectPath]] = [:]
    var latest: Int64? { [commits.keys.max(), checkpoints.keys.max()].compactMap { $0 }.max() }
  }

  public let store: any ObjectStorage
  /// The table's folder.
  public let path: ObjectPath
  let parquet: any ParquetHandler

  public init(store: any ObjectStorage, path: ObjectPath, parquet: any ParquetHandler) {
    self.store = store
    self.path = path
    self.parquet = parquet
  }

  static func digits(_ version: Int64) -> String {
    let text = String(version)
    return String(repeating: "0", count: max(0, 20 - text.count)) + text
  }

  func commitPath(_ version: Int64) throws -> ObjectPath { try path.appending("_delta_log/\(Self.digits(version)).json") }
  func checkpointPath(_ version: Int64) throws -> ObjectPath {
    try path.appending("_delta_log/\(Self.digits(version)).checkpoint.parquet")
  }

  /// Whether the folder holds a Delta log.
  public func exists() throws -> Bool { try listing().latest != nil }

  func listing() throws -> LogListing {
    var found = LogListing()
    var parts: [Int64: (count: Int, paths: [Int: ObjectPath])] = [:]
    let prefix = path.text + "/_delta_log/"
    for info in try store.list(path.appending("_delta_log")) {
      let pieces = info.path.text.dropFirst(prefix.count).split(separator: ".", omittingEmptySubsequences: false)
      guard pieces.count >= 2, pieces[0].utf8.count == 20, let version = Int64(pieces[0]), version >= 0 else { continue }
      if pieces.count == 2, pieces[1] == "json" {
        found.commits[version] = info
      } else if pieces.count == 3, pieces[1] == "checkpoint", pieces[2] == "parquet" {
        found.checkpoints[version] = [info.path]
      } else if pieces.count == 5, pieces[1] == "checkpoint", pieces[4] == "parquet", let part = Int(pieces[2]),
        let count = Int(pieces[3])
      {
        parts[version, default: (count, [:])].paths[part] = info.path
      }
    }
    for (version, part) in parts where found.checkpoints[version] == nil && part.paths.count == part.count {
      found.checkpoints[version] = part.paths.sorted { $0.key < $1.key }.map(\.value)
    }
    return found
  }

  /// The table at `version`, or its latest version.
  /// - Throws: `notFound` for no table or no such version; `invalidFile` for a gap, damage, or an unknown reader feature.
  public func snapshot(version: Int64? = nil) throws -> Snapshot {
    let listing = try listing()
    guard let latest = listing.latest else { throw PlatformError(.notFound, "no Delta table", path: path.text) }
    let target = version ?? latest
    guard target >= 0, target <= latest else {
      throw PlatformError(.notFound, "the table has no version \(target); its latest is \(latest)", path: path.text)
    }
    var damage: (any Error)?
    var damageIsGap = false
    // A checkpoint only saves time: a damaged one is passed over for an older one, and for the commits alone at the end.
    for start in listing.checkpoints.keys.filter({ $0 <= target }).sorted(by: >) + [-1] {
      do {
        return try replay(listing, from: start, to: target)
      } catch let error as PlatformError
        where error.code == .invalidFile || error.code == .notFound || error.code == .invalidArgument
      {
        // A gap behind the newest readable checkpoint explains more than a damaged checkpoint.
        let isGap = error.message.contains("is missing from the table's log")
        if damage == nil || (isGap && !damageIsGap) { (damage, damageIsGap) = (error, isGap) }
        if error.message.contains("which this reader does not know") { throw error }
      }
    }
    throw damage.map { PlatformError.from($0, context: "version \(target) of the table") }
      ?? PlatformError(.invalidFile, "version \(target) of the table cannot be read", path: path.text)
  }

  private func replay(_ listing: LogListing, from start: Int64, to target: Int64) throws -> Snapshot {
    var state = LogReplay()
    let decoder = JSONDecoder()
    for part in start >= 0 ? listing.checkpoints[start] ?? [] : [] {
      for row in try parquet.readCheckpoint(store.get(part)) { try state.apply(Self.decode(row, decoder, part.text)) }
    }
    if start < target {
      for version in (start + 1)...target {
        guard listing.commits[version] != nil else {
          throw PlatformError(.invalidFile, "version \(version) is missing from the table's log", path: path.text)
        }
        for action in try commit(version) { try state.apply(action) }
      }
    }
    return try state.snapshot(version: target)
  }

  private static func decode(_ line: some DataProtocol & Sendable, _ decoder: JSONDecoder, _ name: String) throws
    -> ActionLine
  {
    do {
      return try decoder.decode(ActionLine.self, from: Data(line))
    } catch {
      throw PlatformError(.invalidFile, "a damaged action in the table's log: \(JSONValue.reason(error))", path: name)
    }
  }

  func commit(_ version: Int64) throws -> [ActionLine] {
    let path = try commitPath(version)
    let decoder = JSONDecoder()
    return try store.get(path).split(separator: UInt8(ascii: "\n")).filter { !$0.isEmpty }.map {
      try Self.decode($0, decoder, path.text)
    }
  }

  /// The latest version committed at or before `timestampMilliseconds` (since 1970).
  public func snapshot(timestampMilliseconds: Int64) throws -> Snapshot {
    let listing = try listing()
    let times = Self.timestamps(listing)
    guard let version = times.last(where: { $0.time <= timestampMilliseconds })?.version else {
      throw PlatformError(.notFound, "the table has no version as old as that", path: path.text)
    }
    return try snapshot(version: version)
  }

  /// Commit times by file modification, forced to rise ("Commit timestamps" of the protocol).
  private static func timestamps(_ listing: LogListing) -> [(version: Int64, time: Int64)] {
    var last = Int64.min
    return listing.commits.sorted { $0.key < $1.key }.map { version, info in
      last = max(info.modifiedMilliseconds, last == .min ? .min : last + 1)
      return (version, last)
    }
  }

  /// Newest first, at most `limit` commits.
  public func history(limit: Int = 100) throws -> [HistoryEntry] {
    try Self.timestamps(listing()).suffix(max(0, limit)).reversed().map { version, time in
      HistoryEntry(version: version, timestampMilliseconds: time, info: try commit(version).compactMap(\.commitInfo).first)
    }
  }
}
