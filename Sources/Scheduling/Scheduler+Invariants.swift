// SPDX-License-Identifier: Apache-2.0

import Core

extension Scheduler {
  /// What must hold after every event and does not. Empty when all is well; meant for tests and for a log line in debug builds.
  public func violations() -> [String] {
    var found: [String] = []
    var active: [String: [UnitAttempt]] = [:]
    for (name, worker) in workers {
      let granted = worker.leases.filter { !$0.value.beyondSlots }.reduce(0) { $0 + $1.value.slots }
      if worker.state != .restored, granted > worker.slots {
        found.append("worker \(name) has \(granted) of \(worker.slots) slots taken")
      }
      for (key, lease) in worker.leases where lease.active {
        active[key.unit, default: []].append(key)
        guard let place = find(key.unit) else {
          found.append("\(key.unit) attempt \(key.attempt) is leased to \(name) but does not exist")
          continue
        }
        let unit = record(place)
        if unit.attempt != key.attempt || unit.worker != name || !unit.state.isLeased {
          found.append(
            "\(key.unit): lease \(key.attempt) on \(name) but \(unit.state) attempt \(unit.attempt) on \(unit.worker ?? "-")"
          )
        }
      }
    }
    for unit in active.keys.sorted() where active[unit]!.count > 1 { found.append("\(unit) has more than one live lease") }
    for run in runs { found += violations(in: run, active: active) }
    for (name, service) in services {
      for unit in service.replicas where unit.state.isLeased && active[unit.name] == nil {
        found.append("\(unit.name) is \(unit.state) without a lease")
      }
      let live = service.replicas.count { $0.state != .draining && $0.generation == service.record.spec.generation }
      let moving = service.replicas.count { workers[$0.worker ?? ""]?.draining == true }
      if !service.record.removing, live > service.record.spec.replicas + moving {
        found.append("service \(name) has \(live) of \(service.record.spec.replicas) replicas")
      }
      if !service.record.removing, live == 0, service.record.spec.replicas > 0 {
        found.append("service \(name) has no replica of its generation and none is starting")
      }
    }
    return found
  }

  private func violations(in run: Run, active: [String: [UnitAttempt]]) -> [String] {
    var found: [String] = []
    let id = run.record.spec.id
    if run.record.state.isTerminal != run.tasks.allSatisfy({ $0.record.state.isTerminal }) {
      found.append("run \(id) is \(run.record.state) but its tasks are \(run.tasks.map(\.record.state))")
    }
    for task in run.tasks {
      let name = "\(id)/\(task.record.key)"
      for unit in task.units where unit.state.isLeased && active[unit.name] == nil {
        found.append("\(unit.name) is \(unit.state) without a lease")
      }
      if task.record.state.isTerminal || task.record.state == .pending || task.record.state == .retrying, !task.units.isEmpty {
        found.append("\(name) is \(task.record.state) with units")
      }
      if task.record.attempt > task.spec.maxRetries + 1 { found.append("\(name) has attempt \(task.record.attempt)") }
      switch task.record.state {
      case .pending:
        let waits = task.spec.dependsOn.contains { key in
          run.tasks.contains { $0.record.key == key && !$0.record.state.isTerminal }
        }
        if !waits { found.append("\(name) is pending and waits for nothing") }
      case .retrying: if task.record.notBefore == nil { found.append("\(name) retries at no time") }
      case .running where task.record.shape == .service:
        if task.record.service.flatMap({ services[$0] }) == nil {
          found.append("\(name) waits for a service that does not exist")
        }
        if task.record.readyDeadline == nil { found.append("\(name) waits for replicas without a limit") }
      case .running:
        if task.units.count != task.record.unitCount { found.append("\(name) has \(task.units.count) units") }
        if task.units.allSatisfy({ $0.state.isTerminal }) { found.append("\(name) runs and nothing is left to run") }
        if task.units.contains(where: { $0.state == .failed || $0.state == .cancelled }) {
          found.append("\(name) runs with a failed unit")
        }
        let hidden = task.units.indices.first { $0 < task.firstWaiting && task.units[$0].state == .waiting }
        if let hidden { found.append("\(name): unit \(hidden) waits below the cursor") }
      case .committing:
        if !task.units.allSatisfy({ $0.state == .succeeded }) { found.append("\(name) commits unfinished units") }
      case .planning, .succeeded, .failed, .cancelled, .skipped: break
      }
      if task.record.shape == .gang, task.record.state == .running { found += gangViolations(task, name) }
    }
    return found
  }

  private func gangViolations(_ task: Task, _ name: String) -> [String] {
    var found: [String] = []
    let waiting = task.units.count { $0.state == .waiting }
    if waiting != 0, waiting != task.units.count { found.append("gang \(name) is placed in part") }
    if Set(task.units.map(\.generation)).count > 1 { found.append("gang \(name) has more than one generation") }
    if waiting == 0, holdsStopping(run: task.record.run, task: task.record.key, countForeign: false) {
      found.append("gang \(name) runs while an older generation is stopping")
    }
    return found
  }
}
