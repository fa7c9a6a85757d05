// SPDX-License-Identifier: Apache-2.0

public import Core

/// A text with one or more statements, separated by semicolons. Some of them may belong together: `BEGIN ATOMIC .. END`.
public struct StatementScript: Sendable {
  public struct Item: Sendable, Equatable {
    /// Without its semicolon.
    public var text: String
    /// Where it begins, from 1; columns count characters.
    public var line: Int
    public var column: Int
    /// How many `?` come before it.
    public var firstParameter: Int
    /// Which of the text's transactions it is part of.
    public var block: Int?
  }

  public let items: [Item]
  /// A script is planned again for each of its statements, and what it has done so far is kept while it runs.
  public static let statementLimit = 200

  /// - Throws: `invalidArgument` for an open quote or comment, no statement at all, or more than `statementLimit`; PLT-3280, PLT-3281 for a
  ///   transaction that holds what it cannot, or that does not end.
  public init(_ text: String) throws {
    var reader = Reader(source: try SQLTokens(text))
    try reader.read()
    guard !reader.items.isEmpty else { throw PlatformError(.invalidArgument, "the text holds no SQL statement") }
    guard reader.items.count <= Self.statementLimit else {
      throw PlatformError(
        .invalidArgument, "the text holds \(reader.items.count) statements; at most \(Self.statementLimit) run at once", number: "PLT-3201")
    }
    items = reader.items
  }

  /// Says which statement failed, when there are several.
  public func located(_ error: PlatformError, at index: Int) -> PlatformError {
    guard items.count > 1, items.indices.contains(index) else { return error }
    var copy = error
    copy.message = "statement \(index + 1) of \(items.count) (line \(items[index].line), column \(items[index].column)): \(error.message)"
    return copy
  }
}

extension StatementScript {
  /// Cuts a text at its semicolons, and finds where transactions begin and end.
  private struct Reader {
    private enum Closing { case end, commit }

    let source: SQLTokens
    var items: [Item] = []
    private var marks = 0
    private var blocks = 0
    /// How the open transaction ends, and where it begins.
    private var open: (closing: Closing, line: Int, isEmpty: Bool)?

    init(source: SQLTokens) { self.source = source }

    mutating func read() throws {
      var first = 0
      for index in source.tokens.indices where source.tokens[index].isSymbol(";") {
        try statement(first..<index)
        first = index + 1
      }
      try statement(first..<source.tokens.count)
      if let open {
        throw Self.wrong(
          "the transaction that begins in line \(open.line) has no end",
          open.closing == .end ? "Write END behind its last statement's semicolon." : "Write COMMIT.")
      }
    }

    private func starts(_ range: Range<Int>, _ words: String...) -> Bool {
      range.count >= words.count && words.enumerated().allSatisfy { source.tokens[range.lowerBound + $0].isWord($1) }
    }

    private func isOnly(_ range: Range<Int>, _ words: [String], _ optional: [String]) -> Bool {
      range.count >= words.count && words.enumerated().allSatisfy { source.tokens[range.lowerBound + $0].isWord($1) }
        && (range.count == words.count || (range.count == words.count + 1 && optional.contains { source.tokens[range.upperBound - 1].isWord($0) }))
    }

    private mutating func statement(_ given: Range<Int>) throws {
      var range = given
      guard !range.isEmpty else { return }
      if starts(range, "BEGIN", "ATOMIC") {
        try begin(.end, range)
        range = range.lowerBound + 2..<range.upperBound
        if isOnly(range, ["END"], []) { return try end(.end, "END") }
      } else if isOnly(range, ["BEGIN", "TRANSACTION"], []) || isOnly(range, ["BEGIN"], ["WORK"]) || isOnly(range, ["START", "TRANSACTION"], []) {
        return try begin(.commit, range)
      } else if starts(range, "BEGIN") || starts(range, "START", "TRANSACTION") {
        throw Self.wrong("a block of statements begins with BEGIN ATOMIC", "Write BEGIN ATOMIC <statement>; <statement>; END")
      } else if isOnly(range, ["END"], []) {
        return try end(.end, "END")
      } else if isOnly(range, ["COMMIT"], ["TRANSACTION", "WORK"]) {
        return try end(.commit, "COMMIT")
      } else if isOnly(range, ["ROLLBACK"], ["TRANSACTION", "WORK"]) {
        throw Self.wrong(
          "ROLLBACK has nothing to take back: a transaction is one text, BEGIN ATOMIC .. END, and one that fails changes nothing", "Leave it out.")
      }
      guard let head = range.first else { return }
      if open != nil { try requireAllowed(range) }
      items.append(item(range, head))
      for token in source.tokens[range] where token.isSymbol("?") { marks += 1 }
      open?.isEmpty = false
    }

    private func item(_ range: Range<Int>, _ head: Int) -> Item {
      let start = source.tokens[head].range.lowerBound
      let before = source.bytes[..<start]
      let lineStart = before.lastIndex(of: 10).map { $0 + 1 } ?? 0
      return Item(
        text: source.text(start..<source.tokens[range.upperBound - 1].range.upperBound), line: line(head),
        column: source.text(lineStart..<start).unicodeScalars.count + 1, firstParameter: marks, block: open.map { _ in blocks })
    }

    private func line(_ token: Int) -> Int { source.bytes[..<source.tokens[token].range.lowerBound].count { $0 == 10 } + 1 }

    private mutating func begin(_ closing: Closing, _ range: Range<Int>) throws {
      guard open == nil else { throw Self.wrong("a transaction cannot hold another one", "End the first one before.") }
      blocks += 1
      open = (closing, line(range.lowerBound), true)
    }

    private mutating func end(_ closing: Closing, _ word: String) throws {
      guard let open else { throw Self.wrong("\(word) ends a transaction, and none has begun", "Begin it in the same text: BEGIN ATOMIC .. END") }
      guard open.closing == closing else {
        throw Self.wrong("\(word) does not end the transaction that begins in line \(open.line)", closing == .end ? "Write COMMIT." : "Write END.")
      }
      guard !open.isEmpty else { throw Self.wrong("the transaction that begins in line \(open.line) holds no statement", "Put one before \(word).") }
      self.open = nil
    }

    private static let allowed = ["SELECT", "WITH", "FROM", "VALUES", "INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE"]

    private func requireAllowed(_ range: Range<Int>) throws {
      let first = source.tokens[range.lowerBound]
      guard !first.isSymbol("("), !Self.allowed.contains(where: first.isWord) else { return }
      let words = source.tokens[range].prefix(2).filter { $0.kind == .word }.map { $0.text.uppercased() }.joined(separator: " ")
      throw PlatformError(
        .invalidArgument, "line \(line(range.lowerBound)): \(words.isEmpty ? "such a statement" : words.prefix(60) + "") cannot be part of a transaction",
        hint: "BEGIN ATOMIC .. END holds SELECT, INSERT, UPDATE, DELETE, MERGE and TRUNCATE TABLE.", number: "PLT-3280")
    }

    private static func wrong(_ message: String, _ hint: String) -> PlatformError {
      PlatformError(.invalidArgument, message, hint: hint, number: "PLT-3281")
    }
  }
}
