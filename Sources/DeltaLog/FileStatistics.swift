// SPDX-License-Identifier: Apache-2.0

import Core

/// The statistics of a data file, as the `stats` text of an `add` action holds them ("Per-file Statistics").
public enum FileStatistics {
  /// `numRecords` of a `stats` text, without reading the rest into memory.
  static func rowCount(in text: String) -> Int64? {
    // Statistics are optional: what cannot be read counts as absent.
    try? JSONScanner.scan(text) { scanner in
      var rows: Int64?
      try scanner.members { scanner, key in
        if key == "numRecords" { rows = try scanner.sizeOrNull() } else { try scanner.skip() }
      }
      return rows
    }
  }

  /// Without members that are null, as a struct column of a checkpoint has them for every column without a value.
  static func withoutNulls(_ value: JSONValue) -> JSONValue {
    guard case .object(let members) = value else { return value }
    return .object(members.filter { $0.value != .null }.mapValues(withoutNulls))
  }
}
