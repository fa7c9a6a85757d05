// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@Suite struct PathTextTests {
  /// A mark behind the slash makes one character of both; the kernel still sees two dots and a slash.
  @Test(arguments: ["../\u{301}x", "a/../\u{200D}x", "../\u{301}x/../\u{301}y", "..", "a/..", "a//b", "/a", "a/", "", "a/./b", "a\u{7F}", "a\nb"])
  func whatLeavesTheFolderIsSeen(_ path: String) { #expect(!PathText.isInside(path)) }

  @Test(arguments: ["a", "a/b", "..a", "a..", "é/\u{301}b", "a b/c%2F", "\u{301}"])
  func ordinaryNamesAreFine(_ path: String) { #expect(PathText.isInside(path)) }

  @Test func componentsAreSplitByBytes() {
    #expect(PathText.components("a/\u{301}b/") == ["a", "\u{301}b", ""])
  }
}
