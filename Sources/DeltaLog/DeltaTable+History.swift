// SPDX-License-Identifier: Apache-2.0

import Core
import ObjectStore

extension DeltaTable {
  /// One line of the history.
  public struct HistoryEntry: Sendable {
    public var version: Int64
    /// The in-commit timestamp where the table has them, otherwise the time of the commit's file.
    public var timestampMilliseconds: Int64
    public var info: CommitInfo?
  }

  /// When commits count as made: from which version on the commit itself says so ("In-Commit Timestamps").
  struct CommitClock: Sendable, Equatable {
    /// First version with a time of its own; nil: none has.
    var firstVersion: Int64?
    /// Its time; older versions are before it.
    var firstTime: Int64?

    init(_ metadata: TableMetadata?, _ tableProtocol: TableProtocol?) {
      guard let metadata, let tableProtocol, tableProtocol.supports(.inCommitTimestamp),
        TableProperties(metadata.configuration).hasInCommitTimestamps
      else { return }
      // Without these properties the feature was on from the start.
      firstVersion = metadata.configuration["delta.inCommitTimestampEnablementVersion"].flatMap { Int64($0) } ?? 0
      firstTime = metadata.configuration["delta.inCommitTimestampEnablementTimestamp"].flatMap { Int64($0) }
    }
  }

  /// The latest version committed at or before `timestampMilliseconds` (since 1970).
  /// - Throws: `notFound` when the table is younger.
  public func snapshot(timestampMilliseconds: Int64) throws -> Snapshot {
    let listing = try listing()
    guard let version = try version(at: timestampMilliseconds, listing) else {
      throw PlatformError(.notFound, "the table has no version as old as that", path: path.text)
    }
    return try snapshot(version: version, listing)
  }

  /// The latest version committed at or before `timestampMilliseconds`; nil when the table is younger.
  public func version(atTimestampMilliseconds timestampMilliseconds: Int64) throws -> Int64? {
    try version(at: timestampMilliseconds, listing())
  }

  private func version(at time: Int64, _ listing: LogListing) throws -> Int64? {
    let clock = try clock(listing)
    if let first = clock.firstVersion, clock.firstTime.map({ time >= $0 }) ?? true {
      // These times rise, so a binary search reads few commits.
      let versions = listing.commits.keys.filter { $0 >= first }.sorted()
      var low = 0
      var high = versions.count
      while low < high {
        let middle = (low + high) / 2
        if try inCommitTime(versions[middle]) <= time { low = middle + 1 } else { high = middle }
      }
      return low > 0 ? versions[low - 1] : nil
    }
    return Self.fileTimes(listing, before: clock.firstVersion).last { $0.time <= time }?.version
  }

  /// Reads the newest metadata and protocol; a table that this reader refuses is still listed by file times.
  private func clock(_ listing: LogListing) throws -> CommitClock {
    do {
      let latest = try snapshot(version: nil, listing)
      return CommitClock(latest.metadata, latest.tableProtocol)
    } catch let error as PlatformError where error.code == .invalidFile {
      return CommitClock(nil, nil)
    }
  }

  private func inCommitTime(_ version: Int64) throws -> Int64 {
    guard case .commitInfo(let info)? = try commit(version).first(where: { if case .commitInfo = $0 { true } else { false } }),
      let time = info.inCommitTimestamp
    else { throw PlatformError(.invalidFile, "version \(version) of the table has no in-commit timestamp", path: path.text) }
    return time
  }

  /// Commit times by file modification, forced to rise ("Commit timestamps" of the reference implementation).
  static func fileTimes(_ listing: LogListing, before limit: Int64? = nil) -> [(version: Int64, time: Int64)] {
    var last = Int64.min
    return listing.commits.filter { limit == nil || $0.key < limit! }.sorted { $0.key < $1.key }.map { version, info in
      last = max(info.modifiedMilliseconds, last == .min || last == .max ? last : last + 1)
      return (version, last)
    }
  }

  /// Newest first, at most `limit` commits.
  public func history(limit: Int = 100) throws -> [HistoryEntry] {
    let listing = try listing()
    return try Self.fileTimes(listing).suffix(max(0, limit)).reversed().map { version, time in
      let info = try commit(version).lazy.compactMap { if case .commitInfo(let info) = $0 { info } else { nil } }.first
      return HistoryEntry(version: version, timestampMilliseconds: info?.inCommitTimestamp ?? time, info: info)
    }
  }
}
