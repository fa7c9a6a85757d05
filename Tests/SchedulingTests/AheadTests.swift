// SPDX-License-Identifier: Apache-2.0

import Core
import Scheduling
import Testing

/// Shards that wait on their worker for a slot.
@Suite struct AheadTests {
  /// A stage of so many shards on one worker of one slot, of which four have ended after a moment.
  private func begun(_ count: Int, repeatable: Bool = true, took: Int64 = 5) throws -> Bench {
    var bench = Bench()
    bench.join("a", slots: 1)
    bench.submit([TaskSpec(key: "t", kind: "k")])
    try bench.plan(.shards((0..<count).map { UnitSpec(index: $0, kind: "k", payload: .null, repeatable: repeatable) }))
    for _ in 0..<4 {
      let one = try #require(bench.assignments.first)
      #expect(bench.assignments.count == 1)
      bench.now += took
      bench.finish(one)
    }
    return bench
  }

  @Test func shortOnesFollowOnTheirWorker() throws {
    var bench = try begun(30)
    // One takes the slot; of about 50 ms of work, eight are the most.
    #expect(bench.assignments.count == 9)
    let given = bench.assignments
    bench.finish(given[0])
    #expect(bench.assignments.count == 1)
  }

  @Test func longOnesAndProgramsDoNot() throws {
    #expect(try begun(30, took: 60).assignments.count == 1)
    #expect(try begun(30, repeatable: false).assignments.count == 1)
  }

  /// 20 ms each: two for each slot.
  @Test func asManyAsTheirTimeAllows() throws { #expect(try begun(30, took: 19).assignments.count == 3) }

  @Test func whatWaitsForLongGoesWhereASlotIsFree() throws {
    var bench = try begun(7)
    let waiting = bench.assignments
    #expect(waiting.map(\.mayWait) == [true, true, true])
    bench.join("b", slots: 1)
    #expect(bench.assignments.isEmpty)
    bench.send(.unitStarted(worker: "a", unit: waiting[0].unit, attempt: waiting[0].attempt))
    bench.now += 600
    bench.send(.tick)
    #expect(bench.assignments.map(\.worker) == ["b"])
    let moved = try #require(bench.assignments.first)
    #expect(bench.effects.contains { if case .cancelUnit("a", moved.unit, _) = $0 { true } else { false } })
    #expect(bench.unit(moved.unit)?.losses == 0)
    // What its first worker still says of it counts for nothing.
    let old = try #require(waiting.first { $0.unit == moved.unit })
    bench.finish(old)
    #expect(bench.unit(moved.unit)?.state == .assigned)
  }

  @Test func theyDieWithTheirWorker() throws {
    var bench = try begun(9)
    let given = Set(bench.assignments.map(\.unit))
    #expect(given.count == 5)
    bench.join("b", slots: 8)
    bench.send(.workerLost(worker: "a", incarnation: 1))
    #expect(Set(bench.assignments.map(\.unit)) == given)
    #expect(bench.assignments.allSatisfy { $0.worker == "b" && $0.attempt > 1 })
  }
}
