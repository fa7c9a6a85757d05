// SPDX-License-Identifier: Apache-2.0

/// Distinct words with their counts as the trainer of Unigram vocabularies sees them: cut at characters that have no entry of their own, and where they
/// are very long. The order is that of the words' bytes, whatever the order in which they were counted.
struct UnigramCorpus {
  /// Characters of a piece at most; also what bounds the numbers of a lattice.
  private static let longestPiece = 64
  /// Characters of all distinct words together; the rarest words beyond are left out.
  static let characterLimit = 4_000_000

  /// All pieces, one behind the other.
  let text: [UInt8]
  /// Where each piece begins, and where the last one ends.
  let starts: [Int]
  let frequencies: [Int]
  /// Characters that have an entry, with how often they occur.
  let alphabet: [(character: [UInt8], count: Int)]

  var count: Int { frequencies.count }

  /// - Parameters:
  ///   - always: characters that have an entry in any case.
  ///   - coverage: the share of all characters' occurrences that the alphabet makes up.
  ///   - most: characters that the alphabet may have.
  init(_ counts: WordCounts, always: [UInt8] = [], coverage: Double, most: Int) {
    var words: [(bytes: [UInt8], count: Int)] = (0..<counts.count).map { counts.withWord($0) { (Array($0), $1) } }
    words.sort { $0.count != $1.count ? $0.count > $1.count : $0.bytes.lexicographicallyPrecedes($1.bytes) }
    var characters: [UInt32: Int] = [:]
    var total = 0
    var kept = 0
    for (bytes, count) in words {
      let before = total
      Self.characters(bytes) { range in
        characters[Self.key(bytes[range]), default: 0] += count
        total += 1
      }
      guard total <= Self.characterLimit || kept == 0 else {
        // The word's characters do not count either.
        Self.characters(bytes) { characters[Self.key(bytes[$0])]? -= count }
        total = before
        break
      }
      kept += 1
    }
    words.removeSubrange(kept...)
    words.sort { $0.bytes.lexicographicallyPrecedes($1.bytes) }

    let occurrences = Double(characters.values.reduce(0, +))
    var covered = 0.0
    var alphabet: [(character: [UInt8], count: Int)] = []
    Self.characters(always) { range in
      let key = Self.key(always[range])
      let count = characters.removeValue(forKey: key) ?? 0
      covered += Double(count)
      alphabet.append((Array(always[range]), max(count, 1)))
    }
    for (key, count) in characters.sorted(by: { $0.value != $1.value ? $0.value > $1.value : $0.key < $1.key }) {
      guard count > 0, alphabet.count < most, covered < coverage * occurrences else { break }
      covered += Double(count)
      alphabet.append((Self.bytes(key), count))
    }
    let known = Set(alphabet.map { Self.key($0.character[...]) })

    var text: [UInt8] = []
    var starts = [0]
    var frequencies: [Int] = []
    for (bytes, count) in words {
      var length = 0
      func close() {
        if text.count > starts[starts.count - 1] {
          starts.append(text.count)
          frequencies.append(count)
        }
        length = 0
      }
      Self.characters(bytes) { range in
        guard known.contains(Self.key(bytes[range])) else { return close() }
        if length == Self.longestPiece { close() }
        text += bytes[range]
        length += 1
      }
      close()
    }
    (self.text, self.starts, self.frequencies, self.alphabet) = (text, starts, frequencies, alphabet)
  }

  /// Calls `body` with the bytes of each character of valid UTF-8.
  static func characters(_ bytes: [UInt8], _ body: (Range<Int>) -> Void) {
    var start = 0
    while start < bytes.count {
      var end = start + 1
      while end < bytes.count, bytes[end] & 0xC0 == 0x80 { end += 1 }
      body(start..<end)
      start = end
    }
  }

  /// A character's bytes as one number, which orders as its bytes do among characters of one length.
  private static func key(_ bytes: ArraySlice<UInt8>) -> UInt32 { bytes.prefix(4).reduce(0) { $0 << 8 | UInt32($1) } }
  private static func bytes(_ key: UInt32) -> [UInt8] {
    let bytes = [UInt8(key >> 24), UInt8(key >> 16 & 255), UInt8(key >> 8 & 255), UInt8(key & 255)]
    return Array(bytes.drop { $0 == 0 }.isEmpty ? [0] : bytes.drop { $0 == 0 })
  }
}
