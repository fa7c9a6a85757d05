// SPDX-License-Identifier: Apache-2.0

public import Core

/// A data file that a shard wrote, with what its Delta commit needs.
public struct PipelineFile: Codable, Sendable, Equatable {
  /// Absolute.
  public var path: String
  public var sizeBytes: Int64
  public var rows: Int64
  /// Delta statistics: numRecords, minValues, maxValues, nullCount. Null when the writer gives none.
  public var statistics: JSONValue

  public init(path: String, sizeBytes: Int64, rows: Int64, statistics: JSONValue = .null) {
    self.path = path
    self.sizeBytes = sizeBytes
    self.rows = rows
    self.statistics = statistics
  }
}

/// The values of one column; no value is null.
public enum ColumnValues: Sendable, Equatable {
  case text([String])
  case integer([Int64])
  /// Microseconds since 1970 in UTC.
  case timestamp([Int64])

  public var count: Int {
    switch self {
    case .text(let values): values.count
    case .integer(let values), .timestamp(let values): values.count
    }
  }
}

/// A table in memory: the rows of one shard.
public struct RowSet: Sendable, Equatable {
  public struct Column: Sendable, Equatable {
    public var name: String
    public var values: ColumnValues

    public init(_ name: String, _ values: ColumnValues) {
      self.name = name
      self.values = values
    }
  }

  public var columns: [Column]
  public var count: Int { columns.first?.values.count ?? 0 }

  public init(_ columns: [Column]) {
    precondition(columns.allSatisfy { $0.values.count == columns[0].values.count }, "columns differ in length")
    self.columns = columns
  }

  /// - Throws: `invalidFile` when the column is missing or of another type.
  public func text(_ name: String) throws -> [String] {
    if case .text(let values)? = columns.first(where: { $0.name == name })?.values { return values }
    throw PlatformError(.invalidFile, "column '\(name)' is missing or is no text", number: "PLT-3103")
  }

  /// - Throws: `invalidFile` when the column is missing or of another type.
  public func integers(_ name: String) throws -> [Int64] {
    if case .integer(let values)? = columns.first(where: { $0.name == name })?.values { return values }
    throw PlatformError(.invalidFile, "column '\(name)' is missing or is no integer", number: "PLT-3103")
  }
}

/// Where shards read and write tables. Implementations block; a written file is complete or absent.
public protocol RowFiles: Sendable {
  /// Writes all rows to a new file at the absolute `path`, replacing what an earlier attempt left there.
  func write(_ rows: RowSet, to path: String) throws -> PipelineFile
  /// Reads the named columns of all rows, in the order of the file.
  func read(_ path: String, columns: [String]) throws -> RowSet
}
