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
  public convenience init(
    files: [String], columns: [String]? = nil, where filter: String? = nil, orderBy order: String? = nil,
    memoryLimit: String? = "512MB",
    threads: Int = 2, temporaryDirectory: String? = nil
  ) throws {
    guard !files.isEmpty else {
      self.init(nothing: ())
      return
    }
    try self.init(
      source: { _ in "read_parquet(\(SQLText.list(files)), union_by_name=true, hive_partitioning=false)" }, columns, filter, order,
      .init(memoryLimit: memoryLimit, threads: threads, temporaryDirectory: temporaryDirectory))
  }

  /// As above, exactly the rows of a table's version: with partition values, without deleted rows, under the table's names.
  /// - Throws: `invalidFile` naming a file that is damaged.
  public convenience init(
    _ scan: TableScan, columns: [String]? = nil, where filter: String? = nil, orderBy order: String? = nil,
    memoryLimit: String? = "512MB", threads: Int = 2, temporaryDirectory: String? = nil
  ) throws {
    try self.init(
      source: { connection in
        try scan.define("__scan", on: connection)
        return "__scan"
      }, columns, filter, order, .init(memoryLimit: memoryLimit, threads: threads, temporaryDirectory: temporaryDirectory))
  }

  private init(nothing: Void) {
    columns = []
    result = nil
  }

  private init(
    source: (Connection) throws -> String, _ columns: [String]?, _ filter: String?, _ order: String?, _ settings: Database.Settings
  ) throws {
    let connection = try Database(settings: settings).connect()
    try connection.execute("SET TimeZone='UTC'")
    let list = columns.map { $0.map(SQLText.identifier).joined(separator: ", ") } ?? "*"
    let sql =
      try "SELECT \(list) FROM \(source(connection))" + (filter.map { " WHERE \($0)" } ?? "") + (order.map { " ORDER BY \($0)" } ?? "")
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
