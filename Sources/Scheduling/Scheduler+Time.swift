// SPDX-License-Identifier: Apache-2.0

import Core

/// The clock as the caller tells it, and when to be called again.
extension Scheduler {
  /// Time only moves forward. When the caller is far too late, the silence was its own: workers get that time back.
  mutating func advanceClock(to time: Instant) {
    if let promised = nextDeadline, time > now, time - promised > configuration.stallMs {
      let lateness = time - promised
      for index in workers.indices {
        workers[at: index].lastHeard = min(time, workers[at: index].lastHeard + lateness)
      }
    }
    now = max(now, time)
  }

  mutating func earliestDeadline() -> Instant? {
    var earliest = Instant.max
    for index in workers.indices { earliest = min(earliest, deadline(of: workers[at: index])) }
    for run in runs.indices {
      if runs[run].isDirty || runs[run].isWakeStale {
        runs[run].isDirty = false
        runs[run].isWakeStale = false
        runs[run].wakeAt = wakeTime(ofRun: run)
      }
      earliest = min(earliest, runs[run].wakeAt ?? .max)
    }
    for index in services.indices {
      if services[at: index].isDirty || services[at: index].isWakeStale {
        services[at: index].isDirty = false
        services[at: index].isWakeStale = false
        services[at: index].wakeAt = wakeTime(ofService: index)
      }
      earliest = min(earliest, services[at: index].wakeAt ?? .max)
    }
    if let gangsShrinkAt, gangsShrinkAt > now { earliest = min(earliest, gangsShrinkAt) }
    if let homesAt, homesAt > now { earliest = min(earliest, homesAt) }
    if let rivalsAt, rivalsAt > now { earliest = min(earliest, rivalsAt) }
    if let aheadUntil, aheadUntil > now { earliest = min(earliest, aheadUntil) }
    if now < gangsWaitUntil, !runs.isEmpty { earliest = min(earliest, gangsWaitUntil) }
    return earliest == .max ? nil : earliest
  }

  private func wakeTime(ofRun run: Int) -> Instant? {
    guard !runs[run].record.state.isTerminal else { return nil }
    var earliest = deadline(ofRun: run) ?? Instant.max
    for task in runs[run].tasks.indices {
      let state = runs[run].tasks[task].record.state
      guard !state.isTerminal else { continue }
      earliest = min(earliest, runs[run].tasks[task].record.notBefore ?? .max)
      if state != .committing { earliest = min(earliest, runs[run].tasks[task].record.deadline ?? .max) }
      if state == .running {
        earliest = min(earliest, runs[run].tasks[task].record.readyDeadline ?? .max)
        earliest = min(earliest, runs[run].tasks[task].nextReturn(after: now) ?? .max)
      }
    }
    return earliest == .max ? nil : earliest
  }

  private func wakeTime(ofService index: Int) -> Instant? {
    var earliest = Instant.max
    for replica in services[at: index].replicas.indices {
      let state = services[at: index].replicas[replica].state
      if state == .draining { earliest = min(earliest, services[at: index].replicas[replica].drainDeadline ?? .max) }
      if state == .waiting, let time = services[at: index].replicas[replica].notBefore, time > now { earliest = min(earliest, time) }
    }
    if let time = nextSpread(index), time > now { earliest = min(earliest, time) }
    for time in nextEvictions(index) where time > now { earliest = min(earliest, time) }
    return earliest == .max ? nil : earliest
  }
}
