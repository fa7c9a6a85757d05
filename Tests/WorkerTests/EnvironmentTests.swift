// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Glibc
import Pipelines
import Testing

@testable import Worker

/// Python environments of a machine: what names them, who may use them, what is removed.
@Suite struct EnvironmentTests {
  private static let interpreter = PythonInterpreter(path: "/usr/bin/python3", version: "3.11.2", platform: "linux-x86_64")
  private static let hash = String(repeating: "a", count: 64)

  private func withCache(limit: Int64 = 1 << 30, _ body: (EnvironmentCache) throws -> Void) throws {
    let root = NSTemporaryDirectory() + "environments-\(UUID().uuidString)"
    let cache = EnvironmentCache(root: root, limitBytes: limit)
    try cache.create()
    try cache.create()
    defer { try? FileManager.default.removeItem(atPath: root) }
    try body(cache)
  }

  private func record(_ folder: String, bytes: Int64 = 1) -> EnvironmentCache.Record {
    .init(folder: folder, lock: PythonLock(python: "3.11.2", platform: "p", packages: []), bytes: bytes)
  }

  private func key(_ letter: Character) -> String { String(repeating: letter, count: 40) }

  @Test func anEnvironmentIsNamedByAllThatItIsMadeOf() {
    let base = PythonEnvironment(name: "a", requirements: ["six", "--pre"], wheels: [.init(name: "x-1-py3-none-any.whl", sha256: Self.hash, path: "/a")])
    let key = base.key(on: Self.interpreter)
    #expect(key.utf8.count == 40 && key.allSatisfy(\.isHexDigit))
    var other = base
    (other.name, other.requirements, other.wheels[0].path) = ("b", ["--pre", "six"], "/b")
    #expect(other.key(on: Self.interpreter) == key && other.digest == base.digest)
    other.requirements = ["six==1"]
    #expect(other.key(on: Self.interpreter) != key)
    other = base
    other.wheels[0].sha256 = String(repeating: "b", count: 64)
    #expect(other.key(on: Self.interpreter) != key)
    for changed in [
      PythonInterpreter(path: "/opt/python3", version: "3.11.2", platform: "linux-x86_64"),
      PythonInterpreter(path: "/usr/bin/python3", version: "3.12.0", platform: "linux-x86_64"),
      PythonInterpreter(path: "/usr/bin/python3", version: "3.11.2", platform: "linux-aarch64"),
    ] { #expect(base.key(on: changed) != key) }
    other = base
    other.lock = PythonLock(python: "3.11.2", platform: "linux-x86_64", packages: [.init(name: "six", version: "1", sha256: Self.hash)])
    #expect(other.key(on: Self.interpreter) == key && other.key(on: Self.interpreter, isLocked: true) != key)
  }

  @Test func aLockIsReadFromPipsReport() throws {
    let report = try JSONValue(
      parsing: """
        {"install": [
          {"metadata": {"name": "six", "version": "1.17.0"}, "is_direct": false,
           "download_info": {"url": "https://x/six.whl", "archive_info": {"hash": "sha256=\(Self.hash)"}}},
          {"metadata": {"name": "mine", "version": "1.0"}, "is_direct": true, "download_info": {"url": "file:///w/mine-1.0-py3-none-any.whl"}},
          {"metadata": {"name": "Big", "version": "2+cpu"}, "is_direct": true,
           "download_info": {"url": "https://x/big.whl", "archive_info": {"hashes": {"sha256": "\(Self.hash)"}}}}]}
        """)
    let wheels = [PythonEnvironment.Wheel(name: "mine-1.0-py3-none-any.whl", sha256: Self.hash)]
    let lock = try PythonLock(report: report, requirements: ["six", "--index-url https://x"], wheels: wheels, on: Self.interpreter)
    #expect(lock.packages.map(\.name) == ["Big", "six"])
    #expect(
      lock.requirements(on: Self.interpreter) == [
        "--index-url https://x", "Big @ https://x/big.whl --hash=sha256:\(Self.hash)", "six==1.17.0 --hash=sha256:\(Self.hash)",
      ])
    // Another machine needs other files of the same versions.
    let other = PythonInterpreter(path: "/usr/bin/python3", version: "3.12.1", platform: "linux-aarch64")
    #expect(lock.requirements(on: other).last == "six==1.17.0")
    for bad in [
      #"{}"#, #"{"install": [{"metadata": {"name": "a b", "version": "1"}}]}"#, #"{"install": [{"metadata": {"name": "a", "version": "1\n-e x"}}]}"#,
      #"{"install": [{"metadata": {"name": "a", "version": "1"}, "is_direct": true, "download_info": {"url": "file:///etc"}}]}"#,
    ] {
      #expect(throws: PlatformError.self, "\(bad)") { try PythonLock(report: JSONValue(parsing: bad), requirements: [], wheels: [], on: Self.interpreter) }
    }
  }

