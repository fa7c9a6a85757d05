// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

/// Expressions of a change whose types are looked at before it runs. They are bound and never evaluated.
public struct ChangeProbe: Codable, Sendable, Hashable {
  enum Expression: Codable, Sendable, Hashable {
    /// A condition with its text: it must be BOOLEAN.
    case condition(String)
    /// What becomes of a column, or of a field, with structs in its type.
    case value(path: [String], type: SQLType)
  }

  /// Gives the expressions as its columns.
  var query: String
  var expressions: [Expression]

  /// - Throws: `invalidArgument` PLT-3140 for a condition that is none, PLT-3295 for a struct with more fields than the table has.
  func check(_ connection: Connection) throws {
    guard try connection.statementCount(query) == 1 else { throw PlatformError(.invalidArgument, "exactly one SQL statement is expected") }
    let types = try connection.prepare(query).columnTypes
    guard types.count == expressions.count else { throw Self.noExpression }
    for (type, expression) in zip(types, expressions) {
      switch expression {
      case .condition(let text): if type != .boolean { throw Self.noCondition(text, type) }
      case .value(let path, let wanted): try GivenFields.check(type, wanted, path: path)
      }
    }
  }

  static func noCondition(_ text: some StringProtocol, _ type: SQLType) -> PlatformError {
    PlatformError(
      .invalidArgument, "'\(text)' is \(type.sql), not a condition", hint: "A condition is true or false: compare the value with another, as in k = 1.",
      number: "PLT-3140")
  }

  static let noExpression = PlatformError(
    .invalidArgument, "an expression of the statement is none", hint: "Look for a parenthesis or comma too many.")
}
