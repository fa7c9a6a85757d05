// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Logging
import Pipelines
import Transport

/// The worker's executors: which process does which work, from its start to its end.
extension WorkerProcess {
  func startAlone(_ key: UnitAttempt) async {
    do {
      let id = try await startExecutor()
      if isWanted(key) { give([key], to: id) } else { release(id) }
    } catch {
      finish(key, .failed, error: PlatformError.from(error))
    }
  }

  /// False when it was cancelled while its executor was started; that is then its end.
  func isWanted(_ key: UnitAttempt) -> Bool {
    guard let unit = units[key] else { return false }
    if unit.cancelled { finish(key, .cancelled) }
    return !unit.cancelled
  }

  /// Hands out what waits.
  func useQueue() {
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

  func start(_ key: UnitAttempt, _ id: Int) {
    queue.opened(key, as: id)
    executors[id]?.isOfQueue = true
    give([key], to: id)
  }

  func startElsewhere(_ key: UnitAttempt) async {
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
  func give(_ keys: [UnitAttempt], to id: Int) {
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
  func begins(_ id: Int) {
    guard let key = executors[id]?.works.first, units[key]?.started == false else { return }
    executors[id]?.latest = key
    units[key]?.started = true
    begun.append(key)
    if begun.count == 1 { Task { [weak self] in await self?.tellBeginnings() } }
  }

  func child(of unit: Running) -> ExecutorChild? { unit.executor.flatMap { executors[$0]?.child } }

  func takeIdle() -> Int? {
    while let id = idle.popLast() { if executors[id]?.child.isRunning == true { return id } }
    return nil
  }

  func startExecutor() async throws -> Int {
    let child = try await ExecutorChild.start(directory: configuration.directory, address: configuration.address ?? identity.ownAddress)
    lastExecutor += 1
    let id = lastExecutor
    executors[id] = Executor(child: child)
    Task { await self.follow(child, id) }
    return id
  }

  /// An executor without work is kept for the next, or ended.
  func release(_ id: Int) {
    guard let executor = executors[id] else { return }
    if !executor.retires && !stopping && idle.count < configuration.slots {
      executors[id]?.idleSince = Date()
      idle.append(id)
    } else {
      retire(id)
    }
  }

  func retire(_ id: Int) {
    guard let child = executors[id]?.child else { return }
    child.retire()
    // A process that does not end by itself after its input did is ended.
    Task {
      try? await Task.sleep(for: .seconds(2))
      child.kill()
    }
  }

  /// Starts the executor of the next work, unless one waits already or there is no slot for such work.
  func warmUp() async {
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
  func follow(_ child: ExecutorChild, _ id: Int) async {
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
  func ended(_ id: Int, _ exit: ChildProcess.Exit) async {
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

  func handle(_ frame: ExecutorFrame, of id: Int) {
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
  func ended(_ key: UnitAttempt, _ number: UInt32, of id: Int, _ end: (UnitOutcome, result: Data, error: Data), wasReturned: Bool = false) {
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

  func isDoing(_ key: UnitAttempt) -> Bool { units[key]?.executor.map { executors[$0]?.works.first == key } ?? false }

  /// Of work that is over in a moment, nobody needs to know that it has begun.
  func tellBeginnings() async {
    try? await Task.sleep(for: .milliseconds(25))  // cancelled: they are told now
    for key in begun where units[key]?.started == true {
      tell(.unitStarted(key))
      noteProcess(key)
    }
    begun = []
  }

  func noteProcess(_ key: UnitAttempt) {
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

  func scratch(of key: UnitAttempt) -> String {
    scratchRoot + "/" + key.unit.replacingOccurrences(of: "/", with: "_") + "-\(key.attempt)"
  }

  /// Only leftovers of a finished attempt are in there.
  func removeScratch(of key: UnitAttempt) {
    let path = scratch(of: key)
    if access(path, F_OK) == 0 { try? FileManager.default.removeItem(atPath: path) }
  }
}
