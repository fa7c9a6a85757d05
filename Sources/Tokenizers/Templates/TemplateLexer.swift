// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cuts a template into text, statements and expressions as Jinja does with `trim_blocks` and `lstrip_blocks`: the newline behind
/// a statement and the blanks before one on its line are no output.
struct TemplateLexer {
  enum Kind: Equatable { case data, name, string, integer, float, symbol, blockBegin, blockEnd, variableBegin, variableEnd }
  struct Token {
    var kind: Kind
    /// A string without quotes, a symbol's or name's characters, data as it will be printed.
    var text: String
    var line: Int
  }

  private let source: [Unicode.Scalar]
  private var position = 0
  private var line = 1
  private var tokens: [Token] = []

  /// - Throws: `invalidArgument` with the line of the fault.
  static func tokens(_ text: String) throws -> [Token] {
    var lexer = TemplateLexer(text)
    try lexer.run()
    return lexer.tokens
  }

  private init(_ text: String) {
    var scalars: [Unicode.Scalar] = []
    scalars.reserveCapacity(text.utf8.count)
    var previous: Unicode.Scalar?
    for scalar in text.unicodeScalars {
      if scalar == "\n", previous == "\r" {
        previous = scalar
        continue
      }
      scalars.append(scalar == "\r" ? "\n" : scalar)
      previous = scalar
    }
    if scalars.last == "\n" { scalars.removeLast() }
    source = scalars
  }

  private func starts(_ text: String, at place: Int) -> Bool {
    var index = place
    for scalar in text.unicodeScalars {
      guard index < source.count, source[index] == scalar else { return false }
      index += 1
    }
    return true
  }

  private mutating func run() throws {
    var lineStarting = true
    while position < source.count {
      let start = position
      var next = position
      var opener = ""
      searching: while next < source.count {
        if source[next] == "{", next + 1 < source.count {
          switch source[next + 1] {
          case "%": opener = "{%"
          case "{": opener = "{{"
          case "#": opener = "{#"
          default: break
          }
          if !opener.isEmpty { break searching }
        }
        next += 1
      }
      var data = source[start..<next]
      guard !opener.isEmpty else {
        append(data)
        position = next
        return
      }
      let mark: Unicode.Scalar? = next + 2 < source.count ? source[next + 2] : nil
      let strips = mark == "-"
      if strips {
        while let last = data.last, ScalarText.isSpace(last) { data.removeLast() }
      } else if mark != "+", opener != "{{" {
        let lineStart = data.lastIndex(of: "\n").map { $0 + 1 }
        if lineStart != nil || lineStarting, data[(lineStart ?? data.startIndex)...].allSatisfy(ScalarText.isSpace) {
          data = data[..<(lineStart ?? data.startIndex)]
        }
      }
      append(data)
      line += source[start..<next].count { $0 == "\n" }
      position = next + 2 + (strips || mark == "+" ? 1 : 0)
      switch opener {
      case "{#": try comment()
      case "{%":
        if try !raw() {
          tokens.append(Token(kind: .blockBegin, text: opener, line: line))
          try expression(until: "%}", end: .blockEnd)
        }
      default:
        tokens.append(Token(kind: .variableBegin, text: opener, line: line))
        try expression(until: "}}", end: .variableEnd)
      }
      lineStarting = position > 0 && source[position - 1] == "\n"
    }
  }

  private mutating func append(_ data: ArraySlice<Unicode.Scalar>) {
    if !data.isEmpty { tokens.append(Token(kind: .data, text: ScalarText.string(data), line: line)) }
  }

  /// Behind `-%}`, or behind `%}` with its newline. `place` is where the closing mark (with its sign) begins.
  private mutating func close(at place: Int, isVariable: Bool = false) {
    let sign = source[place]
    position = place + (sign == "-" || sign == "+" ? 3 : 2)
    if sign == "-" {
      while position < source.count, ScalarText.isSpace(source[position]) {
        if source[position] == "\n" { line += 1 }
        position += 1
      }
    } else if sign != "+", !isVariable, position < source.count, source[position] == "\n" {
      line += 1
      position += 1
    }
  }

