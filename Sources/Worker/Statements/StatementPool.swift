// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Logging
import Synchronization
import Transport

/// A worker's executors for interactive statements: some wait ready, each runs one statement at a time.
final class StatementPool: Sendable {
  struct Configuration: Sendable {
    /// Folder of the worker.
    var directory: String
    /// Statements at once; more are refused, the coordinator knows the number.
    var concurrency: Int
    /// Executors that are kept ready.
    var warm: Int
    /// An executor ends after so many statements: what libraries leak stays bounded.
    var statementLimit = 5000
    /// Executors above `warm` end after so long without work.
    var idleSeconds: Double = 30

    /// Memory of one executor: all together take at most half of the machine's.
    var memoryLimit: String {
      "\(max(256, min(4096, Int(ProcessInfo.processInfo.physicalMemory >> 20) / 2 / max(1, concurrency))))MB"
    }
    var threads: Int { max(1, min(8, ProcessInfo.processInfo.activeProcessorCount)) }
  }

  private struct Executor {
    var child: ChildProcess?
    var statement: UnitAttempt?
    var number: UInt32 = 0
    var isReady = false
    var isRetired = false
    var idleSince = ContinuousClock.now
    var startedAt = ContinuousClock.now
    var cancelledAt: ContinuousClock.Instant?
    var payload: Data?
    var note: String?
  }

  private struct State {
    var executors: [Int: Executor] = [:]
    var byStatement: [UnitAttempt: Int] = [:]
    var nextID = 0
    var failures = 0
    var isStopping = false
  }

  private let configuration: Configuration
  private let logger: Logger
  private let tell: @Sendable (ControlMessage) -> Void
  private let state = Mutex(State())

  /// - Parameter tell: sends a message to the coordinator; may be called from any thread.
  init(_ configuration: Configuration, logger: Logger, tell: @escaping @Sendable (ControlMessage) -> Void) {
    self.configuration = configuration
    self.logger = logger
    self.tell = tell
  }

  var processIDs: [Int32] { state.withLock { $0.executors.values.compactMap { $0.child?.processID } } }

  // MARK: statements

  /// Runs a statement on a waiting executor, or on a new one.
  func start(_ key: UnitAttempt, payload: Data) {
    enum Choice { case send(ChildProcess, UInt32), launch(Int), refuse, known }
    let choice = state.withLock { state -> Choice in
      if state.byStatement[key] != nil { return .known }
      guard !state.isStopping, state.byStatement.count < configuration.concurrency * 2 else { return .refuse }
      // One that is still starting comes next; only then another is started.
      let free = state.executors.filter { $0.value.statement == nil && !$0.value.isRetired }
      if let id = free.first(where: { $0.value.isReady })?.key ?? free.keys.min() {
        state.byStatement[key] = id
        state.executors[id]!.statement = key
        state.executors[id]!.number += 1
        state.executors[id]!.startedAt = .now
        if let child = state.executors[id]!.child { return .send(child, state.executors[id]!.number) }
        state.executors[id]!.payload = payload
        return .known
      }
      let id = add(&state)
      state.byStatement[key] = id
      state.executors[id]!.statement = key
      state.executors[id]!.number = 1
      state.executors[id]!.payload = payload
      return .launch(id)
    }
    switch choice {
    case .send(let child, let number): child.write(StatementFrame(kind: .run, number: number, payload: payload).encoded)
    case .launch(let id): launch(id)
    case .refuse:
      finished(key, .failed, error: PlatformError(.resourceExhausted, "the worker is full", hint: "Try again.", number: "PLT-3230"))
    case .known: break
    }
  }

  func cancel(_ key: UnitAttempt) {
    let running = state.withLock { state -> (child: ChildProcess?, number: UInt32)? in
      guard let id = state.byStatement[key] else { return nil }
      if state.executors[id]!.cancelledAt == nil { state.executors[id]!.cancelledAt = .now }
      return (state.executors[id]!.child, state.executors[id]!.number)
    }
    guard let running else { return }
    running.child?.write(StatementFrame(kind: .cancel, number: running.number).encoded)
  }

  /// The session with the coordinator is over: nobody waits for what runs.
  func cancelAll() { for key in state.withLock({ Array($0.byStatement.keys) }) { cancel(key) } }

