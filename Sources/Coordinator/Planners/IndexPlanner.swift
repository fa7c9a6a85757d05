// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Query
import Scheduling
import Serving
import Transport

/// A table of vectors becomes an index that answers queries: build (one shard), then a service of search replicas.
struct IndexPlanner: TaskPlanner {
  let services: PlanningServices

  private struct Body: Decodable {
    var index: String
    var source: String
    var replicas: Int?
  }

  private struct Carry: Codable {
    var folder: String
    var version: Int64
    var rows: Int
    var recall: Double
  }

  func plan(_ call: StageCall) async throws -> StagePlan {
    let body: Body = try call.body()
    let name = try ThreePartName(body.index)
    if call.id.stage == 0 {
      let source = try await services.tables.resolve(ThreePartName(body.source))
      let folder = "\(services.layout.indexes)/\(name)/v\(source.version)-\(call.id.run)-\(call.id.attempt)-{attempt}"
      try FileManager.default.createDirectory(
        atPath: (folder as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
      return .shards([
        UnitSpec(
          index: 0, kind: "index.build",
          payload: try JSONValue(
            encoding: IndexBuildShard(
              files: try source.files, folder: folder, sourceTable: "\(source.entry.name)", sourceVersion: source.version,
              embeddingModel: BuiltInModels.encoder, dimension: BuiltInModels.encoderDimension)))
      ])
    }
    let carry: Carry = try call.carry.decode()
    return .service(
      ServiceSpec(
        name: "\(name)", kind: "serve.replica",
        payload: try JSONValue(
          encoding: ReplicaSpec(
            role: "search", modelDirectory: try services.encoderDirectory(), indexDirectory: carry.folder,
            coordinatorKey: services.dataKey)), replicas: body.replicas ?? 1))
  }

  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome {
    let body: Body = try call.body()
    let name = try ThreePartName(body.index)
    if call.id.stage == 0 {
      struct Built: Decodable {
        var folder: String
        var rows: Int
        var recallAt10: Double
        var sourceVersion: Int64
      }
      let built: [Built] = try results.decoded()
      guard let one = built.first else { throw PlatformError(.internalError, "the index was not built") }
      return .nextStage(
        carry: try JSONValue(
          encoding: Carry(folder: one.folder, version: one.sourceVersion, rows: one.rows, recall: one.recallAt10)))
    }
    let carry: Carry = try call.carry.decode()
    let actor = "run \(call.id.run)"
    try await services.catalog.setIndex(
      VectorIndexEntry(
        name: name, sourceTable: body.source, sourceVersion: carry.version, location: carry.folder,
        facts: ["rows": .integer(Int64(carry.rows)), "recall_at_10": .number(carry.recall)]), by: actor)
    try await services.catalog.setEndpoint(
      name: "\(name)", kind: "search", model: BuiltInModels.encoder, replicas: body.replicas ?? 1, by: actor)
    services.gateway.set(ServedEndpoint(name: "\(name)", kind: "search", model: BuiltInModels.encoder, createdAt: Date()))
    try await services.catalog.addLineage([
      LineageEdge(
        sourceKind: "table", source: body.source, sourceVersion: carry.version, targetKind: "index", target: "\(name)",
        runID: call.id.run, taskKey: call.id.task)
    ])
    return .taskDone(values: [
      "index": .string("\(name)"), "version": .integer(carry.version), "rows_in": .integer(Int64(carry.rows)),
      "rows_out": .integer(Int64(carry.rows)), "recall_at_10": .number(carry.recall),
      "summary": .string("\(name)  \(grouped(carry.rows)) vectors, recall@10 \(String(format: "%.3f", carry.recall))"),
    ])
  }
}
