// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres
import TestSupport
import Testing

/// A server that is stopped answers nothing and closes nothing: only bounds of this side end the wait.
@Suite(.serialized) struct HungServerTests {
  private func backend(_ pool: PostgresPool) async throws -> Int32 {
    Int32(try await pool.query("SELECT pg_backend_pid() AS pid")[0].int("pid"))
  }

  /// The error of `body` and how long it took.
  private func failure(_ body: () async throws -> Void) async throws -> (error: PlatformError, seconds: Double) {
    let start = ContinuousClock.now
    let error = await #expect(throws: PlatformError.self) { try await body() }
    return (try #require(error), start.duration(to: .now) / .seconds(1))
  }

  @Test(.timeLimit(.minutes(2))) func aStoppedBackendCostsItsConnectionAndNoMore() async throws {
    let pool = try await makePool(size: 1)
    defer { pool.close() }
    try await pool.execute("CREATE TABLE t (id int)")
    let stopped = try await backend(pool)
    kill(stopped, SIGSTOP)
    defer { kill(stopped, SIGCONT) }
    let first = try await failure {
      try await pool.execute("INSERT INTO t (id)\n  VALUES ($1)", [.int(4711)], within: .milliseconds(300))
    }
    #expect(first.error.code == .timeout && first.error.isRetryable && first.error.number == "PLT-1109")
    #expect(first.error.message.contains("'INSERT INTO t (id) VALUES ($1)'") && first.error.message.contains("0.3 seconds"))
    #expect(!first.error.message.contains("4711"), "values stay out of messages")
    #expect(first.seconds >= 0.3 && first.seconds < 10)
    #expect(try await backend(pool) != stopped, "the pool's one thread goes on with a new connection")

    kill(stopped, SIGCONT)
    while try await !pool.query("SELECT 1 FROM pg_stat_activity WHERE pid = $1", [.int(Int(stopped))]).isEmpty {
      try await Task.sleep(for: .milliseconds(10))
    }
  }

  @Test(.timeLimit(.minutes(2))) func aTransactionThatIsNotAnsweredLeavesNothing() async throws {
    let pool = try await makePool(size: 1)
    defer { pool.close() }
    try await pool.execute("CREATE TABLE t (id int)")
    let stopped = try await backend(pool)
    defer { kill(stopped, SIGCONT) }
    let (error, _) = try await failure {
      try await pool.transaction(within: .milliseconds(300)) { transaction in
        try transaction.execute("INSERT INTO t VALUES (1)")
        kill(stopped, SIGSTOP)
        do {
          try transaction.execute("INSERT INTO t VALUES (2)")
        } catch {
          // Not even somebody who goes on regardless can use the connection again, or commit.
          try transaction.execute("INSERT INTO t VALUES (3)")
        }
      }
    }
    #expect(error.code == .unavailable && error.message.contains("given up"))
    kill(stopped, SIGCONT)
    #expect(try await pool.query("SELECT id FROM t").isEmpty)
  }

  @Test(.timeLimit(.minutes(2))) func aSlowStatementIsCancelledInTheServer() async throws {
    var configuration = PostgresConfiguration(connectionString: try await PostgresServer.shared.connection(), schema: "public", poolSize: 2)
    configuration.statementTimeout = .zero
    configuration.answerTimeout = .milliseconds(300)
    let pool = try PostgresPool(configuration)
    defer { pool.close() }
    let mark = "slow-\(UInt32.random(in: 0 ... .max))"
    let (error, seconds) = try await failure { _ = try await pool.query("SELECT pg_sleep(50), '\(mark)'") }
    #expect(error.code == .timeout && error.message.contains("asked to stop") && seconds < 20)
    let running = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%' || $1 || '%' AND query LIKE 'SELECT pg_sleep%' AND state = 'active'"
    while try await !pool.query(running, [.text(mark)], within: .seconds(20)).isEmpty { try await Task.sleep(for: .milliseconds(10)) }
    // The call's own bound goes before the pool's.
    _ = try await pool.query("SELECT pg_sleep(0.5)", within: .seconds(20))
    configuration.answerTimeout = .zero
    #expect(throws: PlatformError.self) { try PostgresPool(configuration) }
  }

  @Test(.timeLimit(.minutes(2))) func loadingIntoAStoppedBackendEnds() async throws {
    let pool = try await makePool(size: 1)
    defer { pool.close() }
    try await pool.execute("CREATE TABLE t (body text)")
    let stopped = try await backend(pool)
    kill(stopped, SIGSTOP)
    defer { kill(stopped, SIGCONT) }
    // More than the socket takes.
    let rows = [[PostgresValue]](repeating: [.text(String(repeating: "x", count: 10_000))], count: 1000)
    let (error, seconds) = try await failure { try await pool.copyIn(table: "t", columns: ["body"], rows: rows, within: .milliseconds(300)) }
    #expect(error.code == .timeout && error.message.contains("COPY \"t\"") && seconds < 10)
    kill(stopped, SIGCONT)
    #expect(try await pool.copyIn(table: "t", columns: ["body"], rows: rows) == 1000)
    #expect(try await pool.query("SELECT count(*) AS n FROM t")[0].int("n") == 1000)
    // A parameter that fills the socket waits for writing.
    let other = try await backend(pool)
    kill(other, SIGSTOP)
    defer { kill(other, SIGCONT) }
    let large = String(repeating: "y", count: 20_000_000)
    #expect(try await failure { _ = try await pool.query("SELECT length($1)", [.text(large)], within: .milliseconds(300)) }.error.code == .timeout)
    #expect(try await pool.query("SELECT length($1) AS n", [.text(large)])[0].int("n") == 20_000_000)
  }

  @Test func copyingIsNotAnOrdinaryStatement() async throws {
    let pool = try await makePool(size: 1)
    defer { pool.close() }
    try await pool.execute("CREATE TABLE t (a int, b text)")
    for sql in ["COPY t FROM STDIN", "COPY t TO STDOUT"] {
      #expect(try await failure { try await pool.execute(sql) }.error.code == .invalidArgument)
    }
    // A value that cannot be stored takes the whole load back.
    let rows: [[PostgresValue]] = [[.int(1), .text("fine")], [.int(2), .text("not\0fine")]]
    #expect(try await failure { try await pool.copyIn(table: "t", columns: ["a", "b"], rows: rows) }.error.number == "PLT-1108")
    #expect(try await failure { try await pool.copyIn(table: "t", columns: ["a", "b"], rows: [[.text("x"), .null]]) }.error.sqlState == "22P02")
    #expect(try await failure { try await pool.copyIn(table: "none", columns: ["a"], rows: []) }.error.sqlState == "42P01")
    // The server refuses the first row and reads the rest away.
    let many = [[PostgresValue]](repeating: [.text("x"), .text(String(repeating: "y", count: 1000))], count: 5000)
    #expect(try await failure { try await pool.copyIn(table: "t", columns: ["a", "b"], rows: many) }.error.sqlState == "22P02")
    #expect(try await pool.query("SELECT * FROM t").isEmpty)
    #expect(try await pool.copyIn(table: "t", columns: ["a", "b"], rows: []) == 0)
    let large: [[PostgresValue]] = [[.int(1), .text(String(repeating: "☃", count: 1_000_000))], [.int(2), .null]]
    #expect(try await pool.copyIn(table: "t", columns: ["a", "b"], rows: large) == 2)
    #expect(try await pool.query("SELECT length(b) AS n FROM t WHERE a = 1")[0].int("n") == 1_000_000)
  }

  @Test func statementsThatCannotBeSentCostNoConnection() async throws {
    let pool = try await makePool(size: 1)
    defer { pool.close() }
    let process = try await backend(pool)
    let many = [PostgresValue](repeating: .int(1), count: 65_536)
    #expect(try await failure { try await pool.execute("SELECT 1", many) }.error.code == .invalidArgument)
    #expect(try await failure { try await pool.execute("SELECT 1\0, 2") }.error.code == .internalError)
    #expect(try await failure { try await pool.execute("SELEC 1") }.error.sqlState == "42601")
    #expect(try await backend(pool) == process)
  }

  @Test(.timeLimit(.minutes(1))) func callsThatWaitedTooLongAreNotSent() async throws {
    let pool = try await makePool(size: 1)
    defer { pool.close() }
    try await pool.execute("CREATE TABLE t (id int)")
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { _ = try await pool.query("SELECT pg_sleep(2)") }
      while try await !PostgresServer.isSleeping(pool.configuration.schema) { await Task.yield() }
      for id in 0..<50 {
        group.addTask {
          let error = try await self.failure { try await pool.execute("INSERT INTO t VALUES ($1)", [.int(id)], within: .milliseconds(50)) }.error
          #expect(error.code == .timeout && error.message.contains("became free"))
        }
      }
      try await group.waitForAll()
    }
    #expect(try await pool.query("SELECT id FROM t").isEmpty)
  }

