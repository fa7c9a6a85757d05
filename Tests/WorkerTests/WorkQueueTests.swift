// SPDX-License-Identifier: Apache-2.0

import Core
import Testing
import Transport

@testable import Worker

@Suite struct WorkQueueTests {
  private static func key(_ number: Int) -> UnitAttempt { UnitAttempt(unit: "u\(number)", attempt: 1) }

  /// Performs what the queue asks, with executors that are made of numbers.
  private struct Bench {
    var queue: WorkQueue
    var lanes: [Int: [UnitAttempt]] = [:]
    var released: [Int] = []
    var asked: [UnitAttempt] = []
    private var last = 0

    init(slots: Int) { queue = WorkQueue(slots: slots) }

    mutating func act() {
      while let action = queue.next() {
        switch action {
        case .open(let key):
          last += 1
          queue.opened(key, as: last)
          lanes[last] = [key]
        case .hand(let keys, let id): lanes[id]! += keys
        case .takeBack(let key, _): asked.append(key)
        case .release(let id):
          #expect(lanes[id] == [])
          lanes[id] = nil
          released.append(id)
        }
      }
    }

    mutating func end(_ id: Int) -> UnitAttempt {
      let key = lanes[id]!.removeFirst()
      let isBack = queue.ended(key, in: id, isBack: false)
      #expect(!isBack)
      return key
    }
  }

  @Test func executorsFillBeforeAnyHasTwo() {
    var bench = Bench(slots: 3)
    for number in 0..<2 { bench.queue.add(Self.key(number)) }
    bench.act()
    #expect(bench.lanes == [1: [Self.key(0)], 2: [Self.key(1)]])
    for number in 2..<5 { bench.queue.add(Self.key(number)) }
    bench.act()
    #expect(bench.lanes.values.map(\.count).sorted() == [1, 2, 2])
  }

  @Test func noExecutorHasMoreInHandThanItsLimit() {
    var bench = Bench(slots: 2)
    for number in 0..<40 { bench.queue.add(Self.key(number)) }
    bench.act()
    #expect(bench.lanes.values.allSatisfy { $0.count <= WorkQueue.inHand && $0.count > 1 })
    #expect(bench.queue.isWaiting(Self.key(39)))
  }

  @Test func whatAnIdleExecutorCouldDoIsTakenBack() {
    var bench = Bench(slots: 2)
    for number in 0..<6 { bench.queue.add(Self.key(number)) }
    bench.act()
    while !bench.lanes[1, default: []].isEmpty {
      _ = bench.end(1)
      bench.act()
    }
    #expect(bench.released == [1])
    let back = bench.lanes[2]!.last!
    #expect(bench.asked == [back])
    bench.lanes[2]!.removeLast()
    let isBack = bench.queue.ended(back, in: 2, isBack: true)
    #expect(isBack)
    bench.act()
    #expect(bench.lanes[3] == [back])
  }

  @Test func whatHadBegunIsNotBack() {
    var bench = Bench(slots: 2)
    for number in 0..<4 { bench.queue.add(Self.key(number)) }
    bench.act()
    while !bench.lanes[1, default: []].isEmpty {
      _ = bench.end(1)
      bench.act()
    }
    let asked = bench.asked[0]
    // It was done before the request came.
    bench.lanes[2]!.removeAll { $0 == asked }
    let isBack = bench.queue.ended(asked, in: 2, isBack: false)
    #expect(!isBack)
    bench.act()
    #expect(bench.lanes[3] == nil)
  }

  @Test func ofAnExecutorThatEndsOnlyTheFirstWorkIsLost() {
    var bench = Bench(slots: 1)
    for number in 0..<4 { bench.queue.add(Self.key(number)) }
    bench.act()
    #expect(bench.lanes[1]!.count == 4)
    let lost = bench.queue.lost(1)
    #expect(lost == Self.key(0))
    bench.lanes[1] = nil
    bench.act()
    #expect(bench.lanes[2] == [1, 2, 3].map(Self.key))
  }

  @Test func anExecutorThatClosesGetsNothingMore() {
    var bench = Bench(slots: 1)
    bench.queue.add(Self.key(0))
    bench.act()
    bench.queue.close(1)
    bench.queue.add(Self.key(1))
    bench.act()
    #expect(bench.lanes[1] == [Self.key(0)])
    _ = bench.end(1)
    bench.act()
    #expect(bench.released == [1])
    #expect(bench.lanes[2] == [Self.key(1)])
  }

  /// An executor whose first work was cancelled begins nothing else.
  @Test func whatAnExecutorReturnsUnaskedWaitsAgain() {
    var bench = Bench(slots: 1)
    for number in 0..<3 { bench.queue.add(Self.key(number)) }
    bench.act()
    bench.queue.close(1)
    _ = bench.end(1)
    for key in bench.lanes[1]! {
      let isBack = bench.queue.ended(key, in: 1, isBack: true)
      #expect(isBack)
    }
    bench.lanes[1] = []
    bench.act()
    #expect(bench.lanes == [2: [Self.key(1), Self.key(2)]])
  }

  /// Every work is done once, whatever the order in which executors finish, end or give back.
  @Test func nothingIsLostOrDoneTwice() {
    for seed in 0..<300 as Range<UInt64> {
      var generator = SplitMix64(seed: seed)
      var bench = Bench(slots: 1 + Int(generator.next() % 4))
      var done: [UnitAttempt: Int] = [:]
      var added = 0
      for _ in 0..<2000 where added < 60 || !bench.lanes.isEmpty {
        let busy = bench.lanes.filter { !$0.value.isEmpty }.keys.sorted()
        switch generator.next() % 8 {
        case 0, 1:
          for _ in 0..<(generator.next() % 9) where added < 60 {
            bench.queue.add(Self.key(added))
            added += 1
          }
        case 2 where !bench.asked.isEmpty:
          let key = bench.asked.removeFirst()
          for (id, works) in bench.lanes where works.dropFirst().contains(key) {
            bench.lanes[id]!.removeAll { $0 == key }
            let isBack = bench.queue.ended(key, in: id, isBack: true)
            #expect(isBack)
          }
        case 3 where !busy.isEmpty && generator.next() % 8 == 0:
          let id = busy[Int(generator.next() % UInt64(busy.count))]
          let first = bench.queue.lost(id)
          #expect(first == bench.lanes[id]!.first)
          done[first!, default: 0] += 1
          let gone = bench.lanes.removeValue(forKey: id)!
          bench.asked.removeAll { gone.contains($0) }
        case 4 where !busy.isEmpty && generator.next() % 8 == 0: bench.queue.close(busy[0])
        default:
          if !busy.isEmpty { done[bench.end(busy[Int(generator.next() % UInt64(busy.count))]), default: 0] += 1 }
        }
        bench.act()
        #expect(bench.lanes.count <= bench.queue.slots)
      }
      #expect(done.count == 60 && done.values.allSatisfy { $0 == 1 }, "seed \(seed)")
    }
  }
}
