// SPDX-License-Identifier: Apache-2.0

import Core
import Scheduling
import Testing

/// Gangs that may be smaller, and spares.
@Suite struct GangTests {
  /// A gang of two on the workers a and b, with a slot each.
  private func start(_ terms: GangTerms, ranks: Int = 2, slots: Int = 1) throws -> (Bench, [Assignment]) {
    var bench = Bench()
    bench.join("a", slots: slots)
    bench.join("b", slots: slots)
    bench.submit([TaskSpec(key: "g", kind: "train")])
    try bench.plan(.gang(units(ranks), terms))
    let assignments = bench.assignments
    #expect(assignments.count == ranks)
    return (bench, assignments)
  }

  private func held(_ assignments: [Assignment], on worker: String) -> [UnitAttempt] {
    assignments.filter { $0.worker == worker }.map { UnitAttempt(unit: $0.unit, attempt: $0.attempt) }
  }

  private func finish(_ bench: inout Bench, _ ranks: [Assignment], _ outcome: UnitOutcome) -> [Assignment] {
    var placed: [Assignment] = []
    for rank in ranks {
      bench.finish(rank, outcome)
      placed += bench.assignments
    }
    return placed
  }

  private func shards(_ bench: inout Bench, _ id: String, _ count: Int, priority: Int? = nil) throws -> [Assignment] {
    bench.send(.runSubmitted(RunSpec(id: id, name: "n", tasks: [TaskSpec(key: "s", kind: "k")], priority: priority)))
    try bench.plan(.shards(units(count)))
    return bench.assignments
  }

