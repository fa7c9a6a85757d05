// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// The character map of SentencePiece (`precompiled_charsmap`): a double array of keys, and the texts that they become.
struct PrecompiledMap: Sendable {
  private let units: [UInt32]
  private let texts: [UInt8]
  /// Bytes of the longest text that something becomes; at least 1.
  let longestText: Int
  /// ASCII characters that stay as they are when another ASCII character is behind them, or nothing.
  private(set) var stays = [Bool](repeating: false, count: 128)

  /// - Throws: `invalidFile` (PLT-3301) for what is no such map.
  init(base64: String) throws {
    guard let data = Data(base64Encoded: base64) else { throw Self.damaged() }
    try self.init([UInt8](data))
  }

  private static func damaged() -> PlatformError { PlatformError.unusableTokenizer("its precompiled_charsmap is damaged") }

  /// - Throws: as above.
  init(_ data: [UInt8]) throws {
    guard data.count >= 4 else { throw Self.damaged() }
    func word(_ place: Int) -> UInt32 { (0..<4).reduce(0) { $0 | UInt32(data[place + $1]) << (8 * $1) } }
    let size = Int(word(0))
    guard size % 4 == 0, size > 0, size <= data.count - 4 else { throw Self.damaged() }
    units = (0..<size / 4).map { word(4 + 4 * $0) }
    texts = Array(data[(4 + size)...])
    longestText = max(1, texts.split(separator: 0).map(\.count).max() ?? 1)
    for byte in UInt8(0)..<128 {
      stays[Int(byte)] = byte != 0 && (UInt8(0)..<128).allSatisfy { !begins([byte, $0]) }
    }
  }

  /// Whether a key is the first of the bytes, or what begins with both.
  private func begins(_ bytes: [UInt8]) -> Bool {
    guard let root = units.first else { return false }
    var node = Self.offset(root)
    for byte in bytes {
      node ^= Int(byte)
      guard node < units.count else { return false }
      let unit = units[node]
      guard unit & 0x8000_00FF == UInt32(byte) else { return false }
      node ^= Self.offset(unit)
      if unit >> 8 & 1 == 1 { return true }
    }
    return true
  }

  func append(_ text: [UInt8], to out: inout [UInt8]) {
    var place = 0
    while place < text.count {
      // Between two ASCII characters there is always the end of what is seen as one, but for a line end of two.
      func endsBehind(_ index: Int) -> Bool {
        text[index] < 0x80 && (index + 1 == text.count || (text[index + 1] < 0x80 && !(text[index] == 0x0D && text[index + 1] == 0x0A)))
      }
      if endsBehind(place), stays[Int(text[place])] {
        out.append(text[place])
        place += 1
        continue
      }
      var end = place
      while !endsBehind(end), end + 1 < text.count { end += 1 }
      appendCharacters(text[place...end], to: &out)
      place = end + 1
    }
  }

  private func appendCharacters(_ text: ArraySlice<UInt8>, to out: inout [UInt8]) {
    for character in String(decoding: text, as: UTF8.self) {
      let bytes = Array(character.utf8)
      if bytes.count < 6, let found = replacement(bytes) {
        out += found
        continue
      }
      for scalar in character.unicodeScalars {
        let own = Array(UTF8.encode(scalar)!)  // a scalar of a String always has a form
        out += replacement(own) ?? own[...]
      }
    }
  }

  private static func offset(_ unit: UInt32) -> Int { Int((unit >> 10) << ((unit & (1 << 9)) >> 6)) }

  /// The longest key that the text from `start` on begins with, by its length, and what it becomes.
  func longest(_ text: UnsafeBufferPointer<UInt8>, from start: Int) -> (count: Int, text: ArraySlice<UInt8>)? {
    guard let root = units.first else { return nil }
    var node = Self.offset(root)
    var found: (count: Int, text: Int)?
    for place in start..<text.count {
      node ^= Int(text[place])
      guard node < units.count else { break }
      let unit = units[node]
      guard unit & 0x8000_00FF == UInt32(text[place]) else { break }
      node ^= Self.offset(unit)
      guard unit >> 8 & 1 == 1 else { continue }
      guard node < units.count else { break }
      found = (place + 1 - start, Int(units[node] & 0x7FFF_FFFF))
    }
    guard let found, found.text <= texts.count else { return nil }
    return (found.count, texts[found.text...].prefix { $0 != 0 })
  }

  /// What the shortest key that `bytes` begin with becomes: the reference takes that one, whatever is behind it.
  private func replacement(_ bytes: [UInt8]) -> ArraySlice<UInt8>? {
    guard let root = units.first else { return nil }
    var node = Self.offset(root)
    for byte in bytes where byte != 0 {
      node ^= Int(byte)
      guard node < units.count else { return nil }
      let unit = units[node]
      guard unit & 0x8000_00FF == UInt32(byte) else { return nil }
      node ^= Self.offset(unit)
      guard unit >> 8 & 1 == 1 else { continue }
      guard node < units.count else { return nil }
      let start = Int(units[node] & 0x7FFF_FFFF)
      guard start <= texts.count else { return nil }
      return texts[start...].prefix { $0 != 0 }
    }
    return nil
  }
}
