// SPDX-License-Identifier: Apache-2.0

import Core

/// Every change of a record goes through here: it is remembered for the store, and what depends on it is marked.
extension Scheduler {
  mutating func changeTask(_ run: Int, _ task: Int, _ body: (inout TaskRecord) -> Void) {
    let before = runs[run].tasks[task].record
    body(&runs[run].tasks[task].record)
    let after = runs[run].tasks[task].record
    guard before != after else { return }
    runs[run].isDirty = true
    changes["task:\(after.run)/\(after.key)"] = .task(after)
    if before.state != after.state || before.attempt != after.attempt || before.stage != after.stage {
      effects.append(
        .taskStateChanged(
          run: after.run, task: after.key, attempt: after.attempt, stage: after.stage, state: after.state, error: after.error
        ))
    }
  }

  mutating func changeRun(_ run: Int, _ body: (inout RunRecord) -> Void) {
    let before = runs[run].record
    body(&runs[run].record)
    let after = runs[run].record
    guard before != after else { return }
    runs[run].isDirty = true
    if after.state.isTerminal {
      runsEnded = true
      if let job = after.spec.job { wakeQueue(of: job) }
    }
    changes["run:\(after.spec.id)"] = .run(after)
    if before.state != after.state {
      effects.append(.runStateChanged(run: after.spec.id, state: after.state, error: after.error))
    }
  }

  mutating func changeService(_ index: Int, _ body: (inout ServiceRecord) -> Void) {
    body(&services[at: index].record)
    services[at: index].isDirty = true
    changes["service:\(services.keys[index])"] = .service(services[at: index].record)
  }

  mutating func indexRuns() {
    runIndex.removeAll(keepingCapacity: true)
    for (index, run) in runs.enumerated() { runIndex[run.record.spec.id] = index }
  }

  /// Where a unit is kept.
  enum Place: Equatable { case task(run: Int, task: Int, unit: Int), replica(service: Int, index: Int) }

  /// The unit of a name, when it belongs to the current attempt and stage of its task, or to a known service.
  func find(_ unit: String) -> Place? {
    let bytes = unit.utf8
    guard let last = bytes.lastIndex(of: UInt8(ascii: "/")), let first = bytes.firstIndex(of: UInt8(ascii: "/")), first < last
    else { return nil }
    let rest = bytes.index(after: first)
    let second = bytes[rest...].firstIndex(of: UInt8(ascii: "/")) ?? last
    if second == last {
      guard unit[..<first] == "service", let service = services.index(of: String(unit[rest..<last])) else { return nil }
      return services[at: service].replicas.firstIndex { $0.name == unit }.map { .replica(service: service, index: $0) }
    }
    let third = bytes.index(after: second)
    if unit[..<first] == "service", bytes[third...].firstIndex(of: UInt8(ascii: "/")) == last, let service = services.index(of: String(unit[rest..<second])) {
      return services[at: service].replicas.firstIndex { $0.name == unit }.map { .replica(service: service, index: $0) }
    }
    guard let index = Int(unit[bytes.index(after: last)...]), index >= 0, let run = runIndex[String(unit[..<first])] else { return nil }
    let key = unit[rest..<second]
    guard let task = runs[run].tasks.firstIndex(where: { $0.record.key == key }), index < runs[run].tasks[task].units.count,
      runs[run].tasks[task].units[index].name == unit
    else { return nil }
    return .task(run: run, task: task, unit: index)
  }

  /// The unit at a place, read without copying it.
  subscript(place: Place) -> UnitRecord {
    _read {
      switch place {
      case .task(let run, let task, let unit): yield runs[run].tasks[task].units[unit]
      case .replica(let service, let index): yield services[at: service].replicas[index]
      }
    }
  }

  mutating func change(_ place: Place, _ body: (inout UnitRecord) -> Void) {
    let before = self[place].state
    switch place {
    case .task(let run, let task, let unit):
      body(&runs[run].tasks[task].units[unit])
      runs[run].tasks[task].moved(unit, from: before, to: runs[run].tasks[task].units[unit].state)
      runs[run].isDirty = true
    case .replica(let service, let index):
      body(&services[at: service].replicas[index])
      services[at: service].isDirty = true
    }
    changes["unit:\(self[place].name)"] = .unit(self[place])
  }

  mutating func delay(_ backoff: Backoff, afterAttempt attempt: Int) -> Instant {
    now + backoff.delayMilliseconds(afterAttempt: attempt, unit: jitter.nextUnit())
  }
}
