// SPDX-License-Identifier: Apache-2.0

extension WordCounts {
  /// What stands for a space in SentencePiece's vocabularies: U+2581.
  static let spaceMark: [UInt8] = [0xE2, 0x96, 0x81]
  /// Longer words are counted in pieces: what has no spaces must not become one word of megabytes.
  private static let longestWord = 1024

  /// Cuts `text` in front of its spaces, as a Metaspace pre-tokenizer that always puts one in front does, and counts the pieces, spaces as U+2581.
  public mutating func addSpaced(_ text: String) {
    var text = text
    text.withUTF8 { bytes in
      var word: [UInt8] = []
      func isMark(_ place: Int) -> Bool { bytes.count - place >= 3 && bytes[place..<place + 3].elementsEqual(Self.spaceMark) }
      if let first = bytes.first, first != 0x20, !isMark(0) { word = Self.spaceMark }
      var place = 0
      while place < bytes.count {
        let isSpace = bytes[place] == 0x20
        if isSpace || isMark(place) {
          count(word)
          word = Self.spaceMark
          place += isSpace ? 1 : 3
          continue
        }
        if word.count >= Self.longestWord, bytes[place] & 0xC0 != 0x80 {
          count(word)
          word = []
        }
        word.append(bytes[place])
        place += 1
      }
      count(word)
    }
  }
}
