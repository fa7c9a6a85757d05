// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Synchronization
import TestSupport
import Testing

/// One suite for every implementation.
@Suite struct ConformanceTests {
  enum Kind: CaseIterable { case memory, local }

  func withStore(_ kind: Kind, _ body: (any ObjectStorage) throws -> Void) throws {
    let folder = TemporaryDirectory("store")
    try body(kind == .memory ? InMemoryObjectStore() : try LocalObjectStore(root: folder.path))
    withExtendedLifetime(folder) {}
  }

  func code(_ body: () throws -> Void) -> PlatformError.Code? {
    do {
      try body()
      return nil
    } catch { return PlatformError.from(error).code }
  }

  @Test(arguments: Kind.allCases) func objectsComeBack(_ kind: Kind) throws {
    try withStore(kind) { store in
      let path = try ObjectPath("a/b/c.json")
      #expect(code { _ = try store.get(path) } == .notFound)
      #expect(try store.head(path) == nil)
      try store.put(path, Data("hello".utf8))
      #expect(try store.get(path) == Data("hello".utf8))
      #expect(try store.get(path, range: 1..<3) == Data("el".utf8))
      #expect(try store.get(path, range: 3..<99) == Data("lo".utf8))
      #expect(code { _ = try store.get(path, range: 6..<7) } == .invalidArgument)
      #expect(try store.head(path)?.size == 5)
      try store.put(path, Data())
      #expect(try store.get(path).isEmpty)
      try store.delete(path)
      try store.delete(path)
      #expect(try store.head(path) == nil)
    }
  }

  @Test(arguments: Kind.allCases) func putIfAbsentHasOneWinner(_ kind: Kind) throws {
    try withStore(kind) { store in
      let path = try ObjectPath("log/1.json")
      let winners = Mutex<[Int]>([])
      DispatchQueue.concurrentPerform(iterations: 16) { index in
        if code({ try store.putIfAbsent(path, Data("\(index)".utf8)) }) == nil { winners.withLock { $0.append(index) } }
      }
      let won = winners.withLock { $0 }
      #expect(won.count == 1)
      #expect(try store.get(path) == Data("\(won[0])".utf8))
      #expect(code { try store.putIfAbsent(path, Data()) } == .alreadyExists)
      #expect(try store.list(nil).count == 1)
    }
  }

  @Test(arguments: Kind.allCases) func listsAreOrderedAndBelowTheFolder(_ kind: Kind) throws {
    try withStore(kind) { store in
      for name in ["t/b", "t/a/x", "t2/c", "t/a.b", "é/ü"] { try store.put(ObjectPath(name), Data(name.utf8)) }
      #expect(try store.list(ObjectPath("t")).map(\.path.text) == ["t/a.b", "t/a/x", "t/b"])
      #expect(try store.list(nil).map(\.path.text) == ["t/a.b", "t/a/x", "t/b", "t2/c", "é/ü"])
      #expect(try store.list(ObjectPath("none")).isEmpty)
    }
  }

  @Test(arguments: [
    "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\\b", "../\u{301}x", "a/../\u{200D}x", "a\u{0}b", "a\nb", String(repeating: "x", count: 256),
  ])
  func namesThatLeaveTheRootAreRefused(_ text: String) { #expect(code { _ = try ObjectPath(text) } == .invalidArgument) }

  @Test func symbolicLinksAreRefused() throws {
    let folder = TemporaryDirectory("store")
    let store = try LocalObjectStore(root: folder.file("root"))
    try FileManager.default.createSymbolicLink(atPath: folder.file("root/out"), withDestinationPath: "/etc")
    #expect(code { _ = try store.get(ObjectPath("out/passwd")) } == .permissionDenied)
    #expect(code { try store.put(ObjectPath("out/canary"), Data()) } == .permissionDenied)
    #expect(code { try store.delete(ObjectPath("out/passwd")) } == .permissionDenied)
    #expect(try store.list(nil).isEmpty)
  }

  @Test func fullDiskShowsNothingHalfWritten() throws {
    let folder = TemporaryDirectory("full")
    let mount = Process()
    mount.executableURL = URL(fileURLWithPath: "/bin/mount")
    mount.arguments = ["-t", "tmpfs", "-o", "size=1m", "tmpfs", folder.path]
    mount.standardError = FileHandle.nullDevice
    try mount.run()
    mount.waitUntilExit()
    guard mount.terminationStatus == 0 else { return }  // only root with mount rights can make a small disk
    defer {
      let unmount = Process()
      unmount.executableURL = URL(fileURLWithPath: "/bin/umount")
      unmount.arguments = [folder.path]
      try? unmount.run()  // a mount left behind disappears with the machine
      unmount.waitUntilExit()
    }
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
