// SPDX-License-Identifier: Apache-2.0

import Core

/// What to write instead of a function that is not there.
public enum UnknownFunction {
  /// Functions of Spark and its like that go by another name here, and are not similar to it.
  private static let elsewhere: [String: String] = [
    "array_except": "list_filter(a, x -> NOT list_contains(b, x))", "array_union": "list_distinct(list_concat(a, b))", "arrays_zip": "list_zip(a, b)",
    "charindex": "instr(text, part)", "convert_timezone": "t AT TIME ZONE 'Europe/Berlin'", "forall": "len(list_filter(list, x -> NOT (..))) = 0",
    "format_number": "format('{:,.2f}', x)", "format_string": "printf('%s', x)", "getdate": "now()", "inline": "unnest(list, recursive := true)",
    "input_file_name": "_metadata.file_path of read_files", "json_object_keys": "json_keys(text)", "json_tuple": "json_extract_string(text, '$.key')",
    "monotonically_increasing_id": "row_number() OVER ()", "parse_json": "CAST(text AS JSON)", "posexplode": "LATERAL VIEW posexplode(list) t AS pos, col",
    "schema_of_json": "json_structure(text)", "sequence": "generate_series(first, last)", "stack": "FROM (VALUES (..), (..)) AS t(a, b)",
    "to_char": "date_format(t, 'yyyy-MM-dd') or format('{}', x)", "to_number": "CAST(text AS DECIMAL(18, 2))",
    "to_unix_timestamp": "unix_timestamp(text, pattern)", "try_add": "TRY(a + b)", "try_element_at": "list_extract(list, n)",
    "try_multiply": "TRY(a * b)", "try_subtract": "TRY(a - b)", "window": "time_bucket(INTERVAL 5 MINUTES, t)", "xxhash64": "hash(x)",
    "zip_with": "list_transform(list_zip(a, b), x -> ..)",
  ]

  /// - Parameters:
  ///   - name: as it was written, without its schema.
  ///   - others: functions of the catalog that may have been meant.
  public static func hint(_ name: String, others: [String]) -> String {
    let folded = name.lowercased()
    let all = "SHOW FUNCTIONS lists those of a schema, docs/sql.md those that Spark has, too."
    if let other = elsewhere[folded] { return "Write \(other)." }
    let known = SQLExtensions.known.union(others.map { $0.lowercased() })
    // Of a short word everything is a neighbour.
    let limit = min(3, max(1, folded.count / 3))
    var ranked: [(distance: Int, name: String)] = []
    for name in known where abs(name.count - folded.count) <= limit {
      let distance = Spelling.distance(folded, name)
      if distance <= limit { ranked.append((distance, name)) }
    }
    let near = ranked.sorted { ($0.distance, $0.name) < ($1.distance, $1.name) }.prefix(3).map { "'\($0.name)'" }
    guard let last = near.last else { return all }
    let list = near.count == 1 ? last : near.dropLast().joined(separator: ", ") + " or " + last
    return "Did you mean \(list)? \(all)"
  }
}
