// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres
import Synchronization
import TestSupport
import Testing

/// Servers that go away and come back, and connections that break at the worst moment: a pool with patience gets over it.
@Suite(.serialized) struct OutageTests {
  private func patient(_ connection: String, schema: String = "public", size: Int = 1) throws -> PostgresPool {
    var configuration = PostgresConfiguration(connectionString: connection, schema: schema, poolSize: size)
    configuration.outagePatience = .seconds(60)
    return try PostgresPool(configuration)
  }

  @Test(.timeLimit(.minutes(3))) func callsWaitForAServerThatIsAwayAndItsSuccessor() async throws {
    let folder = TemporaryDirectory("outage")
    chmod(folder.path, 0o755)
    let server = try await PrivatePostgres.start(directory: folder.file("pg"), diesWithParent: true)
    let pool = try patient(server.connectionString, size: 3)
    defer { pool.close() }
    try await pool.execute("CREATE TABLE t (id int)")
    try await server.stop()
    async let read = pool.query("SELECT count(*) AS n FROM t")[0].int("n")
    async let wrote = pool.execute("INSERT INTO t VALUES (1)")
    async let both = pool.transaction { try $0.execute("INSERT INTO t SELECT 2") }
    // Somebody without patience is told at once.
    let hasty = try PostgresPool(PostgresConfiguration(connectionString: server.connectionString, schema: "public", poolSize: 1))
    defer { hasty.close() }
    let error = await #expect(throws: PlatformError.self) { try await hasty.query("SELECT 1") }
    #expect(error?.code == .unavailable && error?.number == "PLT-1109")
    let again = try await PrivatePostgres.start(directory: folder.file("pg"), diesWithParent: true)
    #expect(try await wrote == 1)
    #expect(try await both == 1)
    _ = try await read
    #expect(try await pool.query("SELECT count(*) AS n FROM t")[0].int("n") == 2)

    // Killed under open connections: what reads is asked again.
    kill(again.processID, SIGKILL)
    async let after = pool.query("SELECT count(*) AS n FROM t")[0].int("n")
    var started = false
    while !started {
      // The children of a killed server hold its memory for a moment.
      started = (try? await PrivatePostgres.start(directory: folder.file("pg"), diesWithParent: true)) != nil
    }
    #expect(try await after == 2)
    pool.close()
    try await again.stop()
  }

