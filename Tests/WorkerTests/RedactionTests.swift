// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Worker

/// Values of secrets do not stay in what a program leaves behind.
@Suite struct RedactionTests {
  @Test func valuesAndTheirLinesAreHiddenTheLongestFirst() {
    let redaction = Redaction(["hunter22", "hunter22-and-more", "first line\nsecond line", "ab"])
    #expect(redaction.text("a hunter22-and-more, hunter22! ab") == "a [REDACTED], [REDACTED]! ab")
    #expect(redaction.text("it says: second line.") == "it says: [REDACTED].")
    #expect(redaction.value(["k": ["hunter22", 5], "hunter22": "x"]) == ["k": ["[REDACTED]", 5], "[REDACTED]": "x"])
    #expect(Redaction(["", "abc"]).isEmpty && Redaction([]).text("abc") == "abc")
  }
}
