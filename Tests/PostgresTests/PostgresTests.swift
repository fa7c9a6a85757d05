// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres
import TestSupport
import Testing

@Suite(.serialized) struct PostgresTests {
  @Test func valuesComeBackAsTheyWent() async throws {
    let pool = try await makePool()
    let when = Date(timeIntervalSince1970: 1_700_000_000.25)
    let text = "a'b\"c\\d\n\t; DROP TABLE x; -- ☃"
    let row = try #require(
      try await pool.query(
        "SELECT $1::text AS t, $2::bigint AS i, $3::double precision AS d, $4::bool AS b, $5::timestamptz AS w, $6::text AS n, $7::jsonb AS j",
        [.text(text), .int(-5), .double(0.1), .bool(true), .timestamp(when), .null, .encoding(["k": [1, "x"]])]
      ).first)
    #expect(try row.string("t") == text)
    #expect(try row.int("i") == -5 && row.double("d") == 0.1 && row.bool("b") && row.date("w") == when)
    #expect(try row.get("n", as: String?.self) == nil)
    #expect(try row.json("j") == ["k": [1, "x"]])
    await #expect(throws: PlatformError.self) { try await pool.query("SELECT $1::text", [.text("a\0b")]) }
  }

  @Test func transactionsCommitOrLeaveNothing() async throws {
    let pool = try await makePool()
    try await pool.execute("CREATE TABLE t (id int PRIMARY KEY)")
    _ = try await pool.transaction { try $0.execute("INSERT INTO t VALUES (1)") }
    await #expect(throws: PlatformError.self) {
      try await pool.transaction { transaction in
        try transaction.execute("INSERT INTO t VALUES (2)")
        try transaction.execute("INSERT INTO t VALUES (1)")
      }
    }
    #expect(try await pool.query("SELECT id FROM t").count == 1)
    do {
      try await pool.execute("INSERT INTO t VALUES (1)")
      Issue.record("a duplicate was taken")
    } catch let error as PlatformError {
      #expect(error.code == .alreadyExists && error.sqlState == "23505")
    }
  }

  /// The plans that the server keeps are lost, or have become wrong: the statement runs all the same.
  @Test func keptStatementsAreRunWithoutTheirPlansToo() async throws {
    let pool = try await makePool(size: 1)
    try await pool.execute("CREATE TABLE t (id int)")
    let add = "INSERT INTO t VALUES ($1::int) RETURNING *"
    for number in 0..<3 { #expect(try await pool.repeatable(add, [.int(number)])[0].int("id") == number) }
    await #expect(throws: PlatformError.self) { try await pool.repeatable(add, [.text("x")]) }
    #expect(try await pool.repeatable(add, [.int(3)])[0].int("id") == 3)
    try await pool.execute("ALTER TABLE t ADD COLUMN more int DEFAULT 7")
    #expect(try await pool.repeatable(add, [.int(4)])[0].int("id") == 4)
    #expect(try await pool.query("SELECT count(*) AS n FROM t")[0].int("n") == 5)

    let other = try await makePool(size: 1)
    #expect(try await other.repeatable("SELECT $1::int AS n", [.int(1)])[0].int("n") == 1)
    try await other.execute("DEALLOCATE ALL")
    #expect(try await other.repeatable("SELECT $1::int AS n", [.int(2)])[0].int("n") == 2)
    #expect(try await other.repeatable("SELECT $1::int AS n", [.int(3)])[0].int("n") == 3)
  }

  @Test func serializationFailuresAreTriedAgain() async throws {
    let pool = try await makePool()
    try await pool.execute("CREATE TABLE counter (n int)")
    try await pool.execute("INSERT INTO counter VALUES (0)")
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<3 {
        group.addTask {
          try await pool.transaction(isolation: .serializable) { transaction in
            let n = try transaction.query("SELECT n FROM counter")[0].int("n")
            try transaction.execute("UPDATE counter SET n = $1", [.int(n + 1)])
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(try await pool.query("SELECT n FROM counter")[0].int("n") == 3)
  }

  @Test func copyTakesNastyText() async throws {
    let pool = try await makePool()
    try await pool.execute("CREATE TABLE t (id bigint, body text)")
    let rows = (0..<20_000).map { index -> [PostgresValue] in
      [.int(index), index % 7 == 0 ? .null : .text("tab\tline\nreturn\rslash\\ \\N \(index) ☃")]
    }
    #expect(try await pool.copyIn(table: "t", columns: ["id", "body"], rows: rows) == 20_000)
    #expect(try await pool.query("SELECT count(*) AS n FROM t WHERE body IS NULL")[0].int("n") == rows.filter { $0[1] == .null }.count)
    #expect(try await pool.query("SELECT body FROM t WHERE id = 1")[0].string("body") == "tab\tline\nreturn\rslash\\ \\N 1 ☃")
  }

  @Test func migrationsApplyOnceAndRefuseWhatTheyDoNotKnow() async throws {
    let schema = "m\(UInt32.random(in: 0 ... .max))"
    let pool = try await makePool(schema)
    let first = Migration(component: "c", number: 1, name: "one", sql: "CREATE TABLE a (x int);\nCREATE TABLE b (y int);\n")
    async let left = Migrator(pool: pool, migrations: [first]).migrate()
    async let right = Migrator(pool: pool, migrations: [first]).migrate()
    #expect(try await left.count + right.count == 1, "two migrators apply a step once")
    let second = Migration(component: "c", number: 2, name: "two", sql: "CREATE TABLE c (z int)")
    #expect(try await Migrator(pool: pool, migrations: [first, second]).migrate() == ["c/2 two"])
    func number(_ migrations: [Migration]) async -> String {
      do {
        try await Migrator(pool: pool, migrations: migrations).migrate()
        return "accepted"
      } catch let error as PlatformError { return error.number } catch { return "\(error)" }
    }
    #expect(await number([first]) == "PLT-1102", "a newer schema is refused")
    var changed = first
    changed.sql += "-- other"
    #expect(await number([changed, second]) == "PLT-1103")
  }

  @Test func committedRowsSurviveKillAndTheNextCallWorks() async throws {
    let folder = TemporaryDirectory("kill")
    chmod(folder.path, 0o755)
    let server = try await PrivatePostgres.start(directory: folder.file("pg"), diesWithParent: true)
    let pool = try PostgresPool(PostgresConfiguration(connectionString: server.connectionString, schema: "public", poolSize: 2))
    try await pool.execute("CREATE TABLE kept (x int)")
    try await pool.execute("INSERT INTO kept VALUES (42)")
    let adopted = try await PrivatePostgres.start(directory: folder.file("pg"), diesWithParent: true)
    #expect(adopted.processID == server.processID, "a server that runs is taken over")
    kill(server.processID, SIGKILL)
    while server.isRunning { try await Task.sleep(for: .milliseconds(20)) }
    let again = try await PrivatePostgres.start(directory: folder.file("pg"), diesWithParent: true)
    #expect(try await pool.query("SELECT x FROM kept")[0].int("x") == 42)
    pool.close()
    try await again.stop()
    #expect(!again.isRunning)
  }

  @Test func halfMadeDataIsRepairedAndForeignDataIsNot() async throws {
    let folder = TemporaryDirectory("half")
    chmod(folder.path, 0o755)
    let pg = folder.file("pg")
    try FileManager.default.createDirectory(atPath: pg + "/data/base", withIntermediateDirectories: true)
    do {
      _ = try await PrivatePostgres.start(directory: pg, diesWithParent: true)
      Issue.record("a foreign folder was taken")
    } catch let error as PlatformError { #expect(error.number == "PLT-1106") }
    #expect(FileManager.default.fileExists(atPath: pg + "/data/base"))
    // What our own interrupted initialisation left.
    try Data().write(to: URL(fileURLWithPath: pg + "/initialising"))
    let server = try await PrivatePostgres.start(directory: pg, diesWithParent: true)
    #expect(server.isRunning)
    try await server.stop()
  }

  @Test func whatIsMissingIsNamedWithTheFix() async throws {
    let folder = TemporaryDirectory("none")
    do {
      _ = try await PrivatePostgres.start(directory: folder.file("pg"), diesWithParent: true, search: ["/nonexistent"])
      Issue.record("started without a server")
    } catch let error as PlatformError {
      #expect(error.number == "PLT-1101" && error.hint.contains("apt-get install postgresql"))
    }
    let pool = try PostgresPool(PostgresConfiguration(connectionString: "host=/nonexistent dbname=x"))
    do {
      _ = try await pool.query("SELECT 1")
      Issue.record("answered by nobody")
    } catch let error as PlatformError { #expect(error.code == .unavailable && error.isRetryable) }
  }
}
