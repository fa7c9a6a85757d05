// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres
import Synchronization
import TestSupport
import Testing

@testable import Jobs

/// Two coordinators over one database: whoever was taken for dead can change nothing afterwards.
@Suite(.serialized) struct LeadershipTests {
  private let folder = TemporaryDirectory("lease")
  private let first = CoordinatorAddress(instance: "first", http: "127.0.0.1:1", nodes: "127.0.0.1:2")
  private let second = CoordinatorAddress(instance: "second", http: "127.0.0.1:3", nodes: "127.0.0.1:4")

  private func failure(_ body: () async throws -> Void) async throws -> PlatformError {
    try #require(await #expect(throws: PlatformError.self) { try await body() })
  }

  @Test(.timeLimit(.minutes(3))) func theSuccessorOfAFrozenLeaderIsTheOnlyOneThatWrites() async throws {
    chmod(folder.path, 0o755)
    let server = try await PrivatePostgres.start(directory: folder.file("pg"), diesWithParent: true)
    func pool(_ name: String) throws -> PostgresPool {
      var configuration = PostgresConfiguration(connectionString: server.connectionString, poolSize: 1)
      configuration.applicationName = name
      configuration.outagePatience = .seconds(60)
      return try PostgresPool(configuration)
    }
    let watching = try pool("watching")
    try await Migrator(pool: watching, migrations: JobMigrations.all + Leadership.migrations).migrate()
    try await watching.execute("CREATE TABLE t (id int)")

    let before = Leadership(pool: try pool(first.applicationName), seconds: 3600)
    let asked = ContinuousClock.now
    let epoch = try #require(try await before.acquire(first))
    let lease = LeaseKeeper(before, epoch: epoch, acquired: asked)
    try lease.require()
    try await lease.verify()
    let after = Leadership(pool: try pool(second.applicationName), seconds: 3600)
    #expect(try await after.acquire(second) == nil)
    #expect(try await after.leader() == Leadership.Leader(epoch: epoch, address: first, isValid: true))

    // Frozen in the middle of a transaction, which holds the row that says whose turn it is.
    let writing = try pool(first.applicationName)
    writing.setFence { try Leadership.check(epoch, $0) }
    let isInside = Mutex(false)
    let goesOn = DispatchSemaphore(value: 0)
    let stuck = Task {
      try await writing.transaction { transaction in
        try transaction.execute("INSERT INTO t VALUES (1)")
        isInside.withLock { $0 = true }
        goesOn.wait()
        try transaction.execute("INSERT INTO t VALUES (2)")
      }
    }
    while !isInside.withLock({ $0 }) { try await Task.sleep(for: .milliseconds(5)) }
    try await watching.execute("UPDATE scheduler_lease SET expires_at = now()")
    #expect(try await after.leader().isValid == false)
    var next: Int64?
    while next == nil { next = try? await after.acquire(second) }
    #expect(next == epoch + 1)
    #expect(try await after.leader() == Leadership.Leader(epoch: epoch + 1, address: second, isValid: true))

    // It wakes up.
    goesOn.signal()
    #expect(try await failure { _ = try await stuck.value }.number == "PLT-1301")
    #expect(try await failure { try await writing.execute("INSERT INTO t VALUES (3)") }.number == "PLT-1301")
    #expect(try await failure { try await lease.run() }.number == "PLT-1301")
    #expect(throws: PlatformError.self) { try lease.require() }
    #expect(try await failure { try await lease.verify() }.number == "PLT-1301")
    #expect(try await watching.query("SELECT * FROM t").isEmpty)

    try await after.beat(second)
    try await after.beat(first)
    try await after.beat(second)
    #expect(try await after.nodeAddresses() == [first.nodes, second.nodes])
    try await after.release(epoch: epoch + 1)
    #expect(try await before.acquire(first) == epoch + 2)
    try await server.stop()
  }

  /// A leader that was stopped for longer than its lease asks before it does anything.
  @Test func aLeaseThatRanOutByTheOwnClockHoldsNothing() async throws {
    let pool = try PostgresPool(PostgresConfiguration(connectionString: "host=\(folder.path)/none", poolSize: 1))
    let lease = LeaseKeeper(Leadership(pool: pool, seconds: 3), epoch: 7, acquired: .now - .seconds(4))
    #expect(!lease.holds && lease.databaseAnswers)
    let verifying = Task { try await lease.verify() }
    let renewing = Task { try await lease.run() }
    // Postgres is away: nobody can say who leads, and what needs no lease goes on.
    try await verifying.value
    #expect(!lease.holds && !lease.databaseAnswers)
    renewing.cancel()
  }
}
