// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DeltaLog

extension LakeTables {
  /// Nothing of ours may write to a table whose versions the catalog gives out to its clients: both would give out the same one. Those
  /// of a table that our own commits over several tables have taken over are asked for as well by us.
  /// - Throws: `invalidArgument` for such a table.
  func requireOwnLog(_ entry: TableEntry) async throws {
    guard let newest = try await catalog.newestDeltaCommit(table: entry.id) else { return }
    let caches = snapshots
    let isOurs = try await BlockingPool.shared.run {
      try open(entry, Self.writtenFeatures, caches.cache(entry.location)).latest().tableProtocol.supports(.coordinatedCommits)
    }
    guard !isOurs else { return }
    throw PlatformError(
      .invalidArgument, "the versions of table '\(entry.name)' are given out by the catalog since a client committed version \(newest) there",
      hint: "Write with that client.", number: "PLT-3262")
  }
}
