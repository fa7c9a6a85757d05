// SPDX-License-Identifier: Apache-2.0

import COnig
import Core

/// A compiled regular expression over UTF-8, in Oniguruma's syntax, which tokenizer files are written in.
final class Expression: @unchecked Sendable {  // compiled once, read-only after: searches keep their state apart
  let text: String
  private let compiled: OnigRegex

  /// - Throws: `invalidFile` (PLT-3301) with the library's reason.
  init(_ text: String) throws {
    self.text = text
    var message = [CChar](repeating: 0, count: Int(ONIG_MAX_ERROR_MESSAGE_LEN) + 1)
    let pattern = Array(text.utf8)
    let compiled = pattern.withUnsafeBufferPointer { pattern in
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 1) { none in
        po_compile(pattern.baseAddress ?? UnsafePointer(none.baseAddress!), pattern.count, &message)
      }
    }
    guard let compiled else {
      let reason = String(decoding: message.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
      throw PlatformError.unusableTokenizer("its expression '\(text.prefix(200))' is none: \(reason)")
    }
    self.compiled = compiled
  }

  deinit { onig_free(compiled) }

  /// Calls `body` for each match, from left to right. An empty match right behind another match is none; nothing is found any more where the
  /// library gives up, after ten million steps back in one match.
  func matches(_ text: UnsafeBufferPointer<UInt8>, _ body: (Range<Int>) -> Void) {
    guard let base = text.baseAddress else { return }
    var place = 0
    var last = -1
    while place <= text.count {
      var end = 0
      let start = po_find(compiled, base, text.count, place, &end)
      guard start >= 0 else { return }
      if start == end && end == last {
        place += place < text.count ? ScalarTable.decode(base, place).next - place : 1
        continue
      }
      place = end
      last = end
      body(start..<end)
    }
  }
}
