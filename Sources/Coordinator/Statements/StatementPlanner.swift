// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import Query
import Scheduling

/// One SQL statement. Queries run as one shard in an executor, shut off from files and settings; what only concerns the catalog
/// is done at the commit.
struct StatementPlanner: TaskPlanner {
  var services: PlanningServices
  /// Who sent an interactive statement; nil: the task of a run.
  var submitter: String?

  /// How often a statement that changes rows starts again when others were faster.
  private static let attemptLimit = 10

  func name(_ qualified: QualifiedName) throws -> ThreePartName {
    try ThreePartName("\(qualified.catalog).\(qualified.schema).\(qualified.name)")
  }

  func plan(_ call: StageCall) async throws -> StagePlan {
    let work = try await BlockingPool.shared.run { try StatementWork(call) }
    do { return try await plan(work, call) } catch { throw work.located(error) }
  }

  func plan(_ work: StatementWork, _ call: StageCall) async throws -> StagePlan {
    if let sharded = try ShardedStatement(self, work, call) { return try await sharded.plan() }
    if let command = work.plan.command {
      var own = call
      own.carry = work.session.carry
      return try await planTable(command, work.plan, own)
    }
    if let copy = work.plan.copy, let target = work.plan.target {
      return try await CopyPlanner(services: services).plan(copy, name(target), call)
    }
    guard let spec = try await spec(work, call) else { return .none }
    return .shards([UnitSpec(index: 0, kind: "sql", payload: try JSONValue(encoding: spec))])
  }

  /// What an executor has to run; nil when the statement is done at its commit alone.
  func spec(_ work: StatementWork, _ call: StageCall) async throws -> StatementSpec? {
    guard work.plan.kind.runsQuery, !work.beginsBlock else { return nil }
    return try await seeing(work).seenSpec(work, call)
  }

