// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
public import Postgres

/// What happened in the cluster, in Postgres: a bounded list, oldest first.
public struct ClusterEventStore: Sendable {
  public static let migrations = [
    Migration(
      component: "events", number: 1, name: "what happened in the cluster",
      sql: """
        CREATE TABLE cluster_events (
          id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
          key text UNIQUE,
          at timestamptz NOT NULL DEFAULT clock_timestamp(),
          kind text NOT NULL,
          subject text NOT NULL,
          node text,
          message text NOT NULL
        );
        CREATE INDEX cluster_events_by_time ON cluster_events (at);
        """)
  ]

  /// An event as it was stored.
  public struct Stored: Sendable, Equatable {
    public var id: Int64
    public var at: Date
    public var event: ClusterEvent
  }

  /// Older events are forgotten, and so are those above the number: 0.1 of it is a bad day of a large cluster, ten times it a gigabyte.
  public static let days = 30
  public static let limit = 100_000

  public let pool: PostgresPool
  public init(pool: PostgresPool) { self.pool = pool }

  public func add(_ events: [ClusterEvent]) async throws {
    guard !events.isEmpty else { return }
    try await pool.transaction { try Self.add(events, $0) }
  }

  /// Notes events with what they are events of. One that is known by its key is noted once.
  static func add(_ events: [ClusterEvent], _ transaction: PostgresTransaction) throws {
    guard !events.isEmpty else { return }
    func column(_ value: (ClusterEvent) -> String?) -> PostgresValue { .optionalTextArray(events.map(value)) }
    func stored(_ text: String) -> String { text.utf8.contains(0) ? text.filter { $0 != "\0" } : text }
    try transaction.execute(
      """
      INSERT INTO cluster_events (key, kind, subject, node, message)
      SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) ON CONFLICT (key) DO NOTHING
      """, [column(\.key), column { $0.kind.rawValue }, column { stored($0.subject) }, column(\.node), column { stored($0.message) }])
  }

  /// - Parameters:
  ///   - after: only later ones, oldest first; nil: the newest ones, oldest of them first.
  ///   - kinds: nil: all.
  public func list(since: Date? = nil, after: Int64? = nil, kinds: [ClusterEvent.Kind]? = nil, limit: Int) async throws -> [Stored] {
    let rows = try await pool.query(
      """
      SELECT * FROM cluster_events
      WHERE ($1::timestamptz IS NULL OR at >= $1::timestamptz) AND ($2::bigint IS NULL OR id > $2::bigint)
        AND ($3::text[] IS NULL OR kind = ANY ($3::text[]))
      ORDER BY id \(after == nil ? "DESC" : "ASC") LIMIT $4
      """,
      [.optional(since), .optional(after.map { Int($0) }), kinds.map { .textArray($0.map(\.rawValue)) } ?? .null, .int(limit)])
    let found = try rows.compactMap { row -> Stored? in
      // A kind that a later version wrote.
      guard let kind = ClusterEvent.Kind(rawValue: try row.string("kind")) else { return nil }
      return Stored(
        id: try row.get("id"), at: try row.date("at"),
        event: ClusterEvent(kind, try row.string("subject"), node: try row.get("node", as: String?.self), try row.string("message")))
    }
    return after == nil ? found.reversed() : found
  }

  /// Forgets what is too old or too much.
  public func prune(limit: Int = Self.limit) async throws {
    try await pool.execute(
      """
      DELETE FROM cluster_events WHERE at < now() - make_interval(days => $1::int)
        OR id <= (SELECT id FROM cluster_events ORDER BY id DESC OFFSET $2::int LIMIT 1)
      """, [.int(Self.days), .int(limit)])
  }
}
