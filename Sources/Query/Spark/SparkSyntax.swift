// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

/// Spark's ways of writing that the engine's parser does not know, written anew in the engine's words. It is asked only for texts that the
/// engine cannot read, so what the engine understands keeps its meaning; but for `<=>` and literals, which are Spark's everywhere.
struct SparkSyntax {
  private let source: SQLTokens
  private let tokens: [SQLTokens.Token]
  private var edits: [(range: Range<Int>, text: String)] = []

  /// What means something else to the engine, in its words: `a <=> b` and `SQLLiterals`; nil: there is none.
  /// - Throws: as `SQLLiterals.edits`.
  static func everywhere(in source: SQLTokens, startingAt first: Int) throws -> String? {
    var syntax = SparkSyntax(source)
    syntax.edits = try SQLLiterals.edits(in: source, startingAt: first)
    for index in source.tokens.indices.dropFirst(first) where syntax.isRun("<=>", at: index) {
      syntax.replace(index...index + 2, " IS NOT DISTINCT FROM ")
    }
    return syntax.edits.isEmpty ? nil : syntax.source.edited(syntax.edits)
  }

  /// The text in the engine's words; nil: nothing is known to be Spark's in it.
  static func rewritten(_ source: SQLTokens, startingAt first: Int) throws -> String? {
    var syntax = SparkSyntax(source)
    var index = first
    while index < source.tokens.count {
      index = try max(index + 1, syntax.rewrite(at: index))
    }
    return syntax.edits.isEmpty ? nil : source.edited(syntax.edits)
  }

  private init(_ source: SQLTokens) {
    self.source = source
    tokens = source.tokens
  }

  // MARK: tokens

  private func token(_ index: Int) -> SQLTokens.Token? { tokens.indices.contains(index) ? tokens[index] : nil }
  private func isWord(_ word: String, at index: Int) -> Bool { token(index)?.isWord(word) ?? false }
  private func isSymbol(_ symbol: String, at index: Int) -> Bool { token(index)?.isSymbol(symbol) ?? false }

  /// Symbols without white space between them.
  private func isRun(_ symbols: String, at index: Int) -> Bool {
    symbols.enumerated().allSatisfy { offset, symbol in
      isSymbol(String(symbol), at: index + offset) && (offset == 0 || tokens[index + offset - 1].range.upperBound == tokens[index + offset].range.lowerBound)
    }
  }

  private mutating func replace(_ range: ClosedRange<Int>, _ text: String) {
    edits.append((tokens[range.lowerBound].range.lowerBound..<tokens[range.upperBound].range.upperBound, text))
  }

  /// The token that closes the bracket at `index`.
  private func closing(_ index: Int) -> Int? {
    var depth = 0
    for at in tokens.indices.dropFirst(index) {
      if ["(", "[", "{"].contains(where: tokens[at].isSymbol) { depth += 1 }
      if [")", "]", "}"].contains(where: tokens[at].isSymbol) { depth -= 1 }
      if depth == 0 { return at }
    }
    return nil
  }

  private static let operators: Set<String> = [
    "SELECT", "DISTINCT", "ALL", "AND", "OR", "NOT", "WHEN", "THEN", "ELSE", "CASE", "IN", "ON", "WHERE", "HAVING", "BY", "BETWEEN", "LIKE", "QUALIFY",
    "IS", "FROM", "RLIKE", "REGEXP", "DIV",
  ]

  /// Whether a value may begin at `index`, and not a type or an alias.
  private func beginsValue(at index: Int) -> Bool {
    guard let before = token(index - 1) else { return false }
    if before.kind == .word { return Self.operators.contains(before.text.uppercased()) }
    return before.kind == .symbol && ![".", ":", ")", "]", "}", "<"].contains(before.text)
  }

  // MARK: rules

  /// - Returns: where to go on, if not behind the token.
  private mutating func rewrite(at index: Int) throws -> Int {
    guard tokens[index].kind == .word else {
      if isSymbol("*", at: index), isWord("EXCEPT", at: index + 1), isSymbol("(", at: index + 2), !isWord("SELECT", at: index + 3) {
        replace(index + 1...index + 1, "EXCLUDE")
      }
      return 0
    }
    switch tokens[index].text.uppercased() {
    case "LEFT" where isWord("SEMI", at: index + 1) || isWord("ANTI", at: index + 1): replace(index...index, "")
    case "LATERAL" where isWord("VIEW", at: index + 1): return lateralView(index)
    case "RLIKE", "REGEXP": regularExpression(index)
    case "DIV" where token(index + 1) != nil && !isSymbol("(", at: index + 1) && !beginsValue(at: index): replace(index...index, "//")
    case "WITH" where isWord("ROLLUP", at: index + 1) || isWord("CUBE", at: index + 1): grouping(index)
    case "ARRAY" where isSymbol("(", at: index + 1) && beginsValue(at: index) && !isQuery(index + 2): replace(index...index, "list_value")
    case "EXISTS" where isSymbol("(", at: index + 1) && !isQuery(index + 2): replace(index...index, "list_any_match")
    case "STRUCT" where isSymbol("(", at: index + 1) && beginsValue(at: index):
      if let fields = try SparkCalls.structure(source, index) { edits += fields }
    case "INT", "BIGINT", "SMALLINT", "BOOLEAN", "FLOAT", "TIMESTAMP":
      if isSymbol("(", at: index + 1), beginsValue(at: index), !isSymbol(")", at: index + 2) {
        replace(index...index, SQLText.identifier(tokens[index].text.lowercased()))
      }
    case "AS": try type(index + 1)
    default: break
    }
    return 0
  }

