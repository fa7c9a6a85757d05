// SPDX-License-Identifier: Apache-2.0

public import Core
public import DeltaLog
public import DuckDB

/// A named, typed column.
public struct Column: Codable, Sendable, Hashable {
  public var name: String
  public var type: SQLType
  public init(_ name: String, _ type: SQLType) {
    self.name = name
    self.type = type
  }
}

/// A data file that was written, complete and durable, and waits to be committed.
public struct WrittenFile: Codable, Sendable, Hashable {
  /// Absolute.
  public var path: String
  public var sizeBytes: Int64
  public var rows: Int64
  /// Delta statistics: numRecords, minValues, maxValues, nullCount.
  public var statistics: JSONValue
  /// By physical name of the partition column, as text; nil is null.
  public var partitionValues: [String: String?]
  public init(path: String, sizeBytes: Int64, rows: Int64, statistics: JSONValue, partitionValues: [String: String?] = [:]) {
    self.path = path
    self.sizeBytes = sizeBytes
    self.rows = rows
    self.statistics = statistics
    self.partitionValues = partitionValues
  }

  /// The file as the log of its table names it.
  /// - Parameter folder: the table's, absolute.
  /// - Throws: `internalError` for a file outside of it.
  public func added(to folder: String) throws -> AddFile {
    guard path.utf8.starts(with: (folder + "/").utf8) else { throw PlatformError(.internalError, "a data file lies outside of its table: \(path)") }
    let relative = String(decoding: path.utf8.dropFirst(folder.utf8.count + 1), as: UTF8.self)
    return AddFile(relativePath: relative, size: sizeBytes, statistics: statistics, partitionValues: partitionValues)
  }
}
