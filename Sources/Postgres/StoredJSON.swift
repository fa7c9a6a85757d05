// SPDX-License-Identifier: Apache-2.0

/// JSON text as `jsonb` takes it, which has no U+0000: it becomes two characters of the private use area on the way there, and itself
/// again on the way back. The first of the two is doubled in the same way where a text has it.
enum StoredJSON {
  private static let mark: Unicode.Scalar = "\u{F8F0}"
  private static let markItself = "\u{F8F0}\u{F8F1}"
  private static let zero = "\u{F8F0}\u{F8F2}"
  private static let markBytes = Array(String(mark).utf8)

  /// What Postgres is given for the JSON text `text`.
  static func escaped(_ text: String) -> String {
    let hasMark = text.unicodeScalars.contains(mark)
    guard hasMark || text.utf8.contains(UInt8(ascii: "\\")) else { return text }
    let bytes = Array(text.utf8)
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count)
    var index = 0
    while index < bytes.count {
      if bytes[index] == UInt8(ascii: "\\"), index + 1 < bytes.count {
        if bytes[index...].starts(with: #"\u0000"#.utf8) {
          out += zero.utf8
          index += 6
        } else {
          out += bytes[index...index + 1]
          index += 2
        }
      } else if hasMark, bytes[index...].starts(with: markBytes) {
        out += markItself.utf8
        index += markBytes.count
      } else {
        out.append(bytes[index])
        index += 1
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  /// What was given, from what Postgres gives back.
  static func restored(_ text: String) -> String {
    guard text.unicodeScalars.contains(mark) else { return text }
    var out = String.UnicodeScalarView()
    var isOpen = false
    for scalar in text.unicodeScalars {
      if !isOpen {
        if scalar == mark { isOpen = true } else { out.append(scalar) }
        continue
      }
      isOpen = false
      switch scalar {
      case "\u{F8F1}": out.append(mark)
      case "\u{F8F2}": out.append(contentsOf: #"\u0000"#.unicodeScalars)
      default: out.append(contentsOf: [mark, scalar])  // stored before there were marks
      }
    }
    if isOpen { out.append(mark) }
    return String(out)
  }
}
