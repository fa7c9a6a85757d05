// SPDX-License-Identifier: Apache-2.0

import Core

/// Texts that begin like no query and are one, or the other way round.
enum QueryHeads {
  /// `PIVOT ..`, `UNPIVOT ..` and `SUMMARIZE ..` as the queries that they are.
  static func wrapped(_ source: SQLTokens) throws -> SQLTokens {
    guard let first = source.tokens.first, ["PIVOT", "UNPIVOT", "SUMMARIZE"].contains(where: first.isWord) else { return source }
    var text = source.text(0..<source.bytes.count)
    if first.isWord("SUMMARIZE"), source.tokens.count > 1 {
      let rest = source.text(source.tokens[1].range.lowerBound..<source.bytes.count)
      let isQuery = ["SELECT", "WITH", "FROM", "VALUES", "TABLE"].contains(where: source.tokens[1].isWord) || source.tokens[1].isSymbol("(")
      text = "SUMMARIZE " + (isQuery ? rest : "SELECT * FROM " + rest)
    }
    return try SQLTokens("SELECT * FROM (\(text)\n)")
  }

  /// - Throws: `invalidArgument` PLT-3273 for `WITH .. INSERT` and its like.
  static func refuseChanges(_ source: SQLTokens) throws {
    guard let first = source.tokens.first, first.isWord("WITH") else { return }
    var depth = 0
    for (index, token) in source.tokens.enumerated() {
      if token.isSymbol("(") { depth += 1 }
      if token.isSymbol(")") { depth -= 1 }
      guard depth == 0, index > 0, source.tokens[index - 1].isSymbol(")"), let word = ["INSERT", "UPDATE", "DELETE", "MERGE"].first(where: token.isWord)
      else { continue }
      throw PlatformError(
        .invalidArgument, "WITH cannot stand before \(word)",
        hint: word == "INSERT" ? "Write INSERT INTO t WITH q AS (..) SELECT .. FROM q." : "Write the query in the place where it is used, in parentheses.",
        number: "PLT-3273")
    }
  }

  /// What is wrong with a text that the engine's parser refuses.
  static func fault(_ message: String?, _ source: SQLTokens) -> PlatformError {
    let message = message ?? "exactly one query is expected"
    if message.contains("errhint NOT IMPLEMENTED") {
      // All that its grammar says so of.
      return PlatformError(.invalidArgument, "LIMIT takes one number", hint: "Write LIMIT count OFFSET start.")
    }
    guard message.contains("Only SELECT statements") else { return PlatformError(.invalidArgument, message) }
    guard source.tokens.contains(where: { $0.isWord("PIVOT") }) else { return PlatformError(.invalidArgument, "a query is expected") }
    return PlatformError(
      .invalidArgument, "PIVOT does not say which columns it makes", hint: "Name the values: PIVOT t ON a IN ('x', 'y') USING sum(b).")
  }
}
