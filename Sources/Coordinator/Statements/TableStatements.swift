// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import DeltaLog
import Foundation
import Query
import Scheduling

/// Statements about one table: which of them need an executor, and who carries them out.
extension StatementPlanner {
  /// Those that read or copy rows run units; the others are done at the commit.
  func planTable(_ command: TableCommand, _ plan: StatementPlan, _ call: StageCall) async throws -> StagePlan {
    switch command {
    case .alter(let alteration): return try await planAlteration(alteration, plan, call)
    case .optimize(let condition, let zOrder, let isFull):
      return try await planOptimize(target(plan), condition: condition, zOrder: zOrder, isFull: isFull, call)
    case .purge: return try await planOptimize(target(plan), condition: nil, zOrder: [], isFull: false, isPurge: true, call)
    default: return .none
    }
  }

  func target(_ plan: StatementPlan) throws -> ThreePartName {
    guard let target = plan.target else { throw PlatformError(.internalError, "the statement has no target") }
    return try name(target)
  }

  /// - Returns: what comes next when the statement is not done yet.
  func commitTable(
    _ command: TableCommand, _ plan: StatementPlan, _ call: StageCall, _ results: [JSONValue], _ response: inout StatementResponse
  ) async throws -> StageOutcome? {
    switch command {
    case .create(let definition): try await create(target(plan), definition, plan, call, &response)
    case .createLike(let source, let definition): try await createLike(target(plan), source, definition, plan, call, &response)
    case .clone(let source, let version, let isDeep, let definition):
      try await clone(target(plan), source, version, isDeep: isDeep, definition, plan, call, results, &response)
    case .alter(let alteration): return try await alter(alteration, plan, call, results, &response)
    case .repair(let isDryRun): try await repair(target(plan), isDryRun: isDryRun, call, &response)
    case .optimize, .purge: return try await commitOptimize(target(plan), call, results, &response)
    case .vacuum(let hours, let isDryRun): try await vacuum(target(plan), hours: hours, isDryRun: isDryRun, &response)
    case .restore(let version): try await restore(target(plan), version, call, &response)
    case .describe(let isExtended, let column): try await describe(target(plan), isExtended: isExtended, column: column, &response)
    case .showCreate:
      if let target = plan.target, try await isView(target) {
        try await showCreate(.init(kind: .view, catalog: target.catalog, schema: target.schema, name: target.name), &response)
      } else {
        try await showCreate(target(plan), &response)
      }
    case .showColumns: try await showColumns(target(plan), &response)
    case .showProperties(let name): try await showProperties(target(plan), name, &response)
    case .showPartitions: try await showPartitions(target(plan), &response)
    }
    return nil
  }

  /// Statements about one table that are no `TableCommand`.
  func tableStatement(_ plan: StatementPlan, _ call: StageCall, _ response: inout StatementResponse) async throws {
    let actor = self.actor(call)
    let name = try target(plan)
    switch plan.kind {
    case .dropTable:
      do {
        try await services.catalog.dropTable(name, by: actor)
      } catch let error as PlatformError where error.code == .notFound && plan.isConditional {
        return
      }
    case .truncate:
      (response.version, response.affectedRows) = try await services.tables.truncate(name, key: call.commitKey)
    case .describeHistory: try await describeHistory(name, limit: plan.limit ?? 100, &response)
    case .describeDetail:
      let detail = try await services.tables.detail(name)
      response.columns = detail.map { name, value in
        if case .integer = value { .init(name: name, type: "bigint") } else { .init(name: name, type: "varchar") }
      }
      response.rows = [detail.map(\.value)]
    default: throw PlatformError(.internalError, "a statement of kind '\(plan.kind.rawValue)' is not carried out here")
    }
  }
}
