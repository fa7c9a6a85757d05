// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Scheduling

/// Which worker gets what asks for processors, memory and labels.
@Suite struct PlacementTests {
  private func join(
    _ bench: inout Bench, _ name: String, slots: Int = 4, cpus: Double? = nil, memory: Int64? = nil, _ labels: [String: String] = [:],
    host: String? = nil, held: [UnitAttempt] = []
  ) {
    bench.send(
      .workerJoined(
        WorkerHello(
          worker: name, incarnation: 1, slots: slots, hostID: host ?? name, labels: labels, held: held, cpus: cpus, memoryBytes: memory)))
  }

  private func submit(_ bench: inout Bench, _ id: String, _ demand: Demand?, _ plan: StagePlan, priority: Int? = nil) {
    bench.send(.runSubmitted(RunSpec(id: id, name: "n", tasks: [TaskSpec(key: "t", kind: "k", demand: demand)], priority: priority)))
    bench.send(.stagePlanned(StageID(run: id, task: "t", attempt: 1, stage: 0), plan))
  }

  private func reason(_ bench: Bench, _ id: String = "1") -> String? { bench.scheduler.waitingReason(run: id, task: "t") }

  @Test func aUnitGoesWhereItsLabelsAreAlsoWhenOthersAreEmptier() {
    var bench = Bench()
    join(&bench, "a", slots: 9)
    join(&bench, "b", slots: 1, ["disk": "ssd"])
    submit(&bench, "1", Demand(labels: ["disk": "ssd"]), .shards(units(2)))
    #expect(bench.assignments.map(\.worker) == ["b"])
    #expect(reason(bench) == "1 of 2 units wait for a worker with the label disk=ssd")
    submit(&bench, "2", Demand(labels: ["node": "a", "host": "a"]), .shards(units(1)))
    #expect(bench.assignments.map(\.worker) == ["a"])
  }

