// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DeltaLog
import Foundation
import ObjectStore
import Query

extension LakeTables {
  /// What happened to the rows of a table, from its change data feed.
  /// - Throws: `notFound` for no such table or versions; `invalidArgument` PLT-3241 for a table whose feed was off.
  func changes(_ name: ThreePartName, _ range: ChangeRange) async throws -> TableScan {
    let entry = try await entry(name)
    let shared = try await sharedFolders()
    return try await BlockingPool.shared.run {
      let table = try log(entry)
      let latest = try table.snapshot()
      let start: Int64
      switch range.start {
      case .version(let version): start = version
      // The first version that is not before that time.
      case .milliseconds(let time): start = try table.version(atTimestampMilliseconds: time - 1).map { $0 + 1 } ?? 0
      }
      let end: Int64
      switch range.end {
      case nil: end = latest.version
      case .version(let version): end = version
      case .milliseconds(let time): end = try table.version(atTimestampMilliseconds: time) ?? -1
      }
      guard start <= latest.version, end <= latest.version, start <= end else {
        throw PlatformError(
          .notFound, "table '\(name)' has no versions \(start) to \(end)", hint: "Its latest version is \(latest.version).", number: "PLT-3241")
      }
      let found: (changes: [ChangeDataFeed.Change], schemas: [StructType])
      do { found = try table.changesAndSchemas(start...end) } catch let error as PlatformError {
        guard error.code == .invalidArgument else {
          throw PlatformError(
            error.code, "the changes of table '\(name)' cannot be read: \(error.message)", hint: "Versions whose log was cleaned up have no changes any more.",
            number: "PLT-3241", path: error.path)
        }
        throw PlatformError(
          .invalidArgument, "table '\(name)': \(error.message)",
          hint: "ALTER TABLE \(name) SET TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true') records changes from then on.",
          number: "PLT-3241")
      }
      return try TableScan(
        changes: found.changes, schemas: found.schemas, of: end == latest.version ? latest : table.snapshot(version: end), folder: entry.location,
        sharedFolders: shared
      ) { vector in
        // A clone's file may have one that lies beside the file of its source.
        guard vector.storage == .absolute else { return try table.deletionVector(vector) }
        return try TableScan.deletionVector(vector, folder: entry.location, sharedFolders: shared)
      }
    }
  }
}
