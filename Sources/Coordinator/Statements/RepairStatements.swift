// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import DeltaLog
import Foundation
import ObjectStore
import Query
import Scheduling

/// FSCK REPAIR TABLE and ALTER TABLE .. DROP FEATURE: what concerns the log and the files beside it.
extension StatementPlanner {
  func repair(_ name: ThreePartName, isDryRun: Bool, _ call: StageCall, _ response: inout StatementResponse) async throws {
    let entry = try await services.tables.entry(name)
    let shared = [services.layout.lake] + (try await services.catalog.externalFolders())
    let losses = try await BlockingPool.shared.run {
      let table = try services.tables.log(entry)
      return try Self.losses(table.snapshot(), table, entry.location, shared)
    }
    if !isDryRun, losses.contains(where: \.isFileMissing) {
      response.version = try await services.tables.change(entry, key: call.commitKey) { base, table in
        try TableRepair.plan(Self.losses(base, table, entry.location, shared))
      }.version
    }
    response.columns = [
      .init(name: "dataFilePath", type: "string"), .init(name: "dataFileMissing", type: "boolean"), .init(name: "deletionVectorPath", type: "string"),
      .init(name: "deletionVectorFileMissing", type: "boolean"),
    ]
    response.truncated = losses.count > 1000
    response.rows = try losses.prefix(1000).map { loss in
      let vector = try loss.file.deletionVector.flatMap { try $0.relativePath() ?? ($0.storage == .absolute ? $0.pathOrInlineDv : nil) }
      return [.string(loss.file.path), .bool(loss.isFileMissing), vector.map { .string($0) } ?? .null, .bool(loss.isVectorMissing)]
    }
  }

  /// One listing tells of all files in the folder.
  private static func losses(_ snapshot: Snapshot, _ table: DeltaTable, _ location: String, _ shared: [String]) throws -> [TableRepair.Loss] {
    let prefix = table.path.text.utf8.count + 1
    let present = Set(try table.store.list(table.path).map { String($0.path.text.dropFirst(prefix)) })
    return try TableRepair.losses(snapshot, present: present) { place in
      let path = try TableScan.path(.absolute(place), location, shared)
      guard S3Location.isS3(path) else { return access(path, F_OK) == 0 }
      let (store, object) = try ObjectStores.open(path)
      return try store.head(object) != nil
    }
  }

  func dropFeature(
    _ feature: String, of entry: TableEntry, truncatesHistory: Bool, _ call: StageCall, _ response: inout StatementResponse
  ) async throws {
    do {
      let after = try await services.tables.change(entry, key: call.commitKey) { base, _ in try FeatureRemoval.plan(feature, base: base) }
      response.version = after.version
      // Readers without the feature start here and not at a version that needs it.
      try await BlockingPool.shared.run {
        let table = try services.tables.log(entry)
        try table.checkpoint(version: after.version)
        if truncatesHistory { try table.cleanUpLog() }
      }
      response.columns = [.init(name: "note", type: "string")]
      response.rows = [
        [.string("versions before \(after.version) still need the feature; they can be read for as long as delta.logRetentionDuration keeps them")]
      ]
    } catch var error as PlatformError where error.number.isEmpty && (error.code == .invalidArgument || error.code == .notFound) {
      error.message = "table '\(entry.name)': " + error.message
      error.number = "PLT-3242"
      throw error
    }
  }
}
