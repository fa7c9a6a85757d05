// SPDX-License-Identifier: Apache-2.0

import Core
import Scheduling
import Testing

/// Time limits, retries, back-off.
@Suite struct RetryTests {
  private func isPlanning(_ effect: Effect) -> Bool { if case .planStage = effect { true } else { false } }

  @Test func anAttemptThatTakesTooLongEndsAtItsTimeAndItsUnitsAreStopped() throws {
    var bench = Bench()
    bench.join("a", slots: 1)
    bench.submit([TaskSpec(key: "t", kind: "k", timeoutMs: 5_000)])
    let start = bench.now
    try bench.plan(.shards(units(1)))
    let one = try #require(bench.assignments.first)
    bench.send(.unitStarted(worker: "a", unit: one.unit, attempt: one.attempt))
    var beats: Int64 = 0
    var ended: Instant?
    while ended == nil, bench.now < 20_000 {
      beats += 1
      bench.send(.workerHeartbeat(worker: "a", incarnation: 1, sequence: beats, held: [UnitAttempt(unit: one.unit, attempt: one.attempt)]))
      ended = bench.wait(upTo: 1_000) { if case .taskStateChanged(_, "t", _, _, .failed, let error) = $0 { error?.code == .timeout } else { false } }
      if ended == nil { bench.now += 900 }
    }
    let time = try #require(ended)
    #expect(time >= start + 5_000 && time <= start + 6_500)
    #expect(bench.effects.contains { if case .cancelUnit("a", one.unit, _) = $0 { true } else { false } })
    #expect(bench.run()?.state == .failed)
    // A result that comes too late changes nothing.
    bench.finish(one)
    #expect(bench.commits.isEmpty)
  }

  @Test func theTimeLimitHoldsForEveryAttemptAndIsGoneWhileWaiting() throws {
    var bench = Bench()
    bench.submit([
      TaskSpec(key: "t", kind: "k", maxRetries: 1, retryBackoff: Backoff(firstMilliseconds: 60_000, limitMilliseconds: 60_000), timeoutMs: 1_000)
    ])
    let first = bench.wait(upTo: 5_000) { if case .taskStateChanged(_, _, _, _, .retrying, _) = $0 { true } else { false } }
    let again = bench.wait(upTo: 70_000, for: isPlanning)
    #expect(try #require(again) - #require(first) >= 30_000)
    let call = try #require(bench.calls.first)
    #expect(call.id.attempt == 2)
    let end = bench.wait(upTo: 5_000) { if case .taskStateChanged(_, _, _, _, .failed, _) = $0 { true } else { false } }
    #expect(try #require(end) == #require(again) + 1_000)
  }

  @Test func aCommitThatIsUnderWayIsNotCutOffByTheTimeLimit() throws {
    var bench = Bench()
    bench.submit([TaskSpec(key: "t", kind: "k", timeoutMs: 1_000)])
    try bench.plan(.none)
    let commit = try #require(bench.commits.first)
    bench.now += 10_000
    bench.send(.tick)
    #expect(bench.task("t")?.state == .committing)
    bench.send(.stageCommitted(commit.id, .taskDone(values: ["n": 1])))
    #expect(bench.task("t")?.state == .succeeded)
  }

  @Test func delaysOfAttemptsGrowStayBelowTheLimitAndDiffer() throws {
    let backoff = Backoff(firstMilliseconds: 1_000, limitMilliseconds: 6_000)
    var delays: [[Int64]] = []
    for seed in 1...20 {
      var configuration = Scheduler.Configuration()
      configuration.seed = UInt64(seed)
      var bench = Bench()
      bench.scheduler = Scheduler(configuration: configuration, now: 0)
      bench.submit([TaskSpec(key: "t", kind: "k", maxRetries: 4, retryBackoff: backoff)])
      var row: [Int64] = []
      for _ in 0..<4 {
        let call = try #require(bench.calls.first)
        bench.send(.stagePlanFailed(call.id, PlatformError(.notFound, "no")))
        let start = bench.now
        let found = bench.wait(upTo: 60_000, for: isPlanning)
        row.append(try #require(found) - start)
      }
      let last = try #require(bench.calls.first)
      bench.send(.stagePlanFailed(last.id, PlatformError(.notFound, "no")))
      #expect(bench.task("t")?.state == .failed)
      delays.append(row)
    }
    for row in delays {
      for (attempt, delay) in row.enumerated() {
        let whole = min(6_000, 1_000 << Int64(attempt))
        #expect(delay >= whole / 2 && delay <= whole, "attempt \(attempt + 1) waited \(delay)")
      }
    }
    #expect(Set(delays.map { $0[0] }).count > 10, "jitter spreads the retries of many tasks")
  }

  @Test func aFailedShardRunsAgainLaterAndTheThirdFailureEndsTheAttempt() throws {
    var bench = Bench()
    bench.join("a", slots: 1)
    bench.submit([TaskSpec(key: "t", kind: "k", maxRetries: 1)])
    try bench.plan(.shards(units(1)))
    for failure in 1...3 {
      let one = try #require(bench.effects.assignments.first)
      #expect(one.attempt == failure)
      bench.finish(one, .failed(PlatformError(.internalError, "executor ended by signal 9")))
      guard failure < 3 else { break }
      let found = bench.pass(12_000, alive: ["a": []])
      #expect(Set(found.assignments.map(\.attempt)) == [failure + 1])
      bench.effects = found
    }
    #expect(bench.task("t")?.state == .retrying)
  }

  @Test func aPlanningThatMayWorkLaterIsTriedAgainInsideTheAttempt() throws {
    var bench = Bench()
    bench.submit([TaskSpec(key: "t", kind: "k")])
    for _ in 1..<5 {
      let call = try #require(bench.calls.first)
      #expect(call.id.attempt == 1)
      bench.send(.stagePlanFailed(call.id, PlatformError(.unavailable, "away")))
      let again = bench.wait(upTo: 60_000, for: isPlanning)
      #expect(again != nil)
    }
    let call = try #require(bench.calls.first)
    bench.send(.stagePlanFailed(call.id, PlatformError(.unavailable, "away")))
    #expect(bench.task("t")?.state == .failed)
  }

  @Test func committedStagesAreNotRepeatedByTheNextAttempt() throws {
    var bench = Bench()
    bench.submit([TaskSpec(key: "t", kind: "k", maxRetries: 1)])
    try bench.plan(.none)
    bench.send(.stageCommitted(try #require(bench.commits.first).id, .nextStage(carry: ["rows": 5])))
    bench.send(.stagePlanFailed(try #require(bench.calls.first).id, PlatformError(.notFound, "no")))
    let again = bench.wait(upTo: 60_000, for: isPlanning)
    #expect(again != nil)
    let call = try #require(bench.calls.first)
    #expect(call.id.stage == 1 && call.id.attempt == 2 && call.carry == ["rows": 5])
  }
}
