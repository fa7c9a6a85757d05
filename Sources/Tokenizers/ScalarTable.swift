// SPDX-License-Identifier: Apache-2.0

/// Classes of Unicode scalars as the reference tokenizers see them, in one byte a scalar.
///
/// The classes are those of the Unicode versions that the reference implementations carry (8.0 for BERT, 16.0 for the
/// byte-level split), found through each scalar's age, so that ids do not change when Swift's own tables are renewed.
enum ScalarTable {
  static let letter: UInt8 = 1
  static let number: UInt8 = 2
  static let whitespace: UInt8 = 4
  /// BERT: punctuation that stands alone.
  static let punctuation: UInt8 = 8
  /// BERT: non-spacing mark, removed with accents.
  static let mark: UInt8 = 16
  /// BERT: control, format or private use, removed when text is cleaned.
  static let control: UInt8 = 32
  /// BERT: ideographs that become words of their own.
  static let ideograph: UInt8 = 64

  /// Scalars from here on are unassigned, tags, variation selectors or private use (handled by `beyond`).
  static let limit: UInt32 = 0x32400

  /// Written once below and never freed, so reading it from many threads is safe.
  nonisolated(unsafe) static let classes: UnsafePointer<UInt8> = {
    let table = UnsafeMutablePointer<UInt8>.allocate(capacity: Int(limit))
    table.initialize(repeating: 0, count: Int(limit))
    for value in 0..<limit { table[Int(value)] = compute(value) }
    return UnsafePointer(table)
  }()

  @inline(__always) static func classOf(_ scalar: UInt32) -> UInt8 {
    scalar < limit ? classes[Int(scalar)] : beyond(scalar)
  }

  private static func beyond(_ scalar: UInt32) -> UInt8 {
    switch scalar {
    case 0xE0100...0xE01EF: mark
    case 0xE0001, 0xE0020...0xE007F, 0xF0000...0xFFFFD, 0x100000...0x10FFFD: control
    default: 0
    }
  }

  static func isIdeograph(_ scalar: UInt32) -> Bool {
    switch scalar {
    case 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xF900...0xFAFF, 0x20000...0x2A6DF, 0x2A700...0x2B73F, 0x2B740...0x2B81F,
      0x2B920...0x2CEAF, 0x2F800...0x2FA1F:
      true
    default: false
    }
  }

  private static func compute(_ value: UInt32) -> UInt8 {
    switch value {
    case 0x3400...0x4DBF, 0x4E00...0x9FFF, 0x20000...0x2A6DF: return letter | ideograph
    case 0xAC00...0xD7A3: return letter
    case 0xE000...0xF8FF: return control
    default: break
    }
    guard let scalar = Unicode.Scalar(value), let age = scalar.properties.age else {
      return isIdeograph(value) ? ideograph : 0
    }
    var flags: UInt8 = isIdeograph(value) ? ideograph : 0
    let inEight = age.major <= 8
    let inSixteen = age.major <= 16
    if scalar.properties.isWhitespace { flags |= whitespace }
    switch scalar.properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
      if inSixteen { flags |= letter }
    case .decimalNumber, .letterNumber, .otherNumber: if inSixteen { flags |= number }
    case .nonspacingMark: if inEight { flags |= mark }
    case .control, .privateUse: flags |= control
    case .format: if inEight { flags |= control }
    case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
      .finalPunctuation,
      .otherPunctuation:
      if inEight { flags |= punctuation }
    default: break
    }
    switch value {
    case 33...47, 58...64, 91...96, 123...126: flags |= punctuation
    // Scalars whose category changed after Unicode 8.
    case 0x166D, 0x111C9: flags = (flags & ~mark) | punctuation
    case 0x1885, 0x1886, 0xA9BD: flags &= ~mark
    case 0x1734, 0x1171E: flags |= mark
    default: break
    }
    return flags
  }

  /// The scalar that starts at `index` of valid UTF-8, and the index after it.
  @inline(__always) static func decode(_ bytes: UnsafePointer<UInt8>, _ index: Int) -> (scalar: UInt32, next: Int) {
    let first = bytes[index]
    if first < 0x80 { return (UInt32(first), index &+ 1) }
    if first < 0xE0 { return (UInt32(first & 0x1F) << 6 | UInt32(bytes[index &+ 1] & 0x3F), index &+ 2) }
    if first < 0xF0 {
      return (
        UInt32(first & 0x0F) << 12 | UInt32(bytes[index &+ 1] & 0x3F) << 6 | UInt32(bytes[index &+ 2] & 0x3F), index &+ 3
      )
    }
    let high = UInt32(first & 0x07) << 18 | UInt32(bytes[index &+ 1] & 0x3F) << 12
    return (high | UInt32(bytes[index &+ 2] & 0x3F) << 6 | UInt32(bytes[index &+ 3] & 0x3F), index &+ 4)
  }
}