  private mutating func comment() throws {
    let first = line
    var index = position
    while index < source.count {
      if starts("#}", at: index) {
        let hasSign = index > position && (source[index - 1] == "-" || source[index - 1] == "+")
        line += source[position..<index].count { $0 == "\n" }
        return close(at: hasSign ? index - 1 : index)
      }
      index += 1
    }
    throw TemplateError.syntax("Missing end of comment tag", line: first)
  }

  /// `{% raw %} .. {% endraw %}`; position is behind the opening mark.
  private mutating func raw() throws -> Bool {
    guard let inside = tag("raw", from: position), source[inside] != "+" else { return false }
    let first = line
    // The newline behind the opening tag belongs to the text.
    close(at: inside, isVariable: true)
    let start = position
    var index = position
    while index < source.count {
      if starts("{%", at: index) {
        var place = index + 2
        let sign: Unicode.Scalar? = place < source.count ? source[place] : nil
        if sign == "-" || sign == "+" { place += 1 }
        if let end = tag("endraw", from: place) {
          var data = source[start..<index]
          if sign == "-" {
            while let last = data.last, ScalarText.isSpace(last) { data.removeLast() }
          } else if sign != "+" {
            let lineStart = data.lastIndex(of: "\n").map { $0 + 1 } ?? (start > 0 && source[start - 1] == "\n" ? start : nil)
            if let lineStart, data[lineStart...].allSatisfy(ScalarText.isSpace) { data = data[..<lineStart] }
          }
          append(data)
          line += source[start..<index].count { $0 == "\n" }
          close(at: end)
          return true
        }
      }
      index += 1
    }
    throw TemplateError.syntax("Missing end of raw directive", line: first)
  }

  /// Where the closing mark of a tag that holds only `word` begins.
  private func tag(_ word: String, from place: Int) -> Int? {
    var index = place
    while index < source.count, ScalarText.isSpace(source[index]) { index += 1 }
    guard starts(word, at: index) else { return nil }
    index += word.unicodeScalars.count
    while index < source.count, ScalarText.isSpace(source[index]) { index += 1 }
    if starts("%}", at: index) || starts("-%}", at: index) || starts("+%}", at: index) { return index }
    return nil
  }

  // MARK: inside of marks

  private static let pairs = ["//", "**", "==", "!=", ">=", "<="]
  private static let single = Set("+-*/%~[](){}<>=.:,|;".unicodeScalars)

  private mutating func expression(until closing: String, end: Kind) throws {
    var brackets: [Unicode.Scalar] = []
    while position < source.count {
      let scalar = source[position]
      if brackets.isEmpty {
        let sign = scalar == "-" || (scalar == "+" && end == .blockEnd)
        if starts(closing, at: position) || (sign && starts(closing, at: position + 1)) {
          tokens.append(Token(kind: end, text: closing, line: line))
          return close(at: position, isVariable: end == .variableEnd)
        }
      }
      if ScalarText.isSpace(scalar) {
        if scalar == "\n" { line += 1 }
        position += 1
      } else if scalar == "'" || scalar == "\"" {
        try string(scalar)
      } else if ("0"..."9").contains(scalar) {
        try number()
      } else if scalar == "_" || scalar.properties.isXIDStart {
        let start = position
        while position < source.count, source[position].properties.isXIDContinue { position += 1 }
        tokens.append(Token(kind: .name, text: ScalarText.string(source[start..<position]), line: line))
      } else {
        try symbol(&brackets)
      }
    }
    throw TemplateError.syntax("unexpected end of template, expected '\(closing)'", line: line)
  }

  private mutating func symbol(_ brackets: inout [Unicode.Scalar]) throws {
    let scalar = source[position]
    let text = Self.pairs.first { starts($0, at: position) } ?? String(scalar)
    guard text.unicodeScalars.count == 2 || Self.single.contains(scalar) else {
      throw TemplateError.syntax("unexpected char '\(scalar)'", line: line)
    }
    switch scalar {
    case "(": brackets.append(")")
    case "[": brackets.append("]")
    case "{": brackets.append("}")
    case ")", "]", "}":
      guard let expected = brackets.popLast() else { throw TemplateError.syntax("unexpected '\(scalar)'", line: line) }
      guard expected == scalar else { throw TemplateError.syntax("unexpected '\(scalar)', expected '\(expected)'", line: line) }
    default: break
    }
    position += text.unicodeScalars.count
    tokens.append(Token(kind: .symbol, text: text, line: line))
  }

