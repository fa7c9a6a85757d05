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
  private struct Finished {
    var outcome: UnitOutcome
    var result: Data
    var error: Data
    var told: ContinuousClock.Instant
  }

  /// An executor process and what it has in hand.
  private struct Executor {
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

  private let configuration: Configuration
  private let identity: WorkerIdentity
  private let logger: Logger
  private let incarnation = ProcessSupport.wallMilliseconds
  private let shared = Mutex(Shared())
  private var link: ControlClient?
  private var units: [UnitAttempt: Running] = [:]
  private var finished: [UnitAttempt: Finished] = [:]
  private var remembered: [UnitAttempt] = []
  private var rememberedSet: Set<UnitAttempt> = []
  private var executors: [Int: Executor] = [:]
  private var lastExecutor = 0
  /// Executors without work, the latest last.
  private var idle: [Int] = []
  private var isWarming = false
  private var pendingLogs: [UnitAttempt: [String]] = [:]
  /// Short work that may wait for a slot.
  private var queue: WorkQueue
  /// What has begun and was not told yet.
  private var begun: [UnitAttempt] = []
  private var stopping = false
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

  private func startAlone(_ key: UnitAttempt) async {
    do {
      let id = try await startExecutor()
      if isWanted(key) { give([key], to: id) } else { release(id) }
    } catch {
      finish(key, .failed, error: PlatformError.from(error))
    }
  }

  /// False when it was cancelled while its executor was started; that is then its end.
  private func isWanted(_ key: UnitAttempt) -> Bool {
    guard let unit = units[key] else { return false }
    if unit.cancelled { finish(key, .cancelled) }
    return !unit.cancelled
  }

  /// Hands out what waits.
  private func useQueue() {
    while !stopping, let action = queue.next() {
      switch action {
      case .open(let key):
        if let id = takeIdle() { start(key, id) } else { Task { await startElsewhere(key) } }
      case .hand(let keys, let id): give(keys, to: id)
      case .takeBack(let key, let id): executors[id]?.child.send(.takeBack, units[key]?.number ?? 0)
      case .release(let id):
        executors[id]?.isOfQueue = false
        release(id)
      }
    }
  }

  private func start(_ key: UnitAttempt, _ id: Int) {
    queue.opened(key, as: id)
    executors[id]?.isOfQueue = true
    give([key], to: id)
  }

  private func startElsewhere(_ key: UnitAttempt) async {
    do {
      let id = try await startExecutor()
      if isWanted(key) {
        start(key, id)
      } else {
        queue.dropped(key)
        release(id)
      }
    } catch {
      queue.dropped(key)
      finish(key, .failed, error: PlatformError.from(error))
    }
    useQueue()
  }

  /// Orders work from an executor, behind what it has.
  private func give(_ keys: [UnitAttempt], to id: Int) {
    guard var executor = executors[id] else { return }
    var frames: [ExecutorFrame] = []
    for key in keys {
      guard let unit = units[key] else { continue }
      executor.lastNumber += 1
      executor.numbers[executor.lastNumber] = key
      executor.works.append(key)
      units[key]?.executor = id
      units[key]?.number = executor.lastNumber
      let order = ExecutorOrder(unit: key.unit, attempt: key.attempt, kind: unit.kind, scratch: scratch(of: key), work: unit.payload)
      frames.append(ExecutorFrame(kind: .run, number: executor.lastNumber, payload: order.encoded))
      // People wait for a replica's answers; everything else may take a moment longer.
      if !unit.isReplica, !executor.hasYielded {
        executor.child.yieldProcessors()
        executor.hasYielded = true
      }
      if unit.isReplica || unit.gang != nil { executor.retires = true }
    }
    executor.hasWorked = true
    executors[id] = executor
    executor.child.send(frames)
    begins(id)
  }

  /// The executor's first work is being done now.
  private func begins(_ id: Int) {
    guard let key = executors[id]?.works.first, units[key]?.started == false else { return }
    executors[id]?.latest = key
    units[key]?.started = true
    begun.append(key)
    if begun.count == 1 { Task { [weak self] in await self?.tellBeginnings() } }
  }

  private func scratch(of key: UnitAttempt) -> String {
    scratchRoot + "/" + key.unit.replacingOccurrences(of: "/", with: "_") + "-\(key.attempt)"
  }

  private func child(of unit: Running) -> ExecutorChild? { unit.executor.flatMap { executors[$0]?.child } }

  /// One small file a running unit with its process identifier, for people and tests who want to look or to disturb.
  private var unitsFolder: String { configuration.directory + "/units" }
  private func noteProcess(_ key: UnitAttempt) {
    guard let child = units[key].flatMap(child(of:)), units[key]?.isNoted == false else { return }
    units[key]?.isNoted = true
    let path = unitsFolder + "/" + key.unit.replacingOccurrences(of: "/", with: "_")
    // Only a convenience: nothing depends on the note.
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard file >= 0 else { return }
    var text = String(child.processID)
    _ = text.withUTF8 { write(file, $0.baseAddress, $0.count) }
    close(file)
  }

  private func takeIdle() -> Int? {
    while let id = idle.popLast() { if executors[id]?.child.isRunning == true { return id } }
    return nil
  }

  private func startExecutor() async throws -> Int {
    let child = try await ExecutorChild.start(directory: configuration.directory, address: configuration.address ?? identity.ownAddress)
    lastExecutor += 1
    let id = lastExecutor
    executors[id] = Executor(child: child)
    Task { await self.follow(child, id) }
    return id
  }

  /// An executor without work is kept for the next, or ended.
  private func release(_ id: Int) {
    guard let executor = executors[id] else { return }
    if !executor.retires && !stopping && idle.count < configuration.slots {
      executors[id]?.idleSince = Date()
      idle.append(id)
    } else {
      retire(id)
    }
  }

  private func retire(_ id: Int) {
    guard let child = executors[id]?.child else { return }
    child.retire()
    // A process that does not end by itself after its input did is ended.
    Task {
      try? await Task.sleep(for: .seconds(2))
      child.kill()
    }
  }

  /// Starts the executor of the next work, unless one waits already or there is no slot for such work.
  private func warmUp() async {
    guard idle.isEmpty, !isWarming, !stopping, units.values.count(where: { !$0.isReplica }) < configuration.slots else { return }
    isWarming = true
    defer { isWarming = false }
    do {
      let id = try await startExecutor()
      if stopping { executors[id]?.child.kill() } else { release(id) }
    } catch {
      logger.warning("no executor was started ahead", metadata: ["error": "\(error)"])
    }
  }

  /// Reads one executor's messages until it ends.
  private func follow(_ child: ExecutorChild, _ id: Int) async {
    for await message in child.messages {
      switch message {
      case .log(let line): if let key = executors[id]?.latest { pendingLogs[key, default: []].append(line) }
      case .frames(let frames):
        for frame in frames { handle(frame, of: id) }
        useQueue()
      case .ended(let exit): await ended(id, exit)
      }
    }
  }

  /// The process is gone, with what it was doing.
  private func ended(_ id: Int, _ exit: ChildProcess.Exit) async {
    idle.removeAll { $0 == id }
    guard let executor = executors.removeValue(forKey: id) else { return }
    if executor.isOfQueue {
      _ = queue.lost(id)
      for key in executor.works.dropFirst() {
        units[key]?.executor = nil
        // It waits again, unless it was to be cancelled.
        guard units[key]?.cancelled == true else { continue }
        queue.dropped(key)
        finish(key, .cancelled)
      }
    }
    if let key = executor.works.first {
      if [CommandWork.kind, EnvironmentWork.kind].contains(units[key]?.kind) {
        // What the program had started is not the executor's any more.
        let owner = ownPath
        do { try await BlockingPool.shared.run { ProcessTree.killOrphans(of: owner, unit: UnitName(key.unit, attempt: key.attempt)) } } catch {
          logger.warning("processes of a program may be left", metadata: ["unit": "\(key.unit)", "error": "\(error)"])
        }
      }
      if units[key]?.cancelled == true {
        finish(key, .cancelled)
      } else {
        finish(
          key, .failed, error: PlatformError(.unavailable, "the executor of \(key.unit) ended with \(exit)", hint: "See the task's log."))
      }
      removeScratch(of: key)
    }
    useQueue()
  }

  /// Only leftovers of a finished attempt are in there.
  private func removeScratch(of key: UnitAttempt) {
    let path = scratch(of: key)
    if access(path, F_OK) == 0 { try? FileManager.default.removeItem(atPath: path) }
  }

  /// Of work that is over in a moment, nobody needs to know that it has begun.
  private func tellBeginnings() async {
    try? await Task.sleep(for: .milliseconds(25))  // cancelled: they are told now
    for key in begun where units[key]?.started == true {
      tell(.unitStarted(key))
      noteProcess(key)
    }
    begun = []
  }

  private func handle(_ frame: ExecutorFrame, of id: Int) {
    guard let key = executors[id]?.numbers[frame.number] else { return }
    func read<T: Decodable>(_ type: T.Type) -> T? { try? JSONDecoder.platform.decode(type, from: frame.payload) }  // the executor is the same binary
    switch frame.kind {
    case .progress: if let event = read(ExecutorProgress.self) { tell(.unitProgress(key, done: event.done, total: event.total, unit: event.unit)) }
    case .metric: if let event = read(ExecutorMetric.self) { tell(.unitMetric(key, name: event.name, step: event.step, value: event.value)) }
    case .log: pendingLogs[key, default: []].append(String(decoding: frame.payload, as: UTF8.self))
    case .endpoint:
      guard let endpoint = read(ExecutorEndpoint.self) else { return }
      units[key]?.endpoint = endpoint
      tell(.unitEndpoint(key, address: endpoint.address, publicKey: endpoint.publicKey))
    case .succeeded: ended(key, frame.number, of: id, (.succeeded, frame.payload, Data()))
    case .failed: ended(key, frame.number, of: id, (.failed, Data(), frame.payload))
    case .cancelled: ended(key, frame.number, of: id, (.cancelled, Data(), Data()))
    case .returned: ended(key, frame.number, of: id, (.cancelled, Data(), Data()), wasReturned: true)
    case .run, .peers, .cancel, .drain, .takeBack: break
    }
  }

  /// An executor has said that a work is over.
  private func ended(_ key: UnitAttempt, _ number: UInt32, of id: Int, _ end: (UnitOutcome, result: Data, error: Data), wasReturned: Bool = false) {
    guard var executor = executors[id] else { return }
    executor.numbers[number] = nil
    let wasFirst = executor.works.first == key
    executor.works.removeAll { $0 == key }
    let wasAsked = units[key]?.cancelled == true
    // Its executor begins nothing else.
    if wasAsked, wasFirst { executor.retires = true }
    executors[id] = executor
    var isBack = false
    if executor.isOfQueue {
      if executor.retires { queue.close(id) }
      isBack = queue.ended(key, in: id, isBack: wasReturned && !wasAsked)
    }
    if isBack {
      units[key]?.executor = nil
    } else {
      complete(key, end)
      removeScratch(of: key)
    }
    if !executor.works.isEmpty { begins(id) } else if !executor.isOfQueue { release(id) }
  }

  private func encoded(_ error: PlatformError) -> Data {
    (try? JSONEncoder.platform.encode(error)) ?? Data()  // an error is always encodable
  }

  private func finish(_ key: UnitAttempt, _ outcome: UnitOutcome, error: PlatformError? = nil) {
    complete(key, (outcome, Data(), error.map(encoded) ?? Data()))
  }

  private func complete(_ key: UnitAttempt, _ end: (UnitOutcome, result: Data, error: Data)) {
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

  private func cancel(_ key: UnitAttempt, reason: String, unit: Running) {
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

  private func isDoing(_ key: UnitAttempt) -> Bool { units[key]?.executor.map { executors[$0]?.works.first == key } ?? false }

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
