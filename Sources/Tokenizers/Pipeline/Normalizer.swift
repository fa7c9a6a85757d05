// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// What becomes of text before it is cut: the `normalizer` of a tokenizer file.
indirect enum Normalizer: Sendable {
  case sequence([Normalizer])
  case unicode(Form)
  case lowercase
  case stripAccents
  case replace(SplitPattern, [UInt8])
  case prepend([UInt8])
  case strip(left: Bool, right: Bool)
  case precompiled(PrecompiledMap)
  case bert(BertNormalizer)
  case nmt
  case byteLevel

  enum Form: String, Sendable { case nfc = "NFC", nfd = "NFD", nfkc = "NFKC", nfkd = "NFKD" }

  /// - Throws: `invalidFile` (PLT-3301) naming a kind that is not known.
  init?(_ json: ByteJSON?) throws {
    guard let json, !json.isNull else { return nil }
    let type = json["type"]?.text ?? ""
    switch type {
    case "Sequence": self = .sequence(try (json["normalizers"]?.items ?? []).compactMap { try Normalizer($0) })
    case "NFC", "NFD", "NFKC", "NFKD": self = .unicode(Form(rawValue: type)!)  // the four cases
    case "Lowercase": self = .lowercase
    case "StripAccents": self = .stripAccents
    case "Replace": self = .replace(try SplitPattern(json["pattern"]), json["content"]?.bytes ?? [])
    case "Prepend": self = .prepend(json["prepend"]?.bytes ?? [])
    case "Strip": self = .strip(left: json["strip_left"]?.flag ?? true, right: json["strip_right"]?.flag ?? true)
    case "Precompiled":
      guard let map = json["precompiled_charsmap"]?.text, !map.isEmpty else { return nil }
      self = .precompiled(try PrecompiledMap(base64: map))
    case "BertNormalizer":
      let lower = json["lowercase"]?.flag ?? true
      self = .bert(
        BertNormalizer(
          cleanText: json["clean_text"]?.flag ?? true, handleIdeographs: json["handle_chinese_chars"]?.flag ?? true,
          stripAccents: json["strip_accents"]?.flag ?? lower, lowercase: lower))
    case "Nmt": self = .nmt
    case "ByteLevel": self = .byteLevel
    default: throw PlatformError.unusableTokenizer("the normalizer \(type) is not supported")
    }
  }

  /// How many times as long it can make a text, by its worst case; what is put in front of a text counts for nothing.
  var growth: Double {
    switch self {
    case .sequence(let parts): parts.reduce(1) { $0 * $1.growth }
    // One scalar becomes up to eighteen others.
    case .unicode: 18
    case .lowercase, .byteLevel: 2
    case .stripAccents, .prepend, .strip, .nmt: 1
    case .replace(.text(let pattern), let content): max(1, Double(content.count) / Double(max(1, pattern.count)))
    case .replace(_, let content): Double(content.count + 1)
    case .precompiled(let map): Double(map.longestText)
    case .bert: 6
    }
  }

  /// Files in use stay far below it; a file of a few lines could ask for all memory.
  static let growthLimit = 65_536.0

  /// Valid UTF-8 in and out.
  func apply(_ text: [UInt8]) -> [UInt8] {
    switch self {
    case .sequence(let parts): return parts.reduce(text) { $1.apply($0) }
    case .unicode(let form):
      guard text.contains(where: { $0 >= 0x80 }) else { return text }
      let own = String(decoding: text, as: UTF8.self)
      switch form {
      case .nfc: return Array(own.precomposedStringWithCanonicalMapping.utf8)
      case .nfd: return Array(own.decomposedStringWithCanonicalMapping.utf8)
      // In two steps: at once, marks that a character becomes are not put together with the one before them.
      case .nfkc: return Array(own.decomposedStringWithCompatibilityMapping.precomposedStringWithCanonicalMapping.utf8)
      case .nfkd: return Array(own.decomposedStringWithCompatibilityMapping.utf8)
      }
    case .lowercase: return Self.mapped(text) { $0.properties.lowercaseMapping.utf8.map { $0 } }
    case .stripAccents:
      return Self.mapped(text) { scalar in
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark: []
        default: Array(UTF8.encode(scalar)!)  // scalars always have a form
        }
      }
    case .replace(let pattern, let content): return pattern.replacing(text, with: content)
    case .prepend(let front): return text.isEmpty ? text : front + text
    case .strip(let left, let right):
      var scalars = String(decoding: text, as: UTF8.self).unicodeScalars[...]
      if left { scalars = scalars.drop { $0.properties.isWhitespace } }
      if right { while scalars.last?.properties.isWhitespace ?? false { scalars.removeLast() } }
      return Array(String(scalars).utf8)
    case .precompiled(let map):
      var out: [UInt8] = []
      map.append(text, to: &out)
      return out
    case .bert(let normalizer):
      var out: [UInt8] = []
      text.withUnsafeBufferPointer { normalizer.append($0, to: &out) }
      return out
    case .nmt: return Self.mapped(text, Self.nmt)
    case .byteLevel: return Array(ByteAlphabet.spell(text).utf8)
    }
  }

  private static func mapped(_ text: [UInt8], _ map: (Unicode.Scalar) -> [UInt8]) -> [UInt8] {
    String(decoding: text, as: UTF8.self).unicodeScalars.flatMap(map)
  }

  /// Control characters go; what looks like a space becomes one.
  private static func nmt(_ scalar: Unicode.Scalar) -> [UInt8] {
    switch scalar.value {
    case 0x01...0x08, 0x0B, 0x0E...0x1F, 0x7F, 0x8F, 0x9F: []
    case 0x09, 0x0A, 0x0C, 0x0D, 0x1680, 0x200B...0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD: [0x20]
    default: Array(UTF8.encode(scalar)!)  // scalars always have a form
    }
  }
}
