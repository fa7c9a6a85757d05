// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation

/// Judges a condition over partition columns by the values of each partition.
public enum PartitionCondition {
  /// - Parameters:
  ///   - partitions: for each the text of its values as the log has them; nil and the empty text are null.
  /// - Returns: the indices of those for which the condition is true.
  /// - Throws: `invalidArgument` for a condition that names other columns, or is none; `timeout` after ten seconds.
  public static func matching(_ partitions: [[String?]], columns: [Column], _ condition: String) throws -> [Int] {
    try TableExpression.check(condition, columns: columns, what: "the condition on partitions")
    let connection = try Database(settings: .init(memoryLimit: "256MB", threads: 1)).connect()
    try connection.execute("SET TimeZone='UTC'")
    let texts = columns.indices.map { "p\($0) VARCHAR" }.joined(separator: ", ")
    try connection.execute("CREATE TABLE partitions (number BIGINT, \(texts)); SET enable_external_access=false; SET lock_configuration=true")
    let appender = try Appender(connection, table: "partitions")
    for (number, values) in partitions.enumerated() {
      try appender.append(.int(Int64(number)))
      for value in values { try appender.append(value.flatMap { $0.isEmpty ? nil : .string($0) } ?? .null) }
      try appender.endRow()
    }
    try appender.close()
    let list = columns.enumerated().map { "CAST(p\($0) AS \($1.type.sql)) AS \(SQLText.identifier($1.name))" }.joined(separator: ", ")
    // A function that computes without end must not hold the coordinator.
    let watch = Thread {
      Thread.sleep(forTimeInterval: 10)
      connection.interrupt()
    }
    watch.stackSize = 1 << 18
    watch.start()
    return try connection.rows("SELECT number FROM (SELECT number, \(list) FROM partitions) WHERE (\(TableExpression.native(condition))\n) ORDER BY 1")
      .compactMap { $0[0].intValue.map { Int($0) } }
  }
}
