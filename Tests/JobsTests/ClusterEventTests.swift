// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Jobs
@testable import Scheduling

/// What operators are told of the scheduler's records, and how long it is kept.
@Suite struct ClusterEventTests {
  private static let spec = RunSpec(id: "7", name: "nightly", tasks: [TaskSpec(key: "a", kind: "x", maxRetries: 2)])

  private static func run(_ state: RunState, repairs: Int? = nil, error: PlatformError? = nil) -> Record {
    .run(
      RunRecord(
        spec: spec, state: state, sequence: 1, submittedAt: 1, finishedAt: nil, cancelRequested: false, error: error, startedAt: 5, repairs: repairs))
  }

  private static func task(_ state: TaskState, attempt: Int = 1, error: PlatformError? = nil) -> Record {
    var task = TaskRecord(pending: "a", of: "7")
    (task.state, task.attempt, task.error) = (state, attempt, error)
    return .task(task)
  }

  @Test func whatMakesRoomForAServiceIsOneEventEachTime() {
    var unit = UnitRecord(name: "7/a/1/0/2", kind: "k", payload: .null, index: 2, run: "7", task: "a", taskAttempt: 1)
    (unit.state, unit.attempt, unit.preemptions, unit.preemptedBy) = (.running, 1, 1, "chat")
    let event = ClusterEvent.of(.unit(unit))
    #expect(event?.kind == .unitPreempted && event?.message == "unit 7/a/1/0/2 is stopped to make room for service chat, and is run again")
    unit.state = .waiting
    #expect(ClusterEvent.of(.unit(unit)) == event)
    unit.preemptions = 2
    #expect(ClusterEvent.of(.unit(unit))?.key != event?.key)
    // Of a gang's ranks, one tells it.
    unit.generation = 1
    #expect(ClusterEvent.of(.unit(unit)) == nil)
    unit.index = 0
    #expect(ClusterEvent.of(.unit(unit))?.message.hasPrefix("the gang of unit ") == true)
    (unit.preemptedBy, unit.losses) = (nil, 1)
    #expect(ClusterEvent.of(.unit(unit))?.kind == .unitLost)
  }

  @Test func aGenerationWithFewerRanksIsOneEvent() {
    var task = TaskRecord(pending: "a", of: "7")
    (task.state, task.attempt, task.shape, task.unitCount, task.generation, task.ranks) = (.running, 1, .gang, 4, 2, 2)
    let event = ClusterEvent.of(.task(task))
    #expect(event?.kind == .gangShrunk && event?.message == "task a of run 7 goes on with 2 of 4 ranks")
    #expect(ClusterEvent.of(.task(task)) == event)
    task.generation = 3
    #expect(ClusterEvent.of(.task(task))?.key != event?.key)
    task.ranks = nil
    #expect(ClusterEvent.of(.task(task)) == nil)
  }

  @Test func onlyWhatEndsBadlyIsAnEvent() {
    for state in [RunState.pending, .running, .cancelling, .succeeded, .skipped] { #expect(ClusterEvent.of(Self.run(state)) == nil) }
    for state in [TaskState.pending, .planning, .running, .committing, .succeeded, .cancelled, .skipped] {
      #expect(ClusterEvent.of(Self.task(state)) == nil)
    }
    let failed = ClusterEvent.of(Self.run(.failed, error: PlatformError(.failed, "no such file", number: "PLT-1201")))
    #expect(failed?.message == "run 7 (nightly) failed: no such file (PLT-1201)" && failed?.subject == "run/7" && failed?.kind.severity == "ERROR")
    #expect(ClusterEvent.of(Self.run(.failed))?.key != ClusterEvent.of(Self.run(.failed, repairs: 1))?.key, "a repaired run fails once more")
    #expect(ClusterEvent.of(Self.task(.retrying))?.kind == .taskRetried)
    #expect(ClusterEvent.of(Self.task(.retrying))?.key != ClusterEvent.of(Self.task(.retrying, attempt: 2))?.key)
    let limit = PlatformError(.failed, "it used 2.0 GB of memory in 1 process; it may use 1.0 GB", number: "PLT-4240")
    #expect(ClusterEvent.of(Self.task(.failed, error: limit))?.kind == .taskLimited)
    #expect(ClusterEvent.of(Self.task(.retrying, error: limit))?.kind == .taskLimited)
  }

  @Test func wordsMeanKinds() {
    #expect(ClusterEvent.Kind.matching("run") == [.runFailed, .runCancelled])
    #expect(ClusterEvent.Kind.matching("run.failed") == [.runFailed])
    #expect(ClusterEvent.Kind.matching("ru").isEmpty && ClusterEvent.Kind.matching("").isEmpty)
  }

  @Test func anEventIsStoredWithItsRecordOnceAndForgottenAtTheEnd() async throws {
    let folder = TemporaryDirectory("events")
    chmod(folder.path, 0o755)
    let server = try await PrivatePostgres.start(directory: folder.file("pg"), diesWithParent: true)
    let pool = try PostgresPool(PostgresConfiguration(connectionString: server.connectionString, poolSize: 2))
    defer { withExtendedLifetime(folder) {} }
    try await Migrator(pool: pool, migrations: JobMigrations.all + Leadership.migrations).migrate()
    let jobs = JobStore(pool: pool)
    let store = ClusterEventStore(pool: pool)
    let epoch = try #require(await Leadership(pool: pool, seconds: 600).acquire(CoordinatorAddress(instance: "test", http: "", nodes: "")))
    try await jobs.save([Self.task(.retrying), Self.run(.running)], epoch: epoch)
    try await jobs.save([Self.task(.retrying), Self.run(.running)], epoch: epoch)
    // Neither the change nor its event, when the epoch is over.
    await #expect(throws: PlatformError.self) { try await jobs.save([Self.run(.failed)], epoch: epoch - 1) }
    #expect(try await store.list(limit: 10).map(\.event.kind) == [.taskRetried])
    try await jobs.save([Self.task(.failed), Self.run(.failed)], epoch: epoch)
    try await store.add([ClusterEvent(.nodeSilent, "w0", node: "w0", "a"), ClusterEvent(.nodeSilent, "w0", node: "w0", "b\0")])

    let all = try await store.list(limit: 10)
    #expect(all.map(\.event.kind) == [.taskRetried, .taskFailed, .runFailed, .nodeSilent, .nodeSilent])
    #expect(all.map(\.id) == all.map(\.id).sorted() && all.last?.event.message == "b")
    #expect(try await store.list(limit: 2).map(\.id) == all.suffix(2).map(\.id), "the newest, oldest first")
    #expect(try await store.list(after: all[1].id, limit: 2).map(\.id) == all[2...3].map(\.id), "what comes next")
    #expect(try await store.list(kinds: [.runFailed, .nodeJoined], limit: 10).map(\.event.kind) == [.runFailed])
    #expect(try await store.list(since: Date(timeIntervalSinceNow: 3600), limit: 10).isEmpty)
    #expect(try await store.list(since: Date(timeIntervalSinceNow: -3600), limit: 10).count == 5)

    try await pool.execute("UPDATE cluster_events SET at = now() - interval '31 days' WHERE id = $1::bigint", [.int(Int(all[0].id))])
    try await store.prune()
    #expect(try await store.list(limit: 10).count == 4, "too old")
    try await store.prune(limit: 2)
    #expect(try await store.list(limit: 10).map(\.id) == all.suffix(2).map(\.id), "too many")
    pool.close()
    try await server.stop()
  }
}
