// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import Worker

/// Files that programs leave.
@Suite struct ArtifactTests {
  private func write(_ text: String, _ path: String) throws {
    let url = URL(fileURLWithPath: path)
    try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text.utf8).write(to: url)
  }

  @Test func filesAreKeptWithoutLinksAndOnce() throws {
    let folder = TemporaryDirectory("artifacts")
    let (left, place) = (folder.file("left"), folder.file("kept") + "/7/t/1")
    try write("one", left + "/a/b/one.txt")
    try write("two", left + "/.two")
    try write("secret", folder.file("secret/key"))
    try FileManager.default.createSymbolicLink(atPath: left + "/link", withDestinationPath: folder.file("secret/key"))
    try FileManager.default.createSymbolicLink(atPath: left + "/folder", withDestinationPath: folder.file("secret"))
    mkfifo(left + "/pipe", 0o600)
    #expect(try ProgramArtifacts.keep(left, at: place) == 2)
    func kept() -> [String] { (FileManager.default.enumerator(atPath: place)?.allObjects as? [String] ?? []).sorted() }
    #expect(kept() == [".two", "a", "a/b", "a/b/one.txt"])
    // The same attempt once more, on another worker.
    try FileManager.default.removeItem(atPath: left + "/a")
    #expect(try ProgramArtifacts.keep(left, at: place) == 1)
    #expect(kept() == [".two"])
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.file("kept") + "/7/t") == ["1"])
  }

  /// A hard link has the owner of what it links to. Only root can give a file away.
  @Test(.enabled(if: geteuid() == 0, "only root can make a file of another user")) func filesOfOthersAreNotKept() throws {
    let folder = TemporaryDirectory("others")
    let left = folder.file("left")
    try FileManager.default.createDirectory(atPath: left, withIntermediateDirectories: true)
    try write("own", left + "/own.txt")
    try write("secret", folder.file("secret"))
    #expect(chown(folder.file("secret"), 12345, 12345) == 0 && link(folder.file("secret"), left + "/linked.txt") == 0)
    #expect(try ProgramArtifacts.keep(left, at: folder.file("kept")) == 1)
    #expect(FileManager.default.fileExists(atPath: folder.file("kept/own.txt")) && !FileManager.default.fileExists(atPath: folder.file("kept/linked.txt")))
  }

  @Test func whatIsTooMuchIsNotKept() throws {
    let folder = TemporaryDirectory("artifacts")
    let empty = folder.file("empty")
    try FileManager.default.createDirectory(atPath: empty, withIntermediateDirectories: true)
    #expect(try ProgramArtifacts.keep(empty, at: folder.file("kept")) == 0)
    let many = folder.file("many")
    for number in 0...ProgramArtifacts.limit.files { try write("", "\(many)/\(number)") }
    let deep = folder.file("deep")
    try write("", deep + String(repeating: "/d", count: ProgramArtifacts.limit.depth + 1) + "/f")
    for left in [many, deep] {
      do {
        _ = try ProgramArtifacts.keep(left, at: folder.file("kept"))
        Issue.record("kept")
      } catch let error as PlatformError { #expect(error.number == "PLT-4470") }
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasPrefix("kept") }.isEmpty)
  }
}
