// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import DeltaLog
import DuckDB
import Foundation
import Query
import Scheduling

/// Committing what executors wrote: INSERT, CREATE TABLE AS, UPDATE, DELETE, MERGE.
extension StatementPlanner {
  func write(_ plan: StatementPlan, _ result: StatementResult?, _ call: StageCall, _ response: inout StatementResponse) async throws {
    guard let target = plan.target else { throw PlatformError(.internalError, "the statement has no target") }
    let targetName = try name(target)
    let actor = "run \(call.id.run)"
    // A conditional CREATE of a table that exists has run nothing.
    guard let result else { return response.affectedRows = 0 }
    let mode: LakeTables.Mode = plan.kind == .insert && !plan.replaces ? .append : .overwrite
    let entry: TableEntry
    let columns: [Column]
    if plan.kind == .insert {
      let table = try await services.tables.resolve(targetName)
      (entry, columns) = (table.entry, table.columns)
    } else {
      entry = try await services.catalog.table(
        targetName, creatingIn: services.layout.lake,
        columns: result.columns.map { ColumnEntry(name: $0.name, type: $0.type.sql.lowercased()) }, by: actor,
        location: try await newLocation(targetName, call))
      columns = result.columns
    }
    response.version = try await services.tables.commit(
      entry, columns: columns, files: result.files, mode: mode, key: call.commitKey,
      operation: plan.kind == .insert ? "WRITE" : "CREATE TABLE AS SELECT")
    response.affectedRows = result.rowCount
    try await services.catalog.addLineage(
      plan.references.map {
        LineageEdge(
          sourceKind: "table", source: "\($0.name)", sourceVersion: $0.version, targetKind: "table", target: "\(targetName)",
          targetVersion: response.version, runID: call.id.run, taskKey: call.id.task)
      })
  }

  func rewrite(_ plan: StatementPlan, _ result: StatementResult?, _ call: StageCall, _ response: inout StatementResponse) async throws {
    guard let target = plan.target, let result, let change = result.change else {
      throw PlatformError(.internalError, "the statement returned nothing")
    }
    let table = try await services.tables.resolve(name(target))
    response.affectedRows = result.rowCount
    guard !change.removed.isEmpty || !result.files.isEmpty else { return response.version = table.version }
    response.version = try await services.tables.rewrite(
      table.entry, readVersion: change.version, removed: change.removed, added: result.files, key: call.commitKey,
      operation: plan.kind.rawValue.uppercased(),
      metrics: [
        "numTargetRowsUpdated": String(change.updated), "numTargetRowsDeleted": String(change.deleted),
        "numTargetRowsInserted": String(change.inserted),
      ])
    try await services.catalog.addLineage(
      plan.references.map {
        LineageEdge(
          sourceKind: "table", source: "\($0.name)", sourceVersion: $0.version, targetKind: "table", target: "\(table.entry.name)",
          targetVersion: response.version, runID: call.id.run, taskKey: call.id.task)
      })
  }
}
