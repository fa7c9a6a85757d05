// SPDX-License-Identifier: Apache-2.0

import Core
public import Query

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
  func write(_ rows: RowSet, to path: String) throws -> WrittenFile
  /// Reads the named columns of all rows, in the order of the file.
  func read(_ path: String, columns: [String]) throws -> RowSet
}
