// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

/// Names of columns that a query makes of what is put into other words for the engine: parameters (`:name`, `?`), session words
/// (`current_user`), some of Spark's functions.
///
/// The engine would call such a column by the words that it sees. So a column of SELECT without a
/// name of its own is named by what was written.
struct ResultNames {
  /// An entry of a SELECT list, as indexes of tokens.
  private typealias Item = Range<Int>

  private let source: SQLTokens
  private let start: Int
  private let items: [Item]
  /// ` AS ".."` behind each column that needs it.
  private(set) var edits: [(range: Range<Int>, text: String)] = []

  /// - Parameter tree: the engine's syntax tree of the text from `start` on, the token `first`.
  init(_ tree: JSONValue, in source: SQLTokens, from start: Int, first: Int) {
    self.source = source
    self.start = start
    items = Self.items(source.tokens, startingAt: first)
    walk(tree)
  }

  /// A text of SQL with its parameters as they were written.
  static func shown(_ text: String) -> String {
    let head = "getvariable('\(StatementParameters.variable(""))"
    let parts = text.split(separator: head, omittingEmptySubsequences: false)
    return parts.dropFirst().reduce(String(parts.first ?? "")) { done, part in
      guard let end = part.firstRange(of: "')") else { return done + head + part }
      let key = part[..<end.lowerBound]
      return done + (Int(key) == nil ? ":\(key)" : "?") + part[end.upperBound...]
    }
  }

  private mutating func walk(_ node: JSONValue) {
    switch node {
    case .array(let items): for item in items { walk(item) }
    case .object(let members):
      if members["type"] == "SELECT_NODE" { for item in members["select_list"]?.arrayValue ?? [] { name(item) } }
      for value in members.values { walk(value) }
    default: break
    }
  }

  private mutating func name(_ node: JSONValue) {
    guard node["alias"] == "", !Self.hasStar(node), let place = place(node), let item = items.filter({ contains($0, place) }).min(by: { $0.count < $1.count })
    else { return }
    let range = source.tokens[item.lowerBound].range.lowerBound..<source.tokens[item.upperBound - 1].range.upperBound
    edits.append((range.upperBound..<range.upperBound, " AS " + SQLText.identifier(Self.shown(source.text(range)))))
  }

  /// Whether an expression stands for several columns, which have names of their own.
  private static func hasStar(_ node: JSONValue) -> Bool {
    switch node {
    case .array(let items): items.contains(where: hasStar)
    case .object(let members):
      switch members["class"]?.stringValue {
      case "STAR": true
      case "SUBQUERY": hasStar(members["child"] ?? .null)
      default: members.values.contains(where: hasStar)
      }
    default: false
    }
  }

  private func contains(_ item: Item, _ offset: Int) -> Bool {
    source.tokens[item.lowerBound].range.lowerBound <= offset && offset < source.tokens[item.upperBound - 1].range.upperBound
  }

  /// Where an expression has something that is put into other words, or begins a subquery that has; nil: it has not.
  private func place(_ node: JSONValue) -> Int? {
    switch node {
    case .array(let items): return items.lazy.compactMap(place).first
    case .object(let members):
      let offset = members["query_location"]?.intValue.flatMap { Int(exactly: $0) }.map { start + $0 }
      switch members["class"]?.stringValue {
      case "STAR": return nil
      case "SUBQUERY": return members.values.contains { place($0) != nil } ? offset : nil
      case "COLUMN_REF":
        guard let names = members["column_names"]?.arrayValue, names.count == 1, SQLExtensions.sessionWords[names[0].stringValue?.lowercased() ?? ""] != nil,
          source.tokens.contains(where: { $0.range.lowerBound == offset && $0.kind == .word })
        else { return nil }
        return offset
      case "FUNCTION":
        if let name = members["function_name"]?.stringValue?.lowercased(), members["children"]?.arrayValue.map({ $0.isEmpty }) ?? true,
          SQLExtensions.sessionWords[name] != nil
        {
          return offset
        }
        if let name = members["function_name"]?.stringValue?.lowercased(), SparkCalls.areWrittenAnew.contains(name) { return offset }
        if members["function_name"] == "getvariable",
          members["children"]?.arrayValue?.first?["value"]?["value"]?.stringValue?.hasPrefix(StatementParameters.variable("")) == true
        {
          return offset
        }
      default: break
      }
      return members.sorted { $0.key < $1.key }.lazy.compactMap { place($0.value) }.first
    default: return nil
    }
  }

  private static let ends: Set<String> = [
    "FROM", "WHERE", "GROUP", "HAVING", "QUALIFY", "WINDOW", "ORDER", "LIMIT", "OFFSET", "UNION", "EXCEPT", "INTERSECT", "USING", "FETCH",
  ]

  /// The entries of all SELECT lists of a text.
  private static func items(_ tokens: [SQLTokens.Token], startingAt first: Int) -> [Item] {
    var found: [Item] = []
    // For each open bracket: where the entry of a list begins that is being read in it.
    var starts: [Int?] = [nil]
    func close(at end: Int) {
      guard let start = starts[starts.count - 1], start < end else { return }
      found.append(start..<end)
    }
    var index = first
    while index < tokens.count {
      let token = tokens[index]
      if token.kind == .symbol, ["(", "[", "{"].contains(token.text) {
        starts.append(nil)
      } else if token.kind == .symbol, [")", "]", "}"].contains(token.text) {
        close(at: index)
        if starts.count > 1 { starts.removeLast() }
      } else if token.isSymbol(","), starts[starts.count - 1] != nil {
        close(at: index)
        starts[starts.count - 1] = index + 1
      } else if token.isWord("SELECT") {
        if index + 1 < tokens.count, tokens[index + 1].isWord("DISTINCT") || tokens[index + 1].isWord("ALL") { index += 1 }
        // DISTINCT ON (..) comes before the list.
        if index + 2 < tokens.count, tokens[index].isWord("DISTINCT"), tokens[index + 1].isWord("ON") {
          var depth = 0
          index += 2
          while index < tokens.count {
            if tokens[index].isSymbol("(") { depth += 1 }
            if tokens[index].isSymbol(")") { depth -= 1 }
            if depth == 0 { break }
            index += 1
          }
        }
        starts[starts.count - 1] = index + 1
      } else if token.kind == .word, ends.contains(token.text.uppercased()), starts[starts.count - 1] != nil {
        let before = tokens[index - 1]
        let isPart =
          token.isWord("FROM") && before.isWord("DISTINCT") && index > 1 && (tokens[index - 2].isWord("IS") || tokens[index - 2].isWord("NOT"))
          || token.isWord("GROUP") && before.isWord("WITHIN") || before.isSymbol(".")
        if !isPart {
          close(at: index)
          starts[starts.count - 1] = nil
        }
      }
      index += 1
    }
    if tokens.count > first { close(at: tokens.count) }
    return found
  }
}
