// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import Foundation
import ObjectStore
import Synchronization
import Testing

/// Keeps checkpoint rows as JSON lines, so that the log is tested without an SQL engine.
struct LineHandler: ParquetHandler {
  func readCheckpoint(_ parquet: Data) throws -> [Data] { parquet.split(separator: 10).map { Data($0) } }
  func writeCheckpoint(_ actions: [Data]) throws -> Data { Data(actions.joined(separator: [10])) }
}

/// Faults for the writes to come, one after the other.
final class WriteFaults: Sendable {
  private let planned = Mutex<[FaultyObjectStore.Fault?]>([])

  func plan(_ faults: [FaultyObjectStore.Fault?]) { planned.withLock { $0 = faults } }
  func add(_ fault: FaultyObjectStore.Fault) { planned.withLock { $0.append(fault) } }

  func store(_ base: any ObjectStorage = InMemoryObjectStore()) -> FaultyObjectStore {
    FaultyObjectStore(base) { step in
      guard step.operation == .put || step.operation == .putIfAbsent else { return nil }
      return self.planned.withLock { $0.isEmpty ? nil : $0.removeFirst() }
    }
  }
}

@Suite struct DeltaTableTests {
  let schema = StructType(fields: [
    StructField(name: "id", type: .primitive("long")),
    StructField(name: "v", type: .array(.primitive("float"), containsNull: true), metadata: ["comment": "é"]),
    StructField(name: "m", type: .map(.primitive("string"), .primitive("decimal(10,2)"), valueContainsNull: false)),
  ])

  func table(_ store: any ObjectStorage = InMemoryObjectStore()) throws -> DeltaTable {
    DeltaTable(store: store, path: try ObjectPath("main/demo/t"), parquet: LineHandler())
  }

  func file(_ name: String, rows: Int64 = 1) -> AddFile {
    AddFile(relativePath: name, size: 10, statistics: ["numRecords": .integer(rows)])
  }

  func code(_ body: () throws -> Void) -> PlatformError.Code? {
    do {
      try body()
      return nil
    } catch { return PlatformError.from(error).code }
  }

