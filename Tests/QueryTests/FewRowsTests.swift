// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation
import TestSupport
import Testing

@testable import Query

/// Files of a few rows, which are encoded without the engine: the engine and pyarrow read them as they were meant.
@Suite struct FewRowsTests {
  static let columns = [
    Column("flag", .boolean), Column("tiny", .tinyint), Column("small", .smallint), Column("number", .integer), Column("big", .bigint),
    Column("single", .float), Column("double", .double), Column("text", .varchar), Column("bytes", .blob), Column("day", .date),
    Column("at", .timestampTZ), Column("quote\"d", .timestamp),
  ]

  /// Values at the edges of each type, nulls between them, and runs of both.
  static func rows(_ count: Int, seed: UInt64) -> [[SQLValue]] {
    var random = SplitMix64(seed: seed)
    func pick<T>(_ items: [T]) -> T { items[Int.random(in: 0..<items.count, using: &random)] }
    return (0..<count).map { _ in
      columns.map { column -> SQLValue in
        if Int.random(in: 0..<4, using: &random) == 0 { return .null }
        switch column.type {
        case .boolean: return .bool(.random(using: &random))
        case .tinyint: return .int(pick([-128, 127, 0, 5]))
        case .smallint: return .int(pick([-32768, 32767, 1]))
        case .integer: return .int(pick([Int64(Int32.min), Int64(Int32.max), 77]))
        case .bigint: return .int(pick([.min, .max, 0, 1 << 40]))
        case .float: return .double(pick([0.5, -1e30, 3.25]))
        case .double: return .double(pick([0.1, -1e300, .infinity, 2]))
        case .varchar: return .string(pick(["", "a", "žluťoučký", String(repeating: "é", count: 50), "line\nbreak", "\u{0}x"]))
        case .blob: return .blob(pick([[], [0, 255, 128], Array(repeating: 7, count: 300)]))
        case .date: return .date(pick([0, -719_162, 2_932_896, 19_000]))
        default: return .timestamp(pick([0, -1, 1_700_000_000_123_456, -62_135_596_800_000_000]))
        }
      }
    }
  }

  /// The same rows through the engine: what both files hold and say about themselves is equal.
  @Test(arguments: [1, 2, 9, 255] as [Int]) func theEngineReadsWhatWasWritten(count: Int) throws {
    let folder = TemporaryDirectory("few")
    let rows = Self.rows(count, seed: UInt64(count))
    let few = try ParquetTableWriter(path: folder.file("few.parquet"), columns: Self.columns)
    let many = try ParquetTableWriter(path: folder.file("many.parquet"), columns: Self.columns)
    for row in rows {
      try few.append(row)
      try many.appendRow { appender in for value in row { try appender.append(value) } }
    }
    #expect(few.rowCount == count && many.rowCount == count)
    let own = try #require(try few.finish())
    let engines = try #require(try many.finish())
    #expect(own.rows == Int64(count))
    #expect(own.sizeBytes == Int64(try Data(contentsOf: URL(fileURLWithPath: own.path)).count))
    #expect(own.statistics == engines.statistics)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == ["few.parquet", "many.parquet"])
    let connection = try Database(settings: .init(threads: 1)).connect()
    let (left, right) = (SQLText.literal(own.path), SQLText.literal(engines.path))
    let kinds = "SELECT name, type, repetition_type FROM parquet_schema"
    #expect(
      try connection.rows("\(kinds)(\(left)) WHERE type IS NOT NULL") == connection.rows("\(kinds)(\(right)) WHERE type IS NOT NULL"))
    #expect(
      try connection.query("SELECT * FROM read_parquet(\(left)) LIMIT 0").columns.map(\.type)
        == connection.query("SELECT * FROM read_parquet(\(right)) LIMIT 0").columns.map(\.type))
    #expect(try connection.rows("SELECT * FROM read_parquet(\(left))") == connection.rows("SELECT * FROM read_parquet(\(right))"))
    #expect(try connection.rows("SELECT * FROM read_parquet(\(left))").count == count)
  }

  @Test(.enabled(if: Peers.python != nil, "no peer environment")) func pyarrowReadsWhatWasWritten() throws {
    let folder = TemporaryDirectory("few")
    for (name, uses) in [("few", true), ("many", false)] {
      let writer = try ParquetTableWriter(path: folder.file("\(name).parquet"), columns: Self.columns)
      for row in Self.rows(100, seed: 7) {
        if uses { try writer.append(row) } else { try writer.appendRow { appender in for value in row { try appender.append(value) } } }
      }
      _ = try #require(try writer.finish())
    }
    let text = try Peers.run(
      """
      import sys, pyarrow.parquet as pq
      few, many = [pq.read_table(p) for p in sys.argv[1:]]
      few.validate(full=True)
      print(few.num_rows, few.schema.equals(many.schema), few.equals(many), few.schema.field("at").type, few.schema.field("tiny").type)
      """, [folder.file("few.parquet"), folder.file("many.parquet")])
    #expect(text.trimmingCharacters(in: .whitespacesAndNewlines) == "100 True True timestamp[us, tz=UTC] int8")
  }

  /// What does not fit in goes to the engine, with all rows before it.
  @Test func manyRowsGoToTheEngine() throws {
    let folder = TemporaryDirectory("few")
    let columns = [Column("id", .bigint), Column("text", .varchar)]
    for (count, size) in [(FewRows.rowLimit + 1, 3), (3, FewRows.byteLimit / 2)] {
      let writer = try ParquetTableWriter(path: folder.file("\(count).parquet"), columns: columns)
      for id in 0..<count { try writer.append([.int(Int64(id)), .string(String(repeating: "x", count: size))]) }
      #expect(writer.rowCount == count)
      let file = try #require(try writer.finish())
      #expect(file.rows == Int64(count) && file.statistics["maxValues"]?["id"] == .integer(Int64(count - 1)))
      let connection = try Database(settings: .init(threads: 1)).connect()
      let row = try connection.rows("SELECT count(*), sum(id)::BIGINT, min(length(text)) FROM read_parquet(\(SQLText.literal(file.path)))").first
      #expect(row == [.int(Int64(count)), .int(Int64(count * (count - 1) / 2)), .int(Int64(size))])
      #expect(
        try connection.rows("SELECT DISTINCT compression FROM parquet_metadata(\(SQLText.literal(file.path)))") == [[.string("ZSTD")]])
    }
  }

  /// A value that is none of its column's is refused with the engine's words, whatever came before.
  @Test func badValuesAreRefused() throws {
    let folder = TemporaryDirectory("few")
    func text(_ body: () throws -> Void) -> String? {
      do {
        try body()
        return nil
      } catch { return PlatformError.from(error).description }
    }
    for (type, value) in [(SQLType.tinyint, SQLValue.int(128)), (.bigint, .string("1")), (.varchar, .int(1)), (.boolean, .int(1)), (.date, .int(1 << 40))] {
      let writer = try ParquetTableWriter(path: folder.file("bad.parquet"), columns: [Column("a", type)])
      try writer.append([.null])
      #expect(text { try writer.append([value]) }?.contains("column 1 of type \(type.sql) cannot take") == true)
    }
    let writer = try ParquetTableWriter(path: folder.file("bad.parquet"), columns: [Column("a", .bigint), Column("b", .bigint)])
    #expect(text { try writer.append([.int(1)]) }?.contains("a row has 2 columns") == true)
    #expect(try ParquetTableWriter(path: folder.file("none.parquet"), columns: [Column("a", .bigint)]).finish() == nil)
    #expect(!FileManager.default.fileExists(atPath: folder.file("none.parquet")))
  }
}