  @Test(.timeLimit(.minutes(2)), arguments: [CutProxy.Cut.behindCommit, .beforeCommit])
  func aTransactionWhoseCommitIsNotAnsweredIsDoneOnce(cut: CutProxy.Cut) async throws {
    let server = try await PostgresServer.shared.connection()
    let direct = try await makePool(size: 1)
    defer { direct.close() }
    try await direct.execute("CREATE TABLE t (id int)")
    let proxy = try CutProxy(to: try #require(server.firstMatch(of: /host=(\S+)/)).1 + "/.s.PGSQL.5432")
    let pool = try patient("host=\(proxy.folder) user=platform dbname=platform", schema: direct.configuration.schema)
    defer { pool.close() }
    _ = try await pool.query("SELECT 1")
    proxy.cutNext(cut)
    let runs = Mutex(0)
    let result = try await pool.transaction { transaction in
      try transaction.execute("INSERT INTO t VALUES (1)")
      return runs.withLock { count in
        count += 1
        return count
      }
    }
    #expect(proxy.hasCut)
    #expect(result == (cut == .behindCommit ? 1 : 2), "the result is that of the attempt that counts")
    #expect(try await direct.query("SELECT count(*) AS n FROM t")[0].int("n") == 1)
    // The same, where whatever writes becomes a transaction.
    pool.setFence { _ = try $0.query("SELECT 1") }
    proxy.cutNext(cut)
    #expect(try await pool.execute("INSERT INTO t VALUES (2)") == 1)
    #expect(proxy.hasCut)
    #expect(try await direct.query("SELECT count(*) AS n FROM t")[0].int("n") == 2)
  }

  @Test func whatTheFenceRefusesLeavesNothing() async throws {
    let pool = try await makePool(size: 1)
    defer { pool.close() }
    try await pool.execute("CREATE TABLE t (id int)")
    pool.setFence { _ in throw PlatformError(.conflict, "over", number: "PLT-1301") }
    for write in ["INSERT INTO t VALUES (1)", "  \n insert into t values (1)", "WITH x AS (INSERT INTO t VALUES (1) RETURNING id) SELECT * FROM x"] {
      #expect(await #expect(throws: PlatformError.self) { try await pool.execute(write) }?.number == "PLT-1301")
      #expect(await #expect(throws: PlatformError.self) { try await pool.query(write) }?.number == "PLT-1301")
    }
    #expect(await #expect(throws: PlatformError.self) { try await pool.transaction { try $0.execute("INSERT INTO t VALUES (1)") } }?.number == "PLT-1301")
    #expect(try await pool.query("SELECT * FROM t").isEmpty)
  }

  /// All that is stopped at once: without a sign of life a call ends long before its bound.
  @Test(.timeLimit(.minutes(3))) func aFrozenServerIsNoticed() async throws {
    let folder = TemporaryDirectory("frozen")
    chmod(folder.path, 0o755)
    let server = try await PrivatePostgres.start(directory: folder.file("pg"), diesWithParent: true)
    var configuration = PostgresConfiguration(connectionString: server.connectionString, schema: "public", poolSize: 1)
    configuration.silenceLimit = .milliseconds(200)
    configuration.answerTimeout = .seconds(3600)
    let pool = try PostgresPool(configuration)
    defer { pool.close() }
    // Slow is not frozen.
    _ = try await pool.query("SELECT pg_sleep(1)")
    let backend = Int32(try await pool.query("SELECT pg_backend_pid() AS pid")[0].int("pid"))
    for process in [server.processID, backend] { kill(process, SIGSTOP) }
    defer { for process in [server.processID, backend] { kill(process, SIGCONT) } }
    let error = await #expect(throws: PlatformError.self) { try await pool.query("SELECT 1") }
    #expect(error?.number == "PLT-1109" && error?.message.contains("sign of life") == true, "\(String(describing: error))")
    for process in [server.processID, backend] { kill(process, SIGCONT) }
    while (try? await pool.query("SELECT 1")) == nil {}  // until it is back
    pool.close()
    try await server.stop()
  }

  /// Several hosts in one connection string, of which the first is dead or only read: the one that takes writes is found, and found again
  /// when another one becomes it.
  @Test(.timeLimit(.minutes(4))) func ofSeveralServersTheOneThatTakesWritesIsUsed() async throws {
    let folder = TemporaryDirectory("replica")
    chmod(folder.path, 0o755)
    let primary = try await PrivatePostgres.start(directory: folder.file("a"), diesWithParent: true)
    let standby = try Standby(of: folder.file("a"), in: folder.file("b"))
    defer { standby.stop() }
    let hosts = [folder.file("none"), standby.directory, folder.file("a")].joined(separator: ",")
    let pool = try patient("postgresql:///platform?host=\(hosts)&user=platform&target_session_attrs=read-write")
    defer { pool.close() }
    try await pool.execute("CREATE TABLE t (id int)")
    try await pool.execute("INSERT INTO t VALUES (1)")
    // Until the standby has it.
    var reading = PostgresConfiguration(connectionString: "host=\(standby.directory) user=platform dbname=platform", schema: "public", poolSize: 1)
    reading.requiresWritable = false
    let replica = try PostgresPool(reading)
    defer { replica.close() }
    while ((try? await replica.query("SELECT id FROM t")) ?? []).isEmpty { try await Task.sleep(for: .milliseconds(20)) }
    #expect(try await replica.query("SELECT pg_is_in_recovery() AS r")[0].bool("r"))
    try await primary.stop()
    async let wrote = pool.execute("INSERT INTO t VALUES (2)")
    try standby.promote()
    #expect(try await wrote == 1)
    #expect(try await pool.query("SELECT count(*) AS n FROM t")[0].int("n") == 2)
  }
}

/// A second server that follows the first.
private final class Standby {
  let directory: String
  private let programs: String
  private let process: Program