  private func finished(_ key: UnitAttempt, _ outcome: UnitOutcome, result: Data = Data(), error: PlatformError? = nil) {
    let failure = error.flatMap { try? JSONEncoder.platform.encode($0) } ?? Data()  // an error is always encodable
    tell(.unitFinished(key, outcome: outcome, result: result, error: failure))
  }

  // MARK: executors

  private func add(_ state: inout State) -> Int {
    state.nextID += 1
    state.executors[state.nextID] = Executor()
    return state.nextID
  }

  private func launch(_ id: Int) {
    // Ends by itself: starting a process takes milliseconds, and its end is reported by the process.
    Task { [self] in
      do {
        let child = try await makeChild(id)
        let first = state.withLock { state -> (child: ChildProcess, UInt32, Data)? in
          guard state.executors[id] != nil else { return nil }
          state.executors[id]!.child = child
          guard let payload = state.executors[id]!.payload else { return nil }
          state.executors[id]!.payload = nil
          return (child, state.executors[id]!.number, payload)
        }
        if let first { first.child.write(StatementFrame(kind: .run, number: first.1, payload: first.2).encoded) }
        if state.withLock({ $0.isStopping }) { child.signal(SIGKILL) }
      } catch {
        ended(id, because: "cannot be started: \(error)", outcome: .failed)
      }
    }
  }

  private func makeChild(_ id: Int) async throws -> ChildProcess {
    var environment = ProcessInfo.processInfo.environment
    // Executors compute; they get no credentials, whoever started the worker.
    for name in environment.keys where name.hasPrefix("PLATFORM_") && name != "PLATFORM_LIB" && name != "PLATFORM_LOG" {
      if name.hasPrefix("PLATFORM_S3_") || name.hasPrefix("PLATFORM_OBJECT_CACHE") { continue }
      environment[name] = nil
    }
    let reader = Mutex(StatementFrameReader())
    let lines = Mutex(LineSplitter(limit: 16 << 10))
    let child = try await ChildProcess.start(
      .init(
        executable: ProcessSupport.executablePath,
        arguments: [
          "executor", "--statements", "--memory", configuration.memoryLimit, "--threads", String(configuration.threads), "--scratch",
          "\(configuration.directory)/scratch/statements-\(id)",
        ], environment: environment, directory: configuration.directory, deathSignal: SIGKILL, wantsInput: true),
      onOutput: { [weak self] bytes in
        guard let self, let bytes else { return }
        guard let frames = reader.withLock({ $0.feed(bytes) }) else { return kill(id) }
        for frame in frames { received(frame, from: id) }
      },
      onError: { [logger] bytes in
        guard let bytes else { return }
        for line in lines.withLock({ $0.feed(bytes) }) {
          logger.info("statement executor", metadata: ["line": "\(String(decoding: line, as: UTF8.self))"])
        }
      },
      onExit: { [weak self] exit in self?.ended(id, because: "ended with \(exit)", outcome: .lost) })
    child.yieldProcessors()
    return child
  }

  private func kill(_ id: Int) { state.withLock { $0.executors[id]?.child }?.signal(SIGKILL) }

  private func received(_ frame: StatementFrame, from id: Int) {
    let (key, note, retired) = state.withLock { state -> (UnitAttempt?, String?, ChildProcess?) in
      guard var executor = state.executors[id] else { return (nil, nil, nil) }
      defer { state.executors[id] = executor }
      executor.isReady = true
      state.failures = 0
      guard let key = executor.statement, frame.number == executor.number else { return (nil, nil, nil) }
      guard frame.kind != .progress else { return (key, nil, nil) }
      state.byStatement[key] = nil
      let note = executor.note
      executor.statement = nil
      executor.cancelledAt = nil
      executor.note = nil
      executor.idleSince = .now
      if executor.number >= UInt32(configuration.statementLimit) { executor.isRetired = true }
      return (key, note, executor.isRetired ? executor.child : nil)
    }
    retired?.closeInput()
    if let note { unlink(note) }
    guard let key else { return }
    switch frame.kind {
    case .progress: tell(.unitProgress(key, done: Int64(frame.payload.first ?? 0), total: 100, unit: "percent"))
    case .succeeded:
      // What does not fit a control message cannot be sent; results go through files long before.
      if frame.payload.count > 12 << 20 {
        finished(key, .failed, error: PlatformError(.resourceExhausted, "the statement's answer is larger than 12 MB", number: "PLT-2113"))
      } else {
        finished(key, .succeeded, result: frame.payload)
      }
    case .failed: tell(.unitFinished(key, outcome: .failed, result: Data(), error: frame.payload))
    case .cancelled: finished(key, .cancelled)
    case .run, .cancel, .ready: break
    }
  }

