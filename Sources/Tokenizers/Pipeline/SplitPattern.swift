// SPDX-License-Identifier: Apache-2.0

import Core

/// What text is cut at, or replaced where it is found.
enum SplitPattern: Sendable {
  case text([UInt8])
  case expression(Expression)
  /// Each scalar of a class by itself.
  case scalars(ScalarClass)

  /// Classes of scalars that files name.
  enum ScalarClass: Sendable, Equatable {
    case whitespace, number, punctuation
    case one(UInt32)

    func contains(_ scalar: UInt32) -> Bool {
      switch self {
      case .whitespace: ScalarTable.classOf(scalar) & ScalarTable.whitespace != 0
      case .number: ScalarTable.classOf(scalar) & ScalarTable.number != 0
      case .punctuation: ScalarTable.classOf(scalar) & ScalarTable.punctuation != 0
      case .one(let wanted): scalar == wanted
      }
    }
  }

  /// Reads `{"String": ..}` or `{"Regex": ..}`.
  /// - Throws: `invalidFile` (PLT-3301).
  init(_ json: ByteJSON?) throws {
    if let text = json?["String"]?.bytes {
      self = .text(text)
    } else if let text = json?["Regex"]?.text {
      self = .expression(try Expression(text))
    } else {
      throw PlatformError.unusableTokenizer("a pattern is neither a text nor an expression")
    }
  }

  static func scalar(_ value: UInt32) -> SplitPattern { .scalars(.one(value)) }

  /// Where it is found, from left to right. An empty text is found nowhere.
  func matches(_ text: UnsafeBufferPointer<UInt8>, _ body: (Range<Int>) -> Void) {
    guard let base = text.baseAddress else { return }
    switch self {
    case .expression(let expression): expression.matches(text, body)
    case .scalars(let wanted):
      var index = 0
      while index < text.count {
        let (scalar, next) = ScalarTable.decode(base, index)
        if wanted.contains(scalar) { body(index..<next) }
        index = next
      }
    case .text(let wanted):
      guard let first = wanted.first else { return }
      var index = 0
      while index + wanted.count <= text.count {
        if base[index] == first, wanted.indices.allSatisfy({ base[index + $0] == wanted[$0] }) {
          body(index..<index + wanted.count)
          index += wanted.count
        } else {
          index += 1
        }
      }
    }
  }

  /// `text` with `content` in place of each match.
  func replacing(_ text: [UInt8], with content: [UInt8]) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(text.count)
    var kept = 0
    text.withUnsafeBufferPointer { buffer in
      matches(buffer) { range in
        out += buffer[kept..<range.lowerBound]
        out += content
        kept = range.upperBound
      }
    }
    out += text[kept...]
    return out
  }
}

/// What becomes of matches when text is cut.
enum SplitBehavior: String, Sendable {
  case removed = "Removed"
  case isolated = "Isolated"
  case mergedWithPrevious = "MergedWithPrevious"
  case mergedWithNext = "MergedWithNext"
  case contiguous = "Contiguous"

  /// Cuts `text` and gives the pieces that are left, none of them empty.
  func cut(_ text: UnsafeBufferPointer<UInt8>, _ pattern: SplitPattern, inverted: Bool, _ body: (Range<Int>) -> Void) {
    var parts: [(range: Range<Int>, isMatch: Bool)] = []
    var end = 0
    pattern.matches(text) { range in
      if range.lowerBound > end { parts.append((end..<range.lowerBound, inverted)) }
      parts.append((range, !inverted))
      end = range.upperBound
    }
    if end < text.count { parts.append((end..<text.count, inverted)) }
    switch self {
    case .removed: parts.removeAll { $0.isMatch }
    case .isolated: break
    case .contiguous: parts = Self.joined(parts) { $0 == $1 }
    case .mergedWithPrevious: parts = Self.joined(parts) { before, own in own && !before }
    case .mergedWithNext: parts = Self.joined(parts.reversed()) { before, own in own && !before }.reversed()
    }
    for part in parts where !part.range.isEmpty { body(part.range) }
  }

  /// Joins a part to the one before it where `joins` says so of both: whether they are matches.
  private static func joined(
    _ parts: [(range: Range<Int>, isMatch: Bool)], _ joins: (Bool, Bool) -> Bool
  ) -> [(range: Range<Int>, isMatch: Bool)] {
    var out: [(range: Range<Int>, isMatch: Bool)] = []
    var before = false
    for part in parts {
      if let last = out.last, joins(before, part.isMatch) {
        out[out.count - 1].range =
          min(last.range.lowerBound, part.range.lowerBound)..<max(last.range.upperBound, part.range.upperBound)
      } else {
        out.append(part)
      }
      before = part.isMatch
    }
    return out
  }
}
