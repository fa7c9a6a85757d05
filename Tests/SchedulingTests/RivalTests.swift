// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Scheduling

/// Second attempts at shards that take much longer than their neighbours.
@Suite struct RivalTests {
  private let specs = (0..<4).map { UnitSpec(index: $0, kind: "k", payload: .null, repeatable: true) }

  /// Four shards on two workers, three of which took half a second; the fourth runs since then.
  private func late(_ specs: [UnitSpec]) throws -> (bench: Bench, slow: Assignment, other: String) {
    var bench = Bench()
    for name in ["a", "b"] { bench.join(name) }
    bench.submit([TaskSpec(key: "t", kind: "k")])
    try bench.plan(.shards(specs))
    let all = bench.assignments
    for one in all { bench.send(.unitStarted(worker: one.worker, unit: one.unit, attempt: one.attempt)) }
    bench.now += 500
    for one in all.dropFirst() { bench.finish(one) }
    return (bench, all[0], all[0].worker == "a" ? "b" : "a")
  }

  private func held(_ units: [Assignment]) -> [String: [UnitAttempt]] {
    units.reduce(into: ["a": [], "b": []]) { $0[$1.worker, default: []].append(UnitAttempt(unit: $1.unit, attempt: $1.attempt)) }
  }

  private func raced() throws -> (bench: Bench, slow: Assignment, rival: Assignment) {
    var (bench, slow, other) = try late(specs)
    #expect(bench.pass(3_000, alive: held([slow])).assignments.isEmpty, "it is not late yet")
    let started = bench.pass(3_000, alive: held([slow])).assignments
    let rival = try #require(started.first)
    #expect(Set(started.map(\.attempt)) == [2] && rival.unit == slow.unit && rival.worker == other)
    bench.send(.unitStarted(worker: rival.worker, unit: rival.unit, attempt: rival.attempt))
    return (bench, slow, rival)
  }

  private func isCancelled(_ one: Assignment, in bench: Bench) -> Bool {
    bench.effects.contains { if case .cancelUnit(one.worker, one.unit, one.attempt) = $0 { true } else { false } }
  }

  @Test func theSecondAttemptWinsAndTheFirstOneStops() throws {
    var (bench, slow, rival) = try raced()
    bench.finish(rival, .succeeded(7))
    #expect(isCancelled(slow, in: bench) && bench.commits.count == 1)
    let unit = try #require(bench.unit(slow.unit))
    #expect(unit.state == .succeeded && unit.result == 7 && unit.attempt == 2 && unit.worker == rival.worker && unit.rival == nil)
    bench.finish(slow, .succeeded(8))
    #expect(bench.unit(slow.unit)?.result == 7, "a result counts once")
  }

  @Test func theFirstAttemptWinsAndTheSecondOneStops() throws {
    var (bench, slow, rival) = try raced()
    bench.finish(slow, .succeeded(8))
    #expect(isCancelled(rival, in: bench) && bench.commits.count == 1)
    #expect(bench.unit(slow.unit)?.attempt == 1 && bench.unit(slow.unit)?.result == 8)
    bench.finish(rival, .succeeded(7))
    #expect(bench.unit(slow.unit)?.result == 8)
  }

  @Test func theSecondAttemptTakesThePlaceOfALostOne() throws {
    var (bench, slow, rival) = try raced()
    bench.send(.workerLost(worker: slow.worker, incarnation: 1))
    let unit = try #require(bench.unit(slow.unit))
    #expect(unit.state == .running && unit.attempt == 2 && unit.worker == rival.worker && unit.losses == 1 && bench.assignments.isEmpty)
    // There is no other second one.
    #expect(bench.pass(60_000, alive: [rival.worker: held([rival])[rival.worker]!]).assignments.isEmpty)
    bench.finish(rival, .failed(PlatformError(.internalError, "x")))
    let third = try #require(bench.pass(2_000, alive: [rival.worker: []]).assignments.first)
    #expect(third.attempt == 3)
  }

  @Test func whatBecomesOfTheSecondAttemptCountsForNothingAndItsNumberIsNotUsedAgain() throws {
    var (bench, slow, rival) = try raced()
    bench.finish(rival, .failed(PlatformError(.invalidFile, "x")))
    let unit = try #require(bench.unit(slow.unit))
    #expect(unit.state == .running && unit.attempt == 1 && unit.failures == 0 && unit.rival == nil && unit.rivalAttempt == 2)
    bench.finish(slow, .lost)
    #expect(bench.assignments.map(\.attempt) == [3])
  }

  @Test func bothStopWithTheirTask() throws {
    var (bench, slow, rival) = try raced()
    bench.send(.runCancelRequested(run: "1"))
    #expect(isCancelled(slow, in: bench) && isCancelled(rival, in: bench))
    (bench, slow, rival) = try raced()
    bench.finish(slow, .failed(PlatformError(.invalidFile, "damaged")))
    #expect(isCancelled(rival, in: bench) && bench.state("t") == .failed)
  }

