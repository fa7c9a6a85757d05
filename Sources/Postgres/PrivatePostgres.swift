// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// A Postgres server of our own: a data folder, a Unix socket that only its owner reaches, no network.
///
/// As root it runs as the user `postgres` (Postgres refuses to run as root); as anyone else it runs as that user.
public final class PrivatePostgres: Sendable {
  /// Absolute.
  public let directory: String
  public let connectionString: String
  private let process: Mutex<Int32>

  private init(directory: String, processID: Int32) {
    self.directory = directory
    connectionString = Self.connectionString(directory)
    process = Mutex(processID)
  }

  static let user = "platform"

  /// How the server of a folder is reached, whether it runs or not.
  public static func connectionString(of directory: String) -> String { connectionString(directory) }

  static func connectionString(_ directory: String, database: String = "platform") -> String {
    "host=\(PostgresConnectionString.value(directory)) user=\(user) dbname=\(database)"
  }

  /// The folder with `initdb` and `postgres`: the newest under /usr/lib/postgresql, else PATH.
  public static func binaries(search: [String]? = nil) -> String? { binaryFolders(search).first }

  static func binaryFolders(_ search: [String]?) -> [String] {
    var candidates = search ?? []
    if search == nil {
      let versions = ((try? FileManager.default.contentsOfDirectory(atPath: "/usr/lib/postgresql")) ?? [])  // not there: none
        .compactMap(Int.init).sorted(by: >)
      candidates = versions.map { "/usr/lib/postgresql/\($0)/bin" }
      candidates += (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
    }
    return candidates.filter { folder in
      ["initdb", "postgres"].allSatisfy { FileManager.default.isExecutableFile(atPath: folder + "/" + $0) }
    }
  }

  /// Starts the server, making the data folder first when there is none. A server that already runs there is taken over. Of several
  /// installed versions the one that made the data is used. Calls for one folder go one after the other, in all processes.
  /// - Parameters:
  ///   - diesWithParent: the server stops (fast shutdown) when this process dies.
  ///   - timeout: for the server to accept connections, and before that for another call on this folder to end.
  /// - Throws: `badConfiguration` PLT-1101 when Postgres is not installed; PLT-1104 when the folder cannot be used: its path, its
  ///   permissions, data of a version that is not installed, or (`unavailable`) another process that starts a server there;
  ///   PLT-1105 with the last lines of its log when the server does not start; PLT-1106 when the data is missing or not ours.
  public static func start(
    directory given: String, diesWithParent: Bool, search: [String]? = nil, timeout: Duration = .seconds(60)
  ) async throws -> PrivatePostgres {
    let folders = binaryFolders(search)
    guard let newest = folders.first else {
      throw PlatformError(
        .badConfiguration, "PostgreSQL is not installed (no initdb and postgres found)",
        hint: "sudo apt-get install postgresql   (or use a server you have: platform up --postgres URL)", number: "PLT-1101")
    }
    let directory = try usablePath(given)
    let dropsTo = geteuid() == 0 ? try account("postgres") : nil
    try prepare(directory, owner: dropsTo)
    let lock = try await FolderLock.take(directory + "/lock", what: "Postgres in \(directory)", within: timeout)
    defer { lock.release() }
    let data = directory + "/data"
    var launched: Launch?
    var deadline = ContinuousClock.now + timeout
    while ContinuousClock.now < deadline {
      if let running = runningServer(data) {
        if await accepts(directory) {
          let server = PrivatePostgres(directory: directory, processID: running)
          try await server.createDatabase()
          return server
        }
      } else if let launched {
        if let exit = launched.exit { throw launched.failure("Postgres did not start (\(exit))") }
      } else {
        let bin = try await matchingBinaries(folders, data: data, directory: directory) ?? newest
        try await initialise(data, bin: bin, directory: directory, owner: dropsTo)
        launched = try await launch(data, bin: bin, directory: directory, owner: dropsTo, diesWithParent: diesWithParent)
        deadline = .now + timeout
      }
      try await Task.sleep(for: .milliseconds(50))
    }
    throw (launched ?? Launch(log: directory + "/postgres.log")).failure("Postgres did not start within \(timeout)")
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

  /// The process identifier in `postmaster.pid`, when that process lives and is a Postgres server.
  private static func runningServer(_ data: String) -> Int32? {
    guard let text = FileManager.default.contents(atPath: data + "/postmaster.pid").map({ String(decoding: $0, as: UTF8.self) }),
      let pid = text.split(separator: "\n").first.flatMap({ Int32($0) }), kill(pid, 0) == 0,
      let command = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline")
    else { return nil }
    // The arguments, each ended by NUL. A process that ended and was not waited for has none.
    let words = command.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    return words.first?.contains("postgres") == true && words.contains(data) ? pid : nil
  }

  private static func accepts(_ directory: String) async -> Bool {
    var configuration = PostgresConfiguration(connectionString: connectionString(directory, database: "postgres"), schema: "public", poolSize: 1)
    configuration.connectTimeout = .seconds(2)
    configuration.answerTimeout = .seconds(2)
    guard let pool = try? PostgresPool(configuration) else { return false }  // a valid configuration never throws
    defer { pool.close() }
    return (try? await pool.query("SELECT 1")) != nil  // any failure means: not yet
  }

  private func createDatabase() async throws {
    let pool = try PostgresPool(
      PostgresConfiguration(connectionString: Self.connectionString(directory, database: "postgres"), schema: "public", poolSize: 1))
    defer { pool.close() }
    if try await pool.query("SELECT 1 FROM pg_database WHERE datname = 'platform'").isEmpty {
      try await pool.execute("CREATE DATABASE platform")
    }
  }
}
