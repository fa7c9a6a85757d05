// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DeltaLog
import DuckDB
import Foundation
import Logging
import Query

/// How far the tables have come whose versions the catalog gives out, all at one moment: a commit that spans several of them is behind it
/// in all of them or in none.
struct TableMoment: Codable, Sendable {
  /// By the table's identifier in small letters.
  var versions: [String: Int64]

  init(_ catalog: CatalogStore) async throws {
    versions = Dictionary(uniqueKeysWithValues: try await catalog.deltaMoment().map { ($0.key.uuidString.lowercased(), $0.value) })
  }

  func version(_ entry: TableEntry) -> Int64? { versions[entry.id.uuidString.lowercased()] }
}

/// Changes of several tables that become visible at once.
extension LakeTables {
  /// One table's part of a change.
  struct Part: Sendable {
    var entry: TableEntry
    /// The version that the change is decided on; nil: the newest.
    var version: Int64?
    /// What is to be done with that version.
    var decide: @Sendable (Snapshot) throws -> CommitPlan
  }

  private func coordinated(_ entry: TableEntry) throws -> CoordinatedTable {
    let coordination = coordination(entry)
    return CoordinatedTable(
      try open(entry, Self.writtenFeatures, snapshots.cache(entry.location)), id: coordination.id, coordinator: coordination.coordinator)
  }

  /// The tables as they are at one moment: a commit that spans them is in all of them or in none.
  func together(_ entries: [TableEntry]) async throws -> [Snapshot] {
    try await BlockingPool.shared.run { try CoordinatedTable.snapshots(entries.map(coordinated)) }
  }

  /// A table as statements see it: as their transaction has left it, or as it was at the moment that was chosen for all tables, or now.
  func seen(_ table: DeltaTable, _ entry: TableEntry) throws -> Snapshot {
    let latest = try table.latest()
    var version = block?.versions[entry.location]
    if version == nil, latest.tableProtocol.supports(.coordinatedCommits), let moment = block?.moment ?? moment {
      // Nothing was given out for the table then: commits over several tables came later.
      version = try moment.version(entry) ?? table.adoptedVersion(latest)
    }
    return try state(table, entry, version, latest)
  }

  private func state(_ table: DeltaTable, _ entry: TableEntry, _ wanted: Int64?, _ latest: Snapshot) throws -> Snapshot {
    let version = wanted ?? latest.version
    let snapshot = version == latest.version ? latest : try table.snapshot(version: version)
    return try block?.applied(to: snapshot, entry, table.dataFeatures) ?? snapshot
  }

  /// Changes all of the tables, or none. From then on their versions are given out by the catalog: other writers are refused by the log.
  /// Repeated with the same key, it finds its own versions and changes nothing.
  /// - Returns: the version of each part, in their order.
  /// - Throws: `conflict` when others changed what a part rests on: nothing has happened.
  func commitTogether(_ parts: [Part], key: String? = nil) async throws -> [Int64] {
    let user = Self.committer
    let versions = try await BlockingPool.shared.run {
      let tables = try parts.map { try coordinated($0.entry) }
      for table in tables { try table.adopt() }
      let latest = try CoordinatedTable.snapshots(tables)
      let transaction = key.map(Self.transaction)
      if let transaction, let versions = try MultiTableCommit.replayed(transaction, zip(tables, latest)) { return versions }
      var planned: [MultiTableCommit.Part] = []
      for (index, part) in parts.enumerated() {
        let base = try part.version.flatMap { $0 == latest[index].version ? nil : try tables[index].table.snapshot(version: $0) } ?? latest[index]
        var plan = try part.decide(base).committed(by: user)
        if let transaction { plan.actions.insert(.transaction(transaction), at: 0) }
        planned.append(.init(tables[index], plan, base: base))
      }
      return try MultiTableCommit(planned).run()
    }
    // The commit stands: what fails here is made up for by the tables' next commits.
    for (part, version) in zip(parts, versions) { try? await settle(part.entry, version) }
    return versions
  }

  /// What follows a commit: the catalog shows the columns, upkeep is noted.
  private func settle(_ entry: TableEntry, _ version: Int64) async throws {
    let caches = snapshots
    let (facts, columns) = try await BlockingPool.shared.run {
      let latest = try open(entry, Self.writtenFeatures, caches.cache(entry.location)).latest()
      return (TableUpkeep.Facts(latest), try TypeMapping.columns(latest.schema))
    }
    upkeep.note(entry, facts, version: version)
    try await catalog.updateColumns(entry.name, columns.map { ColumnEntry(name: $0.name, type: $0.type.sql.lowercased()) })
  }

  /// Puts what was decided for several tables into their logs, where a process that died has left it to others. Readers of ours would do
  /// the same; programs that read the folders alone see it from here on.
  func finishDecided(logger: Logger) async throws {
    for name in try await catalog.tablesWithWaitingCommits() {
      do {
        let entry = try await entry(name)
        _ = try await BlockingPool.shared.run { try log(entry).snapshot() }
      } catch {
        logger.warning("a decided commit could not be put into its table's log", metadata: ["table": "\(name)", "error": "\(error)"])
      }
    }
  }
}
