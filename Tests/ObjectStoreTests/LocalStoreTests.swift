// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import TestSupport
import Testing

@Suite struct LocalStoreTests {
  /// Whether strace can attach to a process that runs already.
  private static let canTrace: Bool = {
    guard let watched = try? Program("/bin/sleep", ["0.5"]) else { return false }
    return ends("/usr/bin/strace", ["-q", "-o", "/dev/null", "-p", String(watched.processID)])
  }()

  private static let canMount: Bool = {
    let folder = TemporaryDirectory("mount")
    return ends("/bin/mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", folder.path]) && ends("/bin/umount", [folder.path])
  }()

  /// Whether the command is there and ends with 0.
  private static func ends(_ command: String, _ arguments: [String]) -> Bool {
    (try? Program.run(command, arguments))?.status == 0  // a program that is not there is the answer
  }

  @Test func symbolicLinksAreRefused() throws {
    let folder = TemporaryDirectory("store")
    let store = try LocalObjectStore(root: folder.file("root"))
    try FileManager.default.createSymbolicLink(atPath: folder.file("root/out"), withDestinationPath: "/etc")
    #expect(code { _ = try store.get(ObjectPath("out/passwd")) } == .permissionDenied)
    #expect(code { try store.put(ObjectPath("out/canary"), Data()) } == .permissionDenied)
    #expect(code { try store.delete(ObjectPath("out/passwd")) } == .permissionDenied)
    #expect(code { _ = try store.download(ObjectPath("out/passwd"), to: folder.file("x")) } == .permissionDenied)
    #expect(try store.list(nil).isEmpty)
  }

  /// The folder was removed and made anew by somebody else while the store knew it.
  @Test func foldersThatVanishAreMadeAgain() throws {
    let folder = TemporaryDirectory("store")
    let store = try LocalObjectStore(root: folder.path)
    for _ in 0..<2 {
      try store.put(ObjectPath("a/b/c"), Data("x".utf8))
      #expect(try store.get(ObjectPath("a/b/c")) == Data("x".utf8))
      try FileManager.default.removeItem(atPath: folder.file("a"))
      try store.putIfAbsent(ObjectPath("a/b/c"), Data("y".utf8))
      #expect(try store.get(ObjectPath("a/b/c")) == Data("y".utf8))
      try FileManager.default.removeItem(atPath: folder.file("a"))
    }
    try store.put(ObjectPath("file"), Data())
    #expect(code { try store.put(ObjectPath("file/below"), Data()) } != nil)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["file"])
  }

  /// Every folder on the way to a new object is synced, also when a process that died before the sync had made it: as told by strace.
  @Test(.enabled(if: canTrace, "no strace, or it may not look into processes here"))
  func foldersThatAreThereAreSyncedToo() throws {
    let folder = TemporaryDirectory("store")
    try FileManager.default.createDirectory(atPath: folder.file("a/b"), withIntermediateDirectories: true)
    let trace = try Program(
      "/usr/bin/strace", ["-f", "-y", "-e", "trace=fsync", "-o", folder.file("trace"), "-p", String(ProcessInfo.processInfo.processIdentifier)])
    // It may have inherited a mask without SIGTERM, and would trace all tests that follow.
    defer {
      trace.signal(SIGKILL)
      trace.wait()
    }
    // strace has attached when it shows a call that is made for it.
    let deadline = ContinuousClock.now + .seconds(10)
    while (try? String(contentsOfFile: folder.file("trace"), encoding: .utf8))?.isEmpty ?? true, ContinuousClock.now < deadline {
      let descriptor = open(folder.path, O_RDONLY | O_DIRECTORY)
      fsync(descriptor)
      close(descriptor)
    }
    try LocalObjectStore(root: folder.path).put(ObjectPath("a/b/c"), Data("x".utf8))
    let text = try String(contentsOfFile: folder.file("trace"), encoding: .utf8)
    for place in [folder.path, folder.file("a"), folder.file("a/b")] { #expect(text.contains("<\(place)>"), "\(place) was not synced") }
  }

  @Test(.enabled(if: canMount, "only root with the right to mount can make a small disk")) func fullDiskShowsNothingHalfWritten() throws {
    let folder = TemporaryDirectory("full")
    try #require(Self.ends("/bin/mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", folder.path]))
    defer { _ = Self.ends("/bin/umount", [folder.path]) }
    let store = try LocalObjectStore(root: folder.path)
    try store.put(ObjectPath("small"), Data("kept".utf8))
    let large = Data(count: 3 << 20)
    #expect(code { try store.put(ObjectPath("large"), large) } == .resourceExhausted)
    #expect(code { try store.putIfAbsent(ObjectPath("new"), large) } == .resourceExhausted)
    #expect(code { try store.put(ObjectPath("small"), large) } == .resourceExhausted)
    #expect(try store.list(nil).map(\.path.text) == ["small"])
    #expect(try store.get(ObjectPath("small")) == Data("kept".utf8))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["small"])
  }
}
