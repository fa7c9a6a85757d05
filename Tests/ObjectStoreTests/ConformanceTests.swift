// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Synchronization
import TestSupport
import Testing

/// One suite for every implementation.
@Suite struct ConformanceTests {
  @Test(arguments: StoreKind.present) func objectsComeBack(_ kind: StoreKind) throws {
    try kind.with { store in
      let path = try ObjectPath("a/b/c.json")
      #expect(code { _ = try store.get(path) } == .notFound)
      #expect(code { _ = try store.get(path, range: 0..<1) } == .notFound)
      #expect(code { _ = try store.get(path, range: 0..<0) } == .notFound)
      #expect(try store.head(path) == nil)
      try store.put(path, Data("hello".utf8))
      #expect(try store.get(path) == Data("hello".utf8))
      #expect(try store.head(path)?.size == 5)
      try store.put(path, Data())
      #expect(try store.get(path).isEmpty)
      #expect(try store.get(path, range: 0..<9).isEmpty)
      try store.delete(path)
      try store.delete(path)
      #expect(try store.head(path) == nil)
      #expect(try store.head(ObjectPath("a")) == nil && store.head(ObjectPath("a/b")) == nil)
    }
  }

  @Test(arguments: StoreKind.present) func rangesAreCutAtTheEnd(_ kind: StoreKind) throws {
    try kind.with { store in
      let path = try ObjectPath("x")
      try store.put(path, Data("hello".utf8))
      let cases: [(Range<Int>, String?)] = [
        (0..<5, "hello"), (1..<3, "el"), (3..<99, "lo"), (4..<5, "o"), (0..<1, "h"), (5..<5, ""), (2..<2, ""), (5..<9, ""), (6..<7, nil), (6..<6, nil),
        (-1..<2, nil), (0..<Int.max, "hello"),
      ]
      for (range, expected) in cases {
        if let expected {
          #expect(try store.get(path, range: range) == Data(expected.utf8), "\(range)")
        } else {
          #expect(code { _ = try store.get(path, range: range) } == .invalidArgument, "\(range)")
        }
      }
    }
  }

  @Test(arguments: StoreKind.present) func putIfAbsentHasOneWinner(_ kind: StoreKind) throws {
    try kind.with { store in
      for round in 0..<3 {
        let path = try ObjectPath("log/\(round).json")
        let winners = Mutex<[Int]>([])
        let losers = Mutex<[PlatformError.Code]>([])
        DispatchQueue.concurrentPerform(iterations: 16) { index in
          if let code = code({ try store.putIfAbsent(path, Data("\(index)".utf8)) }) {
            losers.withLock { $0.append(code) }
          } else {
            winners.withLock { $0.append(index) }
          }
        }
        let won = winners.withLock { $0 }
        #expect(won.count == 1)
        #expect(losers.withLock { $0.allSatisfy { $0 == .alreadyExists } })
        #expect(try store.get(path) == Data("\(won[0])".utf8))
        #expect(code { try store.putIfAbsent(path, Data()) } == .alreadyExists)
        #expect(try store.list(nil).count == round + 1)
        try store.delete(path)
        try store.putIfAbsent(path, Data("again".utf8))
      }
    }
  }

  @Test(arguments: StoreKind.present) func listsAreOrderedAndBelowTheFolder(_ kind: StoreKind) throws {
    try kind.with { store in
      let names = ["t/b", "t/a/x", "t2/c", "t/a.b", "é/ü", "t/a-b", "t/aa/y/z"]
      for name in names { try store.put(ObjectPath(name), Data(name.utf8)) }
      #expect(try store.list(ObjectPath("t")).map(\.path.text) == ["t/a-b", "t/a.b", "t/a/x", "t/aa/y/z", "t/b"])
      #expect(try store.list(nil).map(\.path.text) == ["t/a-b", "t/a.b", "t/a/x", "t/aa/y/z", "t/b", "t2/c", "é/ü"])
      #expect(try store.list(nil).map(\.size) == store.list(nil).map(\.path.text.utf8.count))
      #expect(try store.list(ObjectPath("none")).isEmpty && store.list(ObjectPath("t/b")).isEmpty)
      for last in names + ["t/a/", "t/a/w", "t/c", "a", "zz"].filter({ (try? ObjectPath($0)) != nil }) {
        let last = try ObjectPath(last)
        #expect(try store.list(ObjectPath("t"), after: last).map(\.path) == store.list(ObjectPath("t")).map(\.path).filter { $0 > last }, "\(last)")
        #expect(try store.list(nil, after: last).map(\.path) == store.list(nil).map(\.path).filter { $0 > last }, "\(last)")
      }
    }
  }

