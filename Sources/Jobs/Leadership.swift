// SPDX-License-Identifier: Apache-2.0

import Core
public import Postgres

/// The lease row that makes one coordinator the scheduler. Its epoch grows with every change of holder, and every write of
/// the scheduler checks it in the same transaction, so a coordinator that was paused past its lease can change nothing.
public struct Leadership: Sendable {
  public let pool: PostgresPool
  /// How long the lease lasts without renewal, on the database's clock.
  public let seconds: Int

  public init(pool: PostgresPool, seconds: Int = 3) {
    self.pool = pool
    self.seconds = seconds
  }

  /// Takes the lease when it is free.
  /// - Returns: the new epoch, or nil while another holder's lease is valid.
  public func acquire(holder: String) async throws -> Int64? {
    let rows = try await pool.query(
      """
      UPDATE scheduler_lease SET epoch = epoch + 1, holder = $1, expires_at = now() + make_interval(secs => $2::double precision)
      WHERE singleton = 1 AND expires_at <= now() RETURNING epoch
      """, [.text(holder), .int(seconds)], within: Self.patience)
    return try rows.first.map { Int64(try $0.int("epoch")) }
  }

  /// - Returns: false when another epoch has begun; the caller must stop at once.
  public func renew(epoch: Int64) async throws -> Bool {
    try await pool.execute(
      """
      UPDATE scheduler_lease SET expires_at = now() + make_interval(secs => $2::double precision)
      WHERE singleton = 1 AND epoch = $1::bigint
      """, [.int(Int(epoch)), .int(seconds)], within: Self.patience) == 1
  }

  /// Gives the lease back, so that a successor need not wait for it to run out.
  public func release(epoch: Int64) async throws {
    try await pool.execute(
      "UPDATE scheduler_lease SET expires_at = now() WHERE singleton = 1 AND epoch = $1::bigint", [.int(Int(epoch))], within: Self.patience)
  }

  /// An answer about a lease of seconds is worth nothing later than this.
  private static let patience = Duration.seconds(2)

  /// Throws when `epoch` is over. Call first inside a transaction: the row stays locked to its end.
  static func check(_ epoch: Int64, _ transaction: PostgresTransaction) throws {
    let rows = try transaction.query("SELECT epoch FROM scheduler_lease WHERE singleton = 1 FOR SHARE", [])
    guard let row = rows.first, Int64(try row.int("epoch")) == epoch else {
      throw PlatformError(.conflict, "this coordinator's epoch \(epoch) is over: another one schedules", number: "PLT-1301")
    }
  }
}
