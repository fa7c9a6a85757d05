// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import API

@Suite struct VolumeListingTests {
  @Test func pagesFollowEachOtherAndOtherTokensAreRefused() throws {
    let folder = TemporaryDirectory("listing")
    for name in ["a", "b c", "ü"] { try Data("x".utf8).write(to: URL(fileURLWithPath: folder.path + "/" + name)) }
    var token: String?
    var names: [String] = []
    repeat {
      let page = try VolumeFile.list(folder.path, shown: "/Volumes/x", token: token, limit: 1)
      names += page.contents.map(\.name)
      token = page.nextPageToken
    } while token != nil
    #expect(names == ["a", "b c", "ü"])
    for bad in ["bogus", "!", "/////w==", ""] {
      #expect { try VolumeFile.list(folder.path, shown: "/Volumes/x", token: bad, limit: 1) } throws: { ($0 as? PlatformError)?.code == .invalidArgument }
    }
  }
}