  @Test func withoutRoomForAllItGoesOnWithFewerAfterAWhile() throws {
    var (bench, ranks) = try start(GangTerms(sizes: [1], patienceMs: 3_000))
    let left = try #require(ranks.first { $0.worker == "a" })
    bench.send(.workerLost(worker: "b", incarnation: 1))
    #expect(bench.cancelled == [left.unit])
    bench.finish(left, .cancelled)
    #expect(bench.assignments.isEmpty, "the worker may come back")
    let since = bench.now
    let at = try #require(bench.wait(upTo: 4_000) { if case .assign = $0 { true } else { false } })
    #expect(at - since >= 2_990 && at - since <= 3_000)
    #expect(bench.assignments.map(\.worker) == ["a"] && bench.assignments[0].gang?.generation == 2 && bench.assignments[0].gang?.size == 1)
    #expect(bench.task("g")?.ranks == 1)
    #expect(bench.scheduler.waitingReason(run: "1", task: "g") == "works with 1 of 2 ranks, and with more from a checkpoint on when there is room")
    // As its scheduler ends and another one goes on, too.
    let one = bench.assignments[0]
    bench.restart()
    bench.join("a", slots: 1, held: [UnitAttempt(unit: one.unit, attempt: one.attempt)])
    bench.finish(one)
    #expect(bench.commits.count == 1)
    #expect(bench.effects.contains { if case .commitStage(_, let results) = $0 { results == [1] } else { false } })
    bench.send(.stageCommitted(try #require(bench.commits.first).id, .taskDone(values: [:])))
    #expect(bench.run()?.state == .succeeded)
  }

  @Test func withAWorkerThatComesBackInTimeItHasAllRanks() throws {
    var (bench, ranks) = try start(GangTerms(sizes: [1], patienceMs: 3_000))
    bench.send(.workerLost(worker: "b", incarnation: 1))
    for one in ranks where one.worker == "a" { bench.finish(one, .cancelled) }
    bench.join("b", incarnation: 2, slots: 1)
    #expect(Set(bench.assignments.map(\.worker)) == ["a", "b"] && bench.assignments.allSatisfy { $0.gang?.size == 2 })
    #expect(bench.task("g")?.ranks == nil)
  }

  @Test func withoutTermsItWaitsForAll() throws {
    var (bench, ranks) = try start(GangTerms())
    bench.send(.workerLost(worker: "b", incarnation: 1))
    let a = try #require(ranks.first { $0.worker == "a" })
    // Both ranks share the slot that is left, as on any cluster that is too small.
    bench.finish(a, .cancelled)
    #expect(bench.assignments.map(\.worker) == ["a", "a"] && bench.assignments.allSatisfy { $0.gang?.size == 2 })
  }

  @Test func itLeavesADrainingWorkerForFewerRanks() throws {
    var (bench, ranks) = try start(GangTerms(sizes: [1], patienceMs: 60_000))
    bench.send(.workerDrain(worker: "b"))
    bench.checkpoint(ranks[0])
    let placed = finish(&bench, ranks, .cancelled)
    #expect(placed.map(\.worker) == ["a"] && placed.first?.gang?.size == 1, "and does not wait")
  }

  @Test func itGrowsAtACheckpointWhenThereIsRoomForLong() throws {
    var (bench, ranks) = try start(GangTerms(sizes: [1], patienceMs: 0))
    bench.send(.workerLost(worker: "b", incarnation: 1))
    let small = finish(&bench, ranks.filter { $0.worker == "a" }, .cancelled)
    #expect(small.count == 1)
    bench.join("b", incarnation: 2, slots: 1)
    bench.checkpoint(small[0])
    #expect(bench.effects.isEmpty, "it has only begun")
    _ = bench.pass(bench.scheduler.configuration.gangGrowAfterMs, alive: ["a": held(small, on: "a")])
    bench.join("b", incarnation: 3, slots: 1)
    // Others want the room.
    let other = try shards(&bench, "2", 2)
    #expect(other.count == 1)
    bench.checkpoint(small[0])
    #expect(bench.effects.isEmpty)
    bench.finish(other[0])
    bench.finish(bench.assignments[0])
    bench.checkpoint(small[0])
    #expect(bench.cancelled == [small[0].unit])
    bench.finish(small[0], .cancelled)
    #expect(Set(bench.assignments.map(\.worker)) == ["a", "b"] && bench.assignments.allSatisfy { $0.gang?.generation == 3 && $0.gang?.size == 2 })
    #expect(bench.task("g")?.ranks == nil)
  }

  @Test func aSmallGangThatLosesARankDoesNotWaitAgain() throws {
    var (bench, ranks) = try start(GangTerms(sizes: [2, 1], patienceMs: 60_000), ranks: 4, slots: 2)
    bench.send(.workerDrain(worker: "b"))
    bench.checkpoint(ranks[0])
    ranks = finish(&bench, ranks, .cancelled)
    #expect(ranks.map(\.worker) == ["a", "a"])
    bench.finish(ranks[0], .failed(PlatformError(.internalError, "executor ended by signal 9")))
    bench.finish(ranks[1], .cancelled)
    #expect(bench.wait(upTo: 2_000) { if case .assign(let one) = $0 { one.gang?.size == 2 } else { false } } != nil)
  }

  @Test func aSpareTakesTheRankOfALostWorkerAtOnce() throws {
    var (bench, ranks) = try start(GangTerms(spares: 1))
    bench.join("c", slots: 1)
    #expect(try shards(&bench, "2", 3).isEmpty, "the slot of c is kept")
    bench.send(.workerLost(worker: "b", incarnation: 1))
    let placed = finish(&bench, ranks.filter { $0.worker == "a" }, .cancelled)
    #expect(Set(placed.map(\.worker)) == ["a", "c"] && placed.allSatisfy { $0.gang?.generation == 2 })
    // And the next one that comes.
    bench.join("d", slots: 1)
    #expect(bench.assignments.isEmpty)
    bench.join("e", slots: 1)
    #expect(bench.assignments.count == 1 && bench.assignments[0].unit.hasPrefix("2/s/"))
  }

  @Test func aFailedRankFindsItsSlotAndTheSparesKept() throws {
    var (bench, ranks) = try start(GangTerms(spares: 1))
    bench.join("c", slots: 1)
    bench.finish(ranks[0], .failed(PlatformError(.internalError, "executor ended by signal 9")))
    bench.finish(ranks[1], .cancelled)
    #expect(bench.assignments.isEmpty, "it waits a moment")
    #expect(try shards(&bench, "2", 3).isEmpty)
    #expect(bench.wait(upTo: 2_000) { if case .assign = $0 { true } else { false } } != nil)
    #expect(bench.assignments.count == 2 && bench.assignments.allSatisfy { $0.gang?.generation == 2 })
  }

  @Test func servicesAndWhatMattersMoreTakeTheRoomOfSpares() throws {
    var (bench, _) = try start(GangTerms(spares: 1))
    bench.send(
      .workerJoined(WorkerHello(worker: "c", incarnation: 1, slots: 1, hostID: "h", memoryBytes: 8)))
    #expect(try shards(&bench, "2", 1).isEmpty)
    #expect(try shards(&bench, "3", 1, priority: 1).map(\.worker) == ["c"])
    bench.finish(bench.assignments[0])
    #expect(bench.assignments.isEmpty, "and then it is kept again")
    let spec = ServiceSpec(name: "s", kind: "serve", payload: .null, replicas: 1, demand: Demand(memoryBytes: 8))
    bench.send(.serviceSet(spec))
    #expect(bench.assignments.map(\.worker) == ["c"])
  }

  /// Each keeps room for the rank that it lacks: the older one gets it.
  @Test func twoSmallGangsDoNotKeepEachOtherSmall() throws {
    var bench = Bench()
    let names = ["a", "b", "c", "d", "s"]
    for name in names { bench.join(name, slots: 1) }
    var ranks: [[Assignment]] = []
    for id in ["1", "2"] {
      bench.submit([TaskSpec(key: "g", kind: "train")], id: id)
      try bench.plan(.gang(units(2), GangTerms(sizes: [1], patienceMs: 0, spares: 1)))
      ranks.append(bench.assignments)
    }
    try #require(ranks.allSatisfy { $0.count == 2 })
    for spare in Set(names).subtracting(ranks.joined().map(\.worker)) { bench.send(.workerLost(worker: spare, incarnation: 1)) }
    var small: [Assignment] = []
    for gang in ranks {
      bench.send(.workerLost(worker: gang[1].worker, incarnation: 1))
      small += finish(&bench, [gang[0]], .cancelled)
    }
    try #require(small.count == 2 && small.allSatisfy { $0.gang?.size == 1 })
    let alive = Dictionary(uniqueKeysWithValues: small.map { ($0.worker, held([$0], on: $0.worker)) })
    _ = bench.pass(bench.scheduler.configuration.gangGrowAfterMs, alive: alive)
    bench.join("e", slots: 1)
    bench.join("f", slots: 1)
    bench.checkpoint(small[1])
    #expect(bench.effects.isEmpty, "the older one keeps the room")
    bench.checkpoint(small[0])
    #expect(bench.cancelled == [small[0].unit])
    bench.finish(small[0], .cancelled)
    #expect(bench.assignments.map(\.unit) == ["1/g/1/0/0", "1/g/1/0/1"] && bench.assignments.allSatisfy { $0.gang?.size == 2 })
    bench.checkpoint(small[1])
    #expect(bench.effects.isEmpty, "the last slot is the older one's spare")
  }

  @Test func whatIsKeptIsGivenBackAtTheEnd() throws {
    var (bench, ranks) = try start(GangTerms(spares: 1))
    bench.join("c", slots: 1)
    _ = try shards(&bench, "2", 1)
    for rank in ranks { bench.finish(rank) }
    #expect(bench.commits.count == 1)
    #expect(bench.assignments.map(\.unit) == ["2/s/1/0/0"])
  }
}
