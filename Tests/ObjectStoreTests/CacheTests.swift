// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import TestSupport
import Testing

@Suite struct CacheTests {
  func text(_ path: String) -> String? { FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } }

  @Test func copiesAreSharedUntilTheObjectChanges() throws {
    let folder = TemporaryDirectory("cache")
    let store = FaultyObjectStore()
    let cache = ObjectCache(folder: folder.file("c"), limitBytes: 1000)
    let path = try ObjectPath("t/x")
    try store.put(path, Data("one".utf8))
    #expect(try !cache.provide(path, of: store, identity: "m://t/x", at: folder.file("1")))
    store.restart()
    #expect(try cache.provide(path, of: store, identity: "m://t/x", at: folder.file("2")))
    #expect(store.steps.map(\.operation) == [.head])
    try store.put(path, Data("two".utf8))
    #expect(try !cache.provide(path, of: store, identity: "m://t/x", at: folder.file("3")))
    #expect(["1", "2", "3"].map { text(folder.file($0)) } == ["one", "one", "two"])
    #expect(cache.sizeInBytes == 6)
    #expect(code { try cache.provide(ObjectPath("none"), of: store, identity: "m://none", at: folder.file("4")) } == .notFound)
    // A copy that was cut is fetched again.
    for part in try FileManager.default.subpathsOfDirectory(atPath: folder.file("c")) where part.contains("/") {
      truncate(folder.file("c/" + part), 1)
    }
    #expect(try !cache.provide(path, of: store, identity: "m://t/x", at: folder.file("5")))
    #expect(text(folder.file("5")) == "two")
  }

  @Test func whatWasNotUsedForLongestGoesFirst() throws {
    let folder = TemporaryDirectory("cache")
    let store = InMemoryObjectStore()
    let cache = ObjectCache(folder: folder.file("c"), limitBytes: 1000)
    for index in 0..<12 {
      try store.put(ObjectPath("o\(index)"), Data(repeating: UInt8(index), count: 100))
      try cache.provide(ObjectPath("o\(index)"), of: store, identity: "o\(index)", at: folder.file("d\(index)"))
      if index >= 2 { #expect(try cache.provide(ObjectPath("o2"), of: store, identity: "o2", at: folder.file("again\(index)"))) }
      usleep(2000)
    }
    #expect(cache.sizeInBytes <= 1000)
    #expect(try cache.provide(ObjectPath("o11"), of: store, identity: "o11", at: folder.file("e11")))
    #expect(try !cache.provide(ObjectPath("o0"), of: store, identity: "o0", at: folder.file("e0")))
    // Users keep what they have, and what is larger than the cache is not kept at all.
    #expect(FileManager.default.contents(atPath: folder.file("d0")) == Data(repeating: 0, count: 100))
    try store.put(ObjectPath("huge"), Data(count: 5000))
    #expect(try !cache.provide(ObjectPath("huge"), of: store, identity: "huge", at: folder.file("huge")))
    #expect(cache.sizeInBytes <= 1000 && FileManager.default.contents(atPath: folder.file("huge"))?.count == 5000)
  }

  @Test func locationsChooseTheirStore() throws {
    let folder = TemporaryDirectory("lake")
    let local = try ObjectStores.open(folder.file("t"))
    try local.store.put(local.path.appending("x"), Data("1".utf8))
    #expect(text(folder.file("t/x")) == "1")
    let environment = ["AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "PLATFORM_S3_ENDPOINT": "http://127.0.0.1:1"]
    let remote = try ObjectStores.open("s3://bucket/a/t", environment: environment, home: folder.path)
    #expect(remote.path.text == "a/t" && (remote.store as? S3ObjectStore)?.configuration.bucket == "bucket")
    let again = try ObjectStores.open("s3://bucket/b", environment: environment, home: folder.path)
    #expect(again.store as? S3ObjectStore === remote.store as? S3ObjectStore)
    #expect(code { _ = try ObjectStores.open("s3://bucket/a", environment: [:], home: folder.path) } == .badConfiguration)
    for text in ["", "relative", "/", "s3://bucket", "s3://bucket/../x", "/a/.."] {
      #expect(code { _ = try ObjectStores.open(text, environment: environment, home: folder.path) } == .invalidArgument, "\(text)")
    }
  }
}
