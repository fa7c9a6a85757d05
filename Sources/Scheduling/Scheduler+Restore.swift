// SPDX-License-Identifier: Apache-2.0

import Core

extension Scheduler {
  /// Continues from what was stored: the runs that have not ended with all their tasks, the units of each task's current
  /// attempt and stage (others are ignored), all services (also removed ones) and their live replicas.
  ///
  /// Plannings and commits are issued again. Workers that hold leases have `restoreGraceMs` to report; then what they ran is lost.
  public static func restore(
    _ records: [Record], configuration: Configuration = Configuration(), now: Instant
  ) -> (scheduler: Scheduler, effects: [Effect]) {
    var scheduler = Scheduler(configuration: configuration, now: now)
    scheduler.load(records)
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
      case .unit(let unit):
        units[unit.service.map { "service/\($0)" } ?? "\(unit.run)/\(unit.task)", default: []].append(unit)
      }
    }
    runs.sort { $0.record.sequence < $1.record.sequence }
    for index in runs.indices {
      let run = runs[index].record
      runs[index].tasks = run.spec.tasks.map { spec in
        var task = Task(record: tasks[run.spec.id]?[spec.key] ?? TaskRecord(pending: spec.key, of: run.spec.id), spec: spec)
        guard task.record.state == .running || task.record.state == .committing else { return task }
        task.units = (units["\(run.spec.id)/\(spec.key)"] ?? []).filter {
          $0.taskAttempt == task.record.attempt && $0.stage == task.record.stage
        }.sorted { $0.index < $1.index }
        return task
      }
    }
    for name in services.keys {
      let replicas = (units["service/\(name)"] ?? []).filter { !$0.state.isTerminal }.sorted { $0.index < $1.index }
      services.update(name) { $0.replicas = replicas }
    }
    for run in runs { for task in run.tasks { for unit in task.units { restoreLease(unit, slots: 1) } } }
    for (_, service) in services { for unit in service.replicas { restoreLease(unit, slots: 0) } }
  }

  private mutating func restoreLease(_ unit: UnitRecord, slots: Int) {
    guard unit.state.isLeased, let name = unit.worker else { return }
    if workers[name] == nil || workers[name]!.incarnation < unit.incarnation {
      // Leases of an older incarnation of the same worker stay with it and end when the newer one is known.
      let older = workers[name]?.leases ?? SortedTable()
      var worker = Worker(
        incarnation: unit.incarnation, slots: 0, hostID: "", labels: [:], state: .restored, lastHeard: now)
      worker.leases = older
      workers.set(name, worker)
    }
    let lease = Lease(key: unit.key, slots: slots, active: true, confirmed: false, sentAt: now, beyondSlots: true)
    workers.update(name) { $0.leases.set(unit.key, lease) }
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
