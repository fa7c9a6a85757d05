// SPDX-License-Identifier: Apache-2.0

import Foundation

/// One spelling for texts that read the same: NFC, line feeds, single spaces, no control characters.
public enum TextNormalizer {
  /// Linear in the text. Paragraphs stay separated by one empty line; lines keep neither leading nor trailing blanks.
  public static func normalize(_ text: String) -> String {
    var composed = text.utf8.allSatisfy { $0 < 0x80 } ? text : text.precomposedStringWithCanonicalMapping
    var out: [UInt8] = []
    composed.withUTF8 { bytes in
      out.reserveCapacity(bytes.count)
      var newlines = 0
      var space = false
      var index = 0
      while index < bytes.count {
        let byte = bytes[index]
        var length = 1
        var kind = Kind.text
        if byte < 0x80 {
          switch byte {
          case 0x0A: kind = .newline
          case 0x0D:
            kind = .newline
            if index + 1 < bytes.count, bytes[index + 1] == 0x0A { length = 2 }
          case 0x0C, 0x0B: kind = .newline
          case 0x20, 0x09: kind = .space
          case 0..<0x20, 0x7F: kind = .nothing
          default: break
          }
        } else {
          length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2
          kind = classify(bytes, index)
        }
        switch kind {
        case .newline: newlines += 1
        case .space: space = true
        case .nothing: break
        case .text:
          if newlines > 0 {
            if !out.isEmpty { out.append(contentsOf: newlines > 1 ? [0x0A, 0x0A] : [0x0A]) }
          } else if space, !out.isEmpty {
            out.append(0x20)
          }
          newlines = 0
          space = false
          for offset in 0..<length { out.append(bytes[index + offset]) }
        }
        index += length
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  private enum Kind { case text, space, newline, nothing }

  private static func classify(_ bytes: UnsafeBufferPointer<UInt8>, _ index: Int) -> Kind {
    switch (bytes[index], bytes[index + 1]) {
    case (0xC2, 0x85): return .newline  // U+0085
    case (0xC2, 0x80...0x9F): return .nothing  // C1 controls
    case (0xC2, 0xA0): return .space
    case (0xC2, 0xAD): return .nothing  // soft hyphen
    case (0xE1, 0x9A): return bytes[index + 2] == 0x80 ? .space : .text  // U+1680
    case (0xE2, 0x80):
      switch bytes[index + 2] {
      case 0x80...0x8A, 0xAF: return .space  // U+2000..U+200A, U+202F
      case 0x8B, 0x8E, 0x8F, 0xAA...0xAE: return .nothing  // zero width space, marks of direction
      case 0xA8, 0xA9: return .newline
      default: return .text
      }
    case (0xE2, 0x81): return bytes[index + 2] == 0x9F ? .space : bytes[index + 2] == 0xA0 ? .nothing : .text
    case (0xE3, 0x80): return bytes[index + 2] == 0x80 ? .space : .text  // U+3000
    case (0xEF, 0xBB): return bytes[index + 2] == 0xBF ? .nothing : .text  // byte order mark
    default: return .text
    }
  }
}
