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
    /// The file only got another deletion vector: of its rows those count that `deletionVector` holds and this one does not.
    /// Given for all such files, an empty one where there was none.
    public var difference: Difference?
    /// Rows in the file itself, where the log tells.
    public var physicalRows: Int64?
    /// Values of `_commit_version` and `_commit_timestamp`.
    public var version: Int64
    public var timestampMilliseconds: Int64

    /// - Throws: `invalidFile` for a path that leaves the table.
    public func location() throws -> FileLocation { try DeltaPath.location(path) }
  }

  /// The other side of a comparison of deletion vectors; nil: no row was deleted.
  public struct Difference: Sendable, Hashable {
    public var vector: DeletionVectorDescriptor?
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
    // A file that is there before and after has lost or got back the rows by which its vectors differ.
    var added: [String: AddFile] = [:]
    var removed: [String: RemoveFile] = [:]
    for action in commit {
      if case .add(let file) = action, file.dataChange { added[file.path] = file }
      if case .remove(let file) = action, file.dataChange { removed[file.path] = file }
    }
    return commit.flatMap { action -> [Change] in
      switch action {
      case .add(let file) where file.dataChange:
        guard let old = removed[file.path] else {
          return [change(.inserted, file.path, file.partitionValues, file.size, file.deletionVector)]
        }
        return [(Kind.deleted, file.deletionVector, old.deletionVector), (.inserted, old.deletionVector, file.deletionVector)].compactMap { kind, own, other in
          guard let own else { return nil }
          var part = change(kind, file.path, file.partitionValues, file.size, own)
          part.difference = Difference(vector: other)
          part.physicalRows = file.physicalRowCount
          return part
        }
      case .remove(let file) where file.dataChange && added[file.path] == nil:
        return [change(.deleted, file.path, file.partitionValues ?? [:], file.size ?? 0, file.deletionVector)]
      default: return []
      }
    }
  }
}

extension DeltaTable {
  /// The changes of versions `range`, oldest first.
  /// - Throws: as `changesAndSchemas`.
  public func changes(_ range: ClosedRange<Int64>) throws -> [ChangeDataFeed.Change] { try changesAndSchemas(range).changes }

  /// The changes of versions `range`, oldest first, and all schemas that their rows may have been written with.
  /// - Throws: `invalidArgument` when the feed was off at one of them; `notFound` for a version that does not exist or was cleaned up.
  public func changesAndSchemas(_ range: ClosedRange<Int64>) throws -> (changes: [ChangeDataFeed.Change], schemas: [StructType]) {
    let first = try snapshot(version: range.lowerBound)
    var properties = first.properties
    var schemas = [first.schema]
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
        if case .metadata(let value) = action {
          properties = TableProperties(value.configuration)
          if version == range.lowerBound, version > 0 {
            // Rows that the first version has removed are of the schema before it; where that was cleaned up, nobody knows it.
            do { schemas.append(try snapshot(version: version - 1).schema) } catch let error as PlatformError
              where error.code == .notFound || error.code == .invalidFile
            {}
          }
          schemas.append(try StructType(parsing: value.schemaString))
        }
        if case .commitInfo(let info) = action, let own = info.inCommitTimestamp { time = own }
      }
      guard properties.hasChangeDataFeed else {
        throw PlatformError(.invalidArgument, "the table's change data feed was off at version \(version)", path: path.text)
      }
      found += ChangeDataFeed.changes(actions, version: version, timestampMilliseconds: time)
    }
    return (found, schemas)
  }
}
