// SPDX-License-Identifier: Apache-2.0

import Core
import Scheduling

/// The network, the workers with their executors, and the faults.
extension Simulation {
  // MARK: Network

  private mutating func travel(_ name: String, _ action: Action) {
    if workers[name]!.partitioned || roll(.drop, 0.05) || isCut(name, action) { return }
    var delay = 1 + Instant(random.next() % 8)
    if vintage >= .weather { delay = inOrder(name, action, delay) }
    if roll(.delay, 0.05) { delay += Instant(random.next() % 4_000) }
    if vintage >= .weather { delay = weathered(name, delay) }
    schedule(delay, action)
    if roll(.duplicate, 0.05) { schedule(delay + Instant(random.next() % 3_000), action) }
    if gust(.replay, 0.01) { schedule(delay + 5_000 + Instant(weather.next() % 40_000), action) }
  }

  mutating func send(_ worker: String, _ effect: Effect, _ epoch: Int) {
    lastMessage += 1
    if workers[worker] != nil { travel(worker, .toWorker(worker, effect, epoch: epoch, sequence: lastMessage)) }
  }

  mutating func report(_ worker: String, _ event: Event) {
    lastMessage += 1
    travel(worker, vintage >= .weather ? .fromWorker(worker, event, sequence: lastMessage) : .toCoordinator(event))
  }

  // MARK: Workers

  mutating func startWorker(_ name: String) {
    guard !workers[name]!.isUp else { return }
    workers[name]!.isUp = true
    workers[name]!.incarnation += 1
    workers[name]!.partitioned = false
    workers[name]!.work = [:]
    workers[name]!.tombstones = []
    workers[name]!.queue = []
    workers[name]!.beat = 0
    workers[name]!.sentBeats = [:]
    workers[name]!.heard = (0, 0)
    prepareStart(name)
    let lease = time + configuration.leaseMs
    workers[name]!.leaseUntil = lease
    note("\(name) starts")
    hello(name)
    let incarnation = workers[name]!.incarnation
    schedule(1_000, .beat(name, incarnation: incarnation))
  }

  private mutating func hello(_ name: String) {
    let worker = workers[name]!
    report(
      name,
      .workerJoined(
        WorkerHello(
          worker: name, incarnation: worker.incarnation, slots: worker.slots, hostID: name, labels: labels(of: name),
          held: worker.work.keys.sorted(), cpus: demands == nil ? nil : Self.cpus, memoryBytes: demands == nil ? nil : Self.memory))
    )
  }

  private func isCurrent(_ name: String, _ incarnation: Int64) -> Bool {
    workers[name]!.isUp && workers[name]!.incarnation == incarnation
  }

  /// Actions of a stalled worker happen when it wakes up.
  private mutating func postponed(_ name: String, _ action: Action) -> Bool {
    let until = workers[name]!.stalledUntil
    guard time < until else { return false }
    schedule(until - time, action)
    return true
  }

  mutating func beat(_ name: String, _ incarnation: Int64) {
    guard isCurrent(name, incarnation), !postponed(name, .beat(name, incarnation: incarnation)) else { return }
    fence(name)
    beginNext(name)
    workers[name]!.beat += 1
    let sequence = workers[name]!.beat
    workers[name]!.sentBeats[sequence] = time
    workers[name]!.sentBeats[sequence - 30] = nil
    let worker = workers[name]!
    report(
      name, .workerHeartbeat(worker: name, incarnation: incarnation, sequence: sequence, held: worker.work.keys.sorted()))
    for key in worker.work.keys.sorted() {
      let execution = worker.work[key]!
      if let outcome = execution.outcome {
        report(name, .unitFinished(worker: name, unit: key.unit, attempt: key.attempt, outcome: outcome))
      } else if execution.isReady, !execution.hasPeers || execution.assignment.service != nil {
        announce(name, key)
      }
    }
    // Now and then a gang has written a checkpoint.
    let ranks = worker.work.filter { $0.value.assignment.gang != nil && $0.value.assignment.service == nil }.keys.sorted()
    if let rank = ranks.first, random.nextUnit() < 0.3 {
      report(name, .gangCheckpointed(worker: name, unit: rank.unit, attempt: rank.attempt))
    }
    schedule(1_000, .beat(name, incarnation: incarnation))
  }

