// SPDX-License-Identifier: Apache-2.0

/// Records that a client pushed in one request: all of them become rows, or none does.
public struct RecordBatch: Codable, Sendable, Hashable {
  public enum Format: String, Codable, Sendable {
    /// One JSON object a line.
    case ndjson
    /// An Arrow IPC stream.
    case arrow
  }

  /// The identifier that the client gave.
  public var id: String
  public var format: Format
  /// The request's body, as it came. Absolute.
  public var path: String
  public var sizeBytes: Int64
  /// The body is packed with gzip.
  public var isPacked: Bool

  public init(id: String, format: Format, path: String, sizeBytes: Int64, isPacked: Bool) {
    self.id = id
    self.format = format
    self.path = path
    self.sizeBytes = sizeBytes
    self.isPacked = isPacked
  }
}

/// What became of one batch.
public struct RecordOutcome: Codable, Sendable, Hashable {
  public var rows: Int64
  /// Why nothing of the batch was written; nil: all of it was.
  public var refusal: String?
  /// The record that is to blame, counted from 1.
  public var line: Int?
  public init(rows: Int64, refusal: String? = nil, line: Int? = nil) {
    self.rows = rows
    self.refusal = refusal
    self.line = line
  }
}
