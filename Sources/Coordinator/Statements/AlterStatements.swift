// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import DeltaLog
import DuckDB
import Foundation
import Query
import Scheduling

/// ALTER TABLE. What asks something of the rows that are there reads them in an executor first.
extension StatementPlanner {
  /// What the rows of one version said, between the read and the commit.
  private struct Reading: Codable {
    var version: Int64
  }

  func planAlteration(_ alteration: TableAlteration, _ plan: StatementPlan, _ call: StageCall) async throws -> StagePlan {
    let name = try target(plan)
    guard alteration.readsRows else { return .none }
    let found: (entry: TableEntry, snapshot: Snapshot)
    do {
      found = try await services.tables.look(name)
    } catch let error as PlatformError where error.code == .notFound && plan.isConditional {
      return .none
    }
    let snapshot = found.snapshot
    let columns = try TypeMapping.columns(snapshot.schema)
    let sql: String
    switch alteration {
    case .addCheck(let check):
      try await BlockingPool.shared.run {
        try TableExpression.check(check.expression, columns: columns, what: "the constraint '\(check.name ?? "")'")
        _ = try TableAlterations.decide(alteration, on: snapshot, table: name)
      }
      sql = "SELECT count(*) AS n FROM \(Self.reading(name, snapshot.version)) WHERE (\(try TableExpression.native(check.expression))\n) IS NOT TRUE"
    case .setNullable(let path, _):
      guard snapshot.schema.field(at: path) != nil else { throw TableAlterations.noColumn(path, snapshot) }
      let column = path.map(SQLText.identifier)
      // A field of a struct that is null itself has no value to be judged.
      let parents = (1..<column.count).map { "t.\(column[..<$0].joined(separator: ".")) IS NOT NULL AND " }.joined()
      sql = "SELECT count(*) AS n FROM \(Self.reading(name, snapshot.version)) WHERE \(parents)t.\(column.joined(separator: ".")) IS NULL"
    case .syncIdentity(let path):
      guard path.count == 1, let field = snapshot.schema.field(at: path)?.field, let identity = try IdentityColumn(field) else {
        throw PlatformError(.invalidArgument, "'\(path.joined(separator: "."))' is no identity column")
      }
      sql = "SELECT \(identity.step > 0 ? "max" : "min")(t.\(SQLText.identifier(field.name))) AS n FROM \(Self.reading(name, snapshot.version))"
    default: return .none
    }
    return .shards([try await readingUnit(sql)])
  }

  private static func reading(_ name: ThreePartName, _ version: Int64) -> String {
    [name.catalog, name.schema, name.name].map(SQLText.identifier).joined(separator: ".") + " VERSION AS OF \(version) AS t"
  }

  /// A query of our own over the catalog's tables, for an executor.
  func readingUnit(_ sql: String) async throws -> UnitSpec {
    let plan = try await BlockingPool.shared.run { try StatementPlan(parsing: sql, catalog: "main", schema: "default") }
    var tables: [StatementSpec.Table] = []
    var version: Int64 = 0
    for reference in plan.references {
      let table = try await services.tables.resolve(
        name(reference.name), version: reference.version, timestampMilliseconds: reference.timestampMilliseconds)
      tables.append(.init(view: reference.view, scan: table.scan))
      version = table.version
    }
    // The version goes along as a column: the commit has to know what was read.
    var spec = StatementSpec(kind: .select, sql: "SELECT *, \(version) AS version FROM (\(plan.sql))", tables: tables)
    spec.isInternal = true
    return UnitSpec(index: 0, kind: "sql", payload: try JSONValue(encoding: spec))
  }

