// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DeltaLog
import Foundation
import Query
import Scheduling

/// A table whose rows a statement changes, and how.
struct ChangedTable {
  var base: LakeTables.Base
  var target: WriteTarget
  var change: StatementSpec.Change
  /// Of a MERGE's source, in lower case.
  var sourceColumns: Set<String>?

  /// Those that the statement brings included.
  var columns: [Column] {
    get throws { try TypeMapping.columns(StructType(parsing: target.schema ?? base.snapshot.metadata.schemaString)) }
  }
}

/// Planning of statements that write rows: which columns the rows bring, and whether the table grows by them.
extension StatementPlanner {
  /// Adds the table to `spec`, with the columns that `WITH SCHEMA EVOLUTION` brings.
  func planInsert(_ plan: StatementPlan, into base: LakeTables.Base, _ spec: inout StatementSpec) async throws {
    spec.insertColumns = plan.insertColumns
    spec.insert = plan.insert
    spec.outputDirectory = base.entry.location
    for name in plan.insert.constants.keys + plan.insert.trailing {
      guard base.snapshot.metadata.partitionColumns.contains(where: { $0.lowercased() == name.lowercased() }) else {
        throw PlatformError(
          .invalidArgument, "'\(name)' is no partition column of \(base.entry.name)",
          hint: base.snapshot.metadata.partitionColumns.isEmpty
            ? "The table has none." : "It has: \(base.snapshot.metadata.partitionColumns.joined(separator: ", ")).")
      }
    }
    var target = base.target
    if plan.evolvesSchema {
      // What the files hold is known only when they are read.
      guard plan.fileRequests.isEmpty else {
        throw PlatformError(
          .invalidArgument, "WITH SCHEMA EVOLUTION cannot stand beside read_files",
          hint: "Use COPY INTO .. COPY_OPTIONS ('mergeSchema' = 'true'), or add the columns with ALTER TABLE first.", number: "PLT-3115")
      }
      let views = try spec.tables.map { (view: $0.view, columns: try $0.scan.columns()) }
      let (sql, definitions, variables) = (plan.sql, spec.definitions, spec.variables)
      let schema = try await BlockingPool.shared.run {
        try Self.evolved(
          base.snapshot,
          with: Self.named(QueryProbe.columns(of: sql, tables: views, definitions: definitions, variables: variables), plan, base.snapshot.schema))
      }
      (target.schema, target.properties) = (schema.schemaString, schema.configuration)
      if !plan.insert.byName && plan.insertColumns.isEmpty { spec.insert.appendsNewColumns = true }
    }
    spec.target = target
    spec.targetColumns = try TypeMapping.columns(StructType(parsing: target.schema ?? base.snapshot.metadata.schemaString))
  }

  /// Writes UPDATE, DELETE, MERGE or the removal of INSERT .. REPLACE WHERE as queries over the table's files.
  func planChange(
    _ plan: inout StatementPlan, of base: LakeTables.Base, _ work: StatementWork, _ call: StageCall, _ user: String
  ) async throws -> ChangedTable {
    if let block = work.session.block {
      try CommitPlan.requireChangeable(base.snapshot, isFirst: block.changes(of: base.entry.location).isEmpty)
      try Self.requireManaged(base.entry)
    }
    var target = base.target
    var sourceColumns: Set<String>?
    let parsed = plan
    let (source, copy) = try await BlockingPool.shared.run {
      var own = parsed
      let query = try own.sourceQuery()
      return (query, own)
    }
    if let source {
      var resolver = StatementResolver(services: services, session: work.session, system: SystemRelations(services: services, call: nil))
      try await resolver.resolve(copy)
      let (tables, definitions) = (try resolver.tables.map { (view: $0.view, columns: try $0.scan.columns()) }, resolver.definitions)
      let variables = work.variables(user: user)
      let columns = try await BlockingPool.shared.run {
        try QueryProbe.columns(of: source, tables: tables, definitions: definitions, variables: variables)
      }
      sourceColumns = Set(columns.map { $0.name.lowercased() })
      let brought = plan.evolvingColumns(columns)
      if !brought.isEmpty {
        let metadata = try Self.evolved(base.snapshot, with: brought)
        (target.schema, target.properties) = (metadata.schemaString, metadata.configuration)
      }
    }
    let (known, wanted) = (sourceColumns, target)
    let (queries, own) = try await BlockingPool.shared.run {
      var own = parsed
      let queries = try own.changeQueries(wanted, sourceColumns: known)
      return (queries, own)
    }
    plan.adopt(own)
    let change = try StatementSpec.Change(
      queries, of: plan, on: base.snapshot, variables: work.variables(user: user), folder: base.entry.location,
      sharedFolders: try await services.tables.sharedFolders())
    return ChangedTable(base: base, target: target, change: change, sourceColumns: known)
  }

  /// The query's columns under the names that the table has for them: by position those that it has, the rest by their own.
  private static func named(_ columns: [Column], _ plan: StatementPlan, _ schema: StructType) -> [Column] {
    if plan.insert.byName { return columns }
    let names = plan.insertColumns.isEmpty ? schema.fields.map(\.name) : plan.insertColumns
    return columns.enumerated().map { Column($0 < names.count ? names[$0] : $1.name, $1.type) }
  }

  /// The table's metadata with what `columns` bring.
  static func evolved(_ base: Snapshot, with columns: [Column]) throws -> TableMetadata {
    var change = SchemaChange(base)
    QueryProbe.evolve(&change, with: columns)
    for case .metadata(let metadata) in try change.actions() { return metadata }
    return base.metadata
  }
}
