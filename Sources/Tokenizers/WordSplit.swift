// SPDX-License-Identifier: Apache-2.0

/// How a byte-level tokenizer cuts text into the words inside of which it merges. The expressions in use are few: they are known by their
/// text and scanned by hand.
enum WordSplit: Equatable {
  /// GPT-2 and its family.
  case plain
  /// GPT-4 and its family (Llama 3, Qwen 2 and 3, OLMo 2, Phi 4): contractions in any case, a mark in front of a word, line ends apart, at
  /// most `digits` digits together.
  case marked(digits: Int)

  private static let contraction = ["(?i:'s|'t|'re|'ve|'m|'ll|'d)", "'(?i:[sdmt]|ll|ve|re)"]

  /// nil for an expression that is not known.
  init?(expression: String) {
    if expression == #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"# {
      self = .plain
      return
    }
    guard let head = Self.contraction.first(where: { expression.hasPrefix($0 + "|") }) else { return nil }
    // Possessive quantifiers match the same here, and so does one line end behind greedy white space.
    let rest = expression.dropFirst(head.count).replacing("?+", with: "?").replacing("++", with: "+").replacing(#"\s*[\r\n]|"#, with: #"\s*[\r\n]+|"#)
    let digits = [(#"\p{N}{1,3}"#, 3), (#"\p{N}"#, 1)].first {
      rest == #"|[^\r\n\p{L}\p{N}]?\p{L}+|"# + $0.0 + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    }
    guard let digits else { return nil }
    self = .marked(digits: digits.1)
  }

  /// The expression that stands for this split in a file.
  var expression: String {
    switch self {
    case .plain: #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
    case .marked(let digits):
      Self.contraction[0] + #"|[^\r\n\p{L}\p{N}]?\p{L}+|"# + (digits == 1 ? #"\p{N}"# : #"\p{N}{1,3}"#)
        + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    }
  }
}

/// Cuts valid UTF-8 into words, one end after the other.
protocol WordScanner {
  /// The end of the next word; nil at the end of the text.
  mutating func next() -> Int?
}

/// `WordSplit.marked` by hand. White space in front of a line end is looked at twice, everything else once.
struct MarkedWordScanner: WordScanner {
  let base: UnsafePointer<UInt8>
  let count: Int
  let digits: Int
  private var index = 0

  init(_ base: UnsafePointer<UInt8>, _ count: Int, digits: Int) {
    self.base = base
    self.count = count
    self.digits = digits
  }

  private static let kinds = ScalarTable.letter | ScalarTable.number | ScalarTable.whitespace

  private func kind(_ place: Int) -> (kind: UInt8, next: Int) {
    let (scalar, next) = ScalarTable.decode(base, place)
    return (ScalarTable.classOf(scalar) & Self.kinds, next)
  }

  private func isLineEnd(_ place: Int) -> Bool { base[place] == 0x0A || base[place] == 0x0D }

  mutating func next() -> Int? {
    guard index < count else { return nil }
    index = end(of: index)
    return index
  }

  private func end(of start: Int) -> Int {
    if base[start] == 0x27, let end = contraction(start) { return end }
    let (first, next) = kind(start)
    switch first {
    case ScalarTable.letter: return run(next, ScalarTable.letter)
    case ScalarTable.number:
      var place = next
      var taken = 1
      while taken < digits, place < count {
        let (kind, next) = kind(place)
        guard kind == ScalarTable.number else { break }
        place = next
        taken += 1
      }
      return place
    default: break
    }
    if !isLineEnd(start), next < count {
      let (second, behind) = kind(next)
      if second == ScalarTable.letter { return run(behind, ScalarTable.letter) }
      if first == 0 || (base[start] == 0x20 && second == 0) { return lineEnds(run(next, 0)) }
    } else if first == 0 {
      return next
    }
    return whitespace(start)
  }

  /// The end of the scalars of one kind from `place` on.
  private func run(_ place: Int, _ wanted: UInt8) -> Int {
    var place = place
    while place < count {
      let (kind, next) = kind(place)
      guard kind == wanted else { break }
      place = next
    }
    return place
  }

  private func lineEnds(_ place: Int) -> Int {
    var place = place
    while place < count, isLineEnd(place) { place += 1 }
    return place
  }

  /// White space up to its last line end; without one up to the last scalar before a word, which may belong to that.
  private func whitespace(_ start: Int) -> Int {
    var place = start
    var last = start
    var lineEnd: Int?
    while place < count {
      let (kind, next) = kind(place)
      guard kind == ScalarTable.whitespace else { break }
      if isLineEnd(place) { lineEnd = next }
      last = place
      place = next
    }
    if let lineEnd { return lineEnd }
    return place == count || last == start ? place : last
  }

  /// `'s`, `'t`, `'m`, `'d`, `'re`, `'ve`, `'ll` in any case; the long s is an s, too.
  private func contraction(_ start: Int) -> Int? {
    func letter(_ place: Int) -> UInt8? { place < count ? base[place] | 0x20 : nil }
    switch letter(start + 1) {
    case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return base[start + 1] >= 0x41 ? start + 2 : nil
    case UInt8(ascii: "r"), UInt8(ascii: "v"): return letter(start + 2) == UInt8(ascii: "e") ? start + 3 : nil
    case UInt8(ascii: "l"): return letter(start + 2) == UInt8(ascii: "l") ? start + 3 : nil
    default: return start + 2 < count && base[start + 1] == 0xC5 && base[start + 2] == 0xBF ? start + 3 : nil
    }
  }
}
