// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Scheduling

/// Shards go where their data is, if that worker has room soon.
@Suite struct AffinityTests {
  private func bench(_ names: [String], slots: Int = 2) -> Bench {
    var bench = Bench()
    for name in names { bench.join(name, slots: slots) }
    return bench
  }

  private func start(_ bench: inout Bench, _ id: String, _ affinities: [Int64?]) -> [Assignment] {
    bench.submit([TaskSpec(key: "t", kind: "k")], id: id)
    let specs = affinities.enumerated().map { UnitSpec(index: $0, kind: "k", payload: .null, affinity: $1) }
    bench.send(.stagePlanned(StageID(run: id, task: "t", attempt: 1, stage: 0), .shards(specs)))
    return bench.assignments
  }

  /// Where each of some affinities goes when there is room everywhere.
  private func homes(_ names: [String], _ affinities: Range<Int64>) -> [Int64: String] {
    var bench = bench(names, slots: 1_000)
    let placed = start(&bench, "1", affinities.map { $0 })
    return Dictionary(uniqueKeysWithValues: placed.map { (affinities.lowerBound + Int64($0.unit.split(separator: "/").last!)!, $0.worker) })
  }

  @Test func theSameDataGoesToTheSameWorkerAndIsSpread() {
    let names = ["a", "b", "c", "d"]
    let first = homes(names, 0..<400)
    #expect(first.count == 400 && first == homes(names.reversed(), 0..<400))
    for name in names { #expect(first.values.count { $0 == name } > 60) }
    // Only what was with a worker moves when it goes.
    let fewer = homes(["a", "b", "d"], 0..<400)
    #expect(first.allSatisfy { $0.value == "c" || fewer[$0.key] == $0.value })
  }

  @Test func theOthersOfAStageGoFirstAndThenItWaitsForASecond() throws {
    let home = homes(["a", "b"], 0..<50)
    let (a, b) = (try #require(home.first { $0.value == "a" }).key, try #require(home.first { $0.value == "b" }).key)
    var bench = bench(["a", "b"])
    let placed = start(&bench, "1", [a, a, a, a, b])
    #expect(placed.map(\.worker).sorted() == ["a", "a", "b"])
    #expect(placed.contains { $0.unit == "1/t/1/0/4" })
    // Others have the free slot meanwhile.
    let other = start(&bench, "2", [nil])
    #expect(other.map(\.worker) == ["b"])
    bench.finish(other[0])
    #expect(bench.assignments.isEmpty)
    let time = try #require(bench.wait(upTo: 3_000) { if case .assign = $0 { true } else { false } })
    #expect(bench.assignments.map(\.worker) == ["b"] && time <= 1_100)
    // A slot where the data is takes the next one at once.
    bench.finish(placed[0])
    #expect(bench.assignments.map(\.unit) == ["1/t/1/0/3"] && bench.assignments[0].worker == "a")
  }

  @Test func aWorkerThatTakesNothingIsNobodysHome() throws {
    let home = homes(["a", "b"], 0..<50)
    let a = try #require(home.first { $0.value == "a" }).key
    var bench = bench(["a", "b"])
    bench.send(.workerCordon(worker: "a"))
    #expect(start(&bench, "1", [a]).map(\.worker) == ["b"])
  }
}
