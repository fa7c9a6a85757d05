// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB

/// Dates and times without end. The engine has them, Parquet and Delta's log have not: other readers take them for days hundreds of thousands of
/// years away, or fail. All files are written with their bounds, so that they are found without a look at the rows.
struct InfiniteTimes {
  /// What people call a column, by what the engine calls it in its statistics.
  private let columns: [String: String]
  private let table: String

  init(_ table: TargetTable) {
    var found: [String: String] = [:]
    func collect(_ type: DeltaType, _ key: String, _ name: String) {
      switch type {
      case .primitive(let kind): if ["date", "timestamp", "timestamp_ntz"].contains(kind) { found[key] = name }
      case .array(let item, _): collect(item, key + #"."element""#, name + ".element")
      case .map(let first, let second, _):
        collect(first, key + #"."key""#, name + ".key")
        collect(second, key + #"."value""#, name + ".value")
      case .structure(let inner):
        for field in inner.fields { collect(field.type, key + "." + SQLText.identifier(field.physicalName), name + "." + field.name) }
      }
    }
    for field in table.schema.fields { collect(field.type, SQLText.identifier(field.physicalName), field.name) }
    columns = found
    self.table = table.name
  }

  /// - Parameter statistics: of a file that was written.
  /// - Throws: `invalidArgument` PLT-3296 naming the column.
  func refuse(in statistics: [SQLValue]) throws {
    guard !columns.isEmpty else { return }
    for entry in SQLValue.list(statistics).entries {
      guard let name = columns[entry.key] else { continue }
      for bound in entry.value.entries where bound.key == "min" || bound.key == "max" {
        if let text = bound.value.stringValue, Self.texts.contains(text) { throw refusal("the column '\(name)'", text) }
      }
    }
  }

  /// `refuse` for values of partition columns, by physical name.
  func refuse(in values: [String: String?]) throws {
    for (key, value) in values {
      guard let name = columns[SQLText.identifier(key)], let text = value, Self.texts.contains(text) else { continue }
      throw refusal("the partition column '\(name)'", text)
    }
  }

  private static let texts: Set<String> = ["infinity", "-infinity"]

  private func refusal(_ column: String, _ text: String) -> PlatformError {
    PlatformError(
      .invalidArgument, "\(column) of \(table) would hold '\(text)', which other readers of its files do not know",
      hint: "Give NULL or a day far away, such as DATE '9999-12-31'. Rows that hold it already: UPDATE .. SET .. WHERE NOT isfinite(..).",
      number: "PLT-3296")
  }
}
