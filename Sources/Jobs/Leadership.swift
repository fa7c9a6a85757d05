// SPDX-License-Identifier: Apache-2.0

import Core
public import Postgres

/// One of the coordinators that share a Postgres.
public struct CoordinatorAddress: Sendable, Equatable {
  /// Of this process alone.
  public var instance: String
  /// `HOST:PORT` for clients.
  public var http: String
  /// `HOST:PORT` for nodes.
  public var nodes: String

  public init(instance: String, http: String, nodes: String) {
    self.instance = instance
    self.http = http
    self.nodes = nodes
  }

  /// What its connections are called, so that a successor can end them.
  public var applicationName: String { "platform \(instance)" }
}

/// The lease row that makes one coordinator the leading one. Its epoch grows with every change of holder, and every transaction of
/// the leader checks it, so a coordinator that was paused past its lease can change nothing.
///
/// The epoch lies in a row of its own, which only a change of holder writes: renewing the lease never waits for the leader's own work.
public struct Leadership: Sendable {
  public static let migrations = [
    Migration(
      component: "leadership", number: 1, name: "several coordinators",
      sql: """
        CREATE TABLE scheduler_epoch (singleton int PRIMARY KEY CHECK (singleton = 1), epoch bigint NOT NULL);
        INSERT INTO scheduler_epoch SELECT 1, epoch FROM scheduler_lease;
        ALTER TABLE scheduler_lease ADD COLUMN instance text NOT NULL DEFAULT '', ADD COLUMN http text NOT NULL DEFAULT '',
          ADD COLUMN nodes text NOT NULL DEFAULT '';
        CREATE TABLE coordinators (
          instance text PRIMARY KEY, http text NOT NULL, nodes text NOT NULL, seen_at timestamptz NOT NULL DEFAULT now());
        """)
  ]

  /// Who leads.
  public struct Leader: Sendable, Equatable {
    public var epoch: Int64
    public var address: CoordinatorAddress
    /// Whether the lease has not run out.
    public var isValid: Bool
  }

  public let pool: PostgresPool
  /// How long the lease lasts without renewal, on the database's clock.
  public let seconds: Int

  public init(pool: PostgresPool, seconds: Int = 3) {
    self.pool = pool
    self.seconds = seconds
  }

  public func leader() async throws -> Leader {
    let rows = try await pool.query(
      "SELECT epoch, instance, http, nodes, expires_at > clock_timestamp() AS valid FROM scheduler_lease WHERE singleton = 1", [], within: Self.patience)
    guard let row = rows.first else { throw PlatformError(.internalError, "the lease's row is gone") }
    return Leader(
      epoch: Int64(try row.int("epoch")),
      address: CoordinatorAddress(instance: try row.string("instance"), http: try row.string("http"), nodes: try row.string("nodes")),
      isValid: try row.bool("valid"))
  }

  /// Takes the lease when it is free. What the last holder has open in the database ends: it may be frozen in the middle of it.
  /// - Returns: the new epoch, or nil while another holder's lease is valid.
  public func acquire(_ own: CoordinatorAddress) async throws -> Int64? {
    let seconds = seconds
    return try await pool.transaction(within: Self.patience) { transaction -> Int64? in
      let lease = try transaction.query(
        "SELECT instance, expires_at <= clock_timestamp() AS free FROM scheduler_lease WHERE singleton = 1 FOR UPDATE")
      guard let row = lease.first, try row.bool("free") else { return nil }
      let last = CoordinatorAddress(instance: try row.string("instance"), http: "", nodes: "")
      if !last.instance.isEmpty {
        _ = try transaction.query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid()", [.text(last.applicationName)])
      }
      let epoch = try transaction.query("UPDATE scheduler_epoch SET epoch = epoch + 1 RETURNING epoch")[0].int("epoch")
      try transaction.execute(
        """
        UPDATE scheduler_lease SET epoch = $1::bigint, holder = $2, instance = $2, http = $3, nodes = $4,
          expires_at = clock_timestamp() + make_interval(secs => $5::double precision)
        """, [.int(epoch), .text(own.instance), .text(own.http), .text(own.nodes), .int(seconds)])
      return Int64(epoch)
    }
  }

  /// - Returns: false when another epoch has begun; the caller must stop at once.
  public func renew(epoch: Int64) async throws -> Bool {
    try await pool.execute(
      """
      UPDATE scheduler_lease SET expires_at = clock_timestamp() + make_interval(secs => $2::double precision)
      WHERE singleton = 1 AND epoch = $1::bigint
      """, [.int(Int(epoch)), .int(seconds)], within: Self.patience) == 1
  }

  /// Gives the lease back, so that a successor need not wait for it to run out.
  public func release(epoch: Int64) async throws {
    try await pool.execute(
      "UPDATE scheduler_lease SET expires_at = clock_timestamp() WHERE singleton = 1 AND epoch = $1::bigint", [.int(Int(epoch))], within: Self.patience)
  }

  // MARK: the others

  /// Says that a coordinator is there.
  public func beat(_ own: CoordinatorAddress) async throws {
    try await pool.execute(
      """
      INSERT INTO coordinators (instance, http, nodes) VALUES ($1, $2, $3) ON CONFLICT (instance) DO UPDATE SET seen_at = now()
      """, [.text(own.instance), .text(own.http), .text(own.nodes)], within: Self.patience)
  }

  /// `HOST:PORT` for nodes of all coordinators that were there lately: one that is away for a moment comes back under it.
  public func nodeAddresses(within seconds: Int = 3600) async throws -> [String] {
    try await pool.execute("DELETE FROM coordinators WHERE seen_at < now() - interval '1 day'", [], within: Self.patience)
    return try await pool.query(
      "SELECT DISTINCT nodes FROM coordinators WHERE seen_at > now() - make_interval(secs => $1::double precision) ORDER BY nodes", [.int(seconds)],
      within: Self.patience
    ).map { try $0.string("nodes") }
  }

  /// An answer about a lease of seconds is worth nothing later than this.
  private static let patience = Duration.seconds(2)

  /// Throws when `epoch` is over. Call first inside a transaction: the row stays locked to its end.
  public static func check(_ epoch: Int64, _ transaction: PostgresTransaction) throws {
    let rows = try transaction.query("SELECT epoch FROM scheduler_epoch WHERE singleton = 1 FOR SHARE", [])
    guard let row = rows.first, Int64(try row.int("epoch")) == epoch else { throw LeaseKeeper.over(epoch) }
  }
}
