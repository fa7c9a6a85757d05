// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

extension StatementPlan {
  /// A query over the statement's tables whose columns are the values that UPDATE and MERGE give, and the columns that get them; nil for
  /// a statement that gives none.
  /// - Parameters:
  ///   - columns: of the target.
  ///   - sourceColumns: what `*` takes from a MERGE's source, in lower case; nil: every column of the target.
  /// - Throws: `invalidArgument` for expressions that do not parse.
  public func givenValues(columns: [Column], sourceColumns: Set<String>?) throws -> (query: StatementPlan, columns: [String])? {
    guard let change, let target, kind == .update || kind == .merge else { return nil }
    let source = change.source
    var values: [ChangeStatement.Assignment] = []
    for clause in change.clauses {
      switch clause.action {
      case .delete: break
      case .update(let given), .insert(let given):
        values += given.filter { $0.expression.lowercased() != "default" }.map { change.resolved($0, columns.map(\.name)) }
      case .updateAll, .insertAll:
        values += columns.map(\.name).filter { sourceColumns?.contains($0.lowercased()) ?? true }.map {
          .init(column: $0, expression: "\(source?.alias ?? "").\(SQLText.identifier($0))")
        }
      }
    }
    guard !values.isEmpty else { return nil }
    let list = values.enumerated().map { "(\($1.expression)\n) AS v\($0)" }.joined(separator: ", ")
    let table = [target.catalog, target.schema, target.name].map(SQLText.identifier).joined(separator: ".")
    // A name of one's own would hide the table's, which columns may be qualified with.
    let from =
      table + (change.name == nil ? " AS \(change.alias)" : "")
      + (source.map { ", \($0.text)" + ($0.name == nil ? " AS \($0.alias)" : "") } ?? "")
    let query = try StatementPlan(query: "SELECT \(list) FROM \(from)", catalog: defaults.catalog, schema: defaults.schema, first: (0, 0))
    return (query, values.map { value in columns.first { $0.name.lowercased() == value.column.lowercased() }?.name ?? value.column })
  }
}
