// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation
import Postgres

/// A secret without its value.
public struct SecretEntry: Sendable, Equatable {
  public var key: String
  public var updatedAt: Date
}

/// Secrets of people's programs, in scopes. Values are sealed; nobody sees them in the database.
extension CatalogStore {
  public static let secretLimit = (bytes: 128 << 10, perScope: 1_000, scopes: 1_000)

  /// Letters, digits, `-`, `_`, `@` and `.`, at most 128.
  public static func isSecretName(_ name: String) -> Bool {
    (1...128).contains(name.utf8.count)
      && name.utf8.allSatisfy { (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || "-_@.".utf8.contains($0) }
  }

  private static func requireSecretName(_ name: String, _ what: String) throws {
    guard isSecretName(name) else {
      throw PlatformError(
        .invalidArgument, "'\(name.prefix(80))' is not a usable name of a \(what)", hint: "Use letters, digits, '-', '_', '@' and '.', at most 128.",
        number: "PLT-4335")
    }
  }

  private static func noScope(_ scope: String) -> PlatformError {
    PlatformError(.notFound, "Scope \(scope.prefix(130)) does not exist!", number: "PLT-4336")
  }

  /// - Throws: `alreadyExists` PLT-3003, `invalidArgument` PLT-4335.
  public func createSecretScope(_ scope: String, by actor: String) async throws {
    try Self.requireSecretName(scope, "scope")
    try await pool.transaction { transaction in
      let count = try transaction.query("SELECT count(*) AS n FROM secret_scopes", [])[0].int("n")
      guard count < Self.secretLimit.scopes else {
        throw PlatformError(.resourceExhausted, "there are \(count) scopes; more are not possible", number: "PLT-4335")
      }
      let made = try transaction.execute(
        "INSERT INTO secret_scopes (name, created_by) VALUES ($1, $2) ON CONFLICT DO NOTHING", [.text(scope), .text(actor)])
      if made == 0 { throw PlatformError(.alreadyExists, "Scope \(scope) already exists!", number: "PLT-3003") }
      try Self.audit(transaction, actor, "create secret scope", scope)
    }
  }

  public func secretScopes() async throws -> [String] {
    try await pool.query("SELECT name FROM secret_scopes ORDER BY name", []).map { try $0.string("name") }
  }

  /// With all its secrets.
  /// - Throws: `notFound` PLT-4336.
  public func deleteSecretScope(_ scope: String, by actor: String) async throws {
    try await pool.transaction { transaction in
      guard try transaction.execute("DELETE FROM secret_scopes WHERE name = $1", [.text(scope)]) == 1 else { throw Self.noScope(scope) }
      try Self.audit(transaction, actor, "delete secret scope", scope)
    }
  }

  /// Makes a secret or gives it another value.
  /// - Throws: `notFound` PLT-4336, `invalidArgument` PLT-4335.
  public func putSecret(_ scope: String, _ key: String, _ value: Data, sealedWith sealing: SealingKey, by actor: String) async throws {
    try Self.requireSecretName(key, "secret")
    guard value.count <= Self.secretLimit.bytes else {
      throw PlatformError(.invalidArgument, "a secret has at most \(Self.secretLimit.bytes >> 10) KiB", number: "PLT-4335")
    }
    let sealed = try sealing.seal(value, for: "secret \(scope)/\(key)")
    try await pool.transaction { transaction in
      guard try !transaction.query("SELECT 1 FROM secret_scopes WHERE name = $1 FOR UPDATE", [.text(scope)]).isEmpty else { throw Self.noScope(scope) }
      try transaction.execute(
        """
        INSERT INTO secrets (scope, key, value) VALUES ($1, $2, $3)
        ON CONFLICT (scope, key) DO UPDATE SET value = excluded.value, updated_at = now()
        """, [.text(scope), .text(key), .bytes(sealed)])
      let count = try transaction.query("SELECT count(*) AS n FROM secrets WHERE scope = $1", [.text(scope)])[0].int("n")
      guard count <= Self.secretLimit.perScope else {
        throw PlatformError(.resourceExhausted, "scope '\(scope)' has \(Self.secretLimit.perScope) secrets; more are not possible", number: "PLT-4335")
      }
      try Self.audit(transaction, actor, "put secret", "\(scope)/\(key)")
    }
  }

  /// - Throws: `notFound` PLT-4336.
  public func deleteSecret(_ scope: String, _ key: String, by actor: String) async throws {
    try await pool.transaction { transaction in
      guard try transaction.execute("DELETE FROM secrets WHERE scope = $1 AND key = $2", [.text(scope), .text(key)]) == 1 else {
        throw Self.noSecret(scope, key)
      }
      try Self.audit(transaction, actor, "delete secret", "\(scope)/\(key)")
    }
  }

  private static func noSecret(_ scope: String, _ key: String) -> PlatformError {
    PlatformError(.notFound, "Secret \(key.prefix(130)) does not exist in scope \(scope.prefix(130))!", number: "PLT-4336")
  }

  /// - Throws: `notFound` PLT-4336.
  public func secrets(_ scope: String) async throws -> [SecretEntry] {
    let rows = try await pool.query(
      "SELECT s.key, s.updated_at FROM secret_scopes c LEFT JOIN secrets s ON s.scope = c.name WHERE c.name = $1 ORDER BY s.key", [.text(scope)])
    if rows.isEmpty { throw Self.noScope(scope) }
    return try rows.compactMap { row in
      try row.get("key", as: String?.self).map { SecretEntry(key: $0, updatedAt: try row.date("updated_at")) }
    }
  }

  /// - Throws: `notFound` PLT-4336, `badConfiguration` when the sealing key was replaced.
  public func secret(_ scope: String, _ key: String, sealedWith sealing: SealingKey) async throws -> Data {
    let rows = try await pool.query("SELECT value FROM secrets WHERE scope = $1 AND key = $2", [.text(scope), .text(key)])
    guard let row = rows.first else { throw Self.noSecret(scope, key) }
    return try sealing.unseal(row.get("value"), for: "secret \(scope)/\(key)")
  }
}
