// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB

/// Reading ALTER TABLE.
extension StatementPlan {
  /// Behind ALTER TABLE.
  mutating func parseAlterTable() throws {
    kind = .table
    isConditional = take("IF", "EXISTS")
    target = qualified(try name())
    if take("ADD") {
      command = .alter(try addition())
    } else if take("DROP") {
      command = .alter(try removal())
    } else if take("RENAME", "COLUMN") {
      let old = try path(limit: 16)
      guard take("TO") else { throw expected("TO") }
      guard let token, token.isName else { throw expected("the column's new name") }
      position += 1
      command = .alter(.renameColumn(old, to: token.text))
    } else if take("RENAME", "TO") {
      command = .alter(.rename(to: qualified(try name())))
    } else if take("ALTER") || take("CHANGE") {
      _ = take("COLUMN")
      command = .alter(try columnChange(path(limit: 16)))
    } else if take("SET", "TBLPROPERTIES") {
      command = .alter(.setProperties(try propertyList()))
    } else if take("UNSET", "TBLPROPERTIES") {
      let isTolerant = take("IF", "EXISTS")
      guard takeSymbol("(") else { throw expected("(") }
      var names: [String] = []
      repeat { names.append(try propertyName()) } while takeSymbol(",")
      guard takeSymbol(")") else { throw expected(")") }
      command = .alter(.unsetProperties(names, isConditional: isTolerant))
    } else if take("SET", "TAGS") {
      command = .alter(.setTags(try pairs(), column: nil))
    } else if take("UNSET", "TAGS") {
      command = .alter(.unsetTags(try keys(), column: nil))
    } else if take("CLUSTER", "BY") {
      command = .alter(.clusterBy(try clustering()))
    } else if take("SET", "OWNER", "TO") || take("OWNER", "TO") {
      guard let token, token.isName || token.kind == .string, !token.text.isEmpty else { throw expected("a principal") }
      position += 1
      command = .alter(.setOwner(token.text))
    } else {
      throw PlatformError(
        .invalidArgument, "this change of a table is not supported",
        hint:
          "ALTER TABLE can ADD, DROP, RENAME and ALTER columns, ADD and DROP constraints, DROP FEATURE, SET and UNSET TBLPROPERTIES and TAGS, CLUSTER BY, RENAME TO and SET OWNER TO."
      )
    }
  }

  private mutating func addition() throws -> TableAlteration {
    var definition = TableDefinition()
    if ["CONSTRAINT", "PRIMARY", "FOREIGN", "CHECK"].contains(where: { token?.isWord($0) == true }), try parseConstraint(&definition) == true {
      if let check = definition.checks.first {
        guard check.name != nil else { throw PlatformError(.invalidArgument, "a CHECK constraint needs a name", hint: "ADD CONSTRAINT name CHECK (..)") }
        return .addCheck(check)
      }
      if let key = definition.keys.first { return .addKey(key) }
    }
    _ = take("COLUMNS") || take("COLUMN")
    let isTolerant = take("IF", "NOT", "EXISTS")
    let isList = takeSymbol("(")
    var columns: [TableAlteration.NewColumn] = []
    repeat { columns.append(try newColumn()) } while takeSymbol(",")
    if isList { guard takeSymbol(")") else { throw expected(")") } }
    return .addColumns(columns, isConditional: isTolerant)
  }

  private mutating func newColumn() throws -> TableAlteration.NewColumn {
    let place = try path(limit: 16)
    var field = StructField(name: place[place.count - 1], type: try columnType())
    field.characterLimit = takeCharacterLimit()
    if field.characterLimit != nil, place.count > 1 {
      throw PlatformError(.invalidArgument, "only columns at the top have a length", hint: "Use STRING for '\(place.joined(separator: "."))'.")
    }
    var position = TableAlteration.Position.last
    while let token, !token.isSymbol(","), !token.isSymbol(")") {
      if take("NOT", "NULL") {
        field.nullable = false
      } else if take("COMMENT") {
        field.metadata["comment"] = .string(try text("a comment"))
      } else if take("DEFAULT") {
        field.metadata["CURRENT_DEFAULT"] = .string(try slice(until: ["COMMENT", "NOT", "FIRST", "AFTER"], orSymbols: [",", ")"]))
      } else if take("FIRST") {
        position = .first
      } else if take("AFTER") {
        position = .after(try path(limit: 1)[0])
      } else {
        throw PlatformError(.invalidArgument, "'\(token.text.prefix(60))' is not expected behind the column '\(field.name)'")
      }
    }
    return .init(parent: Array(place.dropLast()), field: field, position: position)
  }

  private mutating func removal() throws -> TableAlteration {
    if take("FEATURE") {
      guard let token, token.isName || token.kind == .string, !token.text.isEmpty else { throw expected("the feature's name") }
      position += 1
      return .dropFeature(token.text, truncatesHistory: take("TRUNCATE", "HISTORY"))
    }
    if take("CONSTRAINT") {
      let isTolerant = take("IF", "EXISTS")
      guard let token, token.isName else { throw expected("the constraint's name") }
      position += 1
      _ = take("RESTRICT") || take("CASCADE")
      return .dropConstraint(token.text, isConditional: isTolerant)
    }
    if take("PRIMARY", "KEY") {
      let isTolerant = take("IF", "EXISTS")
      _ = take("RESTRICT") || take("CASCADE")
      return .dropPrimaryKey(isConditional: isTolerant)
    }
    guard take("COLUMNS") || take("COLUMN") else { throw expected("COLUMN, CONSTRAINT, PRIMARY KEY or FEATURE") }
    let isTolerant = take("IF", "EXISTS")
    if token?.isSymbol("(") == true { return .dropColumns(try columnList(), isConditional: isTolerant) }
    var columns: [[String]] = []
    repeat { columns.append(try path(limit: 16)) } while takeSymbol(",")
    return .dropColumns(columns, isConditional: isTolerant)
  }

  private func tagged(_ column: [String]) throws -> String {
    guard column.count == 1 else {
      throw PlatformError(.invalidArgument, "only columns at the top have tags", hint: "Tag '\(column[0])'.")
    }
    return column[0]
  }

  /// Behind ALTER COLUMN and the column's name.
  private mutating func columnChange(_ column: [String]) throws -> TableAlteration {
    if take("TYPE") || take("SET", "DATA", "TYPE") {
      let type = try columnType()
      if type == .primitive("string") { return .changeLength(column, takeCharacterLimit()) }
      return .changeType(column, type)
    }
    if take("COMMENT") { return .setComment(column, take("NULL") ? nil : try text("a comment")) }
    if take("SET", "NOT", "NULL") { return .setNullable(column, false) }
    if take("DROP", "NOT", "NULL") { return .setNullable(column, true) }
    if take("SET", "DEFAULT") { return .setDefault(column, try slice(until: [])) }
    if take("DROP", "DEFAULT") { return .setDefault(column, nil) }
    if take("FIRST") { return .moveColumn(column, .first) }
    if take("AFTER") { return .moveColumn(column, .after(try path(limit: 1)[0])) }
    if take("SYNC", "IDENTITY") { return .syncIdentity(column) }
    if take("SET", "TAGS") { return .setTags(try pairs(), column: try tagged(column)) }
    if take("UNSET", "TAGS") { return .unsetTags(try keys(), column: try tagged(column)) }
    throw expected("TYPE, COMMENT, SET NOT NULL, DROP NOT NULL, SET DEFAULT, DROP DEFAULT, FIRST, AFTER, SYNC IDENTITY, SET TAGS or UNSET TAGS")
  }
}
