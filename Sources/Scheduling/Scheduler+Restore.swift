// SPDX-License-Identifier: Apache-2.0

import Core

extension Scheduler {
  /// Continues from what was stored: the runs that have not ended with all their tasks, the units of each task's current
  /// attempt and stage (others are ignored), all services (also removed ones) and their live replicas.
  ///
  /// Plannings and commits are issued again. Workers that hold leases have `restoreGraceMs` to report; then what they ran is lost.
  public static func restore(
    _ records: [Record], configuration: Configuration = Configuration(), epoch: Int64 = 0, now: Instant
  ) -> (scheduler: Scheduler, effects: [Effect]) {
    var scheduler = Scheduler(configuration: configuration, epoch: epoch, now: now)
    scheduler.load(records)
    scheduler.gangsWaitUntil = now + configuration.leaseMs + configuration.marginMs
    scheduler.issueAgain()
    let effects = scheduler.settle()
    return (scheduler, effects)
  }

  mutating func load(_ records: [Record]) {
    var tasks: [String: [String: TaskRecord]] = [:]
    var units: [String: [UnitRecord]] = [:]
    for record in records {
      switch record {
      case .run(let run):
        nextSequence = max(nextSequence, run.sequence + 1)
        if !run.state.isTerminal { runs.append(Run(record: run, tasks: [])) }
      case .task(let task): tasks[task.run, default: [:]][task.key] = task
      case .service(let service): services.set(service.spec.name, Service(record: service))
      case .worker(let worker): if worker.availability != .open { availability.set(worker.worker, worker) }
      case .unit(let unit):
        units[unit.service.map { "service/\($0)" } ?? "\(unit.run)/\(unit.task)", default: []].append(unit)
      }
    }
    runs.sort { $0.record.sequence < $1.record.sequence }
    indexRuns()
    for index in runs.indices {
      let run = runs[index].record
      runs[index].tasks = Self.tasks(of: run.spec) { tasks[run.spec.id]?[$0] ?? TaskRecord(pending: $0, of: run.spec.id) }
      for task in runs[index].tasks.indices where runs[index].tasks[task].record.items != nil {
        addIterations(index, task) { key, id in tasks[id]?[key] ?? TaskRecord(pending: key, of: id) }
      }
      for task in runs[index].tasks.indices {
        let record = runs[index].tasks[task].record
        guard record.state == .running || record.state == .committing else { continue }
        runs[index].tasks[task].setUnits(
          (units["\(record.run)/\(record.key)"] ?? []).filter { $0.taskAttempt == record.attempt && $0.stage == record.stage }
            .sorted { $0.index < $1.index })
      }
    }
    for name in services.keys {
      let replicas = (units["service/\(name)"] ?? []).filter { !$0.state.isTerminal }.sorted { ($0.index, $0.rank ?? 0) < ($1.index, $1.rank ?? 0) }
      services.update(name) { $0.replicas = replicas }
    }
    for run in runs { for task in run.tasks { for unit in task.units { restoreLease(unit) } } }
    for (_, service) in services { for unit in service.replicas { restoreLease(unit) } }
  }

  private mutating func restoreLease(_ unit: UnitRecord) {
    guard unit.state.isLeased, let name = unit.worker else { return }
    if let rival = unit.rival {
      var other = unit.held(as: UnitAttempt(unit: unit.name, attempt: rival.attempt))
      other.preemptedBy = nil
      restoreLease(other)
    }
    if workers[name] == nil {
      workers.set(
        name,
        Worker(
          incarnation: unit.incarnation, room: Room(slots: 0), hostID: "", labels: [:], state: .restored,
          availability: availability[name]?.availability ?? .open, lastHeard: now))
    }
    // Leases of an older incarnation of the same worker stay with it and end when the newer one is known.
    workers.update(name) { $0.incarnation = max($0.incarnation, unit.incarnation) }
    var lease = Lease(
      key: unit.key, load: unit.load, isReplica: unit.service != nil, active: true, confirmed: false, sentAt: now, beyondSlots: true, since: now)
    lease.evicted = unit.preemptedBy != nil
    workers.update(name) { $0.add(lease) }
  }

  private mutating func issueAgain() {
    for run in runs.indices {
      for task in runs[run].tasks.indices where runs[run].tasks[task].record.notBefore == nil {
        switch runs[run].tasks[task].record.state {
        case .planning: effects.append(.planStage(stageCall(run, task)))
        case .committing: commit(run, task)
        default: break
        }
      }
    }
    for (_, service) in services { for unit in service.replicas { announce(unit) } }
  }
}
