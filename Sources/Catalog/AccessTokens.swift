// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
public import Postgres

/// Bearer tokens: 256 random bits with a prefix, shown once, stored as SHA-256.
public struct AccessTokens: Sendable {
  /// Who holds a token.
  public struct Holder: Sendable, Equatable {
    public var name: String
    public var isAdministrator: Bool
    public init(name: String, isAdministrator: Bool) {
      self.name = name
      self.isAdministrator = isAdministrator
    }
  }

  /// A token without its secret.
  public struct Entry: Sendable {
    public var id: String
    public var comment: String
    public var createdAt: Date
    /// Nil: never.
    public var expiresAt: Date?
  }

  public let pool: PostgresPool
  public static let prefix = "plt_"
  public init(pool: PostgresPool) { self.pool = pool }

  /// - Returns: the secret; it cannot be read again.
  public func create(principal: String, ttlSeconds: Int? = nil, comment: String = "") async throws -> (secret: String, entry: Entry) {
    let secret = SecureRandom.token(prefix: Self.prefix)
    let rows = try await pool.query(
      """
      INSERT INTO access_tokens (id, principal, hash, expires_at, comment)
      SELECT $1::uuid, name, $3, now() + make_interval(secs => $4::double precision), $5 FROM users WHERE name = $2 AND deleted_at IS NULL
      RETURNING id::text AS id, comment, created_at, expires_at
      """, [.text(UUID().uuidString), .text(principal), .text(SHA256Digest.hex(secret)), .optional(ttlSeconds), .text(comment)])
    guard let row = rows.first else { throw PlatformError(.notFound, "there is no user '\(principal.prefix(130))'", number: "PLT-4462") }
    return (secret, try Self.entry(row))
  }

  /// Makes the first administrator's token, which exists already in a file that only its owner can read, valid. Safe to repeat; a revoked one stays revoked.
  public func store(_ secret: String) async throws {
    try await pool.transaction { transaction in
      try transaction.execute(
        "INSERT INTO users (name, is_administrator, created_by) VALUES ($1, true, 'platform') ON CONFLICT DO NOTHING", [.text(Users.first)])
      try transaction.execute(
        "INSERT INTO access_tokens (id, principal, hash) VALUES ($1::uuid, $2, $3) ON CONFLICT (hash) DO NOTHING",
        [.text(UUID().uuidString), .text(Users.first), .text(SHA256Digest.hex(secret))])
    }
  }

  /// - Parameter bound: how long to wait for the answer; nil takes the pool's.
  /// - Throws: `unauthenticated` PLT-1402 for an unknown, expired or revoked token, without saying which.
  public func authenticate(_ secret: String, within bound: Duration? = nil) async throws -> Holder {
    guard secret.utf8.count <= 256 else { throw Self.refused }
    let rows = try await pool.query(
      """
      SELECT u.name, u.is_administrator FROM access_tokens t JOIN users u ON u.name = t.principal AND u.deleted_at IS NULL
      WHERE t.hash = $1 AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
      """, [.text(SHA256Digest.hex(secret))], within: bound)
    guard let row = rows.first else { throw Self.refused }
    return Holder(name: try row.string("name"), isAdministrator: try row.bool("is_administrator"))
  }

  /// Those that are valid now, oldest first.
  public func list(principal: String) async throws -> [Entry] {
    try await pool.query(
      """
      SELECT id::text AS id, comment, created_at, expires_at FROM access_tokens
      WHERE principal = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) ORDER BY created_at, access_tokens.id
      """, [.text(principal)]
    ).map(Self.entry)
  }

  private static func entry(_ row: PostgresRow) throws -> Entry {
    Entry(
      id: try row.string("id"), comment: try row.string("comment"), createdAt: try row.date("created_at"),
      expiresAt: try row.get("expires_at", as: Date?.self))
  }

  /// - Throws: `notFound` PLT-4466 for one that somebody else holds, too.
  public func revoke(_ id: String, of principal: String) async throws {
    guard UUID(uuidString: id) != nil,
      try await pool.execute(
        "UPDATE access_tokens SET revoked_at = now() WHERE id = $1::uuid AND principal = $2 AND revoked_at IS NULL", [.text(id), .text(principal)]) == 1
    else { throw PlatformError(.notFound, "\(principal) has no token '\(id.prefix(60))'", number: "PLT-4466") }
  }

  static let refused = PlatformError(
    .unauthenticated, "the token is not valid", hint: "'platform env' prints the token of this machine's cluster.", number: "PLT-1402")
}
