// SPDX-License-Identifier: Apache-2.0

import Core

/// Which worker gets what.
extension Scheduler {
  /// Replicas first (they take no slots), then older runs before younger ones, one unit a task in turn.
  mutating func place() {
    placeReplicas()
    for run in runs.indices where !runs[run].record.state.isTerminal {
      guard placeRun(run) else { return }
    }
  }

  /// Returns false when nothing younger may be placed: the slots are gone, or kept for a gang.
  private mutating func placeRun(_ run: Int) -> Bool {
    let count = runs[run].tasks.count
    for task in runs[run].tasks.indices where runs[run].tasks[task].record.state == .running {
      guard runs[run].tasks[task].record.shape == .gang else { continue }
      guard placeGang(run, task) else { return false }
    }
    var idle = 0
    while idle < count {
      let task = runs[run].nextTask % count
      runs[run].nextTask = (task + 1) % count
      let record = runs[run].tasks[task].record
      guard record.state == .running, record.shape == .shards, let unit = nextWaiting(run, task) else {
        idle += 1
        continue
      }
      guard let worker = freestWorker() else {
        runs[run].nextTask = task
        return false
      }
      lease(.task(run: run, task: task, unit: unit), to: worker, slots: 1, beyondSlots: false)
      idle = 0
    }
    return true
  }

  /// The first unit of the task that may be placed now.
  private mutating func nextWaiting(_ run: Int, _ task: Int) -> Int? {
    let units = runs[run].tasks[task].units
    var first: Int?
    for index in runs[run].tasks[task].firstWaiting..<max(units.count, runs[run].tasks[task].firstWaiting) {
      guard units[index].state == .waiting else { continue }
      if first == nil {
        first = index
        runs[run].tasks[task].firstWaiting = index
      }
      if units[index].notBefore ?? now <= now { return index }
    }
    if first == nil { runs[run].tasks[task].firstWaiting = units.count }
    return nil
  }

  /// The worker with the most free slots, by name when equal; nil when there is none.
  private func freestWorker() -> String? {
    var best: (name: String, free: Int)?
    for (name, worker) in workers where worker.acceptsWork {
      let free = worker.slots - worker.usedSlots
      if free > (best?.free ?? 0) { best = (name, free) }
    }
    return best?.name
  }

  mutating func lease(_ place: Place, to name: String, slots: Int, beyondSlots: Bool) {
    guard let worker = workers[name] else { return }
    change(place) {
      $0.state = .assigned
      $0.attempt += 1
      $0.worker = name
      $0.incarnation = worker.incarnation
      $0.notBefore = nil
    }
    let unit = record(place)
    let lease = Lease(key: unit.key, slots: slots, active: true, confirmed: false, sentAt: now, beyondSlots: beyondSlots)
    workers.update(name) { $0.leases.set(unit.key, lease) }
    effects.append(.assign(assignment(unit)))
  }

  func assignment(_ unit: UnitRecord) -> Assignment {
    var gang: GangPlace?
    if case .task(let run, let task, let rank)? = find(unit.name), runs[run].tasks[task].record.shape == .gang {
      gang = GangPlace(
        gang: gangName(run, task), generation: unit.generation, rank: rank, size: runs[run].tasks[task].units.count)
    }
    return Assignment(
      worker: unit.worker ?? "", incarnation: unit.incarnation, unit: unit.name, attempt: unit.attempt, kind: unit.kind,
      payload: unit.payload, gang: gang, service: unit.service)
  }
}
