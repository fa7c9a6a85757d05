// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import TestSupport
import Testing

@testable import Query

/// Reading checkpoints as columns: the same actions as reading them as JSON, and damage that is named.
@Suite struct CheckpointReaderTests {
  static let lines: [String] = [
    #"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors","domainMetadata"]}}"#,
    #"{"metaData":{"id":"i","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"id\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}},{\"name\":\"p\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}}]}","partitionColumns":["p"],"configuration":{"a":"b"},"createdTime":5}}"#,
    #"{"add":{"path":"p=x/plain.parquet","partitionValues":{"p":"x \"quoted\" é"},"size":10,"modificationTime":7,"dataChange":false,"stats":"{\"numRecords\":10}"}}"#,
    #"{"add":{"path":"null.parquet","partitionValues":{"p":null},"size":0,"modificationTime":0,"dataChange":true}}"#,
    #"{"add":{"path":"tagged.parquet","partitionValues":{"p":""},"size":10,"modificationTime":7,"dataChange":false,"tags":{"a":"b"}}}"#,
    #"{"add":{"path":"less.parquet","partitionValues":{"p":"y"},"size":10,"modificationTime":7,"dataChange":false,"stats":"{\"numRecords\":50}","deletionVector":{"storageType":"u","pathOrInlineDv":"ab^-aqEH.-t@S}K{vb[*k^","offset":1,"sizeInBytes":40,"cardinality":6}}}"#,
    #"{"add":{"path":"rows.parquet","partitionValues":{"p":"y"},"size":10,"modificationTime":7,"dataChange":false,"baseRowId":4,"defaultRowCommitVersion":2}}"#,
    #"{"remove":{"path":"b.parquet","deletionTimestamp":9,"dataChange":true,"extendedFileMetadata":true,"partitionValues":{"p":null},"size":3}}"#,
    #"{"txn":{"appId":"app","version":5,"lastUpdated":1}}"#,
    #"{"domainMetadata":{"domain":"d","configuration":"{}","removed":false}}"#,
  ]
  static let count = ProcessInfo.processInfo.environment["FUZZ_COUNT"].flatMap(Int.init) ?? 300
  static let seed = ProcessInfo.processInfo.environment["FUZZ_SEED"].flatMap { UInt64($0) } ?? 1

  static func actions(_ parquet: Data) throws -> (fast: [Action], slow: [Action]) {
    let handler = DuckDBParquetHandler()
    return (
      try handler.readCheckpointActions(parquet, name: "checkpoint"),
      try handler.readCheckpoint(parquet).compactMap { try Action.parsing(row: $0, name: "checkpoint") }
    )
  }

  @Test func columnsAndTextsGiveTheSameActions() throws {
    let parquet = try DuckDBParquetHandler().writeCheckpoint(Self.lines.map { Data($0.utf8) })
    let (fast, slow) = try Self.actions(parquet)
    #expect(fast == slow)
    #expect(fast == (try Self.lines.compactMap { try Action.parsing(row: Data($0.utf8), name: "line") }))
  }

  /// Checkpoints of other writers: members in another order, of other types, missing, or more than is known here.
  @Test func checkpointsOfOthersGiveTheSameActions() throws {
    let folder = TemporaryDirectory("checkpoint")
    let connection = try Database(settings: .init(threads: 1)).connect()
    let adds = [
      "{size: 5::BIGINT, path: 'a', dataChange: true, modificationTime: 4::BIGINT, stats: NULL::VARCHAR, partitionValues: MAP{'p': 'x'}}",
      "{size: 5::INTEGER, path: 'a', dataChange: true, modificationTime: 4::BIGINT, stats: NULL::VARCHAR, partitionValues: MAP{'p': 'x'}}",
      "{size: 5::BIGINT, path: 'a', dataChange: true, modificationTime: 4::BIGINT, partitionValues: MAP{'p': 'x'}}",
      "{size: 5::BIGINT, path: 'a', dataChange: true, modificationTime: 4::BIGINT, stats: 's', partitionValues: MAP{'p': 'x'}, stats_parsed: {numRecords: 4}}",
      "{size: 5::BIGINT, path: 'a', dataChange: true, modificationTime: 4::BIGINT, stats: 's', partitionValues: MAP{'p': 'x'}, partitionValues_parsed: {p: 'x'}}",
      "{size: 5::BIGINT, path: 'a', dataChange: true, modificationTime: 4::BIGINT, stats: 's', partitionValues: MAP{'p': 'x'}, newMember: 7}",
    ]
    for (index, add) in adds.enumerated() {
      let file = folder.file("\(index).parquet")
      try connection.execute(
        "COPY (SELECT \(add) AS \"add\", NULL::STRUCT(appId VARCHAR, version BIGINT) AS txn, 1 AS surplus UNION ALL "
          + "SELECT NULL, {appId: 'x', version: 3::BIGINT}, 1) TO \(SQLText.literal(file)) (FORMAT parquet)")
      let (fast, slow) = try Self.actions(Data(contentsOf: URL(fileURLWithPath: file)))
      #expect(fast == slow && fast.count == 2, "\(add)")
    }
  }

  /// Changed bytes, most of them in the footer: whatever comes of it, the process lives, damage names the file, and the next
  /// checkpoint can be read.
  @Test func damagedFilesAreNamed() throws {
    let store = InMemoryObjectStore()
    let table = try DeltaTable(store: store, path: ObjectPath("t"), parquet: DuckDBParquetHandler(), dataFeatures: [.deletionVectors])
    let sound = try DuckDBParquetHandler().writeCheckpoint(Self.lines.map { Data($0.utf8) })
    let name = "t/_delta_log/00000000000000000007.checkpoint.parquet"
    let path = try ObjectPath(name)
    let footer = Int(sound.suffix(8).prefix(4).enumerated().reduce(UInt32(0)) { $0 | UInt32($1.element) << (8 * UInt32($1.offset)) }) + 8
    var refused = 0
    for round in 0..<Self.count {
      var random = SplitMix64(seed: SplitMix64.mix(Self.seed &* 7919 &+ UInt64(round)))
      var bytes = Array(sound)
      for _ in 0..<Int.random(in: 1...4, using: &random) where bytes.count > 12 {
        let start = Int.random(in: 0..<4, using: &random) == 0 ? 0 : max(0, bytes.count - footer)
        let place = Int.random(in: start..<bytes.count, using: &random)
        switch Int.random(in: 0..<5, using: &random) {
        case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 2: bytes.remove(at: place)
        case 3: bytes.insert([0x00, 0x7F, 0x80, 0xFF].randomElement(using: &random) ?? 0, at: place)
        default: bytes.removeSubrange(place...)
        }
      }
      try store.put(path, Data(bytes))
      do { _ = try table.snapshot() } catch {
        let known = PlatformError.from(error)
        #expect(error is PlatformError && [.invalidFile, .invalidArgument].contains(known.code), "seed \(Self.seed), round \(round): \(error)")
        #expect("\(known)".contains("_delta_log"), "seed \(Self.seed), round \(round): \(known)")
        refused += 1
      }
    }
    #expect(refused > Self.count / 3)
    try store.put(path, sound)
    #expect(try table.snapshot().files.count == 5)
  }
}
