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

/// Committing what executors wrote: INSERT, CREATE TABLE AS, UPDATE, DELETE, MERGE.
extension StatementPlanner {
  func write(_ plan: StatementPlan, _ result: StatementResult?, _ call: StageCall, _ response: inout StatementResponse) async throws {
    guard let target = plan.target else { throw PlatformError(.internalError, "the statement has no target") }
    let targetName = try name(target)
    // A conditional CREATE of a table that exists has run nothing.
    guard let result else { return response.affectedRows = 0 }
    if plan.kind == .insert {
      response.version = try await insert(plan, result, services.tables.catalog.table(targetName), call)
    } else {
      response.version = try await createAs(targetName, plan, result, call)
    }
    response.affectedRows = result.rowCount
    let user = try await self.user(call)
    try await addLineage(result.sources, target: ("table", "\(targetName)", response.version), call, user)
  }

  /// Commits the rows of an INSERT.
  private func insert(_ plan: StatementPlan, _ result: StatementResult, _ entry: TableEntry, _ call: StageCall) async throws -> Int64 {
    guard let made = result.target, let version = made.version else {
      throw PlatformError(.internalError, "the statement says nothing of its table")
    }
    let readsItself = result.sources?.reads(table: "\(entry.name)") ?? true
    let unsynced = try await self.unsynced(result)
    // Rows that come in and depend on nothing: statements that meet share a version.
    if !plan.replaces, !readsItself, result.identityMarks?.isEmpty ?? true,
      let version = try await services.tables.append(
        entry, LakeTables.adds(result.files, entry), madeFor: made, key: call.commitKey, metrics: Self.metrics(result), unsynced: unsynced)
    {
      return version
    }
    if !unsynced.isEmpty { try await BlockingPool.shared.run { for file in unsynced { try file.sync() } } }
    return try await services.tables.commit(entry, onto: version, key: call.commitKey) { try Self.insertion(plan, result, entry, $0) }
  }

  /// The commit of the rows of an INSERT.
  static func insertion(_ plan: StatementPlan, _ result: StatementResult, _ entry: TableEntry, _ base: Snapshot) throws -> CommitPlan {
    guard let made = result.target, let schema = made.schema else { throw PlatformError(.internalError, "the statement says nothing of its table") }
    let adds = try LakeTables.adds(result.files, entry)
    var commit: CommitPlan
    if !plan.replaces {
      commit = .append(adds)
      if result.sources?.reads(table: "\(entry.name)") ?? true { commit.reads = .matching(.all, base.files) }
    } else if plan.insert.trailing.isEmpty, !plan.insert.constants.isEmpty {
      commit = try .replaceWhere(Self.partition(plan.insert.constants, base), adds, base: base)
    } else if !plan.insert.trailing.isEmpty || base.metadata.configuration["platform.partitionOverwriteMode"]?.lowercased() == "dynamic" {
      commit = .dynamicOverwrite(adds, base: base)
    } else {
      commit = .overwrite(adds, base: base)
      commit.isolation = .serializable
    }
    let marked = try Self.marked(StructType(parsing: schema), result.identityMarks)
    commit.actions =
      try SchemaChange.actions(base, schema: marked, configuration: made.properties, partitionColumns: made.partitionColumns) + commit.actions
    commit.operationMetrics = metrics(result)
    return commit
  }

  private static func metrics(_ result: StatementResult) -> [String: String] {
    [
      "numFiles": String(result.files.count), "numOutputRows": String(result.rowCount),
      "numOutputBytes": String(result.files.reduce(0) { $0 + $1.sizeBytes }),
    ]
  }

  /// Files that may wait for the disk together with the log. Larger ones wait before they take their table's turn.
  private static let unsyncedBytesMax: Int64 = 8 << 20

  /// Of the rows of an INSERT, the files that its commit has to wait for.
  private func unsynced(_ result: StatementResult) async throws -> [UnsyncedFile] {
    guard result.isUnsynced == true else { return [] }
    return try await BlockingPool.shared.run {
      let files = try result.files.map { try LakeTables.unsynced($0.path) }
      guard result.files.reduce(0, { $0 + $1.sizeBytes }) > Self.unsyncedBytesMax else { return files }
      for file in files { file.start() }
      for file in files { try file.sync() }
      return []
    }
  }

  /// The schema with the identity values that were given out.
  static func marked(_ schema: StructType, _ marks: [String: Int64]?) throws -> String {
    guard let marks, !marks.isEmpty else { return schema.schemaString }
    let columns = try schema.identityColumns().map { column in
      var column = column
      if let mark = marks[column.name] { column.observe(mark) }
      return column
    }
    return schema.updating(columns).schemaString
  }

  /// The partition that constants of `PARTITION (..)` name.
  private static func partition(_ constants: [String: String], _ base: Snapshot) throws -> FilePredicate {
    .and(
      try constants.sorted { $0.key < $1.key }.map { name, expression in
        guard let field = base.schema.fields.first(where: { $0.name.lowercased() == name.lowercased() }) else {
          throw PlatformError(.invalidArgument, "the table has no column '\(name)'")
        }
        guard let text = try QueryProbe.partitionValue(expression, field), !text.isEmpty else { return .isNull([field.name]) }
        return .compare(column: [field.name], .equal, try Literal(partition: text, type: field.type))
      })
  }