  private func ended(_ id: Int, because reason: String, outcome: UnitOutcome) {
    let (gone, wasStopping) = state.withLock { state -> (Executor?, Bool) in
      guard let gone = state.executors.removeValue(forKey: id) else { return (nil, true) }
      if let key = gone.statement { state.byStatement[key] = nil }
      if !gone.isReady { state.failures += 1 }
      return (gone, state.isStopping)
    }
    guard let gone else { return }
    if let note = gone.note { unlink(note) }
    // Only leftovers of statements that have ended are in there.
    try? FileManager.default.removeItem(atPath: "\(configuration.directory)/scratch/statements-\(id)")
    guard let key = gone.statement else { return }
    if !wasStopping { logger.warning("a statement's executor \(reason)", metadata: ["statement": "\(key)"]) }
    if gone.cancelledAt != nil {
      finished(key, .cancelled)
    } else {
      finished(key, outcome, error: PlatformError(.unavailable, "the executor of the statement \(reason)"))
    }
  }

  // MARK: housekeeping

  /// Starts what should wait ready, ends what waits for too long, kills what does not obey. Call it a few times a second.
  func keepHouse() {
    let now = ContinuousClock.now
    let (retired, stubborn, started, slow) = state.withLock {
      state -> ([ChildProcess], [ChildProcess], [Int], [(UnitAttempt, Int, Int32)]) in
      guard !state.isStopping else { return ([], [], [], []) }
      var retired: [ChildProcess] = []
      var stubborn: [ChildProcess] = []
      var slow: [(UnitAttempt, Int, Int32)] = []
      var usable = state.executors.values.filter { !$0.isRetired }.count
      for (id, executor) in state.executors {
        if let key = executor.statement {
          if let since = executor.cancelledAt, now - since > .milliseconds(500), let child = executor.child { stubborn.append(child) }
          if executor.note == nil, now - executor.startedAt > .milliseconds(300), let child = executor.child {
            slow.append((key, id, child.processID))
          }
        } else if !executor.isRetired, usable > configuration.warm, now - executor.idleSince > .seconds(configuration.idleSeconds),
          let child = executor.child
        {
          state.executors[id]!.isRetired = true
          retired.append(child)
          usable -= 1
        }
      }
      var started: [Int] = []
      // After several that did not come up there is no point in a storm of processes.
      while usable < configuration.warm, started.isEmpty || state.failures == 0, state.failures < 5 {
        started.append(add(&state))
        usable += 1
      }
      return (retired, stubborn, started, slow)
    }
    for child in retired { child.closeInput() }
    for child in stubborn { child.signal(SIGKILL) }
    for id in started { launch(id) }
    for (key, id, processID) in slow { writeNote(key, id, processID) }
  }

  /// One small file a statement that takes long with its executor's process identifier, for people and tests.
  private func writeNote(_ key: UnitAttempt, _ id: Int, _ processID: Int32) {
    let path = "\(configuration.directory)/units/" + key.unit.replacingOccurrences(of: "/", with: "_")
    let mine = state.withLock { state in
      guard state.executors[id]?.statement == key else { return false }
      state.executors[id]!.note = path
      return true
    }
    guard mine else { return }
    // Only a convenience: nothing depends on the note.
    try? FileManager.default.createDirectory(atPath: configuration.directory + "/units", withIntermediateDirectories: true)
    try? Data(String(processID).utf8).write(to: URL(fileURLWithPath: path))
    if state.withLock({ $0.executors[id]?.note != path }) { unlink(path) }
  }

  func stop() {
    let children = state.withLock { state in
      state.isStopping = true
      return state.executors.values.compactMap(\.child)
    }
    for child in children { child.signal(SIGKILL) }
  }
}
