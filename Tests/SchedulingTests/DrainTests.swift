// SPDX-License-Identifier: Apache-2.0

import Core
import Scheduling
import Testing

/// Draining and cordoning workers.
@Suite struct DrainTests {
  @Test func shardsFinishAndNothingNewStarts() throws {
    var bench = Bench()
    bench.join("a")
    bench.submit([TaskSpec(key: "t", kind: "k")])
    try bench.plan(.shards(units(4)))
    let running = bench.assignments
    #expect(running.count == 2)
    bench.send(.workerDrain(worker: "a"))
    #expect(bench.effects.isEmpty, "what runs goes on")
    bench.finish(running[0])
    #expect(bench.assignments.isEmpty)
    #expect(bench.unit(running[0].unit)?.state == .succeeded)
    bench.join("b")
    #expect(Set(bench.assignments.map(\.worker)) == ["b"])
  }

  @Test func aDrainedWorkerStaysDrainedAfterRestartsOfEverything() throws {
    var bench = Bench()
    bench.join("a")
    bench.send(.workerDrain(worker: "a"))
    bench.restart()
    bench.join("a")
    bench.submit([TaskSpec(key: "t", kind: "k")])
    try bench.plan(.shards(units(1)))
    #expect(bench.assignments.isEmpty)
    bench.send(.workerLost(worker: "a", incarnation: 1))
    bench.join("a", incarnation: 2)
    #expect(bench.assignments.isEmpty)
    bench.send(.workerUncordon(worker: "a"))
    #expect(bench.assignments.count == 1)
    bench.restart()
    #expect(!bench.scheduler.snapshot().contains { if case .worker = $0 { true } else { false } })
  }

  @Test func aCordonedWorkerKeepsItsReplicas() throws {
    var bench = Bench()
    bench.join("a")
    bench.send(.serviceSet(ServiceSpec(name: "s", kind: "serve", payload: .null, replicas: 1)))
    let replica = try #require(bench.assignments.first)
    bench.ready(replica)
    bench.send(.workerCordon(worker: "a"))
    bench.join("b")
    bench.send(.tick)
    #expect(bench.replicas(of: "s") == ["a": 1])
    bench.send(.workerDrain(worker: "a"))
    #expect(bench.assignments.map(\.worker) == ["b"])
  }

  private func gang() throws -> (Bench, [Assignment]) {
    var bench = Bench()
    bench.join("a", slots: 2)
    bench.join("b", slots: 1)
    bench.submit([TaskSpec(key: "g", kind: "train")])
    try bench.plan(.gang(units(2)))
    let ranks = bench.assignments
    for one in ranks { bench.send(.unitStarted(worker: one.worker, unit: one.unit, attempt: one.attempt)) }
    return (bench, ranks)
  }

  @Test func aGangLeavesADrainingWorkerAtItsNextCheckpoint() throws {
    var (bench, ranks) = try gang()
    bench.send(.workerDrain(worker: "b"))
    #expect(bench.effects.isEmpty, "it goes on until there is a checkpoint")
    bench.checkpoint(ranks[0])
    #expect(bench.effects.count { if case .cancelUnit = $0 { true } else { false } } == 2)
    for one in ranks { bench.finish(one, .cancelled) }
    #expect(bench.assignments.map(\.worker) == ["a", "a"])
    #expect(bench.assignments.allSatisfy { $0.gang?.generation == 2 })
    #expect(ranks.allSatisfy { bench.unit($0.unit)?.losses == 0 && bench.unit($0.unit)?.failures == 0 })
  }

  @Test func aGangThatFitsNowhereElseStays() throws {
    var (bench, ranks) = try gang()
    bench.send(.workerDrain(worker: "a"))
    bench.checkpoint(ranks[0])
    #expect(bench.effects.isEmpty)
  }

  @Test func aCheckpointWithoutADrainOrOfAnOlderGenerationChangesNothing() throws {
    var (bench, ranks) = try gang()
    bench.checkpoint(ranks[0])
    #expect(bench.effects.isEmpty)
    bench.send(.workerDrain(worker: "b"))
    bench.send(.gangCheckpointed(worker: ranks[0].worker, unit: ranks[0].unit, attempt: 0))
    bench.send(.gangCheckpointed(worker: ranks[1].worker, unit: ranks[0].unit, attempt: 1))
    bench.send(.gangCheckpointed(worker: ranks[0].worker, unit: "nobody/t/1/0/0", attempt: 1))
    #expect(bench.effects.isEmpty)
  }
}
