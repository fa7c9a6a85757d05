// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import ObjectStore
@testable import Query

/// Statements on tables in buckets fetch what they read.
@Suite struct PartialReadTests {
  /// Counts what is asked of a store, and fails on demand.
  final class Counted: ObjectStorage {
    let base = InMemoryObjectStore()
    private let state = Mutex((bytes: 0, requests: 0, isDown: false))

    var bytes: Int { state.withLock { $0.bytes } }
    var requests: Int { state.withLock { $0.requests } }
    func restart(isDown: Bool = false) { state.withLock { $0 = (0, 0, isDown) } }

    private func note(_ data: Data) throws -> Data {
      let isDown = state.withLock { state in
        state.bytes += data.count
        state.requests += 1
        return state.isDown
      }
      if isDown { throw PlatformError(.unavailable, "the store is away", number: "PLT-3403") }
      return data
    }

    func get(_ path: ObjectPath) throws -> Data { try note(base.get(path)) }
    func get(_ path: ObjectPath, range: Range<Int>) throws -> Data { try note(base.get(path, range: range)) }
    func put(_ path: ObjectPath, _ data: Data) throws { try base.put(path, data) }
    func putIfAbsent(_ path: ObjectPath, _ data: Data) throws { try base.putIfAbsent(path, data) }
    func list(_ prefix: ObjectPath?) throws -> [ObjectInfo] { try base.list(prefix) }
    func delete(_ path: ObjectPath) throws { try base.delete(path) }
    func head(_ path: ObjectPath) throws -> ObjectInfo? { try base.head(path) }
  }

  /// A table of two files in a bucket, 40 columns wide, in row groups of 10 000 rows by `id`.
  struct Wide {
    static let rows = 40_000
    let store = Counted()
    let folder = TemporaryDirectory("wide")
    let columns = [Column("id", .bigint)] + (0..<40).map { Column("c\($0)", .bigint) }
    let places = ["s3://wide/t/a.parquet", "s3://wide/t/b.parquet"]
    let local: [String]
    let size: Int

    init() throws {
      let engine = try Database(settings: .init(threads: 2)).connect()
      local = [folder.file("a.parquet"), folder.file("b.parquet")]
      let list = (0..<40).map { "CAST(hash(range * 40 + \($0)) >> 2 AS BIGINT) AS c\($0)" }.joined(separator: ", ")
      var total = 0
      for (index, path) in local.enumerated() {
        let first = index * Self.rows / 2
        try engine.execute(
          "COPY (SELECT range AS id, \(list) FROM range(\(first), \(first + Self.rows / 2))) TO \(SQLText.literal(path)) (FORMAT parquet, ROW_GROUP_SIZE 10000)"
        )
        let data = try Data(contentsOf: URL(fileURLWithPath: path))
        total += data.count
        try store.put(ObjectPath("t/" + (path as NSString).lastPathComponent), data)
      }
      size = total
    }

    func spec(_ sql: String, _ files: [String]) -> StatementSpec {
      StatementSpec(kind: .select, sql: sql, tables: [.init(view: "v", files: files, columns: columns)])
    }

    /// The rows of a query, as an executor answers it.
    func run(_ sql: String) throws -> [[JSONValue]] {
      let scratch = folder.file("attempt-\(UUID().uuidString)")
      defer { try? FileManager.default.removeItem(atPath: scratch) }
      var remote = RemoteTables(scratch: scratch, environment: ["PLATFORM_OBJECT_CACHE": folder.file("cache")]) { [store] place in
        (store, try ObjectPath(String(place.dropFirst("s3://wide/".count))))
      }
      do {
        let spec = try remote.localised(spec(sql, places))
        return try remote.published(StatementRunner.run(spec, context: QuietContext(scratchDirectory: folder.path))).rows
      } catch { throw remote.explained(error) }
    }

    func expected(_ sql: String) throws -> [[JSONValue]] {
      try StatementRunner.run(spec(sql, local), context: QuietContext(scratchDirectory: folder.path)).rows
    }
  }

  @Test func narrowQueriesFetchTheirColumns() throws {
    let table = try Wide()
    try #require(table.size > 10 << 20)
    let narrow = "SELECT sum(c7), count(*) FROM v"
    #expect(try table.run(narrow) == table.expected(narrow))
    // One of 41 columns, and the ends of the files.
    #expect(table.store.bytes < table.size / 8, "\(table.store.bytes) of \(table.size) bytes")
    #expect(table.store.requests <= 40, "\(table.store.requests) requests")

    // What is there is not fetched again, by whomever.
    table.store.restart()
    #expect(try table.run(narrow) == table.expected(narrow))
    #expect(table.store.bytes == 0)

    // Row groups that cannot match are left alone.
    let few = "SELECT max(c20), max(c30), max(c31) FROM v WHERE id BETWEEN 100 AND 200"
    #expect(try table.run(few) == table.expected(few))
    #expect(table.store.bytes < table.size / 8, "\(table.store.bytes) of \(table.size) bytes")

    // All of it comes when all of it is asked for, once.
    let whole = "SELECT \(table.columns.map { "sum(\($0.name))" }.joined(separator: ", ")) FROM v"
    #expect(try table.run(whole) == table.expected(whole))
    table.store.restart()
    #expect(try table.run(whole) == table.expected(whole))
    #expect(table.store.bytes == 0)
  }

