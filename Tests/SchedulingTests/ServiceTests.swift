// SPDX-License-Identifier: Apache-2.0

import Core
import Scheduling
import Testing

/// Services on four simulated executors that obey: they start what is assigned and end what is drained.
private struct Fleet {
  var bench = Bench()
  var held: [String: Set<UnitAttempt>] = [:]
  /// Drained replicas, in order.
  var drained: [String] = []
  /// The least number of ready replicas that was seen since it was set.
  var least = Int.max
  var startsReady = true

  mutating func join(_ names: [String]) {
    for name in names {
      held[name] = []
      bench.join(name)
      obey(bench.effects)
    }
  }

  mutating func send(_ event: Event) {
    bench.send(event)
    obey(bench.effects)
  }

  mutating func obey(_ effects: [Effect]) {
    for effect in effects {
      switch effect {
      case .assign(let one):
        guard held[one.worker]?.insert(UnitAttempt(unit: one.unit, attempt: one.attempt)).inserted == true, startsReady else { continue }
        bench.ready(one)
        obey(bench.effects)
      case .drainReplica(let worker, let unit, let attempt), .cancelUnit(let worker, let unit, let attempt):
        if case .drainReplica = effect { drained.append(unit) }
        guard held[worker]?.remove(UnitAttempt(unit: unit, attempt: attempt)) != nil else { continue }
        send(.unitFinished(worker: worker, unit: unit, attempt: attempt, outcome: .cancelled))
      default: break
      }
    }
    least = min(least, bench.replicas(of: "s").values.reduce(0, +))
  }

  mutating func pass(_ milliseconds: Int64) {
    let end = bench.now + milliseconds
    while bench.now < end {
      let found = bench.pass(500, alive: held.mapValues { $0.sorted() })
      obey(found)
    }
  }
}

@Suite struct ServiceTests {
  private func spec(_ payload: JSONValue, _ replicas: Int) -> ServiceSpec { ServiceSpec(name: "s", kind: "serve", payload: payload, replicas: replicas) }

  @Test(arguments: [1, 2, 3, 5]) func aChangeRollsAndNeverServesWithFewerThanOneLess(replicas: Int) {
    var fleet = Fleet()
    fleet.join(["a", "b", "c"])
    fleet.send(.serviceSet(spec(1, replicas)))
    fleet.pass(1_000)
    #expect(fleet.bench.replicas(of: "s").values.reduce(0, +) == replicas)
    fleet.least = Int.max
    fleet.send(.serviceSet(spec(2, replicas)))
    fleet.pass(40_000)
    #expect(fleet.least >= max(1, replicas - 1))
    for case .unit(let unit) in fleet.bench.stored.values where unit.state == .ready { #expect(unit.generation == 2) }
    #expect(fleet.bench.replicas(of: "s").values.reduce(0, +) == replicas)
    #expect(fleet.drained.count == replicas)
  }

  @Test func aChangeThatNeverGetsReadyLeavesTheOldOneServing() {
    var fleet = Fleet()
    fleet.join(["a", "b"])
    fleet.send(.serviceSet(spec(1, 2)))
    fleet.startsReady = false
    fleet.send(.serviceSet(spec(2, 2)))
    fleet.least = Int.max
    fleet.pass(120_000)
    #expect(fleet.least >= 1)
  }

  @Test func aReplicaThatKeepsEndingStartsLaterEachTimeUpToALimit() throws {
    var bench = Bench()
    bench.join("a")
    bench.send(.serviceSet(spec(1, 1)))
    var one = try #require(bench.assignments.first)
    var delays: [Int64] = []
    for _ in 0..<9 {
      let ended = bench.now + 1
      bench.finish(one, .failed(PlatformError(.internalError, "exit 1")))
      var next: Assignment?
      while next == nil, bench.now < ended + 100_000 { next = bench.pass(500, alive: ["a": []]).assignments.first }
      delays.append(bench.now - ended)
      one = try #require(next)
    }
    #expect(delays[0] < 2_000)
    for (failure, delay) in delays.enumerated() {
      let whole = min(60_000, 1_000 << Int64(failure))
      #expect(delay >= whole / 2 && delay <= whole + 1_000, "after failure \(failure + 1): \(delay) ms")
    }
    #expect(bench.unit(one.unit)?.failures == 9)
    // Once it has been stable, the next end is taken as the first.
    bench.ready(one)
    _ = bench.pass(70_000, alive: ["a": [UnitAttempt(unit: one.unit, attempt: one.attempt)]])
    bench.finish(one, .failed(PlatformError(.internalError, "exit 1")))
    #expect(bench.unit(one.unit)?.failures == 1)
  }

  @Test func replicasThatAllCameBackOnOneWorkerAreSpreadAgain() {
    var fleet = Fleet()
    fleet.join(["a"])
    fleet.send(.serviceSet(spec(1, 3)))
    #expect(fleet.bench.replicas(of: "s") == ["a": 3])
    fleet.join(["b", "c"])
    fleet.least = Int.max
    fleet.pass(90_000)
    #expect(fleet.bench.replicas(of: "s") == ["a": 1, "b": 1, "c": 1])
    #expect(fleet.least >= 3, "the new one serves before the old one goes")
    // It stays like this.
    fleet.drained = []
    fleet.pass(300_000)
    #expect(fleet.drained.isEmpty)
  }

  @Test func twoReplicasOnOneOfTwoWorkersAreEnoughToMoveOneAndThreeAreNot() {
    var fleet = Fleet()
    fleet.join(["a"])
    fleet.send(.serviceSet(spec(1, 3)))
    fleet.join(["b"])
    fleet.pass(120_000)
    #expect(fleet.bench.replicas(of: "s") == ["a": 2, "b": 1])
    #expect(fleet.drained.count == 1)
  }

  @Test func aMoveThatFailsIsGivenUpAndNotTriedAgainAtOnce() throws {
    var fleet = Fleet()
    fleet.join(["a"])
    fleet.send(.serviceSet(spec(1, 2)))
    fleet.startsReady = false
    fleet.join(["b"])
    var tries = 0
    for _ in 0..<120 {
      fleet.pass(500)
      for key in fleet.held["b"]!.sorted() {
        tries += 1
        fleet.held["b"]!.remove(key)
        fleet.send(.unitFinished(worker: "b", unit: key.unit, attempt: key.attempt, outcome: .failed(PlatformError(.internalError, "exit 1"))))
      }
    }
    #expect((1...2).contains(tries))
    #expect(fleet.bench.replicas(of: "s") == ["a": 2])
    #expect(fleet.drained.isEmpty)
  }

  @Test func nothingMovesWhileAChangeRolls() {
    var fleet = Fleet()
    fleet.join(["a"])
    fleet.send(.serviceSet(spec(1, 2)))
    fleet.startsReady = false
    fleet.send(.serviceSet(spec(2, 2)))
    fleet.join(["b"])
    fleet.pass(60_000)
    for case .unit(let unit) in fleet.bench.stored.values { #expect(unit.replaces == nil) }
  }

  @Test func aDrainedWorkerKeepsServingUntilItsReplicasHaveMoved() {
    var fleet = Fleet()
    fleet.join(["a", "b"])
    fleet.send(.serviceSet(spec(1, 2)))
    fleet.least = Int.max
    fleet.send(.workerDrain(worker: "a"))
    fleet.pass(20_000)
    #expect(fleet.bench.replicas(of: "s") == ["b": 2])
    #expect(fleet.least >= 1)
  }
}
