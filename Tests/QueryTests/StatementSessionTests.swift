// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation
import TestSupport
import Testing

@testable import Query

@Suite struct StatementSessionTests {
  private func order(_ sql: String, _ folder: TemporaryDirectory, _ change: (inout StatementOrder) -> Void = { _ in }) -> StatementOrder {
    var order = StatementOrder(spec: StatementSpec(kind: .select, sql: sql, tables: []), output: StatementOutput(directory: folder.file("result")))
    order.spec.limits.rows = 1_000_000
    order.spec.limits.bytes = 1 << 30
    change(&order)
    return order
  }

  private func session(_ folder: TemporaryDirectory) -> StatementSession {
    StatementSession(.init(memoryLimit: "256MB", threads: 1, scratch: folder.path))
  }

  @Test func valuesAreTextsAndNullIsNull() throws {
    let folder = TemporaryDirectory("session")
    let session = session(folder)
    try session.prepare()
    let answer = try session.run(
      order(
        "select 1 a, -9223372036854775808 b, 1.5::double c, 'q\"\\\n' || chr(1) d, null e, date '2024-02-29' f, {'z': 1, 'a': [null, 'x']} g, 'nan'::double h",
        folder))
    #expect(
      String(decoding: answer.rows, as: UTF8.self)
        == #"[["1","-9223372036854775808","1.5","q\"\\\n\u0001",null,"2024-02-29","{\"z\":1,\"a\":[null,\"x\"]}","NaN"]]"#)
    #expect(answer.chunks == [.init(rows: 1, bytes: Int64(answer.rows.count))] && !answer.isStored)
    let again = try StatementAnswer(decoding: answer.encoded())
    #expect(again.rows == answer.rows && again.result == answer.result)
    for length in 0..<20 { #expect(throws: PlatformError.self) { try StatementAnswer(decoding: answer.encoded().prefix(length)) } }
  }

  @Test func largeResultsBecomeChunksThatJoinToTheWhole() throws {
    let folder = TemporaryDirectory("session")
    let answer = try session(folder).run(
      order("select range from range(10000)", folder) {
        $0.output?.inlineBytes = 1000
        $0.output?.chunkBytes = 20_000
      })
    #expect(answer.isStored && answer.chunks.count > 3 && answer.rows.isEmpty)
    var seen: [String] = []
    for (index, chunk) in answer.chunks.enumerated() {
      let data = try #require(FileManager.default.contents(atPath: folder.file("result") + "/\(index)"))
      #expect(Int64(data.count) == chunk.bytes)
      let rows = try JSONValue(parsing: data).arrayValue ?? []
      #expect(Int64(rows.count) == chunk.rows)
      seen += rows.compactMap { $0.arrayValue?.first?.stringValue }
    }
    #expect(seen == (0..<10_000).map(String.init))
  }

  @Test func limitsCutAndSaySo() throws {
    let folder = TemporaryDirectory("session")
    let session = session(folder)
    let rows = try session.run(order("select range from range(10)", folder) { $0.spec.limits.rows = 4 })
    #expect(rows.result.isTruncated && rows.result.rowCount == 4)
    let exact = try session.run(order("select range from range(4)", folder) { $0.spec.limits.rows = 5 })
    #expect(!exact.result.isTruncated)
    let bytes = try session.run(order("select repeat('x', 1000) from range(100)", folder) { $0.spec.limits.bytes = 5000 })
    #expect(bytes.result.isTruncated && (4...6).contains(bytes.result.rowCount))
    let none = try session.run(order("select 1 where false", folder))
    #expect(none.chunks.isEmpty && none.rows.isEmpty && none.result.columns.count == 1)
  }

  @Test func statementsCannotLeaveTheirBox() throws {
    let folder = TemporaryDirectory("session")
    let session = session(folder)
    try session.prepare()
    for sql in ["select * from read_csv('/etc/passwd')", "select * from glob('/*')", "select getenv('HOME')"] {
      #expect(throws: PlatformError.self, "\(sql)") { try session.run(order(sql, folder)) }
    }
    #expect(throws: PlatformError.self) { try session.run(order("select 1) as x; set threads=1; select * from (select 1", folder)) }
  }

  @Test(.timeLimit(.minutes(1))) func anInterruptEndsAStatement() throws {
    let folder = TemporaryDirectory("session")
    let session = session(folder)
    try session.prepare()
    let thread = Thread {
      for _ in 0..<400 {
        usleep(20_000)
        session.interrupt()
      }
    }
    thread.start()
    #expect(throws: CancellationError.self) {
      try session.run(order("select sum(a.range * b.range) from range(3000000) a, range(3000000) b", folder))
    }
  }

