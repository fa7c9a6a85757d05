// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import DeltaLog
import Foundation
import Query
import Scheduling

/// What the statements of BEGIN ATOMIC .. END have done so far, seen by nobody but themselves. It travels as part of the carry of the
/// task's stages; the block's end commits it.
struct AtomicBlock: Codable, Sendable {
  /// A statement's change of one table, decided on what the changes before it have left.
  struct Change: Codable, Sendable {
    var table: String
    var location: String
    var plan: CommitPlan
    /// What it was made of, for the lineage.
    var sources: StatementSources?
    /// Which of the text's statements it was.
    var statement: Int
  }

  /// The tables as the block began.
  var moment: TableMoment
  /// The version at which a table is seen, by folder: the one that was looked at first.
  var versions: [String: Int64] = [:]
  private(set) var changes: [Change] = []
  /// Full names of tables whose rows a statement has read.
  private(set) var read: Set<String> = []

  init(_ moment: TableMoment) { self.moment = moment }

  /// The table with what the block has changed.
  func applied(to base: Snapshot, _ entry: TableEntry, _ features: Set<TableFeature>) throws -> Snapshot {
    let plans = changes(of: entry.location).map(\.plan)
    return plans.isEmpty ? base : try base.behind(plans, data: features)
  }

  func changes(of location: String) -> [Change] { changes.filter { $0.location == location } }

  /// The table is seen at this version from now on, unless it has one.
  mutating func pin(_ location: String, _ version: Int64) {
    if versions[location] == nil { versions[location] = version }
  }

  mutating func add(_ change: Change, version: Int64) {
    pin(change.location, version)
    changes.append(change)
  }

  /// What a statement has read is read at the same version from then on.
  mutating func note(_ sources: StatementSources?, location: (String) -> String?) {
    guard let sources else { return }
    for object in sources.objects + sources.readByFunctions + sources.throughViews.values.joined() where object.kind == "table" {
      read.insert(object.name)
      if let version = object.version, let place = location(object.name) { pin(place, version) }
    }
  }

  /// The tables to commit, in the order in which they were changed first.
  var changed: [(table: String, location: String)] {
    var seen: Set<String> = []
    return changes.compactMap { seen.insert($0.location).inserted ? ($0.table, $0.location) : nil }
  }

  /// The commit of one table.
  func plan(of location: String, _ table: String, base: Snapshot) throws -> CommitPlan {
    var whole = try CommitPlan.combined(changes(of: location).map(\.plan), base: base)
    // What others change of rows that a statement of the block has read makes it void, whatever it did with them.
    if read.contains(table) { whole.reads.formUnion(.matching(.all, base.files)) }
    return whole
  }
}

/// Statements within BEGIN ATOMIC .. END: each keeps what it has done, the last one commits all of it.
extension StatementPlanner {
  static let blockAttemptLimit = 20

  /// This planner with the tables as the statement sees them.
  func seeing(_ work: StatementWork) async throws -> StatementPlanner {
    var own = self
    own.services.tables.block = work.session.block
    // A table that changes and one that is read belong to one moment.
    if work.session.block == nil, work.plan.references.count > (work.plan.changesRows ? 0 : 1) {
      own.services.tables.moment = try await TableMoment(services.catalog)
    }
    return own
  }

  /// Keeps what a statement has done.
  func keep(
    _ plan: StatementPlan, _ result: StatementResult?, at statement: Int, in block: inout AtomicBlock, _ response: inout StatementResponse
  ) async throws {
    guard let target = plan.target else { throw PlatformError(.internalError, "the statement has no target") }
    let entry = try await services.tables.entry(name(target))
    try Self.requireManaged(entry)
    // The table as the statement was planned on it, not as it may have become since.
    if let version = result?.change?.version ?? result?.target?.version { block.pin(entry.location, version) }
    var tables = services.tables
    tables.block = block
    let base = try await tables.base(entry.name)
    let commit: CommitPlan
    if plan.kind == .truncate {
      commit = LakeTables.truncation(base.snapshot)
      response.affectedRows = base.snapshot.rowCount
    } else {
      guard let result else { throw PlatformError(.internalError, "the statement returned nothing") }
      response.affectedRows = result.rowCount
      if plan.changesRows {
        guard let change = result.change else { throw PlatformError(.internalError, "the statement returned nothing") }
        guard !change.removed.isEmpty || !change.vectors.isEmpty || !result.files.isEmpty else { return }
        commit = try await Self.commit(of: plan, result, change, base.entry, base.snapshot, sharedFolders: services.tables.sharedFolders())
      } else {
        commit = try Self.insertion(plan, result, base.entry, base.snapshot)
      }
    }
    let earlier = block.changes(of: base.entry.location).map(\.plan)
    // Refused here and not at the end: the statement is to blame.
    if !earlier.isEmpty { _ = try CommitPlan.combined(earlier + [commit], base: base.snapshot) }
    block.add(
      .init(
        table: "\(base.entry.name)", location: base.entry.location, plan: commit, sources: result?.sources, statement: statement),
      version: base.snapshot.version)
  }

  /// - Throws: `invalidArgument` PLT-3282: other programs write external tables, and would not know who gives out their versions.
  static func requireManaged(_ entry: TableEntry) throws {
    guard entry.kind == .managed else {
      throw PlatformError(
        .invalidArgument, "table '\(entry.name)' is external: BEGIN ATOMIC changes managed tables",
        hint: "Change it by a statement of its own, or CREATE TABLE .. AS SELECT a managed copy.", number: "PLT-3282")
    }
  }

  /// What the statement has read.
  func note(_ result: StatementResult?, in block: inout AtomicBlock) async throws {
    guard let sources = result?.sources else { return }
    var places: [String: String] = [:]
    for object in sources.objects + sources.readByFunctions + sources.throughViews.values.joined() where object.kind == "table" {
      if places[object.name] == nil { places[object.name] = try await services.catalog.findTable(ThreePartName(object.name))?.location }
    }
    block.note(sources) { places[$0] }
  }

  /// Commits what the block has done: all of it, or nothing.
  /// - Returns: the version of each table that changed.
  /// - Throws: `conflict` when others have changed what it rests on: nothing has happened.
  func commit(_ block: AtomicBlock, _ call: StageCall) async throws -> [String: Int64] {
    var parts: [LakeTables.Part] = []
    let names = block.changed.map(\.table)
    for (table, location) in block.changed {
      let entry = try await services.tables.entry(ThreePartName(table))
      guard entry.location == location else {
        throw PlatformError(.conflict, "table '\(table)' was replaced by another meanwhile", hint: "Run the statement again.", number: "PLT-3284")
      }
      try await services.tables.requireOwnLog(entry)
      parts.append(
        .init(entry: entry, version: block.versions[location]) { base in
          var plan = try block.plan(of: location, table, base: base)
          if names.count > 1 { plan.operationParameters["tables"] = .array(names.map { .string($0) }) }
          return plan
        })
    }
    var found: [String: Int64] = [:]
    if parts.count == 1, let part = parts.first, let version = part.version {
      found[names[0]] = try await services.tables.commit(part.entry, onto: version, key: call.commitKey, plan: part.decide)
    } else if parts.count > 1 {
      for (table, version) in zip(names, try await services.tables.commitTogether(parts, key: call.commitKey)) { found[table] = version }
    }
    let user = try await self.user(call)
    for change in block.changes { try await addLineage(change.sources, target: ("table", change.table, found[change.table]), call, user) }
    return found
  }
}
