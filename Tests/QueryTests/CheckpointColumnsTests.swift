// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import TestSupport
import Testing

@testable import Query

/// Reads checkpoints with the engine only.
private struct EngineHandler: ParquetHandler {
  func readCheckpoint(_ parquet: Data) throws -> [Data] { try DuckDBParquetHandler().readCheckpoint(parquet) }
  func writeCheckpoint(_ actions: [Data]) throws -> Data { try DuckDBParquetHandler().writeCheckpoint(actions) }
}

/// Reading checkpoints without the engine: what it says of each layout, and never anything else.
@Suite struct CheckpointColumnsTests {
  /// Actions of all kinds, most of them files.
  static let lines: [String] =
    CheckpointReaderTests.lines
    + (0..<700).map { index in
      let name = index % 7 == 0 ? #"a \"name\" \n é \#(index)"# : "name"
      let partition = index % 5 == 0 ? "null" : "\"day \(index / 50)\""
      let stats = index % 11 == 0 ? "" : #","stats":"{\"numRecords\":\#(index),\"minValues\":{\"id\":\#(index * 10)}}""#
      let rowId = index % 3 == 0 ? #","baseRowId":\#(index),"defaultRowCommitVersion":1"# : ""
      return
        #"{"add":{"path":"p=\#(index)/part-\#(UUID().uuidString).parquet","partitionValues":{"p":\#(partition),"q":"\#(name)"},"size":\#(index),"modificationTime":\#(1_700_000_000_000 + index),"dataChange":\#(index % 2 == 0)\#(stats)\#(rowId)}}"#
    }
    + (0..<90).map { #"{"remove":{"path":"gone-\#($0)","deletionTimestamp":\#($0),"dataChange":false,"size":3}}"# }

  static func parsed(_ lines: [String]) throws -> [Action] { try lines.compactMap { try Action.parsing(row: Data($0.utf8), name: "line") } }
  static let sound = Result { try DuckDBParquetHandler().writeCheckpoint(lines.map { Data($0.utf8) }) }

  @Test func ownCheckpoints() throws {
    let parquet = try Self.sound.get()
    let actions = try CheckpointColumns.actions(parquet, name: "c")
    #expect(actions == (try Self.parsed(Self.lines)))
    #expect(actions == (try DuckDBParquetHandler().readWithEngine(parquet, name: "c")))
  }

  /// How other writers lay the same rows out: encodings, pages of both versions, codecs, small pages and row groups.
  @Test(.enabled(if: Peers.python != nil, "no peer environment"))
  func layoutsOfOthers() throws {
    let folder = TemporaryDirectory("layouts")
    try Self.sound.get().write(to: URL(fileURLWithPath: folder.file("sound.parquet")))
    let script = """
      import sys, itertools, pyarrow as pa, pyarrow.parquet as pq
      folder = sys.argv[1]
      t = pq.read_table(folder + "/sound.parquet")
      n = 0
      def write(t, **options):
          global n
          pq.write_table(t, f"{folder}/{n}.parquet", **options)
          print(n, "engine" if options.get("compression") in ("gzip", "brotli") or options.get("column_encoding") else "own", options, sep="\\t")
          n += 1
      for codec, version, dictionary in itertools.product(["none", "snappy", "zstd"], ["1.0", "2.0"], [True, False]):
          write(t, compression=codec, data_page_version=version, use_dictionary=dictionary)
      write(t, compression="snappy", data_page_size=100, write_batch_size=7, row_group_size=100)
      write(t, compression="snappy", data_page_size=100, write_batch_size=7, data_page_version="2.0")
      write(t, compression="snappy", dictionary_pagesize_limit=200, data_page_size=500, write_batch_size=10)
      write(t, compression="none", use_compliant_nested_type=False, version="1.0")
      write(t, compression="gzip")
      write(t, compression="snappy", use_dictionary=False, column_encoding={"add.path": "DELTA_BYTE_ARRAY"})
      a = t["add"].combine_chunks()
      fields = [a.field(i) for i in range(a.type.num_fields)]
      names = [a.type.field(i).name for i in range(a.type.num_fields)]
      parsed = pa.array([None if x is None else {"numRecords": i, "minValues": {"id": i, "d": 1.5}} for i, x in enumerate(a.to_pylist())])
      day = pa.array([None if x is None else {"p": "x"} for x in a.to_pylist()])
      def columns(values, stats):
          f = [stats if name == "stats" else x for name, x in zip(names, fields)]
          s = pa.StructArray.from_arrays(f + [values, day], names + ["stats_parsed", "partitionValues_parsed"], mask=a.is_null())
          return t.set_column(t.schema.get_field_index("add"), "add", s)
      texts = fields[names.index("stats")]
      write(columns(pa.nulls(len(a), parsed.type), texts), compression="snappy")
      write(columns(parsed, pa.array(["{}" for _ in range(len(a))])), compression="snappy")
      """
    for line in try Peers.run(script, [folder.path]).split(separator: "\n") {
      let words = line.split(separator: "\t")
      let parquet = try Data(contentsOf: URL(fileURLWithPath: folder.file("\(words[0]).parquet")))
      let engine = try DuckDBParquetHandler().readWithEngine(parquet, name: "c")
      if words[1] == "engine" {
        #expect(throws: ParquetFault.self, "\(line)") { try CheckpointColumns.actions(parquet, name: "c") }
        #expect(try DuckDBParquetHandler().readCheckpointActions(parquet, name: "c") == engine)
      } else {
        #expect(try CheckpointColumns.actions(parquet, name: "c") == engine, "\(line)")
      }
      #expect(engine.count == Self.lines.count)
    }
  }

  /// Statistics that only columns have are read by the engine.
  @Test(.enabled(if: Peers.python != nil, "no peer environment"))
  func statisticsAsColumnsOnly() throws {
    let folder = TemporaryDirectory("parsed")
    let script = """
      import sys, pyarrow as pa, pyarrow.parquet as pq
      add = pa.struct([("path", pa.string()), ("size", pa.int64()), ("stats", pa.string()), ("stats_parsed", pa.struct([("numRecords", pa.int64())]))])
      pq.write_table(pa.table({"add": pa.array([{"path": "a", "size": 1, "stats_parsed": {"numRecords": 7}}], add)}), sys.argv[1])
      """
    _ = try Peers.run(script, [folder.file("a")])
    let parquet = try Data(contentsOf: URL(fileURLWithPath: folder.file("a")))
    #expect(throws: ParquetFault.unknown("statistics as columns only")) { try CheckpointColumns.actions(parquet, name: "c") }
    guard case .add(let file) = try DuckDBParquetHandler().readCheckpointActions(parquet, name: "c").first else {
      Issue.record("no file")
      return
    }
    #expect(file.rowCount == 7)
  }

  @Test(.enabled(if: Peers.python != nil, "no peer environment"))
  func checkpointsOfDeltalake() throws {
    let folder = TemporaryDirectory("deltalake")
    let script = """
      import os, sys, pyarrow as pa
      from deltalake import DeltaTable, write_deltalake
      for v in range(5):
          write_deltalake(sys.argv[1], pa.table({"id": [v, v + 1], "p": ["x", None], "s": ["é", "b"]}), mode="append", partition_by=["p"])
      t = DeltaTable(sys.argv[1])
      t.delete("id = 3")
      t.create_checkpoint()
      print(t.version())
      sys.stdout.flush()
      os._exit(0)  # the interpreter's teardown can race with native threads of the package
      """
    #expect(try Peers.run(script, [folder.file("t")]) == "5\n")
    let parquet = try Data(contentsOf: URL(fileURLWithPath: folder.file("t/_delta_log/00000000000000000005.checkpoint.parquet")))
    let engine = try DuckDBParquetHandler().readWithEngine(parquet, name: "c")
    #expect(try CheckpointColumns.actions(parquet, name: "c") == engine)
    #expect(engine.count { if case .add = $0 { true } else { false } } > 5)
  }

  /// Checkpoints with sidecars and in parts, through the log.
  @Test func snapshotsOfBothReaders() throws {
    for policy in ["classic", "v2"] {
      let store = InMemoryObjectStore()
      func table(_ handler: any ParquetHandler) throws -> DeltaTable {
        try DeltaTable(store: store, path: ObjectPath("t"), parquet: handler, dataFeatures: [.deletionVectors])
      }
      let own = try table(DuckDBParquetHandler())
      _ = try own.create(
        schema: StructType(fields: [.init(name: "id", type: .primitive("long"))]),
        configuration: ["delta.checkpointPolicy": policy, "delta.checkpointInterval": "4"])
      for round in 0..<4 {
        let files = (0..<50).map { AddFile(relativePath: "f \(round)-\($0)", size: Int64($0), statistics: ["numRecords": .integer(Int64($0))]) }
        _ = try own.append(files, transaction: AppTransaction(appId: "a", version: Int64(round)))
      }
      let log = try ObjectPath("t/_delta_log")
      for version in 0..<4 { try store.delete(log.appending("0000000000000000000\(version).json")) }
      if policy == "classic" {
        // The same in two parts.
        let name = try ObjectPath("t/_delta_log/00000000000000000004.checkpoint.parquet")
        let rows = try DuckDBParquetHandler().readCheckpoint(store.get(name))
        for (part, piece) in [rows.prefix(77), rows.dropFirst(77)].enumerated() {
          let data = try DuckDBParquetHandler().writeCheckpoint(Array(piece))
          try store.put(ObjectPath("t/_delta_log/00000000000000000004.checkpoint.000000000\(part + 1).0000000002.parquet"), data)
        }
        try store.delete(name)
      }
      let (fast, slow) = (try own.snapshot(), try table(EngineHandler()).snapshot())
      #expect(fast.files.count == 200 && fast.filesByPath == slow.filesByPath && fast.transactions == slow.transactions)
      #expect(fast.metadata == slow.metadata && fast.tableProtocol == slow.tableProtocol)
    }
  }

  /// Changed bytes: the engine's answer, that of the sound file, or an error that names the file and the byte.
  @Test(arguments: ["uncompressed", "snappy", "zstd"])
  func damageIsNamed(codec: String) throws {
    let handler = DuckDBParquetHandler()
    let lines = CheckpointReaderTests.lines + Self.lines.suffix(3)
    let folder = TemporaryDirectory("damage")
    let (given, made) = (folder.file("given"), folder.file("made"))
    try handler.writeCheckpoint(lines.map { Data($0.utf8) }).write(to: URL(fileURLWithPath: given))
    try Database(settings: .init(threads: 1)).connect().execute(
      "COPY (FROM read_parquet(\(SQLText.literal(given)))) TO \(SQLText.literal(made)) (FORMAT parquet, COMPRESSION \(codec))")
    let sound = try Data(contentsOf: URL(fileURLWithPath: made))
    let answer = try CheckpointColumns.actions(sound, name: "the file")
    #expect(answer.count == lines.count)
    var (refused, unknown, different) = (0, 0, 0)
    for round in 0..<CheckpointReaderTests.count {
      var random = SplitMix64(seed: SplitMix64.mix(CheckpointReaderTests.seed &* 104_729 &+ UInt64(round)))
      var bytes = sound
      for _ in 0..<Int.random(in: 1...3, using: &random) where bytes.count > 12 {
        let place = bytes.startIndex + Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
        case 1...3: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 4: bytes[place] = 0xFF
        default: bytes.removeSubrange(place..<min(bytes.endIndex, place + 3))
        }
      }
      do {
        let actions = try CheckpointColumns.actions(bytes, name: "the file")
        guard actions != answer else { continue }
        different += 1
        // What still makes sense makes the same sense to the engine.
        if let engine = try? handler.readWithEngine(bytes, name: "the file") { #expect(actions == engine, "round \(round)") }
      } catch is ParquetFault {
        unknown += 1
      } catch {
        let known = PlatformError.from(error)
        #expect(known.code == .invalidFile && known.path == "the file" && known.message.contains(" at byte "), "round \(round): \(known)")
        refused += 1
      }
    }
    #expect(refused > CheckpointReaderTests.count / 3 && unknown + different > 0, "\(refused), \(unknown), \(different)")
  }

  @Test func runsEndWhereTheirBytesEnd() throws {
    // A run of five threes, then eight values of three bits.
    let packed: [UInt8] = [10, 3, 3, 0b10_001_000, 0b1_100_011_0, 0b111_110_10]
    packed.withUnsafeBytes { bytes in
      var runs = ParquetRuns(bytes, width: 3, place: 9)
      var found: [Int] = []
      #expect(throws: Never.self) { try runs.read(13, limit: 7, into: &found) }
      #expect(found == [3, 3, 3, 3, 3, 0, 1, 2, 3, 4, 5, 6, 7])
      #expect(throws: ParquetFault.damaged("levels or indexes end too early", offset: 9)) { try runs.read(1, limit: 7, into: &found) }
      var short = ParquetRuns(UnsafeRawBufferPointer(rebasing: bytes[..<4]), width: 3, place: 9)
      found = []
      #expect(throws: ParquetFault.damaged("levels or indexes end too early", offset: 9)) { try short.read(13, limit: 7, into: &found) }
    }
  }
}