  @Test func databasesSpillIntoFoldersOfTheirOwn() throws {
    let folder = TemporaryDirectory("session")
    let session = StatementSession(.init(memoryLimit: "32MB", threads: 1, scratch: folder.path))
    func spills() throws -> Int { try FileManager.default.contentsOfDirectory(atPath: folder.path).count { $0.hasPrefix("spill") } }
    func fill(_ connection: Connection, _ table: String) throws {
      try connection.execute("CREATE TEMP TABLE \(table) AS SELECT hash(range) AS x FROM range(6000000)")
    }
    var first: Connection? = try session.open(threads: 1).connect()
    let second = try session.open(threads: 1).connect()
    for connection in [try #require(first), second] { try fill(connection, "a") }
    #expect(try spills() == 2)
    first = nil
    try fill(second, "b")
    #expect(try second.rows("SELECT count(DISTINCT x % 10) FROM (SELECT x FROM a UNION ALL SELECT x FROM b)")[0][0].intValue == 10)
    #expect(try spills() == 1)
  }

  @Test func databasesThatHoldMuchAreClosedFirst() throws {
    let folder = TemporaryDirectory("session")
    let session = session(folder)
    let connection = try session.open(threads: 1).connect()
    #expect(!session.isHeavy(OpenedTables(connection: connection, key: nil)))
    try connection.execute("CREATE TEMP TABLE a AS SELECT hash(range) AS x FROM range(12000000)")
    #expect(session.isHeavy(OpenedTables(connection: connection, key: nil)))
    #expect(StatementSession.bytes("1.5 KiB") == 1536 && StatementSession.bytes("244.0 MiB") == 244 << 20 && StatementSession.bytes("much") == nil)
  }

  @Test func columnsOfEveryTypeKeepTheirNames() throws {
    let folder = TemporaryDirectory("session")
    let session = session(folder)
    let query = "select '00000000-0000-0000-0000-000000000001'::uuid as id, 1 as x, time '01:02:03' as at, interval 1 day as span, 5::utinyint as small"
    let answer = try session.run(order(query, folder) { $0.output?.format = .csv })
    let lines = String(decoding: answer.rows, as: UTF8.self).split(whereSeparator: \.isNewline)
    #expect(lines.first == "id,x,at,span,small" && lines.last == "00000000-0000-0000-0000-000000000001,1,01:02:03,1 day,5", "\(lines)")
    let times = try session.run(order("select timestamp '2024-01-02 03:04:05' a, timestamptz '2024-01-02 03:04:05+00' b", folder))
    #expect(String(decoding: times.rows, as: UTF8.self) == #"[["2024-01-02T03:04:05.000000","2024-01-02T03:04:05.000000Z"]]"#)
  }

  @Test(.enabled(if: Peers.python != nil, "no peer environment")) func arrowReadersReadEveryType() throws {
    let folder = TemporaryDirectory("session")
    let answer = try session(folder).run(
      order(
        """
        select range::tinyint a, range::smallint b, range::integer c, range d, range::hugeint e, range::float f, range::double g, range % 2 = 0 h,
          range::varchar i, range::varchar::blob j, date '2024-02-29' k, timestamp '2024-01-02 03:04:05.678901' l, 12.50::decimal(9, 2) m,
          -0.05::decimal(38, 2) n, [range, null] o, {'a': range, 'b': {'c': 'x'}} p, map {'k': range} q, [1.5, range]::float[2] r,
          case when range % 3 = 0 then null else range end s, case when range % 2 = 0 then null else ['x', 'yy'] end t
        from range(100)
        """, folder
      ) {
        $0.output?.format = .arrowStream
        $0.output?.inlineBytes = 0
      })
    #expect(answer.chunks.count == 1 && answer.isStored)
    let seen = try Peers.run(
      """
      import sys, pyarrow.ipc as ipc
      t = ipc.open_stream(open(sys.argv[1], "rb")).read_all()
      t.validate(full=True)
      print(t.num_rows, t.slice(99, 1).to_pylist()[0])
      print(t["s"].null_count, t["t"].null_count, t["t"].to_pylist()[1], [str(f.type) for f in t.schema])
      """, [folder.file("result/0")])
    #expect(seen.hasPrefix("100 {'a': 99, 'b': 99, 'c': 99, 'd': 99, 'e': Decimal('99'), 'f': 99.0, 'g': 99.0, 'h': False, 'i': '99', 'j': b'99'"), "\(seen)")
    #expect(
      seen.contains(
        "'n': Decimal('-0.05'), 'o': [99, None], 'p': {'a': 99, 'b': {'c': 'x'}}, 'q': [('k', 99)], 'r': [1.5, 99.0], 's': None, 't': ['x', 'yy']}"), "\(seen)")
    #expect(
      seen.contains("34 50 ['x', 'yy'] ['int8', 'int16', 'int32', 'int64', 'decimal128(38, 0)', 'float', 'double', 'bool', 'string', 'binary', 'date32[day]'"),
      "\(seen)")
  }
}