  @Test func whatTheStoreSaysIsSaid() throws {
    let table = try Wide()
    let narrow = "SELECT sum(c7) FROM v"
    #expect(try table.run(narrow) == table.expected(narrow))
    table.store.restart(isDown: true)
    let away = #expect(throws: PlatformError.self) { try table.run("SELECT sum(c8) FROM v") }
    #expect(away?.number == "PLT-3403", "\(String(describing: away))")
    #expect(table.store.requests < 10)
    // What failed is asked for again by the next statement.
    table.store.restart()
    #expect(try table.run("SELECT sum(c8) FROM v") == table.expected("SELECT sum(c8) FROM v"))
    #expect(table.store.bytes > 0)
  }

  /// Whoever reads a copy while its object is replaced gets an error, never bytes of both.
  @Test func replacedObjectsAreNotMixed() throws {
    let store = Counted()
    let folder = TemporaryDirectory("replaced")
    let cache = ObjectCache(folder: folder.file("cache"), limitBytes: 1 << 30)
    let path = try ObjectPath("x")
    try store.put(path, Data(repeating: 1, count: 3 << 20))
    let copy = try #require(try cache.provideInPieces(path, of: store, identity: "m://x", at: folder.file("1")))
    try copy.provide(0..<10)
    #expect(store.bytes == 64 << 10)
    try store.put(path, Data(repeating: 2, count: 3 << 20))
    try copy.provide(5..<20)
    let error = #expect(throws: PlatformError.self) { try copy.provide(1 << 20..<2 << 20) }
    #expect(error?.code == .unavailable && error?.path == "m://x")
    let again = try #require(try cache.provideInPieces(path, of: store, identity: "m://x", at: folder.file("2")))
    try again.provide(0..<again.size)
    #expect(FileManager.default.contents(atPath: folder.file("2")) == Data(repeating: 2, count: 3 << 20))
    #expect(store.bytes == (64 << 10) + (3 << 20))
  }

  @Test func manyReadersShareWhatComes() throws {
    let store = Counted()
    let folder = TemporaryDirectory("shared")
    // Room for less than the object: the copy is this reader's own. With room, it stays for the next.
    for (limit, later) in [(1 << 20, 4 << 20), (1 << 30, 0)] {
      store.restart()
      let cache = ObjectCache(folder: folder.file("cache-\(limit)"), limitBytes: limit)
      let path = try ObjectPath("x")
      var data = Data(count: 4 << 20)
      for index in stride(from: 0, to: data.count, by: 7) { data[index] = UInt8(truncatingIfNeeded: index / 7) }
      try store.put(path, data)
      let name = folder.file("\(limit)")
      let copy = try #require(try cache.provideInPieces(path, of: store, identity: "m://x", at: name))
      let failures = Mutex<[String]>([])
      DispatchQueue.concurrentPerform(iterations: 8) { reader in
        var random = SplitMix64(seed: UInt64(reader))
        do {
          for _ in 0..<50 {
            let start = Int.random(in: 0..<copy.size, using: &random)
            try copy.provide(start..<start + 100_000)
          }
          try copy.provide(0..<copy.size + 5)
        } catch { failures.withLock { $0.append("\(error)") } }
      }
      #expect(failures.withLock { $0 } == [])
      #expect(FileManager.default.contents(atPath: name) == data)
      // Each byte once.
      #expect(store.bytes == data.count)
      store.restart()
      let next = try #require(try cache.provideInPieces(path, of: store, identity: "m://x", at: name + "-next"))
      try next.provide(0..<next.size)
      #expect(store.bytes == later)
      #expect(FileManager.default.contents(atPath: name + "-next") == data)
    }
  }

  @Test func copiesInPiecesGoLikeOthers() throws {
    let store = Counted()
    let folder = TemporaryDirectory("trimmed")
    let cache = ObjectCache(folder: folder.file("cache"), limitBytes: 6 << 20)
    for index in 0..<5 {
      let path = try ObjectPath("x\(index)")
      try store.put(path, Data(repeating: UInt8(index), count: 2 << 20))
      let copy = try #require(try cache.provideInPieces(path, of: store, identity: "m://x\(index)", at: folder.file("\(index)")))
      try copy.provide(0..<copy.size)
      #expect(cache.sizeInBytes <= 6 << 20)
    }
    // Whoever holds one keeps it.
    #expect(FileManager.default.contents(atPath: folder.file("0")) == Data(repeating: 0, count: 2 << 20))
    store.restart()
    let last = try #require(try cache.provideInPieces(ObjectPath("x4"), of: store, identity: "m://x4", at: folder.file("last")))
    try last.provide(0..<last.size)
    #expect(store.bytes == 0)
  }

  @Test func readersInOrderAreServedAhead() {
    var ahead = ReadAhead()
    // Nothing is known of the first; then one piece more, two, four, ..
    #expect(ahead.end(first: 10, last: 10, count: 1000) == 11)
    #expect(ahead.end(first: 11, last: 11, count: 1000) == 13)
    #expect(ahead.end(first: 13, last: 13, count: 1000) == 16)
    #expect(ahead.end(first: 16, last: 20, count: 1000) == 25)
    // Elsewhere: from the beginning, and never behind the end.
    #expect(ahead.end(first: 500, last: 510, count: 1000) == 511)
    #expect(ahead.end(first: 511, last: 998, count: 1000) == 1000)
    #expect(PartialCopy.runs([1, 2, 3, 7, 8, 40]) == [1..<4, 7..<9, 40..<41])
    #expect(PartialCopy.runs(Array(0..<70)) == [0..<32, 32..<64, 64..<70])
  }
}
