// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Client

/// Cells of a result as commands show them.
@Suite struct CellTests {
  @Test func textsBecomeValuesOfTheirType() {
    #expect(PlatformClient.value(nil, "INT") == .null)
    #expect(PlatformClient.value("7", "LONG") == 7 && PlatformClient.value("1.5", "DOUBLE") == 1.5 && PlatformClient.value("true", "BOOLEAN") == true)
    // What JSON has no number for is no NULL.
    for text in ["NaN", "Infinity", "-Infinity"] { #expect(PlatformClient.value(text, "DOUBLE") == .string(text)) }
    #expect(PlatformClient.value("[1,null]", "ARRAY") == [1, .null] && PlatformClient.value("12.50", "DECIMAL") == "12.50")
  }
}
