// SPDX-License-Identifier: Apache-2.0

import Core
import Scheduling
import Testing

/// Cancelling a run at every stage of its life.
@Suite struct CancelTests {
  private func bench(_ tasks: [TaskSpec] = [TaskSpec(key: "t", kind: "k", maxRetries: 2), TaskSpec(key: "u", kind: "k", dependsOn: ["t"])]) -> Bench {
    var bench = Bench()
    bench.join("a")
    bench.submit(tasks)
    return bench
  }

  private func cancel(_ bench: inout Bench) { bench.send(.runCancelRequested(run: "1")) }

  @Test func whilePlanning() throws {
    var bench = bench()
    let call = try #require(bench.calls.first)
    cancel(&bench)
    #expect(bench.run()?.state == .cancelled)
    #expect(bench.task("t")?.state == .cancelled && bench.task("u")?.state == .cancelled)
    bench.send(.stagePlanned(call.id, .shards(units(1))))
    #expect(bench.assignments.isEmpty)
  }

  @Test func whileUnitsRun() throws {
    var bench = bench()
    try bench.plan(.shards(units(3)))
    let running = bench.assignments
    #expect(running.count == 2)
    cancel(&bench)
    #expect(bench.effects.count { if case .cancelUnit = $0 { true } else { false } } == 2)
    #expect(bench.run()?.state == .cancelled)
    // The slots are free once the worker says so.
    bench.submit([TaskSpec(key: "t", kind: "k")], id: "2")
    try bench.plan(.shards(units(2)))
    #expect(bench.assignments.isEmpty)
    bench.finish(running[0], .cancelled)
    #expect(bench.assignments.count == 1)
  }

  @Test func whileAUnitBacksOff() throws {
    var bench = bench()
    try bench.plan(.shards(units(1)))
    bench.finish(try #require(bench.assignments.first), .failed(PlatformError(.internalError, "no")))
    cancel(&bench)
    #expect(bench.run()?.state == .cancelled)
    let later = bench.pass(20_000, alive: ["a": []])
    #expect(later.assignments.isEmpty)
  }

  @Test func whileTheTaskWaitsForItsNextAttempt() throws {
    var bench = bench()
    bench.send(.stagePlanFailed(try #require(bench.calls.first).id, PlatformError(.notFound, "no")))
    #expect(bench.task("t")?.state == .retrying)
    cancel(&bench)
    #expect(bench.run()?.state == .cancelled)
  }

  @Test func whileCommittingTheCommitDecides() throws {
    for succeeds in [true, false] {
      var bench = bench()
      try bench.plan(.none)
      let commit = try #require(bench.commits.first)
      cancel(&bench)
      #expect(bench.run()?.state == .cancelling)
      #expect(bench.task("u")?.state == .cancelled)
      if succeeds {
        bench.send(.stageCommitted(commit.id, .taskDone(values: .null)))
      } else {
        bench.send(.stageCommitFailed(commit.id, PlatformError(.conflict, "no"), retryable: false))
      }
      #expect(bench.task("t")?.state == (succeeds ? .succeeded : .cancelled))
      #expect(bench.run()?.state == .cancelled)
    }
  }

  @Test func betweenStagesNothingFurtherStarts() throws {
    var bench = bench()
    try bench.plan(.none)
    let commit = try #require(bench.commits.first)
    cancel(&bench)
    bench.send(.stageCommitted(commit.id, .nextStage(carry: .null)))
    #expect(bench.calls.isEmpty)
    #expect(bench.task("t")?.state == .cancelled)
  }

  @Test func aGangStopsAsAWhole() throws {
    var bench = bench()
    bench.join("b")
    bench.send(.runCancelRequested(run: "nobody"))
    bench.submit([TaskSpec(key: "g", kind: "train")], id: "2")
    try bench.plan(.gang(units(3)))
    #expect(bench.assignments.count == 3)
    bench.send(.runCancelRequested(run: "2"))
    #expect(bench.effects.count { if case .cancelUnit = $0 { true } else { false } } == 3)
    #expect(bench.run("2")?.state == .cancelled)
  }

  @Test func whileReplicasStartTheServiceStays() throws {
    var bench = bench()
    try bench.plan(.service(ServiceSpec(name: "s", kind: "serve", payload: .null, replicas: 1)))
    let replica = try #require(bench.assignments.first)
    cancel(&bench)
    #expect(bench.run()?.state == .cancelled)
    bench.ready(replica)
    #expect(bench.replicas(of: "s") == ["a": 1])
  }

  @Test func afterTheEndNothingChanges() throws {
    var bench = bench([TaskSpec(key: "t", kind: "k")])
    try bench.plan(.none)
    bench.send(.stageCommitted(try #require(bench.commits.first).id, .taskDone(values: .null)))
    let before = bench.stored
    cancel(&bench)
    #expect(bench.stored == before && bench.effects.isEmpty)
  }

  @Test func acrossARestart() throws {
    var bench = bench()
    try bench.plan(.none)
    let commit = try #require(bench.commits.first)
    cancel(&bench)
    bench.restart()
    #expect(bench.commits.map(\.id) == [commit.id], "the commit is asked for again")
    bench.send(.stageCommitted(commit.id, .nextStage(carry: .null)))
    #expect(bench.run()?.state == .cancelled)
  }
}
