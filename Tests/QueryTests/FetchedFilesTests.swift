// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation
import ObjectStore
import TestSupport
import Testing

@testable import Query

@Suite(.serialized, .enabled(if: MotoServer.isThere, "no peer environment")) struct FetchedFilesTests {
  private struct Source {
    let proxy: FaultProxy
    let place: String
    let ring: KeyRing
    let store: any ObjectStorage

    /// Objects `in/f0.json`, `in/f1.json`, .. of one record each.
    init(objects: Int) throws {
      proxy = try FaultProxy(to: MotoServer.shared().port)
      place = "s3://fetched-\(UUID().uuidString.lowercased().prefix(13))"
      _ = try Peers.run(
        """
        import boto3, sys
        c = boto3.client("s3", endpoint_url=sys.argv[1], aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
        c.create_bucket(Bucket=sys.argv[2])
        for n in range(int(sys.argv[3])): c.put_object(Bucket=sys.argv[2], Key="in/f%d.json" % n, Body='{"n":%d}' % n)
        """, [MotoServer.shared().endpoint, String(place.dropFirst(5)), String(objects)])
      ring = KeyRing([
        StorageKeys(
          place: place, accessKey: MotoServer.accessKey, secretKey: MotoServer.secretKey, sessionToken: nil, endpoint: proxy.endpoint, region: "us-east-1")
      ])
      store = try ObjectStores.open(place + "/in", keys: ring, environment: [:]).store
    }

    /// In the order of their numbers.
    func list() throws -> [FileRead.File] {
      try store.list(ObjectPath("in")).sorted { ($0.path.text.utf8.count, $0.path.text) < ($1.path.text.utf8.count, $1.path.text) }.map { object in
        let name = "\(place)/\(object.path.text)"
        return .init(path: name, name: name, sizeBytes: Int64(object.size), modifiedMilliseconds: object.modifiedMilliseconds, tag: object.tag)
      }
    }
  }

  @Test func objectsAreAskedForOnceAndBeforeTheyAreNeeded() throws {
    let source = try Source(objects: 40)
    let list = try source.list()
    let folder = TemporaryDirectory("copies")
    func left() -> [String] { (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? [] }  // none: no copies
    try source.store.put(ObjectPath("in/f12.json"), Data(#"{"n":1200}"#.utf8))
    try source.store.delete(ObjectPath("in/f25.json"))
    source.proxy.plan([])
    var files: FetchedFiles? = FetchedFiles(folder: folder.path, keepsCopies: false, keys: source.ring, isCancelled: { false })
    for start in stride(from: 0, to: 30, by: 10) {
      let places = try #require(try files?.provide(list[start..<start + 10]))
      try files?.begin(list[start + 10..<start + 20])
      for index in start..<start + 10 {
        switch places[index] {
        case .local(let copy):
          let text = String(decoding: FileManager.default.contents(atPath: copy) ?? Data(), as: UTF8.self)
          #expect(text == (index == 12 ? #"{"n":1200}"# : "{\"n\":\(index)}"))
          let object = try #require(files?.found[index])
          #expect((list[index].asRead(object) != nil) == (index == 12))
        case .gone: #expect(index == 25)
        case nil: Issue.record("object \(index) has no place")
        }
      }
      files?.release(places)
    }
    // The last ten are on their way, and nobody wants them any more.
    files = nil
    while !left().isEmpty { usleep(10_000) }
    let asked = source.proxy.requests
    #expect(asked.allSatisfy { $0.hasPrefix("GET") } && Set(asked).count == asked.count && (30...40).contains(asked.count), "\(asked)")
  }

  @Test func aStoreThatRefusesIsNoMissingObject() throws {
    let source = try Source(objects: 3)
    let list = try source.list()
    let folder = TemporaryDirectory("copies")
    let files = FetchedFiles(folder: folder.path, keepsCopies: false, keys: source.ring, isCancelled: { false })
    let denied = FaultProxy.Fault.answer(status: 403, body: "<Error><Code>AccessDenied</Code></Error>")
    source.proxy.plan([denied, denied, denied])
    try files.begin(list[...])
    #expect { _ = try files.provide(list[...]) } throws: { ($0 as? PlatformError)?.code == .permissionDenied }
    let none = FaultProxy.Fault.answer(status: 404, body: "<Error><Code>NoSuchBucket</Code></Error>")
    source.proxy.plan([none, none, none])
    #expect { _ = try files.provide(list[...]) } throws: { ($0 as? PlatformError)?.number == "PLT-3404" }
    source.proxy.plan([])
    #expect(try files.provide(list[...]).count == 3)
  }

  /// The rows are those of the object that was read, and the result says which one that was.
  @Test(.enabled(if: isInstalled, "DuckDB is not installed")) func aLoadTellsWhichObjectItRead() throws {
    let source = try Source(objects: 3)
    let list = try source.list()
    try source.store.put(ObjectPath("in/f1.json"), Data(#"{"n":1000}"#.utf8))
    let now = try #require(try source.store.head(ObjectPath("in/f1.json")))
    KeyRing.shared.replace(source.ring.keys(neededBy: ["path": .string(source.place + "/in")]))
    defer { KeyRing.shared.replace([]) }
    let folder = TemporaryDirectory("load")
    let columns = [Column("n", .bigint)]
    let read = FileRead(view: "__load", format: .json, options: try FileOptions([:], format: .json), files: list, schema: columns)
    let load = FileLoad(read: read, columns: columns, dataPath: folder.file("data.parquet"), quarantinePath: folder.file("bad.parquet"), readAt: 0)
    let result = try load.run(context: QuietContext(scratchDirectory: folder.path))
    #expect(result.rows == 3 && result.replaced?.map(\.name) == [list[1].name])
    #expect(result.replaced?.first?.tag == now.tag && result.replaced?.first?.sizeBytes == 10)
    let engine = try Database(settings: .init(threads: 1)).connect()
    #expect(try engine.rows("SELECT sum(n)::BIGINT FROM read_parquet(\(SQLText.literal(folder.file("data.parquet"))))").first?[0].intValue == 1002)
  }
}
