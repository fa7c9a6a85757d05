// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation

/// Writing one parquet file so that it appears complete or not at all, and its statistics.
enum ParquetFile {
  /// Writes the rows of `source` (a table or a parenthesised query) to `path`.
  static func write(_ connection: Connection, source: String, columns: [Column], path: String) throws -> WrittenFile {
    let folder = (path as NSString).deletingLastPathComponent
    let table = try TargetTable(
      WriteTarget(name: "the table", schema: nil, properties: ["delta.targetFileSize": String(Int64.max / 2)]), columns: columns)
    let files = try DataFileWriter(layout: PhysicalLayout(table: table), folder: folder).write(
      connection, query: RowRules(table: table).query(from: source, given: Self.same(columns)))
    guard var file = files.first, files.count == 1 else {
      throw PlatformError(.internalError, "one file was to be written, there are \(files.count)", path: path)
    }
    guard rename(file.path, path) == 0 else {
      unlink(file.path)
      throw PlatformError.system("rename the written file", path)
    }
    try DurableFile.sync(folder, flags: O_RDONLY | O_DIRECTORY)
    file.path = path
    return file
  }

  /// Columns under their own names.
  static func same(_ columns: [Column]) -> [String: String] {
    Dictionary(columns.map { ($0.name.lowercased(), SQLText.identifier($0.name)) }) { first, _ in first }
  }
}
