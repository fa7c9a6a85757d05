// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import Foundation
import Jobs
import Postgres

extension CoordinatorService {
  /// What the console's first page shows, in one object; made at most once in 0.8 s however many browsers watch.
  func dashboard() async throws -> JSONValue { try await dashboards.get { try await self.freshDashboard() } }

  private func freshDashboard() async throws -> JSONValue {
    var runs: [RunInfo] = []
    for row in try await store.list(limit: 6, before: nil) { runs.append(try await run(row.runID)) }
    let status = try await status()
    let drift = try await catalog.latestDrift()
    return [
      "time": .integer(ProcessSupport.wallMilliseconds), "version": .string(PlatformVersion.current), "epoch": .integer(lease.epoch),
      "storage_free_bytes": .integer(status.storageFreeBytes), "alerts": .array(status.alerts.map { .string($0) }),
      "nodes": try JSONValue(encoding: await nodes().nodes), "runs": try JSONValue(encoding: runs),
      "endpoints": try JSONValue(encoding: await endpoints().endpoints), "traffic": try await traffic(), "loss": try await loss(),
      "drift": .array(
        drift.map { one in
          [
            "table": .string(one.table), "column": .string(one.column), "psi": one.psi.map { .number($0) } ?? .null,
            "ks": one.ks.map { .number($0) } ?? .null, "js": one.js.map { .number($0) } ?? .null, "alert": .bool(one.alert),
          ]
        }),
    ]
  }

  /// Requests of each of the last 60 seconds, and latency percentiles of the last 15 minutes.
  private func traffic() async throws -> JSONValue {
    let rates = try await pool.query(
      """
      SELECT floor(extract(epoch FROM now()) - extract(epoch FROM time))::int AS age, count(*) AS n FROM inference_log
      WHERE time > now() - interval '60 seconds' GROUP BY 1
      """)
    var seconds = [Int](repeating: 0, count: 60)
    for row in rates {
      let age = try row.int("age")
      if (0..<60).contains(age) { seconds[59 - age] = try row.int("n") }
    }
    let latency = try await pool.query(
      """
      SELECT count(*) AS n, percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY total_ms)::text AS total,
        percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY first_token_ms)::text AS first
      FROM inference_log WHERE time > now() - interval '15 minutes' AND status < 400
      """)
    // Counting millions of rows once a second is too dear: from a hundred thousand on, the planner's estimate will do.
    let total = try await pool.query(
      """
      SELECT CASE WHEN few.n <= 100000 THEN few.n
        ELSE GREATEST(few.n, (SELECT reltuples::bigint FROM pg_class WHERE oid = 'inference_log'::regclass)) END AS n
      FROM (SELECT count(*) AS n FROM (SELECT 1 FROM inference_log LIMIT 100001) AS first_rows) AS few
      """)
    func percentiles(_ text: String?) -> JSONValue {
      let values = (text ?? "").trimmingCharacters(in: CharacterSet(charactersIn: "{}")).split(separator: ",").map { Double($0) ?? 0 }
      guard values.count == 3 else { return ["p50": 0, "p95": 0, "p99": 0] }
      return ["p50": .number(values[0]), "p95": .number(values[1]), "p99": .number(values[2])]
    }
    return [
      "seconds": .array(seconds.map { .integer(Int64($0)) }), "total": .integer(Int64(try total[0].int("n"))),
      "total_ms": percentiles(try latency[0].get("total", as: String?.self)),
      "first_token_ms": percentiles(try latency[0].get("first", as: String?.self)),
    ]
  }

  /// The newest loss curve.
  private func loss() async throws -> JSONValue {
    let newest = try await pool.query(
      "SELECT run_id, task_key FROM run_metrics WHERE name = 'loss' ORDER BY recorded_at DESC LIMIT 1")
    guard let row = newest.first else { return nil }
    let (runID, task) = (try row.string("run_id"), try row.string("task_key"))
    let points = try await telemetry.metrics(runID: runID, taskKey: task, name: "loss", limit: 300)
    let speed = try await telemetry.metrics(runID: runID, taskKey: task, name: "tokens_per_second", limit: 300).last
    return [
      "run_id": .string(runID), "points": .array(points.map { [.integer($0.step), .number($0.value)] }),
      "tokens_per_second": speed.map { .number($0.value) } ?? .null,
    ]
  }
}
