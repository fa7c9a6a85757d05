// SPDX-License-Identifier: Apache-2.0

import Core
public import Postgres

/// Which node keys may speak on the control socket, and the tokens that introduce new ones.
public struct NodeStore: Sendable {
  public let pool: PostgresPool
  public init(pool: PostgresPool) { self.pool = pool }

  /// Public keys (hexadecimal) of admitted nodes, by node name.
  public func admitted() async throws -> [String: String] {
    let rows = try await pool.query("SELECT name, public_key FROM nodes ORDER BY name", [])
    return Dictionary(uniqueKeysWithValues: try rows.map { (try $0.string("name"), try $0.string("public_key")) })
  }

  /// Keeps the SHA-256 of a join token's secret (hexadecimal); the secret itself is never stored.
  public func addToken(digest: String, ttlSeconds: Int, uses: Int) async throws {
    try await pool.execute(
      "INSERT INTO join_tokens (hash, expires_at, uses_left) VALUES ($1, now() + make_interval(secs => $2::double precision), $3)",
      [.text(digest), .int(ttlSeconds), .int(uses)])
  }

  /// Uses up one use of the token and admits the key under the name, in one transaction. A node that joins again with the
  /// key it has uses nothing.
  /// - Throws: `permissionDenied` (PLT-2162) for an unknown, expired or used-up token; `alreadyExists` for a name that
  ///   another key holds.
  public func admit(name: String, publicKey: String, secretDigest: String) async throws {
    try await pool.transaction { transaction in
      if let row = try transaction.query("SELECT public_key FROM nodes WHERE name = $1 FOR UPDATE", [.text(name)]).first {
        if try row.string("public_key") == publicKey { return }
        throw PlatformError(
          .alreadyExists, "a node named '\(name)' has already joined with another key",
          hint: "Choose another name with --name.", number: "PLT-2161")
      }
      let used = try transaction.execute(
        "UPDATE join_tokens SET uses_left = uses_left - 1 WHERE hash = $1 AND uses_left > 0 AND expires_at > now()",
        [.text(secretDigest)])
      guard used == 1 else {
        throw PlatformError(
          .permissionDenied, "the join token is unknown, expired or used up",
          hint: "Make a new one on the coordinator with 'platform token create'.", number: "PLT-2162")
      }
      try transaction.execute("INSERT INTO nodes (name, public_key) VALUES ($1, $2)", [.text(name), .text(publicKey)])
    }
  }

  /// Admits a key without a token: for workers that `platform up` starts itself.
  public func admitLocal(name: String, publicKey: String) async throws {
    try await pool.execute(
      """
      INSERT INTO nodes (name, public_key) VALUES ($1, $2)
      ON CONFLICT (name) DO UPDATE SET public_key = excluded.public_key
      """, [.text(name), .text(publicKey)])
  }
}
