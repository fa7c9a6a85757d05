// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation
import Postgres

/// What a user signs in with at hosts of repositories, without the password.
public struct GitCredentialEntry: Sendable, Equatable {
  public var id: Int64
  public var owner: String
  public var provider: String
  /// What it is called; of providers that run on hosts of their own, the host.
  public var name: String
  /// Where it is sent, and nowhere else: `HOST` or `HOST:PORT`.
  public var host: String
  public var username: String
  public var email: String
  /// Of several for a host the one that counts.
  public var isDefault: Bool

  public init(
    id: Int64 = 0, owner: String, provider: String, name: String, host: String, username: String, email: String, isDefault: Bool
  ) {
    self.id = id
    self.owner = owner
    self.provider = provider
    self.name = name
    self.host = host
    self.username = username
    self.email = email
    self.isDefault = isDefault
  }
}

/// Passwords for repositories, each of one user. They are sealed; nobody sees them in the database.
extension CatalogStore {
  public static let gitCredentialLimit = 100

  private static func unknown(_ id: Int64) -> PlatformError {
    PlatformError(.notFound, "there is no git credential \(id)", hint: "List yours with 'platform git-credentials list'.", number: "PLT-4468")
  }

  private static let gitColumns = "id, owner, provider, name, host, username, email, is_default"

  private static func gitCredential(_ row: PostgresRow) throws -> GitCredentialEntry {
    GitCredentialEntry(
      id: Int64(try row.int("id")), owner: try row.string("owner"), provider: try row.string("provider"), name: try row.string("name"),
      host: try row.string("host"), username: try row.string("username"), email: try row.string("email"), isDefault: try row.bool("is_default"))
  }

  /// Makes one, or changes the one whose number the entry has. One that is the default takes that from others of its host.
  /// - Parameter password: nil: it stays.
  /// - Throws: `notFound` PLT-4468, `resourceExhausted` PLT-4467.
  public func putGitCredential(_ entry: GitCredentialEntry, password: String?, sealedWith sealing: SealingKey) async throws -> GitCredentialEntry {
    // What is sealed cannot be moved to another row, or to another host.
    let seal = RandomIdentifier.text()
    let sealed = try password.map { try sealing.seal(Data($0.utf8), for: "git credential \(entry.owner) \(entry.host) \(seal)") }
    return try await pool.transaction { transaction in
      let own = try transaction.query("SELECT id, host, is_default FROM git_credentials WHERE owner = $1 FOR UPDATE", [.text(entry.owner)])
      var entry = entry
      if entry.id == 0 {
        guard own.count < Self.gitCredentialLimit else {
          throw PlatformError(.resourceExhausted, "\(entry.owner) has \(own.count) git credentials; more are not possible", number: "PLT-4467")
        }
        // The first one of a host is its default.
        let isFirst = try !own.contains { try $0.string("host") == entry.host && $0.bool("is_default") }
        entry.isDefault = entry.isDefault || isFirst
      }
      if entry.isDefault {
        try transaction.execute(
          "UPDATE git_credentials SET is_default = false WHERE owner = $1 AND host = $2", [.text(entry.owner), .text(entry.host)])
      }
      let facts: [PostgresValue] = [
        .text(entry.owner), .text(entry.provider), .text(entry.name), .text(entry.host), .text(entry.username), .text(entry.email), .bool(entry.isDefault),
      ]
      let rows: [PostgresRow]
      if entry.id == 0 {
        guard let sealed else { throw PlatformError(.internalError, "a git credential has no password") }
        rows = try transaction.query(
          """
          INSERT INTO git_credentials (owner, provider, name, host, username, email, is_default, seal, password)
          VALUES ($1, $2, $3, $4, $5, $6, $7::boolean, $8, $9) RETURNING \(Self.gitColumns)
          """, facts + [.text(seal), .bytes(sealed)])
      } else {
        rows = try transaction.query(
          """
          UPDATE git_credentials SET provider = $2, name = $3, host = $4, username = $5, email = $6, is_default = $7::boolean,
            seal = CASE WHEN $9::bytea IS NULL THEN seal ELSE $8 END, password = COALESCE($9::bytea, password)
          WHERE owner = $1 AND id = $10::bigint RETURNING \(Self.gitColumns)
          """, facts + [.text(seal), sealed.map { .bytes($0) } ?? .null, .int(Int(entry.id))])
      }
      guard let row = rows.first else { throw Self.unknown(entry.id) }
      try Self.audit(transaction, entry.owner, entry.id == 0 ? "create git credential" : "change git credential", entry.host)
      return try Self.gitCredential(row)
    }
  }

  /// Of one user, oldest first.
  public func gitCredentials(of owner: String) async throws -> [GitCredentialEntry] {
    try await pool.query("SELECT \(Self.gitColumns) FROM git_credentials WHERE owner = $1 ORDER BY id", [.text(owner)]).map(Self.gitCredential)
  }

  /// - Throws: `notFound` PLT-4468, for one of somebody else too.
  public func gitCredential(_ id: Int64, of owner: String) async throws -> GitCredentialEntry {
    let rows = try await pool.query(
      "SELECT \(Self.gitColumns) FROM git_credentials WHERE owner = $1 AND id = $2::bigint", [.text(owner), .int(Int(id))])
    guard let row = rows.first else { throw Self.unknown(id) }
    return try Self.gitCredential(row)
  }

  /// - Throws: `notFound` PLT-4468.
  public func deleteGitCredential(_ id: Int64, of owner: String) async throws {
    try await pool.transaction { transaction in
      let rows = try transaction.query(
        "DELETE FROM git_credentials WHERE owner = $1 AND id = $2::bigint RETURNING host", [.text(owner), .int(Int(id))])
      guard let row = rows.first else { throw Self.unknown(id) }
      try Self.audit(transaction, owner, "delete git credential", row.string("host"))
    }
  }

  /// What a user signs in with at a host; nil when there is nothing for it.
  /// - Throws: `badConfiguration` when the sealing key was replaced.
  public func gitSignIn(at host: String, of owner: String, sealedWith sealing: SealingKey) async throws -> (entry: GitCredentialEntry, password: String)? {
    let rows = try await pool.query(
      """
      SELECT \(Self.gitColumns), seal, password FROM git_credentials WHERE owner = $1 AND host = $2 ORDER BY is_default DESC, id DESC LIMIT 1
      """, [.text(owner), .text(host)])
    guard let row = rows.first else { return nil }
    let entry = try Self.gitCredential(row)
    let password = try sealing.unseal(row.get("password"), for: "git credential \(owner) \(host) \(row.string("seal"))")
    return (entry, String(decoding: password, as: UTF8.self))
  }
}
