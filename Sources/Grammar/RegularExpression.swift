// SPDX-License-Identifier: Apache-2.0

import Core

/// Reads regular expressions as JSON Schema and vLLM's `guided_regex` have them. What an automaton cannot do (references back, looking around)
/// is refused by name.
struct RegularExpression {
  /// How a character of a set is spelled in the text.
  typealias Spelling = (CharacterSet) -> GrammarExpression

  private let text: [Unicode.Scalar]
  private let spell: Spelling
  private let pattern: String
  private var place = 0
  private var depth = 0
  /// Whether anchors are an error: they may stand at the ends of top-level alternatives only.
  private var groups = 0

  /// The texts that the whole expression matches.
  /// - Parameter isSearch: whether the expression may match any part of the text, as JSON Schema's `pattern` does; anchors tie it down.
  /// - Throws: `invalidArgument` (PLT-5240) with the place.
  static func parse(_ pattern: String, isSearch: Bool, spelling: @escaping Spelling) throws -> GrammarExpression {
    guard pattern.utf8.count <= 1 << 16 else {
      throw PlatformError(.invalidArgument, "a regular expression of more than 64 KB", number: "PLT-5240")
    }
    var reader = RegularExpression(text: Array(pattern.unicodeScalars), spell: spelling, pattern: pattern)
    let result = try reader.alternatives(isSearch: isSearch)
    guard reader.place == reader.text.count else { throw reader.fault("')' without '('") }
    return result
  }

  private init(text: [Unicode.Scalar], spell: @escaping Spelling, pattern: String) {
    self.text = text
    self.spell = spell
    self.pattern = pattern
  }

  private func fault(_ what: String) -> PlatformError {
    PlatformError(
      .invalidArgument, "the regular expression '\(pattern.prefix(100))' cannot be used: \(what) at character \(place + 1)", number: "PLT-5240")
  }

  private var next: Unicode.Scalar? { place < text.count ? text[place] : nil }

