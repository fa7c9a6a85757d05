// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

/// Reading INSERT in all its forms.
extension StatementPlan {
  /// Behind INSERT: `[WITH SCHEMA EVOLUTION] INTO | OVERWRITE [INTO] [TABLE] t [PARTITION (p = 1, q)] [(a, b) | BY NAME]
  /// [REPLACE WHERE condition] query`.
  mutating func parseInsert() throws {
    kind = .insert
    evolvesSchema = take("WITH", "SCHEMA", "EVOLUTION")
    if take("OVERWRITE") {
      replaces = true
      _ = take("INTO")
    } else {
      guard take("INTO") else { throw expected("INTO or OVERWRITE") }
    }
    if !take("TABLE", "PARTITION") { _ = take("TABLE") } else { position -= 2 }
    target = qualified(try name())
    if take("WITH", "SCHEMA", "EVOLUTION") { evolvesSchema = true }
    if take("PARTITION") { try parsePartition() }
    if token?.isSymbol("(") == true, position + 1 < source.tokens.count, isColumnList() {
      position += 1
      repeat { insertColumns += try name() } while takeSymbol(",")
      guard takeSymbol(")") else { throw expected(")") }
    } else if take("BY", "NAME") {
      insert.byName = true
    }
    if take("REPLACE", "WHERE") {
      guard !replaces else { throw PlatformError(.invalidArgument, "REPLACE WHERE belongs to INSERT INTO, not to INSERT OVERWRITE") }
      let condition = try slice(until: ["SELECT", "WITH", "VALUES", "TABLE"])
      insert.replaceCondition = condition
      change = ChangeStatement(
        alias: SQLText.identifier(target?.name ?? ""), name: target, source: nil, clauses: [.init(occasion: .matched, condition: condition, action: .delete)])
    }
    try parseRows()
  }

  /// `(p = 1, q)`: constants, and columns whose values come last in the query.
  private mutating func parsePartition() throws {
    guard takeSymbol("(") else { throw expected("(") }
    repeat {
      let parts = try name()
      guard parts.count == 1 else { throw expected("the name of a partition column") }
      if takeSymbol("=") {
        insert.constants[parts[0]] = try SQLLiterals.written(slice(until: [], orSymbols: [",", ")"]))
      } else {
        insert.trailing.append(parts[0])
      }
    } while takeSymbol(",")
    guard takeSymbol(")") else { throw expected(")") }
  }

  /// The query; DEFAULT in a VALUES list becomes a mark that the table's schema resolves later.
  private mutating func parseRows() throws {
    if token?.isWord("DEFAULT") == true {
      throw PlatformError(
        .invalidArgument, "INSERT .. DEFAULT VALUES is not supported", hint: "Name a column: INSERT INTO t (a) VALUES (DEFAULT).", number: "PLT-3273")
    }
    guard token?.isWord("VALUES") == true else { return try parseQuery() }
    var edits: [(range: Range<Int>, text: String)] = []
    var depth = 0
    var column = 0
    for index in source.tokens.indices.dropFirst(position + 1) {
      let token = source.tokens[index]
      if ["(", "[", "{"].contains(where: token.isSymbol) {
        depth += 1
        if depth == 1 { column = 0 }
      } else if [")", "]", "}"].contains(where: token.isSymbol) {
        depth -= 1
      } else if depth == 1, token.isSymbol(",") {
        column += 1
      } else if depth == 1, token.isWord("DEFAULT"), index + 1 < source.tokens.count {
        let (before, after) = (source.tokens[index - 1], source.tokens[index + 1])
        if before.isSymbol("(") || before.isSymbol(","), after.isSymbol(")") || after.isSymbol(",") {
          edits.append((token.range, "\(InsertRows.defaultMark)\(column)"))
        }
      }
    }
    guard !edits.isEmpty else { return try parseQuery() }
    var out: [UInt8] = []
    var done = source.tokens[position].range.lowerBound
    for edit in edits {
      out += source.bytes[done..<edit.range.lowerBound] + Array(edit.text.utf8)
      done = edit.range.upperBound
    }
    let inner = try StatementPlan(
      query: String(decoding: out + source.bytes[done...], as: UTF8.self), internalNames: [], references: references,
      functions: functions, extensions: extensions, defaults: defaults)
    adopt(query: inner)
  }
}
