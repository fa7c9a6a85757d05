// SPDX-License-Identifier: Apache-2.0

import Core

/// Second attempts at shards that take much longer than their neighbours: a slow disk, a busy machine. The first that succeeds is the unit's
/// result, the other stops. Only of shards that are repeatable, only on workers that have nothing else to do, one for each shard, and
/// for one in ten of a stage at most (one, of small ones).
///
/// The unit's own attempt stays what it is; the rival has a later number. When the first attempt fails or is lost, the rival takes its place,
/// and the failure counts as it does without one; what becomes of a rival itself counts for nothing.
extension Scheduler {
  /// How many shards of a stage may have a second attempt.
  static func rivalLimit(_ units: Int) -> Int { max(1, units / 10) }

  mutating func noteDuration(_ duration: Int64, of place: Place) {
    guard case .task(let run, let task, _) = place, runs[run].tasks[task].record.shape == .shards, runs[run].tasks[task].units.count > 1 else { return }
    let durations = runs[run].tasks[task].durations
    var low = 0
    var high = durations.count
    while low < high {
      let middle = (low + high) / 2
      if durations[middle] < duration { low = middle + 1 } else { high = middle }
    }
    runs[run].tasks[task].durations.insert(duration, at: low)
  }

  /// After how long a shard of a stage is late; nil while nobody can tell, or when there is nothing to be done about it.
  private func patience(_ run: Int, _ task: Int) -> Int64? {
    let samples = runs[run].tasks[task].durations.count
    // Asked of all tasks after each event: of most of them it is known by this, and none is copied.
    guard samples >= configuration.rivalSamples, runs[run].tasks[task].waiting == 0, runs[run].tasks[task].leased > 0,
      runs[run].tasks[task].record.shape == .shards, runs[run].tasks[task].record.state == .running
    else { return nil }
    let count = runs[run].tasks[task].units.count
    guard runs[run].tasks[task].rivals < Self.rivalLimit(count), runs[run].tasks[task].succeeded * 2 >= count else { return nil }
    return max(configuration.rivalFactor * runs[run].tasks[task].durations[samples / 2], configuration.rivalLeastMs)
  }

  /// Nothing waits for the room that is left.
  mutating func startRivals(_ kept: Set<Int>) {
    guard runs.indices.contains(where: { run in runs[run].tasks.indices.contains { patience(run, $0) != nil } }) else { return }
    var late: [(since: Instant, place: Place)] = []
    for worker in workers.values {
      for lease in worker.leases.values where lease.active && !lease.evicted {
        // What was given a slot is late also when it never begins.
        guard let since = lease.startedAt ?? (lease.waits ? nil : lease.since), let place = find(lease.key.unit),
          case .task(let run, let task, _) = place, self[place].repeatable == true, self[place].rivalAttempt == nil,
          let patience = patience(run, task)
        else { continue }
        if since + patience <= now { late.append((since, place)) } else { rivalsAt = min(rivalsAt ?? .max, since + patience) }
      }
    }
    for (_, place) in late.sorted(by: { ($0.since, self[$0.place].name) < ($1.since, self[$1.place].name) }) {
      guard case .task(let run, let task, _) = place, patience(run, task) != nil, let own = workers.index(of: self[place].worker ?? ""),
        let worker = freestWorker(for: self[place], kept.union([own]))
      else { continue }
      startRival(place, on: worker)
    }
  }

  private mutating func startRival(_ place: Place, on worker: Int) {
    guard case .task(let run, let task, _) = place else { return }
    let rival = RivalAttempt(attempt: max(self[place].attempt + 1, firstAttempt), worker: workers.keys[worker], incarnation: workers[at: worker].incarnation)
    change(place) {
      $0.rival = rival
      $0.rivalAttempt = rival.attempt
    }
    runs[run].tasks[task].rivals += 1
    let unit = self[place].held(as: UnitAttempt(unit: self[place].name, attempt: rival.attempt))
    workers[at: worker].add(
      Lease(key: unit.key, load: unit.load, isReplica: false, active: true, confirmed: false, sentAt: now, beyondSlots: false, since: now))
    effects.append(.assign(assignment(unit)))
  }

  /// The place of a unit whose second attempt is exactly this one on this worker.
  func contested(_ worker: String, _ key: UnitAttempt) -> Place? {
    guard workers[worker]?.leases[key]?.active == true, let place = find(key.unit), let rival = self[place].rival else { return nil }
    return rival.attempt == key.attempt && rival.worker == worker ? place : nil
  }

  /// The lease of a second attempt has ended.
  mutating func rivalEnded(_ place: Place, _ outcome: UnitOutcome) {
    guard case .succeeded = outcome, case .task(let run, let task, let unit) = place, let worker = self[place].worker else {
      return change(place) { $0.rival = nil }
    }
    stop(self[place].key, on: worker)
    change(place) {
      $0.takeRival()
      $0.preemptedBy = nil
    }
    workEnded(run, task, unit, outcome)
  }

  mutating func stopRival(_ place: Place) {
    guard let rival = self[place].rival else { return }
    stop(UnitAttempt(unit: self[place].name, attempt: rival.attempt), on: rival.worker)
    change(place) { $0.rival = nil }
  }

  /// The first attempt is over without a result. Returns whether there is a second one to go on with.
  mutating func rivalTakesOver(_ place: Place) -> Bool {
    guard let rival = self[place].rival else { return false }
    let hasBegun = workers[rival.worker]?.leases[UnitAttempt(unit: self[place].name, attempt: rival.attempt)]?.startedAt != nil
    change(place) {
      $0.takeRival()
      $0.preemptedBy = nil
      $0.state = hasBegun ? .running : .assigned
    }
    return true
  }
}

extension UnitRecord {
  /// As the worker of one of its two attempts knows it.
  func held(as key: UnitAttempt) -> UnitRecord {
    guard let rival, rival.attempt == key.attempt else { return self }
    var copy = self
    copy.takeRival()
    return copy
  }

  fileprivate mutating func takeRival() {
    guard let rival else { return }
    attempt = rival.attempt
    worker = rival.worker
    incarnation = rival.incarnation
    self.rival = nil
  }
}
