// SPDX-License-Identifier: Apache-2.0

import Core
public import DuckDB
import Foundation

/// Collects rows and writes them as one zstd parquet file with statistics. Belongs to one thread.
///
/// Rows are kept by the engine (in memory, spilling next to the file above the limit) until `finish`.
public final class ParquetTableWriter {
  public let path: String
  public let columns: [Column]
  private let connection: Connection
  private let appender: Appender
  private let table: String

  /// - Parameters:
  ///   - path: absolute; the folder is created. The file appears at `finish` by a rename.
  ///   - memoryLimit: above it rows spill to a temporary folder.
  ///   - database: one that several writers share, for small files: opening one takes longer than writing them. Its limits hold then.
  public init(path: String, columns: [Column], memoryLimit: String = "512MB", threads: Int = 2, sharing database: Database? = nil) throws {
    guard !columns.isEmpty, Set(columns.map { $0.name.lowercased() }).count == columns.count else {
      throw PlatformError(.invalidArgument, "a table needs columns with different names")
    }
    self.path = path
    self.columns = columns
    let folder = (path as NSString).deletingLastPathComponent
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch { throw PlatformError(.permissionDenied, "cannot create the folder", path: folder) }
    connection = try
      (database
      ?? Database(
        settings: .init(
          memoryLimit: memoryLimit, threads: threads,
          temporaryDirectory: NSTemporaryDirectory() + "platform-write-" + UUID().uuidString.prefix(8)))).connect()
    table = database == nil ? "written" : "written_" + UUID().uuidString.lowercased().filter { $0 != "-" }
    try connection.execute("SET TimeZone='UTC'")
    let list = columns.map { SQLText.identifier($0.name) + " " + $0.type.sql }.joined(separator: ", ")
    try connection.execute("CREATE TABLE \(table) (\(list))")
    appender = try Appender(connection, table: table)
  }

  deinit {
    // In a database of its own the rows go with it; a failing removal from a shared one only costs memory.
    if table != "written" { _ = try? connection.execute("DROP TABLE IF EXISTS \(table)") }
  }

  public var rowCount: Int { appender.rowCount }

  /// Appends one row; values in the columns' order.
  public func append(_ row: [SQLValue]) throws {
    for value in row { try appender.append(value) }
    try appender.endRow()
  }

  /// Appends one row by typed calls on the appender: `append` for each column. The fastest way.
  public func appendRow(_ body: (Appender) throws -> Void) throws {
    try body(appender)
    try appender.endRow()
  }

  /// Writes the file. Without rows no file is written and the result is nil.
  public func finish() throws -> WrittenFile? {
    try appender.close()
    guard appender.rowCount > 0 else { return nil }
    return try ParquetFile.write(connection, source: table, columns: columns, path: path)
  }
}
