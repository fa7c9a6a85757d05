// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres

/// What happened: lineage, drift, audit.
extension CatalogStore {
  /// Records edges; all of them or none.
  public func addLineage(_ edges: [LineageEdge]) async throws {
    guard !edges.isEmpty else { return }
    try await pool.transaction { transaction in
      for edge in edges {
        try transaction.execute(
          """
          INSERT INTO lineage (source_kind, source, source_version, target_kind, target, target_version, run_id, task_key, actor)
          VALUES ($1, $2, $3::bigint, $4, $5, $6::bigint, $7, $8, $9)
          """,
          [
            .text(edge.sourceKind), .text(edge.source), .optional(edge.sourceVersion.map(Int.init)), .text(edge.targetKind),
            .text(edge.target), .optional(edge.targetVersion.map(Int.init)), .optional(edge.runID), .optional(edge.taskKey), .optional(edge.actor),
          ])
      }
    }
  }

  /// Which side of an edge a name stands on.
  public enum LineageSide: String, Sendable { case source, target }

  /// Edges that have `name` on one side, newest first. The target side answers where something came from.
  public func lineage(
    of name: String, as side: LineageSide, limit: Int, pageToken: String? = nil
  ) async throws -> CatalogPage<LineageEdge> {
    try await page(
      Listing("lineage", filters: [(side.rawValue, name)], key: [("id", "bigint")], isDescending: true), limit, pageToken, Self.lineageEdge)
  }

  /// The newest edge to each object on the other side, newest first.
  public func latestLineage(of name: String, as side: LineageSide, limit: Int) async throws -> [LineageEdge] {
    let other: LineageSide = side == .source ? .target : .source
    return try await pool.query(
      """
      SELECT * FROM (SELECT DISTINCT ON (\(other.rawValue)_kind, \(other.rawValue)) * FROM lineage WHERE \(side.rawValue) = $1
        ORDER BY \(other.rawValue)_kind, \(other.rawValue), id DESC) AS x ORDER BY id DESC LIMIT $2::bigint
      """, [.text(name), .int(limit)]
    ).map(Self.lineageEdge)
  }

  private static func lineageEdge(_ row: PostgresRow) throws -> LineageEdge {
    LineageEdge(
      sourceKind: try row.string("source_kind"), source: try row.string("source"), sourceVersion: try row.get("source_version"),
      targetKind: try row.string("target_kind"), target: try row.string("target"), targetVersion: try row.get("target_version"),
      runID: try row.get("run_id"), taskKey: try row.get("task_key"), actor: try row.get("actor"), recordedAt: try row.date("recorded_at"))
  }

  /// Records edges between columns; all of them or none.
  public func addColumnLineage(_ edges: [ColumnLineageEdge]) async throws {
    guard !edges.isEmpty else { return }
    try await pool.transaction { transaction in
      for edge in edges {
        try transaction.execute(
          """
          INSERT INTO column_lineage (source, source_column, source_version, target, target_column, target_version, run_id, task_key, actor)
          VALUES ($1, $2, $3::bigint, $4, $5, $6::bigint, $7, $8, $9)
          """,
          [
            .text(edge.source), .text(edge.sourceColumn), .optional(edge.sourceVersion.map(Int.init)), .text(edge.target), .text(edge.targetColumn),
            .optional(edge.targetVersion.map(Int.init)), .optional(edge.runID), .optional(edge.taskKey), .optional(edge.actor),
          ])
      }
    }
  }

  /// Edges that have the column on one side, newest first; of all columns of the table when none is given.
  public func columnLineage(
    of name: String, column: String?, as side: LineageSide, limit: Int, pageToken: String? = nil
  ) async throws -> CatalogPage<ColumnLineageEdge> {
    try await page(
      Listing(
        "column_lineage", filters: [(side.rawValue, name), (side.rawValue + "_column", column)], key: [("id", "bigint")], isDescending: true),
      limit, pageToken, Self.columnLineageEdge)
  }

  /// The newest edge to each column on the other side, newest first. The column is found in any case of letters.
  public func latestColumnLineage(of name: String, column: String, as side: LineageSide, limit: Int) async throws -> [ColumnLineageEdge] {
    let other: LineageSide = side == .source ? .target : .source
    return try await pool.query(
      """
      SELECT * FROM (SELECT DISTINCT ON (\(other.rawValue), \(other.rawValue)_column) * FROM column_lineage
        WHERE \(side.rawValue) = $1 AND lower(\(side.rawValue)_column) = lower($2)
        ORDER BY \(other.rawValue), \(other.rawValue)_column, id DESC) AS x ORDER BY id DESC LIMIT $3::bigint
      """, [.text(name), .text(column), .int(limit)]
    ).map(Self.columnLineageEdge)
  }

  private static func columnLineageEdge(_ row: PostgresRow) throws -> ColumnLineageEdge {
    ColumnLineageEdge(
      source: try row.string("source"), sourceColumn: try row.string("source_column"), sourceVersion: try row.get("source_version"),
      target: try row.string("target"), targetColumn: try row.string("target_column"), targetVersion: try row.get("target_version"),
      runID: try row.get("run_id"), taskKey: try row.get("task_key"), actor: try row.get("actor"), recordedAt: try row.date("recorded_at"))
  }

  /// Records measurements. One of the same run and column takes the place of the earlier one.
  public func addDrift(_ entries: [DriftEntry]) async throws {
    try await pool.transaction { transaction in
      for one in entries {
        try transaction.execute(
          """
          INSERT INTO drift (table_name, column_name, run_id, baseline, psi, ks, js, alert) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
          ON CONFLICT (table_name, column_name, run_id) DO UPDATE SET baseline = excluded.baseline, psi = excluded.psi, ks = excluded.ks,
            js = excluded.js, alert = excluded.alert, recorded_at = now()
          """,
          [
            .text(one.table), .text(one.column), .text(one.runID), .text(one.baseline), .optional(one.psi), .optional(one.ks),
            .optional(one.js), .bool(one.alert),
          ])
      }
    }
  }

  /// The newest measurement of each monitored column.
  public func latestDrift() async throws -> [DriftEntry] {
    try await pool.query(
      "SELECT DISTINCT ON (table_name, column_name) * FROM drift ORDER BY table_name, column_name, recorded_at DESC, run_id DESC"
    ).map {
      DriftEntry(
        table: try $0.string("table_name"), column: try $0.string("column_name"), baseline: try $0.string("baseline"),
        runID: try $0.string("run_id"), psi: try $0.get("psi"), ks: try $0.get("ks"), js: try $0.get("js"),
        alert: try $0.bool("alert"))
    }
  }

  /// Records what somebody did outside of this store.
  public func audit(actor: String, action: String, object: String, outcome: String) async throws {
    try await pool.execute(
      "INSERT INTO audit (actor, action, object, outcome) VALUES ($1, $2, $3, $4)",
      [.text(actor), .text(action), .text(object), .text(outcome)])
  }

  /// What was done, newest first; by one actor or by all.
  public func auditEntries(actor: String? = nil, limit: Int, pageToken: String? = nil) async throws -> CatalogPage<AuditEntry> {
    try await page(
      Listing("audit", filters: [("actor", actor)], key: [("id", "bigint")], isDescending: true), limit, pageToken
    ) { row in
      AuditEntry(
        at: try row.date("at"), actor: try row.string("actor"), action: try row.string("action"), object: try row.string("object"),
        outcome: try row.string("outcome"))
    }
  }
}
