// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Scheduling

/// Repairs, limits of runs, skipped runs, disabled tasks, references.
@Suite struct RepairTests {
  private let chain = [
    TaskSpec(key: "a", kind: "k"), TaskSpec(key: "b", kind: "k", dependsOn: ["a"]), TaskSpec(key: "c", kind: "k", dependsOn: ["b"]),
  ]

  /// Answers every planning and commit; tasks in `failing` fail.
  private func finish(_ bench: inout Bench, failing: Set<String> = []) {
    while let call = bench.calls.first ?? bench.commits.first {
      if bench.calls.isEmpty {
        bench.send(.stageCommitted(call.id, .taskDone(values: ["n": 1])))
      } else if failing.contains(call.id.task) {
        bench.send(.stagePlanFailed(call.id, PlatformError(.failed, "no")))
      } else {
        bench.send(.stagePlanned(call.id, .none))
      }
    }
  }

  private func repair(_ bench: inout Bench, _ rerun: [String], number: Int = 1) throws {
    let run = try #require(bench.run())
    let tasks = bench.stored.values.compactMap { if case .task(let task) = $0, task.run == "1" { task } else { nil } }.sorted { $0.key < $1.key }
    bench.send(.runRepaired(run, tasks: tasks, rerun: rerun, number: number))
  }

  @Test func aRepairRunsWhatFailedAgainAndKeepsTheRest() throws {
    var bench = Bench()
    bench.submit(chain)
    finish(&bench, failing: ["b"])
    #expect(bench.run()?.state == .failed)
    let records = ["a", "b", "c"].compactMap { bench.task($0) }
    let rerun = Repair.failed(RunSpec(id: "1", name: "n", tasks: chain), records)
    #expect(rerun == ["b", "c"])
    try repair(&bench, rerun.sorted())
    let call = try #require(bench.calls.first)
    #expect(call.id.task == "b" && call.id.attempt == 2 && call.commitKey == "1/b/0/repair-1")
    finish(&bench)
    #expect(bench.run()?.state == .succeeded && bench.run()?.repairs == 1)
    #expect(bench.task("a")?.attempt == 1 && bench.task("c")?.state == .succeeded)
  }

  @Test func aRepairedTaskHasAllItsRetriesAgainAndSurvivesARestart() throws {
    var bench = Bench()
    let tasks = [TaskSpec(key: "a", kind: "k", maxRetries: 1, retryBackoff: Backoff(firstMilliseconds: 50, limitMilliseconds: 50))]
    bench.submit(tasks)
    finish(&bench, failing: ["a"])
    _ = bench.wait(upTo: 100) { if case .planStage = $0 { true } else { false } }
    finish(&bench, failing: ["a"])
    #expect(bench.run()?.state == .failed && bench.task("a")?.attempt == 2)
    try repair(&bench, ["a"])
    bench.restart()
    #expect(bench.calls.first?.id.attempt == 3)
    finish(&bench, failing: ["a"])
    #expect(bench.task("a")?.state == .retrying)
    _ = bench.wait(upTo: 100) { if case .planStage = $0 { true } else { false } }
    finish(&bench)
    #expect(bench.run()?.state == .succeeded && bench.task("a")?.attempt == 4)
  }

  @Test func aTaskThatWasRepairedButNotStartedNeverUsesTheNamesOfItsFirstAttempts() throws {
    var bench = Bench()
    bench.submit(chain)
    finish(&bench, failing: ["b"])
    try repair(&bench, ["b", "c"])
    // Cancelled while b plans again and c has not begun.
    bench.send(.runCancelRequested(run: "1"))
    try repair(&bench, ["b", "c"], number: 2)
    bench.send(.runCancelRequested(run: "1"))
    try repair(&bench, ["a", "b", "c"], number: 3)
    bench.send(.runCancelRequested(run: "1"))
    #expect(bench.task("b")?.attempt == 0 && bench.task("b")?.base == 3)
    try repair(&bench, ["a", "b", "c"], number: 4)
    finish(&bench)
    #expect(bench.run()?.state == .succeeded)
    #expect(bench.task("a")?.attempt == 3 && bench.task("b")?.attempt == 4 && bench.task("b")?.repairs == 4)
  }

