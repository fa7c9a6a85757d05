// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import Hummingbird

/// The catalog as Unity Catalog's clients know it: `/api/2.1/unity-catalog/`. Catalogs, schemas, tables and volumes; the rest is in the
/// files beside.
struct UnityCatalogRoutes {
  let service: any PlatformService
  static let prefix = "/api/2.1/unity-catalog"

  func add(to routes: DescribedRoutes) {
    var routes = routes
    routes.prefix = Self.prefix
    addMetastore(to: routes.tagged("Metastores"))
    addCatalogs(to: routes.tagged("Catalogs"))
    addSchemas(to: routes.tagged("Schemas"))
    addTables(to: routes.tagged("Tables"))
    addRecords(to: routes.tagged("Tables"))
    addVolumes(to: routes.tagged("Volumes"))
    addFunctions(to: routes.tagged("Functions"))
    addModels(to: routes.tagged("Models"))
    addVersions(to: routes.tagged("Models"))
    addConnections(to: routes.tagged("Connections"))
    addCredentials(to: routes.tagged("Credentials"))
    addLocations(to: routes.tagged("External locations"))
    addDetails(to: routes.tagged("Tags and constraints"))
    addDropped(to: routes.tagged("Dropped objects"))
    addStorage(to: routes.tagged("Storage"))
    addLineage(to: routes.tagged("Lineage"))
  }

  private func addMetastore(to routes: DescribedRoutes) {
    routes.add(.get, "/metastore_summary", "The metastore of this cluster") { [service] _, _ in try await service.metastore() }
    routes.add(.get, "/current-metastore-assignment", "Which metastore this workspace uses") { [service] _, _ -> JSONValue in
      let metastore = try await service.metastore()
      return ["metastore_id": .string(metastore.metastoreID), "workspace_id": 1, "default_catalog_name": "main"]
    }
    routes.list("/metastores", "metastores", "All metastores: the one of this cluster") { [service] _, _, _ in
      CatalogList("metastores", [try await service.metastore()], nextPageToken: nil)
    }
    routes.add(.get, "/metastores/{id}", "One metastore") { [service] _, context -> MetastoreInfo in
      let metastore = try await service.metastore()
      guard try context.name("id") == metastore.metastoreID else { throw PlatformError(.notFound, "there is no such metastore", number: "PLT-3002") }
      return metastore
    }
    routes.add(.get, "/workspace-bindings/catalogs/{name}", "Workspaces that may use a catalog: this one") { [service] _, context -> JSONValue in
      _ = try await service.catalog(context.name())
      return ["workspaces": [1]]
    }
  }

  private func addCatalogs(to routes: DescribedRoutes) {
    routes.list("/catalogs", "catalogs", "Catalogs by name", query: [.flag("include_browse")]) { [service] page, _, _ in
      try await service.catalogs(page)
    }
    routes.add(.post, "/catalogs", "Make a catalog") { [service] (body: CreateCatalogRequest, _, context) in
      try await service.createCatalog(body, by: context.principal)
    }
    routes.add(.get, "/catalogs/{name}", "One catalog", query: [.flag("include_browse")]) { [service] _, context in
      try await service.catalog(context.name())
    }
    routes.add(.patch, "/catalogs/{name}", "Change or rename a catalog") { [service] (body: CatalogChangeRequest, _, context) in
      try await service.changeCatalog(context.name(), body, by: context.principal)
    }
    routes.done(.delete, "/catalogs/{name}", "Drop a catalog", query: [.flag("force")]) { [service] request, context in
      try await service.deleteCatalog(context.name(), force: request.force(), by: context.principal)
    }
  }

  private func addSchemas(to routes: DescribedRoutes) {
    routes.list("/schemas", "schemas", "Schemas of a catalog by name", query: [.text("catalog_name", required: true), .flag("include_browse")]) {
      [service] page, request, _ in try await service.schemas(catalog: request.requiredQuery("catalog_name"), page)
    }
    routes.add(.post, "/schemas", "Make a schema") { [service] (body: CreateSchemaRequest, _, context) in
      try await service.createSchema(body, by: context.principal)
    }
    routes.add(.get, "/schemas/{name}", "One schema", query: [.flag("include_browse")]) { [service] _, context in
      try await service.schema(context.name())
    }
    routes.add(.patch, "/schemas/{name}", "Change or rename a schema") { [service] (body: CatalogChangeRequest, _, context) in
      try await service.changeSchema(context.name(), body, by: context.principal)
    }
    routes.done(.delete, "/schemas/{name}", "Drop a schema", query: [.flag("force")]) { [service] request, context in
      try await service.deleteSchema(context.name(), force: request.force(), by: context.principal)
    }
  }

