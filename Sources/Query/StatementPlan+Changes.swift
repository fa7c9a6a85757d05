// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

/// Reading DELETE, UPDATE and MERGE. Expressions are cut out as text; the engine's own parser judges them later.
extension StatementPlan {
  mutating func parseDelete() throws {
    kind = .delete
    let alias = try targetWithAlias(before: ["WHERE"])
    if token?.isWord("USING") == true { throw onlyMerge("DELETE .. USING") }
    let condition = take("WHERE") ? try slice(until: []) : nil
    try expectEnd()
    change = ChangeStatement(
      alias: alias.text, name: alias.name, source: nil, clauses: [.init(occasion: .matched, condition: condition, action: .delete)])
  }

  mutating func parseUpdate() throws {
    kind = .update
    let alias = try targetWithAlias(before: ["SET"])
    guard take("SET") else { throw expected("SET") }
    let assignments = try assignments(until: ["WHERE", "FROM"])
    if token?.isWord("FROM") == true { throw onlyMerge("UPDATE .. FROM") }
    let condition = take("WHERE") ? try slice(until: []) : nil
    try expectEnd()
    change = ChangeStatement(
      alias: alias.text, name: alias.name, source: nil,
      clauses: [.init(occasion: .matched, condition: condition, action: .update(assignments))])
  }

  mutating func parseMerge() throws {
    kind = .merge
    let alias = try targetWithAlias(before: ["USING"])
    guard take("USING") else { throw expected("USING") }
    let source = try mergeSource()
    var clauses: [ChangeStatement.Clause] = []
    while take("WHEN") { clauses.append(try mergeClause()) }
    try expectEnd()
    guard !clauses.isEmpty else { throw expected("WHEN MATCHED or WHEN NOT MATCHED") }
    var found = ChangeStatement(alias: alias.text, name: alias.name, source: source, clauses: clauses)
    found.distinguish()
    change = found
  }

  private mutating func mergeSource() throws -> ChangeStatement.Source {
    var text: String
    var alias: String?
    var table: QualifiedName?
    if token?.isSymbol("(") == true {
      text = try parenthesised()
    } else {
      guard let start = token?.range.lowerBound else { throw expected("a source") }
      let parts = try name()
      alias = parts.last
      table = qualified(parts)
      var end = source.tokens[position - 1].range.upperBound
      if (token?.isWord("VERSION") ?? false) || (token?.isWord("TIMESTAMP") ?? false), position + 3 < source.tokens.count {
        position += 4
        end = source.tokens[position - 1].range.upperBound
      }
      text = source.text(start..<end)
    }
    _ = take("AS")
    if let token, token.isName, !token.isWord("ON") {
      (alias, table) = (token.text, nil)
      position += 1
    }
    guard let alias else { throw PlatformError(.invalidArgument, "the query after USING needs a name", hint: "USING (SELECT ..) AS s") }
    if token?.isSymbol("(") == true {
      // Other names for the columns: AS s(a, b).
      text = "(SELECT * FROM \(text) AS \(SQLText.identifier(alias))\(try parenthesised()))"
    }
    guard take("ON") else { throw expected("ON") }
    return .init(text: text, alias: SQLText.identifier(alias), condition: try slice(until: ["WHEN"]), name: table)
  }

  /// Behind `WHEN`.
  private mutating func mergeClause() throws -> ChangeStatement.Clause {
    let occasion: ChangeStatement.Occasion
    if take("MATCHED") {
      occasion = .matched
    } else if take("NOT", "MATCHED", "BY", "SOURCE") {
      occasion = .notMatchedBySource
    } else if take("NOT", "MATCHED", "BY", "TARGET") || take("NOT", "MATCHED") {
      occasion = .notMatched
    } else {
      throw expected("MATCHED or NOT MATCHED")
    }
    let condition = take("AND") ? try slice(until: ["THEN"]) : nil
    guard take("THEN") else { throw expected("THEN") }
    let action: ChangeStatement.Action
    if occasion == .notMatched {
      guard take("INSERT") else { throw expected("INSERT") }
      action = takeSymbol("*") ? .insertAll : .insert(try insertion())
    } else if take("DELETE") {
      action = .delete
    } else {
      guard take("UPDATE", "SET") else { throw expected("UPDATE SET or DELETE") }
      if occasion == .matched, takeSymbol("*") {
        action = .updateAll
      } else {
        action = .update(try assignments(until: ["WHEN"]))
      }
    }
    return .init(occasion: occasion, condition: condition, action: action)
  }

