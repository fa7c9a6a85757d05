// SPDX-License-Identifier: Apache-2.0

/// Turns ids into text as they come, holding back the bytes of a character that is not complete yet.
///
/// The pieces joined are what decoding all ids at once gives. (One case apart: of byte tokens in a row that are no UTF-8 together, those that
/// were characters so far stay characters.)
public struct StreamingDecoder: Sendable {
  private let tokenizer: any Tokenizer
  private let skipSpecialTokens: Bool
  private var pending: [UInt8] = []
  /// Where ids change each other's text: the last ids whose text is out, and those whose text is not.
  private var window: [Int32] = []
  private var settled = 0
  /// Ids whose text is held back at most, so that ids that never make a character cost no more than others.
  private static let longestWait = 8
  /// How many ids that only make white space are kept to be told from the begin of a text, where it may be dropped.
  private static let longestSpace = 64

  public init(_ tokenizer: any Tokenizer, skipSpecialTokens: Bool = true) {
    self.tokenizer = tokenizer
    self.skipSpecialTokens = skipSpecialTokens
  }

  /// The text that `id` completes; empty while a character is under way.
  public mutating func push(_ id: Int32) -> String {
    if skipSpecialTokens && tokenizer.isSpecial(id) { return "" }
    guard tokenizer.decodesApart else { return pushTogether(id) }
    guard let bytes = tokenizer.bytes(id) else { return "" }
    pending += bytes
    let kept = Self.incompleteSuffix(pending)
    guard kept < pending.count else { return "" }
    let text = String(decoding: pending[..<(pending.count - kept)], as: UTF8.self)
    pending.removeFirst(pending.count - kept)
    return text
  }

  /// What is left at the end; an incomplete character becomes U+FFFD.
  public mutating func finish() -> String {
    guard tokenizer.decodesApart else {
      defer { (window, settled) = ([], 0) }
      return unsettled()
    }
    defer { pending = [] }
    return String(decoding: pending, as: UTF8.self)
  }

  private mutating func pushTogether(_ id: Int32) -> String {
    window.append(id)
    let text = unsettled()
    // The end of it may still become another character, though not after more ids than a character has bytes.
    guard window.count - settled > Self.longestWait || (!text.isEmpty && text.unicodeScalars.last != "\u{FFFD}") else { return "" }
    // What the window begins with is treated as the begin of a text: white space may be left out there, and so it is behind something.
    if window.count > Self.longestSpace || decoded(window[settled...]).contains(where: { !$0.isWhitespace }) { window.removeFirst(settled) }
    settled = window.count
    return text
  }

  /// The text of the ids whose text is not out, behind that of the others.
  private func unsettled() -> String {
    String(decoding: Array(decoded(window[...]).utf8.dropFirst(decoded(window[..<settled]).utf8.count)), as: UTF8.self)
  }

  private func decoded(_ ids: ArraySlice<Int32>) -> String { tokenizer.decode(Array(ids), skipSpecialTokens: skipSpecialTokens) }

  /// How many bytes at the end may still become a character (0...3).
  static func incompleteSuffix(_ bytes: [UInt8]) -> Int {
    for back in 1...3 where back <= bytes.count {
      let byte = bytes[bytes.count - back]
      if byte & 0xC0 == 0x80 { continue }
      let needed = byte >= 0xF0 ? (byte <= 0xF4 ? 4 : 1) : byte >= 0xE0 ? 3 : byte >= 0xC2 ? 2 : 1
      guard needed > back else { return 0 }
      if back >= 2 {  // the second byte narrows what some first bytes may start
        let second = bytes[bytes.count - back + 1]
        switch byte {
        case 0xE0 where second < 0xA0, 0xED where second > 0x9F, 0xF0 where second < 0x90, 0xF4 where second > 0x8F: return 0
        default: break
        }
      }
      return back
    }
    return 0
  }
}
