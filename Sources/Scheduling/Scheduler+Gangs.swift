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

  mutating func gangCheckpointed(_ worker: String, _ key: UnitAttempt) {
    guard case .task(let run, let task, _)? = current(worker, key), runs[run].tasks[task].record.shape == .gang,
      runs[run].tasks[task].record.state == .running, runs[run].tasks[task].units.allSatisfy({ $0.state.isLeased })
    else { return }
    checkpointed = key.unit
    let leaves = runs[run].tasks[task].units.contains { workers[$0.worker ?? ""]?.availability == .draining }
    // Without room it stays and may finish where it is.
    if leaves, gangCapacity(runs[run].tasks[task]) >= runs[run].tasks[task].units.count { restartGang(run, task, notBefore: nil) }
  }

  /// Whether ranks of an older generation may run that this scheduler has not heard of.
  func waitsForUnheard(_ task: TaskRecord) -> Bool { now < gangsWaitUntil && (task.generation > 0 || task.attempt > 1) }

  /// How many ranks of a gang fit on the workers that take everything when nothing but replicas runs there, up to its size.
  func gangCapacity(_ task: Task) -> Int {
    guard let rank = task.units.first else { return 0 }
    let load = rank.load
    var capacity = 0
    for worker in workers.indices where workers[at: worker].acceptsWork && suits(worker, rank.demand) && capacity < task.units.count {
      capacity += workers[at: worker].idleRoom.count(load, upTo: task.units.count - capacity)
    }
    return capacity
  }

  /// Places all ranks, over as many workers as possible. A gang that waits for room keeps the workers that it could use, so that
  /// younger work does not take them: all of them, unless it asks for labels.
  mutating func placeGang(_ run: Int, _ task: Int, _ kept: inout Set<Int>) -> Step {
    guard isDue(run, task) else { return .nothing }
    let units = runs[run].tasks[task].units
    let record = runs[run].tasks[task].record
    let demand = units[0].demand
    let load = units[0].load
    let suitable = workers.indices.filter { workers[at: $0].acceptsWork && suits($0, demand) }
    func wait() -> Step {
      guard demand?.labels != nil else { return .blocked }
      kept.formUnion(suitable)
      return .nothing
    }
    if holdsStopping(run: record.run, task: record.key) { return wait() }
    // The whole cluster is too small: it has to be idle, and ranks share slots. Processors and memory are not shared.
    let beyondSlots = gangCapacity(runs[run].tasks[task]) < units.count
    if beyondSlots {
      guard load == .slot else { return .nothing }
      guard kept.isEmpty, suitable.contains(where: { workers[at: $0].room.slots > 0 }), workers.values.allSatisfy({ !$0.acceptsWork || $0.isIdle })
      else { return wait() }
    }
    var free: [(worker: Int, room: Room, ranks: Int)] = suitable.compactMap { worker in
      let room = workers[at: worker].room
      return !kept.contains(worker) && (beyondSlots ? room.slots > 0 : room.fits(load)) ? (worker, room, 0) : nil
    }
    var chosen: [Int] = []
    for _ in units {
      var best: Int?
      for index in free.indices where beyondSlots || free[index].room.fits(load) {
        guard let other = best else {
          best = index
          continue
        }
        if (free[index].ranks, -free[index].room.free) < (free[other].ranks, -free[other].room.free) { best = index }
      }
      guard let best else { return wait() }
      free[best].ranks += 1
      free[best].room.take(load)
      chosen.append(free[best].worker)
    }
    changeTask(run, task) { $0.generation += 1 }
    let generation = runs[run].tasks[task].record.generation
    for (rank, worker) in chosen.enumerated() {
      let place = Place.task(run: run, task: task, unit: rank)
      change(place) { $0.generation = generation }
      lease(place, to: worker, beyondSlots: beyondSlots)
    }
    return .placed
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