  /// `(a, b) VALUES (x, y)`.
  private mutating func insertion() throws -> [ChangeStatement.Assignment] {
    guard takeSymbol("(") else { throw expected("the columns of INSERT") }
    var columns: [[String]] = []
    repeat { columns.append(try path()) } while takeSymbol(",")
    guard takeSymbol(")"), take("VALUES"), takeSymbol("(") else { throw expected("VALUES (..)") }
    var expressions: [String] = []
    repeat { expressions.append(try slice(until: [], orSymbols: [",", ")"])) } while takeSymbol(",")
    guard takeSymbol(")") else { throw expected(")") }
    guard columns.count == expressions.count else {
      throw PlatformError(.invalidArgument, "INSERT names \(columns.count) columns and gives \(expressions.count) values")
    }
    return zip(columns, expressions).map { .init(path: $0, expression: $1) }
  }

  private mutating func assignments(until words: [String]) throws -> [ChangeStatement.Assignment] {
    var found: [ChangeStatement.Assignment] = []
    repeat {
      let path = try path()
      guard takeSymbol("=") else { throw expected("=") }
      found.append(.init(path: path, expression: try slice(until: words, orSymbols: [","])))
    } while takeSymbol(",")
    return found
  }

  /// A column or a field in it, with the table's name before it or without.
  private mutating func path() throws -> [String] {
    var parts: [String] = []
    repeat {
      guard let token, token.isName, !token.text.isEmpty else { throw expected("a column") }
      parts.append(token.text)
      position += 1
    } while takeSymbol(".")
    return parts
  }

  /// The target's name, and what the statement calls it: `name` is nil where that is an alias.
  private mutating func targetWithAlias(before words: [String]) throws -> (text: String, name: QualifiedName?) {
    let parts = try name()
    target = qualified(parts)
    let hasAs = take("AS")
    if let token, token.isName, hasAs || !(words + ["USING"]).contains(where: token.isWord) {
      position += 1
      return (SQLText.identifier(token.text), nil)
    }
    return (SQLText.identifier(parts[parts.count - 1]), qualified(parts))
  }

  /// The text up to one of `words` or `symbols` outside of parentheses and CASE .. END, or up to the end.
  /// - Throws: `invalidArgument` when it is empty or its parentheses do not fit.
  mutating func slice(until words: [String], orSymbols symbols: [String] = []) throws -> String {
    guard let start = token?.range.lowerBound else { throw expected("an expression") }
    var end = start
    var depth = 0
    var cases = 0
    while let token {
      if depth == 0, cases == 0, words.contains(where: token.isWord) || symbols.contains(where: token.isSymbol) { break }
      if token.isSymbol("(") || token.isSymbol("[") || token.isSymbol("{") { depth += 1 }
      if token.isSymbol(")") || token.isSymbol("]") || token.isSymbol("}") { depth -= 1 }
      if token.isWord("CASE") { cases += 1 }
      if token.isWord("END") { cases -= 1 }
      guard depth >= 0, cases >= 0, !token.isSymbol(";") else { throw PlatformError(.invalidArgument, "an expression's parentheses do not fit") }
      end = token.range.upperBound
      position += 1
    }
    guard end > start, depth == 0, cases == 0 else { throw expected("an expression") }
    return source.text(start..<end)
  }

  /// The parenthesis ahead with everything in it.
  mutating func parenthesised() throws -> String {
    let start = source.tokens[position].range.lowerBound
    var depth = 0
    while let token {
      if token.isSymbol("(") { depth += 1 }
      if token.isSymbol(")") { depth -= 1 }
      position += 1
      if depth == 0 { return source.text(start..<token.range.upperBound) }
    }
    throw expected(")")
  }

  func expected(_ what: String) -> PlatformError {
    PlatformError(.invalidArgument, "\(what) is expected\(token.map { " before '\($0.text)'" } ?? " at the end")")
  }

  private func onlyMerge(_ what: String) -> PlatformError {
    PlatformError(.invalidArgument, "\(what) is not supported", hint: "Write it as MERGE INTO target USING source ON .. WHEN MATCHED THEN ..")
  }
}
