// SPDX-License-Identifier: Apache-2.0

import Core
import Scheduling
import Testing

/// What starts after what: `run_if`, conditions, loops.
@Suite struct WorkflowTests {
  enum End { case succeeds, fails, isExcluded }

  /// Runs tasks `a` and `b` to their ends and returns what happened to `x`, which depends on both, and the run.
  private func outcome(_ runIf: RunIf, _ a: End, _ b: End) throws -> (task: TaskState?, excluded: Bool, run: RunState?) {
    var bench = Bench()
    func spec(_ key: String, _ end: End) -> TaskSpec {
      TaskSpec(key: key, kind: "k", dependsOn: end == .isExcluded ? ["c"] : [], outcomes: end == .isExcluded ? ["c": false] : nil)
    }
    bench.submit([
      TaskSpec(key: "c", kind: "condition", condition: Condition(.equal, "1", "1")), spec("a", a), spec("b", b),
      TaskSpec(key: "x", kind: "k", dependsOn: ["a", "b"], runIf: runIf),
    ])
    let calls = bench.calls
    for call in calls {
      let end = call.id.task == "a" ? a : b
      if end == .fails {
        bench.send(.stagePlanFailed(call.id, PlatformError(.notFound, "no")))
      } else {
        bench.send(.stagePlanned(call.id, .none))
        let started = bench.effects
        bench.send(.stageCommitted(call.id, .taskDone(values: .null)))
        _ = started
      }
    }
    if bench.task("x")?.state == .planning {
      let id = try #require(bench.task("x")?.stageID)
      bench.send(.stagePlanned(id, .none))
      bench.send(.stageCommitted(id, .taskDone(values: .null)))
    }
    return (bench.task("x")?.state, bench.task("x")?.excluded == true, bench.run()?.state)
  }

