// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation
public import ObjectStore

/// Which files of a log are no longer needed ("Metadata Cleanup"). Pure.
public enum LogCleanup {
  /// A file of `_delta_log`.
  public struct Candidate: Sendable, Hashable {
    public var path: ObjectPath
    public var modifiedMilliseconds: Int64
    public init(path: ObjectPath, modifiedMilliseconds: Int64) {
      self.path = path
      self.modifiedMilliseconds = modifiedMilliseconds
    }
  }

  /// Commits, checkpoints, checksums and compactions that lie before the newest checkpoint which the retention still covers.
  /// Every version from that checkpoint on stays readable.
  /// - Parameters:
  ///   - prefix: the log's folder with a slash at its end.
  ///   - now: milliseconds since 1970; the cut is the last midnight UTC before `now` less the retention.
  /// - Returns: files in the order in which they may be deleted: oldest first, so that an interruption leaves no gap behind a checkpoint.
  public static func expired(
    _ files: [Candidate], prefix: String, now: Int64, retentionMilliseconds: Int64
  ) -> [ObjectPath] {
    let infos = files.map { ObjectInfo(path: $0.path, size: 0, modifiedMilliseconds: $0.modifiedMilliseconds) }
    let listing = LogListing(infos, prefix: prefix)
    let (edge, overflow) = now.subtractingReportingOverflow(retentionMilliseconds)
    guard !overflow else { return [] }
    let cut = edge >= 0 ? edge / TableProperties.day * TableProperties.day : 0
    // The newest commit that is not newer than the cut, by times that rise.
    guard let commit = DeltaTable.fileTimes(listing).last(where: { $0.time <= cut })?.version,
      let checkpoint = listing.checkpoints.keys.filter({ $0 <= commit }).max()
    else { return [] }
    return files.compactMap { file -> (version: Int64, path: ObjectPath)? in
      guard file.path.text.hasPrefix(prefix), let kind = LogFile(name: String(file.path.text.dropFirst(prefix.count))) else { return nil }
      switch kind {
      case .commit(let version), .checkpoint(let version, _), .checksum(let version):
        return version < checkpoint ? (version, file.path) : nil
      case .compaction(let from, _): return from <= checkpoint ? (from, file.path) : nil
      case .stagedCommit(let version): return version <= checkpoint ? (version, file.path) : nil
      case .sidecar, .lastCheckpoint: return nil
      }
    }.sorted { ($0.version, $0.path) < ($1.version, $1.path) }.map(\.path)
  }

  /// Sidecars that no checkpoint refers to and that are at least a day old, so that none of a checkpoint in the making goes.
  public static func unusedSidecars(
    _ files: [Candidate], prefix: String, referenced: Set<ObjectPath>, now: Int64
  ) -> [ObjectPath] {
    let cut = now / TableProperties.day * TableProperties.day - TableProperties.day
    return files.filter { file in
      guard file.path.text.hasPrefix(prefix), LogFile(name: String(file.path.text.dropFirst(prefix.count))) == .sidecar else { return false }
      return !referenced.contains(file.path) && file.modifiedMilliseconds < cut
    }.map(\.path).sorted()
  }
}

extension DeltaTable {
  /// Deletes what `LogCleanup` finds, unless the table's properties keep everything.
  /// - Returns: the deleted files.
  @discardableResult
  public func cleanUpLog(now: Int64 = ProcessSupport.wallMilliseconds) throws -> [ObjectPath] {
    let snapshot = try snapshot()
    try snapshot.tableProtocol.checkWritable(active: snapshot.activeFeatures, data: dataFeatures)
    guard snapshot.properties.cleansExpiredLogs else { return [] }
    let prefix = path.text + "/_delta_log/"
    func candidates() throws -> [LogCleanup.Candidate] {
      try store.list(path.appending("_delta_log")).map {
        LogCleanup.Candidate(path: $0.path, modifiedMilliseconds: $0.modifiedMilliseconds)
      }
    }
    let expired = LogCleanup.expired(
      try candidates(), prefix: prefix, now: now, retentionMilliseconds: snapshot.properties.logRetentionMilliseconds)
    for file in expired { try store.delete(file) }
    let left = try candidates()
    // Checkpoints are read for what they refer to only where there is something that they could.
    guard left.contains(where: { LogFile(name: String($0.path.text.dropFirst(prefix.count))) == .sidecar }) else { return expired }
    let sidecars = try referencedSidecars()
    let unused = LogCleanup.unusedSidecars(left, prefix: prefix, referenced: sidecars, now: now)
    for file in unused { try store.delete(file) }
    return expired + unused
  }

  /// The sidecars of every checkpoint that is there.
  private func referencedSidecars() throws -> Set<ObjectPath> {
    var found: Set<ObjectPath> = []
    for checkpoints in try listing().checkpoints.values {
      for checkpoint in checkpoints where checkpoint.paths.count == 1 {
        for action in try checkpointActions(checkpoint) {
          if case .sidecar(let sidecar) = action { found.insert(try sidecarPath(sidecar)) }
        }
      }
    }
    return found
  }
}
