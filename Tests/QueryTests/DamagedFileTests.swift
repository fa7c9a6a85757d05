// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation
import TestSupport
import Testing

@testable import Query

/// Damaged files fail the statement with their name, and never the process. `FUZZ_COUNT` mutants of each sample (80), from `FUZZ_SEED` (1).
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct DamagedFileTests {
  static let count = ProcessInfo.processInfo.environment["FUZZ_COUNT"].flatMap(Int.init) ?? 80
  static let seed = ProcessInfo.processInfo.environment["FUZZ_SEED"].flatMap { UInt64($0) } ?? 1

  /// - Parameter last: half of the damage is among that many bytes at the end, where the format keeps what is needed to read the rest.
  static func mutate(_ bytes: [UInt8], last: Int, _ random: inout SplitMix64) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...4, using: &random) {
      guard bytes.count > last + 8 else { return bytes }
      let at = Bool.random(using: &random) ? Int.random(in: bytes.count - last..<bytes.count, using: &random) : Int.random(in: 0..<bytes.count, using: &random)
      switch Int.random(in: 0..<5, using: &random) {
      case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
      case 1: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 2: bytes.removeSubrange(at..<min(bytes.count, at + Int.random(in: 1...5, using: &random)))
      case 3: bytes.insert(contentsOf: (0..<Int.random(in: 1...4, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }, at: at)
      default: bytes.replaceSubrange(at..<min(bytes.count, at + 8), with: [UInt8](repeating: 0xFF, count: min(8, bytes.count - at)))
      }
    }
    return bytes
  }

  @Test(arguments: ["snappy", "zstd", "uncompressed"]) func dataFilesOfTables(compression: String) throws {
    let folder = TemporaryDirectory("damaged")
    let engine = try Database(settings: .init(threads: 1)).connect()
    let path = folder.file("good-part.parquet")
    try engine.execute(
      """
      COPY (SELECT range AS id, 'n' || (range % 50) AS name, range / 4.0 AS score, [range, NULL] AS l, {'a': range, 'b': 'x' || range} AS s FROM range(2500))
      TO \(SQLText.literal(path)) (FORMAT parquet, ROW_GROUP_SIZE 1000, COMPRESSION \(compression))
      """)
    let good = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    let columns = [
      Column("id", .bigint), Column("name", .varchar), Column("score", .double), Column("l", .list(.bigint)),
      Column("s", try SQLType(sql: "STRUCT(a BIGINT, b VARCHAR)")),
    ]
    func run(_ other: String) throws -> [[JSONValue]] {
      var scan = TableScan(files: [path, other], columns: columns)
      for index in scan.files.indices { scan.files[index].size = Int64(good.count) }
      let spec = StatementSpec(
        kind: .select, sql: "SELECT count(*), count(name), sum(hash(id, name, score, l, s))::VARCHAR FROM t", tables: [.init(view: "t", scan: scan)])
      return try StatementRunner.run(spec, context: QuietContext(scratchDirectory: folder.path)).rows
    }
    let footer = Int(good[good.count - 8]) + Int(good[good.count - 7]) << 8
    let expected = try run(path)
    var failed = 0
    for round in 0..<Self.count {
      var random = SplitMix64(seed: SplitMix64.mix(Self.seed &* 7919 &+ UInt64(round)))
      let bytes = Self.mutate(good, last: footer + 8, &random)
      let name = "bad-part-\(round).parquet"
      try Data(bytes).write(to: URL(fileURLWithPath: folder.file(name)))
      defer { unlink(folder.file(name)) }
      do {
        let rows = try run(folder.file(name))
        // Values have no checksum; another length is told by the log.
        #expect(rows == expected || bytes.count == good.count, "round \(round)")
      } catch {
        failed += 1
        let known = error as? PlatformError
        #expect(known?.code == .invalidFile && known?.path == folder.file(name), "round \(round): \(error)")
      }
    }
    #expect(failed > Self.count / 3)
    // One that is not there.
    let missing = #expect(throws: PlatformError.self) { try run(folder.file("gone.parquet")) }
    #expect(missing?.path == folder.file("gone.parquet") && missing?.number == "PLT-3243")
  }

  /// Packed texts carry a checksum: what comes out is what went in, or the file is named.
  @Test(arguments: ["csv.gz", "json.gz"]) func packedTexts(ending: String) throws {
    let folder = TemporaryDirectory("damaged")
    let isJSON = ending.hasPrefix("json")
    let lines = (0..<400).map { isJSON ? "{\"a\":\($0),\"b\":\"text \($0 % 7)\"}" : "\($0),text \($0 % 7)" }
    let text = (isJSON ? lines : ["a,b"] + lines).joined(separator: "\n") + "\n"
    let engine = try Database(settings: .init(threads: 1)).connect()
    // The engine packs it: one column of text without anything around it.
    let packed = folder.file("whole." + ending)
    try engine.execute(
      "COPY (SELECT unnest(string_split(\(SQLText.literal(String(text.dropLast()))), chr(10))) AS l) TO \(SQLText.literal(packed)) (FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\u{1}', COMPRESSION gzip)"
    )
    let good = [UInt8](try Data(contentsOf: URL(fileURLWithPath: packed)))
    func read(_ bytes: [UInt8]) throws -> [[JSONValue]] {
      let inner = TemporaryDirectory("one")
      let spec = try FileReadTests.spec(
        ["f." + ending: bytes], isJSON ? .json : .csv, ["mode": "FAILFAST"], in: inner.path, sql: "SELECT count(*), sum(hash(a, b))::VARCHAR FROM __files_0")
      return try StatementRunner.run(spec, context: QuietContext(scratchDirectory: inner.path)).rows
    }
    let expected = try read(good)
    #expect(expected[0][0] == 400)
    for round in 0..<Self.count {
      var random = SplitMix64(seed: SplitMix64.mix(Self.seed &* 104_729 &+ UInt64(round)))
      let bytes = Self.mutate(good, last: 12, &random)
      do {
        #expect(try read(bytes) == expected, "round \(round): other rows without a word")
      } catch {
        let known = error as? PlatformError
        #expect(known.map { "\($0)".contains("f." + ending) } == true, "round \(round): \(error)")
      }
    }
  }
}
