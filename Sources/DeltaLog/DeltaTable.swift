// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
public import ObjectStore
import Synchronization

/// A Delta table in an object store. A value without state: every call reads the log. Calls block.
///
/// Follows the Delta Lake protocol (github.com/delta-io/delta/blob/master/PROTOCOL.md), table features included. What a
/// feature asks of the one who reads or writes data files is refused until `dataFeatures` says that it is done there.
public struct DeltaTable: Sendable {
  public let store: any ObjectStorage
  /// The table's folder.
  public let path: ObjectPath
  let parquet: any ParquetHandler
  /// Features that the reader and writer of the data files takes care of: `columnMapping`, `deletionVectors`, `typeWidening`;
  /// for writers also `invariants`, `checkConstraints`, `generatedColumns`, `allowColumnDefaults`, `identityColumns`.
  public let dataFeatures: Set<TableFeature>

  let cache: SnapshotCache?
  /// Who gives out the versions, should the table have the feature `coordinatedCommits`.
  let coordination: TableCoordination?

  /// - Parameters:
  ///   - cache: makes commits and `latest()` read only what is new.
  ///   - coordination: for a table whose versions may be given out by a coordinator. Without it such a table is read up to what its log
  ///     holds, and not written.
  public init(
    store: any ObjectStorage, path: ObjectPath, parquet: any ParquetHandler, dataFeatures: Set<TableFeature> = [],
    cache: SnapshotCache? = nil, coordination: TableCoordination? = nil
  ) {
    self.store = store
    self.path = path
    self.parquet = parquet
    self.dataFeatures = coordination == nil ? dataFeatures : dataFeatures.union([.coordinatedCommits])
    self.cache = cache
    self.coordination = coordination
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
  public func exists() throws -> Bool { try recentListing().latest != nil }

  /// The latest version, from the names of the log's files. nil: no table.
  public func latestVersion() throws -> Int64? { try recentListing().latest }

  func listing() throws -> LogListing {
    LogListing(try store.list(path.appending("_delta_log")), prefix: path.text + "/_delta_log/")
  }

  /// The log from the checkpoint on that `_last_checkpoint` names; all of it where that is absent, damaged or not true.
  /// A long log is listed in many steps by a store behind a network, and each name costs a look on a disk.
  func recentListing() throws -> LogListing {
    guard let version = try lastCheckpoint(), version > 0 else { return try listing() }
    let folder = try path.appending("_delta_log")
    var recent = LogListing(try store.list(folder, after: folder.appending(Self.digits(version))), prefix: path.text + "/_delta_log/")
    guard recent.checkpoints[version] != nil else { return try listing() }
    recent.start = version
    return recent
  }

  /// The version in `_last_checkpoint`; nil when that cannot be read, which is no damage: it only saves time.
  private func lastCheckpoint() throws -> Int64? {
    let data: Data
    do { data = try store.get(path.appending("_delta_log/_last_checkpoint")) } catch let error as PlatformError where error.code == .notFound {
      return nil
    }
    guard data.count <= 1 << 20, let value = try? JSONValue(parsing: data), case .integer(let version)? = value["version"],
      (0...LogFile.versionLimit).contains(version)
    else { return nil }
    return version
  }

  /// The table at `version`, or its latest version.
  /// - Throws: `notFound` for no table or no such version; `invalidFile` for a gap, damage, or an unknown reader feature.
  public func snapshot(version: Int64? = nil) throws -> Snapshot {
    let found = try recorded(version: version)
    return version == nil ? try settled(found) : found
  }

  /// `snapshot` of what the log holds.
  private func recorded(version: Int64?) throws -> Snapshot {
    let recent = try recentListing()
    guard recent.start >= 0 else { return try snapshot(version: version, recent) }
    if version.map({ $0 >= recent.start }) ?? true {
      do {
        return try snapshot(version: version, recent)
      } catch let error as PlatformError where error.code == .invalidFile || error.code == .notFound {
        // Older checkpoints and commits may do.
      }
    }
    return try snapshot(version: version, listing())
  }

  func snapshot(version: Int64? = nil, _ listing: LogListing) throws -> Snapshot {
    guard let latest = listing.latest else { throw PlatformError(.notFound, "no Delta table", path: path.text) }
    let target = version ?? latest
    guard target >= 0, target <= latest else {
      throw PlatformError(.notFound, "the table has no version \(target); its latest is \(latest)", path: path.text)
    }
    // The first damage, and what is missing for those who have to do without the damaged file.
    var damage: PlatformError?
    var gap: String?
    // A checkpoint or compaction only saves time: a damaged one is passed over for an older one, and for the commits alone at the end.
    let starts: [(version: Int64, files: CheckpointFiles?)] =
      listing.checkpoints.keys.filter { $0 <= target }.sorted(by: >).flatMap { version in
        listing.checkpoints[version]!.map { (version, $0) }
      } + [(-1, nil)]
    let choices = listing.compactions.isEmpty ? [false] : [true, false]
    for start in starts {
      for usesCompactions in choices {
        let state: LogReplay
        do {
          state = try replay(listing, from: start.version, start.files, to: target, usesCompactions: usesCompactions)
          guard start.files == nil || (state.tableProtocol != nil && state.metadata != nil) else {
            throw PlatformError(.invalidFile, "the checkpoint of version \(start.version) has no protocol or metadata", path: path.text)
          }
        } catch let error as PlatformError
          where error.code == .invalidFile || error.code == .notFound || error.code == .invalidArgument
        {
          if damage == nil { damage = error } else if gap == nil, error.message.hasSuffix(Self.missing) { gap = error.message }
          continue
        }
        return try state.snapshot(version: target, data: dataFeatures)
      }
    }
    if let gap { damage?.message += "; without that file, \(gap)" }
    throw damage.map { PlatformError.from($0, context: "version \(target) of the table") }
      ?? PlatformError(.invalidFile, "version \(target) of the table cannot be read", path: path.text)
  }

  private static let missing = "is missing from the table's log"

  private func replay(
    _ listing: LogListing, from start: Int64, _ checkpoint: CheckpointFiles?, to target: Int64, usesCompactions: Bool
  ) throws -> LogReplay {
    var state = LogReplay()
    // What to read, in order: compactions and commits.
    var sources: [ObjectPath] = []
    var version = start + 1
    while version <= target {
      if usesCompactions, let compaction = listing.compactions[version]?.first(where: { $0.to <= target }) {
        sources.append(compaction.path)
        version = compaction.to + 1
        continue
      }
      guard let commit = listing.commits[version] else {
        throw PlatformError(.invalidFile, "version \(version) \(Self.missing)", path: path.text)
      }
      sources.append(commit.path)
      version += 1
    }
    var applied = 0
    if let checkpoint {
      applied = min(Self.readBatch, sources.count)
      let first: [[Action]]
      (state, first) = try load(checkpoint, version: start, and: Array(sources[..<applied]))
      for actions in first { state.apply(actions) }
    }
    // Some hundred files are held at a time, so that memory does not grow with the log's length.
    for begin in stride(from: applied, to: sources.count, by: Self.readBatch) {
      for actions in try actions(of: Array(sources[begin..<min(begin + Self.readBatch, sources.count)])) { state.apply(actions) }
    }
    return state
  }

  /// Log files that are read before they are applied.
  static let readBatch = 1024
  /// Files in one step of a thread.
  private static let readStep = 16
  private static let readers = BlockingPool(name: "delta-log", threads: 16)

  /// The state that a checkpoint holds, and the actions of the log files behind it: both are read at once.
  private func load(_ checkpoint: CheckpointFiles, version: Int64, and commits: [ObjectPath]) throws -> (LogReplay, [[Action]]) {
    let state = Mutex(LogReplay())
    let behind = Mutex<[[Action]]>([])
    try Self.readers.forEach(commits.isEmpty ? 1 : 2, atOnce: 2) { part in
      if part == 0 {
        try state.withLock { try load(checkpoint, version: version, into: &$0) }
      } else {
        let actions = try actions(of: commits)
        behind.withLock { $0 = actions }
      }
    }
    return (
      state.withLock { state in
        defer { state = LogReplay() }
        return state
      }, behind.withLock { $0 }
    )
  }

  /// The actions of several log files, read by as many threads as the store deserves.
  private func actions(of files: [ObjectPath]) throws -> [[Action]] {
    let store = store
    guard files.count > 1 else { return try files.map { try Action.parse(store.get($0), name: $0.text) } }
    let step = store.concurrentReads > ProcessInfo.processInfo.activeProcessorCount ? 1 : Self.readStep
    let found = Mutex<[Int: [[Action]]]>([:])
    let count = (files.count + step - 1) / step
    try Self.readers.forEach(count, atOnce: store.concurrentReads) { index in
      let part = try files[index * step..<min((index + 1) * step, files.count)].map { try Action.parse(store.get($0), name: $0.text) }
      found.withLock { $0[index] = part }
    }
    let parts = found.withLock { $0 }
    return (0..<count).flatMap { parts[$0] ?? [] }
  }

  /// The actions of one version, in the order of its commit file.
  /// - Throws: `notFound` when the log has no such file (any more).
  public func commit(_ version: Int64) throws -> [Action] {
    let path = try commitPath(version)
    return try Action.parse(store.get(path), name: path.text)
  }

  /// `snapshot` with the versions that were committed after it. Reads only those, and lists nothing: cheap to call often.
  /// - Throws: `invalidFile` when a version is missing that a later one exists for.
  public func update(_ snapshot: consuming Snapshot) throws -> Snapshot {
    var current = snapshot
    while let actions = try commitIfPresent(current.version + 1) { try current.advance(actions, data: dataFeatures) }
    return current
  }

  /// nil when nobody has committed `version` yet.
  func commitIfPresent(_ version: Int64) throws -> [Action]? {
    for isSecondLook in [false, true] {
      do {
        return try commit(version)
      } catch let error as PlatformError where error.code == .notFound {
        // Cleaned up, or a gap; unless both versions have come in between.
        if isSecondLook { throw PlatformError(.invalidFile, "version \(version) is missing from the table's log", path: path.text) }
        if try store.head(commitPath(version + 1)) == nil { return nil }
      }
    }
    return nil
  }
}
