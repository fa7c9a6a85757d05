// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import DeltaLog
import Foundation
import ObjectStore
import Query
import Scheduling

/// VACUUM, RESTORE, CLONE and CONVERT: whole files that go, come back, or are taken over.
extension StatementPlanner {
  func vacuum(_ name: ThreePartName, hours: Double?, isDryRun: Bool, _ response: inout StatementResponse) async throws {
    let entry = try await services.tables.entry(name)
    let clones = try await services.tables.filesOfClones(of: entry)
    let decision = try await BlockingPool.shared.run {
      if !isDryRun { try ReadOnlyPlaces.shared.requireWritable(entry.location) }
      let table = try services.tables.log(entry)
      let snapshot = try table.snapshot()
      let own = snapshot.properties.deletedFileRetentionMilliseconds
      let wanted = hours.map { Int64($0 * 3_600_000) }
      if let wanted, wanted < own {
        throw PlatformError(
          .invalidArgument,
          "RETAIN \(Self.hours(wanted)) HOURS is less than the \(Self.hours(own)) hours that the table keeps removed files",
          hint:
            "Readers of older versions and statements at work could lose files. If there are none, first ALTER TABLE .. SET TBLPROPERTIES ('delta.deletedFileRetentionDuration' = 'interval \(Self.hours(wanted)) hours').",
          number: "PLT-3213")
      }
      var decision = try table.vacuum(retentionMilliseconds: wanted, isDryRun: true)
      decision.files.removeAll { clones.contains($0.path.text.dropFirst(table.path.text.utf8.count + 1).description) }
      if !isDryRun { for file in decision.files { try table.store.delete(file.path) } }
      return (files: decision.files.map { String($0.path.text.dropFirst(table.path.text.utf8.count + 1)) }, bytes: decision.sizeInBytes)
    }
    response.columns = [.init(name: "path", type: "string")]
    let prefix = entry.url
    if isDryRun {
      response.truncated = decision.files.count > 1000
      response.rows = decision.files.prefix(1000).map { [.string(prefix + "/" + $0)] }
    } else {
      response.rows = [[.string(prefix)]]
      response.columns += [.init(name: "numFilesDeleted", type: "bigint"), .init(name: "sizeOfFilesDeleted", type: "bigint")]
      response.rows[0] += [.integer(Int64(decision.files.count)), .integer(decision.bytes)]
      try await services.catalog.audit(actor: "platform", action: "vacuum", object: "\(name)", outcome: "\(decision.files.count) files deleted")
    }
  }

  private static func hours(_ milliseconds: Int64) -> String {
    milliseconds % 3_600_000 == 0 ? String(milliseconds / 3_600_000) : String(format: "%.2f", Double(milliseconds) / 3_600_000)
  }

  func restore(_ name: ThreePartName, _ version: TableVersion, _ call: StageCall, _ response: inout StatementResponse) async throws {
    let (entry, wanted) = try await services.tables.look(name, version)
    let facts = Facts()
    let after = try await services.tables.change(entry, key: call.commitKey) { base, table in
      guard wanted.version < base.version else { return nil }
      let (plan, returning) = CommitPlan.restore(to: wanted, from: base)
      // What vacuum has deleted does not come back.
      for file in returning {
        var needed: [String] = []
        if case .relative(let relative) = try file.location() { needed.append(relative) }
        if let vector = try file.deletionVector?.relativePath() { needed.append(vector) }
        for relative in needed where try table.store.head(table.path.appending(relative)) == nil {
          throw PlatformError(
            .notFound, "version \(wanted.version) cannot be restored: its file \(relative) was deleted by VACUUM",
            hint: "DESCRIBE HISTORY shows the other versions.", path: relative, line: nil)
        }
      }
      let kept = Set(wanted.filesByPath.keys)
      let removed = base.filesByPath.values.filter { !kept.contains($0.path) }
      facts.set([
        wanted.sizeInBytes, Int64(wanted.filesByPath.count), Int64(removed.count), Int64(returning.count), removed.reduce(0) { $0 + $1.size },
        returning.reduce(0) { $0 + $1.size },
      ])
      var complete = plan
      complete.operationMetrics = [
        "tableSizeAfterRestore": String(wanted.sizeInBytes), "numOfFilesAfterRestore": String(wanted.filesByPath.count),
        "numRemovedFiles": String(removed.count), "numRestoredFiles": String(returning.count),
      ]
      return complete.actions.isEmpty ? nil : complete
    }
    response.version = after.version
    response.columns = [
      "table_size_after_restore", "num_of_files_after_restore", "num_removed_files", "num_restored_files", "removed_files_size", "restored_files_size",
    ].map { .init(name: $0, type: "bigint") }
    response.rows = [(facts.values ?? [after.sizeInBytes, Int64(after.filesByPath.count), 0, 0, 0, 0]).map { .integer($0) }]
  }

  /// Numbers that the decision of a commit leaves behind.
  private final class Facts: @unchecked Sendable {  // protected by `lock`
    private let lock = NSLock()
    private var numbers: [Int64]?
    func set(_ values: [Int64]) { lock.withLock { numbers = values } }
    var values: [Int64]? { lock.withLock { numbers } }
  }

  // MARK: CLONE

