// SPDX-License-Identifier: Apache-2.0

/// A set of bytes.
struct ByteSet: Sendable, Hashable {
  private var words = SIMD4<UInt64>()

  init() {}
  init(_ range: ClosedRange<UInt8>) { for byte in range { insert(byte) } }

  mutating func insert(_ byte: UInt8) { words[Int(byte >> 6)] |= 1 << UInt64(byte & 63) }
  func contains(_ byte: UInt8) -> Bool { words[Int(byte >> 6)] >> UInt64(byte & 63) & 1 == 1 }
  mutating func formUnion(_ other: ByteSet) { words |= other.words }
  var isEmpty: Bool { words == SIMD4() }
}

/// A set of characters (Unicode scalar values): ranges in order that neither overlap nor touch.
struct CharacterSet: Sendable, Hashable {
  private(set) var ranges: [ClosedRange<UInt32>]

  static let all = CharacterSet([0...0xD7FF, 0xE000...0x10FFFF])

  init(_ ranges: [ClosedRange<UInt32>]) {
    var merged: [ClosedRange<UInt32>] = []
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if let last = merged.last, range.lowerBound <= last.upperBound &+ 1 {
        merged[merged.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
      } else {
        merged.append(range)
      }
    }
    self.ranges = merged
  }

  init(_ text: String) { self.init(text.unicodeScalars.map { $0.value...$0.value }) }

  var isEmpty: Bool { ranges.isEmpty }
  func contains(_ value: UInt32) -> Bool { ranges.contains { $0.contains(value) } }
  func union(_ other: CharacterSet) -> CharacterSet { CharacterSet(ranges + other.ranges) }

  /// Every character that is not in the set.
  var inverted: CharacterSet { Self.all.subtracting(self) }

  func subtracting(_ other: CharacterSet) -> CharacterSet {
    var result: [ClosedRange<UInt32>] = []
    for range in ranges {
      var low = range.lowerBound
      var isDone = false
      for cut in other.ranges where cut.upperBound >= low && cut.lowerBound <= range.upperBound {
        if cut.lowerBound > low { result.append(low...cut.lowerBound - 1) }
        if cut.upperBound >= range.upperBound {
          isDone = true
          break
        }
        low = cut.upperBound + 1
      }
      if !isDone { result.append(low...range.upperBound) }
    }
    return CharacterSet(result)
  }
}

/// How characters are spelled inside JSON strings: each in one way.
enum JSONCharacter {
  /// The escape of a character that has to have one.
  static func escaped(_ value: UInt32) -> String? {
    switch value {
    case 0x22: return "\\\""
    case 0x5C: return "\\\\"
    case 0x08: return "\\b"
    case 0x0C: return "\\f"
    case 0x0A: return "\\n"
    case 0x0D: return "\\r"
    case 0x09: return "\\t"
    case 0..<0x20:
      let digits = String(value, radix: 16)
      return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
    default: return nil
    }
  }
}
