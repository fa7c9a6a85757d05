// SPDX-License-Identifier: Apache-2.0

import Core

extension Scheduler {
  /// What must hold after every event and does not. Empty when all is well; meant for tests and for a log line in debug builds.
  /// Costs one pass over all leases and units.
  public func violations() -> [String] {
    var found: [String] = []
    // Each active lease names a leased unit that names the lease; with equal counts there is exactly one lease a unit.
    var active = 0
    for worker in workers.indices { active += leaseViolations(worker, &found) }
    var leased = 0
    for run in runs.indices {
      leased += unitViolations(run, &found)
      runViolations(run, &found)
    }
    for service in services.indices {
      leased += services[at: service].replicas.count { $0.state.isLeased }
      serviceViolations(service, &found)
    }
    if leased != active { found.append("\(leased) units are leased, \(active) leases are live: \(unmatched())") }
    return found
  }

  /// Returns how many active leases the worker has.
  private func leaseViolations(_ index: Int, _ found: inout [String]) -> Int {
    var granted = workers[at: index].room.emptied
    var used = Load.none
    var active = 0
    let name = workers.keys[index]
    for lease in workers[at: index].leases.values {
      used = used + lease.load
      if !lease.beyondSlots { granted.take(lease.load) }
      guard lease.active else { continue }
      active += 1
      guard let place = find(lease.key.unit) else {
        found.append("\(lease.key.unit) attempt \(lease.key.attempt) is leased to \(name) but does not exist")
        continue
      }
      let unit = self[place].held(as: lease.key)
      if unit.attempt != lease.key.attempt || unit.worker != name || !unit.state.isLeased {
        found.append(
          "\(lease.key.unit): lease \(lease.key.attempt) on \(name) but \(unit.state) attempt \(unit.attempt) on \(unit.worker ?? "-")"
        )
      }
      let isOwn = self[place].attempt == lease.key.attempt
      if lease.evicted != (unit.preemptedBy != nil && isOwn) { found.append("\(lease.key.unit) is stopped for a service, or is not") }
    }
    if workers[at: index].state != .restored, granted.isOverfull { found.append("worker \(name) has given more than it has: \(granted)") }
    if workers[at: index].ahead != workers[at: index].leases.values.count(where: \.isAhead) { found.append("worker \(name) counts what waits there wrongly") }
    if let spare = spareLoads[index] {
      granted.take(spare)
      if workers[at: index].state != .restored, granted.isOverfull { found.append("worker \(name) keeps more for spares than it has: \(granted)") }
    }
    if used != workers[at: index].room.used { found.append("worker \(name) counts its slots wrongly") }
    return active
  }

  /// Names of units and leases that do not belong together.
  private func unmatched() -> String {
    var active: [String: Int] = [:]
    for worker in workers.values { for lease in worker.leases.values where lease.active { active[lease.key.unit, default: 0] += 1 } }
    var names = active.filter { $0.value > 1 }.map(\.key)
    for run in runs { for task in run.tasks { names += task.units.filter { $0.state.isLeased && active[$0.name] == nil }.map(\.name) } }
    for service in services.values { names += service.replicas.filter { $0.state.isLeased && active[$0.name] == nil }.map(\.name) }
    return names.sorted().joined(separator: ", ")
  }

  private func serviceViolations(_ index: Int, _ found: inout [String]) {
    guard !services[at: index].record.removing, !services[at: index].record.removed else { return }
    let name = services.keys[index]
    let wanted = services[at: index].record.spec.replicas
    let generation = services[at: index].record.spec.generation
    var live = 0
    var moving = 0
    for replica in services[at: index].replicas.indices {
      let state = services[at: index].replicas[replica].state
      let unit = services[at: index].replicas[replica]
      if unit.ranks != nil { rankViolations(services[at: index], unit, &found) }
      if unit.isLead, state != .draining, unit.generation == generation { live += 1 }
      if let worker = services[at: index].replicas[replica].worker, workers[worker]?.availability == .draining { moving += 1 }
      if isReplacement(services[at: index].replicas[replica], in: services[at: index]) { moving += 1 }
    }
    if live > wanted + moving { found.append("service \(name) has \(live) of \(wanted) replicas") }
    if live == 0, wanted > 0 { found.append("service \(name) has no replica of its generation and none is starting") }
  }

