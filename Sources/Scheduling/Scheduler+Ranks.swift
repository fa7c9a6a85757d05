// SPDX-License-Identifier: Apache-2.0

import Core

/// Replicas that consist of several ranks: placed together, on one worker when there is room for all of them, ready when the last of them is, and
/// started anew together, as another generation, when any of them ends. Rank 0 is the one that the router knows.
///
/// Each rank first reports where it listens for the others. When all have, each is told of all (`PeerTable`). Rank 0 reports a second address, where
/// requests go, when all of them have met.
extension Scheduler {
  /// Rank 0 of the replica that a unit belongs to; other units are their own.
  func lead(of unit: UnitRecord) -> UnitRecord {
    guard let service = unit.service, !unit.isLead else { return unit }
    return services[service]?.ranks(of: unit).first ?? unit
  }

  /// Whether a replica has ranks of which one is on a worker that is silent.
  func hasSuspectRank(_ unit: UnitRecord) -> Bool {
    guard unit.ranks != nil, let service = services[unit.service ?? ""] else { return false }
    return service.ranks(of: unit).contains { workers[$0.worker ?? ""]?.state == .suspect }
  }

  /// Positions of all ranks of a replica, rank 0 first.
  private func places(_ service: Int, _ index: Int) -> [Place] {
    let number = services[at: service].replicas[index].index
    return services[at: service].replicas.indices.filter { services[at: service].replicas[$0].index == number }
      .map { .replica(service: service, index: $0) }
  }

  // MARK: Reports

  mutating func rankReady(_ service: Int, _ index: Int, _ address: RankAddress) {
    let place = Place.replica(service: service, index: index)
    if self[place].meets == nil {
      change(place) {
        $0.meets = address
        if $0.state == .assigned { $0.state = .running }
      }
    }
    let all = places(service, index)
    let ranks = all.map { self[$0] }
    guard self[place].meets != address else { return sendPeerTable(ranks) }
    guard self[place].isLead, ranks.allSatisfy({ $0.meets != nil }) else { return }
    if self[place].state != .ready || self[place].address != address.address || self[place].publicKey != address.publicKey {
      for one in all {
        change(one) { [now] in
          $0.state = .ready
          $0.readySince = now
        }
      }
      change(place) {
        $0.address = address.address
        $0.publicKey = address.publicKey
      }
    }
    announce(self[place])
  }

  /// Sends everyone's address once all ranks have reported theirs; again when a rank repeats its report.
  private mutating func sendPeerTable(_ ranks: [UnitRecord]) {
    // Ranks of one worker share memory. Workers of one machine may be in containers that do not.
    let isTogether = ranks.allSatisfy { $0.worker == ranks[0].worker }
    let members = ranks.compactMap { unit -> GangMember? in
      guard let meets = unit.meets, let worker = unit.worker else { return nil }
      return GangMember(
        rank: unit.rank ?? 0, unit: unit.name, attempt: unit.attempt, worker: worker, hostID: isTogether ? workers[worker]?.hostID ?? "" : "",
        address: meets.address, publicKey: meets.publicKey)
    }
    guard let lead = ranks.first, members.count == ranks.count else { return }
    effects.append(.peerTable(PeerTable(gang: lead.name, generation: lead.attempt, members: members)))
  }

  // MARK: Ends

  /// Asks rank 0 to finish what it has; the others end with it. A replica that does not serve yet has nothing to finish.
  mutating func drainRanks(_ service: Int, _ index: Int) {
    let all = places(service, index)
    let lead = self[all[0]]
    guard lead.state == .ready, let worker = lead.worker else { return endRanks(all) }
    effects.append(.drainReplica(worker: worker, unit: lead.name, attempt: lead.attempt))
    effects.append(.replicaGone(service: services.keys[service], unit: lead.name, attempt: lead.attempt))
    for place in all {
      change(place) { [now, configuration] in
        $0.state = .draining
        $0.drainDeadline = now + configuration.drainMs
      }
    }
  }

  private mutating func endRanks(_ all: [Place]) {
    for place in all {
      stop(self[place])
      change(place) { $0.state = .ended }
    }
  }

  /// One rank has ended: so do the others, and all start again, later each time unless they had been stable.
  mutating func rankEnded(_ service: Int, _ index: Int, _ outcome: UnitOutcome) {
    let all = places(service, index)
    let ended = Place.replica(service: service, index: index)
    let lead = self[all[0]]
    guard self[ended].state != .draining else {
      for place in all where place != ended { stop(self[place]) }
      for place in all { change(place) { $0.state = .ended } }
      return
    }
    if lead.state == .ready { effects.append(.replicaGone(service: services.keys[service], unit: lead.name, attempt: lead.attempt)) }
    for place in all where place != ended { stop(self[place]) }
    var notBefore: Instant?
    // What happens to any of them is counted with the first.
    if case .lost = outcome {
      change(all[0]) { $0.losses += 1 }
    } else {
      let stable = lead.readySince.map { now - $0 >= configuration.replicaStableMs } ?? false
      let failures = stable ? 1 : lead.failures + 1
      notBefore = delay(configuration.replicaBackoff, afterAttempt: failures)
      change(all[0]) {
        $0.failures = failures
        if case .failed(let error) = outcome { $0.error = error }
      }
    }
    for place in all { change(place) { $0.requeue(notBefore: notBefore) } }
  }

  // MARK: Placement

  /// Leases all ranks of a replica, or none. Returns those that wait for room that could be made.
  mutating func placeRanks(of service: Int, lead index: Int) -> [Place] {
    let all = places(service, index)
    guard let workers = workersForRanks(of: service, self[all[0]], count: all.count) else {
      return couldHold(all.count, self[all[0]]) ? all : []
    }
    for (place, worker) in zip(all, workers) { lease(place, to: worker, beyondSlots: false) }
    return []
  }

  /// One worker for all of them when there is room, otherwise as few as possible; nil when there is not enough room.
  private func workersForRanks(of service: Int, _ unit: UnitRecord, count: Int) -> [Int]? {
    if let worker = workerForReplica(of: service, unit, count: count) { return Array(repeating: worker, count: count) }
    let load = unit.load
    let rooms = workers.indices.filter { workers[at: $0].acceptsWork && suits($0, unit.demand) }
      .map { (worker: $0, room: workers[at: $0].room.count(load, upTo: count)) }
      .sorted { ($0.room, workers.keys[$1.worker]) > ($1.room, workers.keys[$0.worker]) }
    let seats = rooms.flatMap { Array(repeating: $0.worker, count: $0.room) }
    return seats.count < count ? nil : Array(seats[..<count])
  }

  /// Whether so many would fit if nothing but replicas ran.
  private func couldHold(_ count: Int, _ unit: UnitRecord) -> Bool {
    let load = unit.load
    var room = 0
    for worker in workers.indices where workers[at: worker].acceptsWork && suits(worker, unit.demand) && room < count {
      room += workers[at: worker].idleRoom.count(load, upTo: count - room)
    }
    return room == count
  }
}

extension Scheduler.Service {
  /// All ranks of the replica that a unit belongs to, rank 0 first; of most replicas, the unit alone.
  func ranks(of unit: UnitRecord) -> [UnitRecord] { unit.ranks == nil ? [unit] : replicas.filter { $0.index == unit.index } }
}

extension UnitRecord {
  /// Whether it is the one of its replica that the router knows.
  var isLead: Bool { rank ?? 0 == 0 }
}