  private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
    guard next == scalar else { return false }
    place += 1
    return true
  }

  private mutating func take(_ word: String) -> Bool {
    let scalars = Array(word.unicodeScalars)
    guard place + scalars.count <= text.count, Array(text[place..<place + scalars.count]) == scalars else { return false }
    place += scalars.count
    return true
  }

  private mutating func alternatives(isSearch: Bool) throws -> GrammarExpression {
    depth += 1
    defer { depth -= 1 }
    guard depth <= 100 else { throw fault("groups are nested deeper than 100") }
    let anything = GrammarExpression.repetition(spell(.all), minimum: 0, maximum: nil)
    var choices: [GrammarExpression] = []
    repeat {
      var parts: [GrammarExpression] = []
      let isOuter = depth == 1
      var startsHere = false
      var endsHere = false
      while isOuter && take("^") { startsHere = true }
      while let scalar = next, scalar != "|", scalar != ")" {
        if isOuter && scalar == "$" {
          place += 1
          endsHere = true
          guard next == nil || next == "|" else { throw fault("'$' that is not at the end") }
          break
        }
        parts.append(try repeated())
      }
      if isSearch && !startsHere { parts.insert(anything, at: 0) }
      if isSearch && !endsHere { parts.append(anything) }
      choices.append(.sequence(parts))
    } while take("|")
    return choices.count == 1 ? choices[0] : .choice(choices)
  }

  private mutating func repeated() throws -> GrammarExpression {
    var part = try atom()
    while let scalar = next {
      var bounds: (Int, Int?)
      switch scalar {
      case "*": bounds = (0, nil)
      case "+": bounds = (1, nil)
      case "?": bounds = (0, 1)
      case "{":
        guard let read = try braces() else { return part }
        bounds = read
      default: return part
      }
      if scalar != "{" { place += 1 }
      // Lazy and possessive marks: the first does not change which texts match, the second would.
      if !take("?"), next == "+" { throw fault("a possessive quantifier") }
      part = .repetition(part, minimum: bounds.0, maximum: bounds.1)
    }
    return part
  }

  /// `{m}`, `{m,}`, `{m,n}`, `{,n}`; nil (and nothing taken) when it is text.
  private mutating func braces() throws -> (Int, Int?)? {
    let start = place
    place += 1
    func number() -> Int? {
      var digits = ""
      while let scalar = next, ("0"..."9").contains(scalar), digits.count < 9 {
        digits.unicodeScalars.append(scalar)
        place += 1
      }
      return Int(digits)
    }
    let minimum = number()
    var maximum = minimum
    if take(",") {
      maximum = number()
    } else if minimum == nil {
      place = start
      throw fault("'{' that is no quantifier; write '\\{'")
    }
    guard take("}") else { throw fault("'}' is missing") }
    if let maximum, maximum < minimum ?? 0 { throw fault("a quantifier whose bounds contradict each other") }
    return (minimum ?? 0, maximum)
  }

  private mutating func atom() throws -> GrammarExpression {
    guard let scalar = next else { throw fault("it ends too early") }
    place += 1
    switch scalar {
    case ".": return spell(CharacterSet([0x0A...0x0A, 0x0D...0x0D, 0x2028...0x2029]).inverted)
    case "[": return spell(try characterClass())
    case "(":
      if take("?") {
        guard take(":") || (take("P<") || take("<")) && takeName() else {
          throw fault("a group of this kind (looking around, flags)")
        }
      }
      let inner = try alternatives(isSearch: false)
      guard take(")") else { throw fault("')' is missing") }
      return inner
    case "\\": return spell(try escape(inClass: false))
    case "^", "$": throw fault("'\(scalar)' that is not at an end of the whole expression")
    case "*", "+", "?": throw fault("'\(scalar)' without anything before it")
    case "{": throw fault("'{' without anything before it")
    default: return spell(CharacterSet([scalar.value...scalar.value]))
    }
  }

  private mutating func takeName() -> Bool {
    // `(?<=` and `(?<!` look behind.
    guard let first = next, first != "=", first != "!" else { return false }
    while let scalar = next, scalar != ">" {
      guard scalar.properties.isAlphabetic || scalar == "_" || ("0"..."9").contains(scalar) else { return false }
      place += 1
    }
    return take(">")
  }

  private static let digits = CharacterSet([0x30...0x39])
  private static let word = CharacterSet([0x30...0x39, 0x41...0x5A, 0x5F...0x5F, 0x61...0x7A])
  private static let space = CharacterSet([0x09...0x0D, 0x20...0x20, 0xA0...0xA0, 0x2028...0x2029, 0xFEFF...0xFEFF])

  private mutating func escape(inClass: Bool) throws -> CharacterSet {
    guard let scalar = next else { throw fault("'\\' at the end") }
    place += 1
    func one(_ value: UInt32) -> CharacterSet { CharacterSet([value...value]) }
    switch scalar {
    case "d": return Self.digits
    case "D": return Self.digits.inverted
    case "w": return Self.word
    case "W": return Self.word.inverted
    case "s": return Self.space
    case "S": return Self.space.inverted
    case "n": return one(0x0A)
    case "r": return one(0x0D)
    case "t": return one(0x09)
    case "f": return one(0x0C)
    case "v": return one(0x0B)
    case "0": return one(0)
    case "x": return one(try hex(2))
    case "u":
      if take("{") {
        var value: UInt32 = 0
        while let digit = next, let number = UInt32(String(digit), radix: 16), value <= 0x10FFFF {
          value = value * 16 + number
          place += 1
        }
        guard take("}"), Unicode.Scalar(value) != nil else { throw fault("no character") }
        return one(value)
      }
      let value = try hex(4)
      guard Unicode.Scalar(value) != nil else { throw fault("half a surrogate pair") }
      return one(value)
    case "b" where inClass: return one(0x08)
    default:
      guard !scalar.properties.isAlphabetic, !("1"..."9").contains(scalar) else { throw fault("'\\\(scalar)'") }
      return one(scalar.value)
    }
  }

  private mutating func hex(_ count: Int) throws -> UInt32 {
    guard place + count <= text.count else { throw fault("hexadecimal digits are missing") }
    var digits = ""
    for scalar in text[place..<place + count] { digits.unicodeScalars.append(scalar) }
    guard let value = UInt32(digits, radix: 16), !digits.hasPrefix("+") else { throw fault("hexadecimal digits are missing") }
    place += count
    return value
  }

  private mutating func characterClass() throws -> CharacterSet {
    let isInverted = take("^")
    var ranges: [ClosedRange<UInt32>] = []
    while !take("]") {
      guard let scalar = next else { throw fault("']' is missing") }
      place += 1
      let low = scalar == "\\" ? try escape(inClass: true) : CharacterSet([scalar.value...scalar.value])
      guard next == "-", place + 1 < text.count, text[place + 1] != "]" else {
        ranges += low.ranges
        continue
      }
      place += 1
      guard let end = next else { throw fault("']' is missing") }
      place += 1
      let high = end == "\\" ? try escape(inClass: true) : CharacterSet([end.value...end.value])
      guard let from = low.ranges.first, let to = high.ranges.first, low.ranges.count == 1, high.ranges.count == 1,
        from.count == 1, to.count == 1, from.lowerBound <= to.lowerBound
      else { throw fault("a range whose ends are in the wrong order or no characters") }
      ranges.append(from.lowerBound...to.lowerBound)
    }
    let set = CharacterSet(ranges).subtracting(CharacterSet([0xD800...0xDFFF]))
    return isInverted ? set.inverted : set
  }
}