  private mutating func number() throws {
    let start = position
    func digits(_ from: Int, _ allowed: (Unicode.Scalar) -> Bool) -> Int {
      var index = from
      while index < source.count, allowed(source[index]) || (source[index] == "_" && index + 1 < source.count && allowed(source[index + 1])) { index += 1 }
      return index
    }
    let decimal: (Unicode.Scalar) -> Bool = { ("0"..."9").contains($0) }
    if source[start] == "0", start + 1 < source.count, "xXoObB".unicodeScalars.contains(source[start + 1]) {
      let radix = "xX".unicodeScalars.contains(source[start + 1]) ? 16 : "oO".unicodeScalars.contains(source[start + 1]) ? 8 : 2
      position = digits(start + 2) { $0.properties.isASCIIHexDigit }
      let text = ScalarText.string(source[(start + 2)..<position].filter { $0 != "_" })
      guard let value = Int(text, radix: radix) else { throw TemplateError.syntax("bad number", line: line) }
      return tokens.append(Token(kind: .integer, text: String(value), line: line))
    }
    position = digits(start, decimal)
    var isFloat = false
    if position + 1 < source.count, source[position] == ".", decimal(source[position + 1]) {
      isFloat = true
      position = digits(position + 1, decimal)
    }
    if position < source.count, source[position] == "e" || source[position] == "E" {
      var place = position + 1
      if place < source.count, source[place] == "+" || source[place] == "-" { place += 1 }
      if place < source.count, decimal(source[place]) {
        isFloat = true
        position = digits(place, decimal)
      }
    }
    let text = ScalarText.string(source[start..<position].filter { $0 != "_" })
    guard isFloat || Int(text) != nil else { throw TemplateError.syntax("the number \(text) is too large", line: line) }
    tokens.append(Token(kind: isFloat ? .float : .integer, text: text, line: line))
  }

  private mutating func string(_ quote: Unicode.Scalar) throws {
    let first = line
    var out: [Unicode.Scalar] = []
    position += 1
    while position < source.count {
      let scalar = source[position]
      position += 1
      if scalar == quote { return tokens.append(Token(kind: .string, text: ScalarText.string(out), line: first)) }
      if scalar == "\n" { line += 1 }
      guard scalar == "\\", position < source.count else {
        out.append(scalar)
        continue
      }
      let escape = source[position]
      position += 1
      switch escape {
      case "n": out.append("\n")
      case "t": out.append("\t")
      case "r": out.append("\r")
      case "a": out.append("\u{7}")
      case "b": out.append("\u{8}")
      case "f": out.append("\u{c}")
      case "v": out.append("\u{b}")
      case "\\", "'", "\"": out.append(escape)
      case "\n": line += 1
      case "x": out.append(try hexadecimal(2))
      case "u": out.append(try hexadecimal(4))
      case "U": out.append(try hexadecimal(8))
      case "0"..."7":
        var value = escape.value - 48
        for _ in 0..<2 where position < source.count && ("0"..."7").contains(source[position]) {
          value = value * 8 + source[position].value - 48
          position += 1
        }
        out.append(Unicode.Scalar(value) ?? "\u{FFFD}")
      default: out += ["\\", escape]
      }
    }
    throw TemplateError.syntax("a string is not closed", line: first)
  }

  private mutating func hexadecimal(_ width: Int) throws -> Unicode.Scalar {
    guard position + width <= source.count, let value = UInt32(ScalarText.string(source[position..<position + width]), radix: 16),
      let scalar = Unicode.Scalar(value)
    else { throw TemplateError.syntax("bad escape in a string", line: line) }
    position += width
    return scalar
  }
}
