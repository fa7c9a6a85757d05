// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Scheduling

/// Replicas that find no room take that of work which may be stopped for them.
@Suite struct PreemptionTests {
  private func join(_ bench: inout Bench, _ name: String, held: [UnitAttempt] = []) {
    bench.send(.workerJoined(WorkerHello(worker: name, incarnation: 1, slots: 4, hostID: name, held: held, cpus: 4, memoryBytes: 10)))
  }

  @discardableResult
  private func start(
    _ bench: inout Bench, _ id: String, memory: Int64, _ count: Int = 1, repeatable: Bool = true, preemptible: Bool? = nil, priority: Int? = nil
  ) -> [Assignment] {
    let task = TaskSpec(key: "t", kind: "k", demand: Demand(memoryBytes: memory), preemptible: preemptible)
    bench.send(.runSubmitted(RunSpec(id: id, name: "n", tasks: [task], priority: priority)))
    let specs = (0..<count).map { UnitSpec(index: $0, kind: "k", payload: .null, repeatable: repeatable) }
    bench.send(.stagePlanned(StageID(run: id, task: "t", attempt: 1, stage: 0), .shards(specs)))
    for one in bench.assignments { bench.send(.unitStarted(worker: one.worker, unit: one.unit, attempt: one.attempt)) }
    return (0..<count).compactMap { bench.unit("\(id)/t/1/0/\($0)") }.filter { $0.state.isLeased }.map(\.assigned)
  }

  private func serve(_ bench: inout Bench, memory: Int64, replicas: Int = 1, priority: Int? = nil) {
    bench.send(
      .serviceSet(ServiceSpec(name: "s", kind: "serve", payload: 1, replicas: replicas, demand: Demand(memoryBytes: memory), priority: priority)))
  }

  private func held(_ units: [Assignment]) -> [String: [UnitAttempt]] {
    units.reduce(into: [:]) { $0[$1.worker, default: []].append(UnitAttempt(unit: $1.unit, attempt: $1.attempt)) }
  }

  private func cancelled(_ effects: [Effect]) -> Set<String> {
    Set(effects.compactMap { if case .cancelUnit(_, let unit, _) = $0 { unit } else { nil } })
  }