  func clone(
    _ name: ThreePartName, _ source: QualifiedName, _ version: TableVersion, isDeep: Bool, _ definition: TableDefinition, _ plan: StatementPlan,
    _ call: StageCall, _ results: [JSONValue], _ response: inout StatementResponse
  ) async throws {
    guard definition.fields.isEmpty, definition.partitionColumns.isEmpty, definition.clusteringColumns == nil else {
      throw PlatformError(.invalidArgument, "a clone takes its columns and their arrangement from its source")
    }
    try TablePropertyNames.check(definition.properties.keys)
    let (origin, snapshot) = try await services.tables.look(self.name(source), version)
    guard origin.name != name else {
      throw PlatformError(.invalidArgument, "a table cannot be its own clone", hint: "RESTORE TABLE brings an older version back.")
    }
    guard !origin.isInBucket, !S3Location.isS3(definition.location ?? "") else {
      throw PlatformError(.invalidArgument, "tables in S3 are not cloned", hint: "CREATE TABLE .. AS SELECT copies their rows.", path: origin.location)
    }
    let configuration = definition.properties
    let root = "file://" + origin.location.percentEncodedPath
    let made =
      isDeep
      ? try TableClone.deep(snapshot, name: "\(name)", configuration: configuration)
      : try TableClone.shallow(snapshot, root: root, name: "\(name)", configuration: configuration)
    var domains: [Action] = []
    var files: [AddFile] = []
    for action in made.actions {
      switch action {
      case .domain(let domain) where domain.domain != RowTracking.domain: domains.append(.domain(domain))
      case .add(let file): files.append(file)
      default: break
      }
    }
    var metadata = made.metadata
    metadata.description = definition.comment ?? metadata.description
    let features = made.tableProtocol.features.subtracting([.coordinatedCommits])
    let complete = (metadata, domains)
    if isDeep {
      let target: String
      if let entry = try await services.catalog.findTable(name) {
        try entry.requireOnDisk()
        target = entry.location
        try await BlockingPool.shared.run { try ReadOnlyPlaces.shared.requireWritable(entry.location) }
      } else if definition.location != nil {
        throw PlatformError(
          .invalidArgument, "a deep clone with LOCATION is not supported", hint: "Leave LOCATION out, or use CREATE TABLE .. LOCATION .. AS SELECT.")
      } else {
        target = try await newLocation(name, call)
      }
      try await copy(made.copies, from: origin.location, sharedFolders: services.tables.sharedFolders(), to: target)
    }
    response.version = try await make(name, plan, call, location: definition.location, operation: "CLONE", files: files) { _ in
      NewVersion(metadata: complete.0, features: features, domains: complete.1)
    }
    if !isDeep {
      // VACUUM of the source asks for this mark.
      let entry = try await services.tables.entry(name)
      let properties = entry.properties.merging([LakeTables.cloneMark: origin.id.uuidString]) { $1 }
      if properties != entry.properties { try await services.catalog.change(.table, name, .init(properties: properties), by: actor(call)) }
    }
    response.columns = ["source_table_size", "source_num_of_files", "num_copied_files", "copied_files_size"].map { .init(name: $0, type: "bigint") }
    response.rows = [
      [
        .integer(snapshot.sizeInBytes), .integer(Int64(snapshot.filesByPath.count)), .integer(Int64(made.copies.count)),
        .integer(isDeep ? snapshot.sizeInBytes : 0),
      ]
    ]
  }

  /// Copies a table's data files, those included that it shares, to places below another's folder, a few at once. Files that are there
  /// already with the same size were copied before, by an earlier try of the same statement or clone: data files never change.
  /// - Throws: `permissionDenied` for a file outside of `source` and `sharedFolders`, before anything is copied.
  private func copy(_ copies: [TableClone.Copy], from source: String, sharedFolders: [String], to target: String) async throws {
    let files = try copies.map { (from: try TableScan.path($0.source, source, sharedFolders), to: target + "/" + $0.path) }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (index, file) in files.enumerated() {
        if index >= 4 { try await group.next() }
        group.addTask {
          try await BlockingPool.shared.run { try FileCopy.copy(file.from, to: file.to) }
        }
      }
      try await group.waitForAll()
    }
  }
}

extension String {
  /// For the path of a file URI: every byte that is not plain is escaped.
  var percentEncodedPath: String {
    var allowed = CharacterSet.alphanumerics.intersection(CharacterSet(charactersIn: UnicodeScalar(0)..<UnicodeScalar(128)))
    allowed.insert(charactersIn: "-_.!~*'()/=+")
    return addingPercentEncoding(withAllowedCharacters: allowed) ?? self
  }
}

extension LakeTables {
  /// Catalog property of a shallow clone: the identifier of the table that it was made of.
  static let cloneMark = "platform.shallowCloneOf"

  /// Files of `entry`, by their path below its folder, that shallow clones in the catalog still refer to.
  /// - Throws: when a clone cannot be read: it must not lose its files for being damaged.
  func filesOfClones(of entry: TableEntry) async throws -> Set<String> {
    var found: Set<String> = []
    let prefixes = ["file://" + entry.location.percentEncodedPath + "/", entry.location.percentEncodedPath + "/"]
    // A clone of a clone shares the files of the first table: every clone is asked.
    for other in try await catalog.tables() where other.properties[Self.cloneMark] != nil && other.id != entry.id {
      let shared = try await BlockingPool.shared.run { () throws -> Set<String> in
        let table = try log(other)
        guard try table.exists() else { return [] }
        var shared: Set<String> = []
        func note(_ location: String) {
          guard let prefix = prefixes.first(where: { location.hasPrefix($0) }) else { return }
          let rest = String(location.dropFirst(prefix.count))
          shared.insert(rest.removingPercentEncoding ?? rest)
        }
        let snapshot = try table.snapshot()
        func note(_ vector: DeletionVectorDescriptor?) {
          if let vector, vector.storage == .absolute { note(vector.pathOrInlineDv) }
        }
        for file in snapshot.filesByPath.values {
          note(file.path)
          note(file.deletionVector)
        }
        // What the clone has removed lately may still be read at its older versions.
        for file in snapshot.removedFiles {
          note(file.path)
          note(file.deletionVector)
        }
        return shared
      }
      found.formUnion(shared)
    }
    return found
  }
}
