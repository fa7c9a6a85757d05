// SPDX-License-Identifier: Apache-2.0

import API
import Core
import Foundation
import Logging
import Postgres
import Synchronization

/// Who ran which statement when, and how it ended. Written in groups behind the answers.
final class StatementHistory: Sendable {
  static let migrations: [Migration] = [
    Migration(
      component: "statements", number: 1, name: "statement history",
      sql: """
        CREATE TABLE statement_history (
          id text PRIMARY KEY, text text NOT NULL, kind text NOT NULL, principal text NOT NULL, engine text NOT NULL, state text NOT NULL,
          started_at bigint NOT NULL, ended_at bigint, row_count bigint NOT NULL, byte_count bigint NOT NULL, error text,
          tables jsonb NOT NULL
        );
        CREATE INDEX statement_history_by_time ON statement_history (started_at DESC, id DESC);
        CREATE INDEX statement_history_running ON statement_history (id) WHERE state IN ('PENDING', 'RUNNING');
        """)
  ]

  /// Rows that may wait for Postgres; more are dropped and counted.
  private static let limit = 50_000
  private static let groupSize = 1000

  private struct State {
    var rows: [StatementHistoryPage.Entry] = []
    var dropped = 0
  }

  private let pool: PostgresPool
  private let logger: Logger
  private let state = Mutex(State())

  init(pool: PostgresPool, logger: Logger) {
    self.pool = pool
    self.logger = logger
  }

  /// Rows that were dropped because Postgres was away for too long.
  var dropped: Int { state.withLock { $0.dropped } }

  /// Queues a row; it is stored within half a second while Postgres is there.
  func add(_ entry: StatementHistoryPage.Entry) {
    state.withLock { state in
      guard state.rows.count < Self.limit else { return state.dropped += 1 }
      state.rows.append(entry)
    }
  }

  /// Stores a row before it returns.
  func store(_ entries: [StatementHistoryPage.Entry]) async throws {
    guard !entries.isEmpty else { return }
    func column(_ value: (StatementHistoryPage.Entry) -> String?) -> PostgresValue { .optionalTextArray(entries.map(value)) }
    func stored(_ text: String) -> String { text.utf8.contains(0) ? text.filter { $0 != "\0" } : text }
    try await pool.execute(
      """
      INSERT INTO statement_history (id, text, kind, principal, engine, state, started_at, ended_at, row_count, byte_count, error, tables)
      SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[]::bigint[], $8::text[]::bigint[],
        $9::text[]::bigint[], $10::text[]::bigint[], $11::text[], $12::text[]::jsonb[])
      ON CONFLICT (id) DO UPDATE SET state = excluded.state, kind = excluded.kind, ended_at = excluded.ended_at,
        row_count = excluded.row_count, byte_count = excluded.byte_count, error = excluded.error, tables = excluded.tables
      WHERE statement_history.ended_at IS NULL
      """,
      [
        column(\.id), column { stored($0.text) }, column(\.kind), column(\.principal), column(\.engine), column(\.state),
        column { String($0.startedMilliseconds) }, column { $0.endedMilliseconds.map { String($0) } }, column { String($0.rows) },
        column { String($0.bytes) }, column { $0.error.map(stored) }, column { $0.tables == [] ? "[]" : $0.tables.sortedText },
      ])
  }

  /// Whatever ran when the last coordinator ended has ended with it.
  func failInterrupted() async throws {
    try await pool.execute(
      """
      UPDATE statement_history SET state = 'FAILED', ended_at = $1, error = 'the coordinator was restarted while the statement ran'
      WHERE state IN ('PENDING', 'RUNNING')
      """, [.int(Int(ProcessSupport.wallMilliseconds))])
  }

  /// Writes queued rows, again and again, until the task is cancelled.
  func run() async {
    while !Task.isCancelled {
      await flush()
      try? await Task.sleep(for: .milliseconds(400))  // cancelled: the loop condition ends it
    }
  }

  func flush() async {
    while true {
      // Of two rows of one statement the later one counts; one command may not touch a row twice.
      let group = state.withLock { state -> [StatementHistoryPage.Entry] in
        let taken = Array(state.rows.prefix(Self.groupSize))
        state.rows.removeFirst(taken.count)
        return taken
      }
      guard !group.isEmpty else { return }
      var latest: [String: StatementHistoryPage.Entry] = [:]
      for entry in group { latest[entry.id] = entry }
      do {
        try await store(Array(latest.values))
      } catch {
        logger.warning("the statement history waits for Postgres", metadata: ["error": "\(error)"])
        state.withLock { state in
          let room = max(0, Self.limit - state.rows.count)
          state.dropped += max(0, group.count - room)
          state.rows.insert(contentsOf: group.suffix(room), at: 0)
        }
        return
      }
    }
  }

  func entry(_ id: String) async throws -> StatementHistoryPage.Entry? {
    try await pool.query("SELECT * FROM statement_history WHERE id = $1", [.text(id)]).first.map(Self.entry)
  }

  /// - Parameter principal: nil: everybody's.
  func list(_ filter: StatementHistoryFilter, principal: String?) async throws -> StatementHistoryPage {
    let after = filter.token.flatMap { token -> (Int, String)? in
      let parts = token.split(separator: ".", maxSplits: 1)
      return parts.count == 2 ? Int(parts[0]).map { ($0, String(parts[1])) } : nil
    }
    if filter.token != nil && after == nil { throw PlatformError(.invalidArgument, "page_token is not one that this server gave") }
    let rows = try await pool.query(
      """
      SELECT * FROM statement_history
      WHERE ($1::text IS NULL OR principal = $1) AND (cardinality($2::text[]) = 0 OR state = ANY ($2::text[]))
        AND (cardinality($3::text[]) = 0 OR id = ANY ($3::text[]))
        AND ($4::bigint IS NULL OR started_at >= $4::bigint) AND ($5::bigint IS NULL OR started_at <= $5::bigint)
        AND ($6::bigint IS NULL OR (started_at, id) < ($6::bigint, $7::text))
      ORDER BY started_at DESC, id DESC LIMIT $8
      """,
      [
        .optional(principal), .textArray(filter.states), .textArray(filter.ids), .optional(filter.startedAfterMilliseconds.map(Int.init)),
        .optional(filter.startedBeforeMilliseconds.map(Int.init)), .optional(after?.0), .optional(after?.1), .int(filter.limit + 1),
      ])
    var entries = try rows.map(Self.entry)
    var token: String?
    if entries.count > filter.limit {
      entries.removeLast()
      token = entries.last.map { "\($0.startedMilliseconds).\($0.id)" }
    }
    return StatementHistoryPage(entries: entries, nextToken: token)
  }

  private static func entry(_ row: PostgresRow) throws -> StatementHistoryPage.Entry {
    StatementHistoryPage.Entry(
      id: try row.string("id"), text: try row.string("text"), kind: try row.string("kind"), principal: try row.string("principal"),
      engine: try row.string("engine"), state: try row.string("state"), startedMilliseconds: Int64(try row.int("started_at")),
      endedMilliseconds: try row.get("ended_at", as: Int?.self).map { Int64($0) }, rows: Int64(try row.int("row_count")),
      bytes: Int64(try row.int("byte_count")), error: try row.get("error", as: String?.self), tables: try row.json("tables"))
  }
}
