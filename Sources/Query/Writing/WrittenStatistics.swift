// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB

/// Delta statistics from what the engine collected while it wrote a file.
enum WrittenStatistics {
  /// - Parameters:
  ///   - columns: entries of the map from column path (`"a"."b"`) to minimum, maximum and number of nulls, as text.
  ///   - nan: which columns of floating point numbers hold NaN. The engine's own word for it misses those of some encodings.
  static func json(_ columns: [SQLValue], rows: Int64, table: TargetTable, nan: Set<[String]>) -> JSONValue {
    let found = Dictionary(SQLValue.list(columns).entries.map { ($0.key, $0.value) }) { first, _ in first }
    var statistics = FileStatistics(numRecords: rows)
    for (path, type) in FileStatistics.columns(of: table.schema, partitionColumns: table.metadata.partitionColumns, table.properties) {
      guard let own = found[path.map(SQLText.identifier).joined(separator: ".")] else { continue }
      let facts = Dictionary(own.entries.map { ($0.key, $0.value.stringValue ?? "") }) { first, _ in first }
      statistics.columns.append(
        .init(
          path: path, minimum: facts["min"].flatMap { bound($0, type) }, maximum: facts["max"].flatMap { bound($0, type) },
          nullCount: facts["null_count"].flatMap { Int64($0) }, hasNaN: nan.contains(path)))
    }
    return statistics.json
  }

  /// Columns of which the bounds are wrong where there are NaN: floating point numbers that have statistics.
  static func numbers(_ table: TargetTable) -> [[String]] {
    FileStatistics.columns(of: table.schema, partitionColumns: table.metadata.partitionColumns, table.properties)
      .filter { $0.type == .primitive("float") || $0.type == .primitive("double") }.map(\.path)
  }

  /// nil for what has no bound.
  private static func bound(_ text: String, _ type: DeltaType) -> Literal? {
    // The shortest text of a 32-bit number is not its value: as a double it could lie on the wrong side of it.
    if type == .primitive("float") { return Float(text).map { .number(Double($0)) } }
    if type == .primitive("binary") { return nil }
    return try? Literal(partition: text, type: type)  // infinite dates and the like have no bound
  }
}
