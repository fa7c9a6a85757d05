// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Scheduling
import Serving
import Transport

/// A model version becomes an endpoint: one stage, a service whose replicas must be ready.
struct DeployPlanner: TaskPlanner {
  let services: PlanningServices

  private struct Body: Decodable {
    var endpoint: String
    var model: String
    var replicas: Int?
  }

  func plan(_ call: StageCall) async throws -> StagePlan {
    let body: Body = try call.body()
    let model = try await services.catalog.resolveModel(body.model)
    return .service(
      ServiceSpec(
        name: body.endpoint, kind: "serve.replica",
        payload: try JSONValue(
          encoding: ReplicaSpec(role: model.kind, modelDirectory: model.location, coordinatorKey: services.dataKey)),
        replicas: body.replicas ?? 1))
  }

  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome {
    let body: Body = try call.body()
    let model = try await services.catalog.resolveModel(body.model)
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
