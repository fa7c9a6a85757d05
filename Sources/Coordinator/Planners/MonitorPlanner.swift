// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DuckDB
import Foundation
import Monitoring
import Query
import Scheduling

/// A table, or the logged requests of an endpoint, is profiled and compared with a baseline; profile and drift become tables.
/// One shard. Requests are first written to a table of their own; without a baseline their newer half is compared with the older.
struct MonitorPlanner: TaskPlanner {
  let services: PlanningServices

  private struct Body: Decodable {
    /// One of the two.
    var table: String?
    var endpoint: String?
    /// Optional for an endpoint.
    var baseline: String?
    /// Prefix of the tables that are written: `<output>_profile`, `<output>_drift`, and `<output>_requests` for an endpoint.
    var output: String
    var columns: [String]?
    var threshold: Double?

    var subject: String { table ?? "endpoint \(endpoint ?? "")" }
    var reference: String { baseline ?? "the older half" }
  }

  /// What is compared with what.
  private struct Comparison {
    var columns: [Column]
    var files: [String]
    var baselineColumns: [Column]
    var baselineFiles: [String]
  }

  private func comparison(_ body: Body, _ call: StageCall) async throws -> Comparison {
    if let endpoint = body.endpoint {
      let (older, newer) = try await services.requests.write(endpoint, to: ThreePartName(body.output + "_requests"), call: call)
      let own = InferenceTable.columns
      guard let name = body.baseline else {
        // A single request has no older half: it is compared with itself.
        return Comparison(columns: own, files: newer, baselineColumns: own, baselineFiles: older.isEmpty ? newer : older)
      }
      let baseline = try await services.tables.resolve(ThreePartName(name))
      return Comparison(columns: own, files: older + newer, baselineColumns: baseline.columns, baselineFiles: try baseline.files)
    }
    guard let name = body.table, let other = body.baseline else {
      throw PlatformError(.invalidArgument, "a monitor needs a table with a baseline, or an endpoint", number: "PLT-1202")
    }
    let table = try await services.tables.resolve(ThreePartName(name))
    let baseline = try await services.tables.resolve(ThreePartName(other))
    return Comparison(columns: table.columns, files: try table.files, baselineColumns: baseline.columns, baselineFiles: try baseline.files)
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
    let compared = try await comparison(body, call)
    let shared = compared.columns.filter { column in compared.baselineColumns.contains { $0.name == column.name } }
    let columns =
      body.columns
      ?? shared.filter { column in
        switch column.type {
        case .list, .array, .structure, .map, .blob, .other: false
        // Every request differs in these.
        default: body.endpoint == nil || !["request_id", "time"].contains(column.name)
        }
      }.map(\.name)
    for name in columns where !shared.contains(where: { $0.name == name }) {
      throw PlatformError(
        .notFound, "column '\(name)' is not in both \(body.subject) and \(body.reference)",
        hint: "Both have: \(shared.map(\.name).joined(separator: ", ")).", number: "PLT-4501")
    }
    let (profile, drift) = try await targets(body, call)
    return .shards([
      UnitSpec(
        index: 0, kind: "monitor",
        payload: try JSONValue(
          encoding: MonitorShard(
            files: compared.files, baselineFiles: compared.baselineFiles, columns: columns, profilePath: services.part(profile, call, 0),
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
          table: body.table ?? body.endpoint ?? "", column: $0.column, baseline: body.reference, runID: call.id.run, psi: $0.psi, ks: $0.ks, js: $0.js,
          alert: $0.alert)
      })
    let alerts = one.columns.filter(\.alert).map(\.column)
    return .taskDone(values: [
      "table": .string("\(drift.name)"), "version": .integer(version), "rows_in": .integer(one.rows),
      "rows_out": .integer(Int64(one.columns.count)), "alerts": .array(alerts.map { .string($0) }),
      "summary": .string(
        "\(one.columns.count) columns of \(body.subject) compared; "
          + (alerts.isEmpty ? "no drift" : "drift in \(alerts.joined(separator: ", "))")),
    ])
  }
}
