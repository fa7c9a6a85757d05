// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DuckDB
import Foundation
import Monitoring
import Query
import Scheduling

/// A table is profiled and compared with a baseline; profile and drift become tables. One shard.
struct MonitorPlanner: TaskPlanner {
  let services: PlanningServices

  private struct Body: Decodable {
    var table: String
    var baseline: String
    /// Prefix of the two tables that are written: `<output>_profile` and `<output>_drift`.
    var output: String
    var columns: [String]?
    var threshold: Double?
  }

  private func targets(_ body: Body, _ call: StageCall) async throws -> (profile: TableEntry, drift: TableEntry) {
    let actor = "run \(call.id.run)"
    return (
      try await services.tables.prepare(ThreePartName(body.output + "_profile"), columns: MonitorShard.profileColumns, by: actor),
      try await services.tables.prepare(ThreePartName(body.output + "_drift"), columns: MonitorShard.driftColumns, by: actor)
    )
  }

  func plan(_ call: StageCall) async throws -> StagePlan {
    let body: Body = try call.body()
    let table = try await services.tables.resolve(ThreePartName(body.table))
    let baseline = try await services.tables.resolve(ThreePartName(body.baseline))
    let shared = table.columns.filter { column in baseline.columns.contains { $0.name == column.name } }
    let columns =
      body.columns
      ?? shared.filter { column in
        switch column.type {
        case .list, .array, .structure, .map, .blob, .other: false
        default: true
        }
      }.map(\.name)
    for name in columns where !shared.contains(where: { $0.name == name }) {
      throw PlatformError(
        .notFound, "column '\(name)' is not in both \(body.table) and \(body.baseline)",
        hint: "Both have: \(shared.map(\.name).joined(separator: ", ")).", number: "PLT-4501")
    }
    let (profile, drift) = try await targets(body, call)
    return .shards([
      UnitSpec(
        index: 0, kind: "monitor",
        payload: try JSONValue(
          encoding: MonitorShard(
            files: table.files, baselineFiles: baseline.files, columns: columns, profilePath: services.part(profile, call, 0),
            driftPath: services.part(drift, call, 0), threshold: body.threshold ?? 0.2)))
    ])
  }

  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome {
    let body: Body = try call.body()
    let measured: [MonitorResult] = try results.decoded()
    guard let one = measured.first else { throw PlatformError(.internalError, "the monitor returned nothing") }
    let (profile, drift) = try await targets(body, call)
    _ = try await services.tables.commit(
      profile, columns: MonitorShard.profileColumns, files: [one.profile].compactMap { $0 }, mode: .overwrite, key: call.commitKey,
      operation: "WRITE")
    let version = try await services.tables.commit(
      drift, columns: MonitorShard.driftColumns, files: [one.drift].compactMap { $0 }, mode: .overwrite, key: call.commitKey,
      operation: "WRITE")
    try await services.catalog.addDrift(
      one.columns.map {
        DriftEntry(
          table: body.table, column: $0.column, baseline: body.baseline, runID: call.id.run, psi: $0.psi, ks: $0.ks, js: $0.js,
          alert: $0.alert)
      })
    let alerts = one.columns.filter(\.alert).map(\.column)
    return .taskDone(values: [
      "table": .string("\(drift.name)"), "version": .integer(version), "rows_in": .integer(one.rows),
      "rows_out": .integer(Int64(one.columns.count)), "alerts": .array(alerts.map { .string($0) }),
      "summary": .string(
        "\(one.columns.count) columns of \(body.table) compared; "
          + (alerts.isEmpty ? "no drift" : "drift in \(alerts.joined(separator: ", "))")),
    ])
  }
}
