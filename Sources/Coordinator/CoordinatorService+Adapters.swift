// SPDX-License-Identifier: Apache-2.0

import API
import Catalog
import Core
import Foundation
import Models
import Serving

/// Adapters that come and go while their endpoint serves. Requests name their adapter's folder to whatever replica answers them, so nothing but the
/// catalog and the router learns of it.
extension CoordinatorService {
  func loadAdapter(_ name: String, model wanted: String, endpoint: String?, replaces: Bool, by principal: Principal) async throws {
    try Self.requireAdministrator(principal, to: "load adapters")
    guard name.utf8.count <= 128, name.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "_-.".contains($0)) }), name != ".", name != ".." else {
      throw PlatformError(.invalidArgument, "'\(name.prefix(60))' is not a usable name", hint: "Use letters, digits, '_', '-' and '.'.", number: "PLT-4509")
    }
    guard !wanted.hasPrefix("/"), !wanted.hasPrefix(".") else {
      throw PlatformError(
        .invalidArgument, "'\(wanted.prefix(200))' is a folder, and adapters are loaded from registered models",
        hint: "Register it with 'platform models import catalog.schema.name FOLDER', and name that.", number: "PLT-4509")
    }
    let entry = try await endpointWithAdapters(endpoint)
    let (base, model) = (try await catalog.resolveModel(entry.model), try await catalog.resolveModel(wanted))
    guard model.kind == "adapter" else {
      throw PlatformError(
        .invalidArgument, "'\(model.uri)' holds no adapter", hint: "It should be a folder in PEFT's layout, with adapter_config.json.", number: "PLT-4508")
    }
    try await BlockingPool.shared.run {
      _ = try LoRAAdapter(name: name, directory: model.location, targets: AdapterTargets.read(directory: base.location))
    }
    let adapter = EndpointAdapter(name: name, model: model.uri, location: model.location, isLoaded: true)
    try await catalog.addAdapter(adapter, to: entry, replaces: replaces, by: principal.name)
    gateway.setAdapter(ServedAdapter(name: name, model: model.uri, location: model.location), endpoint: entry.name)
    try await catalog.addLineage([
      LineageEdge(
        sourceKind: "model", source: model.uri, sourceVersion: Int64(model.version), targetKind: "endpoint", target: entry.name, actor: principal.name)
    ])
  }

  func unloadAdapter(_ name: String, by principal: Principal) async throws {
    try Self.requireAdministrator(principal, to: "unload adapters")
    try await catalog.removeAdapter(name, by: principal.name)
    gateway.removeAdapter(name)
  }

  /// The endpoint of this name, or the only one that could be meant.
  private func endpointWithAdapters(_ name: String?) async throws -> EndpointEntry {
    let possible = try await catalog.endpoints().filter { $0.kind == "generate" }
    if let name {
      guard let named = possible.first(where: { $0.name == name }) else {
        throw PlatformError(
          .notFound, "there is no endpoint '\(name)' of a language model", hint: "GET /v1/models lists what is served.", number: "model_not_found")
      }
      return named
    }
    guard possible.count == 1 else {
      throw PlatformError(
        .invalidArgument, "\(possible.count) endpoints of language models are served", hint: "Say with 'base_model_name' which one is meant.",
        number: "PLT-4509")
    }
    return possible[0]
  }
}
