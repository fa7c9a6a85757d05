// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation

/// Writing one parquet file so that it appears complete or not at all, and its statistics.
enum ParquetFile {
  /// Characters kept of a text's minimum and maximum (Delta's `dataSkippingStringPrefixLength`).
  static let prefixLength = 32

  /// Writes the rows of `source` (a table or a parenthesised query) to `path`.
  static func write(_ connection: Connection, source: String, columns: [Column], path: String) throws -> WrittenFile {
    let temporary = path + ".tmp-" + UUID().uuidString.prefix(8)
    var isPublished = false
    defer { if !isPublished { unlink(temporary) } }
    let list = columns.map { column in
      let name = SQLText.identifier(column.name)
      let stored = TypeMapping.stored(column.type)
      return stored == column.type ? name : "CAST(\(name) AS \(stored.sql)) AS \(name)"
    }.joined(separator: ", ")
    let copy = "COPY (SELECT \(list) FROM \(source)) TO \(SQLText.literal(temporary)) (FORMAT parquet, COMPRESSION zstd)"
    let rows = try Int64(connection.execute(copy))
    let statistics = try statistics(
      connection, source: "read_parquet(\(SQLText.literal(temporary)))",
      columns: columns.map { Column($0.name, TypeMapping.stored($0.type)) })
    try sync(temporary, flags: O_RDONLY)
    guard rename(temporary, path) == 0 else {
      throw PlatformError.system("rename the written file", path)
    }
    isPublished = true
    try sync((path as NSString).deletingLastPathComponent, flags: O_RDONLY | O_DIRECTORY)
    var info = stat()
    guard stat(path, &info) == 0 else { throw PlatformError(.unavailable, "the written file vanished", path: path) }
    return WrittenFile(
      path: path, sizeBytes: Int64(info.st_size), rows: statistics["numRecords"]?.intValue.map(Int64.init) ?? rows,
      statistics: statistics)
  }

  private static func sync(_ path: String, flags: Int32) throws {
    let descriptor = open(path, flags | O_CLOEXEC)
    guard descriptor >= 0 else { throw PlatformError.system("open the written file", path) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw PlatformError.system("make the written file durable", path) }
  }

  /// Delta statistics of the first 32 columns ("Per-file Statistics").
  static func statistics(_ connection: Connection, source: String, columns: [Column]) throws -> JSONValue {
    let columns = Array(columns.prefix(32))
    var parts = ["count(*)"]
    var ranged: [Bool] = []
    for column in columns {
      let name = SQLText.identifier(column.name)
      parts.append("count(\(name))")
      switch column.type {
      case .varchar:
        ranged.append(true)
        let head = "left(\(name), \(prefixLength + 1))"
        parts += ["min(\(head))", "max(\(head))"]
      case .tinyint, .smallint, .integer, .bigint, .float, .double, .decimal, .date, .timestamp, .timestampTZ:
        ranged.append(true)
        parts += ["min(\(name))", "max(\(name))"]
      default: ranged.append(false)
      }
    }
    guard let row = try connection.rows("SELECT \(parts.joined(separator: ", ")) FROM \(source)").first else { return [:] }
    let total = row[0].intValue ?? 0
    var least: [String: JSONValue] = [:]
    var greatest: [String: JSONValue] = [:]
    var nulls: [String: JSONValue] = [:]
    var index = 1
    for (column, isRanged) in zip(columns, ranged) {
      nulls[column.name] = .integer(total - (row[index].intValue ?? 0))
      index += 1
      guard isRanged else { continue }
      least[column.name] = bound(row[index], isUpper: false)
      greatest[column.name] = bound(row[index + 1], isUpper: true)
      index += 2
    }
    return [
      "numRecords": .integer(total), "minValues": .object(least), "maxValues": .object(greatest),
      "nullCount": .object(nulls),
    ]
  }

  /// A minimum or maximum as JSON; nil when there is none, or a text has no short bound.
  static func bound(_ value: SQLValue, isUpper: Bool) -> JSONValue? {
    switch value {
    case .null: return nil
    case .decimal(let text): return Double(text).flatMap { text.count <= 15 ? .number($0) : nil }
    case .double(let number): return number.isFinite ? .number(number) : nil
    case .string(let text):
      let scalars = text.unicodeScalars
      guard scalars.count > prefixLength else { return .string(text) }
      var prefix = String.UnicodeScalarView(scalars.prefix(prefixLength))
      guard isUpper else { return .string(String(prefix)) }
      // The tie breaker makes the shortened maximum greater than every text with this prefix.
      let next = scalars[scalars.index(scalars.startIndex, offsetBy: prefixLength)]
      guard next.value < 0x10FFFF else { return nil }
      prefix.append(next.value < 0xFFFD ? "\u{FFFD}" : "\u{10FFFF}")
      return .string(String(prefix))
    default: return value.json
    }
  }
}
