// SPDX-License-Identifier: Apache-2.0

/// Where text can be cut in words for models that merge neighbours and mark words by a `▁` in front.
enum MarkedWords {
  static let mark = Array("▁".utf8)

  /// Whether a `▁` stands behind something else in it.
  static func crosses(_ text: [UInt8]) -> Bool {
    var found = false
    text.withUnsafeBufferPointer { text in
      var start = 0
      words(text) { range in
        if range.lowerBound > start { found = true }
        start = range.lowerBound
      }
    }
    return found
  }

  /// Calls `body` with pieces of the text from left to right: cut in front of each `▁` that stands behind something else.
  @inline(__always) static func words(_ text: UnsafeBufferPointer<UInt8>, _ body: (Range<Int>) -> Void) {
    guard let base = text.baseAddress else { return }
    var start = 0
    var place = 0
    var isBehindMark = true
    while place < text.count {
      if base[place] == 0xE2, place + 2 < text.count, base[place + 1] == 0x96, base[place + 2] == 0x81 {
        if !isBehindMark {
          body(start..<place)
          start = place
        }
        isBehindMark = true
        place += 3
      } else {
        isBehindMark = false
        place += 1
      }
    }
    if start < text.count { body(start..<text.count) }
  }
}
