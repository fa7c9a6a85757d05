// SPDX-License-Identifier: Apache-2.0

import Core

/// Room for replicas that find none: shards and gangs make it, when that is what it takes.
///
/// What stops is the cheapest that is enough: second attempts, then of the lowest priority, shards before gangs, what has run for the shortest time first. Nothing
/// stops when even all of it would not be enough, nothing of a higher priority than the service, no program of a person's unless its task says so,
/// and nothing more often than `preemptionLimit` times. A shard keeps its lease until its worker has reported its end, so that it never
/// runs twice at once, and counts when it succeeds before. A gang goes back to its last checkpoint as a whole: when it has just written one, or
/// when the replica has waited for very long. Neither is a failure or a loss.
extension Scheduler {
  /// What stops together on one worker: a shard, or the ranks of a gang there.
  private struct Victim {
    var priority: Int
    var isGang: Bool
    /// Units that begin anew.
    var units: Int
    var since: Instant
    var load: Load
    var place: Place
    /// It is the second attempt at a shard: what is lost is nothing.
    var isRival = false
  }

  private struct Eviction {
    var worker: Int
    var victims: [Victim]
    /// Priority, ranks that begin anew, milliseconds of work that are lost.
    var cost: (Int, Int, Int64)
  }

  /// Finds the room that replicas wait for, or makes it, and keeps what comes after them from taking it.
  mutating func makeRoom(for waiting: [Place], _ kept: inout Set<Int>) {
    noteBlocked(waiting)
    guard !waiting.isEmpty else { return }
    var rooms = workers.values.map(\.comingRoom)
    var reserved: [(worker: Int, load: Load)] = []
    var evicting: Set<Int> = []
    for place in waiting {
      guard case .replica(let service, _) = place, self[place].load != .none else { continue }
      let load = self[place].load
      if let worker = freestWorker(for: self[place], in: rooms) {
        reserved.append((worker, load))
      } else if evicting.contains(service) || mayEvict(service), let eviction = cheapestEviction(for: place, rooms) {
        for victim in eviction.victims {
          if victim.isRival { stopRival(victim.place) } else { evict(victim.place, for: services.keys[service]) }
        }
        evicting.insert(service)
        reserved.append((eviction.worker, load))
      } else {
        keepWorker(for: self[place], &kept)
        continue
      }
      rooms = workers.values.map(\.comingRoom)
      for one in reserved {
        rooms[one.worker].take(one.load)
        kept.insert(one.worker)
      }
    }
    for service in evicting.sorted() { backOff(service) }
  }

  /// Remembers since when each service waits for room.
  private mutating func noteBlocked(_ waiting: [Place]) {
    var blocked: Set<Int> = []
    for case .replica(let service, let index) in waiting where services[at: service].replicas[index].load != .none { blocked.insert(service) }
    for service in services.indices where blocked.contains(service) != (services[at: service].blockedSince != nil) {
      services[at: service].blockedSince = blocked.contains(service) ? now : nil
      services[at: service].isWakeStale = true
    }
  }

  private func mayEvict(_ service: Int) -> Bool {
    guard let since = services[at: service].blockedSince else { return false }
    return since + configuration.preemptAfterMs <= now && services[at: service].nextEviction <= now
  }

  private mutating func backOff(_ service: Int) {
    let quiet = services[at: service].lastEviction.map { now - $0 > 2 * configuration.preemptionBackoff.limitMilliseconds } ?? true
    services[at: service].evictions = quiet ? 1 : services[at: service].evictions + 1
    services[at: service].lastEviction = now
    services[at: service].nextEviction = delay(configuration.preemptionBackoff, afterAttempt: services[at: service].evictions)
    services[at: service].isWakeStale = true
  }

  /// When something may be stopped for a service that waits for room.
  func nextEvictions(_ service: Int) -> [Instant] {
    guard let since = services[at: service].blockedSince else { return [] }
    return [since + configuration.preemptAfterMs, since + configuration.preemptGangAfterMs, services[at: service].nextEviction]
  }

  /// The worker with the most free slots of those where a unit fits once what is told to stop has stopped.
  private func freestWorker(for unit: UnitRecord, in rooms: [Room]) -> Int? {
    let load = unit.load
    return workers.indices.filter { workers[at: $0].acceptsWork && suits($0, unit.demand) && rooms[$0].fits(load) }
      .max { rooms[$0].free < rooms[$1].free }
  }

