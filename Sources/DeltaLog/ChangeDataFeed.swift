// SPDX-License-Identifier: Apache-2.0

import Core
import ObjectStore

/// The row-level changes of one version: which files to read and what their rows mean ("Add CDC File").
public enum ChangeDataFeed {
  /// What the rows of a file are.
  public enum Kind: String, Sendable, Hashable {
    /// The file's own column `_change_type` tells.
    case recorded
    /// Every row came in.
    case inserted = "insert"
    /// Every row went.
    case deleted = "delete"
  }

  /// A file of changed rows.
  public struct Change: Sendable, Hashable {
    public var kind: Kind
    public var path: String
    public var partitionValues: [String: String?]
    public var size: Int64
    /// Rows of the file that do not count: they were gone before, or are gone for another reason.
    public var deletionVector: DeletionVectorDescriptor?
    /// Values of `_commit_version` and `_commit_timestamp`.
    public var version: Int64
    public var timestampMilliseconds: Int64
  }

  public static let changeTypeColumn = "_change_type"
  public static let versionColumn = "_commit_version"
  public static let timestampColumn = "_commit_timestamp"
  /// The folder of change files.
  public static let folder = "_change_data"

  /// The changes of a commit. With change files only those count; otherwise rows of added and removed files.
  public static func changes(_ commit: [Action], version: Int64, timestampMilliseconds: Int64) -> [Change] {
    func change(_ kind: Kind, _ path: String, _ values: [String: String?], _ size: Int64, _ vector: DeletionVectorDescriptor?) -> Change {
      Change(
        kind: kind, path: path, partitionValues: values, size: size, deletionVector: vector, version: version,
        timestampMilliseconds: timestampMilliseconds)
    }
    let recorded = commit.compactMap { action -> Change? in
      guard case .change(let file) = action else { return nil }
      return change(.recorded, file.path, file.partitionValues, file.size, nil)
    }
    if !recorded.isEmpty { return recorded }
    return commit.compactMap { action in
      switch action {
      case .add(let file) where file.dataChange: change(.inserted, file.path, file.partitionValues, file.size, file.deletionVector)
      case .remove(let file) where file.dataChange:
        change(.deleted, file.path, file.partitionValues ?? [:], file.size ?? 0, file.deletionVector)
      default: nil
      }
    }
  }
}

extension DeltaTable {
  /// The changes of versions `range`, oldest first, with the table's metadata at each version that sets it.
  /// - Throws: `invalidArgument` when the feed was off at one of them; `notFound` for a version that does not exist or was cleaned up.
  public func changes(_ range: ClosedRange<Int64>) throws -> [ChangeDataFeed.Change] {
    var properties = try snapshot(version: range.lowerBound).properties
    let listing = try listing()
    let times = Dictionary(uniqueKeysWithValues: Self.fileTimes(listing).map { ($0.version, $0.time) })
    guard let latest = listing.latest, range.upperBound <= latest else {
      throw PlatformError(.notFound, "the table has no version \(range.upperBound)", path: path.text)
    }
    var found: [ChangeDataFeed.Change] = []
    for version in range {
      let actions = try commit(version)
      var time = times[version] ?? 0
      for action in actions {
        if case .metadata(let value) = action { properties = TableProperties(value.configuration) }
        if case .commitInfo(let info) = action, let own = info.inCommitTimestamp { time = own }
      }
      guard properties.hasChangeDataFeed else {
        throw PlatformError(.invalidArgument, "the table's change data feed was off at version \(version)", path: path.text)
      }
      found += ChangeDataFeed.changes(actions, version: version, timestampMilliseconds: time)
    }
    return found
  }
}
