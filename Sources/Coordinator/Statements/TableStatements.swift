// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import DeltaLog
import DuckDB
import Foundation
import Query
import Scheduling

extension StatementPlanner {
  /// Statements about one table that need no executor: its definition, its history, its removal.
  func tableStatement(_ plan: StatementPlan, _ call: StageCall, _ response: inout StatementResponse) async throws {
    let actor = "run \(call.id.run)"
    guard let target = plan.target else { throw PlatformError(.internalError, "the statement has no target") }
    switch plan.kind {
    case .createTable:
      let targetName = try name(target)
      if try await services.catalog.findTable(targetName) != nil {
        if plan.isConditional { return }
        throw PlatformError(.alreadyExists, "table '\(targetName)' exists already", number: "PLT-3003")
      }
      let entry = try await services.tables.prepare(targetName, columns: plan.columns, by: actor)
      response.version = try await services.tables.commit(
        entry, columns: plan.columns, files: [], mode: .overwrite, key: call.commitKey, operation: "CREATE TABLE")
    case .dropTable:
      do {
        try await services.catalog.dropTable(name(target), by: actor)
      } catch let error as PlatformError where error.code == .notFound && plan.isConditional {
        return
      }
    case .truncate:
      (response.version, response.affectedRows) = try await services.tables.truncate(name(target), key: call.commitKey)
    case .describeHistory:
      let columns = ["version", "timestamp", "operation", "operation_parameters", "operation_metrics", "engine"]
      response.columns = columns.map { .init(name: $0, type: $0 == "version" ? "bigint" : "varchar") }
      response.rows = try await services.tables.history(name(target), limit: plan.limit ?? 100).map { entry in
        [
          .integer(entry.version), .string(SQLTime.timestamp(micros: entry.timestampMilliseconds * 1000)), .string(entry.info?.operation ?? ""),
          .string(entry.info?.operationParameters?.sortedText ?? ""), .string(entry.info?.operationMetrics?.sortedText ?? ""),
          .string(entry.info?.engineInfo ?? ""),
        ]
      }
    case .describeDetail:
      let detail = try await services.tables.detail(name(target))
      response.columns = detail.map { .init(name: $0.name, type: "varchar") }
      response.rows = [detail.map(\.value)]
    default:
      let table = try await services.tables.resolve(name(target))
      response.columns = [.init(name: "column", type: "varchar"), .init(name: "type", type: "varchar")]
      response.rows = table.columns.map { [.string($0.name), .string($0.type.sql.lowercased())] }
    }
  }
}
