// SPDX-License-Identifier: Apache-2.0

import Core

/// Which worker gets what.
extension Scheduler {
  /// Replicas first (they take no slots), then older runs before younger ones, one unit a task in turn.
  mutating func place() {
    placeReplicas()
    for run in runs.indices where !runs[run].record.state.isTerminal && runs[run].tasks.contains(where: { $0.waiting > 0 }) {
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
      guard runs[run].tasks[task].record.state == .running, runs[run].tasks[task].record.shape == .shards,
        let unit = runs[run].tasks[task].nextWaiting(now: now)
      else {
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

  /// The worker with the most free slots, by name when equal; nil when there is none.
  private func freestWorker() -> Int? {
    var best: (index: Int, free: Int)?
    for index in workers.indices where workers[at: index].acceptsWork {
      let free = workers[at: index].freeSlots
      if free > (best?.free ?? 0) { best = (index, free) }
    }
    return best?.index
  }

  mutating func lease(_ place: Place, to worker: Int, slots: Int, beyondSlots: Bool) {
    let name = workers.keys[worker]
    let incarnation = workers[at: worker].incarnation
    change(place) {
      $0.state = .assigned
      $0.attempt += 1
      $0.worker = name
      $0.incarnation = incarnation
      $0.notBefore = nil
    }
    let unit = self[place]
    let lease = Lease(key: unit.key, slots: slots, active: true, confirmed: false, sentAt: now, beyondSlots: beyondSlots)
    workers[at: worker].add(lease)
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
