// SPDX-License-Identifier: Apache-2.0

/// The split of GPT-2 (`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`), by hand.
///
/// Each byte is looked at a constant number of times, whatever the text.
struct ByteLevelScanner: WordScanner {
  let base: UnsafePointer<UInt8>
  let count: Int
  private(set) var index = 0

  init(_ base: UnsafePointer<UInt8>, _ count: Int) {
    self.base = base
    self.count = count
  }

  /// The end of the next piece, which starts at `index`; nil at the end of the text.
  mutating func next() -> Int? {
    guard index < count else { return nil }
    let first = base[index]
    if first == 0x27, let end = contraction() {
      index = end
      return end
    }
    var start = index
    if first == 0x20, index &+ 1 < count { start = index &+ 1 }
    let (scalar, next) = ScalarTable.decode(base, start)
    let kind = ScalarTable.classOf(scalar) & 7
    if kind & ScalarTable.whitespace == 0 {
      index = run(from: next, kind: kind)
    } else {
      index = whitespaceEnd()
    }
    return index
  }

  /// The end of the scalars from `place` on that are of class `kind` (letter, number, or neither).
  private func run(from place: Int, kind: UInt8) -> Int {
    var place = place
    let classes = ScalarTable.classes
    while place < count {
      let byte = base[place]
      if byte < 0x80 {
        if classes[Int(byte)] & 7 != kind { break }
        place &+= 1
      } else {
        let (scalar, next) = ScalarTable.decode(base, place)
        if ScalarTable.classOf(scalar) & 7 != kind { break }
        place = next
      }
    }
    return place
  }

  /// White space up to the last one before a word, which belongs to that word when it is a space.
  private func whitespaceEnd() -> Int {
    var last = index
    var place = index
    while place < count {
      let (scalar, next) = ScalarTable.decode(base, place)
      if ScalarTable.classOf(scalar) & ScalarTable.whitespace == 0 { return last > index ? last : place }
      last = place
      place = next
    }
    return count
  }

  private func contraction() -> Int? {
    guard index &+ 1 < count else { return nil }
    switch base[index &+ 1] {
    case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return index &+ 2
    case UInt8(ascii: "r"), UInt8(ascii: "v"):
      return index &+ 2 < count && base[index &+ 2] == UInt8(ascii: "e") ? index &+ 3 : nil
    case UInt8(ascii: "l"): return index &+ 2 < count && base[index &+ 2] == UInt8(ascii: "l") ? index &+ 3 : nil
    default: return nil
    }
  }
}

/// The printable characters that stand for bytes in byte-level vocabularies (GPT-2's `bytes_to_unicode`).
enum ByteAlphabet {
  /// The scalar that stands for each byte.
  static let scalars: [UInt32] = {
    var table = [UInt32](repeating: 0, count: 256)
    var extra: UInt32 = 256
    for byte in 0..<256 {
      switch byte {
      case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: table[byte] = UInt32(byte)
      default:
        table[byte] = extra
        extra += 1
      }
    }
    return table
  }()

  private static let bytes: [UInt32: UInt8] = Dictionary(
    uniqueKeysWithValues: scalars.enumerated().map { ($1, UInt8($0)) })

  /// Bytes in the order of the characters that stand for them.
  static let ordered: [UInt8] = (0..<256).sorted { scalars[$0] < scalars[$1] }.map(UInt8.init)

  static func spell(_ bytes: some Sequence<UInt8>) -> String {
    var out = String.UnicodeScalarView()
    for byte in bytes { out.append(Unicode.Scalar(scalars[Int(byte)])!) }  // every entry is below U+0144
    return String(out)
  }

  /// The bytes that UTF-8 `spelling` stands for, or nil when it has other characters.
  static func unspell(_ spelling: [UInt8]) -> [UInt8]? {
    var out: [UInt8] = []
    out.reserveCapacity(spelling.count)
    for scalar in String(decoding: spelling, as: UTF8.self).unicodeScalars {
      guard let byte = bytes[scalar.value] else { return nil }
      out.append(byte)
    }
    return out
  }
}
