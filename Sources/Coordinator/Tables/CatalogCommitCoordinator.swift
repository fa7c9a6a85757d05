// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DeltaLog
import Foundation

/// Decides commits over several tables with a transaction of the catalog's database. Tables are known by their identifiers there.
///
/// Calls block: never on a thread of Swift's own pool.
struct CatalogCommitCoordinator: CommitCoordinator {
  let catalog: CatalogStore
  /// The database has bounds of its own; this one ends the wait whatever happens to it.
  var patience: Duration = .seconds(120)

  private func wait<T: Sendable>(_ body: @escaping @Sendable () async throws -> T) throws -> T {
    try BlockingPool.wait(atMost: patience, for: "the catalog's database", body)
  }

  private static func identifier(_ table: String) throws -> UUID {
    guard let id = UUID(uuidString: table) else { throw PlatformError(.invalidArgument, "'\(table.prefix(100))' is no identifier of a table") }
    return id
  }

  func progress(of tables: [String]) throws -> [String: TableProgress] {
    let ids = try tables.map(Self.identifier)
    let found = try wait { [catalog] in try await catalog.deltaProgress(of: ids) }
    var progress: [String: TableProgress] = [:]
    for (table, id) in zip(tables, ids) {
      guard let known = found[id] else { continue }
      progress[table] = TableProgress(
        latest: known.latest,
        unpublished: known.waiting.map { DecidedCommit(table: table, version: $0.version, fileName: $0.fileName, fileSize: $0.fileSize, isLast: $0.isLast) })
    }
    return progress
  }

  func decide(_ commits: [DecidedCommit]) throws {
    let now = ProcessSupport.wallMilliseconds
    let versions = try commits.map {
      CatalogStore.TableVersion(
        table: try Self.identifier($0.table),
        commit: DeltaCommitEntry(version: $0.version, fileName: $0.fileName, fileSize: $0.fileSize, fileModifiedAt: now, committedAt: now, isLast: $0.isLast))
    }
    try wait { [catalog] in try await catalog.commitDelta(together: versions) }
  }

  func published(_ table: String, through version: Int64) throws {
    let id = try Self.identifier(table)
    try wait { [catalog] in try await catalog.commitDelta(table: id, nil, latestBackfilled: version) }
  }
}
