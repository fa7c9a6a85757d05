// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

/// Writes lines of small files to a table (f, n, text), in the order in which they come.
final class SmallRecords {
  private let connection: Connection
  private let table: String
  private var appender: Appender?

  init(_ connection: Connection, table: String) {
    self.connection = connection
    self.table = table
  }

  func append(_ file: Int, _ lines: [Substring]) throws {
    if lines.isEmpty { return }
    let appender = try self.appender ?? Appender(connection, table: table)
    self.appender = appender
    for (number, line) in lines.enumerated() {
      try appender.append(Int64(file))
      try appender.append(Int64(number + 1))
      try appender.append(String(line))
      try appender.endRow()
    }
  }

  /// The rows are in the table: others may be written behind them.
  func flush() throws {
    try appender?.close()
    appender = nil
  }
}
