// SPDX-License-Identifier: Apache-2.0

import DuckDB

/// Rows of another system's Postgres that go into a table.
public struct PostgresRead: Codable, Sendable, Hashable {
  /// How far a table was copied: everything up to `value`, of which `hashes` were there (MD5 of `columns` as text, with counts).
  public struct Mark: Codable, Sendable, Hashable {
    /// Of the watermark column, as Postgres writes it.
    public var value: String
    /// What the source had then: columns that it gets later change no hash.
    public var columns: [String]
    public var hashes: [String: Int]?
    /// In the place of too many hashes: number and MD5 of all of them.
    public var checksum: String?
    public init(value: String, columns: [String], hashes: [String: Int]? = nil, checksum: String? = nil) {
      self.value = value
      self.columns = columns
      self.hashes = hashes
      self.checksum = checksum
    }
  }

  /// What is to be read: a table's name, or a query.
  public var table: String?
  public var query: String?
  /// A column that only grows; nil: everything is read.
  public var watermark: String?
  /// Where the last read ended.
  public var last: Mark?
  /// Rows whose watermark is younger than this wait: those who write them may not be done.
  public var lagMilliseconds: Int64 = 0
  /// About how many rows at once.
  public var rowLimit = 1_000_000
  /// Only the columns are wanted.
  public var isProbe = false

  public init(table: String?, query: String?, watermark: String? = nil) {
    self.table = table
    self.query = query
    self.watermark = watermark
  }

  /// More rows than this with the highest watermark are compared as a whole.
  public static let hashLimit = 10_000
}

/// What was read.
public struct PostgresOutcome: Codable, Sendable, Hashable {
  public var columns: [Column]
  /// Where this read ended; nil: there is nothing yet, or no watermark.
  public var mark: PostgresRead.Mark?
  /// More is there than one read takes.
  public var hasMore: Bool
}
