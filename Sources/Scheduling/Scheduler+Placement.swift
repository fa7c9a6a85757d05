// SPDX-License-Identifier: Apache-2.0

import Core

/// Which worker gets what.
extension Scheduler {
  /// Nothing: what waits has to wait, and others may go on. Blocked: so have they.
  enum Step { case placed, nothing, blocked }

  /// Replicas first (they take no slots). Then, one unit after the other, the run of the highest priority; among equals
  /// the run of the user with the fewest slots, then the oldest.
  ///
  /// What asks for more than is free anywhere keeps a worker: nothing that comes after it is placed there, so that it is not starved.
  mutating func place() {
    var kept: Set<Int> = []
    gangsShrinkAt = nil
    let reserves = gangsWithSpares()
    spareLoads = [:]
    rivalsAt = nil
    homesAt = nil
    aheadUntil = nil
    makeRoom(for: placeReplicas(), &kept)
    var candidates = runs.indices.filter { run in
      !runs[run].record.state.isTerminal && runs[run].tasks.contains { $0.waiting > 0 }
    }
    guard !candidates.isEmpty else { return useWhatIsLeft(kept, reserves) }
    var shares: [String: Int] = [:]
    for run in runs { shares[run.record.spec.user ?? "", default: 0] += run.tasks.reduce(0) { $0 + $1.leased } }
    func rank(_ run: Int) -> (Int, Int, Int) {
      let spec = runs[run].record.spec
      return (-(spec.priority ?? 0), shares[spec.user ?? ""] ?? 0, run)
    }
    while let position = candidates.indices.min(by: { rank(candidates[$0]) < rank(candidates[$1]) }) {
      let run = candidates[position]
      keepSpares(reserves, ofPriority: runs[run].record.spec.priority ?? 0)
      let user = runs[run].record.spec.user ?? ""
      let before = runs[run].tasks.reduce(0) { $0 + $1.leased }
      switch placeOne(run, &kept) {
      case .placed: shares[user, default: 0] += runs[run].tasks.reduce(0) { $0 + $1.leased } - before
      case .nothing: candidates.remove(at: position)
      // The slots are gone, or kept for a gang.
      case .blocked: return
      }
    }
    useWhatIsLeft(kept, reserves)
  }

  private mutating func useWhatIsLeft(_ kept: Set<Int>, _ reserves: [Reserve]) {
    keepSpares(reserves, ofPriority: .min)
    takeBack(kept)
    startRivals(kept)
  }

  /// Places one gang, or one shard of the run's tasks in turn.
  private mutating func placeOne(_ run: Int, _ kept: inout Set<Int>) -> Step {
    let count = runs[run].tasks.count
    for task in runs[run].tasks.indices
    where runs[run].tasks[task].waiting > 0 && runs[run].tasks[task].record.shape == .gang && isDue(run, task) {
      switch placeGang(run, task, &kept) {
      case .placed: return .placed
      case .blocked: return .blocked
      case .nothing: continue
      }
    }
    for _ in 0..<count {
      let task = runs[run].nextTask % count
      runs[run].nextTask = (task + 1) % count
      guard runs[run].tasks[task].waiting > 0, runs[run].tasks[task].record.state == .running,
        runs[run].tasks[task].record.shape == .shards, let unit = runs[run].tasks[task].nextWaiting(now: now)
      else { continue }
      if let (unit, worker) = home(run, task, first: unit, kept) {
        lease(.task(run: run, task: task, unit: unit), to: worker, beyondSlots: false)
        return .placed
      }
      if waitsForHome(run, task, unit, kept) { continue }
      if let worker = freestWorker(for: runs[run].tasks[task].units[unit], kept) {
        lease(.task(run: run, task: task, unit: unit), to: worker, beyondSlots: false)
        return .placed
      }
      if let worker = workerAhead(of: runs[run].tasks[task].units[unit], in: runs[run].tasks[task], kept) {
        lease(.task(run: run, task: task, unit: unit), to: worker, beyondSlots: false, isAhead: true)
        return .placed
      }
      guard runs[run].tasks[task].spec.demand != nil else {
        runs[run].nextTask = task
        return .blocked
      }
      keepWorker(for: runs[run].tasks[task].units[unit], &kept)
    }
    return .nothing
  }

  /// Whether all ranks of a gang wait and none of them has to wait longer.
  func isDue(_ run: Int, _ task: Int) -> Bool {
    runs[run].tasks[task].record.state == .running && runs[run].tasks[task].waiting == runs[run].tasks[task].units.count
      && !waitsForUnheard(runs[run].tasks[task].record) && runs[run].tasks[task].units.allSatisfy { $0.notBefore ?? now <= now }
  }

  /// The worker with the most free slots that has what the unit needs, by name when equal; nil when there is none.
  func freestWorker(for unit: UnitRecord, _ kept: Set<Int>) -> Int? {
    let load = unit.load
    var best: (index: Int, free: Int64)?
    for index in workers.indices where workers[at: index].acceptsWork && !kept.contains(index) {
      let room = openRoom(index)
      let free = room.free
      if free > best?.free ?? .min, room.fits(load), suits(index, unit.demand) { best = (index, free) }
    }
    return best?.index
  }

  /// Keeps the worker where a unit will have room first.
  func keepWorker(for unit: UnitRecord, _ kept: inout Set<Int>) {
    let load = unit.load
    guard load != .none, unit.demand != nil else { return }
    var best: (index: Int, free: Int64)?
    for index in workers.indices where workers[at: index].acceptsWork && !kept.contains(index) && suits(index, unit.demand) {
      let free = workers[at: index].room.free
      if free > best?.free ?? .min, workers[at: index].idleRoom.fits(load) { best = (index, free) }
    }
    if let best { kept.insert(best.index) }
  }

  mutating func lease(_ place: Place, to worker: Int, beyondSlots: Bool, isAhead: Bool = false) {
    let name = workers.keys[worker]
    let incarnation = workers[at: worker].incarnation
    let first = self[place].repeatable == true ? firstAttempt : 0
    change(place) {
      $0.state = .assigned
      $0.attempt = max(max($0.attempt, $0.rivalAttempt ?? 0) + 1, first)
      $0.worker = name
      $0.incarnation = incarnation
      $0.notBefore = nil
      $0.preemptedBy = nil
    }
    let unit = self[place]
    let lease = Lease(
      key: unit.key, load: isAhead ? .none : unit.load, isReplica: unit.service != nil, active: true, confirmed: false, sentAt: now,
      beyondSlots: beyondSlots, since: now, isAhead: isAhead, waits: unit.mayWait && (isAhead || workers[at: worker].ahead > 0))
    workers[at: worker].add(lease)
    effects.append(.assign(assignment(unit)))
  }

  func assignment(_ unit: UnitRecord) -> Assignment {
    var gang: GangPlace?
    if case .task(let run, let task, let rank)? = find(unit.name), runs[run].tasks[task].record.shape == .gang {
      gang = GangPlace(
        gang: gangName(run, task), generation: unit.generation, rank: rank, size: runs[run].tasks[task].ranks)
    } else if let rank = unit.rank, let size = unit.ranks {
      let lead = self.lead(of: unit)
      gang = GangPlace(gang: lead.name, generation: lead.attempt, rank: rank, size: size)
    }
    return Assignment(
      worker: unit.worker ?? "", incarnation: unit.incarnation, unit: unit.name, attempt: unit.attempt, kind: unit.kind,
      payload: unit.payload, gang: gang, service: unit.service,
      isRepeatable: unit.repeatable == true, mayWait: unit.mayWait)
  }
}
