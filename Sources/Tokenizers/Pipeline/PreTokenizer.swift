// SPDX-License-Identifier: Apache-2.0

import Core

/// Text on its way through the steps: its bytes, and the words that were found in them.
struct TextPieces {
  var bytes: [UInt8]
  var words: [Range<Int>]
  /// Whether the first byte is that of the whole text.
  var isStart: Bool

  init(_ bytes: [UInt8], isStart: Bool) {
    self.bytes = bytes
    words = bytes.isEmpty ? [] : [0..<bytes.count]
    self.isStart = isStart
  }

  /// Cuts each word.
  mutating func cut(_ body: (UnsafeBufferPointer<UInt8>, (Range<Int>) -> Void) -> Void) {
    var found: [Range<Int>] = []
    found.reserveCapacity(words.count)
    bytes.withUnsafeBufferPointer { buffer in
      for word in words {
        body(UnsafeBufferPointer(rebasing: buffer[word])) { found.append(word.lowerBound + $0.lowerBound..<word.lowerBound + $0.upperBound) }
      }
    }
    words = found
  }

  /// Gives each word other bytes.
  /// - Parameter body: appends a word's new bytes; its second argument says whether the word begins the whole text.
  mutating func rewrite(_ body: (ArraySlice<UInt8>, Bool, inout [UInt8]) -> Void) {
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count + 3 * words.count)
    for index in words.indices {
      let start = out.count
      body(bytes[words[index]], isStart && words[index].lowerBound == 0, &out)
      words[index] = start..<out.count
    }
    bytes = out
  }
}

/// How text becomes words: the `pre_tokenizer` of a tokenizer file.
indirect enum PreTokenizer: Sendable {
  case sequence([PreTokenizer])
  case split(SplitPattern, SplitBehavior, inverted: Bool)
  case byteLevel(addsSpace: Bool, splits: Bool)
  case metaspace(Metaspace)

  struct Metaspace: Sendable {
    enum Scheme: String, Sendable { case always, first, never }
    var replacement: [UInt8]
    var scheme: Scheme
    var splits: Bool

    init(_ json: ByteJSON) {
      replacement = json["replacement"]?.bytes ?? Array("\u{2581}".utf8)
      let plain: Scheme = json["add_prefix_space"]?.flag ?? true ? .always : .never
      scheme = json["prepend_scheme"]?.text.flatMap(Scheme.init) ?? plain
      splits = json["split"]?.flag ?? true
    }
  }

  /// - Throws: `invalidFile` (PLT-3301) naming a kind that is not known.
  init?(_ json: ByteJSON?) throws {
    guard let json, !json.isNull else { return nil }
    func refuse(_ what: String) -> PlatformError { .unusableTokenizer("\(what) is not supported") }
    func behavior(_ plain: SplitBehavior) throws -> SplitBehavior {
      guard let name = json["behavior"]?.text else { return plain }
      guard let known = SplitBehavior(rawValue: name) else { throw refuse("the behavior \(name)") }
      return known
    }
    let type = json["type"]?.text ?? ""
    switch type {
    case "Sequence": self = .sequence(try (json["pretokenizers"]?.items ?? []).compactMap { try PreTokenizer($0) })
    case "Split": self = .split(try SplitPattern(json["pattern"]), try behavior(.removed), inverted: json["invert"]?.flag ?? false)
    case "ByteLevel": self = .byteLevel(addsSpace: json["add_prefix_space"]?.flag ?? true, splits: json["use_regex"]?.flag ?? true)
    case "Metaspace": self = .metaspace(Metaspace(json))
    case "Whitespace":
      // The joiners are parts of words where this split comes from.
      self = .split(.expression(try Expression(#"[\w\x{200C}\x{200D}]+|[^\w\s\x{200C}\x{200D}]+"#)), .removed, inverted: true)
    case "WhitespaceSplit": self = .split(.scalars(.whitespace), .removed, inverted: false)
    case "BertPreTokenizer":
      self = .sequence([.split(.scalars(.whitespace), .removed, inverted: false), .split(.scalars(.punctuation), .isolated, inverted: false)])
    case "Punctuation": self = .split(.scalars(.punctuation), try behavior(.isolated), inverted: false)
    case "Digits": self = .split(.scalars(.number), json["individual_digits"]?.flag ?? false ? .isolated : .contiguous, inverted: false)
    case "CharDelimiterSplit":
      guard let delimiter = json["delimiter"]?.text?.unicodeScalars.first else { throw refuse("a CharDelimiterSplit without its delimiter") }
      self = .split(.scalar(delimiter.value), .removed, inverted: false)
    default: throw refuse("the pre_tokenizer \(type)")
    }
  }

  func apply(_ text: inout TextPieces) {
    switch self {
    case .sequence(let parts): for part in parts { part.apply(&text) }
    case .split(let pattern, let behavior, let inverted): text.cut { behavior.cut($0, pattern, inverted: inverted, $1) }
    case .byteLevel(let addsSpace, let splits):
      if addsSpace {
        text.rewrite { word, _, out in
          if word.first != 0x20 { out.append(0x20) }
          out += word
        }
      }
      if splits {
        text.cut { word, found in
          guard let base = word.baseAddress else { return }
          var scanner = ByteLevelScanner(base, word.count)
          var start = 0
          while let end = scanner.next() {
            found(start..<end)
            start = end
          }
        }
      }
      text.rewrite { word, _, out in for byte in word { BertNormalizer.appendUTF8(ByteAlphabet.scalars[Int(byte)], to: &out) } }
    case .metaspace(let metaspace): Self.apply(metaspace, &text)
    }
  }

  private static func apply(_ metaspace: Metaspace, _ text: inout TextPieces) {
    let mark = metaspace.replacement
    text.rewrite { word, isFirst, out in
      if metaspace.scheme == .always || (metaspace.scheme == .first && isFirst), word.first != 0x20, !word.starts(with: mark) { out += mark }
      for byte in word { if byte == 0x20 { out += mark } else { out.append(byte) } }
    }
    if metaspace.splits { text.cut { SplitBehavior.mergedWithNext.cut($0, .text(mark), inverted: false, $1) } }
  }
}
