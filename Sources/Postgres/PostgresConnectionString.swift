// SPDX-License-Identifier: Apache-2.0

/// Writing libpq connection strings (PostgreSQL manual, "Keyword/Value Connection Strings").
public enum PostgresConnectionString {
  /// `value` as it stands behind `keyword=`: in single quotes, with `\` before quotes and backslashes, unless it is plain.
  public static func value(_ value: String) -> String {
    let isPlain = value.utf8.allSatisfy {
      (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || [45, 46, 47, 95].contains($0)  // - . / _
    }
    if isPlain && !value.isEmpty { return value }
    return "'" + value.replacing("\\", with: "\\\\").replacing("'", with: "\\'") + "'"
  }
}
