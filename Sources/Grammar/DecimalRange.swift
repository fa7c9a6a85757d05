// SPDX-License-Identifier: Apache-2.0

/// Decimal numbers between bounds as expressions.
enum DecimalRange {
  static let digit = GrammarExpression.set(ByteSet(0x30...0x39))
  /// Digits of whole numbers without a bound: those that a double holds exactly.
  private static let unbounded = 999_999_999_999_999

  /// Whole numbers `low ... high` without leading zeros and without `-0`.
  static func whole(_ low: Int?, _ high: Int?) -> GrammarExpression {
    let low = low ?? min(-unbounded, high ?? 0)
    let high = high ?? max(unbounded, low)
    guard low <= high else { return .never }
    var choices: [GrammarExpression] = []
    if high >= 0 { choices.append(magnitudes(max(0, low), high)) }
    if low < 0 { choices.append(.sequence([.text("-"), magnitudes(max(1, -high), -low)])) }
    return .choice(choices)
  }

  /// Decimal numbers between whole bounds; `digits` behind the point at most.
  static func decimal(_ low: Int?, _ high: Int?, excludesLow: Bool, excludesHigh: Bool, digits: Int) -> GrammarExpression {
    let wholes = whole(excludesLow ? low.map { $0 + 1 } : low, excludesHigh ? high.map { $0 - 1 } : high)
    guard digits > 0 else { return wholes }
    // Not zero, so that a bound is never met by a fraction.
    let fraction = GrammarExpression.sequence([
      .text("."), .repetition(digit, minimum: 0, maximum: digits - 1), .set(ByteSet(0x31...0x39)),
    ])
    var choices = [wholes]
    // m + f lies above m and below m + 1.
    let top = high.map { $0 - 1 } ?? unbounded
    let bottom = low ?? -unbounded
    if top >= max(0, bottom) { choices.append(.sequence([magnitudes(max(0, bottom), top), fraction])) }
    // -(m + f) lies above -(m + 1) and below -m.
    if bottom < 0, -bottom - 1 >= max(0, -(high ?? 0)) {
      choices.append(.sequence([.text("-"), magnitudes(max(0, -(high ?? 0)), -bottom - 1), fraction]))
    }
    return .choice(choices)
  }

  /// `low ... high`, neither below zero.
  private static func magnitudes(_ low: Int, _ high: Int) -> GrammarExpression {
    guard low <= high else { return .never }
    let (first, last) = (Array(String(low).utf8), Array(String(high).utf8))
    return .choice(
      (first.count...last.count).map { count in
        same(
          count == first.count ? first : [0x31] + Array(repeating: 0x30, count: count - 1),
          count == last.count ? last : Array(repeating: 0x39, count: count))
      })
  }

  /// Numbers of as many digits as both bounds have.
  private static func same(_ low: [UInt8], _ high: [UInt8]) -> GrammarExpression {
    guard let first = low.first, let last = high.first else { return .empty }
    let rest = low.count - 1
    if low.dropFirst().allSatisfy({ $0 == 0x30 }) && high.dropFirst().allSatisfy({ $0 == 0x39 }) {
      return .sequence([.set(ByteSet(first...last)), .repetition(digit, minimum: rest, maximum: rest)])
    }
    if first == last { return .sequence([.bytes([first]), same(Array(low.dropFirst()), Array(high.dropFirst()))]) }
    var choices = [
      GrammarExpression.sequence([.bytes([first]), same(Array(low.dropFirst()), Array(repeating: 0x39, count: rest))]),
      .sequence([.bytes([last]), same(Array(repeating: 0x30, count: rest), Array(high.dropFirst()))]),
    ]
    if first + 1 <= last - 1 { choices.append(.sequence([.set(ByteSet(first + 1...last - 1)), .repetition(digit, minimum: rest, maximum: rest)])) }
    return .choice(choices)
  }
}
