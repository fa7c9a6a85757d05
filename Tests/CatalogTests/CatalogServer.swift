// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Postgres
import TestSupport
import Testing

/// One private server for all tests of this target.
actor CatalogServer {
  static let shared = CatalogServer()
  private var starting: Task<String, any Error>?
  // Kept for the life of the process.
  private let folder = TemporaryDirectory("catalog")

  func connection() async throws -> String {
    if let starting { return try await starting.value }
    chmod(folder.path, 0o755)
    let path = folder.file("pg")
    let task = Task { try await PrivatePostgres.start(directory: path, diesWithParent: true).connectionString }
    starting = task
    return try await task.value
  }
}

/// A store with an empty schema of its own; `migrations` other than all make an older one.
func makeStore(migrations: [Migration] = CatalogMigrations.all) async throws -> CatalogStore {
  let schema = "c\(UInt32.random(in: 0 ... .max))"
  let pool = try PostgresPool(
    PostgresConfiguration(connectionString: await CatalogServer.shared.connection(), schema: schema, poolSize: 2))
  try await Migrator(pool: pool, migrations: migrations).migrate()
  let store = CatalogStore(pool: pool)
  try await store.bootstrap()
  return store
}

/// The platform error that `body` throws.
func failure(_ place: SourceLocation = #_sourceLocation, _ body: () async throws -> Void) async throws -> PlatformError {
  try #require(await #expect(throws: PlatformError.self, sourceLocation: place) { try await body() }, sourceLocation: place)
}

/// All entries of a listing, read in pages of `size`.
func readAll<Entry>(_ size: Int, _ page: (String?) async throws -> CatalogPage<Entry>) async throws -> [Entry] {
  var entries: [Entry] = []
  var token: String?
  repeat {
    let next = try await page(token)
    #expect(next.entries.count <= size && (next.nextPageToken == nil || next.entries.count == size))
    entries += next.entries
    token = next.nextPageToken
  } while token != nil
  return entries
}
