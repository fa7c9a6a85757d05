// SPDX-License-Identifier: Apache-2.0

import Core
public import DuckDB

/// Streams rows of parquet files, up to 2048 at a time. Belongs to one thread.
public final class ParquetScan {
  /// Result columns in order.
  public let columns: [ResultStream.Column]
  private let result: ResultStream?

  /// - Parameters:
  ///   - files: absolute paths; none gives no rows (and no columns).
  ///   - columns: names to read; nil: all.
  ///   - filter: an SQL condition of this program's own making, never outside text.
  ///   - order: an SQL ordering, for example `chunk_id`; nil: the files' order.
  public init(
    files: [String], columns: [String]? = nil, where filter: String? = nil, orderBy order: String? = nil,
    memoryLimit: String? = "512MB",
    threads: Int = 2, temporaryDirectory: String? = nil
  ) throws {
    guard !files.isEmpty else {
      self.columns = []
      result = nil
      return
    }
    let connection = try Database(
      settings: .init(memoryLimit: memoryLimit, threads: threads, temporaryDirectory: temporaryDirectory)
    ).connect()
    try connection.execute("SET TimeZone='UTC'")
    let list = columns.map { $0.map(SQLText.identifier).joined(separator: ", ") } ?? "*"
    let sql =
      "SELECT \(list) FROM read_parquet(\(SQLText.list(files)), union_by_name=true)" + (filter.map { " WHERE \($0)" } ?? "")
      + (order.map { " ORDER BY \($0)" } ?? "")
    let result = try connection.query(sql)
    self.result = result
    self.columns = result.columns
  }

  /// The next chunk, or nil at the end. Fetch its columns once, then read row by row.
  public func next() throws -> DataChunk? { try result?.next() }

  /// Index of a column.
  /// - Throws: `notFound`.
  public func index(of name: String) throws -> Int {
    guard let index = columns.firstIndex(where: { $0.name == name }) else {
      throw PlatformError(.notFound, "no column '\(name)'")
    }
    return index
  }
}
