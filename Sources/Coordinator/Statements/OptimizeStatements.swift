// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import DeltaLog
import DuckDB
import Foundation
import Query
import Scheduling

/// OPTIMIZE: small and worn files become full ones, and rows that are near come to lie together. A stage rewrites some groups of files, an
/// executor each, and commits them; what was committed stays when a later stage fails. Rows never change, so blind appends, and changes of
/// other files, go on meanwhile; a group that others have changed is left to the next stage.
extension StatementPlanner {
  /// Groups of one stage: they are committed together.
  private static let groupLimit = 32
  /// Stages of one statement; the rest is for the next.
  private static let stageLimit = 200

  /// What earlier stages did.
  struct OptimizeProgress: Codable {
    /// Files that the statement wrote, by their path in the log: they are not written again.
    var written: [String] = []
    var filesAdded = 0
    var filesRemoved = 0
    var bytesAdded: Int64 = 0
    var bytesRemoved: Int64 = 0
    var considered = 0
    var skipped = 0
    var batches = 0
    var partitions: [String] = []

    init() {}
    init(_ carry: JSONValue) throws { self = carry == .null ? OptimizeProgress() : try carry.decode() }
  }

  /// - Parameter isPurge: files with deletion vectors are written anew, and no others.
  func planOptimize(
    _ name: ThreePartName, condition: String?, zOrder: [[String]], isFull: Bool, isPurge: Bool = false, _ call: StageCall
  ) async throws -> StagePlan {
    let base = try await services.tables.base(name)
    let progress = try OptimizeProgress(call.carry)
    let plan: (groups: [[AddFile]], order: RewriteSpec.Order?) =
      isPurge
      ? (Self.worn(base.snapshot, without: Set(progress.written)), nil)
      : try await optimizeGroups(base.snapshot, condition: condition, zOrder: zOrder, isFull: isFull, without: Set(progress.written))
    guard !plan.groups.isEmpty else { return .none }
    let shared = try await services.tables.sharedFolders()
    let units = try plan.groups.prefix(Self.groupLimit).enumerated().map { index, group in
      let files = try group.map { try TargetFile($0, folder: base.entry.location, sharedFolders: shared) }
      let spec = RewriteSpec(
        sources: group.map { .init(path: $0.path, vector: $0.deletionVector?.uniqueId) }, files: files, target: base.target, order: plan.order,
        outputDirectory: base.entry.location)
      return UnitSpec(index: index, kind: RewriteRunner.kind, payload: try JSONValue(encoding: spec))
    }
    return .shards(units)
  }

  /// The groups of files to write anew, and how.
  private func optimizeGroups(
    _ snapshot: Snapshot, condition: String?, zOrder: [[String]], isFull: Bool, without written: Set<String>
  ) async throws -> (groups: [[AddFile]], order: RewriteSpec.Order?) {
    let clustering = try snapshot.clusteringNames
    guard clustering.isEmpty || (zOrder.isEmpty && condition == nil) else {
      throw PlatformError(
        .invalidArgument, "the table is clustered: OPTIMIZE takes neither WHERE nor ZORDER BY",
        hint: "It arranges rows by \(clustering.map { $0.joined(separator: ".") }.joined(separator: ", ")).")
    }
    guard !isFull || !clustering.isEmpty else { throw PlatformError(.invalidArgument, "OPTIMIZE .. FULL is for clustered tables") }
    for column in zOrder {
      guard let field = snapshot.schema.field(at: column)?.field, case .primitive = field.type else { throw TableAlterations.noColumn(column, snapshot) }
      guard !snapshot.metadata.partitionColumns.contains(field.name) else {
        throw PlatformError(.invalidArgument, "ZORDER BY cannot name the partition column '\(field.name)'", hint: "Partitions are apart already.")
      }
    }
    guard zOrder.count <= RewriteRunner.columnLimit else {
      throw PlatformError(.invalidArgument, "ZORDER BY takes up to \(RewriteRunner.columnLimit) columns")
    }
    var files = snapshot.files.filter { !written.contains($0.path) }
    if let condition { files = try await Self.files(files, where: condition, snapshot) }
    let target = snapshot.properties.targetFileSizeBytes ?? (128 << 20)
    let packing = Optimize(minimumFileSize: target / 4 * 3, targetFileSize: target)
    if !clustering.isEmpty {
      let order = RewriteSpec.Order(columns: clustering, curve: .hilbert)
      let loose = files.filter { isFull || $0.clusteringProvider == nil || $0.size < target / 2 }
      let groups = Self.groups(loose, limit: 8 * target).filter { group in group.count > 1 || isFull || group[0].clusteringProvider == nil }
      return (groups, order)
    }
    guard zOrder.isEmpty else {
      return (Self.groups(files, limit: 8 * target).filter { $0.count > 1 }, RewriteSpec.Order(columns: zOrder, curve: .zOrder))
    }
    return (packing.bins(files).map(\.files), nil)
  }

  /// Files with deletion vectors, a group each: none grows by it.
  private static func worn(_ snapshot: Snapshot, without written: Set<String>) -> [[AddFile]] {
    snapshot.files.filter { $0.deletionVector != nil && !written.contains($0.path) }.map { [$0] }
  }