  private func addTables(to routes: DescribedRoutes) {
    let inSchema: [QueryField] = [.text("catalog_name", required: true), .text("schema_name", required: true), .flag("include_browse")]
    routes.list(
      "/tables", "tables", "Tables of a schema by name", query: inSchema + [.flag("omit_columns"), .flag("omit_properties"), .flag("omit_username")]
    ) { [service] page, request, _ in
      let (noColumns, noProperties, noUser) = (try request.flag("omit_columns"), try request.flag("omit_properties"), try request.flag("omit_username"))
      var list = try await service.tables(
        catalog: request.requiredQuery("catalog_name"), schema: request.requiredQuery("schema_name"), details: !noColumns, page)
      for index in list.entries.indices {
        if noProperties { list.entries[index].facts.properties = nil }
        if noUser {
          list.entries[index].facts.owner = ""
          list.entries[index].facts.createdBy = ""
          list.entries[index].facts.updatedBy = ""
        }
      }
      return list
    }
    routes.list(
      "/table-summaries", "tables", "Names and types of the tables of a catalog",
      query: [.text("catalog_name", required: true), .text("schema_name_pattern"), .text("table_name_pattern")]
    ) { [service] page, request, _ in
      try await service.tableSummaries(
        catalog: request.requiredQuery("catalog_name"), schemaPattern: request.query("schema_name_pattern"),
        tablePattern: request.query("table_name_pattern"), page)
    }
    routes.add(.post, "/tables", "Make a managed table, register an external one, or give a staged one its name") {
      [service] (body: CreateTableRequest, _, context) in try await service.createTable(body, by: context.principal)
    }
    routes.add(.post, "/staging-tables", "A folder for a managed table to be") { [service] (body: CreateObjectRequest, _, context) in
      try await service.createStagingTable(body, by: context.principal)
    }
    routes.add(.get, "/tables/{name}", "One table", query: [.flag("include_browse"), .flag("include_delta_metadata")]) { [service] _, context in
      try await service.table(context.name())
    }
    routes.add(.get, "/tables/{name}/exists", "Whether there is a table of this name") { [service] _, context -> JSONValue in
      ["table_exists": .bool(try await service.tableExists(context.name()))]
    }
    routes.add(.patch, "/tables/{name}", "Change, rename or move a table") { [service] (body: CatalogChangeRequest, _, context) in
      try await service.changeTable(context.name(), body, by: context.principal)
    }
    routes.done(.delete, "/tables/{name}", "Drop a table") { [service] _, context in
      try await service.deleteTable(context.name(), by: context.principal)
    }
  }

  private func addVolumes(to routes: DescribedRoutes) {
    routes.list(
      "/volumes", "volumes", "Volumes of a schema by name",
      query: [.text("catalog_name", required: true), .text("schema_name", required: true), .flag("include_browse")]
    ) { [service] page, request, _ in
      try await service.volumes(catalog: request.requiredQuery("catalog_name"), schema: request.requiredQuery("schema_name"), page)
    }
    routes.add(.post, "/volumes", "Make a volume") { [service] (body: CreateVolumeRequest, _, context) in
      try await service.createVolume(body, by: context.principal)
    }
    routes.add(.get, "/volumes/{name}", "One volume", query: [.flag("include_browse")]) { [service] _, context in
      try await service.volume(context.name())
    }
    routes.add(.patch, "/volumes/{name}", "Change or rename a volume") { [service] (body: CatalogChangeRequest, _, context) in
      try await service.changeVolume(context.name(), body, by: context.principal)
    }
    routes.done(.delete, "/volumes/{name}", "Drop a volume") { [service] _, context in
      try await service.deleteVolume(context.name(), by: context.principal)
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

  /// A number in the path.
  func number(_ parameter: String) throws -> Int {
    guard let number = Int(try name(parameter)) else {
      throw PlatformError(.invalidArgument, "the \(parameter) in the path is not a number", number: "PLT-3001")
    }
    return number
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
}
