// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cuts typed or read text into statements at semicolons outside of quotes and comments. A transaction is one statement: from
/// `BEGIN ATOMIC` to `END`, from `BEGIN TRANSACTION` to `COMMIT` or `ROLLBACK`.
struct SQLTextSplitter {
  /// What has not been ended by a semicolon yet.
  private(set) var rest = ""

  /// Whether only white space and comments wait.
  var isEmpty: Bool { Self.isBlank(rest) }

  /// - Returns: the statements that are complete now, without their semicolons.
  mutating func feed(_ text: String) -> [String] {
    rest += text
    var statements: [String] = []
    while let end = Self.endOfAll(rest) {
      let statement = String(rest[..<end]).trimmingSpace()
      rest = String(rest[rest.index(after: end)...])
      if !Self.isBlank(statement) { statements.append(statement) }
    }
    return statements
  }

  /// The last statement, which needs no semicolon at the end of a file.
  mutating func finish() -> String? {
    defer { rest = "" }
    return isEmpty ? nil : rest.trimmingSpace()
  }

  mutating func reset() { rest = "" }

  /// The semicolon that ends the first statement, behind all that belongs to it.
  private static func endOfAll(_ text: String) -> String.Index? {
    guard let first = end(of: text) else { return nil }
    let closing: [String]
    switch words(text) {
    case let words where words.starts(with: ["BEGIN", "ATOMIC"]): closing = ["END"]
    case let words where words.starts(with: ["BEGIN", "TRANSACTION"]) || words.starts(with: ["START", "TRANSACTION"]) || words == ["BEGIN"]:
      closing = ["COMMIT", "ROLLBACK"]
    default: return first
    }
    var last = first
    while true {
      let behind = text.index(after: last)
      let rest = String(text[behind...])
      guard let next = end(of: rest) else { return nil }
      let isClosed = closing.contains(words(rest).first ?? "")
      last = text.index(behind, offsetBy: rest.distance(from: rest.startIndex, to: next))
      if isClosed { return last }
    }
  }

  /// The first two words, in capital letters, of a text up to its first semicolon.
  private static func words(_ text: String) -> [String] {
    code(text).prefix { $0 != ";" }.split(maxSplits: 2, whereSeparator: \.isWhitespace).prefix(2).map { $0.uppercased() }
  }

  private enum Place: Equatable {
    case code, single, double, backtick, line
    case block(Int)
    case dollar(String)
  }

  /// The first semicolon that ends a statement.
  private static func end(of text: String) -> String.Index? {
    var place = Place.code
    var index = text.startIndex
    while index < text.endIndex {
      let rest = text[index...]
      let character = text[index]
      var step = 1
      switch place {
      case .code:
        if character == ";" { return index }
        if character == "'" { place = .single }
        if character == "\"" { place = .double }
        if character == "`" { place = .backtick }
        if rest.hasPrefix("--") { place = .line }
        if rest.hasPrefix("/*") { (place, step) = (.block(1), 2) }
        if character == "$", let tag = dollarTag(rest) { (place, step) = (.dollar(tag), tag.count) }
      case .single: if character == "'" { place = .code }
      case .double: if character == "\"" { place = .code }
      case .backtick: if character == "`" { place = .code }
      case .line: if endsLine(character) { place = .code }
      case .block(let depth):
        if rest.hasPrefix("*/") { (place, step) = (depth == 1 ? .code : .block(depth - 1), 2) }
        if rest.hasPrefix("/*") { (place, step) = (.block(depth + 1), 2) }
      case .dollar(let tag): if rest.hasPrefix(tag) { (place, step) = (.code, tag.count) }
      }
      index = text.index(index, offsetBy: step, limitedBy: text.endIndex) ?? text.endIndex
    }
    return nil
  }

  /// Of what people call the end of a line, only these end a comment for the engine.
  private static func endsLine(_ character: Character) -> Bool { character == "\n" || character == "\r" || character == "\r\n" }

  /// `$$` or `$name$` at the start of a dollar-quoted text.
  private static func dollarTag(_ text: Substring) -> String? {
    let name = text.dropFirst().prefix { $0.isLetter || $0.isNumber || $0 == "_" }
    guard name.first?.isNumber != true, text.dropFirst(1 + name.count).first == "$" else { return nil }
    return "$\(name)$"
  }

  private static func isBlank(_ text: String) -> Bool { code(text).isEmpty }

  /// The text without the white space and comments that it begins with.
  private static func code(_ text: String) -> Substring {
    var rest = text[...]
    while true {
      rest = rest.drop(while: \.isWhitespace)
      if rest.hasPrefix("--") {
        rest = rest.drop { !endsLine($0) }
      } else if rest.hasPrefix("/*"), let close = rest.range(of: "*/") {
        rest = rest[close.upperBound...]
      } else {
        return rest
      }
    }
  }
}

extension String {
  func trimmingSpace() -> String {
    var text = self[...]
    while text.first?.isWhitespace == true { text.removeFirst() }
    while text.last?.isWhitespace == true { text.removeLast() }
    return String(text)
  }
}