  /// - Returns: the next stage when others changed the rows that were judged.
  func alter(
    _ alteration: TableAlteration, _ plan: StatementPlan, _ call: StageCall, _ results: [JSONValue], _ response: inout StatementResponse
  ) async throws -> StageOutcome? {
    let name = try target(plan)
    let actor = self.actor(call)
    let entry: TableEntry
    do {
      entry = try await services.tables.entry(name)
    } catch let error as PlatformError where error.code == .notFound && plan.isConditional {
      return nil
    }
    switch alteration {
    case .rename(let to):
      let new = try self.name(to)
      // A repeated commit finds what it did.
      if entry.name != new { _ = try await services.catalog.rename(.table, name, to: new, by: actor) }
      return nil
    case .setOwner(let owner):
      try await services.catalog.change(.table, name, .init(owner: owner), by: actor)
      return nil
    case .setTags(let tags, let column):
      try await setTags(tags, of: column.map { .column(name, $0) } ?? .object(.table, name), by: actor)
      return nil
    case .unsetTags(let keys, let column):
      let tagged: CatalogStore.Tagged = column.map { .column(name, $0) } ?? .object(.table, name)
      for key in keys { try await services.catalog.removeTag(tagged, key: key, by: actor) }
      return nil
    case .addKey(let key):
      let snapshot = try await services.tables.look(name).snapshot
      try await check([key], fields: snapshot.schema.fields, of: name)
      let loose = snapshot.schema.fields.first { field in field.nullable && key.columns.contains { $0.lowercased() == field.name.lowercased() } }
      if key.kind == .primary, let loose {
        throw PlatformError(
          .invalidArgument, "the column '\(loose.name)' of the primary key may be null", hint: "ALTER TABLE .. ALTER COLUMN \(loose.name) SET NOT NULL first.")
      }
      let present = try await keys(entry).map(\.name) + snapshot.metadata.checkConstraints.map(\.name)
      _ = try await services.catalog.addConstraint(constraint(key, of: name, beside: present), to: name, by: actor)
      return nil
    case .dropPrimaryKey(let isConditional):
      if let key = try await keys(entry).first(where: { $0.kind == .primaryKey }) {
        try await services.catalog.removeConstraint(key.name, from: name, cascade: false, by: actor)
      } else if !isConditional {
        throw PlatformError(.notFound, "table '\(name)' has no primary key")
      }
      return nil
    case .dropConstraint(let constraint, _) where try await keys(entry).contains { $0.sql != nil && $0.name.lowercased() == constraint.lowercased() }:
      try await services.catalog.removeConstraint(constraint, from: name, cascade: false, by: actor)
      return nil
    case .dropFeature(let feature, let truncatesHistory):
      try await dropFeature(feature, of: entry, truncatesHistory: truncatesHistory, call, &response)
    case .addCheck, .setNullable(_, false), .syncIdentity:
      guard let row = try results.decoded(StatementResult.self).first?.rows.first, row.count == 2, let version = row[1].intValue else {
        throw PlatformError(.internalError, "the rows of the table were not read")
      }
      do {
        response.version = try await services.tables.change(entry, key: call.commitKey, asOf: Int64(version)) { base in
          try Self.judged(alteration, row[0], on: base, table: name)
        }.version
      } catch let error as PlatformError where error.code == .conflict && call.id.stage < 10 {
        return .nextStage(carry: .null)
      }
    default:
      if case .renameColumn(let path, _) = alteration { try await refuse(path, of: entry, verb: "renamed") }
      if case .dropColumns(let paths, _) = alteration { for path in paths { try await refuse(path, of: entry, verb: "dropped") } }
      // The decision is made again for the notes: it depends on nothing but the version before.
      let before = try await services.tables.look(name).snapshot
      if case .setDefault(let path, let text?) = alteration {
        try await BlockingPool.shared.run {
          let type = try before.schema.field(at: path).map { try TypeMapping.sql($0.field.type) } ?? .varchar
          try TableExpression.check(text, columns: [], castTo: type, what: "the default of '\(path.joined(separator: "."))'")
        }
      }
      let notes = try TableAlterations.decide(alteration, on: before, table: name).notes
      response.version = try await services.tables.change(entry, key: call.commitKey) { base, _ in
        try TableAlterations.decide(alteration, on: base, table: name).plan
      }.version
      if !notes.isEmpty {
        response.columns = [.init(name: "note", type: "string")]
        response.rows = notes.map { [.string($0)] }
      }
    }
    return nil
  }

  /// The change, once the rows that it asks something of are known to allow it.
  private static func judged(_ alteration: TableAlteration, _ answer: JSONValue, on base: Snapshot, table: ThreePartName) throws -> CommitPlan? {
    switch alteration {
    case .addCheck(let check):
      guard answer.intValue == 0 else {
        throw PlatformError(
          .invalidArgument, "\(answer.intValue ?? 0) rows of table '\(table)' do not satisfy the constraint '\(check.name ?? "")': \(check.expression)",
          hint: "Correct or delete them first.", number: "PLT-3212")
      }
    case .setNullable(let path, _):
      guard answer.intValue == 0 else {
        throw PlatformError(
          .invalidArgument, "the column '\(path.joined(separator: "."))' of table '\(table)' is null in \(answer.intValue ?? 0) rows",
          hint: "Give them a value first.", number: "PLT-3212")
      }
    case .syncIdentity(let path):
      guard let value = answer.intValue else { return nil }
      var change = SchemaChange(base)
      try change.setIdentityMark(path[0], Int64(value))
      return try change.plan(operation: "CHANGE COLUMN")
    default: break
    }
    return try TableAlterations.decide(alteration, on: base, table: table).plan
  }
}

extension TableAlteration {
  var readsRows: Bool {
    switch self {
    case .addCheck, .setNullable(_, false), .syncIdentity: true
    default: false
    }
  }
}

extension LakeTables {
  /// Commits a change that was judged by all rows of one version.
  /// - Throws: `conflict` when others have since added or changed rows.
  func change(
    _ entry: TableEntry, key: String, asOf version: Int64, _ decide: @escaping @Sendable (Snapshot) throws -> CommitPlan?
  ) async throws -> Snapshot {
    let user = Self.committer
    let after = try await BlockingPool.shared.run {
      let table = try log(entry)
      let latest = try table.snapshot()
      if Self.isDone(latest, key) { return latest }
      var base = latest.version == version ? latest : try table.snapshot(version: version)
      guard var plan = try decide(base), !plan.actions.isEmpty else { return latest }
      plan.reads = .everything
      plan.isolation = .serializable
      _ = try table.commit(plan.committed(by: user), onto: &base, transaction: Self.transaction(key))
      return base
    }
    try await show(after, of: entry)
    return after
  }
}
