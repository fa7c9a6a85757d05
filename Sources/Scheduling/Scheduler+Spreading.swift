// SPDX-License-Identifier: Apache-2.0

import Core

/// Spreading a service again: after a restart of everything, all its replicas may be on the first worker that came back.
///
/// A move starts a replacement on the emptiest worker and drains the replaced replica when the replacement serves. It is
/// made only while the service is as wanted and quiet, one at a time, and only from a worker that has at least two replicas
/// more than the other. So each move makes the counts more even, and two workers never exchange replicas for ever.
extension Scheduler {
  /// Whether the replica was started in place of one that is still wanted.
  func isReplacement(_ unit: UnitRecord, in service: Service) -> Bool {
    guard let old = unit.replaces else { return false }
    return service.replicas.contains { $0.name == old && $0.state != .draining && !$0.state.isTerminal }
  }

  /// Leased replicas of a service, by worker.
  func replicasByWorker(_ index: Int, where counts: (UnitRecord) -> Bool = { _ in true }) -> [String: Int] {
    var found: [String: Int] = [:]
    for replica in services[at: index].replicas where replica.state.isLeased && counts(replica) { found[replica.worker ?? "", default: 0] += 1 }
    return found
  }

  /// Which replicas drain because of moves: a replaced one whose replacement serves, or a replacement that failed or came
  /// too late because the service is being changed.
  mutating func moves(of index: Int, movers: [Int], settled: Bool) -> [Int] {
    var drain: [Int] = []
    for mover in movers {
      let unit = services[at: index].replicas[mover]
      if unit.state == .ready {
        services[at: index].failedMoves = 0
        drain += services[at: index].replicas.indices.filter { services[at: index].replicas[$0].name == unit.replaces }
      } else if !settled || unit.failures > 0 {
        drain.append(mover)
        guard unit.failures > 0 else { continue }
        services[at: index].failedMoves += 1
        services[at: index].nextMove = delay(configuration.rebalanceBackoff, afterAttempt: services[at: index].failedMoves)
      }
    }
    return drain
  }

  /// The replica that should move, when the replicas are spread unevenly over workers that take everything.
  private func movable(_ index: Int) -> String? {
    let service = services[at: index]
    guard !service.record.removing, service.replicas.count == service.record.spec.replicas, service.replicas.count > 1,
      service.replicas.allSatisfy({ $0.state == .ready && $0.generation == service.record.spec.generation })
    else { return nil }
    let counts = replicasByWorker(index)
    var fullest: (name: String, count: Int)?
    var emptiest = Int.max
    let load = Load(service.record.spec.demand, isReplica: true)
    for worker in workers.indices where workers[at: worker].acceptsWork {
      guard suits(worker, service.record.spec.demand) else { continue }
      let count = counts[workers.keys[worker]] ?? 0
      if count > (fullest?.count ?? 0) { fullest = (workers.keys[worker], count) }
      if workers[at: worker].room.fits(load) { emptiest = min(emptiest, count) }
    }
    guard let fullest, emptiest < fullest.count - 1 else { return nil }
    return service.replicas.last { $0.worker == fullest.name }?.name
  }

  /// Starts one replacement when the service has been quiet for long enough.
  mutating func spread(_ index: Int) {
    guard let time = nextSpread(index), time <= now, let old = movable(index) else { return }
    addReplica(index, replacing: old)
  }

  /// When a replica may move; nil when none should.
  func nextSpread(_ index: Int) -> Instant? {
    guard services[at: index].replicas.count > 1, movable(index) != nil else { return nil }
    let quiet = services[at: index].replicas.compactMap(\.readySince).max() ?? now
    return max(quiet + configuration.rebalanceAfterMs, services[at: index].nextMove)
  }
}