  @Test func aRepairIsRefusedWhileTheRunGoesOnAndARepeatedOneChangesNothing() throws {
    var bench = Bench()
    bench.submit(chain)
    var run = try #require(bench.run())
    run.state = .failed
    bench.send(.runRepaired(run, tasks: [], rerun: ["a"], number: 1))
    #expect(bench.effects.contains { if case .refused("1", let error) = $0 { error.number == "PLT-4225" } else { false } })
    bench.restart()
    finish(&bench, failing: ["a"])
    try repair(&bench, ["a", "b", "c"])
    finish(&bench)
    #expect(bench.run()?.state == .succeeded)
    try repair(&bench, ["a"])
    #expect(bench.run()?.state == .succeeded && bench.effects.isEmpty)
    try repair(&bench, ["a"], number: 2)
    #expect(bench.run()?.state == .running && bench.calls.first?.commitKey == "1/a/0/repair-2")
  }

  @Test func aRepairedLoopRepeatsOnlyTheIterationsThatDidNotSucceed() throws {
    var bench = Bench()
    let spec = TaskSpec(key: "l", kind: "k", body: ["x": "{{input}}"], forEach: ForEach(inputs: [1, 2, 3], concurrency: 3))
    bench.submit([spec])
    finish(&bench, failing: ["l[1]"])
    // Iterations run side by side: what was not answered yet is answered now.
    for _ in 0..<6 {
      for key in ["l[0]", "l[2]"] {
        guard let record = bench.task(key) else { continue }
        if record.state == .planning { bench.send(.stagePlanned(record.stageID, .none)) }
        if let record = bench.task(key), record.state == .committing { bench.send(.stageCommitted(record.stageID, .taskDone(values: ["n": 1]))) }
      }
      if let record = bench.task("l[1]"), record.state == .planning { bench.send(.stagePlanFailed(record.stageID, PlatformError(.failed, "no"))) }
    }
    #expect(bench.run()?.state == .failed)
    try repair(&bench, ["l"])
    #expect(bench.calls.map(\.id.task) == ["l[1]"] && bench.calls.first?.id.attempt == 2)
    bench.restart()
    #expect(bench.calls.map(\.id.task) == ["l[1]"])
    finish(&bench)
    #expect(bench.run()?.state == .succeeded)
    #expect(bench.task("l")?.values["results"]?.arrayValue?.count == 3)
  }

  @Test func aRunThatTakesTooLongIsStopped() throws {
    var bench = Bench()
    bench.join("w")
    bench.send(.runSubmitted(RunSpec(id: "1", name: "n", tasks: chain, timeoutMs: 5_000)))
    try bench.plan(.shards(units(1)))
    let start = bench.now
    let ended = bench.wait(upTo: 20_000) { if case .runStateChanged(_, .failed, _) = $0 { true } else { false } }
    #expect(try #require(ended) - start <= 5_000)
    #expect(bench.run()?.error?.number == Scheduler.runTimeout)
    #expect(bench.task("a")?.state == .cancelled && bench.task("a")?.error?.code == .timeout && bench.task("c")?.error == nil)
  }

  @Test func aTaskThatTookTooLongIsRepeatedOnlyWhenItSaysSo() throws {
    for (retries, attempts) in [(false, 1), (true, 2)] {
      var bench = Bench()
      bench.submit([
        TaskSpec(
          key: "t", kind: "k", maxRetries: 1, retryBackoff: Backoff(firstMilliseconds: 1, limitMilliseconds: 1), timeoutMs: 1_000, retryOnTimeout: retries)
      ])
      _ = bench.wait(upTo: 10_000) { if case .runStateChanged(_, .failed, _) = $0 { true } else { false } }
      #expect(bench.task("t")?.attempt == attempts && bench.task("t")?.error?.number == Scheduler.taskTimeout)
    }
  }

