// SPDX-License-Identifier: Apache-2.0

import Core

/// Work that waits on its worker for a slot: what is done in a moment would otherwise spend most of its time on the way.
///
/// Only repeatable shards that ask for nothing but a slot, of stages whose shards have been short so far. They take no slot here; their worker
/// begins them as its slots become free. What has waited for long while another worker has a free slot is given to that one.
extension Scheduler {
  /// How many units of a stage may wait on a worker for each of its slots.
  private func aheadPerSlot(_ task: Task) -> Int {
    guard task.durations.count >= configuration.aheadSamples else { return 0 }
    return min(configuration.aheadLimit, Int(configuration.aheadMs / max(1, task.durations[task.durations.count / 2])))
  }

  /// The worker on which the fewest units wait for each slot, the first of equals; nil when none may wait anywhere.
  func workerAhead(of unit: UnitRecord, in task: Task, _ kept: Set<Int>) -> Int? {
    guard unit.mayWait else { return nil }
    let perSlot = aheadPerSlot(task)
    var best: Int?
    // Where a slot is kept for a spare, the worker would give it to what waits.
    for index in workers.indices where workers[at: index].acceptsWork && !kept.contains(index) && spareLoads[index] == nil {
      let worker = workers[at: index]
      guard worker.ahead < perSlot * worker.room.slots else { continue }
      // The smaller of two fractions, by their crosswise products.
      if let other = best.map({ workers[at: $0] }), worker.ahead * other.room.slots >= other.ahead * worker.room.slots { continue }
      best = index
    }
    return best
  }

  /// Nothing else waits for the slots that are free.
  mutating func takeBack(_ kept: Set<Int>) {
    for index in workers.indices where workers[at: index].ahead > 0 {
      for lease in workers[at: index].leases.values where lease.waits && lease.active && lease.startedAt == nil {
        let due = lease.since + configuration.aheadPatienceMs
        guard due <= now else {
          aheadUntil = min(aheadUntil ?? .max, due)
          continue
        }
        guard let place = find(lease.key.unit), self[place].attempt == lease.key.attempt, self[place].rival == nil,
          let free = freestWorker(for: self[place], kept.union([index]))
        else { continue }
        stop(lease.key, on: workers.keys[index])
        change(place) { $0.requeue(notBefore: nil) }
        self.lease(place, to: free, beyondSlots: false)
      }
    }
  }
}

extension UnitRecord {
  /// Whether it may wait on its worker for a slot.
  var mayWait: Bool { repeatable == true && load == .slot && demand == nil }
}