  @Test func bothAreKnownAfterARestart() throws {
    var (bench, slow, rival) = try raced()
    bench.restart()
    let holds = held([slow, rival])
    for name in ["a", "b"] {
      bench.join(name, held: holds[name]!)
      #expect(bench.effects.allSatisfy { if case .cancelUnit = $0 { false } else { true } } && bench.assignments.isEmpty)
    }
    bench.finish(rival, .succeeded(7))
    #expect(bench.unit(slow.unit)?.result == 7 && isCancelled(slow, in: bench))
  }

  @Test func anAssignmentThatWasLostIsSentAgain() throws {
    var (bench, slow, rival) = try raced()
    let again = bench.pass(5_000, alive: held([slow])).assignments
    #expect(again.contains(rival) && !again.contains { $0.attempt == 1 })
  }

  @Test func anAttemptThatNeverBeginsIsLateToo() throws {
    var bench = Bench()
    for name in ["a", "b"] { bench.join(name) }
    bench.submit([TaskSpec(key: "t", kind: "k")])
    try bench.plan(.shards(specs))
    let all = bench.assignments
    for one in all.dropFirst() { bench.send(.unitStarted(worker: one.worker, unit: one.unit, attempt: one.attempt)) }
    bench.now += 500
    for one in all.dropFirst() { bench.finish(one) }
    #expect(bench.pass(7_000, alive: held([all[0]])).assignments.contains { $0.unit == all[0].unit && $0.attempt == 2 })
  }

  @Test func whatMayNotRunTwiceDoesNot() throws {
    var (bench, slow, _) = try late(units(4))
    #expect(bench.pass(600_000, alive: held([slow])).assignments.isEmpty)
  }

  @Test func nobodyRacesWhileOthersWait() throws {
    var (bench, slow, _) = try late(specs)
    bench.submit([TaskSpec(key: "t", kind: "k")], id: "2")
    try bench.plan(.shards(units(9)))
    var running = bench.assignments
    #expect(running.count == 3)
    #expect(bench.pass(20_000, alive: held(running + [slow])).assignments.isEmpty)
    // The last of them leave a slot.
    var placed: [String] = []
    while let one = running.popLast() {
      bench.finish(one)
      placed += bench.assignments.map(\.unit)
      running += bench.assignments.filter { $0.unit != slow.unit }
    }
    #expect(placed.count == 7 && placed.contains(slow.unit))
  }

  @Test func oneInTenOfAStageAtMost() throws {
    var bench = Bench()
    for name in ["a", "b"] { bench.join(name, slots: 20) }
    bench.submit([TaskSpec(key: "t", kind: "k")])
    try bench.plan(.shards((0..<30).map { UnitSpec(index: $0, kind: "k", payload: .null, repeatable: true) }))
    let all = bench.assignments
    for one in all { bench.send(.unitStarted(worker: one.worker, unit: one.unit, attempt: one.attempt)) }
    for one in all.prefix(20) { bench.finish(one) }
    let running = Array(all.dropFirst(20))
    #expect(Set(bench.pass(8_000, alive: held(running)).assignments.map(\.unit)).count == 3)
  }

  @Test func aServiceTakesTheRoomOfASecondAttemptFirst() throws {
    var bench = Bench()
    for name in ["a", "b"] {
      bench.send(.workerJoined(WorkerHello(worker: name, incarnation: 1, slots: 4, hostID: name, cpus: 4, memoryBytes: 10)))
    }
    bench.submit([TaskSpec(key: "t", kind: "k", demand: Demand(memoryBytes: 5))])
    try bench.plan(.shards(specs))
    let all = bench.assignments
    for one in all { bench.send(.unitStarted(worker: one.worker, unit: one.unit, attempt: one.attempt)) }
    bench.now += 500
    for one in all.dropFirst() { bench.finish(one) }
    let rival = try #require(bench.pass(7_000, alive: held([all[0]])).assignments.first)
    bench.send(.unitStarted(worker: rival.worker, unit: rival.unit, attempt: rival.attempt))
    bench.send(.serviceSet(ServiceSpec(name: "s", kind: "serve", payload: 1, replicas: 1, demand: Demand(memoryBytes: 8))))
    let effects = bench.pass(6_000, alive: held([all[0], rival]))
    #expect(effects.contains { if case .cancelUnit(rival.worker, rival.unit, 2) = $0 { true } else { false } })
    #expect(!effects.contains { if case .cancelUnit(_, _, 1) = $0 { true } else { false } })
    #expect(bench.unit(rival.unit)?.preemptions == nil && bench.unit(rival.unit)?.state == .running)
  }
}