  private func seenSpec(_ work: StatementWork, _ call: StageCall) async throws -> StatementSpec? {
    var plan = work.plan
    let user = try await user(call)
    var changed: ChangedTable?
    if plan.changesRows, let target = plan.target {
      changed = try await planChange(&plan, of: services.tables.base(name(target)), work, call, user)
    }
    var resolver = StatementResolver(services: services, session: work.session, system: SystemRelations(services: services, call: call))
    // A transaction sees its tables as it has left them, whatever their versions are.
    if let changed, work.session.block == nil { resolver.pinned = (changed.base.entry.name, changed.change.version) }
    resolver.variables = work.variables(user: user)
    try await resolver.resolve(plan)
    var spec = StatementSpec(kind: plan.kind, sql: plan.sql, tables: resolver.tables)
    spec.definitions = resolver.definitions
    spec.variables = resolver.variables
    spec.sources = resolver.sources
    if let changed, plan.kind.changesRows {
      let columns = try changed.columns
      if let values = try plan.givenValues(columns: columns, sourceColumns: changed.sourceColumns) {
        spec.sources?.columns = resolver.columnLineage(values, of: plan, target: ("\(changed.base.entry.name)", columns))
      }
    }
    if plan.kind == .createTableAs { spec.sources?.columns = resolver.columnLineage(plan, targetColumns: []) }
    spec.change = changed?.change
    // The folder tells: a table may have two names.
    if let changed, resolver.locations.contains(changed.base.entry.location) || !plan.fileRequests.isEmpty { spec.change?.readsWholeTable() }
    for request in plan.fileRequests { spec.fileReads.append(try await services.listing.resolve(request)) }
    spec.limits.rows = max(1, min(work.body.row_limit ?? 1000, 100_000))
    spec.limits.bytes = 4 << 20
    if let changed, plan.kind.changesRows {
      spec.target = changed.target
      spec.outputDirectory = changed.base.entry.location
    } else if let target = plan.target {
      let targetName = try name(target)
      switch plan.kind {
      case .createTableAs:
        if try await services.catalog.findTable(targetName) != nil, !plan.replaces {
          if plan.isConditional { return nil }
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
        // The result of a run's task may be committed by a later process; that of a statement never outlives this one.
        if submitter != nil, work.session.block == nil, !plan.changesRows, spec.outputDirectory?.hasPrefix("/") == true {
          spec.syncingHost = ProcessSupport.hostID
        }
        if !plan.insert.byName, plan.insert.constants.isEmpty, plan.insert.trailing.isEmpty {
          let names = plan.insertColumns.isEmpty ? spec.targetColumns.map(\.name) : plan.insertColumns
          spec.sources?.columns = resolver.columnLineage(plan, targetColumns: names)
        } else if plan.insert.byName {
          spec.sources?.columns = resolver.columnLineage(plan, targetColumns: [])
        }
      }
    }
    return spec
  }

  /// Who does it, for owners and the audit.
  func actor(_ call: StageCall) -> String { submitter ?? "run \(call.id.run)" }

  /// Who asked for it.
  func user(_ call: StageCall) async throws -> String {
    if let submitter { return submitter }
    return try await services.submitter(of: call.id.run)
  }

  /// The folder of a table that exists, or the one that the commit will give to the new table.
  func newLocation(_ name: ThreePartName, _ call: StageCall) async throws -> String {
    if let found = try await services.catalog.findTable(name) {
      guard found.kind != .view else {
        throw PlatformError(.alreadyExists, "'\(name)' is a view", hint: "DROP VIEW it first.", number: "PLT-3003")
      }
      try await BlockingPool.shared.run { try ReadOnlyPlaces.shared.requireWritable(found.location) }
      return found.location
    }
    let path = try await freshLocation(name, call)
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
  }

  /// Where the call may put a table that does not exist; nothing is made.
  func freshLocation(_ name: ThreePartName, _ call: StageCall) async throws -> String {
    guard try await services.catalog.schemas().contains(where: { $0.catalog == name.catalog && $0.name == name.schema }) else {
      throw PlatformError(.notFound, "schema '\(name.catalog).\(name.schema)' does not exist", hint: "CREATE SCHEMA it first.", number: "PLT-3002")
    }
    try CatalogStore.requirePlain(name.name)
    return "\(services.layout.lake)/\(name.catalog)/\(name.schema)/\(name.name)-\(call.id.run)-\(call.id.task)"
  }

  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome {
    let work = try await BlockingPool.shared.run { try StatementWork(call) }
    do {
      if let sharded = try ShardedStatement(self, work, call) { return try await sharded.commit(results) }
      return try await commit(work, call, results)
    } catch { throw work.located(error) }
  }

  /// - Parameter ran: the results of a statement that is no table command, when they are no JSON yet.
  func commit(_ work: StatementWork, _ call: StageCall, _ results: [JSONValue], ran: [StatementResult]? = nil) async throws -> StageOutcome {
    let user = try await user(call)
    if work.beginsBlock {
      var session = work.session
      session.block = AtomicBlock(try await TableMoment(services.catalog))
      return .nextStage(carry: try JSONValue(encoding: session))
    }
    var own = self
    own.services.tables.block = work.session.block
    return try await LakeTables.$committer.withValue(user) { [own] in try await own.commitAsUser(work, call, results, ran) }
  }

  private func commitAsUser(_ work: StatementWork, _ call: StageCall, _ results: [JSONValue], _ ran: [StatementResult]?) async throws -> StageOutcome {
    let plan = work.plan
    var session = work.session
    var response = StatementResponse(statementID: call.id.run, columns: [], rows: [], truncated: false)
    var values: [String: JSONValue] = [:]
    var isView = false
    if case .describe? = plan.command, let target = plan.target { isView = try await describeView(target, session, &response) }
    if let command = plan.command, !isView {
      var own = call
      own.carry = session.carry
      switch try await commitTable(command, plan, own, results, &response) {
      case .nextStage(let carry)?:
        session.carry = carry
        return .nextStage(carry: try JSONValue(encoding: session))
      case let outcome?: return outcome
      case nil: session.carry = .null
      }
    }
    let outcome: [StatementResult] = plan.command == nil && plan.copy == nil ? try ran ?? results.decoded() : []
    let isKept = session.block != nil && (plan.kind == .insert || plan.changesRows || plan.kind == .truncate)
    if isKept, var block = session.block {
      try await keep(plan, outcome.first, at: session.index, in: &block, &response)
      session.block = block
    }
    switch plan.kind {
    case .table: break
    case .select, .explain:
      guard let result = outcome.first else { throw PlatformError(.internalError, "the statement returned nothing") }
      response.columns = result.columns.map { .init(name: $0.name, type: $0.type.sql.lowercased()) }
      response.rows = result.rows
      response.truncated = result.isTruncated
      values["rows_out"] = .integer(result.rowCount)
    case _ where isKept: break
    case .createTableAs, .insert, .delete, .update, .merge:
      do {
        if plan.changesRows {
          try await rewrite(plan, outcome.first, call, &response)
        } else {
          try await write(plan, outcome.first, call, &response)
        }
      } catch let error as PlatformError where error.code == .conflict && session.attempt < Self.attemptLimit {
        // Others changed what this statement has read: it is planned and run again on what is there now.
        session.attempt += 1
        return .nextStage(carry: try JSONValue(encoding: session))
      }
    case .copyInto:
      guard let copy = plan.copy, let target = plan.target else { throw PlatformError(.internalError, "the statement has no target") }
      guard let done = try await CopyPlanner(services: services).commit(copy, name(target), call, attempt: session.attempt, results.decoded()) else {
        session.attempt += 1
        return .nextStage(carry: try JSONValue(encoding: session))
      }
      response = done
      response.statementID = call.id.run
    default:
      if try await !catalogStatement(work, call, &session, &response) { try await tableStatement(plan, call, &response) }
    }
    if work.script.items.count > 1 {
      session.finished.append(
        .init(
          kind: plan.kind.rawValue, line: work.script.items[session.index].line,
          rowCount: plan.kind == .select ? Int(outcome.first?.rowCount ?? 0) : response.rows.count, affectedRows: response.affectedRows,
          version: response.version))
    }
    if var block = session.block {
      try await note(outcome.first, in: &block)
      session.block = block
      if work.endsBlock {
        do { try await end(block, call, &session, &response) } catch let error as PlatformError
          where error.code == .conflict && session.attempt < Self.blockAttemptLimit
        {
          // Nothing of it has happened: all of it is planned and run again on what is there now.
          return .nextStage(carry: try JSONValue(encoding: work.restarted))
        }
      }
    }
    if work.script.items.count > 1 {
      guard work.isLast else {
        session.index += 1
        // Those of a transaction count until its end.
        if session.block == nil { session.attempt = 0 }
        return .nextStage(carry: try JSONValue(encoding: session))
      }
      response.statements = session.finished
    }
    if session.catalog != work.body.catalog ?? "main" || session.schema != work.body.schema ?? "default" {
      (response.catalog, response.schema) = (session.catalog, session.schema)
    }
    return try Self.done(plan, response, values)
  }

  /// Commits the transaction, and puts the versions that it has made beside its statements.
  private func end(_ block: AtomicBlock, _ call: StageCall, _ session: inout SQLContext, _ response: inout StatementResponse) async throws {
    let versions = try await commit(block, call)
    for change in block.changes {
      if session.finished.indices.contains(change.statement) { session.finished[change.statement].version = versions[change.table] }
      if change.statement == session.index { response.version = versions[change.table] }
    }
    session.block = nil
    session.attempt = 0
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