  @Test func sixConditionsOnWhatCameBefore() throws {
    let ends: [(End, End)] = [
      (.succeeds, .succeeds), (.succeeds, .fails), (.fails, .fails), (.succeeds, .isExcluded), (.fails, .isExcluded),
      (.isExcluded, .isExcluded),
    ]
    let runs: [RunIf: [Bool]] = [
      .allSuccess: [true, false, false, false, false, false],
      .atLeastOneSuccess: [true, true, false, true, false, false],
      .noneFailed: [true, false, false, true, false, false],
      .allDone: [true, true, true, true, true, true],
      .atLeastOneFailed: [false, true, true, false, true, false],
      .allFailed: [false, false, true, false, false, false],
    ]
    for (runIf, expected) in runs {
      for (index, (a, b)) in ends.enumerated() {
        let found = try outcome(runIf, a, b)
        #expect(found.task == (expected[index] ? .succeeded : .skipped), "\(runIf.rawValue) after \(a), \(b)")
        // A failure that a later task took care of does not fail the run.
        let failed = a == .fails || b == .fails
        #expect(found.run == (failed && !expected[index] ? .failed : .succeeded), "\(runIf.rawValue) after \(a), \(b)")
        if found.task == .skipped, !failed { #expect(found.excluded) }
      }
    }
  }

  @Test func aFailureBeforeADefaultTaskSkipsItAtOnceAndItsFollowers() throws {
    var bench = Bench()
    bench.submit([
      TaskSpec(key: "a", kind: "k"), TaskSpec(key: "b", kind: "k"), TaskSpec(key: "x", kind: "k", dependsOn: ["a", "b"]),
      TaskSpec(key: "y", kind: "k", dependsOn: ["x"]), TaskSpec(key: "z", kind: "k", dependsOn: ["y"], runIf: .allDone),
    ])
    let calls = bench.calls
    bench.send(.stagePlanFailed(calls[0].id, PlatformError(.notFound, "no")))
    #expect(bench.task("x")?.state == .skipped && bench.task("y")?.state == .skipped)
    #expect(bench.task("z")?.state == .planning)
  }

  @Test(arguments: [
    (Condition.Operator.equal, "abc", "abc", true), (.notEqual, "1", "1.0", true), (.greater, "10", "9", true),
    (.greaterOrEqual, "2", "2", true), (.less, "-1", "0", true), (.lessOrEqual, "3", "2.5", false),
  ]) func conditionsCompare(op: Condition.Operator, left: String, right: String, expected: Bool) {
    var bench = Bench()
    bench.submit([
      TaskSpec(key: "c", kind: "condition", condition: Condition(op, left, right)),
      TaskSpec(key: "yes", kind: "k", dependsOn: ["c"], outcomes: ["c": true]),
      TaskSpec(key: "no", kind: "k", dependsOn: ["c"], outcomes: ["c": false]),
    ])
    #expect(bench.task("c")?.values["outcome"] == .bool(expected))
    #expect(bench.task("yes")?.state == (expected ? .planning : .skipped))
    #expect(bench.task("no")?.state == (expected ? .skipped : .planning))
  }

  @Test func aConditionReadsValuesOfEarlierTasks() throws {
    var bench = Bench()
    bench.submit([
      TaskSpec(key: "a", kind: "k"),
      TaskSpec(key: "c", kind: "condition", dependsOn: ["a"], condition: Condition(.greater, "{{ tasks.a.values.rows }}", "5")),
      TaskSpec(key: "d", kind: "condition", dependsOn: ["a"], condition: Condition(.greater, "{{tasks.a.values.none}}", "5")),
    ])
    try bench.plan(.none)
    bench.send(.stageCommitted(try #require(bench.commits.first).id, .taskDone(values: ["rows": 7])))
    #expect(bench.task("c")?.values["outcome"] == true)
    #expect(bench.task("d")?.state == .failed)
    #expect(bench.run()?.error?.number == "PLT-1220")
  }

  @Test func specificationsThatMakeNoSenseAreRefused() {
    func problem(_ tasks: [TaskSpec]) -> Bool { Scheduler.problem(with: RunSpec(id: "1", name: "n", tasks: tasks)) != nil }
    #expect(problem([TaskSpec(key: "a", kind: "k"), TaskSpec(key: "b", kind: "k", dependsOn: ["a"], outcomes: ["a": true])]))
    #expect(problem([TaskSpec(key: "b", kind: "k", outcomes: ["a": true])]))
    #expect(problem([TaskSpec(key: "a", kind: "k", condition: Condition(.equal, "", ""), forEach: ForEach(inputs: []))]))
    #expect(problem([TaskSpec(key: "a", kind: "k", forEach: ForEach(inputs: [])), TaskSpec(key: "a[0]", kind: "k")]))
  }

  // MARK: Loops

  /// Answers everything that the scheduler asks for until it asks for nothing more. Returns the most iterations at once.
  private func finishAll(_ bench: inout Bench, fail: Set<String> = []) -> Int {
    var open = bench.calls
    var most = open.count
    while let call = open.first {
      open.removeFirst()
      if fail.contains(call.id.task) {
        bench.send(.stagePlanFailed(call.id, PlatformError(.notFound, "no")))
      } else {
        bench.send(.stagePlanned(call.id, .none))
        bench.send(.stageCommitted(call.id, .taskDone(values: ["got": call.body])))
      }
      open += bench.calls
      most = max(most, open.count)
    }
    return most
  }

  @Test func aThousandIterationsRunAFewAtATimeAndGiveTheirValuesInOrder() throws {
    var bench = Bench()
    let items = (0..<1_000).map { JSONValue.integer(Int64($0)) }
    bench.submit([TaskSpec(key: "l", kind: "k", body: "{{input}}", forEach: ForEach(inputs: .array(items), concurrency: 8))])
    #expect(bench.calls.count == 8)
    bench.restart()
    #expect(bench.calls.count == 8)
    let most = finishAll(&bench)
    #expect(most == 8)
    #expect(bench.run()?.state == .succeeded)
    let results = try #require(bench.task("l")?.values["results"]?.arrayValue)
    #expect(results.map { $0["got"] } == items)
  }

  @Test func theItemsCanComeFromAnEarlierTaskAndBeObjects() throws {
    var bench = Bench()
    bench.submit([
      TaskSpec(key: "a", kind: "k"),
      TaskSpec(
        key: "l", kind: "k", dependsOn: ["a"], body: ["path": "s/{{input.name}}.csv", "keep": "{{tasks.a.values.list}}", "n": "{{input.n}}"],
        forEach: ForEach(inputs: "{{tasks.a.values.list}}", concurrency: 3)),
    ])
    try bench.plan(.none)
    bench.send(.stageCommitted(try #require(bench.commits.first).id, .taskDone(values: ["list": [["name": "x", "n": 1], ["name": "y", "n": 2]]])))
    #expect(bench.calls.map(\.id.task) == ["l[0]", "l[1]"])
    #expect(bench.calls.map { $0.body["path"] } == ["s/x.csv", "s/y.csv"])
    #expect(bench.calls.map { $0.body["n"] } == [1, 2])
    #expect(bench.calls[0].body["keep"] == "{{tasks.a.values.list}}", "the planner fills the rest")
  }

  @Test func oneFailedIterationFailsTheLoopAfterAllHaveEnded() {
    var bench = Bench()
    bench.submit([
      TaskSpec(key: "l", kind: "k", forEach: ForEach(inputs: [1, 2, 3, 4], concurrency: 2)),
      TaskSpec(key: "u", kind: "k", dependsOn: ["l"]), TaskSpec(key: "v", kind: "k", dependsOn: ["l"], runIf: .atLeastOneFailed),
    ])
    _ = finishAll(&bench, fail: ["l[1]"])
    #expect(bench.task("l")?.state == .failed && bench.task("l[3]")?.state == .succeeded)
    #expect(bench.task("u")?.state == .skipped && bench.task("v")?.state == .succeeded)
    #expect(bench.run()?.state == .failed, "u was skipped because of the failure")
  }

  @Test func anEmptyLoopSucceedsAndAWrongOneFails() {
    var bench = Bench()
    bench.submit([TaskSpec(key: "l", kind: "k", forEach: ForEach(inputs: []))])
    #expect(bench.run()?.state == .succeeded)
    bench.submit([TaskSpec(key: "l", kind: "k", forEach: ForEach(inputs: "no list"))], id: "2")
    #expect(bench.run("2")?.state == .failed)
    bench.submit([TaskSpec(key: "l", kind: "k", forEach: ForEach(inputs: .array(Array(repeating: 1, count: 5_001))))], id: "3")
    #expect(bench.run("3")?.state == .failed)
  }

  @Test func aCancelledLoopStopsEverywhere() {
    var bench = Bench()
    bench.submit([TaskSpec(key: "l", kind: "k", forEach: ForEach(inputs: [1, 2, 3, 4], concurrency: 2))])
    bench.send(.runCancelRequested(run: "1"))
    #expect(bench.run()?.state == .cancelled)
    #expect(bench.task("l[3]")?.state == .cancelled)
  }
}
