// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Testing

@testable import DeltaLog

/// Damaged bytes in every place that the log layer reads from. Nothing may end the process, take long, or be an error that
/// does not say where. `FUZZ_COUNT` mutants of each sample (300), from `FUZZ_SEED` (1).
@Suite struct FuzzTests {
  static let count = ProcessInfo.processInfo.environment["FUZZ_COUNT"].flatMap(Int.init) ?? 300
  static let seed = ProcessInfo.processInfo.environment["FUZZ_SEED"].flatMap { UInt64($0) } ?? 1

  static let tokens: [[UInt8]] =
    [
      "\"", "\\", "\\u", "\\ud800", "{", "}", "[", "]", "null", "-", "1e999", "9223372036854775808", "-1", "true", ",", ":", "\u{0}", "..", "/", "%2e%2e", "%",
      "{\"add\":", "1.5", "é", "\n",
    ].map { Array($0.utf8) } + [[0xFF], [0xC3], [0x80, 0x80], [0, 0, 0, 0], [0xFF, 0xFF, 0xFF, 0xFF], [0xFF, 0xFF, 0xFF, 0x7F]]

  static func mutate(_ bytes: [UInt8], _ random: inout SplitMix64) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...5, using: &random) {
      guard !bytes.isEmpty else { break }
      let place = Int.random(in: 0..<bytes.count, using: &random)
      let length = min(Int.random(in: 1...12, using: &random), bytes.count - place)
      switch Int.random(in: 0..<8, using: &random) {
      case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
      case 1: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 2: bytes.removeSubrange(place..<place + length)
      case 3: bytes.insert(contentsOf: bytes[place..<place + length], at: place)
      case 4: bytes.insert(contentsOf: tokens.randomElement(using: &random)!, at: place)
      case 5: bytes.replaceSubrange(place..<place + length, with: tokens.randomElement(using: &random)!)
      case 6: bytes.removeSubrange(place...)
      default: bytes[place] = bytes[Int.random(in: 0..<bytes.count, using: &random)]
      }
    }
    return bytes
  }

  /// Runs `body` on mutants of `sample`; what it throws must be a `PlatformError` with a code of damage, and `explains` it.
  func fuzz(
    _ name: String, _ sample: [UInt8], codes: Set<PlatformError.Code> = [.invalidFile], explains: (PlatformError) -> Bool = { !$0.message.isEmpty },
    _ body: ([UInt8]) throws -> Void
  ) {
    for round in 0..<Self.count {
      var random = SplitMix64(seed: SplitMix64.mix(Self.seed &* 1_000_003 &+ UInt64(round)) ^ UInt64(sample.count))
      let bytes = round == 0 ? sample : Self.mutate(sample, &random)
      let start = ContinuousClock.now
      do { try body(bytes) } catch {
        let known = error as? PlatformError
        #expect(known.map { codes.contains($0.code) && explains($0) } == true, "\(name), seed \(Self.seed), round \(round): \(error)")
      }
      #expect(ContinuousClock.now - start < .seconds(10), "\(name), round \(round)")
      if round == 0 { #expect(throws: Never.self, "\(name): the sample itself") { try body(bytes) } }
    }
  }

  static let lines: [String] = [
    #"{"commitInfo":{"timestamp":1,"inCommitTimestamp":2,"operation":"WRITE","operationParameters":{"mode":"Append","x":[1,{"y":null}]},"isBlindAppend":true,"txnId":"a","readVersion":3,"tags":{"k":"v"}}}"#,
    #"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors","columnMapping","typeWidening"],"writerFeatures":["deletionVectors","columnMapping","typeWidening","rowTracking","domainMetadata"]}}"#,
    #"{"metaData":{"id":"i","name":"n","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"id\",\"type\":\"long\",\"nullable\":true,\"metadata\":{\"delta.columnMapping.id\":1,\"delta.columnMapping.physicalName\":\"c1\"}},{\"name\":\"m\",\"type\":{\"type\":\"map\",\"keyType\":\"string\",\"valueType\":{\"type\":\"array\",\"elementType\":\"decimal(10,2)\",\"containsNull\":true},\"valueContainsNull\":false},\"nullable\":true,\"metadata\":{\"delta.columnMapping.id\":2,\"delta.columnMapping.physicalName\":\"c2\"}}]}","partitionColumns":[],"configuration":{"delta.columnMapping.mode":"name","delta.columnMapping.maxColumnId":"2"},"createdTime":5}}"#,
    #"{"add":{"path":"p%20q/a.parquet","partitionValues":{},"size":10,"modificationTime":7,"dataChange":true,"stats":"{\"numRecords\":10,\"minValues\":{\"c1\":1},\"maxValues\":{\"c1\":\"é\\u00e9\"},\"nullCount\":{\"c1\":0}}","tags":{"a":"b"},"deletionVector":{"storageType":"i","pathOrInlineDv":"wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L","sizeInBytes":40,"cardinality":6},"baseRowId":4,"defaultRowCommitVersion":2}}"#,
    #"{"remove":{"path":"b.parquet","deletionTimestamp":9,"dataChange":true,"extendedFileMetadata":true,"partitionValues":{"x":null},"size":3,"stats":"{}"}}"#,
    #"{"txn":{"appId":"app","version":5,"lastUpdated":1}}"#, #"{"domainMetadata":{"domain":"d","configuration":"{}","removed":false}}"#,
    #"{"cdc":{"path":"_change_data/c.parquet","partitionValues":{},"size":4,"dataChange":false}}"#,
    #"{"checkpointMetadata":{"version":7,"tags":null}}"#, #"{"sidecar":{"path":"s.parquet","sizeInBytes":5,"modificationTime":6}}"#,
  ]

  @Test func actions() {
    for line in Self.lines + [Self.lines.joined(separator: "\n")] {
      fuzz("action", Array(line.utf8), explains: { $0.path == "the file" && $0.message.contains("byte") }) { bytes in
        for action in try Action.parse(Data(bytes), name: "the file") {
          // What was read can be written and read again as the same.
          #expect(try Action.parse(Action.encode([action]), name: "x") == [action])
        }
      }
    }
  }

  @Test func wholeTables() throws {
    let files = [Self.lines[0...3].joined(separator: "\n"), Self.lines[4...6].joined(separator: "\n"), Self.lines[5]]
    for damaged in 0..<3 {
      fuzz("table", Array(files[damaged].utf8), codes: [.invalidFile, .invalidArgument], explains: { !$0.message.isEmpty }) { bytes in
        let fixture = LogFixture(features: Set(TableFeature.readByData).union(TableFeature.writtenByData))
        for (version, text) in files.enumerated() {
          try fixture.store.put(ObjectPath("t/_delta_log/\(LogFixture.name(version)).json"), version == damaged ? Data(bytes) : Data(text.utf8))
        }
        let snapshot = try fixture.table.snapshot()
        for file in snapshot.files {
          // Damage in what is only looked at when it is needed.
          do { _ = try fixture.table.deletionVector(of: file) } catch {
            #expect([.invalidFile, .notFound, .invalidArgument].contains(PlatformError.from(error).code), "\(error)")
          }
          _ = file.rowCount
          _ = FileSkipper(snapshot).mayMatch(file, .compare(column: ["id"], .less, .integer(5)))
        }
        try fixture.table.writeCheckpoint(snapshot)
        #expect(try fixture.table.snapshot().filesByPath.count == snapshot.filesByPath.count)
      }
    }
  }

  @Test func checkpoints() throws {
    let rows = Self.lines[1...6].joined(separator: "\n")
    fuzz("checkpoint", Array(rows.utf8), codes: [.invalidFile, .invalidArgument]) { bytes in
      let fixture = LogFixture(features: Set(TableFeature.readByData).union(TableFeature.writtenByData))
      try fixture.store.put(ObjectPath("t/_delta_log/\(LogFixture.name(7)).checkpoint.parquet"), Data(bytes))
      try fixture.store.put(ObjectPath("t/_delta_log/_last_checkpoint"), Data("{\"version\":7}".utf8))
      _ = try fixture.table.snapshot()
    }
  }

  @Test func deletionVectors() throws {
    var random = SplitMix64(seed: 5)
    let samples = [
      DeletionVector([]), DeletionVector([1, 2, 3]), DeletionVector((0..<5000).map { UInt64($0) * 3 }), DeletionVector(100..<70_000),
      DeletionVector((0..<300).map { _ in UInt64.random(in: 0..<1 << 34, using: &random) }),
    ]
    for sample in samples {
      fuzz("vector", sample.serialized()) { bytes in
        let vector = try DeletionVector(serialized: bytes)
        #expect(try DeletionVector(serialized: vector.serialized()) == vector)
      }
      let (file, places) = try DeletionVectorFile.encode([sample, DeletionVector([9])])
      let descriptor = DeletionVectorDescriptor(
        storage: .relative, pathOrInlineDv: "ab^-aqEH.-t@S}K{vb[*k^", offset: places[0].offset, sizeInBytes: places[0].sizeInBytes,
        cardinality: Int64(sample.cardinality))
      let range = DeletionVectorFile.range(descriptor)
      fuzz("vector file", Array(file[range])) { bytes in
        // The checksum finds whatever is changed.
        let found = try DeletionVectorFile.decode(Data(bytes), descriptor)
        #expect(found == sample)
      }
    }
  }

  @Test func schemasStatisticsAndNames() throws {
    guard let text = try JSONValue(parsing: Self.lines[2])["metaData"]?["schemaString"]?.stringValue else { throw PlatformError(.internalError, "no schema") }
    fuzz("schema", Array(text.utf8), codes: [.invalidFile, .invalidArgument]) { bytes in
      let schema = try StructType(parsing: String(decoding: bytes, as: UTF8.self))
      #expect(try StructType(parsing: schema.schemaString) == schema)
    }
    fuzz("statistics", Array("{\"numRecords\":10,\"minValues\":{\"id\":1},\"maxValues\":{\"id\":9e3},\"nullCount\":{\"id\":0}}".utf8)) { bytes in
      var file = LogFixture.file("a")
      file.stats = String(decoding: bytes, as: UTF8.self)
      _ = (file.rowCount, file.physicalRowCount, FileStatistics.withWideBounds(file.stats ?? ""))
    }
    for name in [
      "00000000000000000012.checkpoint.0000000001.0000000003.parquet", "00000000000000000012.00000000000000000020.compacted.json",
      "_staged_commits/00000000000000000012.3a0d65cd-4056-49b8-937b-95f9e3ee90e5.json",
    ] {
      fuzz("name", Array(name.utf8)) { _ = LogFile(name: String(decoding: $0, as: UTF8.self)) }
    }
    fuzz("path", Array("a%20b/p=1/x.parquet".utf8)) { bytes in
      guard case .relative(let path) = try DeltaPath.location(String(decoding: bytes, as: UTF8.self)) else { return }
      #expect(PathText.isInside(path), "\(path)")
    }
  }
}