  @Test(arguments: StoreKind.present) func longListsComeWhole(_ kind: StoreKind) throws {
    try kind.with { store in
      let names = (0..<1205).map { "many/\(String($0 * 7919 % 10_000)).json" }
      DispatchQueue.concurrentPerform(iterations: 8) { part in
        for index in stride(from: part, to: names.count, by: 8) {
          #expect(code { try store.put(ObjectPath(names[index]), Data(count: index % 3)) } == nil)
        }
      }
      try store.put(ObjectPath("many.json"), Data())
      #expect(try store.list(ObjectPath("many")).map(\.path.text) == names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) })
      #expect(try store.list(ObjectPath("many"), after: ObjectPath("many/5")).count == names.count { $0 > "many/5" })
    }
  }

  @Test(arguments: StoreKind.present) func oddNamesAreNames(_ kind: StoreKind) throws {
    try kind.with { store in
      let names = [
        "a b/c  d", "100%/%41%2F", "plus+and&amp;<x>\"'", "q?a=b#c", "é/e\u{301}", "日本/😀", "semi;colon,comma", "~tilde!*'()", "=/:@$", "...", "a/..b/c..",
        ".hidden/x", String(repeating: "y", count: 255), "p=1/d=2024-01-01 00%3A00/x.parquet",
      ]
      for name in names { try store.put(ObjectPath(name), Data(name.utf8)) }
      for name in names {
        #expect(try store.get(ObjectPath(name)) == Data(name.utf8), "\(name)")
        #expect(try store.head(ObjectPath(name))?.size == name.utf8.count, "\(name)")
      }
      #expect(try Set(store.list(nil).map(\.path)) == Set(names.map { try ObjectPath($0) }))
      for name in names { try store.delete(ObjectPath(name)) }
      #expect(try store.list(nil).isEmpty)
    }
  }

