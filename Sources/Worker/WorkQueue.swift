// SPDX-License-Identifier: Apache-2.0

import Transport

/// Which executor does which of the short works that may wait for a slot: decisions, no processes.
///
/// As many executors as slots have such work. Each has a few more in hand than the one that it does, because the way there and back would take
/// longer than the work. When one has nothing left, it gets what another one has not begun.
struct WorkQueue {
  enum Action: Equatable {
    /// An executor is to be found, or started, for this work.
    case open(UnitAttempt)
    /// More for an executor that has work.
    case hand([UnitAttempt], to: Int)
    /// The executor is to give this back, unless it has begun it.
    case takeBack(UnitAttempt, from: Int)
    /// The executor has nothing to do and is not the queue's any more.
    case release(Int)
  }

  private struct Lane {
    /// In their order; the first one is being done.
    var works: [UnitAttempt]
    /// Takes nothing more.
    var isClosing = false
  }

  /// What an executor has in hand at most, and how little it has left when it gets more: several at once are one message.
  static let inHand = 6
  static let refill = 2

  let slots: Int
  private var waiting: [UnitAttempt] = []
  /// What is in `waiting` before this was taken.
  private var taken = 0
  private var lanes: [Int: Lane] = [:]
  private var opening: Set<UnitAttempt> = []
  private var comingBack: Set<UnitAttempt> = []

  init(slots: Int) { self.slots = slots }

  private var isEmpty: Bool { taken == waiting.count }
  private var free: Int { slots - lanes.count - opening.count }

  mutating func add(_ key: UnitAttempt) { waiting.append(key) }

  private mutating func takeFirst() -> UnitAttempt {
    defer {
      taken += 1
      if taken > 1024, taken * 2 > waiting.count {
        waiting.removeFirst(taken)
        taken = 0
      }
    }
    return waiting[taken]
  }

  /// What is to be done now; to be asked again until it is nothing.
  mutating func next() -> Action? {
    let nothingWaits = isEmpty
    if let id = lanes.filter({ $0.value.works.isEmpty && ($0.value.isClosing || nothingWaits) }).keys.min() {
      lanes[id] = nil
      return .release(id)
    }
    guard !isEmpty else { return takeBack() }
    // The one with the least work, the first of equals.
    let least = lanes.filter { !$0.value.isClosing }.min { ($0.value.works.count, $0.key) < ($1.value.works.count, $1.key) }
    if free > 0, least?.value.works.isEmpty != true {
      let key = takeFirst()
      opening.insert(key)
      return .open(key)
    }
    guard let (id, lane) = least, lane.works.count <= Self.refill else { return nil }
    // Each its share, so that none has much where there is little.
    let share = (waiting.count - taken + lanes.count - 1) / lanes.count
    let keys = (0..<max(1, min(Self.inHand - lane.works.count, share))).map { _ in takeFirst() }
    lanes[id]?.works += keys
    return .hand(keys, to: id)
  }

  private mutating func takeBack() -> Action? {
    guard free > comingBack.count, let (id, lane) = lanes.max(by: { ($0.value.works.count, $1.key) < ($1.value.works.count, $0.key) }),
      let last = lane.works.dropFirst().last, comingBack.insert(last).inserted
    else { return nil }
    return .takeBack(last, from: id)
  }

  /// Executor `lane` does `key`, as `next` asked.
  mutating func opened(_ key: UnitAttempt, as lane: Int) {
    opening.remove(key)
    lanes[lane] = Lane(works: [key])
  }

  /// No executor was found for it, or it is not wanted any more.
  mutating func dropped(_ key: UnitAttempt) {
    opening.remove(key)
    if let position = waiting[taken...].firstIndex(of: key) { waiting.remove(at: position) }
  }

  /// Whether it waits here for an executor.
  func isWaiting(_ key: UnitAttempt) -> Bool { waiting[taken...].contains(key) }

  /// A work of this executor has ended.
  /// - Parameter isBack: it was not begun, and is still wanted.
  /// - Returns: true when it waits again.
  mutating func ended(_ key: UnitAttempt, in id: Int, isBack: Bool) -> Bool {
    guard let position = lanes[id]?.works.firstIndex(of: key) else { return false }
    lanes[id]?.works.remove(at: position)
    comingBack.remove(key)
    guard isBack else { return false }
    waiting.append(key)
    return true
  }

  /// It gets nothing more.
  mutating func close(_ id: Int) { lanes[id]?.isClosing = true }

  /// The executor has ended. What it had in hand behind its first work waits again, before everything else.
  /// - Returns: what it was doing.
  mutating func lost(_ id: Int) -> UnitAttempt? {
    guard let lane = lanes.removeValue(forKey: id) else { return nil }
    comingBack.subtract(lane.works)
    waiting.insert(contentsOf: lane.works.dropFirst(), at: taken)
    return lane.works.first
  }
}
