// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

/// The list of `INSERT INTO t VALUES (..), (..)`, each value as its column's type.
///
/// A list that is a query of its own has one type for each of its columns, which all rows have to fit in: `('007'), (7)` would be refused, of
/// `(1234567890123456789012.12), (1e0)` the first would lose digits. Columns whose values are written alike need nothing.
enum TypedValues {
  /// How a value is written; values of one kind have a type of their own.
  private enum Kind: Equatable {
    case text, whole, fraction, other
  }

  /// - Parameter columns: of the table's, the types of so many values; nil: whatever they have.
  static func written(_ sql: String, as columns: (Int) throws -> [SQLType?]) throws -> String {
    // Of a query the tokens are of no interest.
    guard sql.drop(while: \.isWhitespace).prefix(6).uppercased() == "VALUES" else { return sql }
    let source = try SQLTokens(sql)
    let rows = Self.rows(source.tokens)
    guard rows.count > 1, rows.allSatisfy({ $0.count == rows[0].count }) else { return sql }
    let types = try columns(rows[0].count)
    guard types.count == rows[0].count else { return sql }
    var edits: [(range: Range<Int>, text: String)] = []
    for (index, type) in types.enumerated() {
      // What a struct has too much of would be cast away.
      guard let type, !type.hasStructure else { continue }
      let kinds = rows.compactMap { kind(source.tokens[$0[index]]) }
      guard let first = kinds.first, first == .other || kinds.contains(where: { $0 != first }) else { continue }
      for row in rows {
        let range = source.tokens[row[index].lowerBound].range.lowerBound..<source.tokens[row[index].upperBound - 1].range.upperBound
        edits.append((range, "CAST((\(source.text(range))\n) AS \(type.sql))"))
      }
    }
    return edits.isEmpty ? sql : source.edited(edits)
  }

  /// The values of each row, as indexes of tokens.
  private static func rows(_ tokens: [SQLTokens.Token]) -> [[Range<Int>]] {
    guard tokens.first?.isWord("VALUES") == true else { return [] }
    var rows: [[Range<Int>]] = []
    var row: [Range<Int>] = []
    var depth = 0
    var start = 0
    for (index, token) in tokens.enumerated().dropFirst() {
      if ["(", "[", "{"].contains(where: token.isSymbol) {
        depth += 1
        if depth == 1 { (start, row) = (index + 1, []) }
      } else if depth == 1, token.isSymbol(",") || token.isSymbol(")") {
        guard index > start else { return [] }  // the engine says what is wrong
        row.append(start..<index)
        start = index + 1
        if token.isSymbol(")") {
          rows.append(row)
          depth = 0
        }
      } else if [")", "]", "}"].contains(where: token.isSymbol) {
        depth -= 1
      } else if depth == 0, !token.isSymbol(",") {
        // ORDER BY, UNION and the like.
        return []
      }
    }
    return rows
  }

  /// nil: NULL or DEFAULT, which have any type.
  private static func kind(_ tokens: ArraySlice<SQLTokens.Token>) -> Kind? {
    guard let last = tokens.last else { return .other }
    if tokens.count == 1, last.isWord("NULL") || last.kind == .word && last.text.hasPrefix(InsertRows.defaultMark) { return nil }
    if tokens.count == 1, last.kind == .string { return .text }
    guard last.kind == .number, tokens.count == 1 || tokens.count == 2 && tokens.first?.isSymbol("-") == true else { return .other }
    if last.text.utf8.allSatisfy({ (48...57).contains($0) }) { return .whole }
    return last.text.utf8.allSatisfy { (48...57).contains($0) || $0 == 46 } ? .fraction : .other
  }
}
