// SPDX-License-Identifier: Apache-2.0

import Core

/// How tokens become text: the `decoder` of a tokenizer file. Each step makes a list of texts of a list of texts.
indirect enum TokenDecoder: Sendable {
  case sequence([TokenDecoder])
  case byteLevel
  case wordPiece(prefix: [UInt8], cleansUp: Bool)
  case metaspace(mark: [UInt8], dropsFirst: Bool)
  case suffix([UInt8])
  case byteFallback
  case fuse
  case strip(content: [UInt8], start: Int, stop: Int)
  case replace(SplitPattern, [UInt8])

  /// - Throws: `invalidFile` (PLT-3301) naming a kind that is not known.
  init?(_ json: ByteJSON?) throws {
    guard let json, !json.isNull else { return nil }
    let type = json["type"]?.text ?? ""
    switch type {
    case "Sequence": self = .sequence(try (json["decoders"]?.items ?? []).compactMap { try TokenDecoder($0) })
    case "ByteLevel": self = .byteLevel
    case "WordPiece": self = .wordPiece(prefix: json["prefix"]?.bytes ?? Array("##".utf8), cleansUp: json["cleanup"]?.flag ?? true)
    case "Metaspace":
      let metaspace = PreTokenizer.Metaspace(json)
      self = .metaspace(mark: metaspace.replacement, dropsFirst: metaspace.scheme != .never)
    case "BPEDecoder": self = .suffix(json["suffix"]?.bytes ?? Array("</w>".utf8))
    case "ByteFallback": self = .byteFallback
    case "Fuse": self = .fuse
    case "Strip":
      self = .strip(content: json["content"]?.bytes ?? [0x20], start: Int(json["start"]?.id ?? 0), stop: Int(json["stop"]?.id ?? 0))
    case "Replace": self = .replace(try SplitPattern(json["pattern"]), json["content"]?.bytes ?? [])
    default: throw PlatformError.unusableTokenizer("the decoder \(type) is not supported")
    }
  }

  func apply(_ tokens: [[UInt8]]) -> [[UInt8]] {
    switch self {
    case .sequence(let parts): return parts.reduce(tokens) { $1.apply($0) }
    case .byteLevel:
      let bytes = tokens.flatMap { ByteAlphabet.unspell($0) ?? $0 }
      return [Array(String(decoding: bytes, as: UTF8.self).utf8)]
    case .wordPiece(let prefix, let cleansUp):
      return tokens.enumerated().map { index, token in
        var piece = token
        if index != 0 { piece = token.starts(with: prefix) ? Array(token[prefix.count...]) : [0x20] + token }
        return cleansUp ? EnglishSpacing.cleaned(piece) : piece
      }
    case .metaspace(let mark, let dropsFirst):
      return tokens.enumerated().map { SplitPattern.text(mark).replacing($1, with: $0 == 0 && dropsFirst ? [] : [0x20]) }
    case .suffix(let suffix):
      return tokens.enumerated().map { SplitPattern.text(suffix).replacing($1, with: $0 == tokens.count - 1 ? [] : [0x20]) }
    case .byteFallback: return Self.bytesJoined(tokens)
    case .fuse: return [Array(tokens.joined())]
    case .strip(let content, let start, let stop):
      return tokens.map { token in
        var rest = token[...]
        var left = start
        while left > 0, !content.isEmpty, rest.starts(with: content) {
          rest = rest.dropFirst(content.count)
          left -= 1
        }
        var right = stop
        while right > 0, !content.isEmpty, rest.count >= content.count, rest.suffix(content.count).elementsEqual(content) {
          rest = rest.dropLast(content.count)
          right -= 1
        }
        return Array(rest)
      }
    case .replace(let pattern, let content): return tokens.map { pattern.replacing($0, with: content) }
    }
  }

  /// Runs of `<0xXX>` as the text that their bytes are; U+FFFD for each byte of a run that is none.
  private static func bytesJoined(_ tokens: [[UInt8]]) -> [[UInt8]] {
    var out: [[UInt8]] = []
    var run: [UInt8] = []
    func flush() {
      guard !run.isEmpty else { return }
      if String(validating: run, as: UTF8.self) != nil {
        out.append(run)
      } else {
        out += Array(repeating: Array("\u{FFFD}".utf8), count: run.count)
      }
      run = []
    }
    for token in tokens {
      if let byte = ByteTokens.byte(token) {
        run.append(byte)
      } else {
        flush()
        out.append(token)
      }
    }
    flush()
    return out
  }
}

/// Tokens that stand for one byte each: `<0x0A>`.
enum ByteTokens {
  static func byte(_ token: [UInt8]) -> UInt8? {
    guard token.count == 6, token.starts(with: Array("<0x".utf8)), token[5] == UInt8(ascii: ">") else { return nil }
    return UInt8(String(decoding: token[3..<5], as: UTF8.self), radix: 16)
  }

  static func spelling(_ byte: UInt8) -> [UInt8] {
    let digits = String(byte, radix: 16, uppercase: true)
    return Array("<0x\(digits.count == 1 ? "0" : "")\(digits)>".utf8)
  }
}

/// Draws English punctuation and contractions to the word before them.
enum EnglishSpacing {
  private static let rules: [(SplitPattern, [UInt8])] = [
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" do not", " don't"), (" 's", "'s"),
    (" 've", "'ve"), (" 're", "'re"),
  ].map { (.text(Array($0.0.utf8)), Array($0.1.utf8)) }

  static func cleaned(_ text: [UInt8]) -> [UInt8] {
    guard text.contains(0x20) else { return text }
    return rules.reduce(text) { $1.0.replacing($0, with: $1.1) }
  }
}
