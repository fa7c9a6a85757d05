// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation

/// Carries out DELETE, UPDATE and MERGE by copying: files with a changed row are written anew, all others stay.
///
/// Every expression of the user is evaluated once, into a table of changed rows; what is written is made from that table. So
/// a condition that looks at the table itself, or at the clock, cannot come out differently on the way.
enum ChangeRunner {
  /// - Throws: `invalidArgument` with the engine's text, or when a row matches several rows of a MERGE's source.
  static func run(_ spec: StatementSpec, _ connection: Connection) throws -> StatementResult {
    guard let change = spec.change, let folder = spec.outputDirectory else {
      throw PlatformError(.internalError, "a statement that changes rows needs its files and a folder")
    }
    let columns = spec.targetColumns
    try target("__target", change.files, columns, connection)
    let sets = columns.indices.map { "__set_\($0)" }
    let list = (["__f", "__r", "__action", "__delete"] + sets).joined(separator: ", ")
    var parts: [String] = []
    if let source = change.queries.source, let matched = change.queries.matched {
      try define("__source", source, nil, connection)
      try define("__matched", matched, ["__f", "__r", "__s", "__action", "__delete"] + sets, connection)
      let several = try connection.rows(
        "SELECT 1 FROM __matched WHERE __action <> 0 GROUP BY __f, __r HAVING count(*) > 1 LIMIT 1")
      guard several.isEmpty || change.queries.allowsSeveralMatches else {
        throw PlatformError(
          .invalidArgument, "a row of the target matches several rows of the source, which would change it in different ways",
          hint: "Make the source unique in the columns of ON.", number: "PLT-3203")
      }
      parts.append("SELECT \(list) FROM __matched WHERE __action <> 0 QUALIFY row_number() OVER (PARTITION BY __f, __r) = 1")
    }
    if let changed = change.queries.changed {
      try define("__alone", changed, ["__f", "__r", "__action", "__delete"] + sets, connection)
      parts.append("SELECT \(list) FROM __alone WHERE __action <> 0")
    }
    try connection.execute("CREATE TEMP TABLE __changes AS \(parts.joined(separator: " UNION ALL "))")
    let counts = try connection.rows(
      "SELECT count(*) FILTER (WHERE NOT __delete), count(*) FILTER (WHERE __delete) FROM __changes"
    ).first
    var result = StatementResult.Change(
      version: change.version, removed: try connection.rows("SELECT DISTINCT __f FROM __changes ORDER BY 1").compactMap { $0[0].stringValue },
      updated: counts?[0].intValue ?? 0, deleted: counts?[1].intValue ?? 0, inserted: 0)
    let touched = Set(result.removed)
    guard touched.isSubset(of: change.files) else { throw PlatformError(.internalError, "the engine names a file that was not given") }
    try rewrite(result.removed, columns, connection)
    if let inserted = change.queries.inserted {
      try define("__new", inserted, ["__action"] + sets, connection)
      result.inserted = Int64(
        try connection.execute("INSERT INTO __written SELECT \(sets.joined(separator: ", ")) FROM __new WHERE __action <> 0"))
    }
    let rows = try connection.rows("SELECT count(*) FROM __written").first?[0].intValue ?? 0
    var files: [WrittenFile] = []
    if rows > 0 {
      let path = folder + "/part-" + UUID().uuidString.lowercased() + ".zstd.parquet"
      files.append(try ParquetFile.write(connection, source: "__written", columns: columns, path: path))
    }
    return StatementResult(
      columns: columns, rows: [], isTruncated: false, files: files, rowCount: result.updated + result.deleted + result.inserted,
      change: result)
  }

  /// The rows of the touched files as they are after the change: `__written`.
  private static func rewrite(_ touched: [String], _ columns: [Column], _ connection: Connection) throws {
    let definition = columns.map { SQLText.identifier($0.name) + " " + $0.type.sql }.joined(separator: ", ")
    try connection.execute("CREATE TEMP TABLE __written (\(definition))")
    guard !touched.isEmpty else { return }
    try target("__touched", touched, columns, connection)
    let values = columns.enumerated().map { index, column in
      "CASE WHEN c.__f IS NULL THEN t.\(SQLText.identifier(column.name)) ELSE c.__set_\(index) END"
    }.joined(separator: ", ")
    try connection.execute(
      """
      INSERT INTO __written SELECT \(values) FROM __touched AS t
      LEFT JOIN __changes AS c ON c.__f = t.__platform_file AND c.__r = t.__platform_row
      WHERE c.__delete IS NOT TRUE
      """)
  }

  /// A view of the target with the file and the row in the file of each row.
  private static func target(_ view: String, _ files: [String], _ columns: [Column], _ connection: Connection) throws {
    var present: Set<String> = []
    var source = ""
    if !files.isEmpty {
      source = "read_parquet(\(SQLText.list(files)), union_by_name=true, filename=true, file_row_number=true)"
      present = Set(try connection.query("SELECT * FROM \(source) LIMIT 0").columns.map(\.name))
    }
    var list = columns.map { column in
      let name = SQLText.identifier(column.name)
      return "CAST(\(present.contains(column.name) ? name : "NULL") AS \(column.type.sql)) AS \(name)"
    }
    list +=
      source.isEmpty
      ? ["CAST(NULL AS VARCHAR) AS __platform_file", "CAST(NULL AS BIGINT) AS __platform_row"]
      : ["filename AS __platform_file", "file_row_number AS __platform_row"]
    try connection.execute(
      "CREATE TEMP VIEW \(view) AS SELECT \(list.joined(separator: ", "))" + (source.isEmpty ? " WHERE false" : " FROM \(source)"))
  }

  /// Runs one of the queries into a table of the engine, once it is known to be one query with the columns that are expected.
  private static func define(_ name: String, _ query: String, _ expected: [String]?, _ connection: Connection) throws {
    guard try connection.statementCount(query) == 1 else {
      throw PlatformError(.invalidArgument, "exactly one SQL statement is expected")
    }
    let found = try connection.query("SELECT * FROM (\n\(query)\n) AS probe LIMIT 0").columns.map(\.name)
    guard expected == nil || found == expected else {
      throw PlatformError(.invalidArgument, "an expression of the statement is none", hint: "Look for a parenthesis or comma too many.")
    }
    try connection.execute("CREATE TEMP TABLE \(name) AS \(query)")
  }
}
