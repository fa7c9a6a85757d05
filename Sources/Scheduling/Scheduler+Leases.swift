// SPDX-License-Identifier: Apache-2.0

import Core

/// Workers, heartbeats, and what happens to units when their lease ends.
extension Scheduler {
  // MARK: Workers

  func deadline(of worker: Worker) -> Instant {
    switch worker.state {
    case .live: worker.lastHeard + configuration.leaseMs
    case .suspect: worker.lastHeard + configuration.leaseMs + configuration.marginMs
    case .restored: worker.lastHeard + configuration.restoreGraceMs
    }
  }

  mutating func workerJoined(_ hello: WorkerHello) {
    if let known = workers[hello.worker] {
      // A delayed hello of an earlier process; if it is the later one after all, the lease of the other runs out.
      if hello.incarnation < known.incarnation { return }
      if hello.incarnation > known.incarnation { loseWorker(hello.worker) }
    }
    var worker =
      workers[hello.worker]
      ?? Worker(
        incarnation: hello.incarnation, room: Room(slots: 0), hostID: hello.hostID, labels: hello.labels, state: .live,
        availability: availability[hello.worker]?.availability ?? .open, lastHeard: now)
    if worker.state != .live || worker.room.slots == 0 {
      worker.resize(hello)
      worker.hostID = hello.hostID
      worker.labels = hello.labels
    }
    workers.set(hello.worker, worker)
    workersChanged = true
    heard(from: hello.worker)
    reconcile(hello.worker, held: hello.held, isBeat: false)
  }

  mutating func workerHeartbeat(_ name: String, incarnation: Int64, sequence: Int64, held: [UnitAttempt]) {
    guard let worker = workers[name], worker.state != .restored, worker.incarnation <= incarnation else {
      if workers[name]?.incarnation ?? .min <= incarnation { effects.append(.requestJoin(worker: name)) }
      return
    }
    guard worker.incarnation == incarnation else {
      effects.append(.requestJoin(worker: name))
      return
    }
    guard sequence > worker.lastBeat else { return }
    workers.update(name) { $0.lastBeat = sequence }
    heard(from: name)
    reconcile(name, held: held, isBeat: true)
    effects.append(.heartbeatAccepted(worker: name, incarnation: incarnation, sequence: sequence))
  }

  private mutating func heard(from name: String) {
    guard let index = workers.index(of: name) else { return }
    workers[at: index].lastHeard = now
    guard workers[at: index].state != .live else { return }
    workers[at: index].state = .live
    workersChanged = true
    for (key, lease) in workers[at: index].leases where lease.active {
      if let place = find(key.unit) { announce(self[place]) }
    }
  }

  /// Compares what a worker holds with what it was leased.
  private mutating func reconcile(_ name: String, held: [UnitAttempt], isBeat: Bool) {
    guard let index = workers.index(of: name) else { return }
    let held = held.sorted()
    for (key, lease) in workers[at: index].leases {
      if held.containsSorted(key) {
        if !lease.confirmed || isBeat && !lease.listed {
          workers[at: index].change(key) {
            $0.confirmed = true
            $0.listed = $0.listed || isBeat
          }
        }
        if !lease.active || lease.evicted { effects.append(.cancelUnit(worker: name, unit: key.unit, attempt: key.attempt)) }
      } else if lease.active, let place = find(key.unit), self[place].held(as: key).incarnation != workers[at: index].incarnation {
        workers[at: index].remove(key)
        end(key, .lost)
      } else if lease.active, !lease.evicted {
        if !isBeat || now - lease.sentAt >= configuration.resendMs, let place = find(key.unit) {
          workers[at: index].change(key) { [now] in $0.sentAt = now }
          effects.append(.assign(assignment(self[place].held(as: key))))
        }
      } else if lease.listed || (!lease.confirmed || lease.foreign) && now - lease.sentAt >= configuration.leaseMs + configuration.marginMs {
        // A report that was sent before the worker got the assignment does not list it either. Beats are taken in their
        // order, so one that misses what an earlier one listed is proof. What has started is reported until it is
        // acknowledged; for what never started, and what only a hello named, a long silence has to do.
        workers[at: index].remove(key)
        if lease.active { end(key, .cancelled) }
      } else {
        effects.append(.cancelUnit(worker: name, unit: key.unit, attempt: key.attempt))
      }
    }
    for key in held where workers[at: index].leases.index(of: key) == nil {
      // Unknown work: of a task that ended, or of an older attempt. It takes its slot until it has stopped.
      let isReplica = key.unit.hasPrefix("service/")
      let lease = Lease(
        key: key, load: isReplica ? .none : .slot, isReplica: isReplica, active: false, confirmed: true, sentAt: now,
        beyondSlots: true, foreign: true, listed: isBeat, since: now)
      workers[at: index].add(lease)
      effects.append(.cancelUnit(worker: name, unit: key.unit, attempt: key.attempt))
    }
  }

