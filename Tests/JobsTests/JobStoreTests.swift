// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Jobs
@testable import Scheduling

/// What the scheduler decided, in Postgres.
@Suite(.serialized) struct JobStoreTests {
  private func task(_ run: String, _ state: TaskState) -> Record {
    var task = TaskRecord(pending: "t", of: run)
    task.state = state
    return .task(task)
  }

  private func run(_ spec: RunSpec, _ state: RunState) -> Record {
    .run(RunRecord(spec: spec, state: state, sequence: 1, submittedAt: 1, finishedAt: nil, cancelRequested: false, error: nil))
  }

  @Test func recordsOutcomesAndListsAreThoseOfTheEpoch() async throws {
    let folder = TemporaryDirectory("jobstore")
    chmod(folder.path, 0o755)
    let server = try await PrivatePostgres.start(directory: folder.file("pg"), diesWithParent: true)
    let pool = try PostgresPool(PostgresConfiguration(connectionString: server.connectionString, poolSize: 2))
    try await Migrator(pool: pool, migrations: JobMigrations.all + Leadership.migrations).migrate()
    let store = JobStore(pool: pool)
    let leadership = Leadership(pool: pool, seconds: 600)
    let own = CoordinatorAddress(instance: "test", http: "", nodes: "")
    let epoch = try #require(await leadership.acquire(own))
    // As in a coordinator: the check before every transaction is there too.
    pool.setFence { try Leadership.check(epoch, $0) }

    var specs: [RunSpec] = []
    for name in ["old", "running", "unscheduled"] {
      var spec = RunSpec(id: "", name: name, tasks: [TaskSpec(key: "t", kind: "wait")])
      spec.id = try await store.create(spec, submittedBy: "me").runID
      specs.append(spec)
    }
    for _ in 0..<2 {
      try await store.save([run(specs[0], .succeeded), task(specs[0].id, .succeeded), run(specs[1], .running), task(specs[1].id, .running)], epoch: epoch)
    }
    func names(_ isActive: Bool?) async throws -> [String] {
      var filter = JobStore.RunFilter()
      filter.isActive = isActive
      return try await store.storedRuns(filter).map(\.row.name)
    }
    #expect(try await names(nil) == ["unscheduled", "running", "old"])
    #expect(try await names(true) == ["unscheduled", "running"])
    #expect(try await names(false) == ["old"])
    #expect(try await store.tasks(ofRuns: specs.map(\.id)).mapValues { $0.map(\.state) } == [specs[0].id: [.succeeded], specs[1].id: [.running]])

    // Many are stored in parts of one transaction.
    let units = (0..<4321).map { index in
      Record.unit(UnitRecord(name: "\(specs[1].id)/t/1/0/\(index)", kind: "wait", payload: .null, index: index, run: specs[1].id, task: "t"))
    }
    try await store.save(units, epoch: epoch)
    #expect(try await pool.query("SELECT count(*) AS n FROM job_records WHERE kind = 'unit'")[0].int("n") == 4321)

    // The first outcome stays.
    #expect(try await store.committedOutcome("k") == nil)
    #expect(try await store.recordCommit("k", .taskDone(values: ["n": 1]), epoch: epoch) == .taskDone(values: ["n": 1]))
    #expect(try await store.recordCommit("k", .taskDone(values: ["n": 2]), epoch: epoch) == .taskDone(values: ["n": 1]))
    #expect(try await store.committedOutcome("k") == .taskDone(values: ["n": 1]))

    // Another one leads: nothing is stored any more.
    try await leadership.release(epoch: epoch)
    pool.setFence(nil)
    #expect(try await leadership.acquire(own) == epoch + 1)
    let failed = task(specs[1].id, .failed)
    let writes: [() async throws -> Void] = [
      { try await store.save([failed], epoch: epoch) }, { _ = try await store.recordCommit("l", .taskDone(values: .null), epoch: epoch) },
    ]
    for late in writes {
      let error = try #require(await #expect(throws: PlatformError.self) { try await late() })
      #expect(error.number == "PLT-1301")
    }
    #expect(try await store.tasks(of: specs[1].id).map(\.state) == [.running])
    #expect(try await store.committedOutcome("l") == nil)
    pool.close()
    try await server.stop()
  }
}
