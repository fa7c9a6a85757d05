// SPDX-License-Identifier: Apache-2.0

import Core
import Scheduling
import Testing

/// Queues of jobs, priorities and shares.
@Suite struct QueueTests {
  private func submit(_ bench: inout Bench, _ id: String, job: String? = nil, max: Int? = nil, user: String? = nil, priority: Int? = nil) {
    bench.send(
      .runSubmitted(
        RunSpec(id: id, name: id, tasks: [TaskSpec(key: "t", kind: "k")], job: job, maxConcurrentRuns: max, user: user, priority: priority)))
  }

  @Test func runsOfAJobWaitForEachOtherInTheirOrder() throws {
    var bench = Bench()
    for id in ["1", "2", "3"] { submit(&bench, id, job: "j", max: 1) }
    submit(&bench, "4", job: "other", max: 1)
    #expect(bench.run("1")?.state == .running && bench.run("2")?.state == .pending && bench.run("4")?.state == .running)
    #expect(bench.scheduler.waitingReason(run: "2", task: "t")?.contains("j") == true)
    bench.restart()
    #expect(bench.run("2")?.state == .pending)
    let id = try #require(bench.task("t", run: "1")?.stageID)
    bench.send(.stagePlanned(id, .none))
    bench.send(.stageCommitted(id, .taskDone(values: .null)))
    #expect(bench.run("1")?.state == .succeeded && bench.run("2")?.state == .running && bench.run("3")?.state == .pending)
    // One that waits can be cancelled, and does not hold up the next.
    bench.send(.runCancelRequested(run: "3"))
    #expect(bench.run("3")?.state == .cancelled)
    submit(&bench, "5", job: "j", max: 1)
    bench.send(.runCancelRequested(run: "2"))
    #expect(bench.run("5")?.state == .running)
  }

  /// Plans `count` shards for each run; returns how many each was given.
  private func placed(_ bench: inout Bench, _ ids: [String], shards: Int, slots: Int) -> [String: Int] {
    for id in ids {
      if let stage = bench.task("t", run: id)?.stageID { bench.send(.stagePlanned(stage, .shards(units(shards)))) }
    }
    bench.join("a", slots: slots)
    return Dictionary(bench.assignments.map { (String($0.unit.prefix { $0 != "/" }), 1) }, uniquingKeysWith: +)
  }

  @Test func higherPriorityComesFirst() {
    var bench = Bench()
    submit(&bench, "1")
    submit(&bench, "2", priority: 5)
    #expect(placed(&bench, ["1", "2"], shards: 3, slots: 4) == ["2": 3, "1": 1])
  }

  @Test func usersShareTheSlotsHoweverManyRunsTheyHave() {
    var bench = Bench()
    for id in ["1", "2", "3"] { submit(&bench, id, user: "many") }
    submit(&bench, "4", user: "one")
    #expect(placed(&bench, ["1", "2", "3", "4"], shards: 8, slots: 6) == ["1": 3, "4": 3])
  }

  @Test func withoutUsersOlderRunsComeFirst() {
    var bench = Bench()
    submit(&bench, "1")
    submit(&bench, "2")
    #expect(placed(&bench, ["1", "2"], shards: 3, slots: 4) == ["1": 3, "2": 1])
  }

  @Test func whatOneUserDoesNotNeedOthersGet() {
    var bench = Bench()
    submit(&bench, "1", user: "a")
    submit(&bench, "2", user: "b")
    #expect(placed(&bench, ["1", "2"], shards: 2, slots: 4) == ["1": 2, "2": 2])
    submit(&bench, "3", user: "a")
    let stage = bench.task("t", run: "3")?.stageID
    if let stage { bench.send(.stagePlanned(stage, .shards(units(4)))) }
    bench.join("b", slots: 3)
    #expect(bench.assignments.count == 3)
  }
}