  /// Without a renewal for a lease everything stops: it may run elsewhere soon.
  private mutating func fence(_ name: String) {
    guard time >= workers[name]!.leaseUntil else { return }
    for key in workers[name]!.work.keys.sorted() where workers[name]!.work[key]!.outcome == nil {
      workers[name]!.work[key]!.outcome = .lost
    }
  }

  private mutating func announce(_ name: String, _ key: UnitAttempt) {
    var address = "\(name):\(key.attempt)"
    if let execution = workers[name]!.work[key], execution.assignment.service != nil, execution.hasPeers {
      // The ranks of a replica have met: the first one serves.
      guard execution.assignment.gang?.rank == 0 else { return }
      address += "/serving"
    }
    report(name, .unitReady(worker: name, unit: key.unit, attempt: key.attempt, address: address, publicKey: "k"))
  }

  mutating func receive(_ name: String, _ effect: Effect, _ message: (epoch: Int, sequence: Int)) {
    defer { beginNext(name) }
    let action = Action.toWorker(name, effect, epoch: message.epoch, sequence: message.sequence)
    guard workers[name]!.isUp, !postponed(name, action) else { return }
    fence(name)
    if vintage >= .weather {
      guard message > workers[name]!.heard else { return }
      workers[name]!.heard = message
    }
    let incarnation = workers[name]!.incarnation
    switch effect {
    case .assign(let assignment):
      let key = UnitAttempt(unit: assignment.unit, attempt: assignment.attempt)
      guard assignment.incarnation == incarnation, workers[name]!.work[key] == nil,
        !workers[name]!.tombstones.contains(key), time < workers[name]!.leaseUntil
      else { return }
      checkGang(name, assignment)
      checkAlone(assignment)
      workers[name]!.work[key] = Execution(assignment: assignment)
      if vintage >= .ahead, assignment.mayWait { return workers[name]!.queue.append(key) }
      report(name, .unitStarted(worker: name, unit: key.unit, attempt: key.attempt))
      if assignment.gang != nil || assignment.service != nil {
        schedule(20 + Instant(random.next() % 300), .ready(name, incarnation: incarnation, key))
      }
      if assignment.service != nil { return }
      if assignment.gang != nil {
        schedule(25_000, .finish(name, incarnation: incarnation, key))
      } else {
        schedule(span(of: assignment, on: name), .finish(name, incarnation: incarnation, key))
      }
    case .cancelUnit(_, let unit, let attempt), .drainReplica(_, let unit, let attempt):
      let key = UnitAttempt(unit: unit, attempt: attempt)
      guard let execution = workers[name]!.work[key] else {
        workers[name]!.tombstones.insert(key)
        return
      }
      guard execution.outcome == nil else { return }
      end(name, key, .cancelled)
    case .acknowledge(_, let unit, let attempt):
      let key = UnitAttempt(unit: unit, attempt: attempt)
      guard workers[name]!.work[key]?.outcome != nil else { return }
      workers[name]!.work[key] = nil
      workers[name]!.tombstones.insert(key)
    case .heartbeatAccepted(_, let of, let sequence):
      guard of == incarnation, let sent = workers[name]!.sentBeats[sequence] else { return }
      let length = Instant(Double(configuration.leaseMs) * workers[name]!.drift)
      let lease = max(workers[name]!.leaseUntil, sent + length)
      workers[name]!.leaseUntil = lease
    case .requestJoin: hello(name)
    case .peerTable(let table):
      for member in table.members where member.worker == name {
        let key = UnitAttempt(unit: member.unit, attempt: member.attempt)
        guard let execution = workers[name]!.work[key], execution.outcome == nil, !execution.hasPeers else { continue }
        if execution.assignment.gang?.generation != table.generation {
          problems.append("\(key.unit) got peers of another generation")
        }
        if execution.assignment.gang?.size != table.members.count {
          problems.append("\(key.unit), one of \(execution.assignment.gang?.size ?? 0), got \(table.members.count) peers")
        }
        workers[name]!.work[key]!.hasPeers = true
        if execution.assignment.service != nil {
          schedule(50, .ready(name, incarnation: incarnation, key))
          continue
        }
        schedule(
          Instant(execution.assignment.payload["ms"]?.intValue ?? 100), .finish(name, incarnation: incarnation, key))
      }
    default: break
    }
  }

