// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation
import TestSupport
import Testing

@testable import Query

/// Statements that are repeated run on what the first time has left, and must not be able to tell.
@Suite struct KeptQueryTests {
  private struct Executor {
    let folder = TemporaryDirectory("kept")
    let session: StatementSession
    init() throws {
      session = StatementSession(.init(memoryLimit: "256MB", threads: 1, scratch: folder.path))
      try session.prepare()
    }

    func message(_ sql: String, user: String = "alice", rows: Int = 1000) throws -> StatementMessage {
      var spec = StatementSpec(kind: .select, sql: sql, tables: [])
      spec.variables = SQLExtensions.session(user: user, catalog: "main", schema: "default")
      spec.limits.rows = rows
      return try StatementMessage(StatementOrder(spec: spec, output: StatementOutput(directory: folder.file("result"))))
    }

    @discardableResult
    func run(_ sql: String, user: String = "alice", rows: Int = 1000) throws -> String {
      let message = try StatementMessage(decoding: message(sql, user: user, rows: rows).encoded)
      let answer = try session.run(message)
      return String(decoding: answer.rows, as: UTF8.self)
    }
  }

  @Test func aRepeatedQueryIsBoundOnce() throws {
    let executor = try Executor()
    for _ in 0..<5 { #expect(try executor.run("select 1") == #"[["1"]]"#) }
    #expect(executor.session.keptCount == 1)
    // Another principal, other limits, another text: another connection.
    try executor.run("select 1", user: "bob")
    try executor.run("select 1", rows: 7)
    try executor.run("select 1 ")
    #expect(executor.session.keptCount == 4)
    for number in 0..<200 { #expect(try executor.run("select \(number)") == "[[\"\(number)\"]]") }
    #expect(executor.session.keptCount <= 2 * KeptQueries.limit)
  }

  @Test func whatChangesByItselfChanges() throws {
    let executor = try Executor()
    var seen: [String: Set<String>] = [:]
    for _ in 0..<4 {
      for sql in ["select random()", "select uuid()", "select now()", "select current_timestamp", "select get_current_timestamp()"] {
        seen[sql, default: []].insert(try executor.run(sql))
      }
      usleep(3000)
    }
    for (sql, values) in seen { #expect(values.count == 4, "\(sql): \(values)") }
    #expect(try executor.run("select txid_current() > 0").contains("true"))
  }

  @Test func aSeedStaysWithItsStatement() throws {
    let executor = try Executor()
    let first = try executor.run("select setseed(0.25) is null, random() from range(1)")
    try executor.run("select setseed(0.25) is null")
    let one = try executor.run("select random()")
    try executor.run("select setseed(0.25) is null")
    #expect(try executor.run("select random()") != one)
    #expect(!first.isEmpty)
  }

  @Test func nothingOfOneStatementIsThereForTheNext() throws {
    let executor = try Executor()
    // Whatever of this an executor would take must be gone with its statement; most of it is refused.
    let attempts = [
      "create temp table t as select 42 as secret", "create table t as select 42 as secret", "set variable secret = 42", "prepare secret as select 42",
      "create sequence secret", "begin transaction", "pragma enable_profiling", "set threads = 3", "create macro secret() as 42",
      "create temp view t as select 42 secret",
      "attach ':memory:' as other", "use memory", "call pragma_version()", "export database 'x'", "checkpoint", "commit",
    ]
    for user in ["alice", "bob"] {
      #expect(try executor.run("select 1", user: user) == #"[["1"]]"#)
      for attempt in attempts {
        #expect(throws: PlatformError.self, "\(attempt)") { try executor.run(attempt, user: "alice") }
        #expect(throws: PlatformError.self, "select 1; \(attempt)") { try executor.run("select 1; \(attempt)", user: "alice") }
        #expect(throws: PlatformError.self) { try executor.run("select * from t", user: user) }
        #expect(throws: PlatformError.self) { try executor.run("execute secret", user: user) }
        #expect(throws: PlatformError.self) { try executor.run("select nextval('secret')", user: user) }
        #expect(throws: PlatformError.self) { try executor.run("select secret()", user: user) }
        #expect(try executor.run("select getvariable('secret')", user: user) == "[[null]]")
        #expect(try executor.run("select count(*) from duckdb_tables()", user: user) == #"[["0"]]"#)
        #expect(try executor.run("select count(*) from duckdb_prepared_statements() where name = 'secret'", user: user) == #"[["0"]]"#)
        #expect(try executor.run("select value from duckdb_settings() where name = 'threads'", user: user) == #"[["1"]]"#)
        #expect(try executor.run("select 1", user: user) == #"[["1"]]"#)
      }
    }
  }

  @Test func sessionWordsBelongToWhoAsks() throws {
    let executor = try Executor()
    let sql = "select getvariable('__session_user')"
    for _ in 0..<2 {
      #expect(try executor.run(sql, user: "alice") == #"[["alice"]]"#)
      #expect(try executor.run(sql, user: "bob") == #"[["bob"]]"#)
      // Without the words in the text nothing is set, and nothing was left.
      #expect(try executor.run("select getvariable('__session' || '_user')", user: "bob") == "[[null]]")
    }
  }

  @Test func whatFailedOrWasCutIsNotKept() throws {
    let executor = try Executor()
    for _ in 0..<3 {
      #expect(throws: PlatformError.self) { try executor.run("select error('no')") }
      #expect(throws: PlatformError.self) { try executor.run("select 1 / cast('x' || range as integer) from range(3)") }
      #expect(try executor.run("select range from range(10)", rows: 4) == #"[["0"],["1"],["2"],["3"]]"#)
    }
    #expect(executor.session.keptCount == 0)
    // It works, then not, then again.
    let sql = "select case when random() < 0.5 then error('no') else 'yes' end"
    var (worked, failed) = (0, 0)
    for _ in 0..<64 {
      do {
        #expect(try executor.run(sql) == #"[["yes"]]"#)
        worked += 1
      } catch { failed += 1 }
    }
    #expect(worked > 0 && failed > 0)
    #expect(try executor.run("select 2") == #"[["2"]]"#)
  }

  @Test(.timeLimit(.minutes(1))) func aCancelledStatementLeavesNothing() throws {
    let executor = try Executor()
    let long = "select sum(a.range * b.range) from range(3000000) a, range(3000000) b"
    #expect(try executor.run("select 1") == #"[["1"]]"#)
    for _ in 0..<2 {
      let isOver = Flag()
      let ended = DispatchSemaphore(value: 0)
      let thread = Thread {
        while !isOver.isSet {
          usleep(20_000)
          executor.session.interrupt()
        }
        ended.signal()
      }
      thread.start()
      #expect(throws: CancellationError.self) { try executor.run(long) }
      isOver.set()
      ended.wait()
    }
    // The engine may remember the last interrupt; the next statement starts without it.
    #expect(try executor.run("select 1") == #"[["1"]]"#)
    #expect(try executor.run("select count(*) from range(100000)") == #"[["100000"]]"#)
    #expect(executor.session.keptCount == 2)
  }

  private final class Flag: @unchecked Sendable {
    private let lock = NSLock()
    private var value = false
    var isSet: Bool { lock.withLock { value } }
    func set() { lock.withLock { value = true } }
  }

  @Test func statementsThatNeedMoreAreNotKept() throws {
    let executor = try Executor()
    var spec = StatementSpec(kind: .select, sql: "select nvl(null, 3)", tables: [])
    spec.definitions = SQLExtensions.definitions(["nvl"])
    let message = try StatementMessage(StatementOrder(spec: spec, output: StatementOutput(directory: executor.folder.file("result"))))
    for _ in 0..<2 { #expect(String(decoding: try executor.session.run(message).rows, as: UTF8.self) == #"[["3"]]"#) }
    // A parameter's value is set on the connection: it is not used again.
    spec = StatementSpec(kind: .select, sql: "select getvariable('__parameter_x')", tables: [])
    for value in ["one", "two"] {
      spec.variables = [StatementVariable(name: "__parameter_x", value: .string(value), type: "VARCHAR")]
      let message = try StatementMessage(StatementOrder(spec: spec, output: StatementOutput(directory: executor.folder.file("result"))))
      for _ in 0..<2 { #expect(String(decoding: try executor.session.run(message).rows, as: UTF8.self) == "[[\"\(value)\"]]") }
    }
    #expect(executor.session.keptCount == 0)
  }

  @Test func largeResultsOfARepeatedQueryGoToTheirOwnFolders() throws {
    let executor = try Executor()
    let message = try executor.message("select repeat('x', 1000) from range(900)")
    for name in ["first", "second"] {
      var own = message
      own.directory = executor.folder.file(name)
      let answer = try executor.session.run(own)
      #expect(answer.isStored && FileManager.default.fileExists(atPath: own.directory + "/0"))
    }
    #expect(executor.session.keptCount == 1)
  }

  @Test func answersAndOrdersSurviveTheirBytes() throws {
    let types: [SQLType] = [
      .integer, .decimal(18, 3), .list(.varchar), .structure([.init(name: "a b", type: .map(.varchar, .double))]), .other("UUID"), .timestampTZ,
    ]
    let columns = types.enumerated().map { Column("c\($0.offset) \"ü\"", $0.element) }
    let answer = StatementAnswer(
      result: StatementResult(columns: columns, rows: [], isTruncated: true, files: [], rowCount: 1 << 40),
      chunks: [.init(rows: 3, bytes: 9), .init(rows: 4, bytes: 1 << 33)], isStored: true, rows: Data("[]".utf8))
    let bytes = try answer.encoded()
    #expect(bytes[4] == AnswerHead.mark)
    let again = try StatementAnswer(decoding: bytes)
    #expect(again.result == answer.result && again.chunks == answer.chunks && again.isStored && again.rows == answer.rows)
    // Cut or damaged anywhere: an error, or another answer, never a crash.
    for length in 0..<(bytes.count - 2) { #expect(throws: PlatformError.self) { try StatementAnswer(decoding: bytes.prefix(length)) } }
    for index in bytes.indices {
      var damaged = bytes
      damaged[index] ^= 0xFF
      _ = try? StatementAnswer(decoding: damaged)  // what it says does not matter
    }
    // What a statement wrote travels in the other form.
    var writing = answer
    writing.result.rows = [[.integer(1)]]
    #expect(try writing.encoded()[4] != AnswerHead.mark)
    #expect(try StatementAnswer(decoding: writing.encoded()).result == writing.result)

    let message = try Executor().message("select 'ü'")
    let read = try StatementMessage(decoding: message.encoded)
    #expect(read.head == message.head && read.directory == message.directory)
    #expect(try read.order().output?.directory == message.directory)
    for length in 0..<(4 + message.head.count) { #expect(throws: PlatformError.self) { try StatementMessage(decoding: message.encoded.prefix(length)) } }
    #expect(throws: PlatformError.self) { try StatementMessage(head: Data("{".utf8), directory: "").order() }
  }
}