  private func cheapestEviction(for place: Place, _ rooms: [Room]) -> Eviction? {
    guard case .replica(let service, _) = place, self[place].replaces == nil else { return nil }
    let load = self[place].load
    var best: Eviction?
    for worker in workers.indices where workers[at: worker].acceptsWork && suits(worker, self[place].demand) {
      guard let victims = enough(victims(on: worker, of: service), for: load, in: rooms[worker]) else { continue }
      let cost = (
        victims.map(\.priority).max() ?? .min, victims.reduce(0) { $0 + ($1.isGang ? $1.units : 0) },
        victims.reduce(0) { $0 + Int64($1.units) * (now - $1.since) }
      )
      if best.map({ cost < $0.cost }) ?? true { best = Eviction(worker: worker, victims: victims, cost: cost) }
    }
    return best
  }

  /// What may stop on a worker for a service, the cheapest first.
  private func victims(on worker: Int, of service: Int) -> [Victim] {
    let limit = services[at: service].record.spec.priority ?? 0
    let gangsToo = services[at: service].blockedSince.map { $0 + configuration.preemptGangAfterMs <= now } ?? false
    var found: [Victim] = []
    for lease in workers[at: worker].leases.values where lease.active && !lease.evicted && !lease.isReplica {
      guard let place = find(lease.key.unit), case .task(let run, let task, _) = place else { continue }
      if self[place].rival?.attempt == lease.key.attempt {
        found.append(Victim(priority: .min, isGang: false, units: 0, since: lease.since, load: lease.load, place: place, isRival: true))
        continue
      }
      guard isPreemptible(place) else { continue }
      let priority = runs[run].record.spec.priority ?? 0
      guard priority <= limit else { continue }
      guard runs[run].tasks[task].record.shape == .gang else {
        found.append(Victim(priority: priority, isGang: false, units: 1, since: lease.since, load: lease.load, place: place))
        continue
      }
      let units = runs[run].tasks[task].units
      guard gangsToo || units.contains(where: { $0.name == checkpointed }) else { continue }
      let first = Place.task(run: run, task: task, unit: 0)
      if let known = found.firstIndex(where: { $0.place == first }) {
        found[known].load = found[known].load + lease.load
      } else {
        found.append(Victim(priority: priority, isGang: true, units: runs[run].tasks[task].ranks, since: lease.since, load: lease.load, place: first))
      }
    }
    return found.sorted { a, b in
      (a.priority, a.isGang ? 1 : 0, -a.since, self[a.place].name) < (b.priority, b.isGang ? 1 : 0, -b.since, self[b.place].name)
    }
  }

  private func isPreemptible(_ place: Place) -> Bool {
    guard case .task(let run, let task, _) = place, self[place].preemptions ?? 0 < configuration.preemptionLimit else { return false }
    let current = runs[run].tasks[task]
    return current.spec.preemptible ?? (current.record.shape == .gang || self[place].repeatable == true)
  }

  /// As many of them as it takes, and none that it does not take; nil when all of them are not enough.
  private func enough(_ victims: [Victim], for load: Load, in room: Room) -> [Victim]? {
    var room = room
    var chosen: [Victim] = []
    for victim in victims where !room.fits(load) {
      room.give(victim.load)
      chosen.append(victim)
    }
    guard room.fits(load) else { return nil }
    for index in chosen.indices.reversed() {
      var less = room
      less.take(chosen[index].load)
      guard less.fits(load) else { continue }
      room = less
      chosen.remove(at: index)
    }
    return chosen
  }

  private mutating func evict(_ place: Place, for service: String) {
    guard case .task(let run, let task, _) = place else { return }
    let isGang = runs[run].tasks[task].record.shape == .gang
    for unit in isGang ? Array(runs[run].tasks[task].units.indices) : [] {
      let isAtWork = unit < runs[run].tasks[task].ranks
      change(.task(run: run, task: task, unit: unit)) {
        $0.notePreemption(service)
        if !isAtWork { $0.preemptedBy = nil }
      }
    }
    guard !isGang else { return restartGang(run, task, notBefore: nil) }
    change(place) { $0.notePreemption(service) }
    let unit = self[place]
    workers.update(unit.worker ?? "") { $0.change(unit.key) { $0.evicted = true } }
    effects.append(.cancelUnit(worker: unit.worker ?? "", unit: unit.name, attempt: unit.attempt))
  }
}

extension UnitRecord {
  fileprivate mutating func notePreemption(_ service: String) {
    preemptions = (preemptions ?? 0) + 1
    preemptedBy = service
  }
}
