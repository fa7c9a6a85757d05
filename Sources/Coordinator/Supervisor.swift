// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
public import Logging
import Postgres
import Synchronization
import Transport

/// Keeps the processes of one machine running: the private Postgres, the coordinator and its local workers. A process
/// that ends is started again after a back-off; one that cannot stay up is reported in the state file with its last words.
public actor Supervisor {
  public struct Configuration: Sendable {
    public var layout: DataLayout
    public var httpBind: String
    public var nodeBind: String
    public var workers: Int
    /// Coordinators on this machine: one leads, the others stand by.
    public var coordinators = 1
    /// Slots of each worker; nil divides the processors.
    public var slotsPerWorker: Int?
    /// A Postgres that exists; nil starts a private one under the data folder.
    public var postgresURL: String?
    /// Processors and memory of each worker; nil divides the machine's. Labels, as NAME=VALUE, are those of all.
    public var cpusPerWorker: Double?
    public var memoryPerWorker: Int64?
    public var labels: [String]

    public init(
      layout: DataLayout, httpBind: String, nodeBind: String, workers: Int, slotsPerWorker: Int?, postgresURL: String?,
      cpusPerWorker: Double? = nil, memoryPerWorker: Int64? = nil, labels: [String] = []
    ) {
      self.cpusPerWorker = cpusPerWorker
      self.memoryPerWorker = memoryPerWorker
      self.labels = labels
      self.layout = layout
      self.httpBind = httpBind
      self.nodeBind = nodeBind
      self.workers = workers
      self.slotsPerWorker = slotsPerWorker
      self.postgresURL = postgresURL
    }
  }

  /// Where each coordinator listens: the addresses that were given, and the same with ports ten apart for the others.
  public static func addresses(_ first: String, _ count: Int) throws -> [String] {
    guard let colon = first.lastIndex(of: ":"), let port = Int(first[first.index(after: colon)...]), port + 10 * count < 65_536 else {
      throw PlatformError(.invalidArgument, "'\(first)' is not HOST:PORT, or its port is too high", number: "PLT-1003")
    }
    return (0..<max(1, count)).map { "\(first[..<colon]):\(port + 10 * $0)" }
  }

  /// One process that shall always run.
  private final class Part: Sendable {
    let name: String
    let isCoordinator: Bool
    let arguments: [String]
    let child = Mutex<ChildProcess?>(nil)
    init(name: String, isCoordinator: Bool = false, arguments: [String]) {
      self.name = name
      self.isCoordinator = isCoordinator
      self.arguments = arguments
    }
  }

  private let configuration: Configuration
  private let logger: Logger
  private var stopping = false
  private var state: DataLayout.State
  private var parts: [Part] = []
  private var loops: [Task<Void, Never>] = []

  public init(configuration: Configuration, logger: Logger) {
    self.configuration = configuration
    self.logger = logger
    state = DataLayout.State(
      url: "http://\(configuration.httpBind)", nodeAddress: configuration.nodeBind, supervisorPID: getpid(),
      workers: configuration.workers, postgresURL: configuration.postgresURL,
      startedAt: Date().timeIntervalSince1970, phase: "starting")
    state.storage = configuration.layout.storage == configuration.layout.root ? nil : configuration.layout.storage
    // What is wrong with the addresses is said at the start.
    state.otherURLs = (try? Self.addresses(configuration.httpBind, configuration.coordinators))?.dropFirst().map { "http://\($0)" }
  }

  /// Runs until SIGTERM or SIGINT, then stops everything in reverse order.
  /// - Throws: `conflict` when another supervisor has this data folder; what keeps Postgres from starting.
  public func run() async throws {
    let layout = configuration.layout
    try layout.create()
    let lock = open(layout.lockFile, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard lock >= 0, flock(lock, LOCK_EX | LOCK_NB) == 0 else {
      if lock >= 0 { close(lock) }
      throw PlatformError(.conflict, "a cluster is already running from \(layout.root)", hint: "See 'platform status'.")
    }
    defer { close(lock) }
    let signals = SignalWaiter([SIGTERM, SIGINT])
    var server: PrivatePostgres?
    do {
      let connection: String
      if let url = configuration.postgresURL {
        connection = url
      } else {
        try report(phase: "postgres")
        let started = try await PrivatePostgres.start(directory: layout.postgres, diesWithParent: true)
        server = started
        connection = started.connectionString
      }
      try report(phase: "coordinator")
      try await start(connection: connection)
      let watch = server.map { running in Task { await self.watchPostgres(running) } }
      await signals.wait()
      watch?.cancel()
      logger.info("stopping")
    } catch {
      let failure = PlatformError.from(error)
      state.problem = failure
      try report(phase: "failed")
      await stopParts()
      try await server?.stop()
      throw failure
    }
    await stopParts()
    try await server?.stop()
    // The state file says where a cluster runs: none does now.
    unlink(layout.stateFile)
  }

  private func report(phase: String) throws {
    state.phase = phase
    try configuration.layout.saveState(state)
  }

  private func start(connection: String) async throws {
    let layout = configuration.layout
    let https = try Self.addresses(configuration.httpBind, configuration.coordinators)
    let nodes = try Self.addresses(configuration.nodeBind, configuration.coordinators)
    for (index, (http, node)) in zip(https, nodes).enumerated() {
      let coordinator = Part(
        name: index == 0 ? "coordinator" : "coordinator-\(index)", isCoordinator: true,
        arguments: ["coordinator", "--data-dir", layout.root, "--bind", http, "--node-bind", node]
          + (layout.storage == layout.root ? [] : ["--storage", layout.storage]))
      parts.append(coordinator)
      // The connection string may carry a password: it goes through the environment, never through the argument list.
      loops.append(Task { await self.keepRunning(coordinator, environment: ["PLATFORM_POSTGRES": connection]) })
    }
    let cores = ProcessInfo.processInfo.activeProcessorCount
    let workers = max(1, configuration.workers)
    let slots = configuration.slotsPerWorker ?? max(1, cores / workers)
    let cpus = configuration.cpusPerWorker ?? Double(cores) / Double(workers)
    let memory = configuration.memoryPerWorker ?? Int64(ProcessInfo.processInfo.physicalMemory) / Int64(workers)
    for index in 0..<configuration.workers {
      let name = "w\(index)"
      let worker = Part(
        name: name,
        arguments: [
          "worker", "--data-dir", layout.workers + "/" + name, "--name", name, "--coordinator", nodes.joined(separator: ","),
          "--cluster-dir", layout.root, "--slots", String(slots), "--cpus", String(cpus), "--memory-bytes", String(memory),
        ] + configuration.labels.flatMap { ["--label", $0] })
      parts.append(worker)
      loops.append(Task { await self.keepRunning(worker, environment: [:]) })
    }
    try report(phase: "running")
  }

  /// Starts `part` again whenever it ends, at once the first time, later after up to 10 s.
  private func keepRunning(_ part: Part, environment extra: [String: String]) async {
    let backoff = Backoff(firstMilliseconds: 200, limitMilliseconds: 10_000)
    var quickFailures = 0
    while !stopping {
      let startedAt = Date()
      let log = configuration.layout.logs + "/\(part.name).log"
      rotate(log)
      var environment = ProcessInfo.processInfo.environment
      environment["OPENBLAS_NUM_THREADS"] = "1"
      for (key, value) in extra { environment[key] = value }
      let ended = AsyncStream<ChildProcess.Exit>.makeStream(bufferingPolicy: .bufferingNewest(1))
      do {
        let child = try await ChildProcess.start(
          .init(
            executable: ProcessSupport.executablePath, arguments: part.arguments, environment: environment, outputPath: log,
            errorPath: log, deathSignal: SIGTERM),
          onExit: {
            ended.continuation.yield($0)
            ended.continuation.finish()
          })
        part.child.withLock { $0 = child }
        if stopping { child.signal(SIGTERM) }
        for await exit in ended.stream {
          logger.warning("process ended", metadata: ["name": "\(part.name)", "exit": "\(exit)"])
        }
      } catch {
        logger.error("process did not start", metadata: ["name": "\(part.name)", "error": "\(error)"])
      }
      part.child.withLock { $0 = nil }
      if stopping { return }
      if Date().timeIntervalSince(startedAt) > 30 {
        quickFailures = 0
      } else {
        quickFailures += 1
      }
      if quickFailures >= 3 {
        state.problem = lastWords(of: part.name, log)
        saveStateLogging()
      } else if state.problem != nil {
        state.problem = nil
        saveStateLogging()
      }
      let delay = quickFailures == 0 ? 0 : backoff.delayMilliseconds(afterAttempt: quickFailures, unit: 0.5)
      try? await Task.sleep(for: .milliseconds(delay))  // cancelled: the loop condition ends it
    }
  }

  private func saveStateLogging() {
    do {
      try configuration.layout.saveState(state)
    } catch {
      logger.error("state file", metadata: ["error": "\(error)"])
    }
  }

  /// The reason that a process gave before it ended: its last error object, or its last line.
  private func lastWords(of name: String, _ log: String) -> PlatformError {
    let lines = tail(log, bytes: 8192).split(separator: "\n")
    for line in lines.reversed() where line.hasPrefix("{\"fatal\":") {
      if let value = try? JSONValue(parsing: String(line)), let error = try? value["fatal"]?.decode(PlatformError.self) {
        return error.wrapping(name)  // a line of another shape is skipped
      }
    }
    return PlatformError(
      .unavailable, "\(name) keeps ending: \(lines.last.map(String.init) ?? "no output")", hint: "See \(log).")
  }

  private func tail(_ path: String, bytes: Int) -> String {
    guard let file = FileHandle(forReadingAtPath: path) else { return "" }
    defer { try? file.close() }  // nothing was written
    let size = (try? file.seekToEnd()) ?? 0  // unreadable: nothing to show
    try? file.seek(toOffset: size > UInt64(bytes) ? size - UInt64(bytes) : 0)  // without it more is read than is needed
    return String(decoding: (try? file.readToEnd()) ?? Data(), as: UTF8.self)  // unreadable: nothing to show
  }

  /// Keeps one older log of at most 16 MB.
  private func rotate(_ path: String) {
    let attributes = try? FileManager.default.attributesOfItem(atPath: path)  // no log yet: nothing to rotate
    if let size = attributes?[.size] as? Int, size > 16 << 20 { rename(path, path + ".1") }
  }

  /// Starts the private Postgres again when it dies.
  private func watchPostgres(_ server: PrivatePostgres) async {
    while !Task.isCancelled && !stopping {
      try? await Task.sleep(for: .milliseconds(250))  // cancelled: the loop condition ends it
      guard !server.isRunning, !stopping else { continue }
      logger.warning("postgres ended; starting it again")
      do {
        _ = try await PrivatePostgres.start(directory: configuration.layout.postgres, diesWithParent: true)
      } catch {
        logger.error("postgres does not start", metadata: ["error": "\(error)"])
        try? await Task.sleep(for: .seconds(1))  // cancelled: the loop condition ends it
      }
    }
  }

  private func stopParts() async {
    stopping = true
    // Workers first, so that they can say goodbye to the coordinator.
    for group in [parts.filter { !$0.isCoordinator }, parts.filter(\.isCoordinator)] {
      for part in group { part.child.withLock { $0?.signal(SIGTERM) } }
      let deadline = Date().addingTimeInterval(15)
      while Date() < deadline && group.contains(where: { part in part.child.withLock { $0 != nil } }) {
        try? await Task.sleep(for: .milliseconds(50))  // a cancelled sleep only polls faster
      }
      for part in group { part.child.withLock { $0?.signal(SIGKILL) } }
    }
    for loop in loops { loop.cancel() }
  }
}