  /// No rank of another generation may run anywhere it could still write: fenced and stopped ones do not count. Fences
  /// compare two clocks, so a coordinator whose clock jumps ahead is outside of this promise (it has a monotonic clock).
  private mutating func checkGang(_ name: String, _ assignment: Assignment) {
    checkSize(assignment)
    guard let gang = assignment.gang, assignment.service == nil, !enabled.contains(.clockForward) else { return }
    let task = gang.gang.split(separator: "/").prefix(2).joined(separator: "/") + "/"
    for other in names
    where workers[other]!.isUp && time < workers[other]!.leaseUntil && workers[other]!.stalledUntil <= time {
      for (key, execution) in workers[other]!.work where execution.outcome == nil && key.unit.hasPrefix(task) {
        guard let theirs = execution.assignment.gang else { continue }
        if theirs.gang != gang.gang || theirs.generation != gang.generation {
          problems.append(
            "\(assignment.unit) generation \(gang.generation) starts while \(key.unit) generation \(theirs.generation) runs")
        }
      }
    }
  }

  /// No other attempt at a shard may run anywhere either; of repeatable ones that are given out before that is stored, it does no harm.
  private mutating func checkAlone(_ assignment: Assignment) {
    guard assignment.gang == nil, assignment.service == nil, vintage >= .weather, !enabled.contains(.clockForward) else { return }
    if assignment.isRepeatable, vintage >= .pipeline { return }
    for other in names where workers[other]!.isUp && time < workers[other]!.leaseUntil && workers[other]!.stalledUntil <= time {
      for (key, execution) in workers[other]!.work where execution.outcome == nil && key.unit == assignment.unit {
        if other != assignment.worker, areRivals(key, UnitAttempt(unit: assignment.unit, attempt: assignment.attempt)) { continue }
        problems.append("\(assignment.unit) attempt \(assignment.attempt) starts while attempt \(key.attempt) runs on \(other)")
      }
    }
  }

  mutating func ready(_ name: String, _ incarnation: Int64, _ key: UnitAttempt) {
    guard isCurrent(name, incarnation), !postponed(name, .ready(name, incarnation: incarnation, key)) else { return }
    guard workers[name]!.work[key]?.outcome == nil, workers[name]!.work[key] != nil else { return }
    workers[name]!.work[key]!.isReady = true
    announce(name, key)
  }

  mutating func finish(_ name: String, _ incarnation: Int64, _ key: UnitAttempt) {
    guard isCurrent(name, incarnation), !postponed(name, .finish(name, incarnation: incarnation, key)) else { return }
    fence(name)
    guard let execution = workers[name]!.work[key], execution.outcome == nil else { return }
    let assignment = execution.assignment
    if assignment.gang != nil, !execution.hasPeers {
      return end(name, key, .failed(PlatformError(.timeout, "no peers")))
    }
    let index = Int64(key.unit.split(separator: "/").last ?? "") ?? 0
    if assignment.payload["poison"]?.boolValue == true, index == 0 || roll(.executorFailure, 1) {
      return end(name, key, .failed(PlatformError(.internalError, "executor ended by signal 11")))
    }
    if roll(.executorFailure, 0.1) {
      return end(name, key, .failed(PlatformError(random.nextUnit() < 0.1 ? .invalidFile : .internalError, "failed")))
    }
    let attempt = Int64(key.unit.split(separator: "/").dropLast(2).last ?? "") ?? 0
    var result: [String: JSONValue] = ["index": .integer(index), "task": .integer(attempt), "lease": .integer(Int64(key.attempt))]
    if let gang = assignment.gang {
      result["generation"] = .integer(Int64(gang.generation))
      result["size"] = .integer(Int64(gang.size))
    }
    end(name, key, .succeeded(.object(result)))
  }

