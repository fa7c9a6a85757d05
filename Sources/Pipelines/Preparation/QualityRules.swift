// SPDX-License-Identifier: Apache-2.0

import Core

/// Which texts are worth keeping, in the manner of Gopher (Rae et al. 2021, appendix A.1) and C4 (Raffel et al. 2020).
///
/// Thresholds are milder than the papers' because technical documentation has short lines, lists and symbols.
public struct QualityRules: Codable, Sendable, Equatable {
  public var minimumWords = 30
  public var maximumWords = 200_000
  /// Mean characters a word.
  public var minimumMeanWordLength = 2.5
  public var maximumMeanWordLength = 12.0
  /// '#' signs and ellipses for each word.
  public var maximumSymbolShare = 0.1
  /// Words that have a letter.
  public var minimumAlphabeticShare = 0.6
  /// Words that are among the most frequent of English.
  public var minimumStopWordShare = 0.08
  public var minimumDistinctStopWords = 4
  /// Lines that occurred before in the text, by characters.
  public var maximumRepeatedLineShare = 0.4
  public var maximumBulletLineShare = 0.9
  public var maximumEllipsisLineShare = 0.3
  /// Curly brackets for each character: source code and style sheets.
  public var maximumBraceShare = 0.02

  public init() {}

  /// Why a text is left out. The raw value is stored in tables.
  public enum Rejection: String, Codable, Sendable, CaseIterable, CodingKeyRepresentable {
    case tooShort = "too short"
    case tooLong = "too long"
    case wordLength = "word length"
    case symbols = "symbols"
    case notAlphabetic = "not alphabetic"
    case notEnglish = "not English"
    case repeatedLines = "repeated lines"
    case bulletLines = "bullet lines"
    case ellipsisLines = "ellipsis lines"
    case braces = "braces"
    case placeholder = "placeholder text"
  }

  /// The first rule that the normalised text breaks, or nil.
  public func rejection(of text: String) -> Rejection? { rejection(of: TextStatistics(text)) }

  func rejection(of found: TextStatistics) -> Rejection? {
    let words = Double(max(found.words, 1))
    let lines = Double(max(found.lines, 1))
    if found.words < minimumWords { return .tooShort }
    if found.words > maximumWords { return .tooLong }
    if found.hasPlaceholder { return .placeholder }
    let mean = Double(found.wordCharacters) / words
    if mean < minimumMeanWordLength || mean > maximumMeanWordLength { return .wordLength }
    if Double(found.symbols) / words > maximumSymbolShare { return .symbols }
    if Double(found.braces) / Double(max(found.characters, 1)) > maximumBraceShare { return .braces }
    if Double(found.alphabeticWords) / words < minimumAlphabeticShare { return .notAlphabetic }
    if Double(found.stopWords) / words < minimumStopWordShare || found.distinctStopWords < minimumDistinctStopWords {
      return .notEnglish
    }
    if Double(found.repeatedLineBytes) / Double(max(found.lineBytes, 1)) > maximumRepeatedLineShare { return .repeatedLines }
    if Double(found.bulletLines) / lines > maximumBulletLineShare { return .bulletLines }
    if Double(found.ellipsisLines) / lines > maximumEllipsisLineShare { return .ellipsisLines }
    return nil
  }
}

/// What the rules look at, counted in one pass.
struct TextStatistics: Equatable {
  var words = 0
  var wordCharacters = 0
  var characters = 0
  var alphabeticWords = 0
  var stopWords = 0
  var distinctStopWords = 0
  var symbols = 0
  var braces = 0
  var lines = 0
  var lineBytes = 0
  var repeatedLineBytes = 0
  var bulletLines = 0
  var ellipsisLines = 0
  var hasPlaceholder = false

  init(_ text: String) {
    var text = text
    var seenLines: Set<UInt64> = []
    var seenStopWords: Set<UInt64> = []
    text.withUTF8 { bytes in
      var lineStart = 0
      var index = 0
      while index <= bytes.count {
        if index == bytes.count || bytes[index] == 0x0A {
          if index > lineStart {
            countLine(UnsafeBufferPointer(rebasing: bytes[lineStart..<index]), &seenLines, &seenStopWords)
          }
          lineStart = index + 1
        }
        index += 1
      }
    }
    distinctStopWords = seenStopWords.count
  }

  private mutating func countLine(_ line: UnsafeBufferPointer<UInt8>, _ seen: inout Set<UInt64>, _ stops: inout Set<UInt64>) {
    lines += 1
    lineBytes += line.count
    if line.count > 3, !seen.insert(StableHash.hash(line)).inserted { repeatedLineBytes += line.count }
    if line[0] == 0x2D || line[0] == 0x2A || (line.count > 2 && line[0] == 0xE2 && line[1] == 0x80 && line[2] == 0xA2) {
      bulletLines += 1
    }
    if Self.endsWithEllipsis(line) { ellipsisLines += 1 }
    var start = 0
    var index = 0
    while index <= line.count {
      if index == line.count || line[index] <= 0x20 {
        if index > start { countWord(line, start, index, &stops) }
        start = index + 1
      }
      index += 1
    }
    characters += line.reduce(0) { $1 & 0xC0 == 0x80 ? $0 : $0 + 1 }
  }

  private static func endsWithEllipsis(_ line: UnsafeBufferPointer<UInt8>) -> Bool {
    let tail = line.suffix(3)
    return tail.elementsEqual([0x2E, 0x2E, 0x2E]) || tail.elementsEqual([0xE2, 0x80, 0xA6])
  }

  private mutating func countWord(_ line: UnsafeBufferPointer<UInt8>, _ start: Int, _ end: Int, _ stops: inout Set<UInt64>) {
    words += 1
    var hasLetter = false
    var dots = 0
    for index in start..<end {
      let byte = line[index]
      if byte & 0xC0 != 0x80 { wordCharacters += 1 }
      if byte >= 0xC3 || (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) { hasLetter = true }
      dots = byte == 0x2E ? dots + 1 : 0
      if byte == 0x23 || dots == 3 { symbols += 1 }
      if byte == 0xE2, index + 2 < end, line[index + 1] == 0x80, line[index + 2] == 0xA6 { symbols += 1 }
      if byte == 0x7B || byte == 0x7D { braces += 1 }
    }
    if hasLetter { alphabeticWords += 1 }
    var (from, to) = (start, end)
    while from < to, !Self.isLetter(line[from]) { from += 1 }
    while to > from, !Self.isLetter(line[to - 1]) { to -= 1 }
    if to - from <= 5, to > from {
      let hash = StableHash.hash((from..<to).lazy.map { line[$0] | 0x20 })
      if Self.stopWordHashes.contains(hash) {
        stopWords += 1
        stops.insert(hash)
      }
    }
    if to - from == 5, end + 6 <= line.count, StableHash.hash((from..<to).lazy.map { line[$0] | 0x20 }) == Self.lorem,
      line[(end + 1)..<(end + 6)].map({ $0 | 0x20 }) == Self.ipsum
    {
      hasPlaceholder = true
    }
  }

  private static func isLetter(_ byte: UInt8) -> Bool { byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A }

  private static let lorem = StableHash.hash("lorem")
  private static let ipsum = Array("ipsum".utf8)
  private static let stopWordHashes = Set(
    """
    the be to of and a in that have it for not on with he as you do at this but his by from they we say her she or an will
    my one all would there their what so up out if about who get which go me is are was were been has had can may
    must into than then them these its your only any no other when also such
    """.split(whereSeparator: \.isWhitespace).map { StableHash.hash(String($0)) })
}
