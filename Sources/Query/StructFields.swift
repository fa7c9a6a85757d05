// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

/// Fields of structs that UPDATE and MERGE set: `SET s.x = 1, s.inner.y = 2`.
///
/// The column becomes a new struct of the values that are set and, of the rest, those it has. Where it is NULL, it becomes a struct
/// whose other fields are NULL, as in the reference implementation of Delta.
enum StructFields {
  typealias Assignment = ChangeStatement.Assignment

  private static func fault(_ message: String, hint: String) -> PlatformError {
    PlatformError(.invalidArgument, message, hint: hint, number: "PLT-3270")
  }

  private static func name(_ assignment: Assignment) -> String { (assignment.path + assignment.fields).joined(separator: ".") }

  static func noDefault(_ assignment: Assignment) -> PlatformError {
    fault("the field '\(name(assignment))' has no default", hint: "Columns have defaults, fields of structs do not: give a value.")
  }

  static func notInserted(_ assignment: Assignment) -> PlatformError {
    fault("INSERT cannot give the field '\(name(assignment))' alone", hint: "Give the column '\(assignment.column)' as a struct.")
  }

  /// - Throws: `invalidArgument` PLT-3270 when the column has no such field.
  static func check(_ assignment: Assignment, _ column: Column) throws {
    var type = column.type
    var path = column.name
    for field in assignment.fields {
      guard case .structure(let fields) = type else {
        let place = if case .list = type { true } else if case .map = type { true } else { false }
        throw fault(
          "'\(path)' is no struct and has no field '\(field)'",
          hint: place ? "Within a list or map nothing can be set alone: give '\(path)' as a whole." : "It is of the type \(type.sql).")
      }
      guard let found = fields.first(where: { $0.name.lowercased() == field.lowercased() }) else {
        throw fault("the struct '\(path)' has no field '\(field)'", hint: "It has: \(fields.map(\.name).joined(separator: ", ")).")
      }
      path += "." + found.name
      type = found.type
    }
  }

  /// The type of what an assignment sets; nil: the column has no such field.
  static func type(of assignment: Assignment, _ column: Column) -> SQLType? {
    assignment.fields.reduce(column.type) { type, field in
      guard case .structure(let fields)? = type else { return nil }
      return fields.first { $0.name.lowercased() == field.lowercased() }?.type
    }
  }

  /// - Throws: `invalidArgument` PLT-3270 when one assignment sets what another sets, or what it lies in.
  static func checkTogether(_ assignments: [Assignment]) throws {
    let paths = assignments.map { ($0.path + $0.fields).map { $0.lowercased() } }
    for (index, path) in paths.enumerated() where !assignments[index].fields.isEmpty {
      for (other, longer) in paths.enumerated() where other != index && longer.starts(with: path) || path.starts(with: longer) && other != index {
        throw fault(
          longer == path
            ? "the field '\(name(assignments[index]))' is set twice"
            : "'\(name(assignments[index]))' and '\(name(assignments[other]))' are set together, and one is part of the other",
          hint: "Set each place once.")
      }
    }
  }

  /// The value of a struct in which fields are set, as an expression.
  /// - Parameters:
  ///   - source: an expression of the value that it has.
  ///   - assignments: of fields that are there.
  static func value(of source: String, _ type: SQLType, _ assignments: [Assignment]) -> String {
    guard case .structure(let fields) = type else { return source }
    let parts = fields.map { field -> String in
      let own = assignments.filter { $0.fields.first?.lowercased() == field.name.lowercased() }
      let kept = "struct_extract(\(source), \(SQLText.literal(field.name)))"
      let value: String
      if own.isEmpty {
        value = kept
      } else if own[0].fields.count == 1 {
        value = "CAST((\(own[0].expression)\n) AS \(field.type.sql))"
      } else {
        let inner = own.map { assignment in
          var assignment = assignment
          assignment.fields.removeFirst()
          return assignment
        }
        value = Self.value(of: kept, field.type, inner)
      }
      return "\(SQLText.identifier(field.name)) := \(value)"
    }
    return "struct_pack(\(parts.joined(separator: ", ")))"
  }
}
