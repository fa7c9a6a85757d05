// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Worker

@Suite struct LineSplitterTests {
  @Test func linesArePutTogetherAndLongOnesCut() {
    var splitter = LineSplitter(limit: 5)
    var lines: [String] = []
    for piece in ["ab", "c\nde", "\n\n", "0123456789\nx"] {
      lines += Array(piece.utf8).withUnsafeBytes { splitter.feed($0) }.map { String(decoding: $0, as: UTF8.self) }
    }
    #expect(lines == ["abc", "de", "", "01234"])
    #expect(splitter.finish().map { String(decoding: $0, as: UTF8.self) } == "x")
  }
}