  /// Begins what waits, for as many slots as are free.
  private mutating func beginNext(_ name: String) {
    guard vintage >= .ahead, workers[name]!.isUp, workers[name]!.stalledUntil <= time else { return }
    while let key = workers[name]!.queue.first {
      guard let execution = workers[name]!.work[key], execution.outcome == nil else {
        workers[name]!.queue.removeFirst()
        continue
      }
      let running = workers[name]!.work.count { $0.value.assignment.mayWait && $0.value.outcome == nil && !workers[name]!.queue.contains($0.key) }
      guard running < workers[name]!.slots else { return }
      workers[name]!.queue.removeFirst()
      report(name, .unitStarted(worker: name, unit: key.unit, attempt: key.attempt))
      schedule(span(of: execution.assignment, on: name), .finish(name, incarnation: workers[name]!.incarnation, key))
    }
  }

  private mutating func end(_ name: String, _ key: UnitAttempt, _ outcome: UnitOutcome) {
    workers[name]!.work[key]!.outcome = outcome
    defer { beginNext(name) }
    workers[name]!.history = workers[name]!.history.suffix(19) + [(key, outcome)]
    report(name, .unitFinished(worker: name, unit: key.unit, attempt: key.attempt, outcome: outcome))
  }

  // MARK: Faults

  mutating func injectFault() {
    guard !faultsOver else { return }
    schedule(100 + Instant(random.next() % 1_500), .fault)
    let fault = Fault.first[Int(random.next() % UInt64(Fault.first.count))]
    guard enabled.contains(fault) else { return }
    let name = names[Int(random.next() % 4)]
    note("fault \(fault) \(name)")
    var happened = !fault.isRolled
    defer { if happened { injected[fault, default: 0] += 1 } }
    switch fault {
    case .partition:
      workers[name]!.partitioned = true
      schedule(500 + Instant(random.next() % 15_000), .heal(name))
    case .workerCrash:
      crashWorker(name)
      schedule(200 + Instant(random.next() % 15_000), .startWorker(name))
      if random.nextUnit() < 0.3 {
        schedule(5, .toCoordinator(.workerLost(worker: name, incarnation: workers[name]!.incarnation)))
      }
    case .executorCrash:
      let running = workers[name]!.work.filter { $0.value.outcome == nil }.keys.sorted()
      happened = workers[name]!.isUp && workers[name]!.stalledUntil <= time && !running.isEmpty
      guard happened else { return }
      let key = running[Int(random.next() % UInt64(running.count))]
      end(name, key, .failed(PlatformError(.internalError, "executor ended by signal 9")))
    case .workerStall: workers[name]!.stalledUntil = time + 500 + Instant(random.next() % 12_000)
    case .workerDrain:
      happened = random.nextUnit() < 0.3
      guard happened else { return }
      schedule(1, .client(random.nextUnit() < 0.5 ? .workerDrain(worker: name) : .workerCordon(worker: name)))
      if random.nextUnit() < 0.7 { schedule(Instant(random.next() % 30_000), .client(.workerUncordon(worker: name))) }
    case .coordinatorStall: stalledCoordinatorUntil = time + 500 + Instant(random.next() % 12_000)
    case .clockForward: clockOffset += Instant(random.next() % 10_000)
    case .clockBackward: clockOffset -= Instant(random.next() % 3_000)
    case .cancel: schedule(1, .client(.runCancelRequested(run: "r\(random.next() % 8)")))
    case .scale:
      let service = "s\(random.next() % 2)"
      if random.nextUnit() < 0.15 {
        schedule(1, .client(.serviceRemoved(name: service)))
      } else {
        let spec = ServiceSpec(
          name: service, kind: "serve", payload: .integer(Int64(random.next() % 3)), replicas: Int(random.next() % 4))
        schedule(1, .client(.serviceSet(pressed(spec))))
      }
    default: break  // rolled where they happen, or made by a storm
    }
  }

  mutating func crashWorker(_ name: String) {
    workers[name]!.isUp = false
    workers[name]!.work = [:]
  }
}
