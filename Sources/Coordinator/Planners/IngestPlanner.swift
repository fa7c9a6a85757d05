// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Pipelines
import Query
import Scheduling

/// Files of a directory tree become rows of a table; unreadable ones become rows of a quarantine table. One stage of shards.
struct IngestPlanner: TaskPlanner {
  let services: PlanningServices

  private struct Body: Decodable {
    /// Folder, or nil for what a Debian machine has.
    var input: String?
    var table: String
    var quarantine: String?
    /// Bytes of text to take; 0 takes everything.
    var limit: Int64?
    var seed: UInt64?
  }

  func plan(_ call: StageCall) async throws -> StagePlan {
    if call.body["source"] != nil { return try await FileIngestPlanner(services: services).plan(call) }
    let body: Body = try call.body()
    var configuration = IngestConfiguration()
    if let input = body.input { configuration.directories = [input] }
    if let limit = body.limit { configuration.textBytes = limit == 0 ? .max : limit }
    if let seed = body.seed { configuration.seed = seed }
    // Some sixteen shards, so that several workers share the stages; the number never depends on how many there are.
    configuration.shardBytes = max(32_768, min(configuration.shardBytes, configuration.textBytes / 16))
    let wanted = configuration
    let plan = try await BlockingPool.shared.run { try IngestPlan.make(wanted) }
    let documents = try await services.tables.prepare(ThreePartName(body.table), columns: BuiltInTables.documents, by: "run \(call.id.run)")
    let quarantine = try await services.tables.prepare(
      ThreePartName(body.quarantine ?? body.table + "_quarantine"), columns: BuiltInTables.quarantine, by: "run \(call.id.run)")
    let readAt = ProcessSupport.wallMilliseconds * 1000
    return .shards(
      try plan.shards.enumerated().map { index, files in
        UnitSpec(
          index: index, kind: IngestShard.kind,
          payload: try JSONValue(
            encoding: IngestShard(
              files: files, maximumFileBytes: configuration.maximumFileBytes,
              documentsPath: services.part(documents, call, index), quarantinePath: services.part(quarantine, call, index),
              readAt: readAt)))
      })
  }

  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome {
    if call.body["source"] != nil { return try await FileIngestPlanner(services: services).commit(call, results: results) }
    let body: Body = try call.body()
    let parts: [IngestResult] = try results.decoded()
    let actor = "run \(call.id.run)"
    let documents = try await services.tables.prepare(ThreePartName(body.table), columns: BuiltInTables.documents, by: actor)
    let quarantine = try await services.tables.prepare(
      ThreePartName(body.quarantine ?? body.table + "_quarantine"), columns: BuiltInTables.quarantine, by: actor)
    let count = parts.reduce(0) { $0 + $1.documentCount }
    guard count > 0 else {
      throw PlatformError(
        .invalidArgument, "no file in \(body.input ?? "the default folders") could be read as text",
        hint: "See the reasons in \(quarantine.name).", number: "PLT-3101")
    }
    let version = try await services.tables.commit(
      documents, columns: BuiltInTables.documents, files: parts.compactMap(\.documents), mode: .overwrite, key: call.commitKey,
      operation: "WRITE")
    let quarantineVersion = try await services.tables.commit(
      quarantine, columns: BuiltInTables.quarantine, files: parts.compactMap(\.quarantine), mode: .overwrite, key: call.commitKey,
      operation: "WRITE")
    let bytes = parts.reduce(Int64(0)) { $0 + $1.textBytes }
    let quarantined = parts.reduce(0) { $0 + $1.quarantined.values.reduce(0, +) }
    try await services.catalog.addLineage([
      LineageEdge(
        sourceKind: "path", source: body.input ?? "default folders", targetKind: "table", target: "\(documents.name)",
        targetVersion: version, runID: call.id.run, taskKey: call.id.task)
    ])
    return .taskDone(values: [
      "table": .string("\(documents.name)"), "version": .integer(version), "rows_in": .integer(Int64(count + quarantined)),
      "rows_out": .integer(Int64(count)), "bytes": .integer(bytes), "quarantined": .integer(Int64(quarantined)),
      "quarantine_table": .string("\(quarantine.name)"), "quarantine_version": .integer(quarantineVersion),
      "summary": .string("\(documents.name) v\(version)  \(grouped(count)) documents, \(quarantined) quarantined"),
    ])
  }
}
