// SPDX-License-Identifier: Apache-2.0

import Core
import TestSupport
import Testing

@testable import Query

/// Statements without tables, planned and run as an executor does.
struct PlainStatements {
  private let folder: TemporaryDirectory

  init(_ label: String) { folder = TemporaryDirectory(label) }

  func run(_ text: String) throws -> StatementResult {
    let plan = try StatementPlan(parsing: text, catalog: "main", schema: "demo")
    var spec = StatementSpec(kind: plan.kind, sql: plan.sql, tables: [])
    spec.definitions = SQLExtensions.definitions(plan.extensions)
    return try StatementRunner.run(spec, context: QuietContext(scratchDirectory: folder.path))
  }

  /// The only value of a row.
  func value(_ expression: String) throws -> JSONValue { try #require(run("SELECT \(expression)").rows.first?.first) }
}