  /// All ranks of a replica wait, or all of them have a lease of the same attempt.
  private func rankViolations(_ service: Service, _ unit: UnitRecord, _ found: inout [String]) {
    let ranks = service.ranks(of: unit)
    if ranks.map(\.rank) != (0..<(unit.ranks ?? 1)).map({ $0 }) { found.append("\(unit.name) is one of \(ranks.count) ranks, not of \(unit.ranks ?? 1)") }
    if ranks.contains(where: { $0.state.isLeased != unit.state.isLeased || ($0.state == .ready) != (unit.state == .ready) }) {
      found.append("\(unit.name) is \(unit.state) and others of its replica are not: \(ranks.map(\.state))")
    }
    if ranks.contains(where: { $0.attempt != unit.attempt }) { found.append("the ranks of \(unit.name) are of several attempts") }
  }

  /// Checks the counts of every task of a run. Returns how many units are leased.
  private func unitViolations(_ run: Int, _ found: inout [String]) -> Int {
    var leased = 0
    var rivals = 0
    for task in runs[run].tasks.indices where !runs[run].tasks[task].units.isEmpty {
      var waiting = 0
      var succeeded = 0
      var ended = 0
      var returned = 0
      for unit in runs[run].tasks[task].units.indices {
        if runs[run].tasks[task].units[unit].rivalAttempt != nil { rivals += rivalViolations(runs[run].tasks[task], unit, &found) }
        switch runs[run].tasks[task].units[unit].state {
        case .waiting:
          waiting += 1
          if runs[run].tasks[task].units[unit].attempt > 0 {
            returned += 1
          } else if unit < runs[run].tasks[task].cursor {
            found.append("\(runs[run].tasks[task].units[unit].name) waits below the cursor")
          }
        case .succeeded: succeeded += 1
        case .failed, .cancelled, .ended: ended += 1
        case .assigned, .running, .ready, .draining: leased += 1
        }
      }
      let current = runs[run].tasks[task]
      let name = "\(current.record.run)/\(current.record.key)"
      if current.leased != current.units.count(where: { $0.state.isLeased }) { found.append("\(name) counts its leases wrongly") }
      if waiting != current.waiting || succeeded != current.succeeded || returned != current.returned.count {
        found.append("\(name) counts its units wrongly")
      }
      if current.record.state == .running, current.record.shape != .service, current.record.items == nil {
        if current.leased == 0, succeeded == current.ranks { found.append("\(name) runs and nothing is left to run") }
        if ended > 0 { found.append("\(name) runs with a failed unit") }
      }
      if current.record.state == .committing, succeeded != current.ranks { found.append("\(name) commits unfinished units") }
      if current.record.shape == .gang, current.record.state == .running { found += gangViolations(current, name) }
    }
    return leased + rivals
  }

  /// Returns how many second attempts are leased.
  private func rivalViolations(_ task: Task, _ index: Int, _ found: inout [String]) -> Int {
    let unit = task.units[index]
    if task.record.shape != .shards || unit.repeatable != true { found.append("\(unit.name) may not run twice at once and does") }
    if task.rivals != task.units.count(where: { $0.rivalAttempt != nil }) || task.rivals > Self.rivalLimit(task.units.count) {
      found.append("\(unit.name): the stage has \(task.rivals) second attempts")
    }
    guard let rival = unit.rival else { return 0 }
    if !unit.state.isLeased || rival.attempt != unit.rivalAttempt || rival.attempt <= unit.attempt || rival.worker == unit.worker {
      found.append("\(unit.name): second attempt \(rival.attempt) on \(rival.worker) beside \(unit.state) \(unit.attempt) on \(unit.worker ?? "-")")
    }
    return 1
  }