  @Test func aRunThatDoesNotQueueIsSkippedWhenItsJobIsFull() throws {
    var bench = Bench()
    func run(_ id: String, queues: Bool) -> RunSpec {
      RunSpec(id: id, name: "n", tasks: [TaskSpec(key: "a", kind: "k")], job: "j", maxConcurrentRuns: 1, queues: queues)
    }
    bench.send(.runSubmitted(run("1", queues: false)))
    bench.send(.runSubmitted(run("2", queues: false)))
    bench.send(.runSubmitted(run("3", queues: true)))
    #expect(bench.run("1")?.state == .running && bench.run("3")?.state == .pending)
    #expect(bench.run("2")?.state == .skipped && bench.run("2")?.error?.number == "PLT-4221" && bench.task("a", run: "2")?.state == .skipped)
    bench.send(.runCancelRequested(run: "1"))
    #expect(bench.run("3")?.state == .running)
  }

  @Test func aDisabledTaskIsLeftOut() throws {
    var bench = Bench()
    bench.submit([
      TaskSpec(key: "a", kind: "k", disabled: true), TaskSpec(key: "b", kind: "k", dependsOn: ["a"]),
      TaskSpec(key: "c", kind: "k", dependsOn: ["a"], runIf: .allDone),
    ])
    finish(&bench)
    #expect(bench.run()?.state == .succeeded)
    #expect(bench.task("a")?.state == .skipped && bench.task("b")?.excluded == true && bench.task("c")?.state == .succeeded)
  }

  // MARK: references

  @Test func whatIsPutInForAReferenceIsNeverReadAgain() throws {
    let scope = TemplateScope(values: ["a": ["x": "{{job.name}}"]], facts: ["job.name": "secret"])
    #expect(try Template.text("{{tasks.a.values.x}} of {{ job.name }}", scope) == "{{job.name}} of secret")
    let given = Template.escape("{{job.name}}{{{")
    #expect(try Template.text("is " + given, scope) == "is {{job.name}}{{{")
    let body = Template.iteration(["q": "{{input.q}}", "n": "{{input.n}}"], input: ["q": "{{job.name}}", "n": 3])
    #expect(body["n"] == 3)
    #expect(try Template.texts(in: body, scope)["q"] == "{{job.name}}")
    #expect(throws: PlatformError.self) { try Template.text("{{tasks.b.values.x}}", scope) }
  }

  @Test func tasksKnowTheirRun() throws {
    var bench = Bench()
    let spec = RunSpec(
      id: "7", name: "n",
      tasks: [TaskSpec(key: "a", kind: "k"), TaskSpec(key: "b", kind: "k", dependsOn: ["a"], runIf: .allDone)], facts: ["job.id": "3"])
    bench.send(.runSubmitted(spec))
    let call = try #require(bench.calls.first)
    #expect(try Template.text("{{job.id}} {{job.run_id}} {{task.name}} {{task.execution_count}} {{job.start_time.year}}", call.scope) == "3 7 a 1 1970")
    bench.send(.stagePlanFailed(call.id, PlatformError(.failed, "no")))
    #expect(bench.calls.first?.facts["tasks.a.result_state"] == "failed")
  }

  @Test(arguments: [
    (Int64(0), "1970-01-01T00:00:00", "4"), (951_782_400_000, "2000-02-29T00:00:00", "2"), (1_709_251_199_999, "2024-02-29T23:59:59", "4"),
    (-1, "1969-12-31T23:59:59", "3"), (4_107_542_400_000, "2100-03-01T00:00:00", "1"),
  ]) func timesAreReadAsDates(_ time: Int64, _ text: String, _ weekday: String) {
    let facts = CivilTime.facts(time)
    #expect(facts["iso_datetime"] == text && facts["iso_weekday"] == weekday)
  }
}
