// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
public import Postgres

/// Somebody who may hold tokens.
public struct UserEntry: Sendable, Equatable {
  public var name: String
  /// Whether everything is allowed.
  public var isAdministrator: Bool
  public var createdAt: Date
}

/// Who there is. A name that was deleted is never given to somebody else: jobs and runs go on naming their owner by it.
public struct Users: Sendable {
  public let pool: PostgresPool
  public init(pool: PostgresPool) { self.pool = pool }

  /// The one who has the token of the cluster's own machine.
  public static let first = "admin"

  /// Letters, digits, `.`, `_`, `-`, `+` and `@`, at most 128; as in names of accounts and addresses of mail.
  public static func isName(_ name: String) -> Bool {
    (1...128).contains(name.utf8.count)
      && name.utf8.allSatisfy { (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || "._-+@".utf8.contains($0) }
  }

  /// By name.
  public func all() async throws -> [UserEntry] {
    try await pool.query("SELECT name, is_administrator, created_at FROM users WHERE deleted_at IS NULL ORDER BY name").map { row in
      UserEntry(name: try row.string("name"), isAdministrator: try row.bool("is_administrator"), createdAt: try row.date("created_at"))
    }
  }

  /// - Throws: `notFound` PLT-4462.
  public func named(_ name: String) async throws -> UserEntry {
    let rows = try await pool.query(
      "SELECT name, is_administrator, created_at FROM users WHERE name = $1 AND deleted_at IS NULL", [.text(name)])
    guard let row = rows.first else { throw Self.unknown(name) }
    return UserEntry(name: try row.string("name"), isAdministrator: try row.bool("is_administrator"), createdAt: try row.date("created_at"))
  }

  private static func unknown(_ name: String) -> PlatformError {
    PlatformError(.notFound, "there is no user '\(name.prefix(130))'", hint: "List them with 'platform users list'.", number: "PLT-4462")
  }

  /// - Throws: `invalidArgument` PLT-4464 for a name that cannot be one, or was another's; `alreadyExists` PLT-3003.
  public func create(_ name: String, isAdministrator: Bool, by actor: String) async throws -> UserEntry {
    guard Self.isName(name) else {
      throw PlatformError(
        .invalidArgument, "'\(name.prefix(130))' is not a usable name of a user", hint: "Use letters, digits, '.', '_', '-', '+' and '@', at most 128.",
        number: "PLT-4464")
    }
    return try await pool.transaction { transaction in
      let rows = try transaction.query(
        """
        INSERT INTO users (name, is_administrator, created_by) VALUES ($1, $2::boolean, $3) ON CONFLICT (name) DO NOTHING
        RETURNING name, is_administrator, created_at
        """, [.text(name), .bool(isAdministrator), .text(actor)])
      guard let row = rows.first else {
        if try transaction.query("SELECT 1 FROM users WHERE name = $1 AND deleted_at IS NULL", [.text(name)]).isEmpty {
          throw PlatformError(
            .invalidArgument, "'\(name)' was the name of a user who was deleted", hint: "Jobs and runs may still name that user: choose another name.",
            number: "PLT-4464")
        }
        throw PlatformError(.alreadyExists, "user '\(name)' already exists", number: "PLT-3003")
      }
      try CatalogStore.audit(transaction, actor, "create user", name)
      return UserEntry(name: name, isAdministrator: try row.bool("is_administrator"), createdAt: try row.date("created_at"))
    }
  }

  /// Their tokens are good for nothing from then on; what they own stays.
  /// - Throws: `notFound` PLT-4462, `invalidArgument` PLT-4464 for the first administrator.
  public func delete(_ name: String, by actor: String) async throws {
    guard name != Self.first else {
      throw PlatformError(
        .invalidArgument, "'\(name)' cannot be deleted: the commands of the cluster's own machine use its token", number: "PLT-4464")
    }
    try await pool.transaction { transaction in
      let changed = try transaction.execute("UPDATE users SET deleted_at = now() WHERE name = $1 AND deleted_at IS NULL", [.text(name)])
      guard changed == 1 else { throw Self.unknown(name) }
      try transaction.execute("UPDATE access_tokens SET revoked_at = now() WHERE principal = $1 AND revoked_at IS NULL", [.text(name)])
      try CatalogStore.audit(transaction, actor, "delete user", name)
    }
  }
}
