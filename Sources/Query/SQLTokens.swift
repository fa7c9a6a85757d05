// SPDX-License-Identifier: Apache-2.0

import Core

/// The tokens of an SQL text, with their byte ranges. Comments and white space are left out.
struct SQLTokens {
  enum Kind { case word, quoted, string, number, symbol }
  struct Token {
    var kind: Kind
    /// Without quotes.
    var text: String
    var range: Range<Int>

    var isName: Bool { kind == .word || kind == .quoted }
    func isWord(_ word: String) -> Bool { kind == .word && text.uppercased() == word }
    func isSymbol(_ symbol: String) -> Bool { kind == .symbol && text == symbol }
  }

  let bytes: [UInt8]
  private(set) var tokens: [Token] = []

  /// - Throws: `invalidArgument` for an open quote or comment, or a zero byte.
  init(_ sql: String) throws {
    bytes = Array(sql.utf8)
    guard !bytes.contains(0) else { throw PlatformError(.invalidArgument, "SQL text must not hold a zero byte") }
    var index = 0
    while index < bytes.count {
      let start = index
      let byte = bytes[index]
      let next = index + 1 < bytes.count ? bytes[index + 1] : 0
      switch byte {
      case 9, 10, 11, 12, 13, 32: index += 1
      case UInt8(ascii: "-") where next == UInt8(ascii: "-"):
        // As for the engine, either end of a line ends it.
        while index < bytes.count, bytes[index] != 10, bytes[index] != 13 { index += 1 }
      case UInt8(ascii: "/") where next == UInt8(ascii: "*"): index = try Self.endOfComment(bytes, index)
      case UInt8(ascii: "'"), UInt8(ascii: "\""):
        let isEscaped =
          byte == 39 && start > 0 && (bytes[start - 1] | 32) == UInt8(ascii: "e") && tokens.last?.range == start - 1..<start
        let text = try quoted(&index, byte, backslashes: isEscaped)
        tokens.append(Token(kind: byte == 39 ? .string : .quoted, text: text, range: start..<index))
      case UInt8(ascii: "`"):
        let text = try quoted(&index, byte, backslashes: false)
        tokens.append(Token(kind: .quoted, text: text, range: start..<index))
      case UInt8(ascii: "$") where next == UInt8(ascii: "$") || Self.isLetter(next):
        if let end = Self.endOfDollarString(bytes, index) {
          tokens.append(Token(kind: .string, text: String(decoding: bytes[start..<end], as: UTF8.self), range: start..<end))
          index = end
        } else {
          index += 1
          tokens.append(Token(kind: .symbol, text: "$", range: start..<index))
        }
      case let digit where (48...57).contains(digit):
        while index < bytes.count, Self.isLetter(bytes[index]) || (48...57).contains(bytes[index]) || bytes[index] == 46 {
          index += 1
        }
        tokens.append(
          Token(kind: .number, text: String(decoding: bytes[start..<index], as: UTF8.self), range: start..<index))
      case let letter where Self.isLetter(letter):
        while index < bytes.count, Self.isLetter(bytes[index]) || (48...57).contains(bytes[index]) || bytes[index] == 36 {
          index += 1
        }
        tokens.append(Token(kind: .word, text: String(decoding: bytes[start..<index], as: UTF8.self), range: start..<index))
      default:
        index += 1
        tokens.append(Token(kind: .symbol, text: String(UnicodeScalar(byte)), range: start..<index))
      }
    }
  }

  private static func isLetter(_ byte: UInt8) -> Bool {
    (65...90).contains(byte) || (97...122).contains(byte) || byte == 95 || byte >= 128
  }

  private static func endOfComment(_ bytes: [UInt8], _ start: Int) throws -> Int {
    var depth = 0
    var index = start
    while index + 1 < bytes.count {
      if bytes[index] == 47, bytes[index + 1] == 42 {
        depth += 1
        index += 2
      } else if bytes[index] == 42, bytes[index + 1] == 47 {
        depth -= 1
        index += 2
        if depth == 0 { return index }
      } else {
        index += 1
      }
    }
    throw PlatformError(.invalidArgument, "a comment in the SQL text is not closed")
  }

  private static func endOfDollarString(_ bytes: [UInt8], _ start: Int) -> Int? {
    var index = start + 1
    while index < bytes.count, isLetter(bytes[index]) || (48...57).contains(bytes[index]) { index += 1 }
    guard index < bytes.count, bytes[index] == 36 else { return nil }
    let tag = Array(bytes[start...index])
    index += 1
    while index + tag.count <= bytes.count {
      if bytes[index] == 36, Array(bytes[index..<index + tag.count]) == tag { return index + tag.count }
      index += 1
    }
    return nil
  }

  private func quoted(_ index: inout Int, _ quote: UInt8, backslashes: Bool) throws -> String {
    var out: [UInt8] = []
    index += 1
    while index < bytes.count {
      let byte = bytes[index]
      index += 1
      if backslashes, byte == UInt8(ascii: "\\"), index < bytes.count {
        out.append(bytes[index])
        index += 1
      } else if byte == quote {
        if index < bytes.count, bytes[index] == quote {
          out.append(quote)
          index += 1
        } else {
          return String(decoding: out, as: UTF8.self)
        }
      } else {
        out.append(byte)
      }
    }
    throw PlatformError(.invalidArgument, "a quote in the SQL text is not closed")
  }

  func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }
}
