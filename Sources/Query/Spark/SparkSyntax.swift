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

  // MARK: values

  /// The token that opens the bracket which closes at `index`.
  private func opening(_ index: Int) -> Int? {
    var depth = 0
    for at in tokens[...index].indices.reversed() {
      if [")", "]", "}"].contains(where: tokens[at].isSymbol) { depth += 1 }
      if ["(", "[", "{"].contains(where: tokens[at].isSymbol) { depth -= 1 }
      if depth == 0 { return at }
    }
    return nil
  }

  private func isOperator(at index: Int) -> Bool { token(index).map { $0.kind == .word && Self.operators.contains($0.text.uppercased()) } ?? false }
  private func isNamePart(at index: Int) -> Bool {
    guard token(index)?.isName ?? false else { return false }
    return !isOperator(at: index) || (isWord("DIV", at: index) && isSymbol("(", at: index + 1) && beginsValue(at: index))
  }

  /// The last token of the value that begins at `first`, with its signs, fields, subscripts, casts and windows; nil: there is none.
  private func valueEnd(_ first: Int) -> Int? {
    var last = first
    while isSymbol("-", at: last) || isSymbol("+", at: last) { last += 1 }
    guard let token = token(last) else { return nil }
    if token.isWord("CASE") {
      var cases = 0
      repeat {
        if isWord("CASE", at: last) { cases += 1 }
        if isWord("END", at: last) { cases -= 1 }
        last += 1
      } while cases > 0 && last < tokens.count
      guard cases == 0 else { return nil }
      last -= 1
    } else if isNamePart(at: last) {
      // DATE '2026-01-31', MAP {..}
      if self.token(last + 1)?.kind == .string { last += 1 }
      if isSymbol("{", at: last + 1) { last += 1 }
    } else if isSymbol("$", at: last), self.token(last + 1)?.kind == .number {
      last += 1
    } else if token.kind == .symbol ? !["(", "[", "{", "?"].contains(where: token.isSymbol) : isOperator(at: last) {
      return nil
    }
    if ["(", "[", "{"].contains(where: { isSymbol($0, at: last) }) {
      guard let end = closing(last) else { return nil }
      last = end
    }
    while true {
      if isSymbol(".", at: last + 1), self.token(last + 2)?.isName ?? false {
        last += 2
      } else if isRun("::", at: last + 1), self.token(last + 3)?.isName ?? false {
        last += 3
      } else if isSymbol("(", at: last + 1) && tokens[last].isName || isSymbol("[", at: last + 1), let end = closing(last + 1) {
        last = end
      } else if isWord("OVER", at: last + 1) || isWord("FILTER", at: last + 1), self.token(last + 2) != nil {
        guard let end = closing(last + 2) else { return nil }
        last = end
      } else if isSymbol("^", at: last + 1) || isRun("**", at: last + 1) {
        guard let end = valueEnd(last + (isSymbol("^", at: last + 1) ? 2 : 3)) else { return nil }
        last = end
      } else {
        return last
      }
    }
  }

  /// The first token of the value that ends at `last`, without signs; nil: there is none.
  private func valueStart(_ last: Int) -> Int? {
    guard let token = token(last) else { return nil }
    var first = last
    if [")", "]", "}"].contains(where: token.isSymbol) {
      guard let open = opening(last) else { return nil }
      first = open
      if tokens[open].isSymbol("["), isNamePart(at: open - 1) || [")", "]", "}"].contains(where: { isSymbol($0, at: open - 1) }) {
        return valueStart(open - 1)
      }
      guard !tokens[open].isSymbol("["), isNamePart(at: open - 1) else { return first }
      if isWord("OVER", at: open - 1) || isWord("FILTER", at: open - 1) { return valueStart(open - 2) }
      first = open - 1
    } else if token.isWord("END") {
      var cases = 0
      while first >= 0 {
        if isWord("END", at: first) { cases += 1 }
        if isWord("CASE", at: first) { cases -= 1 }
        if cases == 0 { return first }
        first -= 1
      }
      return nil
    } else if token.kind == .number {
      return isSymbol("$", at: last - 1) ? last - 1 : last
    } else if !isNamePart(at: last) {
      return token.kind == .string || token.isSymbol("?") ? last : nil
    }
    while isSymbol(".", at: first - 1) {
      guard isNamePart(at: first - 2) else { return valueStart(first - 2) }
      first -= 2
    }
    if isRun("::", at: first - 2) { return valueStart(first - 3) }
    return isWord("OVER", at: first - 1) ? valueStart(first - 2) : first
  }

  /// The first token of the product that ends at `last`: `a * -b` of `x + a * -b`.
  private func productStart(_ last: Int) -> Int? {
    guard var first = valueStart(last) else { return nil }
    while true {
      var at = first - 1
      while isSymbol("-", at: at) || isSymbol("+", at: at) { at -= 1 }
      guard ["*", "/", "%", "^"].contains(where: { isSymbol($0, at: at) }) || isWord("DIV", at: at) else { return first }
      if isRun("//", at: at - 1) || isRun("**", at: at - 1) { at -= 1 }
      guard let next = valueStart(at - 1) else { return nil }
      first = next
    }
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
    case "DIV" where token(index + 1) != nil && !beginsValue(at: index): division(index)
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

  /// `a * b DIV c`: the engine's `//` gives fractions of numbers that have some, and NULL for nothing.
  private mutating func division(_ index: Int) {
    guard let first = productStart(index - 1), let last = valueEnd(index + 1) else { return }
    let (start, end) = (tokens[first].range.lowerBound, tokens[last].range.upperBound)
    edits.append((start..<start, "div("))
    replace(index...index, ",")
    edits.append((end..<end, ")"))
  }

  /// `a [NOT] RLIKE 'x'`: the engine's operator wants the whole text to fit.
  private mutating func regularExpression(_ index: Int) {
    let isNot = isWord("NOT", at: index - 1)
    let (head, tail) = ("'(?s:.*)(?:'", "')(?s:.*)'")
    // A call begins where a value does.
    guard let pattern = token(index + 1), !beginsValue(at: isNot ? index - 1 : index), pattern.isSymbol("(") || pattern.isName || pattern.kind == .string,
      var last = valueEnd(index + 1)
    else { return }
    // What is put together first: 'a' || b.
    while isRun("||", at: last + 1), let end = valueEnd(last + 3) { last = end }
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
