// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

/// What a query would give, found without reading a row: its tables are empty ones with the right columns.
public enum StatementBinder {
  /// Blocks for milliseconds.
  /// - Parameter tables: columns by `StatementSpec.Table.view`.
  /// - Throws: `invalidArgument` with the engine's text.
  public static func columns(
    of sql: String, tables: [(view: String, columns: [Column])], definitions: [StatementDefinition], variables: [StatementVariable]
  ) throws -> [Column] {
    let connection = try Database(settings: .init(memoryLimit: "256MB", threads: 1)).connect()
    // Nothing is computed here, constants neither: a query of somebody's must not keep the coordinator busy.
    try connection.execute("SET TimeZone='UTC'; PRAGMA disable_optimizer; SET enable_external_access=false; SET lock_configuration=true")
    for table in tables {
      let list = table.columns.map { "CAST(NULL AS \($0.type.sql)) AS \(SQLText.identifier($0.name))" }.joined(separator: ", ")
      try connection.execute("CREATE VIEW \(SQLText.identifier(table.view)) AS SELECT \(list) WHERE false")
    }
    for variable in variables { try variable.set(connection) }
    for definition in definitions { try definition.create(connection) }
    guard try connection.statementCount(sql) == 1 else { throw PlatformError(.invalidArgument, "exactly one SQL statement is expected") }
    return try connection.rows("DESCRIBE SELECT * FROM (\n\(sql)\n) AS probe").map { row in
      Column(row[0].stringValue ?? "", try SQLType(sql: row[1].stringValue ?? ""))
    }
  }
}