  @Test(.timeLimit(.minutes(3))) func aStoppedServerHoldsNobodyAndIsUsedAgainWhenItGoesOn() async throws {
    let folder = TemporaryDirectory("hung")
    chmod(folder.path, 0o755)
    let server = try await PrivatePostgres.start(directory: folder.file("pg"), diesWithParent: true)
    var configuration = PostgresConfiguration(connectionString: server.connectionString, schema: "public", poolSize: 2)
    configuration.connectTimeout = .seconds(2)
    configuration.answerTimeout = .milliseconds(500)
    let pool = try PostgresPool(configuration)
    defer { pool.close() }
    var options = NotificationListener.Options()
    options.heartbeat = .milliseconds(100)
    let listener = try NotificationListener(configuration, channels: ["c"], options: options)
    var events = listener.events.makeAsyncIterator()
    #expect(await events.next(isolation: nil) == .resynchronise)
    async let one = backend(pool)
    async let two = backend(pool)
    let backends = Set([try await one, try await two]).union(
      try await pool.query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'").map { Int32(try $0.int("pid")) })

    for process in backends + [server.processID] { kill(process, SIGSTOP) }
    defer { for process in backends + [server.processID] { kill(process, SIGCONT) } }
    // The first answers are late; then there is nobody to connect to. The cancel request hangs too, and holds nobody either.
    for _ in 0..<4 {
      let (error, seconds) = try await failure { _ = try await pool.query("SELECT 1") }
      #expect((error.code == .timeout || error.code == .unavailable) && seconds < 20)
    }
    while listener.problem == nil { try await Task.sleep(for: .milliseconds(10)) }

    for process in backends + [server.processID] { kill(process, SIGCONT) }
    while (try? await pool.query("SELECT 1", within: .seconds(20))) == nil {}  // until the server has caught up
    #expect(await events.next(isolation: nil) == .resynchronise)
    await listener.stop()
    pool.close()
    try await server.stop()
  }
}
