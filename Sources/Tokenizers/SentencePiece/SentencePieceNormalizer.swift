// SPDX-License-Identifier: Apache-2.0

/// What becomes of text before SentencePiece cuts it: its character map, and its ways with white space.
struct SentencePieceNormalizer: Sendable {
  static let mark = Array("▁".utf8)

  private let map: PrecompiledMap?
  private let addsSpace: Bool
  private let removesExtraSpaces: Bool
  private let putsSpaceBehind: Bool
  private let space: [UInt8]
  /// Symbols that stay as they are.
  private let kept: ByteTrie
  /// ASCII characters that become themselves when another ASCII character is behind them, or nothing.
  private let isPlain: [Bool]

  /// - Throws: `invalidFile` (PLT-3301) for a damaged map.
  init(_ file: SentencePieceFile) throws {
    map = file.characterMap.isEmpty ? nil : try PrecompiledMap(file.characterMap)
    addsSpace = file.addsSpace
    removesExtraSpaces = file.removesExtraSpaces
    putsSpaceBehind = file.putsSpaceBehind
    space = file.escapesSpaces ? Self.mark : [0x20]
    let kept = ByteTrie(file.pieces.enumerated().compactMap { $1.kind == .userDefined ? ($1.text, Int32($0)) : nil })
    self.kept = kept
    let map = map
    isPlain = (UInt8(0)..<128).map { !kept.hasEntry(beginningWith: $0) && (map?.stays[Int($0)] ?? true) }
  }

  /// - Parameters:
  ///   - text: valid UTF-8.
  ///   - isStart: whether the space that stands for the begin of a text may be put before it.
  func apply(_ text: UnsafeBufferPointer<UInt8>, isStart: Bool = true) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(text.count + text.count / 2 + 3)
    var place = 0
    if removesExtraSpaces {
      while place < text.count {
        let (piece, next) = step(text, place)
        guard piece.map({ $0 == [0x20] }) ?? (next == place + 1 && text[place] == 0x20) else { break }
        place = next
      }
    }
    guard place < text.count else { return [] }
    if addsSpace && isStart && !putsSpaceBehind { out += space }
    var isBehindSpace = removesExtraSpaces
    func put(_ piece: some BidirectionalCollection<UInt8>) {
      var last: UInt8?
      for byte in piece where !(isBehindSpace && last == nil && byte == 0x20) {
        if byte == 0x20 { out += space } else { out.append(byte) }
        last = byte
      }
      if let last { isBehindSpace = last == 0x20 }
      if !removesExtraSpaces { isBehindSpace = false }
    }
    while place < text.count {
      let byte = text[place]
      if byte < 0x80, isPlain[Int(byte)], place + 1 == text.count || text[place + 1] < 0x80 {
        place += 1
        if byte != 0x20 {
          out.append(byte)
          isBehindSpace = false
        } else if !isBehindSpace {
          out += space
          isBehindSpace = removesExtraSpaces
        }
        continue
      }
      let (piece, next) = step(text, place)
      if let piece { put(piece) } else { put(text[place..<next]) }
      place = next
    }
    if removesExtraSpaces {
      while out.count >= space.count, out[(out.count - space.count)...].elementsEqual(space) { out.removeLast(space.count) }
    }
    if addsSpace && isStart && putsSpaceBehind { out += space }
    return out
  }

  /// What the text from `place` on begins with becomes, nil for itself, and where the rest begins.
  private func step(_ text: UnsafeBufferPointer<UInt8>, _ place: Int) -> (ArraySlice<UInt8>?, next: Int) {
    var longest = 0
    kept.prefixes(text, from: place) { length, _ in longest = length }
    if longest > 0 { return (nil, place + longest) }
    if let (count, found) = map?.longest(text, from: place) { return (found, place + count) }
    return (nil, ScalarTable.decode(text.baseAddress!, place).next)  // the text is not empty here
  }
}
