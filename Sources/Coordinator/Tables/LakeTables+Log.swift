// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import Query

/// The logs of tables, for statements that change or read nothing but them.
extension LakeTables {
  /// The table's log. Every data feature passes: no data file is read or written through it.
  func log(_ entry: TableEntry) throws -> DeltaTable { try open(entry, Self.writtenFeatures) }

  /// The log in a folder, whatever the catalog says of it.
  static func log(_ location: String) throws -> DeltaTable { try open(location, writtenFeatures) }

  /// Where a data file lies. Files outside of the table's folder, which a shallow clone shares, have to be below one of `sharedFolders`:
  /// a log must not lead executors to files that are nobody's table.
  /// - Throws: `permissionDenied`; `invalidFile`.
  static func path(of file: AddFile, in location: String, sharedFolders: [String]) throws -> String {
    try TableScan.path(file.location(), location, sharedFolders)
  }

  static func transaction(_ key: String) -> AppTransaction { AppTransaction(appId: "platform/\(key)", version: 1) }

  /// Whether the statement with this key has been committed before.
  static func isDone(_ snapshot: Snapshot, _ key: String) -> Bool { snapshot.transactions["platform/\(key)"] != nil }

  /// The catalog's entry and the table's latest (or another) version.
  func look(_ name: ThreePartName, _ version: TableVersion = TableVersion()) async throws -> (entry: TableEntry, snapshot: Snapshot) {
    let entry = try await entry(name)
    let snapshot = try await BlockingPool.shared.run {
      let table = try log(entry)
      return try version.timestampMilliseconds.map { try table.snapshot(timestampMilliseconds: $0) } ?? table.snapshot(version: version.version)
    }
    return (entry, snapshot)
  }

  /// Commits what `decide` makes of the latest version; when other commits came first, decides again on what is there then.
  /// Repeated with the same key, it finds its own version and changes nothing.
  /// - Parameter decide: nil: there is nothing to do.
  /// - Returns: the table as it is after the commit.
  func change(
    _ entry: TableEntry, key: String, _ decide: @escaping @Sendable (Snapshot, DeltaTable) throws -> CommitPlan?
  ) async throws -> Snapshot {
    try await requireOwnLog(entry)
    let user = Self.committer
    let after = try await BlockingPool.shared.run {
      let table = try log(entry)
      var attempt = 0
      while true {
        var base = try table.snapshot()
        if Self.isDone(base, key) { return base }
        guard let plan = try decide(base, table), !plan.actions.isEmpty else { return base }
        do {
          _ = try table.commit(plan.committed(by: user), onto: &base, transaction: Self.transaction(key))
          return base
        } catch let error as PlatformError where CommitConflict.kind(of: error) != nil && attempt < 20 {
          attempt += 1
        }
      }
    }
    try await show(after, of: entry)
    return after
  }

  /// Puts what the catalog shows of a table beside what its log says now.
  func show(_ snapshot: Snapshot, of entry: TableEntry) async throws {
    let columns = try TypeMapping.columns(snapshot.schema).map { ColumnEntry(name: $0.name, type: $0.type.sql.lowercased()) }
    if columns != entry.columns { try await catalog.updateColumns(entry.name, columns) }
    let comment = snapshot.metadata.description ?? ""
    if comment != entry.comment { try await catalog.change(.table, entry.name, .init(comment: comment), by: "platform") }
  }
}
