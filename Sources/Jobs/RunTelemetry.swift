// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
public import Postgres

/// Curves and logs of runs. Writers hand over batches; one statement stores a batch.
public struct RunTelemetry: Sendable {
  public struct Metric: Sendable, Codable, Equatable {
    public var runID: String
    public var taskKey: String
    public var name: String
    public var step: Int64
    public var value: Double
    public init(runID: String, taskKey: String, name: String, step: Int64, value: Double) {
      self.runID = runID
      self.taskKey = taskKey
      self.name = name
      self.step = step
      self.value = value
    }
  }

  public struct Log: Sendable, Codable, Equatable {
    public var id: Int64
    public var runID: String
    public var taskKey: String
    public var attempt: Int
    public var unit: String
    public var time: Date
    public var line: String
    public init(id: Int64 = 0, runID: String, taskKey: String, attempt: Int, unit: String, time: Date, line: String) {
      self.id = id
      self.runID = runID
      self.taskKey = taskKey
      self.attempt = attempt
      self.unit = unit
      self.time = time
      self.line = line
    }
  }

  public let pool: PostgresPool
  public init(pool: PostgresPool) { self.pool = pool }

  /// Stores points; a point of the same step replaces the earlier one (a resumed gang repeats steps).
  public func store(_ metrics: [Metric]) async throws {
    guard !metrics.isEmpty else { return }
    // One statement may not touch a row twice: the last point of each step wins.
    var latest: [String: JSONValue] = [:]
    for one in metrics where one.value.isFinite {
      latest["\(one.runID)/\(one.taskKey)/\(one.name)/\(one.step)"] = [
        "run_id": .string(one.runID), "task_key": .string(one.taskKey), "name": .string(one.name), "step": .integer(one.step),
        "value": .number(one.value),
      ]
    }
    try await pool.execute(
      """
      INSERT INTO run_metrics (run_id, task_key, name, step, value)
      SELECT run_id, task_key, name, step, value
      FROM jsonb_to_recordset($1::jsonb) AS r(run_id text, task_key text, name text, step bigint, value double precision)
      ON CONFLICT (run_id, task_key, name, step) DO UPDATE SET value = excluded.value, recorded_at = now()
      """, [.encoding(.array(latest.sorted { $0.key < $1.key }.map(\.value)))])
  }

  public func store(_ logs: [Log]) async throws {
    guard !logs.isEmpty else { return }
    let rows = logs.map { log -> JSONValue in
      [
        "run_id": .string(log.runID), "task_key": .string(log.taskKey), "attempt": .integer(Int64(log.attempt)),
        "unit": .string(log.unit), "ms": .integer(Int64(log.time.timeIntervalSince1970 * 1000)),
        // U+0000 cannot be stored as text.
        "line": .string(log.line.replacingOccurrences(of: "\0", with: "\u{FFFD}")),
      ]
    }
    try await pool.execute(
      """
      INSERT INTO run_logs (run_id, task_key, attempt, unit, recorded_at, line)
      SELECT run_id, task_key, attempt, unit, to_timestamp(ms / 1000.0), line
      FROM jsonb_to_recordset($1::jsonb) AS r(run_id text, task_key text, attempt int, unit text, ms bigint, line text)
      """, [.encoding(.array(rows))])
  }

  /// Points of a run in step order, at most `limit` a curve: longer curves keep every n-th point and the last.
  public func metrics(runID: String, taskKey: String?, name: String?, limit: Int = 500) async throws -> [Metric] {
    let rows = try await pool.query(
      """
      SELECT task_key, name, step, value FROM (
        SELECT *, row_number() OVER w AS n, count(*) OVER (PARTITION BY task_key, name) AS total FROM run_metrics
        WHERE run_id = $1 AND ($2::text IS NULL OR task_key = $2) AND ($3::text IS NULL OR name = $3)
        WINDOW w AS (PARTITION BY task_key, name ORDER BY step)
      ) points WHERE total <= $4::bigint OR n = total OR n % (total / $4::bigint + 1) = 1
      ORDER BY task_key, name, step
      """, [.text(runID), .optional(taskKey), .optional(name), .int(limit)])
    return try rows.map {
      Metric(
        runID: runID, taskKey: try $0.string("task_key"), name: try $0.string("name"), step: Int64(try $0.int("step")),
        value: try $0.double("value"))
    }
  }

  /// Log lines with an identifier above `after`, in order.
  public func logs(runID: String, taskKey: String?, attempt: Int?, after: Int64, limit: Int) async throws -> [Log] {
    let rows = try await pool.query(
      """
      SELECT id, task_key, attempt, unit, recorded_at, line FROM run_logs
      WHERE run_id = $1 AND id > $2::bigint AND ($3::text IS NULL OR task_key = $3) AND ($4::int IS NULL OR attempt = $4)
      ORDER BY id LIMIT $5::int
      """, [.text(runID), .int(Int(after)), .optional(taskKey), .optional(attempt), .int(limit)])
    return try rows.map {
      Log(
        id: Int64(try $0.int("id")), runID: runID, taskKey: try $0.string("task_key"), attempt: try $0.int("attempt"),
        unit: try $0.string("unit"), time: try $0.date("recorded_at"), line: try $0.string("line"))
    }
  }
}
