// SPDX-License-Identifier: Apache-2.0

import Foundation
import Postgres
import TestSupport

/// One private server for all tests of this target; each test has a schema of its own.
actor PostgresServer {
  static let shared = PostgresServer()
  private var starting: Task<String, any Error>?
  // Kept for the life of the process.
  private let folder = TemporaryDirectory("postgres")

  func connection() async throws -> String {
    if let starting { return try await starting.value }
    chmod(folder.path, 0o755)
    let path = folder.file("pg")
    let task = Task { try await PrivatePostgres.start(directory: path, diesWithParent: true).connectionString }
    starting = task
    return try await task.value
  }
}

extension PostgresServer {
  /// Whether a session with this application name runs pg_sleep. Pools of `makePool` are named after their schema.
  static func isSleeping(_ name: String) async throws -> Bool {
    let pool = try PostgresPool(PostgresConfiguration(connectionString: await shared.connection(), schema: "public", poolSize: 1))
    defer { pool.close() }
    return try await !pool.query(
      "SELECT 1 FROM pg_stat_activity WHERE application_name = $1 AND state = 'active' AND query LIKE 'SELECT pg_sleep%'", [.text(name)]
    ).isEmpty
  }
}

/// A pool on the shared server with a schema of its own.
func makePool(_ schema: String = "t\(UInt32.random(in: 0 ... .max))", size: Int = 4) async throws -> PostgresPool {
  var configuration = PostgresConfiguration(connectionString: try await PostgresServer.shared.connection(), schema: schema, poolSize: size)
  configuration.applicationName = schema
  let pool = try PostgresPool(configuration)
  try await pool.execute("CREATE SCHEMA IF NOT EXISTS \(schema)")
  return pool
}
