// SPDX-License-Identifier: Apache-2.0

import Core

/// Shards that read the same data go to the same worker, which has copies of it.
///
/// Which one that is, each pair of a worker and an affinity decides for itself (the highest hash wins, "rendezvous"): nothing is stored, and
/// when workers come and go only what was theirs moves. While that worker has no room, the stage's other shards go first, then it waits a
/// short time in which others may have the free slots, then any worker will do ("delay scheduling").
extension Scheduler {
  /// The first of the waiting shards whose worker has room, and that worker; none when shards of the task may run anywhere.
  mutating func home(_ run: Int, _ task: Int, first: Int, _ kept: Set<Int>) -> (unit: Int, worker: Int)? {
    guard runs[run].tasks[task].units[first].affinity != nil else { return nil }
    let names = workers.keys.map { Self.hash($0) }
    let load = runs[run].tasks[task].units[first].load
    for index in runs[run].tasks[task].waitingUnits(upTo: configuration.affinityWindow, now: now) {
      guard let worker = home(of: runs[run].tasks[task].units[index], names), !kept.contains(worker), openRoom(worker).fits(load)
      else { continue }
      runs[run].tasks[task].homelessSince = nil
      return (index, worker)
    }
    return nil
  }

  /// Whether the task leaves what is free to others for a while.
  mutating func waitsForHome(_ run: Int, _ task: Int, _ unit: Int, _ kept: Set<Int>) -> Bool {
    let record = runs[run].tasks[task].units[unit]
    guard record.affinity != nil, freestWorker(for: record, kept) != nil else { return false }
    let since = runs[run].tasks[task].homelessSince ?? now
    runs[run].tasks[task].homelessSince = since
    guard now < since + configuration.affinityWaitMs else { return false }
    homesAt = min(homesAt ?? .max, since + configuration.affinityWaitMs)
    return true
  }

  private func home(of unit: UnitRecord, _ names: [UInt64]) -> Int? {
    guard let affinity = unit.affinity else { return nil }
    var best: (worker: Int, weight: UInt64)?
    for worker in workers.indices where workers[at: worker].acceptsWork && suits(worker, unit.demand) {
      let weight = Self.mix(names[worker] ^ Self.mix(UInt64(bitPattern: affinity)))
      if weight >= best?.weight ?? 0 { best = (worker, weight) }
    }
    return best?.worker
  }

  /// FNV-1a: the same in every process, unlike `Hasher`.
  public static func hash(_ text: String) -> UInt64 { text.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 } }

  /// The finaliser of SplitMix64.
  private static func mix(_ value: UInt64) -> UInt64 {
    var z = value &+ 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

extension Scheduler.Task {
  /// The first units that may be placed now; those that wait again come first.
  func waitingUnits(upTo limit: Int, now: Instant) -> [Int] {
    var found: [Int] = []
    for index in returned where units[index].notBefore ?? now <= now {
      guard found.count < limit else { return found }
      found.append(index)
    }
    var index = cursor
    while index < units.count, found.count < limit {
      if units[index].state == .waiting, units[index].attempt == 0 { found.append(index) }
      index += 1
    }
    return found
  }
}
