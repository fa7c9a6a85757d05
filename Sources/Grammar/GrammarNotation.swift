// SPDX-License-Identifier: Apache-2.0

import Core

/// Grammars as text: llama.cpp's GBNF, which vLLM's `guided_grammar` takes as EBNF. `root` is where it begins.
///
///     root ::= "yes" | "no" (" " [a-z]+){1,3}   # a comment
struct GrammarNotation {
  private let text: [Unicode.Scalar]
  private var place = 0
  private var rules = GrammarRules()
  private var numbers: [String: Int] = [:]
  private var defined: Set<String> = []
  private var depth = 0

  /// - Throws: `invalidArgument` (PLT-5242) with the line.
  static func parse(_ source: String) throws -> (rules: GrammarRules, root: Int) {
    guard source.utf8.count <= 1 << 18 else { throw PlatformError(.invalidArgument, "a grammar of more than 256 KB", number: "PLT-5242") }
    var reader = GrammarNotation(text: Array(source.unicodeScalars))
    reader.skip()
    while reader.place < reader.text.count {
      let name = reader.name()
      guard !name.isEmpty else { throw reader.fault("a rule's name is missing") }
      guard reader.defined.insert(name).inserted else { throw reader.fault("the rule '\(name)' is there twice") }
      reader.skip()
      guard reader.take("::=") || reader.take(":=") || reader.take("=") else { throw reader.fault("'::=' is missing behind '\(name)'") }
      reader.skip()
      let rule = reader.number(name)
      reader.rules.define(rule, try reader.alternatives())
      if reader.take(";") { reader.skip() }
    }
    for name in reader.numbers.keys.sorted() where !reader.defined.contains(name) {
      throw PlatformError(.invalidArgument, "the grammar has no rule '\(name)'", number: "PLT-5242")
    }
    guard let root = reader.numbers["root"] else {
      throw PlatformError(.invalidArgument, "the grammar has no rule 'root'", hint: "Name the rule that texts have to match 'root'.", number: "PLT-5242")
    }
    return (reader.rules, root)
  }

  private init(text: [Unicode.Scalar]) { self.text = text }

  private func fault(_ what: String) -> PlatformError {
    let line = 1 + text[..<min(place, text.count)].count { $0 == "\n" }
    return PlatformError(.invalidArgument, "line \(line) of the grammar cannot be used: \(what)", number: "PLT-5242")
  }

  private var next: Unicode.Scalar? { place < text.count ? text[place] : nil }

  private mutating func skip() {
    while let scalar = next {
      if scalar == "#" {
        while let inner = next, inner != "\n" {
          _ = inner
          place += 1
        }
      } else if scalar == " " || scalar == "\t" || scalar == "\n" || scalar == "\r" {
        place += 1
      } else {
        return
      }
    }
  }

  private mutating func take(_ word: String) -> Bool {
    let scalars = Array(word.unicodeScalars)
    guard place + scalars.count <= text.count, Array(text[place..<place + scalars.count]) == scalars else { return false }
    place += scalars.count
    return true
  }

  private mutating func name() -> String {
    var result = ""
    while let scalar = next, scalar.isASCII, scalar.properties.isAlphabetic || ("0"..."9").contains(scalar) || scalar == "_" || scalar == "-" {
      result.unicodeScalars.append(scalar)
      place += 1
    }
    return result
  }

  private mutating func number(_ name: String) -> Int {
    if let known = numbers[name] { return known }
    let rule = rules.declare(name)
    numbers[name] = rule
    return rule
  }

  private mutating func alternatives() throws -> GrammarExpression {
    depth += 1
    defer { depth -= 1 }
    guard depth <= 100 else { throw fault("groups are nested deeper than 100") }
    var choices: [GrammarExpression] = []
    repeat {
      skip()
      var parts: [GrammarExpression] = []
      while let scalar = next, scalar != "|", scalar != ")", scalar != ";", try !startsRule() {
        _ = scalar
        parts.append(try repeated())
        skip()
      }
      choices.append(.sequence(parts))
    } while take("|")
    return choices.count == 1 ? choices[0] : .choice(choices)
  }

