// SPDX-License-Identifier: Apache-2.0

import Core

/// Gangs: all ranks or none, one generation at a time.
extension Scheduler {
  func gangName(_ run: Int, _ task: Int) -> String {
    let id = runs[run].tasks[task].record.stageID
    return "\(id.run)/\(id.task)/\(id.attempt)/\(id.stage)"
  }

  /// A member ended early: every rank goes back to the last checkpoint under the next generation, also those that had
  /// finished. The new generation is placed once no rank of the old one is left.
  mutating func restartGang(_ run: Int, _ task: Int, notBefore: Instant?) {
    for index in runs[run].tasks[task].units.indices {
      let unit = runs[run].tasks[task].units[index]
      // A rank that ended holds no lease any more, so there is nothing to stop.
      if workers[unit.worker ?? ""]?.leases[unit.key]?.active == true { stop(unit) }
      change(.task(run: run, task: task, unit: index)) { $0.requeue(notBefore: notBefore) }
    }
  }

  mutating func gangCheckpointed(_ gang: String, _ generation: Int) {
    guard case .task(let run, let task, _)? = find(gang + "/0"), runs[run].tasks[task].record.shape == .gang,
      runs[run].tasks[task].record.state == .running, runs[run].tasks[task].record.generation == generation,
      runs[run].tasks[task].units.allSatisfy({ $0.state.isLeased })
    else { return }
    let leaves = runs[run].tasks[task].units.contains { workers[$0.worker ?? ""]?.availability == .draining }
    let room = workers.values.filter(\.acceptsWork).reduce(0) { $0 + $1.slots }
    // Without room it stays and may finish where it is.
    if leaves, room >= runs[run].tasks[task].units.count { restartGang(run, task, notBefore: nil) }
  }

  /// Whether ranks of an older generation may run that this scheduler has not heard of.
  func waitsForUnheard(_ task: TaskRecord) -> Bool { now < gangsWaitUntil && (task.generation > 0 || task.attempt > 1) }

  /// Places all ranks, over as many workers as possible. Returns false when the gang waits for slots, so that younger
  /// work does not take them.
  mutating func placeGang(_ run: Int, _ task: Int) -> Bool {
    guard runs[run].tasks[task].waiting == runs[run].tasks[task].units.count else { return true }
    let units = runs[run].tasks[task].units
    guard units.allSatisfy({ $0.notBefore ?? now <= now }) else { return true }
    let record = runs[run].tasks[task].record
    guard !holdsStopping(run: record.run, task: record.key) else { return false }
    var free: [(worker: Int, free: Int, ranks: Int)] = []
    var capacity = 0
    for worker in workers.indices where workers[at: worker].acceptsWork {
      capacity += workers[at: worker].slots
      free.append((worker, workers[at: worker].freeSlots, 0))
    }
    guard capacity > 0 else { return false }
    let beyondSlots = capacity < units.count
    if beyondSlots {
      // The whole cluster is too small: it has to be idle, and ranks share slots.
      guard workers.values.allSatisfy({ !$0.acceptsWork || $0.usedSlots == 0 }) else { return false }
    } else {
      guard free.reduce(0, { $0 + max(0, $1.free) }) >= units.count else { return false }
    }
    var chosen: [Int] = []
    for _ in units {
      var best: Int?
      for index in free.indices where beyondSlots ? workers[at: free[index].worker].slots > 0 : free[index].free > 0 {
        guard let other = best else {
          best = index
          continue
        }
        if (free[index].ranks, -free[index].free) < (free[other].ranks, -free[other].free) { best = index }
      }
      guard let best else { return false }
      free[best].ranks += 1
      free[best].free -= 1
      chosen.append(free[best].worker)
    }
    changeTask(run, task) { $0.generation += 1 }
    let generation = runs[run].tasks[task].record.generation
    for (rank, worker) in chosen.enumerated() {
      let place = Place.task(run: run, task: task, unit: rank)
      change(place) { $0.generation = generation }
      lease(place, to: worker, slots: 1, beyondSlots: beyondSlots)
    }
    return true
  }

  /// Sends everyone's endpoint once all ranks have reported theirs; again when a rank repeats its report.
  mutating func sendPeerTable(_ run: Int, _ task: Int) {
    let current = runs[run].tasks[task]
    guard current.record.shape == .gang, current.units.allSatisfy({ $0.address != nil && $0.worker != nil }) else { return }
    let members = current.units.map { unit in
      GangMember(
        rank: unit.index, unit: unit.name, attempt: unit.attempt, worker: unit.worker ?? "",
        hostID: workers[unit.worker ?? ""]?.hostID ?? "", address: unit.address ?? "", publicKey: unit.publicKey ?? "")
    }
    effects.append(
      .peerTable(PeerTable(gang: gangName(run, task), generation: current.record.generation, members: members)))
  }
}
