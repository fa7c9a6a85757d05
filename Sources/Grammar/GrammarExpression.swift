// SPDX-License-Identifier: Apache-2.0

/// What texts a rule stands for, down to bytes.
indirect enum GrammarExpression: Sendable {
  /// No text at all: what contains it cannot be completed.
  case never
  case bytes([UInt8])
  /// One byte of the set.
  case set(ByteSet)
  case sequence([GrammarExpression])
  case choice([GrammarExpression])
  /// `maximum` nil: without bound.
  case repetition(GrammarExpression, minimum: Int, maximum: Int?)
  /// The items in this order with separators between them; those that are not required may be left out. `rest` may come behind, any number
  /// of times.
  case list([(item: GrammarExpression, isRequired: Bool)], separator: GrammarExpression, rest: GrammarExpression?)
  case rule(Int)

  static let empty = GrammarExpression.bytes([])
  static func text(_ text: String) -> GrammarExpression { .bytes(Array(text.utf8)) }
  static func optional(_ expression: GrammarExpression) -> GrammarExpression { .repetition(expression, minimum: 0, maximum: 1) }

  /// `minimum` to `maximum` items with separators between them.
  static func separated(_ item: GrammarExpression, by separator: GrammarExpression, minimum: Int, maximum: Int?) -> GrammarExpression {
    if let maximum, maximum < minimum { return .never }
    if maximum == 0 { return .empty }
    let some = GrammarExpression.sequence([
      item, .repetition(.sequence([separator, item]), minimum: max(0, minimum - 1), maximum: maximum.map { $0 - 1 }),
    ])
    return minimum == 0 ? .choice([.empty, some]) : some
  }

  // MARK: characters

  /// One character of the set as UTF-8.
  static func utf8(_ set: CharacterSet) -> GrammarExpression {
    var single = ByteSet()
    var longer: [GrammarExpression] = []
    for range in set.ranges {
      for sequence in utf8Ranges(range.lowerBound, range.upperBound) {
        if sequence.count == 1 {
          single.formUnion(ByteSet(sequence[0]))
        } else {
          longer.append(.sequence(sequence.map { .set(ByteSet($0)) }))
        }
      }
    }
    if single.isEmpty && longer.isEmpty { return .never }
    return .choice((single.isEmpty ? [] : [.set(single)]) + longer)
  }

  /// One character of the set as it stands in a JSON string.
  static func json(_ set: CharacterSet) -> GrammarExpression {
    let escaped = CharacterSet([0...0x1F, 0x22...0x22, 0x5C...0x5C])
    var choices = [utf8(set.subtracting(escaped))]
    for value in [UInt32](0...0x1F) + [0x22, 0x5C] where set.contains(value) { choices.append(.text(JSONCharacter.escaped(value) ?? "")) }
    return .choice(choices)
  }

  /// Byte ranges that together spell `low ... high` (the construction of RE2's and Rust's regex engines).
  private static func utf8Ranges(_ low: UInt32, _ high: UInt32) -> [[ClosedRange<UInt8>]] {
    if low > high { return [] }
    if low < 0xD800 && high > 0xDFFF { return utf8Ranges(low, 0xD7FF) + utf8Ranges(0xE000, high) }
    if low >= 0xD800 && low <= 0xDFFF { return utf8Ranges(0xE000, high) }
    if high >= 0xD800 && high <= 0xDFFF { return utf8Ranges(low, 0xD7FF) }
    for bound: UInt32 in [0x7F, 0x7FF, 0xFFFF] where low <= bound && high > bound {
      return utf8Ranges(low, bound) + utf8Ranges(bound + 1, high)
    }
    if high > 0x7F {
      for level in 1..<4 {
        let mask: UInt32 = (1 << (6 * UInt32(level))) - 1
        guard low & ~mask != high & ~mask else { continue }
        if low & mask != 0 { return utf8Ranges(low, low | mask) + utf8Ranges((low | mask) + 1, high) }
        if high & mask != mask { return utf8Ranges(low, (high & ~mask) - 1) + utf8Ranges(high & ~mask, high) }
      }
    }
    return [zip(encode(low), encode(high)).map { $0...$1 }]
  }

  private static func encode(_ value: UInt32) -> [UInt8] {
    guard let scalar = Unicode.Scalar(value) else { preconditionFailure("surrogates were left out") }
    return Array(String(scalar).utf8)
  }
}
