// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres
import Query
import TestSupport
import Testing

@testable import Coordinator

@Suite struct IngestLedgerTests {
  private func found(_ name: String, tag: String?, modified: Int64 = 1_700_000_000_000) -> SourceListing.Found {
    .init(file: .init(path: name, name: name, sizeBytes: 10, modifiedMilliseconds: modified, tag: tag), changed: modified * 1_000_000)
  }

  /// An object that was replaced between its listing and its reading was loaded as it was read, and is not loaded again.
  @Test func whatWasReadIsWhatIsKnown() async throws {
    let folder = TemporaryDirectory("ledger")
    chmod(folder.path, 0o755)
    let connection = try await PrivatePostgres.start(directory: folder.file("pg"), diesWithParent: true).connectionString
    let pool = try PostgresPool(PostgresConfiguration(connectionString: connection, schema: "ledger", poolSize: 2))
    try await Migrator(pool: pool, migrations: IngestMigrations.all).migrate()
    let ledger = IngestLedger(pool: pool)
    let table = UUID()
    func source() async throws -> IngestLedger.Source { try await ledger.source(table: table, tableName: "a.b.c", name: "s3://b/in") }
    func look(_ list: [SourceListing.Found]) async throws -> IngestLedger.Batch? {
      try await ledger.discover(source(), list, isInBucket: true, reloads: true)
      return try await ledger.nextBatch(source().id, run: "r", order: .name, files: 10, bytes: 1000)
    }
    let first = try #require(try await look([found("a", tag: "1"), found("b", tag: "1")]))
    #expect(first.files.map(\.name) == ["a", "b"])
    // Reading tells whole seconds, listings more.
    let read = found("a", tag: "2", modified: 1_700_000_007_000).file
    _ = try await ledger.commit(source().id, first.number, rows: 2, bad: 0, replaced: [read]) { 1 }
    let again = [found("a", tag: "2", modified: 1_700_000_007_123), found("b", tag: "1")]
    #expect(try await look(again) == nil)
    #expect(try await ledger.lag().allSatisfy { $0.files == 0 && $0.changed == 0 })
    let next = try #require(try await look([found("a", tag: "2", modified: 1_700_000_007_123), found("b", tag: "3")]))
    #expect(next.files.map(\.name) == ["b"] && next.files.first?.tag == "3")
    pool.close()
  }
}