  @Test func processorsAndSlotsAreOneRoomCountedTwice() throws {
    var bench = Bench()
    join(&bench, "a", slots: 4, cpus: 8)
    submit(&bench, "1", Demand(cpus: 4), .shards(units(1)))
    submit(&bench, "2", nil, .shards(units(4)))
    // Half of the processors is two of the slots.
    #expect(bench.assignments.count == 2)
    #expect(reason(bench, "2") == "2 of 4 units wait for a free slot")
    submit(&bench, "3", Demand(cpus: 0.5), .shards(units(1)))
    #expect(bench.assignments.isEmpty)
    bench.finish(try #require(bench.unit("1/t/1/0/0")).assigned)
    #expect(bench.assignments.map(\.unit) == ["2/t/1/0/2", "2/t/1/0/3"], "the older run takes the two slots")
  }

  @Test func memoryIsNeverGivenTwiceAlsoAfterARestart() throws {
    var bench = Bench()
    join(&bench, "a", memory: 10_000_000_000)
    submit(&bench, "1", Demand(memoryBytes: 6_000_000_000), .shards(units(2)))
    let first = try #require(bench.assignments.first)
    #expect(bench.assignments.count == 1)
    #expect(reason(bench) == "1 of 2 units wait for a worker with 6.0 GB of memory")
    bench.restart()
    join(&bench, "a", memory: 10_000_000_000, held: [UnitAttempt(unit: first.unit, attempt: first.attempt)])
    #expect(bench.assignments.isEmpty)
    bench.finish(first)
    #expect(bench.assignments.map(\.unit) == ["1/t/1/0/1"])
  }

  @Test func whatNoWorkerHasIsSaidAndKeepsNobodyFromRunning() {
    var bench = Bench()
    join(&bench, "a", slots: 2, cpus: 4, memory: 8_000_000_000)
    submit(&bench, "1", Demand(cpus: 64), .shards(units(1)), priority: 9)
    submit(&bench, "2", Demand(labels: ["gpu": "yes"]), .gang(units(2)), priority: 9)
    submit(&bench, "3", Demand(memoryBytes: 5_000_000_000), .gang(units(2)), priority: 9)
    submit(&bench, "4", nil, .shards(units(2)))
    #expect(bench.assignments.count == 2)
    #expect(reason(bench, "1") == "no connected worker has 64 processors; the most is 4 processors and 8.0 GB of memory")
    #expect(reason(bench, "2") == "no connected worker has the label gpu=yes")
    #expect(reason(bench, "3") == "the connected workers together have no room for 2 ranks with 5.0 GB of memory each")
    // One that has it comes.
    join(&bench, "b", cpus: 64)
    #expect(bench.assignments.map(\.worker) == ["b"])
  }

  @Test func aWorkerOfAnOlderVersionIsGivenNothingThatAsksForMemory() {
    var bench = Bench()
    join(&bench, "a")
    submit(&bench, "1", Demand(memoryBytes: 1_000_000), .shards(units(1)))
    #expect(bench.assignments.isEmpty && reason(bench)?.contains("no connected worker has 1 MB of memory") == true)
  }

  @Test func aLargeUnitIsNotStarvedBySmallOnes() throws {
    var bench = Bench()
    for name in ["a", "b"] { join(&bench, name, slots: 2) }
    submit(&bench, "1", nil, .shards(units(4)))
    submit(&bench, "2", Demand(cpus: 2), .shards(units(1)))
    submit(&bench, "3", nil, .shards(units(20)))
    #expect(bench.assignments.isEmpty)
    // Slots of one worker are filled as they become free, those of the other are kept.
    var placed: [Assignment] = []
    for index in 0..<4 where placed.first(where: { $0.unit.hasPrefix("2/") }) == nil {
      bench.finish(try #require(bench.unit("1/t/1/0/\(index)")).assigned)
      placed += bench.assignments
    }
    #expect(placed.contains { $0.unit.hasPrefix("2/") })
    #expect(placed.count { $0.unit.hasPrefix("3/") } <= 2)
  }

  @Test func aGangThatWaitsForLabelledWorkersLeavesTheOthersAlone() throws {
    var bench = Bench()
    for name in ["a", "b"] { join(&bench, name, slots: 2, ["disk": "ssd"]) }
    join(&bench, "c", slots: 2)
    submit(&bench, "1", Demand(labels: ["disk": "ssd"]), .shards(units(1)))
    let first = try #require(bench.assignments.first)
    submit(&bench, "2", Demand(labels: ["disk": "ssd"]), .gang(units(4)))
    #expect(bench.assignments.isEmpty)
    submit(&bench, "3", nil, .shards(units(9)))
    #expect(bench.assignments.map(\.worker) == ["c", "c"])
    bench.finish(first)
    #expect(bench.assignments.map(\.worker) == ["a", "b", "a", "b"])
  }

  @Test func ranksOfAGangTakeTheProcessorsThatTheyAskFor() {
    var bench = Bench()
    join(&bench, "a", slots: 4)
    join(&bench, "b", slots: 8)
    submit(&bench, "1", Demand(cpus: 4), .gang(units(3)))
    #expect(bench.assignments.map(\.worker).sorted() == ["a", "b", "b"])
  }

  @Test func replicasAreSpreadOverZonesThenMachinesThenWorkers() {
    var bench = Bench()
    join(&bench, "a", ["zone": "1"], host: "h1")
    join(&bench, "b", ["zone": "2"], host: "h2")
    join(&bench, "c", ["zone": "2"], host: "h3")
    join(&bench, "d", ["zone": "2"], host: "h3")
    bench.send(.serviceSet(ServiceSpec(name: "s", kind: "serve", payload: 1, replicas: 2)))
    #expect(bench.assignments.map(\.worker) == ["a", "b"])
    bench.send(.serviceSet(ServiceSpec(name: "s", kind: "serve", payload: 1, replicas: 4)))
    #expect(Set(bench.assignments.map(\.worker)) == ["a", "c"])
    bench.send(.serviceSet(ServiceSpec(name: "s", kind: "serve", payload: 1, replicas: 5)))
    #expect(bench.assignments.count == 1)
  }

  @Test func aReplicaThatAsksForRoomWaitsForItAndIsPlacedBeforeShards() throws {
    var bench = Bench()
    join(&bench, "a", slots: 2)
    submit(&bench, "1", Demand(cpus: 1), .shards(units(9)))
    bench.send(.serviceSet(ServiceSpec(name: "s", kind: "serve", payload: 1, replicas: 1, demand: Demand(cpus: 2))))
    #expect(bench.assignments.isEmpty)
    bench.finish(try #require(bench.unit("1/t/1/0/0")).assigned)
    #expect(bench.assignments.isEmpty, "the worker is kept for it")
    bench.finish(try #require(bench.unit("1/t/1/0/1")).assigned)
    #expect(bench.assignments.map(\.unit) == ["service/s/0"])
    bench.ready(bench.assignments[0])
    #expect(reason(bench)?.contains("wait for a worker") == true, "the replica has the processors")
    submit(&bench, "2", nil, .shards(units(9)))
    #expect(bench.assignments.map(\.unit) == ["2/t/1/0/0", "2/t/1/0/1"], "slots are as they were")
    bench.send(.runCancelRequested(run: "1"))
    // Another demand is another generation; what has no demand takes no room.
    bench.send(.serviceSet(ServiceSpec(name: "s", kind: "serve", payload: 1, replicas: 1)))
    #expect(bench.assignments.map(\.unit) == ["service/s/1"])
  }

  @Test func whatTakesNoRoomRunsBesideEverything() {
    var bench = Bench()
    join(&bench, "a", slots: 1, memory: 8, ["disk": "ssd"])
    join(&bench, "b", slots: 9, memory: 8)
    submit(&bench, "1", Demand(memoryBytes: 8, labels: ["disk": "ssd"]), .shards(units(1)))
    submit(&bench, "2", Demand(memoryBytes: 8, labels: ["disk": "ssd"]), .shards([UnitSpec(index: 0, kind: "k", payload: .null, takesRoom: false)]))
    #expect(bench.assignments.map(\.worker) == ["a"])
  }

  @Test func slotsKeepNoReplicaAway() {
    var bench = Bench()
    join(&bench, "a", slots: 2)
    submit(&bench, "1", nil, .shards(units(9)))
    bench.send(.serviceSet(ServiceSpec(name: "s", kind: "serve", payload: 1, replicas: 2, demand: Demand(cpus: 2))))
    #expect(bench.assignments.map(\.unit) == ["service/s/0"], "they would come back beside it")
  }
}

extension UnitRecord {
  /// Its lease as the worker knows it.
  var assigned: Assignment {
    Assignment(worker: worker ?? "", incarnation: incarnation, unit: name, attempt: attempt, kind: kind, payload: payload, gang: nil, service: nil)
  }
}
