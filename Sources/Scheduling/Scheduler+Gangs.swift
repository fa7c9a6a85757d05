// SPDX-License-Identifier: Apache-2.0

import Core

/// Gangs: all ranks or none, one generation at a time. A gang whose terms allow it is placed with fewer ranks when there is no room for all of
/// them for long, and with more again at a checkpoint when there is. The units of the ranks that a generation does without wait.
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
      runs[run].tasks[task].record.state == .running, runs[run].tasks[task].leased == runs[run].tasks[task].ranks
    else { return }
    checkpointed = key.unit
    if runs[run].tasks[task].units.contains(where: { workers[$0.worker ?? ""]?.availability == .draining }) {
      // Without room it stays and may finish where it is.
      let capacity = gangCapacity(runs[run].tasks[task])
      guard let size = runs[run].tasks[task].sizes.first(where: { $0 <= capacity }) else { return }
      restartGang(run, task, notBefore: nil)
      // For all of them there will be no room, however long it waits.
      runs[run].tasks[task].isHurried = size < runs[run].tasks[task].units.count
    } else if mayGrow(run, task) {
      restartGang(run, task, notBefore: nil)
      runs[run].tasks[task].isHurried = true
    }
  }

  /// Whether a gang that is smaller than it may be has worked for long enough, and would find room for more ranks that nobody waits for.
  private mutating func mayGrow(_ run: Int, _ task: Int) -> Bool {
    guard let ranks = runs[run].tasks[task].record.ranks else { return false }
    let since = runs[run].tasks[task].gangPlacedAt ?? now
    runs[run].tasks[task].gangPlacedAt = since
    guard since + configuration.gangGrowAfterMs <= now, !services.values.contains(where: { $0.blockedSince != nil }) else { return false }
    // What is kept for it is for nobody else; what else waits for it would be placed first.
    let keepsRoom = runs[run].tasks[task].record.gang?.spares ?? 0 > 0
    for other in runs.indices where !runs[other].record.state.isTerminal {
      for index in runs[other].tasks.indices where (other, index) != (run, task) && runs[other].tasks[index].waiting > 0 {
        let rival = runs[other].tasks[index]
        if rival.record.shape == .gang ? rival.waiting == rival.units.count : !keepsRoom { return false }
      }
    }
    keepSpares(gangsWithSpares(), ofPriority: .min)
    keepSpares(before: run, task)
    let units = runs[run].tasks[task].units
    var capacity = 0
    for worker in workers.indices where workers[at: worker].acceptsWork && suits(worker, units[0].demand) {
      var room = openRoom(worker)
      for unit in units where unit.worker == workers.keys[worker] { room.give(unit.load) }
      capacity += room.count(units[0].load, upTo: units.count - capacity)
    }
    return runs[run].tasks[task].sizes.contains { $0 > ranks && $0 <= capacity }
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

  /// Places all ranks, over as many workers as possible; when that has been impossible for as long as the gang's terms say, as many as they
  /// allow. A gang that waits for room keeps the workers that it could use, so that younger work does not take them: all of them, unless
  /// it asks for labels.
  mutating func placeGang(_ run: Int, _ task: Int, _ kept: inout Set<Int>) -> Step {
    guard isDue(run, task) else { return .nothing }
    let units = runs[run].tasks[task].units
    let record = runs[run].tasks[task].record
    let demand = units[0].demand
    let suitable = workers.indices.filter { workers[at: $0].acceptsWork && suits($0, demand) }
    func wait() -> Step {
      guard demand?.labels != nil else { return .blocked }
      kept.formUnion(suitable)
      return .nothing
    }
    var sizes = [units.count]
    if let terms = record.gang, !terms.sizes.isEmpty {
      let since = runs[run].tasks[task].gangWaitsSince ?? now
      runs[run].tasks[task].gangWaitsSince = since
      // One that had fewer already does not wait again.
      if runs[run].tasks[task].isHurried || record.ranks != nil || since + terms.patienceMs <= now {
        sizes = runs[run].tasks[task].sizes
      } else {
        gangsShrinkAt = min(gangsShrinkAt ?? .max, since + terms.patienceMs)
      }
    }
    if holdsStopping(run: record.run, task: record.key) { return wait() }
    // One that has left its workers to begin anew finds the room that it had: what others keep for their spares is not taken from it.
    let spares = spareLoads
    if record.generation > 0 { spareLoads = [:] }
    defer { spareLoads = spares }
    for size in sizes {
      guard let seats = seats(size, for: units[0], among: suitable, kept) else { continue }
      placeRanks(run, task, seats, beyondSlots: false)
      return .placed
    }
    // The whole cluster is too small, for the fewest that will do: it has to be idle, and ranks share slots. Processors and memory are not shared.
    let fewest = runs[run].tasks[task].sizes.last ?? units.count
    guard gangCapacity(runs[run].tasks[task]) < fewest else { return wait() }
    guard units[0].load == .slot else { return .nothing }
    guard fewest == sizes.last, kept.isEmpty, workers.values.allSatisfy({ !$0.acceptsWork || $0.isIdle }),
      let seats = seats(fewest, for: units[0], among: suitable, kept, beyondSlots: true)
    else { return wait() }
    placeRanks(run, task, seats, beyondSlots: true)
    return .placed
  }

  /// Workers for so many ranks, each time the one with the fewest of them, then the most free; nil when there is not room for all.
  private func seats(_ count: Int, for unit: UnitRecord, among suitable: [Int], _ kept: Set<Int>, beyondSlots: Bool = false) -> [Int]? {
    let load = unit.load
    var free: [(worker: Int, room: Room, ranks: Int)] = suitable.compactMap { worker in
      let room = openRoom(worker)
      return !kept.contains(worker) && (beyondSlots ? room.slots > 0 : room.fits(load)) ? (worker, room, 0) : nil
    }
    var chosen: [Int] = []
    for _ in 0..<count {
      var best: Int?
      for index in free.indices where beyondSlots || free[index].room.fits(load) {
        guard let other = best else {
          best = index
          continue
        }
        if (free[index].ranks, -free[index].room.free) < (free[other].ranks, -free[other].room.free) { best = index }
      }
      guard let best else { return nil }
      free[best].ranks += 1
      free[best].room.take(load)
      chosen.append(free[best].worker)
    }
    return chosen
  }

  private mutating func placeRanks(_ run: Int, _ task: Int, _ seats: [Int], beyondSlots: Bool) {
    let count = runs[run].tasks[task].units.count
    changeTask(run, task) {
      $0.generation += 1
      $0.ranks = seats.count < count ? seats.count : nil
    }
    runs[run].tasks[task].gangWaitsSince = nil
    runs[run].tasks[task].isHurried = false
    runs[run].tasks[task].gangPlacedAt = now
    let generation = runs[run].tasks[task].record.generation
    for (rank, worker) in seats.enumerated() {
      let place = Place.task(run: run, task: task, unit: rank)
      change(place) { $0.generation = generation }
      lease(place, to: worker, beyondSlots: beyondSlots)
    }
    for rank in seats.count..<count where runs[run].tasks[task].units[rank].preemptedBy != nil {
      change(.task(run: run, task: task, unit: rank)) { $0.preemptedBy = nil }
    }
  }

  /// Sends everyone's endpoint once all ranks have reported theirs; again when a rank repeats its report.
  mutating func sendPeerTable(_ run: Int, _ task: Int) {
    let current = runs[run].tasks[task]
    let ranks = current.units.prefix(current.ranks)
    guard current.record.shape == .gang, ranks.allSatisfy({ $0.address != nil && $0.worker != nil }) else { return }
    let members = ranks.map { unit in
      GangMember(
        rank: unit.index, unit: unit.name, attempt: unit.attempt, worker: unit.worker ?? "",
        hostID: workers[unit.worker ?? ""]?.hostID ?? "", address: unit.address ?? "", publicKey: unit.publicKey ?? "")
    }
    effects.append(
      .peerTable(PeerTable(gang: gangName(run, task), generation: current.record.generation, members: members)))
  }
}

extension Scheduler.Task {
  /// How many of its units are at work, or were last: of a gang that is smaller than it may be, the first so many.
  var ranks: Int { record.ranks ?? units.count }

  /// The numbers of ranks that a gang may have, the largest first.
  var sizes: [Int] { [units.count] + (record.gang?.sizes ?? []) }
}
