// SPDX-License-Identifier: Apache-2.0

import API
import Catalog
import Client
import Core
import Foundation
import Models

/// Registered models and their versions, for Unity Catalog's clients.
extension CoordinatorService {
  func models(catalog parent: String?, schema: String?, _ page: PageRequest) async throws -> CatalogList<RegisteredModelInfo> {
    var filter: (catalog: String?, schema: String?) = (nil, nil)
    if let parent, let schema {
      let found = try await catalog.storedSchema(parent, schema)
      filter = (found.catalog, found.name)
    }
    return try await catalog.models(catalog: filter.catalog, schema: filter.schema, limit: page.limit, pageToken: page.token)
      .list("registered_models") { RegisteredModelInfo($0, aliases: nil) }
  }

  func model(_ name: String) async throws -> RegisteredModelInfo {
    let name = try await catalog.stored(.model, Self.threePart(name))
    return RegisteredModelInfo(try await catalog.model(name), aliases: try await catalog.aliases(name))
  }

  func createModel(_ request: CreateObjectRequest, by principal: Principal) async throws -> RegisteredModelInfo {
    let name = try await newName(.model, request.catalogName, request.schemaName, request.name)
    return RegisteredModelInfo(try await catalog.createModel(name, comment: request.comment ?? "", by: principal.name), aliases: [:])
  }

  func changeModel(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws -> RegisteredModelInfo {
    let name = try await renamed(.model, name, request.newName, by: principal)
    try await catalog.change(.model, name, request.change, by: principal.name)
    return try await model("\(name)")
  }

  func deleteModel(_ name: String, force: Bool, by principal: Principal) async throws {
    try await catalog.dropModel(catalog.stored(.model, Self.threePart(name)), force: force, by: principal.name)
  }

  func modelVersions(_ name: String, _ page: PageRequest) async throws -> CatalogList<ModelVersionInfo> {
    let name = try await catalog.stored(.model, Self.threePart(name))
    let aliases = try await catalog.aliases(name)
    return try await catalog.modelVersions(name, limit: page.limit, pageToken: page.token)
      .list("model_versions") { ModelVersionInfo($0, aliases: aliases) }
  }

  func modelVersion(_ name: String, version: Int) async throws -> ModelVersionInfo {
    let name = try await catalog.stored(.model, Self.threePart(name))
    try Self.requireVersion(version, of: name)
    return ModelVersionInfo(try await catalog.modelVersion(name, version: version), aliases: try await catalog.aliases(name))
  }

  func modelVersion(_ name: String, alias: String) async throws -> ModelVersionInfo {
    let name = try await catalog.stored(.model, Self.threePart(name))
    guard let version = try await catalog.aliases(name)[alias] else {
      throw PlatformError(.notFound, "model alias '\(name)@\(alias)' does not exist", number: "PLT-3002")
    }
    return try await modelVersion("\(name)", version: version)
  }

  func createModelVersion(_ request: CreateModelVersionRequest, by principal: Principal) async throws -> ModelVersionInfo {
    let given = ThreePartName(catalog: request.catalogName, schema: request.schemaName, name: request.modelName)
    let name = try await catalog.stored(.model, given)
    let entry = try await catalog.createModelVersion(
      name, creatingIn: lake, source: request.source, runID: request.runID, comment: request.comment ?? "", by: principal.name)
    return ModelVersionInfo(entry, aliases: [:])
  }

  func changeModelVersion(_ name: String, version: Int, comment: String?, by principal: Principal) async throws -> ModelVersionInfo {
    let stored = try await catalog.stored(.model, Self.threePart(name))
    try Self.requireVersion(version, of: stored)
    try await catalog.changeModelVersion(stored, version: version, comment: comment, by: principal.name)
    return try await modelVersion(name, version: version)
  }

  func finalizeModelVersion(_ name: String, version: Int, by principal: Principal) async throws -> ModelVersionInfo {
    let stored = try await catalog.stored(.model, Self.threePart(name))
    try Self.requireVersion(version, of: stored)
    let folder = try await catalog.modelVersion(stored, version: version).location
    let kind = try await BlockingPool.shared.run { Self.servedKind(folder) }
    return ModelVersionInfo(
      try await catalog.finalizeModelVersion(stored, version: version, kind: kind, by: principal.name), aliases: try await catalog.aliases(stored))
  }

  /// What an endpoint can do with a folder (`generate`, `embed`, `adapter`); nil when nothing. Any files may be registered, so a folder that holds no model, or one of an
  /// architecture that is not built, is no error here: deploying it says why.
  private static func servedKind(_ folder: String) -> String? {
    if LoRAAdapter.isAdapter(directory: folder) { return "adapter" }
    do {
      guard try ModelArchitectures.isEncoder(directory: folder) else { return "generate" }
      return try ModelArchitectures.isCrossEncoder(directory: folder) ? "rerank" : "embed"
    } catch {
      return nil
    }
  }

  func deleteModelVersion(_ name: String, version: Int, by principal: Principal) async throws {
    let stored = try await catalog.stored(.model, Self.threePart(name))
    try Self.requireVersion(version, of: stored)
    try await catalog.dropModelVersion(stored, version: version, removingFilesIn: lake, by: principal.name)
  }

  func setAlias(_ name: String, alias: String, version: Int, by principal: Principal) async throws -> ModelAliasInfo {
    try await catalog.setAlias(catalog.stored(.model, Self.threePart(name)), alias: alias, version: version, by: principal.name)
    return ModelAliasInfo(aliasName: alias, versionNum: version)
  }

  func removeAlias(_ name: String, alias: String, by principal: Principal) async throws {
    try await catalog.removeAlias(catalog.stored(.model, Self.threePart(name)), alias: alias, by: principal.name)
  }

  /// A number beyond what the column holds is a version that is not there, not an error of the server.
  private static func requireVersion(_ version: Int, of name: ThreePartName) throws {
    guard Int32(exactly: version) != nil else {
      throw PlatformError(.notFound, "model '\(name)/\(version)' does not exist", number: "PLT-3002")
    }
  }
}
