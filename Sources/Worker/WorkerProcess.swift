// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
public import Logging
import Pipelines
import Synchronization
import Transport

/// One node's worker: takes assignments, runs each in an executor process, reports until the coordinator has acknowledged.
///
/// It holds no state that matters: when it dies its executors die with it, and the scheduler gives their work to others.
public actor WorkerProcess {
  public struct Configuration: Sendable {
    public var name: String
    /// Scratch folders and keys.
    public var directory: String
    /// Shards and ranks at once.
    public var slots: Int
    public var labels: [String: String]
    /// Processors and bytes of memory for work that says how much it needs; nil: as many processors as slots, all of the machine's memory.
    public var cpus: Double?
    public var memoryBytes: Int64?
    /// Where other nodes reach this one; nil: where its way to the coordinator starts.
    public var address: String?

    public init(
      name: String, directory: String, slots: Int, labels: [String: String], cpus: Double? = nil, memoryBytes: Int64? = nil, address: String? = nil
    ) {
      self.cpus = cpus
      self.memoryBytes = memoryBytes
      self.name = name
      self.directory = directory
      self.slots = slots
      self.labels = labels
      self.address = address
    }
  }

  struct Running {
    var kind: String
    /// The `AssignedWork` as it came.
    var payload: Data
    var gang: AssignedWork.Seat?
    var isReplica: Bool
    var mayWait: Bool
    /// Which executor has it, as its work of which number.
    var executor: Int?
    var number: UInt32 = 0
    var started = false
    var isNoted = false
    var endpoint: ExecutorEndpoint?
    var cancelled = false
  }

  /// What is told until the coordinator has acknowledged it.
  struct Finished {
    var outcome: UnitOutcome
    var result: Data
    var error: Data
    var told: ContinuousClock.Instant
  }

  /// An executor process and what it has in hand.
  struct Executor {
    var child: ExecutorChild
    /// In their order: the first one is being done.
    var works: [UnitAttempt] = []
    var numbers: [UInt32: UnitAttempt] = [:]
    var lastNumber: UInt32 = 0
    /// What its lines belong to.
    var latest: UnitAttempt?
    var isOfQueue = false
    /// It is not used again.
    var retires = false
    var hasYielded = false
    var hasWorked = false
    var idleSince = Date()
  }

  /// What hello and heartbeat read from the link's thread.
  private struct Shared {
    var running: Set<UnitAttempt> = []
    var finished: Set<UnitAttempt> = []
    var residentBytes: Int64 = 0
  }

  /// Attempts whose end is remembered, so that a late assignment does not run them again.
  private static let memory = 4096
  /// Lines of one attempt that are sent in half a second.
  private static let logLinesAtOnce = 100_000
  /// Executors that have worked are kept this long: starting one costs tens of milliseconds and loading a model more. One that has not
  /// worked yet stays, so that the next work does not wait for a process to start.
  private static let idleSeconds: Double = 20

  let configuration: Configuration
  let identity: WorkerIdentity
  let logger: Logger
  private let incarnation = ProcessSupport.wallMilliseconds
  private let shared = Mutex(Shared())
  private var link: ControlClient?
  var units: [UnitAttempt: Running] = [:]
  private var finished: [UnitAttempt: Finished] = [:]
  private var remembered: [UnitAttempt] = []
  private var rememberedSet: Set<UnitAttempt> = []
  var executors: [Int: Executor] = [:]
  var lastExecutor = 0
  /// Executors without work, the latest last.
  var idle: [Int] = []
  var isWarming = false
  var pendingLogs: [UnitAttempt: [String]] = [:]
  /// Short work that may wait for a slot.
  var queue: WorkQueue
  /// What has begun and was not told yet.
  var begun: [UnitAttempt] = []
  var stopping = false
  private var statements: StatementPool?

  public init(configuration: Configuration, identity: WorkerIdentity, logger: Logger) {
    self.configuration = configuration
    self.identity = identity
    self.logger = logger
    queue = WorkQueue(slots: configuration.slots)
  }

  /// Works until SIGTERM, SIGINT, or a shutdown message.
  public func run() async throws {
    let scratch = scratchRoot
    // Programs that an earlier process of this worker started run elsewhere by now.
    ProcessTree.killOrphans(of: ownPath)
    // Scratch of an earlier process is of no use to anyone.
    try? FileManager.default.removeItem(atPath: scratch)
    try? FileManager.default.removeItem(atPath: unitsFolder)
    try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    try FileManager.default.createDirectory(atPath: unitsFolder, withIntermediateDirectories: true)
    let name = configuration.name
    let slots = configuration.slots
    let labels = configuration.labels
    let cpus = configuration.cpus ?? 0
    let memory = configuration.memoryBytes ?? Int64(ProcessInfo.processInfo.physicalMemory)
    let incarnation = UInt64(self.incarnation)
    let shared = SharedBox(self)
    guard let first = identity.controlEndpoints.first else { throw PlatformError(.badConfiguration, "no coordinator was named") }
    var link = ControlClient.Configuration(address: first, serverKey: identity.coordinatorKey, keys: identity.keys)
    link.others = Array(identity.controlEndpoints.dropFirst())
    let client = try ControlClient(
      link,
      hello: {
        let now = shared.snapshot()
        return WorkerHello(
          node: name, platformVersion: ReleaseVersion.current, incarnation: incarnation, cpuSlots: slots,
          memoryBytes: memory, labels: labels, running: now.running, unacknowledged: now.finished, cpus: cpus)
      },
      heartbeat: {
        let now = shared.snapshot()
        return Heartbeat(load: Self.load(), residentBytes: now.residentBytes, running: now.running + now.finished)
      })
    self.link = client
    let concurrency = StatementLink.concurrency(slots: slots)
    let statements = StatementPool(
      .init(directory: configuration.directory, concurrency: concurrency, warm: min(2, concurrency)), logger: logger
    ) { message in
      // Lost with the session: the coordinator then runs the statement elsewhere.
      try? client.send(message)
    }
    self.statements = statements
    let housekeeping = Task { [weak self] in
      while !Task.isCancelled {
        try? await Task.sleep(for: .milliseconds(500))  // cancelled: the loop condition ends it
        await self?.keepHouse()
      }
    }
    let signals = SignalWaiter([SIGTERM, SIGINT])
    let listener = Task { [weak self] in
      for await event in client.events {
        // Statements are short and many: they do not wait for this actor.
        switch event {
        case .message(.assign(let key, StatementLink.kind, let payload, _)): statements.start(key, payload: payload)
        case .message(.cancel(let key, _)) where key.unit.hasPrefix(StatementLink.prefix): statements.cancel(key)
        default:
          if case .message = event {} else { statements.cancelAll() }
          await self?.handle(event)
        }
      }
    }
    await signals.wait()
    stopping = true
    logger.info("stopping")
    housekeeping.cancel()
    listener.cancel()
    statements.stop()
    // Replicas get a moment to finish their answers; shards and ranks are simply repeated elsewhere.
    for (_, unit) in units {
      guard let child = child(of: unit) else { continue }
      if unit.isReplica { child.send(.drain, unit.number) } else { child.kill() }
    }
    let deadline = Date().addingTimeInterval(8)
    while Date() < deadline && units.values.contains(where: \.isReplica) { try? await Task.sleep(for: .milliseconds(50)) }
    for (_, executor) in executors { executor.child.kill() }
    client.close()
    await client.closed()
  }

  nonisolated private static func load() -> Double {
    var averages = [0.0]
    return getloadavg(&averages, 1) == 1 ? averages[0] : 0
  }

  /// The folder as its processes see it.
  var ownPath: String {
    guard let path = realpath(configuration.directory, nil) else { return configuration.directory }
    defer { free(path) }
    return String(cString: path)
  }

  var scratchRoot: String { configuration.directory + "/scratch" }

  /// Lets the link's thread read the lists without the actor.
  private final class SharedBox: Sendable {
    private weak let owner: WorkerProcess?
    init(_ owner: WorkerProcess) { self.owner = owner }
    func snapshot() -> (running: [UnitAttempt], finished: [UnitAttempt], residentBytes: Int64) {
      owner?.shared.withLock { (Array($0.running), Array($0.finished), $0.residentBytes) } ?? ([], [], 0)
    }
  }

  /// A message that may be lost: the coordinator asks again, or the next report replaces it.
  func tell(_ message: ControlMessage) {
    do {
      try link?.send(message)
    } catch {
      logger.debug("not sent", metadata: ["error": "\(error)"])
    }
  }

  // MARK: the link

  private func handle(_ event: WorkerEvent) {
    switch event {
    case .connected(let welcome), .restored(let welcome):
      logger.info("connected", metadata: ["epoch": "\(welcome.epoch)"])
      repeatReports()
    case .lost:
      logger.warning("the coordinator is silent")
      // A rank that goes on alone could write checkpoints beside its replacement: it stops. Everything else only writes
      // files of its own attempt, which nobody sees without a commit. Replicas write nothing.
      for (key, unit) in units where unit.gang != nil && !unit.isReplica { cancel(key, reason: "lost the coordinator", unit: unit) }
    case .refused(let error):
      logger.error("refused by the coordinator", metadata: ["error": "\(error)"])
    case .message(let message): handle(message)
    }
  }

  private func handle(_ message: ControlMessage) {
    switch message {
    case .assign(let key, let kind, let payload, _): assign(key, kind, payload)
    case .cancel(let key, let reason):
      guard let unit = units[key] else { return }
      cancel(key, reason: reason, unit: unit)
    case .acknowledge(let key):
      finished[key] = nil
      shared.withLock { _ = $0.finished.remove(key) }
    case .peerTable(let group, let generation, let peers):
      let mapped = peers.map { GangPeer(rank: $0.rank, hostID: $0.hostID, address: $0.address, publicKey: $0.publicKey) }
      guard let payload = try? JSONEncoder.platform.encode(mapped) else { return }  // always encodable
      for (_, unit) in units where unit.gang?.gang == group && unit.gang?.generation == generation {
        child(of: unit)?.send(.peers, unit.number, payload)
      }
    case .shutdown(let reason):
      logger.info("shutdown asked", metadata: ["reason": "\(reason)"])
      kill(getpid(), SIGTERM)
    default: break
    }
  }

  /// Reports may have been lost with the connection: everything that is not acknowledged is said again.
  /// - Parameter before: what was said later may still be on its way.
  private func repeatReports(saidBefore before: ContinuousClock.Instant = .now) {
    for (key, unit) in units {
      if unit.started { tell(.unitStarted(key)) }
      if let endpoint = unit.endpoint { tell(.unitEndpoint(key, address: endpoint.address, publicKey: endpoint.publicKey)) }
    }
    for (key, end) in finished where end.told <= before { report(key) }
  }

  private func report(_ key: UnitAttempt) {
    guard let end = finished[key] else { return }
    finished[key]?.told = .now
    tell(.unitFinished(key, outcome: end.outcome, result: end.result, error: end.error))
  }

  // MARK: work

  private func assign(_ key: UnitAttempt, _ kind: String, _ payload: Data) {
    if let unit = units[key] {
      if unit.started { tell(.unitStarted(key)) }
      return
    }
    if finished[key] != nil { return report(key) }
    guard !rememberedSet.contains(key), !stopping else { return }
    let work: AssignedWork
    do {
      work = try AssignedWork(json: JSONValue(parsing: payload))
    } catch {
      return finish(key, .failed, error: PlatformError.from(error))
    }
    guard work.incarnation == incarnation else { return }
    let mayWait = work.mayWait == true
    units[key] = Running(kind: kind, payload: payload, gang: work.gang, isReplica: work.isReplica, mayWait: mayWait)
    shared.withLock { _ = $0.running.insert(key) }
    guard !mayWait else {
      queue.add(key)
      return useQueue()
    }
    // Ranks and replicas have a process of their own, and nothing waits for one to start.
    if work.gang == nil, !work.isReplica, let id = takeIdle() { give([key], to: id) } else { Task { await startAlone(key) } }
  }

  /// One small file a running unit with its process identifier, for people and tests who want to look or to disturb.
  var unitsFolder: String { configuration.directory + "/units" }
  private func encoded(_ error: PlatformError) -> Data {
    (try? JSONEncoder.platform.encode(error)) ?? Data()  // an error is always encodable
  }

  func finish(_ key: UnitAttempt, _ outcome: UnitOutcome, error: PlatformError? = nil) {
    complete(key, (outcome, Data(), error.map(encoded) ?? Data()))
  }

  func complete(_ key: UnitAttempt, _ end: (UnitOutcome, result: Data, error: Data)) {
    flushLogs()
    // The next attempt may have begun, and have noted itself.
    if units.removeValue(forKey: key)?.isNoted == true, !units.keys.contains(where: { $0.unit == key.unit }) {
      unlink(unitsFolder + "/" + key.unit.replacingOccurrences(of: "/", with: "_"))
    }
    finished[key] = Finished(outcome: end.0, result: end.result, error: end.error, told: .now)
    remembered.append(key)
    rememberedSet.insert(key)
    if remembered.count > Self.memory {
      rememberedSet.remove(remembered.removeFirst())
    }
    shared.withLock {
      $0.running.remove(key)
      $0.finished.insert(key)
    }
    report(key)
  }

  func cancel(_ key: UnitAttempt, reason: String, unit: Running) {
    if reason == AssignedWork.drainReason {
      child(of: unit)?.send(.drain, unit.number)
      return
    }
    units[key]?.cancelled = true
    if queue.isWaiting(key) {
      queue.dropped(key)
      return finish(key, .cancelled)
    }
    guard let id = unit.executor, let child = executors[id]?.child else { return }
    child.send(.cancel, unit.number)
    // Work that does not look at its flag is ended.
    Task { [weak self] in
      try? await Task.sleep(for: .seconds(3))
      if await self?.isDoing(key) == true { child.kill() }
    }
  }

  // MARK: housekeeping

  private var lastRepeat = Date()

  private func keepHouse() {
    flushLogs()
    for id in idle {
      guard let one = executors[id], one.hasWorked, Date().timeIntervalSince(one.idleSince) > Self.idleSeconds else { continue }
      idle.removeAll { $0 == id }
      retire(id)
    }
    if idle.isEmpty { Task { await warmUp() } }
    statements?.keepHouse()
    let processes =
      executors.values.map(\.child.processID) + (statements?.processIDs ?? []) + [getpid()]
    let resident = processes.reduce(Int64(0)) { $0 + (ProcessSupport.residentBytes($1) ?? 0) }
    shared.withLock { $0.residentBytes = resident }
    if Date().timeIntervalSince(lastRepeat) > 2 {
      lastRepeat = Date()
      // A link that lives loses nothing; a coordinator that is busy storing would only get more to do.
      repeatReports(saidBefore: .now - .seconds(5))
    }
  }

  private func flushLogs() {
    for (key, lines) in pendingLogs {
      // Messages of a bounded size; of what comes faster than this, the last is kept.
      var rest = lines.suffix(Self.logLinesAtOnce)
      while !rest.isEmpty {
        var bytes = 0
        let piece = rest.prefix { line in
          bytes += line.utf8.count + 8
          return bytes < 256 << 10
        }.prefix(500)
        let chunk = piece.isEmpty ? rest.prefix(1) : piece
        tell(.unitLog(key, lines: Array(chunk)))
        rest = rest.dropFirst(chunk.count)
      }
    }
    pendingLogs = [:]
  }
}