  func rewrite(_ plan: StatementPlan, _ result: StatementResult?, _ call: StageCall, _ response: inout StatementResponse) async throws {
    guard let target = plan.target, let result, let change = result.change else {
      throw PlatformError(.internalError, "the statement returned nothing")
    }
    let entry = try await services.tables.catalog.table(name(target))
    response.affectedRows = result.rowCount
    guard !change.removed.isEmpty || !change.vectors.isEmpty || !result.files.isEmpty else { return response.version = change.version }
    let shared = try await services.tables.sharedFolders()
    response.version = try await services.tables.commit(entry, onto: change.version, key: call.commitKey) { base in
      try Self.commit(of: plan, result, change, entry, base, sharedFolders: shared)
    }
    let user = try await self.user(call)
    try await addLineage(result.sources, target: ("table", "\(entry.name)", response.version), call, user)
  }

  /// The commit of changed rows.
  static func commit(
    of plan: StatementPlan, _ result: StatementResult, _ change: StatementResult.Change, _ entry: TableEntry, _ base: Snapshot,
    sharedFolders: [String]
  ) throws -> CommitPlan {
    let read = change.reads(base)
    var byPath: [String: AddFile] = [:]
    for file in read.files { byPath[try LakeTables.path(of: file, in: entry.location, sharedFolders: sharedFolders)] = file }
    func present(_ path: String) throws -> AddFile {
      guard let file = byPath[path] else {
        throw PlatformError(.internalError, "a changed file is not part of version \(base.version)", path: path)
      }
      return file
    }
    var rewrite = CommitPlan.Rewrite()
    rewrite.removed = try change.removed.map(present)
    rewrite.deleted = try change.vectors.map { (try present($0.path), $0.descriptor) }
    rewrite.added = try LakeTables.adds(result.files, entry)
    rewrite.changes = try LakeTables.adds(change.changeFiles, entry).map {
      ChangeFile(path: $0.path, partitionValues: $0.partitionValues, size: $0.size)
    }
    var commit = CommitPlan.rewrite(
      rewrite, where: read.condition, read: read.files, operation: plan.kind == .insert ? "WRITE" : plan.kind.rawValue.uppercased())
    commit.operationParameters = plan.historyParameters
    if let condition = plan.replacedPredicate { commit.operationParameters = ["mode": "Overwrite", "predicate": .string(condition)] }
    if let made = result.target, let schema = made.schema {
      let marked = try marked(StructType(parsing: schema), result.identityMarks)
      commit.actions =
        try SchemaChange.actions(base, schema: marked, configuration: made.properties, partitionColumns: made.partitionColumns) + commit.actions
    }
    if base.properties.hasRowTracking { commit.preservesRowIds = true }
    commit.operationMetrics = metrics(plan, result, change, rewrite)
    return commit
  }

  /// Numbers for the history under the names of the reference implementation.
  private static func metrics(
    _ plan: StatementPlan, _ result: StatementResult, _ change: StatementResult.Change, _ rewrite: CommitPlan.Rewrite
  ) -> [String: String] {
    let updatedVectors = rewrite.deleted.filter { $0.file.deletionVector != nil }.count
    let removedVectors = rewrite.removed.filter { $0.deletionVector != nil }.count
    var metrics: [String: Int64]
    switch plan.kind {
    case .merge:
      metrics = [
        "numTargetRowsInserted": change.inserted, "numTargetRowsUpdated": change.updated, "numTargetRowsDeleted": change.deleted,
        "numTargetRowsCopied": change.copied, "numOutputRows": result.files.reduce(0) { $0 + $1.rows }, "numSourceRows": change.sourceRows ?? 0,
        "numTargetFilesAdded": Int64(rewrite.added.count), "numTargetFilesRemoved": Int64(rewrite.removed.count),
        "numTargetBytesAdded": rewrite.added.reduce(0) { $0 + $1.size }, "numTargetBytesRemoved": rewrite.removed.reduce(0) { $0 + $1.size },
        "numTargetChangeFilesAdded": Int64(rewrite.changes.count), "numTargetDeletionVectorsAdded": Int64(rewrite.deleted.count),
        "numTargetDeletionVectorsUpdated": Int64(updatedVectors), "numTargetDeletionVectorsRemoved": Int64(updatedVectors + removedVectors),
      ]
    default:
      metrics = [
        "numAddedFiles": Int64(rewrite.added.count), "numRemovedFiles": Int64(rewrite.removed.count),
        "numAddedBytes": rewrite.added.reduce(0) { $0 + $1.size }, "numRemovedBytes": rewrite.removed.reduce(0) { $0 + $1.size },
        "numCopiedRows": change.copied, "numAddedChangeFiles": Int64(rewrite.changes.count),
        "numDeletionVectorsAdded": Int64(rewrite.deleted.count), "numDeletionVectorsUpdated": Int64(updatedVectors),
        "numDeletionVectorsRemoved": Int64(updatedVectors + removedVectors),
      ]
      if plan.kind != .update { metrics["numDeletedRows"] = change.deleted }
      if plan.kind == .update { metrics["numUpdatedRows"] = change.updated }
      if plan.kind == .insert { metrics["numOutputRows"] = change.inserted }
    }
    return metrics.mapValues { String($0) }
  }
}
