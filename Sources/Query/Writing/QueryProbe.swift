// SPDX-License-Identifier: Apache-2.0

import Core
public import DeltaLog
import DuckDB

/// What rows that a statement writes would be in a table, found out without reading any.
public enum QueryProbe {
  /// Columns of `sql`, a query that `StatementPlan` has checked, in the types that a table keeps them in.
  /// - Parameter tables: the columns of each view that it names.
  /// - Throws: `invalidArgument` with the engine's text.
  public static func columns(
    of sql: String, tables: [(view: String, columns: [Column])], definitions: [StatementDefinition] = [], variables: [StatementVariable] = []
  ) throws -> [Column] {
    let found = try StatementBinder.columns(of: InsertRows.withoutDefaults(sql), tables: tables, definitions: definitions, variables: variables)
    return found.map { Column($0.name, TypeMapping.stored($0.type)) }
  }

  /// The partition value that a constant expression stands for; nil is null.
  /// - Throws: `invalidArgument` for what is no constant of the column's type.
  public static func partitionValue(_ expression: String, _ field: StructField) throws -> String? {
    let connection = try Database(settings: .init(threads: 1)).connect()
    try connection.execute("SET TimeZone='UTC'; SET enable_external_access=false; SET lock_configuration=true")
    let type = try TypeMapping.sql(field.type)
    let query = "SELECT \(PhysicalLayout.partitionText("v", field.type)) FROM (SELECT CAST((\(expression)\n) AS \(type.sql)) AS v)"
    guard try connection.statementCount(query) == 1, let row = try connection.rows(query).first else {
      throw PlatformError(.invalidArgument, "the value of the partition column '\(field.name)' is no constant")
    }
    return row[0].stringValue
  }

  /// `schema` with what rows of `columns` bring: new columns at the end, wider types where the table allows. A column whose type does
  /// not fit keeps its own; its values are cast.
  public static func evolve(_ change: inout SchemaChange, with columns: [Column]) {
    for column in columns {
      var trial = change
      // A type that does not fit is no reason to stop: the cast of each value says more.
      if (try? trial.merge(TypeMapping.schema([column]))) != nil { change = trial }
    }
  }
}
