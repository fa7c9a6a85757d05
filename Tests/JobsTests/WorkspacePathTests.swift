// SPDX-License-Identifier: Apache-2.0

import Core
import Jobs
import Testing

@Suite struct WorkspacePathTests {
  @Test func bothSpellingsAreOnePath() throws {
    #expect(try WorkspacePath("/Workspace/Users/me/a/b.py") == WorkspacePath("/Users/me/a/b.py"))
    #expect(try WorkspacePath("/Workspace/Teams/a").description == "/Teams/a")
    for path in ["/Workspace/x", "/Repos/a/b/c.py", "/Users/me/a", "/Shared/a"] { #expect(WorkspacePath.isOne(path)) }
    for path in ["/Volumes/a/b/c/d", "Repos/a", "/Reposit/a", "git:a", "/Workspaces/a"] { #expect(!WorkspacePath.isOne(path)) }
  }

  @Test(arguments: ["", "a", "/", "/Workspace", "/Repos//a", "/Repos/../a", "/Repos/./a", "/Repos/a\u{0}", "/Repos/a\nb"])
  func whatLeadsElsewhereIsRefused(_ path: String) {
    #expect(throws: PlatformError.self) { try WorkspacePath(path) }
  }

  @Test func foldersHaveTheirPlaces() throws {
    for good in ["/Repos/a/b", "/Workspace/Repos/a/b", "/Users/me/a", "/Shared/a", "/Workspace/Teams/x/y"] {
      #expect(throws: Never.self) { try WorkspacePath(forFolder: good) }
    }
    for bad in ["/Repos/a", "/Repos/a/b/c", "/Users/me", "/a", "/Volumes/a/b/c", "/Workspace"] {
      #expect(throws: PlatformError.self) { try WorkspacePath(forFolder: bad) }
    }
  }

  @Test func aFolderHoldsWhatIsBelowIt() throws {
    let folder = try WorkspacePath("/Repos/a/b")
    let (inside, beside) = (try WorkspacePath("/Workspace/Repos/a/b/c/d.py"), try WorkspacePath("/Repos/a/bc/d.py"))
    #expect(folder.rest(of: inside) == "c/d.py" && folder.rest(of: folder) == "" && folder.rest(of: beside) == nil)
  }
}