  @Test func aHalfMadeEnvironmentIsNotThere() throws {
    try withCache { cache in
      let half = try cache.begin(key("a"))
      #expect(cache.record(key("a")) == nil)
      // Whoever made it was killed: the next one begins anew.
      let whole = try cache.begin(key("a"))
      #expect(!FileManager.default.fileExists(atPath: "\(cache.root)/\(half)"))
      try cache.publish(key("a"), record(whole))
      #expect(cache.record(key("a"))?.folder == whole)
      // A record without its folder, of another form, or that leads elsewhere, is none.
      CommandFolder.remove("\(cache.root)/\(whole)")
      #expect(cache.record(key("a")) == nil)
      try cache.publish(key("b"), record("../\(key("b"))-x"))
      #expect(cache.record(key("b")) == nil)
      try Data("{\"folder\": ".utf8).write(to: URL(fileURLWithPath: "\(cache.root)/\(key("c")).json"))
      #expect(cache.record(key("c")) == nil)
    }
  }

  @Test func theOneThatWasUsedLeastLatelyGoesFirstAndNoneThatIsInUse() throws {
    try withCache(limit: 25) { cache in
      for (index, letter) in "abcd".enumerated() {
        try cache.publish(key(letter), record(try cache.begin(key(letter)), bytes: 10))
        var times = [timeval(tv_sec: 1000 + index, tv_usec: 0), timeval(tv_sec: 1000 + index, tv_usec: 0)]
        utimes("\(cache.root)/\(key(letter)).json", &times)
      }
      let orphan = try cache.begin(key("e"))
      let making = try cache.begin(key("f"))
      let held = try #require(try FileLock.take(cache.lockPath(key("f")), exclusive: true))
      let used = try #require(try FileLock.take(cache.lockPath(key("a")), exclusive: false))
      cache.tidy(keeping: key("d"))
      #expect("abcd".map { cache.record(key($0)) != nil } == [true, false, false, true])
      #expect(!FileManager.default.fileExists(atPath: "\(cache.root)/\(orphan)") && FileManager.default.fileExists(atPath: "\(cache.root)/\(making)"))
      withExtendedLifetime((held, used)) {}
    }
  }

  @Test func aLockIsSharedOrHeldAlone() throws {
    try withCache { cache in
      let path = cache.lockPath(key("a"))
      do {
        let first = try #require(try FileLock.take(path, exclusive: true))
        #expect(try FileLock.take(path, exclusive: false) == nil && FileLock.take(path, exclusive: true) == nil)
        #expect(first.share())
        let second = try FileLock.take(path, exclusive: false)
        #expect(second != nil)
        #expect(try FileLock.take(path, exclusive: true) == nil)
        withExtendedLifetime((first, second)) {}
      }
      #expect(try FileLock.take(path, exclusive: true) != nil)
    }
  }

  @Test func whatPipCallsAnErrorIsTheReason() {
    let output = "Collecting a\nERROR: Could not find a version that satisfies the requirement a==9\nERROR: No matching distribution found for a==9\n"
    #expect(EnvironmentMaker.reason(output) == "No matching distribution found for a==9")
    #expect(EnvironmentMaker.reason("one\n two \n\n") == "two" && EnvironmentMaker.reason("") == "it printed nothing")
  }
}
