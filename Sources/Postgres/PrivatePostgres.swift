// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// A Postgres server of our own: a data folder, a Unix socket that only its owner reaches, no network.
///
/// As root it runs as the user `postgres` (Postgres refuses to run as root); as anyone else it runs as that user.
public final class PrivatePostgres: Sendable {
  public let directory: String
  public let connectionString: String
  private let process: Mutex<Int32>

  private init(directory: String, processID: Int32) {
    self.directory = directory
    connectionString = Self.connectionString(directory)
    process = Mutex(processID)
  }

  /// Written after a complete initialisation: a data folder without it was left half-made.
  private static let marker = "initialised"
  /// Written before the initialisation begins: what it leaves half-made may be removed.
  private static let beginning = "initialising"
  private static let user = "platform"

  static func connectionString(_ directory: String) -> String { "host=\(directory) user=\(user) dbname=platform" }

  /// The folder with `initdb` and `postgres`: the newest under /usr/lib/postgresql, else PATH.
  public static func binaries(search: [String]? = nil) -> String? {
    var candidates = search ?? []
    if search == nil {
      let versions = ((try? FileManager.default.contentsOfDirectory(atPath: "/usr/lib/postgresql")) ?? [])  // not there: none
        .compactMap(Int.init).sorted(by: >)
      candidates = versions.map { "/usr/lib/postgresql/\($0)/bin" }
      candidates += (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
    }
    return candidates.first { folder in
      ["initdb", "postgres"].allSatisfy { FileManager.default.isExecutableFile(atPath: folder + "/" + $0) }
    }
  }

  /// Starts the server, making the data folder first when there is none. A server that already runs there is taken over.
  /// - Parameter diesWithParent: the server stops (fast shutdown) when this process dies.
  /// - Throws: `badConfiguration` PLT-1101 when Postgres is not installed; PLT-1104 when the folder cannot be used.
  public static func start(directory: String, diesWithParent: Bool, search: [String]? = nil) async throws -> PrivatePostgres {
    guard let bin = binaries(search: search) else {
      throw PlatformError(
        .badConfiguration, "PostgreSQL is not installed (no initdb and postgres found)",
        hint: "sudo apt-get install postgresql   (or use a server you have: platform up --postgres URL)", number: "PLT-1101")
    }
    guard (directory + "/.s.PGSQL.5432").utf8.count <= 107 else {
      throw PlatformError(
        .badConfiguration, "the path of the Postgres socket is longer than 107 bytes: \(directory)",
        hint: "Choose a shorter --data-dir.", number: "PLT-1104")
    }
    let dropsTo = geteuid() == 0 ? try account("postgres") : nil
    try prepare(directory, owner: dropsTo)
    let data = directory + "/data"
    if let running = runningServer(data), await accepts(directory) {
      return PrivatePostgres(directory: directory, processID: running)
    }
    try await initialise(data, bin: bin, directory: directory, owner: dropsTo)
    try await launch(data, bin: bin, directory: directory, owner: dropsTo, diesWithParent: diesWithParent)
    for _ in 0..<600 {
      if let running = runningServer(data), await accepts(directory) {
        let server = PrivatePostgres(directory: directory, processID: running)
        try await server.createDatabase()
        return server
      }
      try await Task.sleep(for: .milliseconds(100))
    }
    throw PlatformError(.unavailable, "Postgres did not start within 60 s", hint: "See \(directory)/postgres.log.", number: "PLT-1105")
  }

  public var processID: Int32 { process.withLock { $0 } }
  public var isRunning: Bool {
    guard let now = Self.runningServer(directory + "/data") else { return false }
    process.withLock { $0 = now }
    return true
  }

  /// Stops the server: sessions are ended and everything is written; after 20 s it is told to stop at once.
  public func stop() async throws {
    guard let running = Self.runningServer(directory + "/data") else { return }
    kill(running, SIGINT)
    for round in 0..<300 {
      if kill(running, 0) != 0 || Self.runningServer(directory + "/data") == nil { return }
      if round == 200 { kill(running, SIGQUIT) }
      try await Task.sleep(for: .milliseconds(100))
    }
    throw PlatformError(.timeout, "Postgres (process \(running)) does not stop", hint: "See \(directory)/postgres.log.")
  }

  // MARK: steps

  private struct Account {
    var name: String
    var uid: UInt32
    var gid: UInt32
  }

  private static func account(_ name: String) throws -> Account {
    guard let entry = getpwnam(name) else {
      throw PlatformError(
        .badConfiguration, "there is no user '\(name)' for the private Postgres to run as", hint: "sudo apt-get install postgresql",
        number: "PLT-1101")
    }
    return Account(name: name, uid: entry.pointee.pw_uid, gid: entry.pointee.pw_gid)
  }

  /// Makes the folder, private to the server's user, and checks that this user can reach it.
  private static func prepare(_ directory: String, owner: Account?) throws {
    do {
      try FileManager.default.createDirectory(
        atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch {
      throw PlatformError(
        .badConfiguration, "cannot create the Postgres folder: \(error.localizedDescription)", number: "PLT-1104", path: directory)
    }
    guard let owner else { return }
    guard chown(directory, owner.uid, owner.gid) == 0, chmod(directory, 0o700) == 0 else {
      throw PlatformError(.badConfiguration, "cannot give the Postgres folder to user '\(owner.name)'", number: "PLT-1104", path: directory)
    }
    var parent = (directory as NSString).deletingLastPathComponent
    while parent != "/" && !parent.isEmpty {
      var info = stat()
      if stat(parent, &info) == 0 && info.st_uid != owner.uid && info.st_mode & 0o001 == 0 {
        throw PlatformError(
          .badConfiguration, "user '\(owner.name)' cannot enter \(parent), which the private Postgres needs",
          hint: "Choose a --data-dir outside of it, for example /var/lib/platform, or: chmod o+x \(parent)", number: "PLT-1104")
      }
      parent = (parent as NSString).deletingLastPathComponent
    }
  }

  private static func initialise(_ data: String, bin: String, directory: String, owner: Account?) async throws {
    let done = directory + "/" + marker
    let files = FileManager.default
    let hasVersion = files.fileExists(atPath: data + "/PG_VERSION")
    if hasVersion && files.fileExists(atPath: done) { return }
    if files.fileExists(atPath: done) {
      throw PlatformError(
        .badConfiguration, "the Postgres data in \(data) is gone, but it was complete once",
        hint: "Restore it from a backup, or remove \(done) to begin with an empty database.", number: "PLT-1106")
    }
    // A folder that we began to make and never finished was never used: it is made anew. Any other one is not ours to remove.
    let begun = directory + "/" + beginning
    if files.fileExists(atPath: data) {
      guard files.fileExists(atPath: begun) else {
        throw PlatformError(
          .badConfiguration, "\(data) holds a Postgres data folder that this program did not make",
          hint: "If it is complete, create the empty file \(done); otherwise move it away.", number: "PLT-1106")
      }
      try files.removeItem(atPath: data)
    }
    try mark(begun)
    let arguments = [
      bin + "/initdb", "-D", data, "-U", user, "--auth-local=trust", "--auth-host=reject", "-E", "UTF8", "--locale=C.UTF-8",
    ]
    let log = directory + "/initdb.log"
    let status = try await run(as: owner, arguments, log: log)
    guard status == 0 else {
      let last = files.contents(atPath: log).map { String(decoding: $0.suffix(600), as: UTF8.self) } ?? ""
      throw PlatformError(.badConfiguration, "initdb failed: \(last.split(separator: "\n").last ?? "")", hint: "See \(log).", number: "PLT-1105")
    }
    try mark(done)
    unlink(begun)
  }

  /// Makes an empty file that survives a power cut.
  private static func mark(_ path: String) throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
    let folder = open((path as NSString).deletingLastPathComponent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    defer {
      close(descriptor)
      close(folder)
    }
    guard descriptor >= 0, folder >= 0, fsync(descriptor) == 0, fsync(folder) == 0 else {
      throw PlatformError(.resourceExhausted, "cannot write \(path): \(String(cString: strerror(errno)))")
    }
  }

  private static func launch(_ data: String, bin: String, directory: String, owner: Account?, diesWithParent: Bool) async throws {
    var command = [
      bin + "/postgres", "-D", data, "-c", "listen_addresses=", "-c", "unix_socket_directories=\(directory)", "-c",
      "unix_socket_permissions=0700", "-c", "max_connections=60", "-c", "shared_buffers=64MB", "-c", "logging_collector=off",
      "-c", "client_connection_check_interval=1s",
    ]
    command = asUser(owner, command, deathSignal: diesWithParent)
    _ = try await ChildProcess.start(
      .init(
        executable: command[0], arguments: Array(command.dropFirst()), environment: environment, directory: "/",
        outputPath: directory + "/postgres.log", errorPath: directory + "/postgres.log",
        deathSignal: diesWithParent && owner == nil ? SIGINT : 0),
      onExit: { _ in })
  }

  private static let environment = ["PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"]

  /// The command line under another account. The death signal has to be set after the change of user, which clears it.
  private static func asUser(_ owner: Account?, _ command: [String], deathSignal: Bool) -> [String] {
    guard let owner else { return command }
    var wrapped = ["/usr/bin/setpriv", "--reuid=\(owner.uid)", "--regid=\(owner.gid)", "--init-groups"]
    if deathSignal { wrapped += ["--pdeathsig", "INT"] }
    return wrapped + ["--"] + command
  }

  private static func run(as owner: Account?, _ arguments: [String], log: String) async throws -> Int32 {
    let command = asUser(owner, arguments, deathSignal: true)
    let (exits, continuation) = AsyncStream<ChildProcess.Exit>.makeStream()
    _ = try await ChildProcess.start(
      .init(
        executable: command[0], arguments: Array(command.dropFirst()), environment: environment, directory: "/", outputPath: log,
        errorPath: log),
      onExit: {
        continuation.yield($0)
        continuation.finish()
      })
    for await exit in exits { if case .status(let code) = exit { return code } }
    return -1
  }

  /// The process identifier in `postmaster.pid`, when that process lives and is a Postgres server.
  private static func runningServer(_ data: String) -> Int32? {
    guard let text = FileManager.default.contents(atPath: data + "/postmaster.pid").map({ String(decoding: $0, as: UTF8.self) }),
      let pid = text.split(separator: "\n").first.flatMap({ Int32($0) }), kill(pid, 0) == 0,
      let command = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline")
    else { return nil }
    let words = String(decoding: command, as: UTF8.self)
    return words.contains("postgres") && words.contains(data) ? pid : nil
  }

  private static func accepts(_ directory: String) async -> Bool {
    var configuration = PostgresConfiguration(connectionString: "host=\(directory) user=\(user) dbname=postgres", schema: "public", poolSize: 1)
    configuration.connectTimeout = .seconds(2)
    guard let pool = try? PostgresPool(configuration) else { return false }  // a valid configuration never throws
    defer { pool.close() }
    return (try? await pool.query("SELECT 1")) != nil  // any failure means: not yet
  }

  private func createDatabase() async throws {
    let pool = try PostgresPool(
      PostgresConfiguration(connectionString: "host=\(directory) user=\(Self.user) dbname=postgres", schema: "public", poolSize: 1))
    defer { pool.close() }
    if try await pool.query("SELECT 1 FROM pg_database WHERE datname = 'platform'").isEmpty {
      try await pool.execute("CREATE DATABASE platform")
    }
  }
}
