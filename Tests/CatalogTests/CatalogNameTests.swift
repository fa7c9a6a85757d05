// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Postgres
import Testing

@Suite struct CatalogNameTests {
  /// The name is refused before the server is asked: the pool here leads nowhere.
  @Test func refusesUnusableCatalogNames() async throws {
    let pool = try PostgresPool(PostgresConfiguration(connectionString: "host=/nonexistent user=nobody dbname=none", poolSize: 1))
    defer { pool.close() }
    for name in ["", "a.b", "a b", "../up", "a;--"] {
      let error = await #expect(throws: PlatformError.self) { try await CatalogStore(pool: pool).createCatalog(name, by: "test") }
      #expect(error?.number == "PLT-3001")
    }
  }
}
