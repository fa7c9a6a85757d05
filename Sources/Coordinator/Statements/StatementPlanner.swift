// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import DeltaLog
import DuckDB
import Foundation
import Query
import Scheduling

/// One SQL statement. Queries run as one shard in an executor, shut off from files and settings; what only concerns the catalog
/// is done at the commit.
struct StatementPlanner: TaskPlanner {
  let services: PlanningServices

  /// How often a statement that changes rows starts again when others were faster.
  private static let attemptLimit = 10

  private struct Body: Decodable {
    var statement: String
    var catalog: String?
    var schema: String?
    var row_limit: Int?

    func plan() throws -> StatementPlan {
      try StatementPlan(parsing: statement, catalog: catalog ?? "main", schema: schema ?? "default")
    }
  }

  func name(_ qualified: QualifiedName) throws -> ThreePartName {
    try ThreePartName("\(qualified.catalog).\(qualified.schema).\(qualified.name)")
  }

  func plan(_ call: StageCall) async throws -> StagePlan {
    let body: Body = try call.body()
    var plan = try await BlockingPool.shared.run { try body.plan() }
    if let command = plan.command { return try await planTable(command, plan, call) }
    guard plan.kind.runsQuery else { return .none }
    var changed: ChangedTable?
    if plan.changesRows, let target = plan.target { changed = try await planChange(&plan, of: services.tables.base(name(target))) }
    var tables: [StatementSpec.Table] = []
    for reference in plan.references {
      let table = try await services.tables.resolve(
        name(reference.name), version: reference.version ?? changed?.version(of: reference), timestampMilliseconds: reference.timestampMilliseconds,
        matching: plan.filters[reference.view])
      tables.append(.init(view: reference.view, scan: table.scan, name: "\(table.entry.name)"))
    }
    var spec = StatementSpec(kind: plan.kind, sql: plan.sql, tables: tables)
    spec.change = changed?.change
    spec.limits.rows = max(1, min(body.row_limit ?? 1000, 100_000))
    spec.limits.bytes = 4 << 20
    if let changed, plan.kind.changesRows {
      spec.target = changed.target
      spec.outputDirectory = changed.base.entry.location
    } else if let target = plan.target {
      let targetName = try name(target)
      switch plan.kind {
      case .createTableAs:
        if try await services.catalog.findTable(targetName) != nil, !plan.replaces {
          if plan.isConditional { return .none }
          throw PlatformError(
            .alreadyExists, "table '\(targetName)' exists already", hint: "Use CREATE OR REPLACE TABLE, or INSERT INTO.", number: "PLT-3003")
        }
        spec.outputDirectory = try await newLocation(targetName, call)
        spec.target = try self.target(of: plan.definition, name: targetName)
      default:
        if let changed {
          try await planInsert(plan, into: changed.base, &spec)
        } else {
          try await planInsert(plan, into: services.tables.base(targetName), &spec)
        }
      }
    }
    return .shards([UnitSpec(index: 0, kind: "sql", payload: try JSONValue(encoding: spec))])
  }

  /// The folder of a table that exists, or the one that the commit will give to the new table.
  func newLocation(_ name: ThreePartName, _ call: StageCall) async throws -> String {
    if let found = try await services.catalog.findTable(name) { return found.location }
    guard try await services.catalog.schemas().contains(where: { $0.catalog == name.catalog && $0.name == name.schema }) else {
      throw PlatformError(.notFound, "schema '\(name.catalog).\(name.schema)' does not exist", hint: "CREATE SCHEMA it first.", number: "PLT-3002")
    }
    let path = "\(services.layout.lake)/\(name.catalog)/\(name.schema)/\(name.name)-\(call.id.run)-\(call.id.task)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
  }

  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome {
    let body: Body = try call.body()
    let plan = try await BlockingPool.shared.run { try body.plan() }
    var response = StatementResponse(statementID: call.id.run, columns: [], rows: [], truncated: false)
    var values: [String: JSONValue] = [:]
    if let command = plan.command {
      if let next = try await commitTable(command, plan, call, results, &response) { return next }
      return try Self.done(plan, response, values)
    }
    let outcome: [StatementResult] = try results.decoded()
    switch plan.kind {
    case .select, .explain:
      guard let result = outcome.first else { throw PlatformError(.internalError, "the statement returned nothing") }
      response.columns = result.columns.map { .init(name: $0.name, type: $0.type.sql.lowercased()) }
      response.rows = result.rows
      response.truncated = result.isTruncated
      values["rows_out"] = .integer(result.rowCount)
    case .createTableAs, .insert, .delete, .update, .merge:
      do {
        if plan.changesRows {
          try await rewrite(plan, outcome.first, call, &response)
        } else {
          try await write(plan, outcome.first, call, &response)
        }
      } catch let error as PlatformError where error.code == .conflict && call.id.stage < Self.attemptLimit {
        // Others changed what this statement has read: it is planned and run again on what is there now.
        return .nextStage(carry: .null)
      }
    default:
      if try await !catalogStatement(plan, call, &response) { try await tableStatement(plan, call, &response) }
    }
    return try Self.done(plan, response, values)
  }

  private static func done(_ plan: StatementPlan, _ response: StatementResponse, _ given: [String: JSONValue]) throws -> StageOutcome {
    var values = given
    if let rows = response.affectedRows { values["rows_out"] = .integer(rows) }
    if let version = response.version { values["version"] = .integer(version) }
    // The first row is what a later task may refer to by column name.
    if let first = response.rows.first {
      for (column, value) in zip(response.columns, first) where values[column.name] == nil { values[column.name] = value }
    }
    values["response"] = try JSONValue(encoding: response)
    values["summary"] = .string("\(plan.kind.rawValue)  \(grouped(response.affectedRows ?? Int64(response.rows.count))) rows")
    return .taskDone(values: .object(values))
  }
}
