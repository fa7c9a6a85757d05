// SPDX-License-Identifier: Apache-2.0

public import Core

/// A text with one or more statements, separated by semicolons.
public struct StatementScript: Sendable {
  public struct Item: Sendable, Equatable {
    /// Without its semicolon.
    public var text: String
    /// Where it begins, from 1; columns count characters.
    public var line: Int
    public var column: Int
    /// How many `?` come before it.
    public var firstParameter: Int
  }

  public let items: [Item]
  /// A script is planned again for each of its statements, and what it has done so far is kept while it runs.
  public static let statementLimit = 200

  /// - Throws: `invalidArgument` for an open quote or comment, no statement at all, or more than `statementLimit`.
  public init(_ text: String) throws {
    let source = try SQLTokens(text)
    var found: [Item] = []
    var start: SQLTokens.Token?
    var end = 0
    var marks = 0
    var firstMark = 0
    func close() {
      guard let first = start else { return }
      let before = source.bytes[..<first.range.lowerBound]
      let line = before.count { $0 == 10 } + 1
      let lineStart = before.lastIndex(of: 10).map { $0 + 1 } ?? 0
      found.append(
        Item(
          text: source.text(first.range.lowerBound..<end), line: line,
          column: source.text(lineStart..<first.range.lowerBound).unicodeScalars.count + 1, firstParameter: firstMark))
      start = nil
    }
    for token in source.tokens {
      if token.isSymbol(";") {
        close()
        continue
      }
      if start == nil {
        start = token
        firstMark = marks
      }
      if token.isSymbol("?") { marks += 1 }
      end = token.range.upperBound
    }
    close()
    guard !found.isEmpty else { throw PlatformError(.invalidArgument, "the text holds no SQL statement") }
    guard found.count <= Self.statementLimit else {
      throw PlatformError(.invalidArgument, "the text holds \(found.count) statements; at most \(Self.statementLimit) run at once", number: "PLT-3201")
    }
    items = found
  }

  /// Says which statement failed, when there are several.
  public func located(_ error: PlatformError, at index: Int) -> PlatformError {
    guard items.count > 1, items.indices.contains(index) else { return error }
    var copy = error
    copy.message = "statement \(index + 1) of \(items.count) (line \(items[index].line), column \(items[index].column)): \(error.message)"
    return copy
  }
}
