// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation
import TestSupport
import Testing

@testable import Query

/// Files that other programs write in ways of their own, and values that are easily lost.
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct FileRepairTests {
  private func read(
    _ bytes: [UInt8], _ format: FileRead.Format, _ options: [String: String] = [:], name: String = "a", order: String = "ALL"
  ) throws -> [String] {
    let folder = TemporaryDirectory("files")
    let spec = try FileReadTests.spec([name: bytes], format, options, in: folder.path, sql: "SELECT * FROM __files_0 ORDER BY \(order)")
    // A statement's scratch directory is not made before it is used.
    return try StatementRunner.run(spec, context: QuietContext(scratchDirectory: folder.path + "/scratch")).rows.map { JSONValue.array($0).sortedText }
  }

  private func load(_ bytes: [UInt8], _ format: FileRead.Format, _ schema: [Column], _ options: [String: String] = [:], name: String = "a") throws -> [String] {
    let folder = TemporaryDirectory("files")
    let staged = FileRead(
      view: "__load", format: format, options: try FileOptions(options.merging(["rescuedDataColumn": ""]) { $1 }, format: format),
      files: try FileReadTests.list([name: bytes], in: folder.path),
      schema: schema)
    let load = FileLoad(
      read: staged, columns: schema, dataPath: folder.path + "/rows.parquet", quarantinePath: folder.path + "/bad.parquet", readAt: 0)
    let result = try load.run(context: QuietContext(scratchDirectory: folder.path + "/scratch"))
    let connection = try Database(settings: .init(threads: 1)).connect()
    func rows(_ file: WrittenFile?, _ columns: String, _ path: String) throws -> [String] {
      guard file != nil else { return [] }
      return try connection.rows("SELECT CAST(to_json(q) AS VARCHAR) FROM (SELECT \(columns) FROM '\(path)' ORDER BY ALL) q").map { $0[0].stringValue ?? "" }
    }
    return try rows(result.data, "*", folder.path + "/rows.parquet") + rows(result.quarantine, "line, byte_offset, reason, raw", folder.path + "/bad.parquet")
  }

  private static func parquet(_ query: String) throws -> [UInt8] {
    let folder = TemporaryDirectory("files")
    try Database(settings: .init(threads: 1)).connect().execute("COPY (\(query)) TO '\(folder.path)/a.parquet'")
    return Array(try Data(contentsOf: URL(fileURLWithPath: folder.path + "/a.parquet")))
  }

  @Test func zstdThatEndsTooEarlyIsDamaged() throws {
    let folder = TemporaryDirectory("files")
    let path = folder.path + "/a.csv.zst"
    try Database(settings: .init(threads: 1)).connect()
      .execute("COPY (SELECT i AS a, md5(i::VARCHAR) AS b FROM range(5000) r(i)) TO '\(path)' (FORMAT csv, HEADER, COMPRESSION zstd)")
    let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
    let options = ["schema": "a BIGINT, b STRING"]
    #expect(try read(bytes, .csv, options, name: "a.csv.zst").count == 5000)
    #expect(try read(bytes + [0x50, 0x2A, 0x4D, 0x18, 2, 0, 0, 0, 7, 7], .csv, options, name: "a.csv.zst").count == 5000)
    for length in [0, 3, 5, bytes.count / 2, bytes.count - 1] {
      #expect { try read(Array(bytes.prefix(length)), .csv, options, name: "a.csv.zst") } throws: {
        ($0 as? PlatformError)?.number == "PLT-3114" && ($0 as? PlatformError)?.message.contains("damaged zstd") == true
      }
    }
  }

  @Test func numbersOfJSONKeepTheirText() throws {
    let record = #"{"d":1234567890123456.7891,"s":1.10,"n":{"d":[-1234567890123456.7891],"s":1.10,"f":2.5,"t":"a 1.10"},"o":{"x":[1.10,"q 1.0"]},"f":1.50}"#
    let columns: [Column] = [
      Column("d", .decimal(20, 4)), Column("s", .varchar),
      Column(
        "n",
        .structure([
          SQLField(name: "d", type: .list(.decimal(20, 4))), SQLField(name: "s", type: .varchar), SQLField(name: "f", type: .double),
          SQLField(name: "t", type: .varchar),
        ])), Column("o", .varchar), Column("f", .double),
    ]
    let rows = try load(Array((record + "\n").utf8), .json, columns)
    #expect(rows.count == 1)
    let texts = try load(Array((record + "\n").utf8), .json, columns.map { Column($0.name, $0.name == "n" ? .varchar : $0.type) })
    for row in [rows, texts].compactMap(\.first) {
      #expect(row.contains("1234567890123456.7891") && row.contains(#""s":"1.10""#) && row.contains(#"{\"x\":[1.10,\"q 1.0\"]}"#), "\(row)")
      #expect(row.contains("-1234567890123456.7891") && row.contains("a 1.10") && row.contains(#""f":1.5"#), "\(row)")
    }
    #expect(rows[0].contains(#""s":"1.10","f":2.5"#), "\(rows)")
  }

  @Test func filesWithoutHeaderFillColumnsByPosition() throws {
    let bytes = Array("1,x\n2,y\n".utf8)
    #expect(try read(bytes, .csv, ["header": "false", "schema": "id BIGINT, name STRING"]) == [#"[1,"x"]"#, #"[2,"y"]"#])
    let loaded = try load(bytes, .csv, [Column("id", .bigint), Column("name", .varchar)], ["header": "false"])
    #expect(loaded == [#"{"id":1,"name":"x"}"#, #"{"id":2,"name":"y"}"#])
    let other = ["header": "false", "schema": "name STRING, id BIGINT"]
    #expect(try load(Array("x,1\n".utf8), .csv, [Column("id", .bigint), Column("name", .varchar)], other) == [#"{"id":1,"name":"x"}"#])
    #expect(try read(bytes, .csv, ["header": "false", "schema": "_c1 STRING"]).count == 2)
  }

  @Test(
    arguments: [
      ("a,b\r\n1,x\n2,y\r\n", ["1,x", "2,y"]), ("a,b\n1,x\r\n2,y\n", ["1,x", "2,y"]), ("a,b\r\n1,\"x\ny\"\r\n2,z\r\n", ["1,x\\ny", "2,z"]),
      ("a,b\n1,\"x\r\ny\"\r\n2,z", ["1,x\\r\\ny", "2,z"]), ("a,b\r\n1,\"say \"\"x\ny\"\"\"\n2,z\r", ["1,say \\\"x\\ny\\\"", "2,z"]),
      ("\n\na,b\n1,x\n", ["1,x"]), ("\r\n\r\na,b\r\n1,x\r\n", ["1,x"]), ("\n\r\na,b\r\n1,x\n", ["1,x"]),
    ]) func lineEndsOfAllKinds(text: String, expected: [String]) throws
  {
    let wanted = expected.map { row in
      let parts = row.split(separator: ",", maxSplits: 1)
      return "[\(parts[0]),\"\(parts[1])\",null]"
    }
    #expect(try read(Array(text.utf8), .csv) == wanted)
  }

  @Test func lineEndsOfTextAndJSON() throws {
    #expect(try read(Array("x\r\ny\n\r\nz\n".utf8), .text) == [#"[""]"#, #"["x"]"#, #"["y"]"#, #"["z"]"#])
    #expect(try read(Array("{\"a\":1}\r\n{\"a\":\r2}\n".utf8), .json) == ["[1,null]", "[2,null]"])
  }

  @Test func nestedValuesThatDoNotFitAreNotLost() throws {
    let list = try Self.parquet("SELECT 1 AS id, [{'x': 300}] AS l UNION ALL SELECT 2, [{'x': 3}]")
    let bad = "values that do not fit their columns"
    let tiny = SQLType.list(.structure([SQLField(name: "x", type: .tinyint)]))
    let rows = try load(list, .parquet, [Column("id", .bigint), Column("l", tiny)])
    #expect(rows.count == 2 && rows[0] == #"{"id":2,"l":[{"x":3}]}"# && rows[1].contains(bad), "\(rows)")
    for (json, type) in [
      (#"{"s":{"a":[1]}}"#, "STRUCT<a: STRUCT<b: INT>>"), (#"{"s":{"a":{"b":1}}}"#, "STRUCT<a: ARRAY<INT>>"),
      (#"{"s":[{"a":[]}]}"#, "ARRAY<STRUCT<a: MAP<STRING, INT>>>"),
      (#"{"s":{"k":{"a":"x"}}}"#, "MAP<STRING, STRUCT<a: INT>>"), (#"{"s":{"k":3}}"#, "MAP<STRING, STRUCT<a: INT>>"),
    ] {
      let rows = try load(Array((json + "\n{\"s\":null}\n").utf8), .json, try FileOptions.columns("s \(type)"))
      #expect(rows.count == 2 && rows[0] == #"{"s":null}"# && rows[1].contains(bad), "\(type): \(rows)")
    }
    let fine = try load(Array(#"{"s":{"k":{"a":null},"l":null}}"#.utf8), .json, try FileOptions.columns("s MAP<STRING, STRUCT<a: INT>>"))
    #expect(fine == [#"{"s":{"k":{"a":null},"l":null}}"#])
  }

  @Test func typesAreThoseOfCreateTable() throws {
    let columns = try FileOptions.columns("a STRUCT<x: INT, y: ARRAY<STRING>>, `b c`: MAP<STRING, INT>, c DECIMAL(10,2), d INT[], e STRUCT(z VARCHAR)")
    #expect(
      columns.map(\.type.sql) == [
        #"STRUCT("x" INTEGER, "y" VARCHAR[])"#, "MAP(VARCHAR, INTEGER)", "DECIMAL(10,2)", "INTEGER[]", #"STRUCT("z" VARCHAR)"#,
      ])
    #expect(columns[1].name == "b c")
    for text in ["", "a", "a INT,", "a INT b", "a NOTHING", "a INT, A INT"] {
      #expect { try FileOptions.columns(text) } throws: { ($0 as? PlatformError)?.number == "PLT-3111" }
    }
  }

  @Test(.enabled(if: Peers.python != nil, "no peer environment")) func decimalsOfTooManyDigitsAreRefused() throws {
    let folder = TemporaryDirectory("files")
    let script = """
      import sys, decimal, pyarrow as pa, pyarrow.parquet as pq
      d = pa.array([decimal.Decimal("1.5")], pa.decimal256(50, 2))
      pq.write_table(pa.table({"wide": d}), sys.argv[1])
      """
    _ = try Peers.run(script, [folder.path + "/a.parquet"])
    let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: folder.path + "/a.parquet")))
    #expect { try read(bytes, .parquet) } throws: { ($0 as? PlatformError)?.message.contains("column 'wide' holds decimals of 50 digits") == true }
  }

  @Test func positionsOfBadRecords() throws {
    let columns = [Column("a", .bigint), Column("b", .varchar)]
    #expect(try load(Array("a,b\r\n1,x\r\n2\r\n3,z\r\n".utf8), .csv, columns).last == #"{"line":3,"byte_offset":10,"reason":"missing columns","raw":"2"}"#)
    #expect(try load(Array("a,b\n\n2\n3,z\n".utf8), .csv, columns).last == #"{"line":3,"byte_offset":5,"reason":"missing columns","raw":"2"}"#)
    #expect(try load(Array("a,b\n1,\"x\ny\"\n2\n3,z\n".utf8), .csv, columns).last == #"{"line":null,"byte_offset":12,"reason":"missing columns","raw":"2"}"#)
  }

  @Test func largeWholeNumbersAndTextsOfNumbers() throws {
    let folder = TemporaryDirectory("files")
    let text = "a,b,c\n18446744073709551615,123456789012345678901234567890,9\n1,2,3\n"
    let spec = try FileReadTests.spec(["a.csv": Array(text.utf8)], .csv, [:], in: folder.path, sql: "SELECT * FROM __files_0")
    let result = try StatementRunner.run(spec, context: QuietContext(scratchDirectory: folder.path))
    #expect(result.columns.prefix(3).map(\.type.sql) == ["DECIMAL(20,0)", "DECIMAL(38,0)", "BIGINT"])
    let rows = try load(try Self.parquet("SELECT '1.5' AS a UNION ALL SELECT '2'"), .parquet, [Column("a", .integer)])
    #expect(rows.count == 2 && rows[0] == #"{"a":2}"# && rows[1].contains(#"\"a\":\"1.5\""#), "\(rows)")
  }
}
