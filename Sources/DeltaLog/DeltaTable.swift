// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
public import ObjectStore

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

  /// - Parameter cache: makes commits and `latest()` read only what is new.
  public init(
    store: any ObjectStorage, path: ObjectPath, parquet: any ParquetHandler, dataFeatures: Set<TableFeature> = [],
    cache: SnapshotCache? = nil
  ) {
    self.store = store
    self.path = path
    self.parquet = parquet
    self.dataFeatures = dataFeatures
    self.cache = cache
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

  /// The latest version, from the names of the log's files. nil: no table.
  public func latestVersion() throws -> Int64? { try listing().latest }

  func listing() throws -> LogListing {
    LogListing(try store.list(path.appending("_delta_log")), prefix: path.text + "/_delta_log/")
  }

  /// The table at `version`, or its latest version.
  /// - Throws: `notFound` for no table or no such version; `invalidFile` for a gap, damage, or an unknown reader feature.
  public func snapshot(version: Int64? = nil) throws -> Snapshot { try snapshot(version: version, listing()) }

  func snapshot(version: Int64? = nil, _ listing: LogListing) throws -> Snapshot {
    guard let latest = listing.latest else { throw PlatformError(.notFound, "no Delta table", path: path.text) }
    let target = version ?? latest
    guard target >= 0, target <= latest else {
      throw PlatformError(.notFound, "the table has no version \(target); its latest is \(latest)", path: path.text)
    }
    var damage: (any Error)?
    var damageIsGap = false
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
        } catch let error as PlatformError
          where error.code == .invalidFile || error.code == .notFound || error.code == .invalidArgument
        {
          // A gap behind the newest readable checkpoint explains more than a damaged checkpoint.
          let isGap = error.message.contains("is missing from the table's log")
          if damage == nil || (isGap && !damageIsGap) { (damage, damageIsGap) = (error, isGap) }
          continue
        }
        return try state.snapshot(version: target, data: dataFeatures)
      }
    }
    throw damage.map { PlatformError.from($0, context: "version \(target) of the table") }
      ?? PlatformError(.invalidFile, "version \(target) of the table cannot be read", path: path.text)
  }

  private func replay(
    _ listing: LogListing, from start: Int64, _ checkpoint: CheckpointFiles?, to target: Int64, usesCompactions: Bool
  ) throws -> LogReplay {
    var state = LogReplay()
    if let checkpoint { try load(checkpoint, version: start, into: &state) }
    var version = start + 1
    while version <= target {
      if usesCompactions, let compaction = listing.compactions[version]?.first(where: { $0.to <= target }) {
        state.apply(try Action.parse(store.get(compaction.path), name: compaction.path.text))
        version = compaction.to + 1
        continue
      }
      guard listing.commits[version] != nil else {
        throw PlatformError(.invalidFile, "version \(version) is missing from the table's log", path: path.text)
      }
      state.apply(try commit(version))
      version += 1
    }
    return state
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
