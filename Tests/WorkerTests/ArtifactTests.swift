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
