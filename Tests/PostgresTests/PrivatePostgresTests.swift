// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres
import TestSupport
import Testing

@Suite struct PrivatePostgresTests {
  /// A folder that the server's user can enter.
  private func folder(_ label: String) -> TemporaryDirectory {
    let folder = TemporaryDirectory(label)
    chmod(folder.path, 0o755)
    return folder
  }

  private func failure(_ body: () async throws -> Void) async throws -> PlatformError {
    try #require(await #expect(throws: PlatformError.self) { try await body() })
  }

  @Test(arguments: [
    ("/var/lib/platform-1/pg_x.y", "/var/lib/platform-1/pg_x.y"), ("", "''"), ("a b", "'a b'"), ("it's", "'it\\'s'"), ("a\\b", "'a\\\\b'"),
    ("x=y", "'x=y'"), ("☃", "'☃'"),
  ]) func valuesOfConnectionStringsAreQuoted(_ value: String, _ expected: String) {
    #expect(PostgresConnectionString.value(value) == expected)
  }

  @Test(.timeLimit(.minutes(3))) func pathsWithSpacesQuotesAndBackslashesWork() async throws {
    let folder = folder("odd")
    let directory = folder.file("a b'c\"d\\e $f%")
    let server = try await PrivatePostgres.start(directory: directory + "/", diesWithParent: true)
    let pool = try PostgresPool(PostgresConfiguration(connectionString: server.connectionString, schema: "public", poolSize: 1))
    let row = try await pool.query("SELECT current_setting('data_directory') AS data, current_database() AS name")[0]
    #expect(try row.string("data") == directory + "/data" && row.string("name") == "platform")
    // It is found again through the same path.
    let again = try await PrivatePostgres.start(directory: directory, diesWithParent: true)
    #expect(again.processID == server.processID)
    pool.close()
    try await server.stop()
    #expect(!server.isRunning)
  }

  @Test func pathsThatNoConnectionStringCanCarryAreRefused() async throws {
    for name in ["a,b", "a\nb", String(repeating: "x", count: 100)] {
      let error = try await failure { _ = try await PrivatePostgres.start(directory: "/tmp/\(name)", diesWithParent: true) }
      #expect(error.number == "PLT-1104" && error.hint.contains("--data-dir"))
      #expect(!FileManager.default.fileExists(atPath: "/tmp/\(name)"))
    }
  }

  @Test(.timeLimit(.minutes(1))) func dataOfAnotherMajorVersionIsRefusedAtOnce() async throws {
    for version in ["9.6", "12", "99"] {
      let folder = folder("version")
      let data = folder.file("pg/data")
      try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: true)
      try Data("\(version)\n".utf8).write(to: URL(fileURLWithPath: data + "/PG_VERSION"))
      try Data().write(to: URL(fileURLWithPath: folder.file("pg/initialised")))
      let error = try await failure { _ = try await PrivatePostgres.start(directory: folder.file("pg"), diesWithParent: true) }
      #expect(error.code == .badConfiguration && error.number == "PLT-1104")
      #expect(error.message.contains("made by version \(version)"))
      #expect(error.message.contains(/installed here is \d+ \(/))
      #expect(error.hint.contains("postgresql-\(version)") && error.hint.contains("pg_upgrade") && error.hint.contains("--data-dir"))
      #expect(FileManager.default.fileExists(atPath: data + "/PG_VERSION"), "nothing was touched")
    }
  }

  @Test(.timeLimit(.minutes(3))) func twoCallsForOneFolderMakeOneServer() async throws {
    let folder = folder("twice")
    let directory = folder.file("pg")
    async let left = PrivatePostgres.start(directory: directory, diesWithParent: true)
    async let right = PrivatePostgres.start(directory: directory, diesWithParent: true)
    let (first, second) = try await (left, right)
    #expect(first.processID == second.processID && first.isRunning)

    // Somebody who holds the lock is waited for, and then named.
    let lock = open(directory + "/lock", O_RDWR | O_CLOEXEC)
    try #require(lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0, "nobody holds it after a start")
    try #require(ftruncate(lock, 0) == 0 && pwrite(lock, "4711\n", 5, 0) == 5)
    let error = try await failure {
      _ = try await PrivatePostgres.start(directory: directory, diesWithParent: true, timeout: .milliseconds(200))
    }
    #expect(error.number == "PLT-1104" && error.code == .unavailable && error.message.contains("process 4711"))
    async let waiting = PrivatePostgres.start(directory: directory, diesWithParent: true)
    close(lock)
    #expect(try await waiting.processID == first.processID)
    try await first.stop()
  }

  @Test(.timeLimit(.minutes(3))) func aServerThatDiesAtItsStartIsToldAtOnceInItsOwnWords() async throws {
    let folder = folder("dies")
    let directory = folder.file("pg")
    try await PrivatePostgres.start(directory: directory, diesWithParent: true).stop()
    let configuration = directory + "/data/postgresql.conf"
    let text = try String(contentsOfFile: configuration, encoding: .utf8)
    let file = try #require(FileHandle(forWritingAtPath: configuration))
    try file.seekToEnd()
    try file.write(contentsOf: Data("\nno_such_setting = 1\n".utf8))
    try file.close()
    let start = ContinuousClock.now
    let died = try await failure { _ = try await PrivatePostgres.start(directory: directory, diesWithParent: true) }
    #expect(start.duration(to: .now) < .seconds(30))
    #expect(died.number == "PLT-1105" && died.code == .unavailable)
    #expect(died.message.contains("exit status 1") && died.message.contains("no_such_setting") && died.message.contains("FATAL"))
    #expect(died.hint.contains("postgres.log"))
    #expect(!died.message.contains("ready to accept connections"), "lines of earlier servers are left out")

    let mended = try #require(FileHandle(forWritingAtPath: configuration))
    try mended.truncate(atOffset: UInt64(text.utf8.count))
    try mended.close()
    let again = try await PrivatePostgres.start(directory: directory, diesWithParent: true)
    // While it runs and hangs, another call waits for it and says so, instead of starting a second one.
    kill(again.processID, SIGSTOP)
    let hung = try await failure {
      _ = try await PrivatePostgres.start(directory: directory, diesWithParent: true, timeout: .milliseconds(200))
    }
    #expect(hung.number == "PLT-1105" && hung.message.contains("within 0.2 seconds"))
    kill(again.processID, SIGCONT)
    #expect(try await PrivatePostgres.start(directory: directory, diesWithParent: true).processID == again.processID)
    try await again.stop()
  }
}