  init(of primary: String, in directory: String) throws {
    self.directory = directory
    programs = try #require(PrivatePostgres.binaries())
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    if geteuid() == 0, let account = getpwnam("postgres") { chown(directory, account.pointee.pw_uid, account.pointee.pw_gid) }
    try Self.run([programs + "/pg_basebackup", "-h", primary, "-U", "platform", "-D", directory + "/data", "-R", "-c", "fast"])
    let command = Self.asServer([
      programs + "/postgres", "-D", directory + "/data", "-c", "listen_addresses=", "-c", "unix_socket_directories=\(directory)", "-c", "max_connections=60",
    ])
    process = try Program(command[0], Array(command.dropFirst()), directory: "/")
  }

  func promote() throws { try Self.run([programs + "/pg_ctl", "promote", "-w", "-D", directory + "/data"]) }

  func stop() {
    // `setpriv` became the server.
    process.signal(SIGINT)
    process.wait()
  }

  private static func asServer(_ command: [String]) -> [String] {
    geteuid() == 0 ? ["/usr/bin/setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig", "INT", "--"] + command : command
  }

  private static func run(_ given: [String]) throws {
    let command = asServer(given)
    let answer = try Program.run(command[0], Array(command.dropFirst()), directory: "/")
    guard answer.status == 0 else { throw PlatformError(.internalError, "\(given[0]): \(answer.all)") }
  }
}

/// A Unix socket in front of a server's that cuts a connection at its COMMIT.
final class CutProxy: Sendable {
  enum Cut: Sendable { case beforeCommit, behindCommit }

  let folder: String
  private let temporary = TemporaryDirectory("cut")
  private let listener: Int32
  private let next = Mutex<Cut?>(nil)

  init(to path: String) throws {
    folder = temporary.path
    listener = try Self.socket(folder + "/.s.PGSQL.5432") { bind($0, $1, $2) == 0 && listen($0, 16) == 0 }
    let accepting = Thread { [weak self, listener] in
      while true {
        let client = accept(listener, nil, nil)
        guard client >= 0, let self else { return }
        guard let server = try? Self.socket(path, { connect($0, $1, $2) == 0 }) else {
          close(client)
          continue
        }
        let up = Thread { self.pump(client, server) }
        up.start()
        let down = Thread { Self.pump(server, client) { $0 } }
        down.start()
      }
    }
    accepting.start()
  }

  deinit {
    shutdown(listener, Int32(SHUT_RDWR))
    close(listener)
  }

  func cutNext(_ cut: Cut) { next.withLock { $0 = cut } }
  var hasCut: Bool { next.withLock { $0 == nil } }

  private func pump(_ client: Int32, _ server: Int32) {
    Self.pump(client, server) { bytes in
      guard bytes.firstRange(of: Array("COMMIT\0".utf8)) != nil, let cut = self.take() else { return bytes }
      if cut == .behindCommit {
        // Nobody hears the answer.
        shutdown(client, Int32(SHUT_RDWR))
        _ = bytes.withUnsafeBytes { send(server, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      }
      return nil
    }
  }

  private func take() -> Cut? {
    next.withLock { next in
      defer { next = nil }
      return next
    }
  }

  private static func pump(_ from: Int32, _ to: Int32, _ change: ([UInt8]) -> [UInt8]?) {
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = read(from, &buffer, buffer.count)
      guard count > 0, let bytes = change(Array(buffer[..<count])) else { break }
      guard bytes.withUnsafeBytes({ send(to, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }) == bytes.count else { break }
    }
    // Half of it is enough to end both; the descriptors stay open until the test's process ends.
    shutdown(to, Int32(SHUT_WR))
    shutdown(from, Int32(SHUT_RDWR))
  }

  private static func socket(_ path: String, _ use: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Bool) throws -> Int32 {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8) + [0]
    guard bytes.count <= MemoryLayout.size(ofValue: address.sun_path) else { throw PlatformError(.invalidArgument, "too long: \(path)") }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    let descriptor = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    let isUsable = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { use(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
    guard isUsable else {
      close(descriptor)
      throw PlatformError(.unavailable, "\(path): \(String(cString: strerror(errno)))")
    }
    return descriptor
  }
}
