// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

/// Whether a table has a place for all that a statement gives to one of its columns. The engine fits structs by the names of their fields and
/// drops what the table's lack without a word; what the given ones lack becomes NULL, as in Spark.
enum GivenFields {
  /// - Parameters:
  ///   - given: the type of the value.
  ///   - type: that of its place in the table, under the name `path`.
  /// - Throws: `invalidArgument` PLT-3295 for a field that the table's struct lacks.
  static func check(_ given: SQLType, _ type: SQLType, path: [String]) throws {
    switch (given, type) {
    case (.list(let given), .list(let item)), (.array(let given, _), .list(let item)): try check(given, item, path: path + ["element"])
    case (.map(let givenKey, let given), .map(let key, let value)):
      try check(givenKey, key, path: path + ["key"])
      try check(given, value, path: path + ["value"])
    case (.structure(let given), .structure(let fields)):
      let (name, known) = (path.joined(separator: "."), fields.map(\.name).joined(separator: ", "))
      guard given.contains(where: { !$0.name.isEmpty }) else {
        // The engine takes them by position.
        guard given.count == fields.count else {
          throw PlatformError(
            .invalidArgument, "the struct '\(name)' takes \(fields.count) values, \(given.count) without names are given",
            hint: "Its fields are: \(known). Name those that you give: {'\(fields.first?.name ?? "a")': ..}.", number: "PLT-3295")
        }
        for (given, field) in zip(given, fields) { try check(given.type, field.type, path: path + [field.name]) }
        return
      }
      for given in given {
        guard let field = fields.first(where: { $0.name.lowercased() == given.name.lowercased() }) else {
          throw PlatformError(
            .invalidArgument, "the struct '\(name)' of the table has no field '\(given.name)', which would be lost",
            hint:
              "It has: \(known). Leave the field out, or add it: INSERT and MERGE do WITH SCHEMA EVOLUTION, ALTER TABLE .. ADD COLUMN \(name).\(given.name).",
            number: "PLT-3295")
        }
        try check(given.type, field.type, path: path + [field.name])
      }
    default: break
    }
  }

  /// - Throws: `invalidArgument` PLT-3295 for a struct without names of its fields, which no table can have.
  static func checkNames(_ columns: [Column]) throws {
    if let column = columns.first(where: { $0.type.hasNamelessFields }) {
      throw PlatformError(
        .invalidArgument, "the column '\(column.name)' is a struct whose fields have no names",
        hint: "Name them: {'a': 1, 'b': 2}, or struct_pack(a := 1, b := 2).", number: "PLT-3295")
    }
  }
}

extension SQLType {
  /// Whether it is a struct or has one inside.
  var hasStructure: Bool {
    switch self {
    case .structure: true
    case .list(let item), .array(let item, _): item.hasStructure
    case .map(let key, let value): key.hasStructure || value.hasStructure
    default: false
    }
  }
}
