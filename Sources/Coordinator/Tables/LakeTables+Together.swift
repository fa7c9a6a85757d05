// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DeltaLog
import Foundation

/// Changes of several tables that become visible at once.
extension LakeTables {
  /// One table's part of a change.
  struct Part: Sendable {
    var entry: TableEntry
    /// What is to be done with the table's newest version.
    var decide: @Sendable (Snapshot) throws -> CommitPlan
  }

  private func coordinated(_ entry: TableEntry) throws -> CoordinatedTable {
    CoordinatedTable(
      try Self.open(entry.location, Self.writtenFeatures), id: entry.id.uuidString.lowercased(), coordinator: CatalogCommitCoordinator(catalog: catalog))
  }

  /// The tables as they are at one moment: a commit that spans them is in all of them or in none.
  func together(_ entries: [TableEntry]) async throws -> [Snapshot] {
    try await BlockingPool.shared.run { try CoordinatedTable.snapshots(entries.map(coordinated)) }
  }

  /// Changes all of the tables, or none. From then on their versions are given out by the catalog: other writers are refused by the log.
  /// - Returns: the version of each part, in their order.
  /// - Throws: `conflict` when others changed what a part rests on: nothing has happened.
  func commitTogether(_ parts: [Part]) async throws -> [Int64] {
    try await BlockingPool.shared.run {
      let tables = try parts.map { try coordinated($0.entry) }
      for table in tables { try table.adopt() }
      let bases = try CoordinatedTable.snapshots(tables)
      var planned: [MultiTableCommit.Part] = []
      for (index, part) in parts.enumerated() { planned.append(.init(tables[index], try part.decide(bases[index]), base: bases[index])) }
      return try MultiTableCommit(planned).run()
    }
  }
}