  @Test func schemaKeepsItsJSON() throws { #expect(try StructType(parsing: schema.schemaString) == schema) }

  @Test func versionsAppendOverwriteAndTravel() throws {
    let table = try table()
    #expect(code { _ = try table.snapshot() } == .notFound)
    _ = try table.create(schema: schema)
    #expect(code { _ = try table.create(schema: schema) } == .alreadyExists)
    for index in 1...24 { #expect(try table.append([file("f\(index).parquet")]).version == Int64(index)) }
    #expect(try table.overwrite([file("new name é%.parquet", rows: 7)], readVersion: 24).version == 25)
    #expect(try table.snapshot().rowCount == 7)
    #expect(try table.snapshot().files.map { try $0.relativePath() } == ["new name é%.parquet"])
    for version in 0...24 { #expect(try table.snapshot(version: Int64(version)).files.count == version) }
    #expect(code { _ = try table.snapshot(version: 26) } == .notFound)
    #expect(try table.history().map(\.version) == (0...25).reversed().map(Int64.init))
    #expect(try table.snapshot(timestampMilliseconds: .max).version == 25)
    #expect(code { _ = try table.snapshot(timestampMilliseconds: 0) } == .notFound)
  }

  @Test func checkpointsAreOnlyAShortcut() throws {
    let store = InMemoryObjectStore()
    let table = try table(store)
    _ = try table.create(schema: schema, configuration: ["delta.checkpointInterval": "10"])
    for index in 1...21 {
      _ = try table.append([file("f\(index)")], transaction: AppTransaction(appId: "a", version: Int64(index)))
    }
    let whole = try table.snapshot()
    let log = "main/demo/t/_delta_log/"
    let pointer = try ObjectPath(log + "_last_checkpoint")
    #expect(try JSONValue(parsing: store.get(pointer))["version"] == 20)
    try store.put(pointer, Data("{\"version\":999}".utf8))
    #expect(try table.snapshot().files.map(\.path) == whole.files.map(\.path))
    try store.delete(pointer)
    try store.put(ObjectPath(log + "00000000000000000020.checkpoint.parquet"), Data("garbage".utf8))
    #expect(try table.snapshot().files.map(\.path) == whole.files.map(\.path))
    #expect(try table.snapshot().transactions == whole.transactions)
    // Commits before a good checkpoint may be gone.
    for index in 0..<10 { try store.delete(ObjectPath(log + "0000000000000000000\(index).json")) }
    #expect(try table.snapshot().files.map(\.path) == whole.files.map(\.path))
    #expect(code { _ = try table.snapshot(version: 5) } == .invalidFile)
    try store.delete(ObjectPath(log + "00000000000000000015.json"))
    let error = #expect(throws: PlatformError.self) { try table.snapshot() }
    #expect(error?.message.contains("version 15 is missing") == true)
  }

  @Test func replayedTransactionsChangeNothing() throws {
    let table = try table()
    _ = try table.create(schema: schema)
    let mark = AppTransaction(appId: "run/7", version: 1)
    let first = try table.append([file("a")], transaction: mark)
    _ = try table.append([file("b")])
    let again = try table.append([file("a2")], transaction: mark)
    #expect(again.isReplay && again.version == first.version)
    #expect(try table.overwrite([], readVersion: 2, transaction: mark).isReplay)
    #expect(try table.snapshot().files.count == 2)
  }

  @Test func overwriteAfterAnotherCommitIsAConflict() throws {
    let table = try table()
    _ = try table.create(schema: schema)
    _ = try table.append([file("a")])
    #expect(code { _ = try table.overwrite([file("b")], readVersion: 0) } == .conflict)
    #expect(code { _ = try table.append([file("c")], expectedSchema: StructType(fields: [])) } == .conflict)
    #expect(try table.snapshot().version == 1)
  }

  @Test func concurrentAppendsLoseNothing() throws {
    let table = try table()
    _ = try table.create(schema: schema)
    let versions = Mutex<Set<Int64>>([])
    let problems = Mutex<[String]>([])
    DispatchQueue.concurrentPerform(iterations: 8) { writer in
      for index in 0..<20 {
        do {
          let outcome = try table.append([file("w\(writer)-\(index)")])
          versions.withLock { _ = $0.insert(outcome.version) }
        } catch { problems.withLock { $0.append("\(error)") } }
      }
    }
    #expect(problems.withLock { $0 } == [])
    #expect(versions.withLock { $0 } == Set(1...160))
    #expect(try table.snapshot().version == 160)
    #expect(try table.snapshot().files.count == 160)
  }

  @Test func lostAnswersAreSettledByReading() throws {
    let faults = WriteFaults()
    let store = faults.store()
    let table = try table(store)
    _ = try table.create(schema: schema, configuration: ["delta.checkpointInterval": "10"])
    faults.plan([.lostAnswer])
    #expect(try table.append([file("a")]).version == 1)
    faults.plan([.error])
    #expect(code { _ = try table.append([file("b")]) } == .unavailable)
    #expect(try table.snapshot().files.map(\.path) == ["a"])
    for index in 2...9 { _ = try table.append([file("n\(index)")]) }
    faults.plan([nil, .error])
    let outcome = try table.append([file("n10")])
    #expect(outcome.version == 10 && outcome.checkpointProblem != nil)
    #expect(try table.snapshot().files.count == 10)
    faults.plan([nil, .error])
    try? table.checkpoint(version: 10)  // the pointer's write fails; the checkpoint itself is there
    #expect(try table.snapshot().files.count == 10)
  }

  @Test(arguments: [
    (
      #"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":[]}}"#,
      "deletionVectors"
    ),
    (#"{"protocol":{"minReaderVersion":9,"minWriterVersion":2}}"#, "reader version 9"),
    (#"{"protocol":{"minReaderVersion":"#, "damaged action"),
    (
      #"{"add":{"path":"x","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true,"deletionVector":{"storageType":"i","pathOrInlineDv":"","sizeInBytes":0,"cardinality":0}}}"#,
      "deletionVectors"
    ),
    (
      #"{"add":{"path":"x","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true,"deletionVector":{}}}"#,
      "storageType"
    ),
  ]) func unknownFeaturesAreRefusedByName(_ line: String, _ expected: String) throws {
    let store = InMemoryObjectStore()
    let table = try table(store)
    _ = try table.create(schema: schema)
    try store.put(ObjectPath("main/demo/t/_delta_log/00000000000000000001.json"), Data(line.utf8))
    let error = #expect(throws: PlatformError.self) { try table.snapshot() }
    #expect(error?.message.contains(expected) == true)
  }

  @Test(arguments: ["../x", "/etc/passwd", "a/../../x", "%2e%2e/x", "file:///x", "s3://b/x", "a//b", "a%ZZ", "../\u{301}x", "a%2F..%2F\u{301}x"])
  func filePathsThatLeaveTheTableAreRefused(_ path: String) throws {
    let line = #"{"add":{"path":"\#(path)","partitionValues":{"p":null},"size":1,"modificationTime":1,"dataChange":true}}"#
    let store = InMemoryObjectStore()
    let table = try table(store)
    _ = try table.create(schema: schema)
    try store.put(ObjectPath("main/demo/t/_delta_log/00000000000000000001.json"), Data(line.utf8))
    #expect(code { _ = try table.snapshot().files[0].relativePath() } == .invalidFile)
  }
}
