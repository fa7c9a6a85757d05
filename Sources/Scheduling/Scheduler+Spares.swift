// SPDX-License-Identifier: Apache-2.0

/// Room that is kept for the spares of gangs.
///
/// Nothing of it is stored: each placement finds, before work of the gang's priority or a lower one, room for what the gang may come to
/// need beyond what it has. So what was free stays free, and which worker has it may change. Replicas of services and work of a higher
/// priority are placed before, and take it; so do gangs that begin anew. A gang that waits to be placed keeps nothing: it takes what there is.
extension Scheduler {
  /// A gang that keeps room.
  struct Reserve {
    var run: Int
    var task: Int
    var priority: Int
  }

  /// The gangs that keep room, those of the highest priority first, then those of older runs.
  func gangsWithSpares() -> [Reserve] {
    var found: [Reserve] = []
    for run in runs.indices where !runs[run].record.state.isTerminal {
      for task in runs[run].tasks.indices where runs[run].tasks[task].record.gang != nil {
        let record = runs[run].tasks[task].record
        guard record.state == .running, record.generation > 0, record.gang?.spares ?? 0 > 0 else { continue }
        found.append(Reserve(run: run, task: task, priority: runs[run].record.spec.priority ?? 0))
      }
    }
    return found.count < 2 ? found : found.sorted { ($1.priority, $0.run, $0.task) < ($0.priority, $1.run, $1.task) }
  }

  /// Keeps the room of the gangs of a priority and above.
  mutating func keepSpares(_ reserves: [Reserve], ofPriority priority: Int) {
    guard !reserves.isEmpty || !spareLoads.isEmpty else { return }
    spareLoads = [:]
    for reserve in reserves where reserve.priority >= priority {
      guard !isDue(reserve.run, reserve.task) else { continue }
      let task = runs[reserve.run].tasks[reserve.task]
      let missing = task.units.count + (task.record.gang?.spares ?? 0) - task.leased
      keepRoom(for: task.units[0], missing, of: task)
    }
  }

  /// Keeps, of the gangs that keep room, only that of those before this one: two that each keep what the other needs would never have it.
  mutating func keepSpares(before run: Int, _ task: Int) {
    let reserves = gangsWithSpares()
    guard let own = reserves.firstIndex(where: { $0.run == run && $0.task == task }) else { return }
    keepSpares(Array(reserves.prefix(own)), ofPriority: .min)
  }

  private mutating func keepRoom(for unit: UnitRecord, _ count: Int, of task: Task) {
    let load = unit.load
    guard load != .none else { return }
    let held = Set(task.units.compactMap(\.worker))
    for _ in 0..<max(0, count) {
      // One with none of its ranks and spares, which do not go with them, then the one with the most free.
      var best: (worker: Int, own: Int, free: Int64)?
      for worker in workers.indices where workers[at: worker].acceptsWork && suits(worker, unit.demand) {
        let room = openRoom(worker)
        guard room.fits(load) else { continue }
        let own = (held.contains(workers.keys[worker]) ? 1 : 0) + (spareLoads[worker] == nil ? 0 : 1)
        if best.map({ (own, -room.free) < ($0.own, -$0.free) }) ?? true { best = (worker, own, room.free) }
      }
      guard let best else { return }
      spareLoads[best.worker] = (spareLoads[best.worker] ?? .none) + load
    }
  }

  /// What a worker has free beyond what is kept for spares.
  func openRoom(_ worker: Int) -> Room {
    guard !spareLoads.isEmpty, let spare = spareLoads[worker] else { return workers[at: worker].room }
    var room = workers[at: worker].room
    room.take(spare)
    return room
  }
}
