// SPDX-License-Identifier: Apache-2.0

import Core

/// Literals and names of types that the engine reads as something else than their authors mean, without a word: `x'ff'` as the text `xff`, `0x1f`
/// as a zero with the alias `x1f`.
enum SQLLiterals {
  /// Types of Databricks by the engine's names.
  private static let types = ["TIMESTAMP_NTZ": "TIMESTAMP", "TIMESTAMP_LTZ": "TIMESTAMPTZ", "BYTE": "TINYINT"]

  /// - Throws: `invalidArgument` PLT-3297 for what is no literal here.
  static func edits(in source: SQLTokens, startingAt first: Int) throws -> [(range: Range<Int>, text: String)] {
    var edits: [(range: Range<Int>, text: String)] = []
    let tokens = source.tokens
    for index in tokens.indices.dropFirst(first) {
      let token = tokens[index]
      let next = index + 1 < tokens.count ? tokens[index + 1] : nil
      switch token.kind {
      case .word:
        let word = token.text.uppercased()
        if let next, next.kind == .string, next.range.lowerBound == token.range.upperBound, source.bytes[next.range.lowerBound] == 39 {
          if word == "X" { edits.append((token.range.lowerBound..<next.range.upperBound, try binary(next.text))) }
          if word == "B" {
            throw fault("b'\(next.text.prefix(100))' is no literal", hint: "Write CAST('\(next.text.prefix(100))' AS BIT), or X'..' for bytes.")
          }
        }
        if let type = types[word], word != "BYTE" && next?.kind == .string || isType(tokens, index) { edits.append((token.range, type)) }
      case .number: try check(token.text)
      default: break
      }
    }
    return edits
  }

  /// `text`, an expression of a table, with literals that the engine reads.
  static func written(_ text: String) throws -> String {
    let source = try SQLTokens(text)
    let edits = try edits(in: source, startingAt: 0)
    return edits.isEmpty ? text : source.edited(edits)
  }

  /// Whether a type is expected at `index`: `x::byte`, `CAST(.. AS byte)`.
  private static func isType(_ tokens: [SQLTokens.Token], _ index: Int) -> Bool {
    guard index > 2 else { return false }
    if tokens[index - 1].isSymbol(":"), tokens[index - 2].isSymbol(":") { return true }
    guard tokens[index - 1].isWord("AS"), index + 1 < tokens.count, tokens[index + 1].isSymbol(")") else { return false }
    var depth = 0
    for at in (0..<index).reversed() {
      if [")", "]", "}"].contains(where: tokens[at].isSymbol) { depth += 1 }
      if ["(", "[", "{"].contains(where: tokens[at].isSymbol) { depth -= 1 }
      if depth < 0 { return at > 0 && (tokens[at - 1].isWord("CAST") || tokens[at - 1].isWord("TRY_CAST")) }
    }
    return false
  }

  /// The bytes that hexadecimal digits stand for; of an odd number of digits the first is a byte of its own, as in Spark.
  private static func binary(_ digits: String) throws -> String {
    guard digits.utf8.allSatisfy({ Character(UnicodeScalar($0)).isHexDigit }) else {
      throw fault("X'\(digits.prefix(100))' is no literal: it takes hexadecimal digits", hint: "Write X'1aff'.")
    }
    let even = Array((digits.utf8.count % 2 == 0 ? "" : "0") + digits.uppercased())
    let bytes = stride(from: 0, to: even.count, by: 2).map { "\\x" + String(even[$0...$0 + 1]) }
    return "CAST('\(bytes.joined())' AS BLOB)"
  }

  private static func check(_ number: String) throws {
    let head = number.prefix(2).lowercased()
    guard let radix = ["0x": 16, "0b": 2, "0o": 8][head] else { return }
    let digits = number.dropFirst(2)
    guard !digits.isEmpty, digits.utf8.allSatisfy({ Character(UnicodeScalar($0)).isHexDigit || $0 == UInt8(ascii: "_") }) else { return }
    let value = Int(digits.filter { $0 != "_" }, radix: radix)
    throw fault(
      "'\(number.prefix(100))' is no number",
      hint: "Numbers are decimal\(value.map { ": write \($0)" } ?? "")\(radix == 16 ? "; bytes are written as X'\(digits.prefix(100))'" : "").")
  }

  private static func fault(_ message: String, hint: String) -> PlatformError { PlatformError(.invalidArgument, message, hint: hint, number: "PLT-3297") }
}
