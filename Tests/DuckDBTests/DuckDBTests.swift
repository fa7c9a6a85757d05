// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation
import Testing

@Suite struct DuckDBTests {
  static let isInstalled = InstalledFiles.find("duckdb/libduckdb.so") != nil

  @Test(.enabled(if: isInstalled, "DuckDB is not installed")) func everyDirectTypeComesBack() throws {
    let connection = try Database().connect()
    try connection.execute("SET TimeZone='UTC'")
    let rows = try connection.rows(
      """
      SELECT true, 1::TINYINT, -2::SMALLINT, 3::INTEGER, 4::BIGINT, (170141183460469231731687303715884105727)::HUGEINT,
        1.5::FLOAT,
        2.5::DOUBLE, -0.05::DECIMAL(4,2), 123456789.125::DECIMAL(30,3), 'a', 'a text longer than twelve bytes',
        '\\x00\\xFF'::BLOB,
        DATE '2024-02-29', TIMESTAMP '1969-12-31 23:59:59.5', [1.0::FLOAT, 2], ['x', NULL], {'k': 7, 'l': [1, 2]},
        MAP {'m': 1}, NULL::VARCHAR
      """)
    #expect(
      rows == [
        [
          .bool(true), .int(1), .int(-2), .int(3), .int(4), .decimal("170141183460469231731687303715884105727"),
          .double(1.5),
          .double(2.5), .decimal("-0.05"), .decimal("123456789.125"), .string("a"),
          .string("a text longer than twelve bytes"),
          .blob([0, 255]), .date(19782), .timestamp(-500_000), .floats([1, 2]), .list([.string("x"), .null]),
          .structure(["k": .int(7), "l": .list([.int(1), .int(2)])]),
          .list([.structure(["key": .string("m"), "value": .int(1)])]), .null,
        ]
      ])
    #expect(rows[0][13].json == "2024-02-29")
    #expect(rows[0][14].json == "1969-12-31T23:59:59.500000Z")
  }

  @Test(.enabled(if: isInstalled, "DuckDB is not installed")) func parametersArePositionalOrNamed() throws {
    let connection = try Database().connect()
    let values: [SQLValue] = [
      .bool(true), .int(7), .double(0.5), .string("it's"), .blob([1, 0]), .date(1), .timestamp(5), .null, .floats([1]),
      .list([.string("z")]),
    ]
    let rows = try connection.rows("SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?::FLOAT[], ?", values)
    #expect(rows == [values])
    let statement = try connection.prepare("SELECT $a::BIGINT + $b::BIGINT")
    try statement.bind(["a": .int(1), "b": .int(2)])
    #expect(try statement.run().next()?.column(0).int64(0) == 3)
    #expect(throws: PlatformError.self) { try connection.rows("SELECT ?", []) }
  }

  @Test(.enabled(if: isInstalled, "DuckDB is not installed")) func appenderTakesEveryType() throws {
    let connection = try Database().connect()
    try connection.execute(
      """
      CREATE TABLE t (a BOOLEAN, b TINYINT, c SMALLINT, d INTEGER, e BIGINT, f FLOAT, g DOUBLE, h VARCHAR, i BLOB,
        j DATE, k TIMESTAMP,
        l HUGEINT, m DECIMAL(9,2), n FLOAT[], o VARCHAR[])
      """)
    let row: [SQLValue] = [
      .bool(true), .int(1), .int(2), .int(3), .int(4), .double(0.5), .double(0.25), .string("some text that is long"),
      .blob([9]),
      .date(3), .timestamp(4), .decimal("-12345678901234567890"), .decimal("-1.50"), .floats([1, 2, 3]),
      .list([.string("p"), .string("q")]),
    ]
    let empty = [SQLValue](repeating: .null, count: row.count)
    let appender = try Appender(connection, table: "t")
    for index in 0..<5000 {
      for value in index % 3 == 0 ? empty : row { try appender.append(value) }
      try appender.endRow()
    }
    try appender.close()
    let rows = try connection.rows("SELECT * FROM t")
    #expect(rows.count == 5000)
    #expect(rows.enumerated().allSatisfy { $0.element == ($0.offset % 3 == 0 ? empty : row) })
    let wrong = try Appender(connection, table: "t")
    #expect(throws: PlatformError.self) { try wrong.append("text") }
    #expect(throws: PlatformError.self) { try wrong.endRow() }
  }

  @Test(.enabled(if: isInstalled, "DuckDB is not installed")) func errorsCarryTheEnginesText() throws {
    let connection = try Database().connect()
    let error = #expect(throws: PlatformError.self) { try connection.rows("SELECT missing FROM nowhere") }
    #expect(error?.code == .invalidArgument)
    #expect(error?.message.contains("nowhere") == true)
    #expect(throws: PlatformError.self) { try connection.rows("SELEC 1") }
    #expect(throws: PlatformError.self) { try connection.rows("") }
    #expect(throws: PlatformError.self) { try Database(settings: .init(extra: ["no_such_setting": "1"])) }
    #expect(try connection.rows("SELECT 1") == [[.int(1)]])
  }

  @Test(.enabled(if: isInstalled, "DuckDB is not installed")) func interruptEndsAQuery() throws {
    let connection = try Database(settings: .init(threads: 2)).connect()
    let thread = Thread {
      for _ in 0..<2000 where !Thread.current.isCancelled {
        connection.interrupt()
        usleep(5000)
      }
    }
    thread.start()
    defer { thread.cancel() }
    let error = #expect(throws: PlatformError.self) {
      try connection.rows("SELECT count(*) FROM range(100000000) a, range(100000) b WHERE a.range % 7 = b.range % 11")
    }
    #expect(error?.code == .cancelled)
  }

  @Test(arguments: [
    "BOOLEAN", "DECIMAL(10,2)", "FLOAT[]", "FLOAT[3][]", "STRUCT(\"a \"\" b\" INTEGER, \"c\" MAP(VARCHAR, BIGINT[]))",
    "TIMESTAMP WITH TIME ZONE",
  ]) func typesKeepTheirText(_ text: String) throws { #expect(try SQLType(sql: text).sql == text) }

  @Test(arguments: [
    "", "NOPE", "DECIMAL(40,1)", "STRUCT(", "FLOAT[", "MAP(INTEGER)", String(repeating: "MAP(INT,", count: 500),
  ])
  func badTypesAreRefused(_ text: String) { #expect(throws: PlatformError.self) { try SQLType(sql: text) } }

  @Test(.enabled(if: isInstalled, "DuckDB is not installed")) func endlessTimesHaveNames() throws {
    let connection = try Database().connect()
    for type in ["date", "timestamp", "timestamptz"] {
      let row = try #require(try connection.rows("SELECT '-infinity'::\(type), 'infinity'::\(type)").first)
      #expect(row.map(\.json) == ["-infinity", "infinity"], "\(type)")
    }
    for micros in [Int64.min, 1 - Int64.max, -1, 0, Int64.max - 1] { #expect(!SQLTime.timestamp(micros: micros).isEmpty) }
    #expect(SQLTime.timestamp(micros: -1) == "1969-12-31T23:59:59.999999Z")
  }
}
