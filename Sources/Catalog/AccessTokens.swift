// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
public import Postgres

/// Bearer tokens: 256 random bits with a prefix, shown once, stored as SHA-256.
public struct AccessTokens: Sendable {
  public let pool: PostgresPool
  public static let prefix = "plt_"
  public init(pool: PostgresPool) { self.pool = pool }

  /// - Returns: the secret; it cannot be read again.
  public func create(principal: String, ttlSeconds: Int? = nil) async throws -> String {
    let secret = SecureRandom.token(prefix: Self.prefix)
    try await store(secret, principal: principal, ttlSeconds: ttlSeconds)
    return secret
  }

  /// Makes a token that exists already (in a file that only the owner can read) valid. Safe to repeat; a revoked one stays revoked.
  public func store(_ secret: String, principal: String, ttlSeconds: Int? = nil) async throws {
    try await pool.execute(
      """
      INSERT INTO access_tokens (id, principal, hash, expires_at)
      VALUES ($1::uuid, $2, $3, now() + make_interval(secs => $4::double precision)) ON CONFLICT (hash) DO NOTHING
      """, [.text(UUID().uuidString), .text(principal), .text(SHA256Digest.hex(secret)), .optional(ttlSeconds)])
  }

  /// - Parameter bound: how long to wait for the answer; nil takes the pool's.
  /// - Returns: the principal.
  /// - Throws: `unauthenticated` PLT-1402 for an unknown, expired or revoked token, without saying which.
  public func authenticate(_ secret: String, within bound: Duration? = nil) async throws -> String {
    guard secret.utf8.count <= 256 else { throw Self.refused }
    let rows = try await pool.query(
      "SELECT principal FROM access_tokens WHERE hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())",
      [.text(SHA256Digest.hex(secret))], within: bound)
    guard let row = rows.first else { throw Self.refused }
    return try row.string("principal")
  }

  /// Names of those who hold a token that is valid now.
  public func principals() async throws -> [String] {
    try await pool.query(
      "SELECT DISTINCT principal FROM access_tokens WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) ORDER BY 1"
    ).map { try $0.string("principal") }
  }

  public func revokeAll(principal: String) async throws {
    try await pool.execute("UPDATE access_tokens SET revoked_at = now() WHERE principal = $1 AND revoked_at IS NULL", [.text(principal)])
  }

  static let refused = PlatformError(
    .unauthenticated, "the token is not valid", hint: "'platform env' prints the token of this machine's cluster.", number: "PLT-1402")
}