  /// Files by partition, in groups of at most `limit` bytes: what one executor sorts at once.
  private static func groups(_ files: [AddFile], limit: Int64) -> [[AddFile]] {
    var groups: [[AddFile]] = []
    for (_, members) in Dictionary(grouping: files, by: \.partitionValues).sorted(by: { $0.value[0].path < $1.value[0].path }) {
      var open: [AddFile] = []
      var size: Int64 = 0
      for file in members.sorted(by: { $0.path < $1.path }) {
        if !open.isEmpty && size + file.size > limit {
          groups.append(open)
          (open, size) = ([], 0)
        }
        open.append(file)
        size += file.size
      }
      if !open.isEmpty { groups.append(open) }
    }
    return groups
  }

  /// The files in partitions that a condition names.
  /// - Throws: `invalidArgument` for a condition on other columns.
  static func files(_ files: [AddFile], where condition: String, _ snapshot: Snapshot) async throws -> [AddFile] {
    let fields = snapshot.metadata.partitionColumns.compactMap { name in snapshot.schema.fields.first { $0.name == name } }
    guard !fields.isEmpty else {
      throw PlatformError(.invalidArgument, "OPTIMIZE .. WHERE names partitions, and the table is not partitioned")
    }
    let partitions = Array(Set(files.map(\.partitionValues)))
    let chosen = try await BlockingPool.shared.run {
      try PartitionCondition.matching(
        partitions.map { values in fields.map { values[$0.physicalName] ?? nil } },
        columns: fields.map { Column($0.name, try TypeMapping.sql($0.type)) }, condition)
    }
    let wanted = Set(chosen.map { partitions[$0] })
    return files.filter { wanted.contains($0.partitionValues) }
  }

  /// - Returns: the next stage; nil when nothing is left.
  func commitOptimize(
    _ name: ThreePartName, _ call: StageCall, _ results: [JSONValue], _ response: inout StatementResponse
  ) async throws -> StageOutcome? {
    var progress = try OptimizeProgress(call.carry)
    let done: [RewriteResult] = try results.decoded()
    let (entry, latest) = try await services.tables.look(name)
    response.version = latest.version
    if !done.isEmpty {
      let after = try await services.tables.change(entry, key: call.commitKey) { base, _ in try Self.rearrangement(done, base, entry) }
      response.version = after.version
      // Asked of the table and not of the decision: the same after a repeated commit.
      for group in done {
        let added = try LakeTables.adds(group.files, entry)
        guard added.allSatisfy({ after.filesByPath[$0.path] != nil }), !group.sources.contains(where: { after.filesByPath[$0.path] != nil }) else {
          progress.skipped += 1
          continue
        }
        progress.written += added.map(\.path)
        progress.filesAdded += added.count
        progress.filesRemoved += group.sources.count
        progress.bytesAdded += added.reduce(0) { $0 + $1.size }
        progress.bytesRemoved += group.sources.reduce(0) { $0 + (latest.filesByPath[$1.path]?.size ?? after.removedSize($1.path)) }
      }
      progress.batches += 1
      if (done.count >= Self.groupLimit || progress.skipped > 0) && call.id.stage < Self.stageLimit {
        progress.skipped = 0
        return .nextStage(carry: try JSONValue(encoding: progress))
      }
    }
    let facts: [(String, JSONValue)] = [
      ("path", .string(entry.url)), ("numFilesAdded", .integer(Int64(progress.filesAdded))),
      ("numFilesRemoved", .integer(Int64(progress.filesRemoved))), ("sizeOfFilesAdded", .integer(progress.bytesAdded)),
      ("sizeOfFilesRemoved", .integer(progress.bytesRemoved)), ("numBatches", .integer(Int64(progress.batches))),
      ("numFiles", .integer(Int64(latest.filesByPath.count))),
    ]
    response.columns = facts.map { .init(name: $0.0, type: $0.0 == "path" ? "string" : "bigint") }
    response.rows = [facts.map(\.1)]
    return nil
  }

  /// The commit of the groups whose files are all still there as they were read.
  private static func rearrangement(_ done: [RewriteResult], _ base: Snapshot, _ entry: TableEntry) throws -> CommitPlan? {
    var removed: [AddFile] = []
    var added: [AddFile] = []
    let isClustered = try !ClusteringColumns.read(base.domains).isEmpty
    for group in done {
      let present = group.sources.compactMap { source in
        base.filesByPath[source.path].flatMap { $0.deletionVector?.uniqueId == source.vector ? $0 : nil }
      }
      guard present.count == group.sources.count else { continue }
      removed += present
      added += try LakeTables.adds(group.files, entry).map { file in
        var file = file
        if isClustered { file.clusteringProvider = "liquid" }
        return file
      }
    }
    guard !removed.isEmpty else { return nil }
    var plan = CommitPlan.rearrange(removed: removed, added: added)
    if base.properties.hasRowTracking { plan.preservesRowIds = true }
    plan.operationMetrics = [
      "numAddedFiles": String(added.count), "numRemovedFiles": String(removed.count),
      "numAddedBytes": String(added.reduce(0) { $0 + $1.size }), "numRemovedBytes": String(removed.reduce(0) { $0 + $1.size }),
    ]
    return plan
  }
}

extension Snapshot {
  fileprivate func removedSize(_ path: String) -> Int64 { removedFiles.first { $0.path == path }?.size ?? 0 }
}