  @Test(arguments: [
    "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\\b", "../\u{301}x", "a/../\u{200D}x", "a\u{0}b", "a\nb", String(repeating: "x", count: 256),
  ])
  func namesThatLeaveTheRootAreRefused(_ text: String) { #expect(code { _ = try ObjectPath(text) } == .invalidArgument) }

  /// A reader sees a whole value, the old or the new one, never a mixture.
  @Test(arguments: StoreKind.present) func valuesChangeAtOnce(_ kind: StoreKind) throws {
    try kind.with { store in
      let path = try ObjectPath("value")
      @Sendable func value(_ round: Int) -> Data { Data(repeating: UInt8(round), count: 100_000 + round * 1000) }
      try store.put(path, value(0))
      let isDone = Atomic<Bool>(false)
      let seen = Mutex<Set<Int>>([])
      DispatchQueue.concurrentPerform(iterations: 3) { role in
        if role == 0 {
          for round in 1...20 { #expect(code { try store.put(path, value(round)) } == nil) }
          isDone.store(true, ordering: .releasing)
          return
        }
        while !isDone.load(ordering: .acquiring) {
          guard let data = try? store.get(path), let first = data.first else {
            Issue.record("no value")
            return
          }
          if data != value(Int(first)) { Issue.record("a mixture of \(data.count) bytes") }
          seen.withLock { _ = $0.insert(Int(first)) }
        }
      }
      #expect(try store.get(path) == value(20))
    }
  }

  @Test(arguments: StoreKind.present) func tagsTellReplacements(_ kind: StoreKind) throws {
    try kind.with { store in
      let path = try ObjectPath("tagged")
      try store.put(path, Data("one".utf8))
      let first = try #require(try store.head(path))
      #expect(try store.head(path) == first && first.tag != nil)
      try store.put(path, Data("two".utf8))
      #expect(try store.head(path)?.tag != first.tag)
      #expect(try store.list(nil).first?.tag == store.head(path)?.tag)
      #expect(try store.get(path, range: 1..<9, tag: store.head(path)?.tag) == Data("wo".utf8))
      #expect(try store.get(path, range: 1..<2, tag: nil) == Data("w".utf8))
      #expect(try store.get(path, range: 1..<2, tag: first.tag) == nil)
      #expect(abs(first.modifiedMilliseconds - ProcessSupport.wallMilliseconds) < 60_000)
    }
  }

  @Test(arguments: StoreKind.present) func largeObjectsAndFilesComeBack(_ kind: StoreKind) throws {
    try kind.with { store in
      let folder = TemporaryDirectory("files")
      var random = SplitMix64(seed: 7)
      // Above the part size; odd, so that the last part is smaller.
      var large = Data(capacity: (17 << 20) + 13)
      while large.count < (17 << 20) + 8 { withUnsafeBytes(of: random.next()) { large.append(contentsOf: $0) } }
      large.append(contentsOf: [1, 2, 3])
      try store.put(ObjectPath("large"), large)
      #expect(try store.head(ObjectPath("large"))?.size == large.count)
      #expect(try store.get(ObjectPath("large")) == large)
      #expect(try store.get(ObjectPath("large"), range: (16 << 20) - 5..<(16 << 20) + 5) == large[(16 << 20) - 5..<(16 << 20) + 5])
      #expect(try store.download(ObjectPath("large"), to: folder.file("down")) == large.count)
      #expect(FileManager.default.contents(atPath: folder.file("down")) == large)
      #expect(try store.upload(file: folder.file("down"), to: ObjectPath("up")) == large.count)
      #expect(try store.get(ObjectPath("up")) == large)
      try store.put(ObjectPath("empty"), Data())
      #expect(try store.download(ObjectPath("empty"), to: folder.file("empty")) == 0)
      #expect(try store.upload(file: folder.file("empty"), to: ObjectPath("e2")) == 0 && store.head(ObjectPath("e2"))?.size == 0)
      #expect(code { _ = try store.download(ObjectPath("none"), to: folder.file("none")) } == .notFound)
      #expect(code { _ = try store.upload(file: folder.file("none"), to: ObjectPath("u")) } == .notFound)
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == ["down", "empty"])
    }
  }

  @Test(arguments: StoreKind.present) func faultsAreAsPlanned(_ kind: StoreKind) throws {
    try kind.with { base in
      let path = try ObjectPath("f/1")
      let store = FaultyObjectStore(base) { step in
        switch step.index {
        case 0: .error
        case 1: .lostAnswer
        case 3: .torn(500)
        case 4: .crashBefore
        default: nil
        }
      }
      #expect(code { try store.putIfAbsent(path, Data("1234".utf8)) } == .unavailable)
      #expect(try base.head(path) == nil)
      #expect(code { try store.putIfAbsent(path, Data("1234".utf8)) } == .unavailable)
      #expect(try store.get(path) == Data("1234".utf8))
      #expect(try store.get(path) == Data("12".utf8))
      #expect(code { try store.delete(path) } == .unavailable && store.isDown)
      #expect(code { _ = try store.get(path) } == .unavailable)
      #expect(store.steps.map(\.operation) == [.putIfAbsent, .putIfAbsent, .get, .get, .delete])
      store.restart { $0.index == 0 ? .torn(250) : nil }
      #expect(code { try store.put(path, Data("5678".utf8)) } == .unavailable)
      store.restart()
      #expect(try store.get(path) == Data("5".utf8))
    }
  }
}
