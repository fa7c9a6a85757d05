// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Jobs

/// Where files of jobs may come from.
@Suite struct GitSourceTests {
  private static let hash = String(repeating: "a", count: 40)

  @Test func aRepositoryHasOneReference() throws {
    let branch = try GitSource(["git_url": "https://example.org/a/b.git", "git_provider": "gitHub", "git_branch": "feature/x"])
    #expect(branch.reference.name == "refs/heads/feature/x" && !branch.isLocal)
    #expect(try GitSource(["git_url": "/srv/a", "git_tag": "v1.0"]).reference == .tag("v1.0"))
    #expect(try GitSource(["git_url": "https://git.example.org:8443/a", "git_commit": .string(Self.hash)]).reference.name == Self.hash)
    for bad: JSONValue in [
      [:], ["git_url": "https://x/a"], ["git_url": "https://x/a", "git_tag": "a", "git_branch": "b"], ["git_url": "https://x/a", "git_commit": "abc"],
      ["git_url": "https://x/a", "git_branch": "a", "git_brunch": "b"], "https://x/a",
    ] { #expect(throws: PlatformError.self, "\(bad)") { try GitSource(bad) } }
  }

  @Test(arguments: [
    "http://x/a", "ext::sh -c id", "file:///etc", "ssh://x/a", "git@x:a", "-u/x", "--upload-pack=id", "https://user:password@x/a", "https:///a",
    "https://:443/a", "https://x/a b", "https://x/a\n", "/srv/../etc", "relative/a", "",
  ])
  func addressesThatLeadElsewhereAreRefused(_ url: String) {
    #expect(throws: PlatformError.self) { try GitSource(["git_url": .string(url), "git_branch": "main"]) }
  }

  @Test(arguments: ["-x", "--upload-pack=id", "a..b", "a b", "a:b", "a~1", "a^", "@", "a@{1}", "/a", "a/", "a//b", ".a", "a/.b", "a.lock", "a\\b", "a*", ""])
  func namesAreThoseOfBranches(_ name: String) {
    #expect(!GitSource.isName(name))
    #expect(throws: PlatformError.self) { try GitSource(["git_url": "https://x/a", "git_branch": .string(name)]) }
  }

  @Test func pathsStayInside() {
    #expect(GitSource.path("./a/b.py") == "a/b.py" && GitSource.path("a.py") == "a.py")
    for bad in ["", "../a", "a/../b", "/a", "a//b", ".", "a\nb"] { #expect(GitSource.path(bad) == nil, "\(bad)") }
  }
}
