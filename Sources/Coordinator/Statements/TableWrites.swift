// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
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

  /// - Throws: `permissionDenied` PLT-3261 for a table that nothing is written to, before anything was.
  func base(_ name: ThreePartName, version: Int64? = nil) async throws -> Base {
    let entry = try await entry(name)
    try await requireOwnLog(entry)
    let caches = snapshots
    let snapshot = try await BlockingPool.shared.run {
      try ReadOnlyPlaces.shared.requireWritable(entry.location)
      let table = try open(entry, Self.writtenFeatures, caches.cache(entry.location))
      return try version.map { try table.snapshot(version: $0) } ?? seen(table, entry)
    }
    return Base(entry: entry, snapshot: snapshot)
  }

  /// Commits what `plan` decides on `version`. Repeated with the same key, it finds its own version and changes nothing.
  /// - Throws: `conflict` when others have since changed what the plan rests on.
  func commit(
    _ entry: TableEntry, onto version: Int64, key: String, plan: @escaping @Sendable (Snapshot) throws -> CommitPlan
  ) async throws -> Int64 {
    try await requireOwnLog(entry)
    let caches = snapshots
    let user = Self.committer
    let (committed, facts, columns) = try await BlockingPool.shared.run {
      let table = try open(entry, Self.writtenFeatures, caches.cache(entry.location))
      let latest = try table.latest()
      var base = latest.version == version ? latest : try table.snapshot(version: version)
      let outcome = try table.commit(plan(base).committed(by: user), onto: &base, transaction: Self.transaction(key))
      return (outcome.version, TableUpkeep.Facts(base), try TypeMapping.columns(base.schema))
    }
    upkeep.note(entry, facts, version: committed)
    try await catalog.updateColumns(entry.name, columns.map { ColumnEntry(name: $0.name, type: $0.type.sql.lowercased()) })
    return committed
  }

  /// Adds files that were made for a table that is still as `target` says. Appends of several statements become one version, when they
  /// meet. Repeated with the same key, it finds its own version and changes nothing.
  /// - Parameter unsynced: of the files, those that the disk may not have yet.
  /// - Returns: nil, and nothing has happened, when the table has changed.
  /// - Throws: `conflict` when it changes just now.
  func append(
    _ entry: TableEntry, _ files: [AddFile], madeFor target: WriteTarget, key: String, metrics: [String: String], unsynced: [UnsyncedFile] = []
  ) async throws -> Int64? {
    guard let schema = target.schema else { return nil }
    try await requireOwnLog(entry)
    let caches = snapshots
    let user = Self.committer
    let done = try await BlockingPool.shared.run { () -> (version: Int64, facts: TableUpkeep.Facts)? in
      let table = try open(entry, Self.writtenFeatures, caches.cache(entry.location))
      let (expected, facts) = try { () throws -> (TableMetadata?, TableUpkeep.Facts) in
        // Not held while the commit changes the snapshot in place.
        let latest = try table.latest()
        let isSame =
          try StructType(parsing: schema) == latest.schema && target.partitionColumns == latest.metadata.partitionColumns
          && target.properties == latest.metadata.configuration
        return (isSame ? latest.metadata : nil, TableUpkeep.Facts(latest))
      }()
      guard let expected else { return nil }
      let outcome = try table.append(
        files, transaction: Self.transaction(key), expectedMetadata: expected, metrics: metrics, unsynced: unsynced, userName: user)
      return (outcome.version, facts)
    }
    guard let done else { return nil }
    upkeep.note(entry, done.facts, version: done.version)
    return done.version
  }

  /// A file that an executor on this machine has written without waiting for the disk.
  static func unsynced(_ path: String) throws -> UnsyncedFile {
    let descriptor = Foundation.open(path, O_RDWR | O_CLOEXEC)
    guard descriptor >= 0 else { throw PlatformError.system("open the written file", path) }
    return UnsyncedFile(descriptor: descriptor, path: path)
  }

  /// Written files as the log names them.
  static func adds(_ files: [WrittenFile], _ entry: TableEntry) throws -> [AddFile] {
    try files.map { try $0.added(to: entry.location) }
  }

  /// Every row of the table goes; its schema and properties stay.
  func truncate(_ name: ThreePartName, key: String) async throws -> (version: Int64, rows: Int64?) {
    let base = try await base(name)
    let version = try await commit(base.entry, onto: base.snapshot.version, key: key) { Self.truncation($0) }
    return (version, base.snapshot.rowCount)
  }

  static func truncation(_ base: Snapshot) -> CommitPlan {
    var plan = CommitPlan.overwrite([], base: base, operation: "TRUNCATE")
    plan.operationParameters = [:]
    plan.operationMetrics = [
      "numRemovedFiles": String(base.filesByPath.count), "numRemovedBytes": String(base.sizeInBytes),
      "numDeletedRows": base.rowCount.map { String($0) } ?? "-1",
    ]
    return plan
  }
}