  private func isQuery(_ index: Int) -> Bool { ["SELECT", "WITH", "FROM", "VALUES"].contains { isWord($0, at: index) } || isSymbol("(", at: index) }

  /// `ARRAY<INT>` of a cast.
  private mutating func type(_ first: Int) throws {
    guard ["ARRAY", "MAP", "STRUCT"].contains(where: { isWord($0, at: first) }), isSymbol("<", at: first + 1) else { return }
    var depth = 0
    for at in tokens.indices.dropFirst(first + 1) {
      if isSymbol("<", at: at) { depth += 1 }
      if isSymbol(">", at: at) { depth -= 1 }
      guard depth == 0 else { continue }
      let range = tokens[first].range.lowerBound..<tokens[at].range.upperBound
      edits.append((range, try SQLTypeText.engine(source.text(range))))
      return
    }
  }

  /// `a [NOT] RLIKE 'x'`: the engine's operator wants the whole text to fit.
  private mutating func regularExpression(_ index: Int) {
    let isNot = isWord("NOT", at: index - 1)
    let (head, tail) = ("'(?s:.*)(?:'", "')(?s:.*)'")
    // A call begins where a value does.
    guard let pattern = token(index + 1), !beginsValue(at: isNot ? index - 1 : index) else { return }
    var last = index + 1
    if pattern.isSymbol("(") {
      guard let end = closing(index + 1) else { return }
      last = end
    } else if pattern.isName {
      while isSymbol(".", at: last + 1), token(last + 2)?.isName ?? false { last += 2 }
      // A call.
      if isSymbol("(", at: last + 1), let end = closing(last + 1) { last = end }
    } else if pattern.kind != .string {
      return
    }
    replace(isNot ? index - 1...index : index...index, isNot ? "!~ (" : "~ (")
    let start = tokens[index + 1].range.lowerBound
    edits.append((start..<start, "\(head) || "))
    let end = tokens[last].range.upperBound
    edits.append((end..<end, " || \(tail))"))
  }

  /// `GROUP BY a, b WITH ROLLUP`.
  private mutating func grouping(_ index: Int) {
    var depth = 0
    for at in (0..<index).reversed() {
      if [")", "]", "}"].contains(where: tokens[at].isSymbol) { depth += 1 }
      if ["(", "[", "{"].contains(where: tokens[at].isSymbol) { depth -= 1 }
      guard depth >= 0 else { return }
      guard depth == 0, isWord("GROUP", at: at), isWord("BY", at: at + 1) else { continue }
      let start = tokens[at + 1].range.upperBound
      edits.append((start..<start, " \(tokens[index + 1].text) ("))
      replace(index...index + 1, ")")
      return
    }
  }

  /// `LATERAL VIEW [OUTER] explode(list) t AS x`; also a map with two columns, and `posexplode`.
  private mutating func lateralView(_ index: Int) -> Int {
    var at = index + 2
    let isOuter = isWord("OUTER", at: at)
    if isOuter { at += 1 }
    guard let function = token(at), function.isWord("EXPLODE") || function.isWord("POSEXPLODE"), isSymbol("(", at: at + 1), let end = closing(at + 1),
      end > at + 2, let table = token(end + 1), table.isName
    else { return 0 }
    let hasName = !table.isWord("AS")
    var last = hasName ? end + 1 : end
    var columns: [String] = []
    let hasPositions = function.isWord("POSEXPLODE")
    if isWord("AS", at: last + 1) || (token(last + 1)?.kind == .quoted) {
      if isWord("AS", at: last + 1) { last += 1 }
      while let column = token(last + 1), column.isName, columns.count < 3 {
        columns.append(column.text)
        last += 1
        guard columns.count < (hasPositions ? 3 : 2), isSymbol(",", at: last + 1), token(last + 2)?.isName ?? false, !isSymbol(".", at: last + 3),
          !isSymbol("(", at: last + 3), !isWord("AS", at: last + 3)
        else { break }
        last += 1
      }
    }
    if columns.isEmpty { columns = hasPositions ? ["pos", "col"] : ["col"] }
    guard columns.count > 1 || !hasPositions else { return 0 }
    let names = columns.map(SQLText.identifier)
    let join = isOuter ? "LEFT JOIN LATERAL" : "CROSS JOIN LATERAL"
    let tail = ") AS \(SQLText.identifier(hasName ? table.text : "__view_\(index)"))" + (isOuter ? " ON true" : "")
    let isMap = columns.count == (hasPositions ? 3 : 2)
    var list = hasPositions ? ["generate_subscripts(__l.__x, 1) - 1 AS \(names[0])"] : []
    if isMap {
      list += ["unnest(map_keys(__l.__m)) AS \(names[names.count - 2])", "unnest(map_values(__l.__m)) AS \(names[names.count - 1])"]
      if hasPositions { list[0] = "generate_subscripts(map_keys(__l.__m), 1) - 1 AS \(names[0])" }
    } else {
      list.append("unnest(__l.__x) AS \(names[names.count - 1])")
    }
    replace(index...at + 1, "\(join) (SELECT \(list.joined(separator: ", ")) FROM (SELECT (")
    replace(end...last, ") AS \(isMap ? "__m" : "__x")) AS __l\(tail)")
    return at + 2
  }
}
