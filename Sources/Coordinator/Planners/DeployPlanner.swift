// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Models
import Scheduling
import Serving
import Transport

/// A model version becomes an endpoint. A worker first loads the model as a replica will, so that a damaged one is refused with
/// its reason while whatever serves now goes on; then comes a service whose replicas must be ready.
struct DeployPlanner: TaskPlanner {
  let services: PlanningServices

  private struct Body: Decodable {
    var endpoint: String
    var model: String
    var replicas: Int?
    var dtype: String?
    var threads: Int?
    var speculate: Int?
    var tensorParallel: Int?

    enum CodingKeys: String, CodingKey {
      case endpoint, model, replicas, dtype, threads, speculate
      case tensorParallel = "tensor_parallel"
    }

    /// Nil: one.
    var ranks: Int? { tensorParallel.flatMap { $0 > 1 ? $0 : nil } }
  }

  /// The version that was checked is the version that is served, also when an alias moves in between.
  private struct Carry: Codable {
    var uri: String
  }

  func plan(_ call: StageCall) async throws -> StagePlan {
    let body: Body = try call.body()
    guard call.id.stage > 0 else {
      let model = try await services.catalog.resolveModel(body.model)
      // It must not wait for work that the replicas may stop.
      return .shards([UnitSpec(index: 0, kind: "serve.check", payload: try JSONValue(encoding: try spec(model, body)), takesRoom: false)])
    }
    let carry: Carry = try call.carry.decode()
    let model = try await services.catalog.resolveModel(carry.uri)
    return .service(
      ServiceSpec(
        name: body.endpoint, kind: "serve.replica", payload: try JSONValue(encoding: try spec(model, body)), replicas: body.replicas ?? 1,
        ranks: body.ranks))
  }

  private func spec(_ model: ModelVersionEntry, _ body: Body) throws -> ReplicaSpec {
    guard ["generate", "embed", "rerank"].contains(model.kind) else {
      throw PlatformError(
        .invalidArgument, "'\(model.uri)' holds files that no endpoint can serve",
        hint:
          "It should be a GGUF file, or a folder in Hugging Face layout, of one of these: \((ModelArchitectures.decoderTypes + ModelArchitectures.encoderTypes).joined(separator: ", ")).",
        number: "PLT-5204")
    }
    guard body.ranks == nil || model.kind == "generate" else {
      throw PlatformError(
        .invalidArgument, "'\(model.uri)' is an encoder, and tensor_parallel splits language models only",
        hint: "Leave tensor_parallel out; 'replicas' serves more requests at once.", number: "PLT-5290")
    }
    return ReplicaSpec(
      role: model.kind, modelDirectory: model.location, coordinatorKey: services.dataKey, dtype: body.dtype, threads: body.threads, ranks: body.ranks,
      speculate: body.speculate)
  }

  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome {
    let body: Body = try call.body()
    if call.id.stage == 0 {
      struct Checked: Decodable { var directory: String }
      let checked: [Checked] = try results.decoded()
      let model = try await services.catalog.resolveModel(body.model)
      // The alias moved while the model was loaded: what it names now has not been checked.
      guard checked.first?.directory == model.location else {
        throw PlatformError(.conflict, "'\(body.model)' changed while it was checked", hint: "Submit the workflow again.")
      }
      return .nextStage(carry: try JSONValue(encoding: Carry(uri: model.uri)))
    }
    let carry: Carry = try call.carry.decode()
    let model = try await services.catalog.resolveModel(carry.uri)
    let actor = "run \(call.id.run)"
    try await services.catalog.setEndpoint(
      name: body.endpoint, kind: model.kind, model: model.uri, replicas: body.replicas ?? 1, by: actor)
    try await services.catalog.setAlias(model.model, alias: "champion", version: model.version, by: actor)
    services.gateway.set(ServedEndpoint(name: body.endpoint, kind: model.kind, model: model.uri, createdAt: Date()))
    try await services.catalog.addLineage([
      LineageEdge(
        sourceKind: "model", source: model.uri, sourceVersion: Int64(model.version), targetKind: "endpoint", target: body.endpoint,
        runID: call.id.run, taskKey: call.id.task)
    ])
    return .taskDone(values: [
      "endpoint": .string(body.endpoint), "model": .string(model.uri), "replicas": .integer(Int64(body.replicas ?? 1)),
      "summary": .string("\(body.endpoint) serves \(model.model)/\(model.version) with \(body.replicas ?? 1) replicas"),
    ])
  }
}
