// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import Hummingbird

/// The catalog as Unity Catalog's clients know it: `/api/2.1/unity-catalog/`.
struct UnityCatalogRoutes {
  let service: any PlatformService

  func add(to router: Router<PlatformRequestContext>) {
    // The first call of a Databricks client, before it has a token: where to sign in, which is nowhere, and how clouds are called here.
    router.get("/.well-known/databricks-config") { request, _ in
      let host = request.head.authority ?? ""
      return try Response.json(["oidc_endpoint": .string("http://\(host)/oidc"), "workspace_id": "1"] as JSONValue)
    }
    let group = router.group("/api/2.1/unity-catalog")
    addMetastore(to: group)
    addCatalogs(to: group)
    addSchemas(to: group)
    addTables(to: group)
    addVolumes(to: group)
    addModels(to: group)
    addVersions(to: group)
  }

  typealias Group = RouterGroup<PlatformRequestContext>

  private func addMetastore(to group: Group) {
    group.get("/metastore_summary") { _, _ in try Response.json(await service.metastore()) }
    group.get("/current-metastore-assignment") { _, _ in
      let metastore = try await service.metastore()
      return try Response.json(
        ["metastore_id": .string(metastore.metastoreID), "workspace_id": 1, "default_catalog_name": "main"] as JSONValue)
    }
  }

  private func addCatalogs(to group: Group) {
    group.get("/catalogs") { request, _ in try Response.json(await service.catalogs(request.page())) }
    group.post("/catalogs") { request, context in
      try Response.json(await service.createCatalog(request.json(), by: context.principal))
    }
    group.get("/catalogs/{name}") { _, context in try Response.json(await service.catalog(context.name())) }
    group.patch("/catalogs/{name}") { request, context in
      try Response.json(await service.changeCatalog(context.name(), request.change(), by: context.principal))
    }
    group.delete("/catalogs/{name}") { request, context in
      try await service.deleteCatalog(context.name(), force: request.force(), by: context.principal)
      return try Response.json(EmptyAnswer())
    }
  }

  private func addSchemas(to group: Group) {
    group.get("/schemas") { request, _ in
      try Response.json(await service.schemas(catalog: request.requiredQuery("catalog_name"), request.page()))
    }
    group.post("/schemas") { request, context in
      try Response.json(await service.createSchema(request.json(), by: context.principal))
    }
    group.get("/schemas/{name}") { _, context in try Response.json(await service.schema(context.name())) }
    group.patch("/schemas/{name}") { request, context in
      try Response.json(await service.changeSchema(context.name(), request.change(), by: context.principal))
    }
    group.delete("/schemas/{name}") { request, context in
      try await service.deleteSchema(context.name(), force: request.force(), by: context.principal)
      return try Response.json(EmptyAnswer())
    }
  }

  private func addTables(to group: Group) {
    group.get("/tables") { request, _ in
      var list = try await service.tables(
        catalog: request.requiredQuery("catalog_name"), schema: request.requiredQuery("schema_name"), request.page())
      let (noColumns, noProperties) = (try request.flag("omit_columns"), try request.flag("omit_properties"))
      for index in list.entries.indices {
        if noColumns { list.entries[index].columns = nil }
        if noProperties { list.entries[index].properties = nil }
      }
      return try Response.json(list)
    }
    group.post("/tables") { request, context in
      try Response.json(await service.createTable(request.json(), by: context.principal))
    }
    group.get("/tables/{name}") { _, context in try Response.json(await service.table(context.name())) }
    group.get("/tables/{name}/exists") { _, context in
      try Response.json(["table_exists": .bool(await service.tableExists(context.name()))] as JSONValue)
    }
    group.patch("/tables/{name}") { request, context in
      try await service.changeTable(context.name(), request.change(), by: context.principal)
      return try Response.json(EmptyAnswer())
    }
    group.delete("/tables/{name}") { _, context in
      try await service.deleteTable(context.name(), by: context.principal)
      return try Response.json(EmptyAnswer())
    }
  }

