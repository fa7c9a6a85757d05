// SPDX-License-Identifier: Apache-2.0

import Scheduling

/// What will happen, by time and then in the order of scheduling. A binary heap of small entries; the actions, which are
/// large, stay where they were put.
struct EventQueue<Action> {
  private struct Entry {
    var time: Instant
    var sequence: Int
    var slot: Int

    func isBefore(_ other: Entry) -> Bool { time != other.time ? time < other.time : sequence < other.sequence }
  }

  private var heap: [Entry] = []
  private var actions: [Action?] = []
  private var freeSlots: [Int] = []
  private var nextSequence = 0

  func contains(where matches: (Action) -> Bool) -> Bool { actions.contains { $0.map(matches) ?? false } }

  mutating func add(_ action: Action, at time: Instant) {
    nextSequence += 1
    let slot: Int
    if let free = freeSlots.popLast() {
      slot = free
      actions[slot] = action
    } else {
      slot = actions.count
      actions.append(action)
    }
    heap.append(Entry(time: time, sequence: nextSequence, slot: slot))
    var child = heap.count - 1
    while child > 0, heap[child].isBefore(heap[(child - 1) / 2]) {
      heap.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  mutating func pop() -> (time: Instant, action: Action)? {
    guard let first = heap.first, let last = heap.popLast() else { return nil }
    if !heap.isEmpty {
      heap[0] = last
      var parent = 0
      while true {
        var least = parent
        for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && heap[child].isBefore(heap[least]) { least = child }
        if least == parent { break }
        heap.swapAt(parent, least)
        parent = least
      }
    }
    guard let action = actions[first.slot] else { return nil }
    actions[first.slot] = nil
    freeSlots.append(first.slot)
    return (first.time, action)
  }
}
