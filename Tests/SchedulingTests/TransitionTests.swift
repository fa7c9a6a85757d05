// SPDX-License-Identifier: Apache-2.0

import Core
import Scheduling
import Testing

@Suite struct TransitionTests {
  /// A run of one task whose first stage has been planned as shards.
  private func running(shards: Int = 1, retries: Int = 0, workers: [String] = ["a", "b"]) throws -> Bench {
    var bench = Bench()
    for name in workers { bench.join(name) }
    bench.submit([TaskSpec(key: "t", kind: "k", maxRetries: retries)])
    let call = try #require(bench.calls.first)
    bench.send(.stagePlanned(call.id, .shards(units(shards))))
    return bench
  }

  @Test func shardsAreSpreadRunAndCommittedOnce() throws {
    var bench = try running(shards: 2)
    let assigned = bench.assignments
    #expect(assigned.count == 2)
    for one in assigned {
      bench.send(.unitFinished(worker: one.worker, unit: one.unit, attempt: one.attempt, outcome: .succeeded(1)))
    }
    let commit = try #require(bench.commits.first)
    // A repeated report and a repeated answer change nothing.
    let last = try #require(assigned.last)
    bench.send(.unitFinished(worker: last.worker, unit: last.unit, attempt: last.attempt, outcome: .succeeded(1)))
    #expect(bench.commits.isEmpty)
    bench.send(.stageCommitted(commit.id, .taskDone(values: ["x": 1])))
    #expect(bench.state("t") == .succeeded)
    bench.send(.stageCommitted(commit.id, .taskDone(values: ["x": 2])))
    #expect(bench.state("t") == nil)
  }

  /// What a shard was to do is kept until it is done, and what came out until it is committed.
  @Test func shardsThatAreDoneKeepTheirResultsOnly() throws {
    var bench = Bench()
    for name in ["a", "b"] { bench.join(name) }
    bench.submit([TaskSpec(key: "t", kind: "k")])
    try bench.plan(.shards((0..<2).map { UnitSpec(index: $0, kind: "k", payload: ["files": .integer(Int64($0))]) }))
    let assigned = bench.assignments
    #expect(assigned.map(\.payload) == [["files": 0], ["files": 1]])
    bench.finish(assigned[0], .succeeded("done"))
    #expect(bench.unit(assigned[0].unit)?.payload == .null && bench.unit(assigned[0].unit)?.result == "done")
    bench.finish(assigned[1], .failed(PlatformError(.unavailable, "the disk was away")))
    #expect(bench.unit(assigned[1].unit)?.payload == ["files": 1])
    bench.restart()
    for name in ["a", "b"] { bench.join(name, incarnation: 2) }
    let again = try #require(bench.pass(60_000, alive: ["a": [], "b": []]).assignments.first { $0.unit == assigned[1].unit })
    #expect(again.payload == ["files": 1])
  }

  @Test func aSilentWorkersShardRunsElsewhereAndItsLateResultCountsForNothing() throws {
    var bench = try running()
    let first = try #require(bench.assignments.first)
    let other = first.worker == "a" ? "b" : "a"
    let later = bench.pass(12_000, alive: [other: []])
    let second = try #require(later.assignments.first { $0.unit == first.unit && $0.worker == other })
    #expect(second.attempt > first.attempt)
    bench.send(.unitFinished(worker: first.worker, unit: first.unit, attempt: first.attempt, outcome: .succeeded(1)))
    #expect(bench.commits.isEmpty)
    bench.send(.unitFinished(worker: second.worker, unit: second.unit, attempt: second.attempt, outcome: .succeeded(2)))
    #expect(bench.commits.count == 1)
  }

  @Test func aMistakeEndsTheTaskAtOnceAndSkipsWhatFollows() throws {
    var bench = Bench()
    bench.join("a")
    bench.submit([TaskSpec(key: "t", kind: "k", maxRetries: 3), TaskSpec(key: "u", kind: "k", dependsOn: ["t"])])
    let call = try #require(bench.calls.first)
    bench.send(.stagePlanFailed(call.id, PlatformError(.invalidArgument, "no such column")))
    #expect(bench.state("t") == .failed)
    #expect(bench.state("u") == .skipped)
  }