  mutating func setAvailability(_ name: String, _ wanted: WorkerAvailability) {
    guard (availability[name]?.availability ?? .open) != wanted else { return }
    let record = WorkerRecord(worker: name, availability: wanted)
    if wanted == .open { availability.remove(name) } else { availability.set(name, record) }
    changes[Record.worker(record).key] = .worker(record)
    workers.update(name) { $0.availability = wanted }
    workersChanged = true
  }

  mutating func expireWorkers() {
    guard workers.values.contains(where: { deadline(of: $0) <= now }) else { return }
    for name in workers.keys {
      while let worker = workers[name], deadline(of: worker) <= now {
        guard worker.state == .live else {
          loseWorker(name)
          break
        }
        workers.update(name) { $0.state = .suspect }
        workersChanged = true
        for (key, lease) in worker.leases where lease.active {
          guard let place = find(key.unit) else { continue }
          let unit = self[place]
          if let service = unit.service, unit.state == .ready {
            // A replica is as reachable as the least of its ranks.
            let lead = self.lead(of: unit)
            effects.append(.replicaGone(service: service, unit: lead.name, attempt: lead.attempt))
          }
        }
      }
    }
  }

  /// Forgets the worker; what it ran is lost.
  mutating func loseWorker(_ name: String) {
    guard let worker = workers.remove(name) else { return }
    workersChanged = true
    for (key, lease) in worker.leases where lease.active { end(key, .lost) }
  }

  // MARK: Reports

  mutating func unitStarted(_ worker: String, _ key: UnitAttempt) {
    guard let place = current(worker, key) ?? contested(worker, key) else { return }
    workers.update(worker) { [now] in
      $0.change(key) {
        $0.confirmed = true
        $0.startedAt = $0.startedAt ?? now
      }
    }
    if self[place].state == .assigned, self[place].attempt == key.attempt { change(place) { $0.state = .running } }
  }

  mutating func unitReady(_ worker: String, _ key: UnitAttempt, address: String, publicKey: String) {
    guard let place = current(worker, key) else { return }
    workers.update(worker) { $0.change(key) { $0.confirmed = true } }
    let unit = self[place]
    guard unit.state != .draining else { return }
    if case .replica(let service, let index) = place, unit.ranks != nil {
      return rankReady(service, index, RankAddress(address: address, publicKey: publicKey))
    }
    if unit.state != .ready || unit.address != address || unit.publicKey != publicKey {
      change(place) { [now] in
        $0.state = .ready
        $0.readySince = now
        $0.address = address
        $0.publicKey = publicKey
      }
    }
    announce(self[place])
    if case .task(let run, let task, _) = place { sendPeerTable(run, task) }
  }

  mutating func unitFinished(_ worker: String, _ key: UnitAttempt, _ outcome: UnitOutcome) {
    let place = current(worker, key) ?? contested(worker, key)
    // Nobody was told of the beginning of what took a moment only.
    let startedAt = workers[worker]?.leases[key].flatMap { $0.startedAt ?? ($0.waits ? nil : $0.since) }
    workers.update(worker) { $0.remove(key) }
    if let place {
      if case .succeeded = outcome, let startedAt { noteDuration(now - startedAt, of: place) }
      end(key, outcome)
    }
    effects.append(.acknowledge(worker: worker, unit: key.unit, attempt: key.attempt))
  }

  /// The place of a unit whose live lease is exactly this attempt on this worker.
  func current(_ worker: String, _ key: UnitAttempt) -> Place? {
    guard workers[worker]?.leases[key]?.active == true, let place = find(key.unit) else { return nil }
    return self[place].attempt == key.attempt && self[place].worker == worker && self[place].state.isLeased ? place : nil
  }

  /// Tells the router about a replica that serves.
  mutating func announce(_ unit: UnitRecord) {
    let unit = lead(of: unit)
    guard unit.state == .ready, !hasSuspectRank(unit), let service = unit.service, let worker = unit.worker, let address = unit.address else {
      return
    }
    effects.append(
      .replicaReady(
        ReadyReplica(
          service: service, generation: unit.generation, unit: unit.name, attempt: unit.attempt, worker: worker,
          address: address, publicKey: unit.publicKey ?? "")))
  }

  // MARK: The end of a lease

