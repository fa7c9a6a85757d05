// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Query
import Scheduling
import Transport

/// Chunks become rows with vectors. One stage of shards, one a data file.
struct EmbedPlanner: TaskPlanner {
  let services: PlanningServices

  private struct Body: Decodable {
    var source: String
    var output: String
    var model: String?
  }

  func plan(_ call: StageCall) async throws -> StagePlan {
    let body: Body = try call.body()
    let source = try await services.tables.resolve(ThreePartName(body.source))
    let model = try await services.catalog.resolveModel(body.model ?? BuiltInModels.encoder)
    guard model.kind == "embed" else {
      throw PlatformError(.invalidArgument, "\(model.uri) is not an embedding model", hint: "Use \(BuiltInModels.encoder).")
    }
    let output = try await services.tables.prepare(ThreePartName(body.output), columns: BuiltInTables.embeddings, by: "run \(call.id.run)")
    return .shards(
      try source.files.enumerated().map { index, file in
        UnitSpec(
          index: index, kind: "embed",
          payload: try JSONValue(
            encoding: EmbedShard(files: [file], modelDirectory: model.location, output: services.part(output, call, index))))
      })
  }

  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome {
    let body: Body = try call.body()
    let files: [WrittenFile] = try results.decoded()
    let source = try await services.tables.resolve(ThreePartName(body.source))
    let output = try await services.tables.prepare(ThreePartName(body.output), columns: BuiltInTables.embeddings, by: "run \(call.id.run)")
    let version = try await services.tables.commit(
      output, columns: BuiltInTables.embeddings, files: files.filter { $0.rows > 0 }, mode: .overwrite, key: call.commitKey,
      operation: "WRITE")
    let rows = files.reduce(Int64(0)) { $0 + $1.rows }
    try await services.catalog.addLineage([
      LineageEdge(
        sourceKind: "table", source: body.source, sourceVersion: source.version, targetKind: "table", target: "\(output.name)",
        targetVersion: version, runID: call.id.run, taskKey: call.id.task),
      LineageEdge(
        sourceKind: "model", source: body.model ?? BuiltInModels.encoder, targetKind: "table", target: "\(output.name)",
        targetVersion: version, runID: call.id.run, taskKey: call.id.task),
    ])
    return .taskDone(values: [
      "table": .string("\(output.name)"), "version": .integer(version), "rows_in": .integer(source.rows ?? rows),
      "rows_out": .integer(rows), "summary": .string("\(output.name) v\(version)  \(grouped(rows)) vectors"),
    ])
  }
}

/// Models that every cluster has.
enum BuiltInModels {
  static let encoder = "system.ai.minilm"
  static let encoderDimension = 384
}
