// SPDX-License-Identifier: Apache-2.0

import Console
import Foundation
import Testing

@Suite struct ConsoleAssetTests {
  @Test func everyFileOfThePageIsServedAndNothingComesFromElsewhere() throws {
    let texts = Dictionary(uniqueKeysWithValues: ConsoleAssets.all.map { ($0.path, String(decoding: $0.bytes, as: UTF8.self)) })
    let page = try #require(texts["/"])
    for reference in page.matches(of: /(?:src|href)="([^"]+)"/) {
      #expect(texts[String(reference.1)] != nil, "\(reference.1) is not among the assets")
    }
    for (path, text) in texts {
      for url in text.matches(of: /https?:\/\/[^\s"'`<>]+/) where !url.0.hasPrefix("http://www.w3.org/") {
        Issue.record("\(path) names another host: \(url.0)")
      }
      // Untrusted text must never become markup.
      #expect(!text.contains("innerHTML") && !text.contains("document.write"), "\(path)")
    }
    #expect(!page.contains("<script>") && !page.contains("style="), "the content policy allows no inline code")
  }
}
