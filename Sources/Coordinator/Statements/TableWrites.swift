// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DeltaLog
import DuckDB
import Foundation
import Query

/// Commits of the files that statements wrote, each decided on the version that the statement was planned on.
extension LakeTables {
  /// What the writer of statements takes care of in data files.
  static let writtenFeatures: Set<TableFeature> = [
    .columnMapping, .deletionVectors, .typeWidening, .invariants, .checkConstraints, .generatedColumns, .allowColumnDefaults, .identityColumns,
  ]

  /// A table with the version that a statement is planned on.
  struct Base: Sendable {
    var entry: TableEntry
    var snapshot: Snapshot

    var target: WriteTarget {
      WriteTarget(
        name: "\(entry.name)", schema: snapshot.metadata.schemaString, partitionColumns: snapshot.metadata.partitionColumns,
        properties: snapshot.metadata.configuration, version: snapshot.version)
    }
  }

  func base(_ name: ThreePartName, version: Int64? = nil) async throws -> Base {
    let entry = try await entry(name)
    let snapshot = try await BlockingPool.shared.run {
      try Self.open(entry.location, Self.writtenFeatures).snapshot(version: version)
    }
    return Base(entry: entry, snapshot: snapshot)
  }

  /// Commits what `plan` decides on `version`. Repeated with the same key, it finds its own version and changes nothing.
  /// - Throws: `conflict` when others have since changed what the plan rests on.
  func commit(
    _ entry: TableEntry, onto version: Int64, key: String, plan: @escaping @Sendable (Snapshot) throws -> CommitPlan
  ) async throws -> Int64 {
    let (committed, columns) = try await BlockingPool.shared.run {
      let table = try Self.open(entry.location, Self.writtenFeatures)
      var base = try table.snapshot(version: version)
      let outcome = try table.commit(plan(base), onto: &base, transaction: AppTransaction(appId: "platform/\(key)", version: 1))
      return (outcome.version, try TypeMapping.columns(base.schema))
    }
    try await catalog.updateColumns(entry.name, columns.map { ColumnEntry(name: $0.name, type: $0.type.sql.lowercased()) })
    return committed
  }

  /// Written files as the log names them.
  static func adds(_ files: [WrittenFile], _ entry: TableEntry) throws -> [AddFile] {
    try files.map { file in
      AddFile(
        relativePath: try relative(file.path, entry), size: file.sizeBytes, statistics: file.statistics, partitionValues: file.partitionValues)
    }
  }

  static func relative(_ path: String, _ entry: TableEntry) throws -> String {
    guard path.hasPrefix(entry.location + "/") else {
      throw PlatformError(.internalError, "a data file lies outside of its table: \(path)")
    }
    return String(path.dropFirst(entry.location.utf8.count + 1))
  }

  /// Every row of the table goes; its schema and properties stay.
  func truncate(_ name: ThreePartName, key: String) async throws -> (version: Int64, rows: Int64?) {
    let base = try await base(name)
    let version = try await commit(base.entry, onto: base.snapshot.version, key: key) { base in
      var plan = CommitPlan.overwrite([], base: base, operation: "TRUNCATE")
      plan.operationParameters = [:]
      plan.operationMetrics = [
        "numRemovedFiles": String(base.filesByPath.count), "numRemovedBytes": String(base.sizeInBytes),
        "numDeletedRows": base.rowCount.map { String($0) } ?? "-1",
      ]
      return plan
    }
    return (version, base.snapshot.rowCount)
  }
}
