// SPDX-License-Identifier: Apache-2.0

import Core
import Scheduling
import Testing

/// Which reports prove that a worker has stopped something.
@Suite struct LeaseTests {
  private func isAssign(_ effect: Effect, _ generation: Int) -> Bool {
    if case .assign(let one) = effect { one.gang?.generation == generation } else { false }
  }

  /// A heartbeat that was sent before the worker got its rank, and arrives after the gang was stopped, says nothing about
  /// that rank: the next generation would start beside it.
  @Test func aLateHeartbeatDoesNotFreeARankThatIsStopping() throws {
    var bench = Bench()
    bench.join("a", slots: 1)
    bench.join("b", slots: 1)
    bench.submit([TaskSpec(key: "g", kind: "train")])
    try bench.plan(.gang(units(2)))
    let ranks = bench.assignments
    for one in ranks { bench.send(.unitStarted(worker: one.worker, unit: one.unit, attempt: one.attempt)) }
    bench.finish(ranks[0], .lost)
    let other = ranks[1]
    #expect(bench.effects.contains { if case .cancelUnit(other.worker, other.unit, _) = $0 { true } else { false } })
    bench.send(.workerHeartbeat(worker: other.worker, incarnation: 1, sequence: 1, held: []))
    #expect(!bench.effects.contains { isAssign($0, 2) })
    #expect(bench.effects.contains { if case .cancelUnit(other.worker, other.unit, _) = $0 { true } else { false } }, "it is told again")
    // Neither does a delayed hello.
    bench.join(other.worker, slots: 1)
    #expect(!bench.effects.contains { isAssign($0, 2) })
    // One that listed it and one after that without it do.
    bench.send(
      .workerHeartbeat(worker: other.worker, incarnation: 1, sequence: 2, held: [UnitAttempt(unit: other.unit, attempt: other.attempt)]))
    #expect(!bench.effects.contains { isAssign($0, 2) })
    bench.send(.workerHeartbeat(worker: other.worker, incarnation: 1, sequence: 3, held: []))
    #expect(bench.effects.count { isAssign($0, 2) } == 2)
  }

  /// What the worker never confirmed is released in the end, and told to stop until then.
  @Test func anAssignmentThatNeverArrivedFreesItsSlotAfterALease() throws {
    var bench = Bench()
    bench.join("a", slots: 1)
    bench.submit([TaskSpec(key: "t", kind: "k")])
    try bench.plan(.shards(units(1)))
    bench.send(.runCancelRequested(run: "1"))
    bench.submit([TaskSpec(key: "t", kind: "k")], id: "2")
    try bench.plan(.shards(units(1)))
    let early = bench.pass(4_000, alive: ["a": []])
    #expect(early.assignments.isEmpty)
    let later = bench.pass(4_000, alive: ["a": []])
    #expect(later.assignments.contains { $0.unit.hasPrefix("2/") })
  }

  /// A delayed hello can name work that ended long ago; its slot is not lost for ever.
  @Test func workThatOnlyAnOldHelloNamesIsForgotten() throws {
    var bench = Bench()
    bench.join("a", slots: 1)
    bench.join("a", slots: 1, held: [UnitAttempt(unit: "7/t/1/0/0", attempt: 1)])
    #expect(bench.effects.contains { if case .cancelUnit("a", "7/t/1/0/0", 1) = $0 { true } else { false } })
    bench.submit([TaskSpec(key: "t", kind: "k")])
    try bench.plan(.shards(units(1)))
    #expect(bench.assignments.isEmpty)
    let later = bench.pass(9_000, alive: ["a": []])
    #expect(!later.assignments.isEmpty)
  }
}
