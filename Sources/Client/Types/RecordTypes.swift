// SPDX-License-Identifier: Apache-2.0

/// The answer to records that were pushed to a table: they are durable in `version`.
public struct RecordAnswer: Codable, Sendable, Equatable {
  public var table: String
  public var batchID: String
  public var version: Int64
  public var rows: Int64
  /// The batch was in the table before; nothing was written.
  public var replayed: Bool

  public init(table: String, batchID: String, version: Int64, rows: Int64, replayed: Bool) {
    self.table = table
    self.batchID = batchID
    self.version = version
    self.rows = rows
    self.replayed = replayed
  }

  enum CodingKeys: String, CodingKey {
    case table, version, rows, replayed
    case batchID = "batch_id"
  }
}
