// SPDX-License-Identifier: Apache-2.0

/// A commit that was decided: it is part of its table, also before its file has its place in the log.
public struct DecidedCommit: Sendable, Hashable, Codable {
  /// The table's identifier.
  public var table: String
  public var version: Int64
  /// In `_delta_log/_staged_commits`.
  public var fileName: String
  public var fileSize: Int64
  /// Behind this version the log alone counts again: the table does not have the feature any more. Who still wants such a version from the
  /// coordinator has read an older one.
  public var isLast: Bool

  public init(table: String, version: Int64, fileName: String, fileSize: Int64, isLast: Bool = false) {
    self.isLast = isLast
    self.table = table
    self.version = version
    self.fileName = fileName
    self.fileSize = fileSize
  }
}

/// How far a table has come.
public struct TableProgress: Sendable, Hashable {
  /// The newest decided version; nil when none was decided here, or the last of them is in the log, so that the log alone knows.
  public var latest: Int64?
  /// Decided commits that may not be in the log yet, oldest first.
  public var unpublished: [DecidedCommit]

  public init(latest: Int64? = nil, unpublished: [DecidedCommit] = []) {
    self.latest = latest
    self.unpublished = unpublished
  }
}

/// Decides commits of tables: what one call decides becomes visible at once or not at all. A database does this with one
/// transaction. Calls block.
public protocol CommitCoordinator: Sendable {
  /// How far the tables have come, all at one moment.
  func progress(of tables: [String]) throws -> [String: TableProgress]
  /// Makes all of `commits` part of their tables, or none.
  /// - Throws: `conflict` when a version is not the one behind the table's latest, or not above the last of a table that was given back.
  ///   After any other error it is unknown whether it
  ///   happened; `progress` tells.
  func decide(_ commits: [DecidedCommit]) throws
  /// The commits up to `version` are in the log.
  func published(_ table: String, through version: Int64) throws
}

extension TableFeature {
  /// The table's versions are given out by a coordinator. A writer that does not know it would write past the coordinator, so it
  /// is a feature of writers; readers find decided commits in the log moments later.
  public static let coordinatedCommits = TableFeature(rawValue: "platform.coordinatedCommits")
}
