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
    /// Names with models.
    var adapters: [String: String]?
    var maxLoras: Int?
    var cacheDtype: String?
    /// Bytes for keys and values of each replica.
    var cacheMemory: Int?

    enum CodingKeys: String, CodingKey {
      case endpoint, model, replicas, dtype, threads, speculate, adapters
      case maxLoras = "max_loras"
      case cacheDtype = "kv_cache_dtype"
      case cacheMemory = "kv_cache_memory"
      case tensorParallel = "tensor_parallel"
    }

    /// Nil: one.
    var ranks: Int? { tensorParallel.flatMap { $0 > 1 ? $0 : nil } }
  }

  /// The versions that were checked are the versions that are served, also when an alias moves in between.
  private struct Carry: Codable {
    var uri: String
    /// Names with models; nil in those of before there were any.
    var adapters: [String: String]?
  }

  func plan(_ call: StageCall) async throws -> StagePlan {
    let body: Body = try call.body()
    guard call.id.stage > 0 else {
      let model = try await services.catalog.resolveModel(body.model)
      var spec = try spec(model, body)
      let adapters = try await adapters(body.adapters ?? [:])
      let loaded = try await loaded(body)
      if !(adapters + loaded).isEmpty, model.kind != "generate" {
        throw PlatformError(
          .invalidArgument, "'\(model.uri)' is an encoder, which takes no adapters",
          hint: adapters.isEmpty ? "Unload them first: \(loaded.map(\.name).joined(separator: ", "))." : "Leave out 'adapters'.", number: "PLT-4506")
      }
      try await services.catalog.requireFreeNames(endpoint: body.endpoint, adapters: adapters.map(\.name))
      // Those that requests have brought stay, so they have to fit this model as well.
      spec.checkedAdapters = (adapters + loaded).isEmpty ? nil : (adapters + loaded).map { AdapterCall(name: $0.name, directory: $0.location) }
      // It must not wait for work that the replicas may stop.
      return .shards([UnitSpec(index: 0, kind: "serve.check", payload: try JSONValue(encoding: spec), takesRoom: false)])
    }
    let carry: Carry = try call.carry.decode()
    let model = try await services.catalog.resolveModel(carry.uri)
    return .service(
      ServiceSpec(
        name: body.endpoint, kind: "serve.replica", payload: try JSONValue(encoding: try spec(model, body)), replicas: body.replicas ?? 1,
        ranks: body.ranks))
  }

  /// The versions that names with models mean now, by name.
  private func adapters(_ wanted: [String: String]) async throws -> [EndpointAdapter] {
    var adapters: [EndpointAdapter] = []
    for (name, text) in wanted.sorted(by: { $0.key < $1.key }) {
      let model = try await services.catalog.resolveModel(text)
      guard model.kind == "adapter" else {
        throw PlatformError(
          .invalidArgument, "'\(model.uri)' holds no adapter", hint: "It should be a folder in PEFT's layout, with adapter_config.json.", number: "PLT-4508")
      }
      adapters.append(EndpointAdapter(name: name, model: model.uri, location: model.location))
    }
    return adapters
  }

  /// What requests have brought to the endpoint, under other names than the task has.
  private func loaded(_ body: Body) async throws -> [EndpointAdapter] {
    let entry = try await services.catalog.endpoints().first { $0.name == body.endpoint }
    return (entry?.adapters ?? []).filter { $0.isLoaded && body.adapters?[$0.name] == nil }
  }

  private func spec(_ model: ModelVersionEntry, _ body: Body) throws -> ReplicaSpec {
    guard model.kind != "adapter" else {
      throw PlatformError(
        .invalidArgument, "'\(model.uri)' is an adapter, which is served with the model that it changes",
        hint: "deploy_task: { endpoint: NAME, model: THE_MODEL, adapters: { OTHER_NAME: \(model.model) } }", number: "PLT-4508")
    }
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
    let dtype = body.dtype == "auto" ? Self.automatic(model)?.rawValue : body.dtype
    return ReplicaSpec(
      role: model.kind, modelDirectory: model.location, coordinatorKey: services.dataKey,
      cacheBytes: body.cacheMemory.map { max(1, $0) } ?? ReplicaSpec.cacheBytesDefault, dtype: dtype, threads: body.threads, ranks: body.ranks,
      speculate: body.speculate, maxLoras: body.maxLoras, cacheDtype: body.cacheDtype)
  }

  /// Of language models 8 bits, or what a file has in 4 bits; encoders are small, and their vectors are kept for long: as stored.
  private static func automatic(_ model: ModelVersionEntry) -> WeightPrecision? {
    guard model.kind == "generate" else { return nil }
    let types = ModelSummary(path: model.location).weightsByType
    return types.max { $0.value < $1.value }.map { ["q4_0", "iq4_nl"].contains($0.key.lowercased()) } == true ? .int4 : .int8
  }

  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome {
    let body: Body = try call.body()
    if call.id.stage == 0 {
      struct Checked: Decodable {
        var directory: String
        /// Names with folders.
        var adapters: [String: String]?
      }
      let checked: [Checked] = try results.decoded()
      let model = try await services.catalog.resolveModel(body.model)
      // The alias moved while the model was loaded: what it names now has not been checked.
      guard checked.first?.directory == model.location else {
        throw PlatformError(.conflict, "'\(body.model)' changed while it was checked", hint: "Submit the workflow again.")
      }
      let adapters = try await adapters(body.adapters ?? [:])
      guard adapters.allSatisfy({ checked.first?.adapters?[$0.name] == $0.location }) else {
        throw PlatformError(.conflict, "an adapter of '\(body.endpoint)' changed while it was checked", hint: "Submit the workflow again.")
      }
      return .nextStage(
        carry: try JSONValue(
          encoding: Carry(uri: model.uri, adapters: Dictionary(adapters.map { ($0.name, $0.model) }, uniquingKeysWith: { first, _ in first }))))
    }
    let carry: Carry = try call.carry.decode()
    let model = try await services.catalog.resolveModel(carry.uri)
    let actor = "run \(call.id.run)"
    let adapters = try await adapters(carry.adapters ?? [:])
    try await services.catalog.setEndpoint(
      name: body.endpoint, kind: model.kind, model: model.uri, replicas: body.replicas ?? 1, adapters: adapters, by: actor)
    try await services.catalog.setAlias(model.model, alias: "champion", version: model.version, by: actor)
    var entry = EndpointEntry(name: body.endpoint, kind: model.kind, model: model.uri, replicas: body.replicas ?? 1, createdAt: Date())
    entry.adapters = try await services.catalog.endpoints().first { $0.name == body.endpoint }?.adapters ?? adapters
    services.gateway.set(ServedEndpoint(entry))
    var sources = [(uri: model.uri, version: model.version)]
    for adapter in adapters { sources.append((adapter.model, try await services.catalog.resolveModel(adapter.model).version)) }
    try await services.catalog.addLineage(
      sources.map {
        LineageEdge(
          sourceKind: "model", source: $0.uri, sourceVersion: Int64($0.version), targetKind: "endpoint", target: body.endpoint, runID: call.id.run,
          taskKey: call.id.task)
      })
    return .taskDone(values: [
      "endpoint": .string(body.endpoint), "model": .string(model.uri), "replicas": .integer(Int64(body.replicas ?? 1)),
      "adapters": .object(Dictionary(adapters.map { ($0.name, .string($0.model)) }, uniquingKeysWith: { first, _ in first })),
      "summary": .string(
        "\(body.endpoint) serves \(model.model)/\(model.version) with \(body.replicas ?? 1) replicas"
          + (adapters.isEmpty ? "" : " and the adapters \(adapters.map(\.name).joined(separator: ", "))")),
    ])
  }
}
