// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import Postgres

/// Pages of the list of runs, when many are stored.
enum RunListGroup {
  static let storedRuns = SchedulingGroup.number("BENCH_RUNS", 100_000)

  static func run(_ setup: Setup, report: Group.Report) async throws {
    let cluster = try await BenchCluster(setup, name: "runs", workers: 1, slots: 2)
    do {
      try await measure(setup, cluster)
    } catch {
      try? await cluster.down()  // the first error counts
      throw error
    }
    try await cluster.down()
  }

  /// Copies of one run that has ended, as many as there shall be, some of them of a job.
  private static func measure(_ setup: Setup, _ cluster: BenchCluster) async throws {
    let job: JSONValue = try await cluster.client.post(
      "/api/2.2/jobs/create", ["name": "bench", "tasks": [["task_key": "t", "wait_task": [:]]]] as JSONValue)
    guard let number = job["job_id"]?.intValue else { throw PlatformError(.internalError, "no job was made") }
    let run = try await cluster.submit([["task_key": "t", "wait_task": [:]]])
    try await cluster.idle()
    _ = try await cluster.values(of: run)
    let pool = try cluster.database()
    defer { pool.close() }
    try await pool.execute(
      """
      INSERT INTO runs (run_id, name, spec, submitted_by, submitted_at, job_id, run_type, settings, parameters, trigger)
      SELECT i::text, name, jsonb_set(spec, '{id}', to_jsonb(i::text)), submitted_by, submitted_at - ($2::int - i) * interval '1 second',
        CASE WHEN i % 100 = 0 THEN $3::bigint END, CASE WHEN i % 100 = 0 THEN 'JOB_RUN' ELSE run_type END, settings, parameters, trigger
      FROM runs, generate_series(run_id::int + 1, run_id::int + $2::int) i WHERE run_id = $1
      """, [.text(run), .int(storedRuns), .int(number)], within: .seconds(300))
    try await pool.execute(
      """
      INSERT INTO job_records (key, kind, run_id, task_key, task_attempt, stage, state, worker, terminal, body)
      SELECT replace(key, ':' || run_id, ':' || i), kind, i::text, task_key, task_attempt, stage, state, worker, terminal,
        CASE kind WHEN 'run' THEN jsonb_set(body, '{run,_0,spec,id}', to_jsonb(i::text))
          ELSE jsonb_set(body, ARRAY[kind, '_0', 'run'], to_jsonb(i::text)) END
      FROM job_records, generate_series(run_id::int + 1, run_id::int + $2::int) i WHERE run_id = $1
      """, [.text(run), .int(storedRuns)], within: .seconds(600))
    try await pool.execute("SELECT setval('run_ids', $1::bigint)", [.int((Int(run) ?? 0) + storedRuns)])
    try await pool.execute("ANALYZE runs", within: .seconds(300))
    try await pool.execute("ANALYZE job_records", within: .seconds(300))
    let middle = (Int(run) ?? 0) + storedRuns / 2
    for (what, query) in [
      ("newest", ""), ("from the middle", "&page_token=\(middle)"), ("completed only", "&completed_only=true"), ("active only", "&active_only=true"),
      ("of one job in a hundred", "&job_id=\(number)"), ("of the last hour", "&start_time_from=\(Int(Date().timeIntervalSince1970 - 3600) * 1000)"),
      ("with tasks", "&expand_tasks=true"),
    ] {
      var times: [Double] = []
      for round in 0..<220 {
        let began = ContinuousClock.now
        let answer: JSONValue = try await cluster.client.get("/api/2.2/jobs/runs/list?limit=25" + query)
        if round >= 20 { times.append((ContinuousClock.now - began).inSeconds) }
        try check((answer["runs"]?.arrayValue?.count ?? 0) == (what == "active only" ? 0 : 25), "a page of runs, \(what)")
      }
      SchedulingGroup.note(
        setup,
        Figure(what: "page of 25 of \(storedRuns) runs, \(what)", value: Latencies(times).text, wanted: "p95 50 ms"))
    }
  }
}