  @Test func aGangIsPlacedWholeAndStartsAgainAsAWhole() throws {
    var bench = Bench()
    bench.join("a", slots: 1)
    bench.join("b", slots: 1)
    bench.submit([TaskSpec(key: "t", kind: "train")])
    bench.send(.stagePlanned(try #require(bench.calls.first).id, .gang(units(2))))
    let ranks = bench.assignments
    #expect(Set(ranks.map(\.worker)) == ["a", "b"])
    #expect(Set(ranks.compactMap(\.gang?.generation)).count == 1)
    for one in ranks { bench.send(.unitReady(worker: one.worker, unit: one.unit, attempt: one.attempt, address: "x", publicKey: "k")) }
    #expect(bench.effects.contains { if case .peerTable(let table) = $0 { table.members.count == 2 } else { false } })
    // One rank dies: the other is cancelled, and both come back in the next generation.
    bench.send(
      .unitFinished(worker: ranks[0].worker, unit: ranks[0].unit, attempt: ranks[0].attempt, outcome: .failed(PlatformError(.unavailable, "killed"))))
    #expect(bench.effects.contains { if case .cancelUnit(_, let unit, _) = $0 { unit == ranks[1].unit } else { false } })
    bench.send(.unitFinished(worker: ranks[1].worker, unit: ranks[1].unit, attempt: ranks[1].attempt, outcome: .cancelled))
    var again = bench.assignments
    again += bench.pass(5_000, alive: ["a": [], "b": []]).assignments
    let generation = try #require(ranks[0].gang?.generation)
    #expect(Set(again.filter { ($0.gang?.generation ?? 0) > generation }.map(\.unit)) == Set(ranks.map(\.unit)))
  }

  @Test func aGangWhoseRestartWasStoredAndNotToldWaitsUntilItsOldRanksHaveFencedThemselves() throws {
    var bench = Bench()
    for name in ["a", "b"] { bench.join(name, slots: 1) }
    bench.submit([TaskSpec(key: "t", kind: "train"), TaskSpec(key: "s", kind: "k")])
    bench.send(.stagePlanned(StageID(run: "1", task: "t", attempt: 1, stage: 0), .gang(units(2))))
    let ranks = bench.assignments
    bench.send(.unitFinished(worker: "a", unit: ranks[0].unit, attempt: 1, outcome: .failed(PlatformError(.unavailable, "killed"))))
    // The coordinator dies before it can tell the other rank to stop. Two workers come that know nothing, that one is not heard.
    bench.restart()
    bench.join("c", slots: 1)
    bench.join("d", slots: 1)
    #expect(bench.assignments.isEmpty && bench.scheduler.waitingReason(run: "1", task: "t")?.contains("last generation") == true)
    bench.send(.stagePlanned(StageID(run: "1", task: "s", attempt: 1, stage: 0), .shards(units(1))))
    #expect(bench.assignments.count == 1, "others go on")
    bench.finish(bench.assignments[0])
    let begin = bench.now
    let placed = bench.pass(8_000, alive: ["c": [], "d": []]).assignments
    #expect(Set(placed.map(\.worker)) == ["c", "d"] && placed.allSatisfy { $0.gang?.generation == 2 })
    #expect(bench.now - begin >= 5_000)
  }

  @Test func aCancelledRunEndsAndItsUnitsAreStopped() throws {
    var bench = try running()
    let one = try #require(bench.assignments.first)
    bench.send(.runCancelRequested(run: "1"))
    #expect(bench.effects.contains { if case .cancelUnit(one.worker, one.unit, one.attempt) = $0 { true } else { false } })
    bench.send(.unitFinished(worker: one.worker, unit: one.unit, attempt: one.attempt, outcome: .cancelled))
    let scheduler = bench.scheduler
    #expect(scheduler.snapshot().allSatisfy { if case .run(let run) = $0 { run.state.isTerminal } else { true } })
  }

  @Test func aServiceIsReconciledToItsSize() throws {
    var bench = Bench()
    bench.join("a")
    bench.join("b")
    var spec = ServiceSpec(name: "s", kind: "serve", payload: .null, replicas: 2)
    bench.send(.serviceSet(spec))
    let replicas = bench.assignments
    #expect(Set(replicas.map(\.worker)) == ["a", "b"], "replicas are spread")
    for one in replicas { bench.send(.unitReady(worker: one.worker, unit: one.unit, attempt: one.attempt, address: "x", publicKey: "k")) }
    spec.replicas = 1
    bench.send(.serviceSet(spec))
    let drained = bench.effects.filter { if case .drainReplica = $0 { true } else { false } }
    #expect(drained.count == 1)
    // The router hears that it drains before it hears that it goes.
    let order = bench.effects.filter { if case .replicaGone = $0 { true } else { $0 == drained.first } }
    #expect(order.count == 2 && order.first == drained.first)
  }

  @Test func restoringIssuesWhatWasUnderWayAgain() throws {
    var scheduler = Scheduler(now: 0)
    _ = scheduler.handle(.runSubmitted(RunSpec(id: "1", name: "n", tasks: [TaskSpec(key: "t", kind: "k")])), now: 1)
    let restored = Scheduler.restore(scheduler.takeChanges(), now: 2)
    #expect(restored.effects.contains { if case .planStage(let call) = $0 { call.id.task == "t" } else { false } })
    #expect(restored.scheduler.violations().isEmpty)
  }
}