  @Test func theYoungestShardMakesRoomAndIsRunAgain() throws {
    var bench = Bench()
    for name in ["a", "b"] { join(&bench, name) }
    let old = try #require(start(&bench, "1", memory: 8).first)
    _ = bench.pass(3_000, alive: ["a": held([old])["a"] ?? [], "b": []])
    let young = try #require(start(&bench, "2", memory: 8).first)
    serve(&bench, memory: 6)
    #expect(bench.effects.isEmpty, "it may end by itself")
    let running = held([old, young])
    let effects = bench.pass(6_000, alive: running)
    #expect(cancelled(effects) == [young.unit] && effects.assignments.isEmpty)
    #expect(bench.unit(young.unit)?.state == .running, "it counts until it has stopped")
    #expect(bench.scheduler.waitingReason(run: "2", task: "t") == nil)
    // Other work does not take the room.
    start(&bench, "3", memory: 2)
    #expect(bench.unit("3/t/1/0/0")?.worker == old.worker)
    bench.finish(young, .cancelled)
    #expect(bench.assignments.map(\.unit) == ["service/s/0"] && bench.assignments[0].worker == young.worker)
    let unit = try #require(bench.unit(young.unit))
    #expect(unit.state == .waiting && unit.failures == 0 && unit.losses == 0 && unit.preemptions == 1 && unit.error == nil)
    #expect(
      bench.scheduler.waitingReason(run: "2", task: "t") == "1 of 1 units were stopped to make room for service 's', and wait for room")
    bench.finish(old)
    #expect(bench.assignments.map(\.unit) == [young.unit] && bench.assignments[0].attempt == 2)
    #expect(bench.unit(young.unit)?.preemptedBy == nil)
    bench.finish(bench.assignments[0])
    #expect(bench.run("2")?.state == .running && !bench.commits.isEmpty)
  }

  @Test func onlyAsMuchStopsAsItTakes() throws {
    var bench = Bench()
    join(&bench, "a")
    let first = start(&bench, "1", memory: 2, 2)
    _ = bench.pass(1_000, alive: held(first))
    let large = start(&bench, "2", memory: 4)
    _ = bench.pass(1_000, alive: held(first + large))
    let small = start(&bench, "3", memory: 2)
    serve(&bench, memory: 4)
    // The two youngest would do, and the larger of them alone does too.
    #expect(cancelled(bench.pass(6_000, alive: held(first + large + small))) == [large[0].unit])
  }

  @Test func nothingStopsInVain() throws {
    var bench = Bench()
    join(&bench, "a")
    let small = start(&bench, "1", memory: 2)
    let program = start(&bench, "2", memory: 6, repeatable: false)
    serve(&bench, memory: 5)
    #expect(cancelled(bench.pass(200_000, alive: held(small + program))).isEmpty, "the program stays, and without its room that of the shard is not enough")
    bench.finish(program[0])
    #expect(bench.assignments.map(\.unit) == ["service/s/0"])
  }

  @Test(arguments: [
    (repeatable: true, preemptible: Bool?.none, priority: 0, service: Int?.none, stops: true),
    (true, nil, 1, nil, false), (true, nil, 1, 1, true), (true, nil, 0, -1, false),
    (true, false, 0, nil, false), (false, true, 0, nil, true), (false, nil, -100, 100, false),
  ])
  func whatMayStop(_ one: (repeatable: Bool, preemptible: Bool?, priority: Int, service: Int?, stops: Bool)) {
    var bench = Bench()
    join(&bench, "a")
    let work = start(&bench, "1", memory: 8, repeatable: one.repeatable, preemptible: one.preemptible, priority: one.priority)
    serve(&bench, memory: 6, priority: one.service)
    #expect(cancelled(bench.pass(7_000, alive: held(work))).isEmpty != one.stops)
  }

  @Test func aShardThatSucceedsBeforeItStopsCounts() throws {
    var bench = Bench()
    join(&bench, "a")
    let work = start(&bench, "1", memory: 8)
    serve(&bench, memory: 6)
    _ = bench.pass(6_000, alive: held(work))
    #expect(bench.unit(work[0].unit)?.preemptedBy == "s")
    bench.finish(work[0])
    #expect(bench.unit(work[0].unit)?.state == .succeeded && bench.assignments.map(\.unit) == ["service/s/0"])
  }

  @Test func whatStopsIsToldAgainAfterARestartAndRunsOnceOnly() throws {
    var bench = Bench()
    for name in ["a", "b"] { join(&bench, name) }
    let work = start(&bench, "1", memory: 9) + start(&bench, "2", memory: 9)
    serve(&bench, memory: 6)
    let stopped = try #require(cancelled(bench.pass(6_000, alive: held(work))).first)
    let one = try #require(work.first { $0.unit == stopped })
    bench.restart()
    #expect(bench.assignments.isEmpty)
    for name in ["a", "b"] {
      join(&bench, name, held: held(work)[name] ?? [])
      #expect(bench.assignments.isEmpty, "not while it may still run")
    }
    bench.beats = ["a": 100, "b": 100]
    let again = bench.pass(1_000, alive: held(work))
    #expect(cancelled(again) == [stopped])
    bench.finish(one, .cancelled)
    #expect(bench.assignments.map(\.unit) == ["service/s/0"])
    #expect(bench.unit(stopped)?.losses == 0)
  }

  @Test func anAssignmentThatNeverArrivedIsGivenUpAndNotSentAgain() throws {
    var bench = Bench()
    join(&bench, "a")
    bench.send(.runSubmitted(RunSpec(id: "1", name: "n", tasks: [TaskSpec(key: "t", kind: "k", demand: Demand(memoryBytes: 8))])))
    bench.send(
      .stagePlanned(StageID(run: "1", task: "t", attempt: 1, stage: 0), .shards([UnitSpec(index: 0, kind: "k", payload: .null, repeatable: true)])))
    serve(&bench, memory: 6)
    let effects = bench.pass(20_000, alive: ["a": []])
    #expect(effects.assignments.contains { $0.unit == "service/s/0" })
    #expect(bench.unit("1/t/1/0/0")?.losses == 0 && bench.unit("1/t/1/0/0")?.preemptions == 1)
  }

  @Test func aServiceThatKeepsFailingStopsOthersLessAndLess() throws {
    var bench = Bench()
    join(&bench, "a")
    var times: [Instant] = []
    var work = start(&bench, "1", memory: 8)
    serve(&bench, memory: 6)
    for _ in 0..<3 {
      let effects = bench.pass(300_000, alive: held(work))
      guard !cancelled(effects).isEmpty else { break }
      times.append(bench.now)
      bench.finish(work[0], .cancelled)
      let replica = try #require(bench.assignments.first)
      #expect(replica.service == "s")
      bench.finish(replica, .failed(PlatformError(.internalError, "crashed")))
      // While the replica backs off, the shard runs again.
      work = bench.assignments
      #expect(work.map(\.unit) == ["1/t/1/0/0"])
      bench.send(.unitStarted(worker: "a", unit: work[0].unit, attempt: work[0].attempt))
    }
    #expect(times.count == 3)
    #expect(cancelled(bench.pass(700_000, alive: held(work))).isEmpty, "three times is enough")
  }

  private func train(_ bench: inout Bench, ranks: Int, memory: Int64) -> [Assignment] {
    bench.send(.runSubmitted(RunSpec(id: "g", name: "n", tasks: [TaskSpec(key: "t", kind: "train", demand: Demand(memoryBytes: memory))])))
    bench.send(.stagePlanned(StageID(run: "g", task: "t", attempt: 1, stage: 0), .gang(units(ranks))))
    let gang = bench.assignments
    for one in gang { bench.send(.unitStarted(worker: one.worker, unit: one.unit, attempt: one.attempt)) }
    return gang
  }

  @Test func aGangMakesRoomAtItsNextCheckpoint() throws {
    var bench = Bench()
    for name in ["a", "b"] { join(&bench, name) }
    let gang = train(&bench, ranks: 2, memory: 8)
    serve(&bench, memory: 6)
    #expect(cancelled(bench.pass(6_000, alive: held(gang))).isEmpty)
    bench.checkpoint(gang[1])
    #expect(Set(bench.cancelled) == Set(gang.map(\.unit)))
    let first = try #require(bench.unit(gang[0].unit))
    #expect(first.state == .waiting && first.preemptions == 1 && first.preemptedBy == "s")
    var placed: [Assignment] = []
    for one in gang {
      bench.finish(one, .cancelled)
      placed += bench.assignments
    }
    #expect(placed.map(\.unit) == ["service/s/0"])
    #expect(gang.allSatisfy { bench.unit($0.unit)?.losses == 0 && bench.unit($0.unit)?.failures == 0 })
    // It goes on when there is room again.
    join(&bench, "c")
    #expect(bench.assignments.map(\.gang?.generation) == [2, 2])
  }

  @Test func aGangWithoutCheckpointsMakesRoomAfterALongWait() {
    var bench = Bench()
    for name in ["a", "b"] { join(&bench, name) }
    let gang = train(&bench, ranks: 2, memory: 8)
    serve(&bench, memory: 6)
    #expect(cancelled(bench.pass(110_000, alive: held(gang))).isEmpty)
    #expect(cancelled(bench.pass(20_000, alive: held(gang))) == Set(gang.map(\.unit)))
  }

  @Test func shardsMakeRoomBeforeGangs() {
    var bench = Bench()
    for name in ["a", "b"] { join(&bench, name) }
    let gang = train(&bench, ranks: 1, memory: 8)
    let shard = start(&bench, "1", memory: 8)
    serve(&bench, memory: 6)
    #expect(cancelled(bench.pass(130_000, alive: held(gang + shard))) == [shard[0].unit])
  }

  @Test func twoReplicasThatFindNoRoomAreOneDecision() {
    var bench = Bench()
    for name in ["a", "b"] { join(&bench, name) }
    let work = start(&bench, "1", memory: 8, 2)
    serve(&bench, memory: 6, replicas: 2)
    #expect(cancelled(bench.pass(6_000, alive: held(work))) == Set(work.map(\.unit)))
  }

  @Test func theRunThatDeploysGivesItsPriority() throws {
    var bench = Bench()
    join(&bench, "a")
    bench.send(.runSubmitted(RunSpec(id: "1", name: "n", tasks: [TaskSpec(key: "d", kind: "deploy")], priority: 7)))
    try bench.plan(.service(ServiceSpec(name: "s", kind: "serve", payload: 1, replicas: 1)))
    guard case .service(let service)? = bench.stored["service:s"] else { throw PlatformError(.notFound, "no service") }
    #expect(service.spec.priority == 7)
    bench.send(.serviceSet(ServiceSpec(name: "s", kind: "serve", payload: 1, replicas: 2)))
    guard case .service(let scaled)? = bench.stored["service:s"] else { throw PlatformError(.notFound, "no service") }
    #expect(scaled.spec.priority == 7)
  }
}