  private func runViolations(_ index: Int, _ found: inout [String]) {
    let id = runs[index].record.spec.id
    if runs[index].record.state.isTerminal != runs[index].tasks.allSatisfy({ $0.record.state.isTerminal }) {
      found.append("run \(id) is \(runs[index].record.state) but its tasks are \(runs[index].tasks.map(\.record.state))")
    }
    if let job = runs[index].record.spec.job, runs[index].record.spec.maxConcurrentRuns != nil, runs[index].record.state == .running {
      // A job's limit may change between two runs.
      var active = 0
      var limit = 1
      for other in runs where other.record.spec.job == job && other.record.state == .running {
        active += 1
        limit = max(limit, other.record.spec.maxConcurrentRuns ?? .max)
      }
      if active > limit { found.append("job \(job) has \(active) of \(limit) runs at once") }
    }
    if runs[index].record.state == .pending, isAdmitted(index) { found.append("run \(id) waits for nothing") }
    for task in runs[index].tasks.indices {
      let state = runs[index].tasks[task].record.state
      let units = runs[index].tasks[task].units.count
      func fail(_ text: String) { found.append("\(id)/\(runs[index].tasks[task].record.key) \(text)") }
      if state.isTerminal || state == .pending || state == .retrying, units > 0 { fail("is \(state) with units") }
      if runs[index].tasks[task].record.attempt > runs[index].tasks[task].spec.maxRetries + 1 + (runs[index].tasks[task].record.base ?? 0) {
        fail("has too many attempts")
      }
      switch state {
      case .pending:
        if runs[index].record.state == .pending || runs[index].tasks[task].loop != nil { continue }
        if runs[index].tasks[task].upstream.allSatisfy({ runs[index].tasks[$0].record.state.isTerminal }) {
          fail("is pending and waits for nothing")
        }
      case .retrying: if runs[index].tasks[task].record.notBefore == nil { fail("retries at no time") }
      case .running where runs[index].tasks[task].spec.forEach != nil && runs[index].tasks[task].loop == nil:
        let active = runs[index].tasks.count { $0.loop == task && !$0.record.state.isTerminal && $0.record.state != .pending }
        if active > max(1, runs[index].tasks[task].spec.forEach?.concurrency ?? 1) { fail("has \(active) iterations at once") }
        if active == 0 { fail("is a loop and nothing is running") }
      case .running where runs[index].tasks[task].record.shape == .service:
        if runs[index].tasks[task].record.service.flatMap({ services.index(of: $0) }) == nil {
          fail("waits for a service that does not exist")
        }
        if runs[index].tasks[task].record.readyDeadline == nil { fail("waits for replicas without a limit") }
      case .running: if units != runs[index].tasks[task].record.unitCount { fail("has \(units) units") }
      case .planning, .committing, .succeeded, .failed, .cancelled, .skipped: break
      }
    }
  }

  private func gangViolations(_ task: Task, _ name: String) -> [String] {
    var found: [String] = []
    guard task.waiting != task.units.count else { return [] }
    let (ranks, idle) = (task.units.prefix(task.ranks), task.units.dropFirst(task.ranks))
    if ranks.contains(where: { $0.state == .waiting }) || !idle.allSatisfy({ $0.state == .waiting }) { found.append("gang \(name) is placed in part") }
    if ranks.contains(where: { $0.generation != task.record.generation }) { found.append("gang \(name) has more than one generation") }
    if !task.sizes.contains(task.ranks) { found.append("gang \(name) has \(task.ranks) ranks, which is none of \(task.sizes)") }
    if holdsStopping(run: task.record.run, task: task.record.key, countForeign: false) {
      found.append("gang \(name) runs while an older generation is stopping")
    }
    return found
  }
}
