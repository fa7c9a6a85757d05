// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Pipelines
import TestSupport
import Testing

@testable import Coordinator

/// Folders of a commit, as tasks take them.
@Suite struct GitTreeTests {
  @Test func allFilesOfAFolderAreReadAndNoLinks() async throws {
    let folder = TemporaryDirectory("gittree")
    let place = folder.file("repository")
    var environment = ProcessInfo.processInfo.environment
    environment.merge(["GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": folder.path]) { $1 }
    for who in ["AUTHOR", "COMMITTER"] { environment.merge(["GIT_\(who)_NAME": "t", "GIT_\(who)_EMAIL": "t@example.org"]) { $1 } }
    func git(_ words: String...) throws -> String {
      let answer = try Program.run("/usr/bin/env", ["git", "-C", place] + words, environment: environment, timeout: 60)
      #expect(answer.status == 0, "\(answer.all)")
      return answer.out.trimmingCharacters(in: .whitespacesAndNewlines)
    }
    let files: [String: Data] = [
      "shop/dbt_project.yml": Data("name: shop".utf8), "shop/models/a b/é.sql": Data("select {{ 1 }}".utf8), "shop/seeds/x.bin": Data([0, 255, 1]),
      "other.txt": Data("other".utf8),
    ]
    for (path, data) in files {
      let url = URL(fileURLWithPath: "\(place)/\(path)")
      try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try data.write(to: url)
    }
    try FileManager.default.createSymbolicLink(atPath: "\(place)/shop/link", withDestinationPath: "/etc/passwd")
    _ = try git("init", "-q", "-b", "main")
    _ = try git("add", "-A")
    _ = try git("commit", "-q", "-m", "x")
    let commit = try git("rev-parse", "HEAD")

    try await GitCommand.use(below: folder.path, isLocal: true, for: "the test") { command in
      let tree = GitTree(git: command, repository: place, commit: commit, origin: "the test")
      let shop = try await tree.files(below: "shop/")
      #expect(shop.all.map(\.path) == ["dbt_project.yml", "models/a b/é.sql", "seeds/x.bin"])
      for (path, data) in shop.all { #expect(data == files["shop/\(path)"], "\(path)") }
      #expect(Set(try await tree.files(below: ".").all.map(\.path)) == Set(files.keys))
      // As it travels with the run.
      #expect(try ProgramFiles(parsing: shop.text).all.map(\.data) == shop.all.map(\.data))
      for path in ["none", "other.txt", "../x", "shop/link", "--help"] {
        do {
          _ = try await tree.files(below: path)
          Issue.record("not refused: \(path)")
        } catch let error as PlatformError { #expect(error.number == "PLT-4347", "\(path): \(error)") }
      }
    }
  }

  @Test func foldersHaveALimitAndStayInside() throws {
    var files = ProgramFiles()
    for path in ["../a", "/a", "a//b", ""] { #expect(throws: PlatformError.self) { try files.add(path, Data()) } }
    for number in 0..<ProgramFiles.limit.files { try files.add("f\(number)", Data("x".utf8)) }
    #expect(throws: PlatformError.self) { try files.add("one more", Data()) }
    var large = ProgramFiles()
    #expect(throws: PlatformError.self) { try large.add("a", Data(count: ProgramFiles.limit.bytes + 1)) }
    #expect(throws: PlatformError.self) { _ = try ProgramFiles(parsing: #"{"texts": {"../a": ""}, "binaries": {}}"#) }
  }
}
