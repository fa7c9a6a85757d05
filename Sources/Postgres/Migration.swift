// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// One step of the schema: numbered from 1 within its component, never changed after it was released.
public struct Migration: Sendable {
  public var component: String
  public var number: Int
  public var name: String
  public var sql: String

  public init(component: String, number: Int, name: String, sql: String) {
    self.component = component
    self.number = number
    self.name = name
    self.sql = sql
  }

  /// Of its text.
  public var checksum: String { SHA256Digest.hex(sql) }
}

/// Brings the schema to what this binary needs, under one lock, each step in a transaction.
public struct Migrator: Sendable {
  private let pool: PostgresPool
  private let migrations: [Migration]
  /// Key of the advisory lock that keeps two migrators apart.
  private static let lockKey = 7_304_401_889

  public init(pool: PostgresPool, migrations: [Migration]) {
    self.pool = pool
    self.migrations = migrations.sorted { ($0.component, $0.number) < ($1.component, $1.number) }
  }

  /// Applies what is missing.
  /// - Returns: the names of the steps that were applied.
  /// - Throws: `badConfiguration` PLT-1102 when the schema is newer than this binary, PLT-1103 when an applied step has
  ///   another text here.
  @discardableResult
  public func migrate() async throws -> [String] {
    let schema = try PostgresIdentifier.quote(pool.configuration.schema)
    let migrations = self.migrations
    return try await pool.transaction(within: .seconds(660)) { transaction in
      // Waiting for another migrator may take longer than an ordinary lock.
      try transaction.execute("SET LOCAL lock_timeout = '120s'")
      try transaction.execute("SET LOCAL statement_timeout = '600s'")
      try transaction.execute("SELECT pg_advisory_xact_lock($1::bigint)", [.int(Self.lockKey)])
      try transaction.execute("CREATE SCHEMA IF NOT EXISTS \(schema)")
      try transaction.execute(
        """
        CREATE TABLE IF NOT EXISTS schema_migrations (
          component text NOT NULL, number int NOT NULL, name text NOT NULL, checksum text NOT NULL,
          applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (component, number))
        """)
      let applied = try transaction.query("SELECT component, number, name, checksum FROM schema_migrations")
      for row in applied {
        let (component, number) = (try row.string("component"), try row.int("number"))
        guard let known = migrations.first(where: { $0.component == component && $0.number == number }) else {
          throw PlatformError(
            .badConfiguration,
            "the database schema is newer than this binary: it has step \(number) of '\(component)' (\(try row.string("name")))",
            hint: "Start the newer platform binary that made it, or restore a backup from before the upgrade.", number: "PLT-1102")
        }
        guard try row.string("checksum") == known.checksum else {
          throw PlatformError(
            .badConfiguration, "step \(number) of '\(component)' was applied with another text", number: "PLT-1103")
        }
      }
      let done = Set(try applied.map { "\(try $0.string("component"))/\(try $0.int("number"))" })
      var names: [String] = []
      for migration in migrations where !done.contains("\(migration.component)/\(migration.number)") {
        for statement in Self.statements(migration.sql) { try transaction.execute(statement) }
        try transaction.execute(
          "INSERT INTO schema_migrations (component, number, name, checksum) VALUES ($1, $2, $3, $4)",
          [.text(migration.component), .int(migration.number), .text(migration.name), .text(migration.checksum)])
        names.append("\(migration.component)/\(migration.number) \(migration.name)")
      }
      return names
    }
  }

  /// Splits a script at the semicolons that end its lines; migrations hold no functions with bodies.
  static func statements(_ sql: String) -> [String] {
    sql.components(separatedBy: ";\n").map { $0.trimmingCharacters(in: .whitespacesAndNewlines) }
      .map { $0.hasSuffix(";") ? String($0.dropLast()) : $0 }.filter { !$0.isEmpty }
  }
}
