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

  private struct Running {
    var child: ExecutorChild?
    var kind: String
    var gang: AssignedWork.Seat?
    var isReplica: Bool
    var mayWait: Bool
    var started = false
    var endpoint: (address: String, publicKey: String)?
    var cancelled = false
    var outcome: (UnitOutcome, result: Data, error: Data)?
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

  private let configuration: Configuration
  private let identity: WorkerIdentity
  private let logger: Logger
  private let incarnation = ProcessSupport.wallMilliseconds
  private let shared = Mutex(Shared())
  private var link: ControlClient?
  private var units: [UnitAttempt: Running] = [:]
  private var finished: [UnitAttempt: (UnitOutcome, result: Data, error: Data)] = [:]
  private var remembered: [UnitAttempt] = []
  private var rememberedSet: Set<UnitAttempt> = []
  private var idle: [(child: ExecutorChild, since: Date, hasWorked: Bool)] = []
  private var isWarming = false
  private var pendingLogs: [UnitAttempt: [String]] = [:]
  /// What waits for a slot, in its order, and how many of its kind run.
  private var queue: [(key: UnitAttempt, kind: String, work: AssignedWork)] = []
  private var runningOfQueue = 0
  /// What has begun and was not told yet.
  private var begun: [UnitAttempt] = []
  private var stopping = false
  private var statements: StatementPool?

  public init(configuration: Configuration, identity: WorkerIdentity, logger: Logger) {
    self.configuration = configuration
    self.identity = identity
    self.logger = logger
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
      if unit.isReplica { unit.child?.send(.drain) } else { unit.child?.kill() }
    }
    let deadline = Date().addingTimeInterval(8)
    while Date() < deadline && units.values.contains(where: \.isReplica) { try? await Task.sleep(for: .milliseconds(50)) }
    for (_, unit) in units { unit.child?.kill() }
    for one in idle { one.child.kill() }
    client.close()
    await client.closed()
  }

  nonisolated private static func load() -> Double {
    var averages = [0.0]
    return getloadavg(&averages, 1) == 1 ? averages[0] : 0
  }

  /// The folder as its processes see it.
  private var ownPath: String {
    guard let path = realpath(configuration.directory, nil) else { return configuration.directory }
    defer { free(path) }
    return String(cString: path)
  }

  private var scratchRoot: String { configuration.directory + "/scratch" }

  /// Lets the link's thread read the lists without the actor.
  private final class SharedBox: Sendable {
    private weak let owner: WorkerProcess?
    init(_ owner: WorkerProcess) { self.owner = owner }
    func snapshot() -> (running: [UnitAttempt], finished: [UnitAttempt], residentBytes: Int64) {
      owner?.shared.withLock { (Array($0.running), Array($0.finished), $0.residentBytes) } ?? ([], [], 0)
    }
  }

  /// A message that may be lost: the coordinator asks again, or the next report replaces it.
  private func tell(_ message: ControlMessage) {
    do {
      try link?.send(message)
    } catch {
      logger.debug("not sent", metadata: ["error": "\(error)"])
    }
  }

  // MARK: the link

  private func handle(_ event: WorkerEvent) async {
    switch event {
    case .connected(let welcome), .restored(let welcome):
      logger.info("connected", metadata: ["epoch": "\(welcome.epoch)"])
      repeatReports()
    case .lost:
      logger.warning("the coordinator is silent")
      // A rank that goes on alone could write checkpoints beside its replacement: it stops. Everything else only writes
      // files of its own attempt, which nobody sees without a commit.
      for (key, unit) in units where unit.gang != nil { cancel(key, reason: "lost the coordinator", unit: unit) }
    case .refused(let error):
      logger.error("refused by the coordinator", metadata: ["error": "\(error)"])
    case .message(let message): await handle(message)
    }
  }

  private func handle(_ message: ControlMessage) async {
    switch message {
    case .assign(let key, let kind, let payload, _): await assign(key, kind, payload)
    case .cancel(let key, let reason):
      guard let unit = units[key] else { return }
      cancel(key, reason: reason, unit: unit)
    case .acknowledge(let key):
      finished[key] = nil
      shared.withLock { _ = $0.finished.remove(key) }
    case .peerTable(let group, let generation, let peers):
      let mapped = peers.map { GangPeer(rank: $0.rank, hostID: $0.hostID, address: $0.address, publicKey: $0.publicKey) }
      for (_, unit) in units where unit.gang?.gang == group && unit.gang?.generation == generation {
        unit.child?.send(.peers(mapped))
      }
    case .shutdown(let reason):
      logger.info("shutdown asked", metadata: ["reason": "\(reason)"])
      kill(getpid(), SIGTERM)
    default: break
    }
  }

  /// Reports may have been lost with the connection: everything that is not acknowledged is said again.
  private func repeatReports() {
    for (key, unit) in units {
      if unit.started { tell(.unitStarted(key)) }
      if let endpoint = unit.endpoint { tell(.unitEndpoint(key, address: endpoint.address, publicKey: endpoint.publicKey)) }
    }
    for (key, end) in finished { tell(.unitFinished(key, outcome: end.0, result: end.result, error: end.error)) }
  }

  // MARK: work

  private func assign(_ key: UnitAttempt, _ kind: String, _ payload: Data) async {
    if units[key] != nil { return tell(.unitStarted(key)) }
    if let end = finished[key] { return tell(.unitFinished(key, outcome: end.0, result: end.result, error: end.error)) }
    guard !rememberedSet.contains(key), !stopping else { return }
    let work: AssignedWork
    do {
      work = try JSONDecoder.platform.decode(AssignedWork.self, from: payload)
    } catch {
      return finish(key, .failed, error: PlatformError(.internalError, "unreadable assignment: \(JSONValue.reason(error))"))
    }
    guard work.incarnation == incarnation else { return }
    let mayWait = work.mayWait == true
    units[key] = Running(child: nil, kind: kind, gang: work.gang, isReplica: work.isReplica, mayWait: mayWait)
    shared.withLock { _ = $0.running.insert(key) }
    if mayWait {
      guard runningOfQueue < configuration.slots else { return queue.append((key, kind, work)) }
      runningOfQueue += 1
    }
    await begin(key, kind, work)
  }

  private func begin(_ key: UnitAttempt, _ kind: String, _ work: AssignedWork) async {
    do {
      let child = try await executor(reusable: work.gang == nil && !work.isReplica)
      guard units[key] != nil, units[key]?.cancelled == false else {
        child.kill()
        if units[key] != nil { finish(key, .cancelled) }
        return beginNext()
      }
      units[key]?.child = child
      // People wait for a replica's answers; everything else may take a moment longer.
      if !work.isReplica { child.yieldProcessors() }
      noteProcess(key, child)
      let scratch = scratchRoot + "/" + key.unit.replacingOccurrences(of: "/", with: "_") + "-\(key.attempt)"
      let seat = work.gang.map { GangSeat(gang: $0.gang, generation: $0.generation, rank: $0.rank, size: $0.size) }
      let spec = WorkSpec(unit: key.unit, attempt: key.attempt, kind: kind, payload: work.payload)
      child.send(.run(spec, scratch: scratch, gang: seat, keys: work.keys ?? [], secrets: work.secrets ?? [:]))
      Task { await self.follow(child, key, scratch: scratch) }
    } catch {
      finish(key, .failed, error: PlatformError.from(error))
      beginNext()
    }
  }

  /// One small file a running unit with its process identifier, for people and tests who want to look or to disturb.
  private var unitsFolder: String { configuration.directory + "/units" }
  private func noteProcess(_ key: UnitAttempt, _ child: ExecutorChild) {
    let path = unitsFolder + "/" + key.unit.replacingOccurrences(of: "/", with: "_")
    // Only a convenience: nothing depends on the note.
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard file >= 0 else { return }
    var text = String(child.processID)
    _ = text.withUTF8 { write(file, $0.baseAddress, $0.count) }
    close(file)
  }

  private func executor(reusable: Bool) async throws -> ExecutorChild {
    while reusable, let warm = idle.popLast() { if warm.child.isRunning { return warm.child } }
    return try await ExecutorChild.start(directory: configuration.directory, address: configuration.address ?? identity.ownAddress)
  }

  /// Starts the executor of the next work, unless one waits already or there is no slot for such work.
  private func warmUp() async {
    guard idle.isEmpty, !isWarming, !stopping, units.values.count(where: { !$0.isReplica }) < configuration.slots else { return }
    isWarming = true
    defer { isWarming = false }
    do {
      let child = try await executor(reusable: false)
      if stopping { child.kill() } else { idle.append((child, Date(), false)) }
    } catch {
      logger.warning("no executor was started ahead", metadata: ["error": "\(error)"])
    }
  }

  /// Reads one executor's messages until its work is over.
  private func follow(_ child: ExecutorChild, _ key: UnitAttempt, scratch: String) async {
    var reusable = false
    loop: for await message in child.messages {
      switch message {
      case .log(let line): pendingLogs[key, default: []].append(line)
      case .ended(let exit):
        if [CommandWork.kind, EnvironmentWork.kind].contains(units[key]?.kind) {
          // What the program had started is not the executor's any more.
          let owner = ownPath
          do { try await BlockingPool.shared.run { ProcessTree.killOrphans(of: owner, unit: UnitName(key.unit, attempt: key.attempt)) } } catch {
            logger.warning("processes of a program may be left", metadata: ["unit": "\(key.unit)", "error": "\(error)"])
          }
        }
        // The process is gone: with its result, or without one.
        if let outcome = units[key]?.outcome {
          complete(key, outcome)
        } else if units[key]?.cancelled == true {
          finish(key, .cancelled)
        } else {
          finish(
            key, .failed, error: PlatformError(.unavailable, "the executor of \(key.unit) ended with \(exit)", hint: "See the task's log."))
        }
        break loop
      case .event(let event):
        if handle(event, key) {
          reusable = units[key]?.gang == nil && units[key]?.isReplica == false && units[key]?.cancelled == false
          if let outcome = units[key]?.outcome { complete(key, outcome) }
          break loop
        }
      }
    }
    // Only leftovers of a finished attempt are in there.
    if access(scratch, F_OK) == 0 { try? FileManager.default.removeItem(atPath: scratch) }
    if reusable && !stopping && idle.count < configuration.slots {
      idle.append((child, Date(), true))
    } else {
      child.retire()
      // A process that does not end by itself after its input did is ended.
      Task {
        try? await Task.sleep(for: .seconds(2))
        child.kill()
      }
    }
    beginNext()
  }

  /// Begins what waits, for as many slots as are free.
  private func beginNext() {
    while runningOfQueue < configuration.slots, !queue.isEmpty, !stopping {
      let next = queue.removeFirst()
      runningOfQueue += 1
      Task { await begin(next.key, next.kind, next.work) }
    }
  }

  /// Of work that is over in a moment, nobody needs to know that it has begun.
  private func tellBeginnings() async {
    try? await Task.sleep(for: .milliseconds(25))  // cancelled: they are told now
    for key in begun where units[key] != nil { tell(.unitStarted(key)) }
    begun = []
  }

  /// - Returns: true when the work is over.
  private func handle(_ event: ExecutorEvent, _ key: UnitAttempt) -> Bool {
    switch event {
    case .started:
      units[key]?.started = true
      begun.append(key)
      if begun.count == 1 { Task { [weak self] in await self?.tellBeginnings() } }
    case .progress(let done, let total, let unit): tell(.unitProgress(key, done: done, total: total, unit: unit))
    case .metric(let name, let step, let value): tell(.unitMetric(key, name: name, step: step, value: value))
    case .log(let line): pendingLogs[key, default: []].append(line)
    case .endpoint(let address, let publicKey):
      units[key]?.endpoint = (address, publicKey)
      tell(.unitEndpoint(key, address: address, publicKey: publicKey))
    case .succeeded(let result):
      units[key]?.outcome = (.succeeded, Data(result.sortedText.utf8), Data())
      return true
    case .failed(let error):
      units[key]?.outcome = (.failed, Data(), encoded(error))
      return true
    case .cancelled:
      units[key]?.outcome = (.cancelled, Data(), Data())
      return true
    }
    return false
  }

  private func encoded(_ error: PlatformError) -> Data {
    (try? JSONEncoder.platform.encode(error)) ?? Data()  // an error is always encodable
  }

  private func finish(_ key: UnitAttempt, _ outcome: UnitOutcome, error: PlatformError? = nil) {
    complete(key, (outcome, Data(), error.map(encoded) ?? Data()))
  }

  private func complete(_ key: UnitAttempt, _ end: (UnitOutcome, result: Data, error: Data)) {
    flushLogs()
    if units[key]?.mayWait == true {
      if let position = queue.firstIndex(where: { $0.key == key }) { queue.remove(at: position) } else { runningOfQueue -= 1 }
    }
    units[key] = nil
    unlink(unitsFolder + "/" + key.unit.replacingOccurrences(of: "/", with: "_"))
    finished[key] = end
    remembered.append(key)
    rememberedSet.insert(key)
    if remembered.count > Self.memory {
      rememberedSet.remove(remembered.removeFirst())
    }
    shared.withLock {
      $0.running.remove(key)
      $0.finished.insert(key)
    }
    tell(.unitFinished(key, outcome: end.0, result: end.result, error: end.error))
  }

  private func cancel(_ key: UnitAttempt, reason: String, unit: Running) {
    if reason == AssignedWork.drainReason {
      unit.child?.send(.drain)
      return
    }
    units[key]?.cancelled = true
    if queue.contains(where: { $0.key == key }) { return finish(key, .cancelled) }
    guard let child = unit.child else { return }
    child.send(.cancel(reason: reason))
    // Work that does not look at its flag is ended.
    Task { [weak self] in
      try? await Task.sleep(for: .seconds(3))
      if await self?.units[key] != nil { child.kill() }
    }
  }

  // MARK: housekeeping

  private var lastRepeat = Date()

  private func keepHouse() {
    flushLogs()
    idle.removeAll { one in
      guard one.child.isRunning else { return true }
      guard one.hasWorked, Date().timeIntervalSince(one.since) > Self.idleSeconds else { return false }
      one.child.retire()
      return true
    }
    if idle.isEmpty { Task { await warmUp() } }
    statements?.keepHouse()
    let processes =
      units.values.compactMap { $0.child?.processID } + idle.map(\.child.processID) + (statements?.processIDs ?? []) + [getpid()]
    let resident = processes.reduce(Int64(0)) { $0 + (ProcessSupport.residentBytes($1) ?? 0) }
    shared.withLock { $0.residentBytes = resident }
    if Date().timeIntervalSince(lastRepeat) > 2 {
      lastRepeat = Date()
      repeatReports()
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