  /// The lease of `key` has ended, and the scheduler wanted it.
  private mutating func end(_ key: UnitAttempt, _ outcome: UnitOutcome) {
    guard let place = find(key.unit), self[place].state.isLeased else { return }
    if self[place].rival?.attempt == key.attempt { return rivalEnded(place, outcome) }
    guard self[place].attempt == key.attempt else { return }
    switch place {
    case .replica(let service, let index): replicaEnded(service, index, outcome)
    case .task(let run, let task, let unit): workEnded(run, task, unit, outcome)
    }
  }

  mutating func workEnded(_ run: Int, _ task: Int, _ index: Int, _ outcome: UnitOutcome) {
    let place = Place.task(run: run, task: task, unit: index)
    if self[place].preemptedBy != nil {
      switch outcome {
      // It has made room: that is no failure of its own.
      case .cancelled, .lost:
        if !rivalTakesOver(place) { change(place) { $0.requeue(notBefore: nil) } }
        return
      case .succeeded, .failed: change(place) { $0.preemptedBy = nil }
      }
    }
    if case .succeeded(let result) = outcome {
      let isGang = runs[run].tasks[task].record.shape == .gang
      stopRival(place)
      change(place) {
        $0.state = .succeeded
        $0.result = result
        $0.error = nil
        // Nobody runs it again, and tasks of thousands of stages would keep all they ever worked on. (A rank waits again when another one fails.)
        if !isGang { $0.payload = .null }
      }
      return
    }
    let error: PlatformError
    switch outcome {
    case .failed(let reason):
      error = reason
      change(place) { $0.failures += 1 }
    case .lost, .cancelled, .succeeded:
      // Nobody asked for a cancellation here: the worker gave up on its own.
      error = PlatformError(.unavailable, "the worker that ran \(self[place].name) was lost")
      change(place) { $0.losses += 1 }
    }
    let isGang = runs[run].tasks[task].record.shape == .gang
    let name = self[place].name
    let failures = isGang ? runs[run].tasks[task].units.reduce(0) { $0 + $1.failures } : self[place].failures
    let losses = isGang ? runs[run].tasks[task].units.reduce(0) { $0 + $1.losses } : self[place].losses
    change(place) { $0.error = error }
    if error.isPermanent || failures >= configuration.unitFailureLimit || losses >= configuration.unitLossLimit {
      stopRival(place)
      change(place) { $0.state = .failed }
      failAttempt(run, task, error.wrapping(name))
      return
    }
    var notBefore: Instant?
    if case .failed = outcome { notBefore = delay(configuration.unitBackoff, afterAttempt: failures) }
    if isGang {
      restartGang(run, task, notBefore: notBefore)
    } else if !rivalTakesOver(place) {
      change(place) { $0.requeue(notBefore: notBefore) }
    }
  }

  /// The scheduler does not want this lease any more; its slot is free once the worker says so.
  mutating func stop(_ unit: UnitRecord) {
    guard unit.state.isLeased, let name = unit.worker else { return }
    stop(unit.key, on: name)
    if let rival = unit.rival { stop(UnitAttempt(unit: unit.name, attempt: rival.attempt), on: rival.worker) }
  }

  mutating func stop(_ key: UnitAttempt, on worker: String) {
    workers.update(worker) { $0.change(key) { $0.active = false } }
    effects.append(.cancelUnit(worker: worker, unit: key.unit, attempt: key.attempt))
  }

  /// Whether any worker still holds a rank of an earlier generation, or of an earlier attempt of the task.
  func holdsStopping(run: String, task: String, countForeign: Bool = true) -> Bool {
    let prefix = "\(run)/\(task)/"
    return workers.contains {
      $0.value.leases.contains { !$0.value.active && (countForeign || !$0.value.foreign) && $0.key.unit.hasPrefix(prefix) }
    }
  }
}

extension UnitRecord {
  mutating func requeue(notBefore time: Instant?) {
    state = .waiting
    notBefore = time
    worker = nil
    incarnation = 0
    readySince = nil
    drainDeadline = nil
    address = nil
    publicKey = nil
    meets = nil
    result = .null
  }
}

extension [UnitAttempt] {
  /// Whether a sorted array has it.
  func containsSorted(_ key: UnitAttempt) -> Bool {
    var low = 0
    var high = count
    while low < high {
      let middle = (low + high) / 2
      if self[middle] < key { low = middle + 1 } else { high = middle }
    }
    return low < count && self[low] == key
  }
}

extension PlatformError {
  /// Errors that the same input gives every time: another attempt would waste its slot.
  var isPermanent: Bool {
    switch code {
    case .invalidArgument, .invalidFile, .permissionDenied, .unauthenticated: true
    default: false
    }
  }
}