  private func addVolumes(to group: Group) {
    group.get("/volumes") { request, _ in
      try Response.json(
        await service.volumes(catalog: request.requiredQuery("catalog_name"), schema: request.requiredQuery("schema_name"), request.page()))
    }
    group.post("/volumes") { request, context in
      try Response.json(await service.createVolume(request.json(), by: context.principal))
    }
    group.get("/volumes/{name}") { _, context in try Response.json(await service.volume(context.name())) }
    group.patch("/volumes/{name}") { request, context in
      try Response.json(await service.changeVolume(context.name(), request.change(), by: context.principal))
    }
    group.delete("/volumes/{name}") { _, context in
      try await service.deleteVolume(context.name(), by: context.principal)
      return try Response.json(EmptyAnswer())
    }
  }

  private func addModels(to group: Group) {
    group.get("/models") { request, _ in
      let (catalog, schema) = (request.query("catalog_name"), request.query("schema_name"))
      guard (catalog == nil) == (schema == nil) else {
        throw PlatformError(.invalidArgument, "catalog_name and schema_name come together, or not at all")
      }
      return try Response.json(await service.models(catalog: catalog, schema: schema, request.page()))
    }
    group.post("/models") { request, context in
      try Response.json(await service.createModel(request.json(), by: context.principal))
    }
    group.get("/models/{name}") { _, context in try Response.json(await service.model(context.name())) }
    group.patch("/models/{name}") { request, context in
      try Response.json(await service.changeModel(context.name(), request.change(), by: context.principal))
    }
    group.delete("/models/{name}") { _, context in
      try await service.deleteModel(context.name(), by: context.principal)
      return try Response.json(EmptyAnswer())
    }
  }

  private func addVersions(to group: Group) {
    group.get("/models/{name}/versions") { request, context in
      try Response.json(await service.modelVersions(context.name(), request.page()))
    }
    group.get("/models/{name}/versions/{version}") { _, context in
      guard let version = Int(try context.name("version")) else {
        throw PlatformError(.invalidArgument, "a version is a number", number: "PLT-3001")
      }
      return try Response.json(await service.modelVersion(context.name(), version: version))
    }
    group.get("/models/{name}/aliases/{alias}") { _, context in
      try Response.json(await service.modelVersion(context.name(), alias: context.name("alias")))
    }
    group.put("/models/{name}/aliases/{alias}") { request, context in
      let body: ModelAliasRequest = try await request.json()
      return try Response.json(
        await service.setAlias(context.name(), alias: context.name("alias"), version: body.versionNum, by: context.principal))
    }
    group.delete("/models/{name}/aliases/{alias}") { _, context in
      try await service.removeAlias(context.name(), alias: context.name("alias"), by: context.principal)
      return try Response.json(EmptyAnswer())
    }
  }
}

extension PlatformRequestContext {
  /// A part of the path, decoded.
  func name(_ parameter: String = "name") throws -> String {
    let text = try parameters.require(parameter)
    guard let decoded = text.removingPercentEncoding else {
      throw PlatformError(.invalidArgument, "the path holds a malformed escape", number: "PLT-3001")
    }
    return decoded
  }
}

extension Request {
  /// `max_results` and `page_token`.
  func page() throws -> PageRequest {
    let text = query("max_results")
    let count = text.flatMap { Int($0) }
    if let text, count == nil { throw PlatformError(.invalidArgument, "max_results must be a number, not '\(text.prefix(40))'") }
    return try PageRequest(maxResults: count, token: query("page_token"))
  }

  /// - Throws: `invalidArgument` for anything but true and false: a removal must not guess.
  func flag(_ name: String) throws -> Bool {
    switch query(name)?.lowercased() {
    case nil, "false", "": return false
    case "true": return true
    default: throw PlatformError(.invalidArgument, "\(name) must be true or false")
    }
  }

  func force() throws -> Bool { try flag("force") }

  func change() async throws -> CatalogChangeRequest {
    let body: CatalogChangeRequest = try await json()
    guard body.newName == nil else {
      throw PlatformError(.invalidArgument, "objects cannot be renamed", hint: "Make a new one.", number: "PLT-1702")
    }
    return body
  }
}