  /// Whether the next rule begins here: a name with `::=` behind it.
  private mutating func startsRule() throws -> Bool {
    let start = place
    defer { place = start }
    guard !name().isEmpty else { return false }
    skip()
    return take("::=") || take(":=") || take("=")
  }

  private mutating func repeated() throws -> GrammarExpression {
    var part = try atom()
    while let scalar = next {
      switch scalar {
      case "*": part = .repetition(part, minimum: 0, maximum: nil)
      case "+": part = .repetition(part, minimum: 1, maximum: nil)
      case "?": part = .optional(part)
      case "{":
        place += 1
        let minimum = digits()
        var maximum = minimum
        if take(",") { maximum = digits() }
        guard next == "}", minimum != nil || maximum != nil, maximum ?? .max >= minimum ?? 0 else { throw fault("a quantifier that cannot be read") }
        part = .repetition(part, minimum: minimum ?? 0, maximum: maximum)
      default: return part
      }
      place += 1
    }
    return part
  }

  private mutating func digits() -> Int? {
    var digits = ""
    while let scalar = next, ("0"..."9").contains(scalar), digits.count < 9 {
      digits.unicodeScalars.append(scalar)
      place += 1
    }
    return Int(digits)
  }

  private mutating func atom() throws -> GrammarExpression {
    guard let scalar = next else { throw fault("it ends too early") }
    switch scalar {
    case "\"", "'":
      place += 1
      var literal = ""
      while let inner = next, inner != scalar {
        literal.unicodeScalars.append(try character())
        guard inner != "\n" else { throw fault("a text that does not end in its line") }
      }
      guard take(String(scalar)) else { throw fault("a text that does not end") }
      return .text(literal)
    case "[":
      place += 1
      let isInverted = take("^")
      var ranges: [ClosedRange<UInt32>] = []
      while let inner = next, inner != "]" {
        _ = inner
        let low = try character().value
        if next == "-", place + 1 < text.count, text[place + 1] != "]" {
          place += 1
          let high = try character().value
          guard low <= high else { throw fault("a range whose ends are in the wrong order") }
          ranges.append(low...high)
        } else {
          ranges.append(low...low)
        }
      }
      guard take("]") else { throw fault("']' is missing") }
      let set = CharacterSet(ranges).subtracting(CharacterSet([0xD800...0xDFFF]))
      return .utf8(isInverted ? set.inverted : set)
    case "(":
      place += 1
      let inner = try alternatives()
      guard take(")") else { throw fault("')' is missing") }
      return inner
    case ".":
      place += 1
      return .utf8(CharacterSet([0x0A...0x0A]).inverted)
    default:
      let name = name()
      guard !name.isEmpty else { throw fault("'\(scalar)' was not expected") }
      return .rule(number(name))
    }
  }

  private mutating func character() throws -> Unicode.Scalar {
    guard let scalar = next else { throw fault("it ends too early") }
    place += 1
    guard scalar == "\\" else { return scalar }
    guard let escape = next else { throw fault("it ends too early") }
    place += 1
    switch escape {
    case "n": return "\n"
    case "r": return "\r"
    case "t": return "\t"
    case "x", "u", "U":
      let count = escape == "x" ? 2 : escape == "u" ? 4 : 8
      var digits = ""
      for scalar in text[min(place, text.count)..<min(place + count, text.count)] { digits.unicodeScalars.append(scalar) }
      guard digits.utf8.count == count, let value = UInt32(digits, radix: 16), let known = Unicode.Scalar(value) else {
        throw fault("hexadecimal digits of a character are missing")
      }
      place += count
      return known
    default:
      guard !escape.properties.isAlphabetic, !("0"..."9").contains(escape) else { throw fault("'\\\(escape)'") }
      return escape
    }
  }
}
