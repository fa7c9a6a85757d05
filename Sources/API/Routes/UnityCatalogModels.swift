// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import Hummingbird

/// Registered models, their versions and aliases.
extension UnityCatalogRoutes {
  func addModels(to routes: DescribedRoutes) {
    routes.list(
      "/models", "registered_models", "Registered models, of a schema or all",
      query: [.text("catalog_name"), .text("schema_name"), .flag("include_browse")]
    ) { [service] page, request, _ in
      let (catalog, schema) = (request.query("catalog_name"), request.query("schema_name"))
      guard (catalog == nil) == (schema == nil) else {
        throw PlatformError(.invalidArgument, "catalog_name and schema_name come together, or not at all")
      }
      return try await service.models(catalog: catalog, schema: schema, page)
    }
    routes.add(.post, "/models", "Make a registered model") { [service] (body: CreateObjectRequest, _, context) in
      try await service.createModel(body, by: context.principal)
    }
    routes.add(.get, "/models/{name}", "One registered model", query: [.flag("include_aliases"), .flag("include_browse")]) { [service] _, context in
      try await service.model(context.name())
    }
    routes.add(.patch, "/models/{name}", "Change or rename a registered model") { [service] (body: CatalogChangeRequest, _, context) in
      try await service.changeModel(context.name(), body, by: context.principal)
    }
    routes.done(.delete, "/models/{name}", "Remove a registered model", query: [.flag("force")]) { [service] request, context in
      try await service.deleteModel(context.name(), force: request.force(), by: context.principal)
    }
    routes.add(.get, "/models/{name}/aliases/{alias}", "The version that an alias means") { [service] _, context in
      try await service.modelVersion(context.name(), alias: context.name("alias"))
    }
    routes.add(.put, "/models/{name}/aliases/{alias}", "Let an alias mean a version") { [service] (body: ModelAliasRequest, _, context) in
      try await service.setAlias(context.name(), alias: context.name("alias"), version: body.versionNum, by: context.principal)
    }
    routes.done(.delete, "/models/{name}/aliases/{alias}", "Remove an alias") { [service] _, context in
      try await service.removeAlias(context.name(), alias: context.name("alias"), by: context.principal)
    }
  }

  func addVersions(to routes: DescribedRoutes) {
    routes.add(.post, "/models/versions", "Begin a version: its folder is there, its files are to come") {
      [service] (body: CreateModelVersionRequest, _, context) in try await service.createModelVersion(body, by: context.principal)
    }
    routes.list("/models/{name}/versions", "model_versions", "Versions of a model, newest first", query: [.flag("include_browse")]) {
      [service] page, _, context in try await service.modelVersions(context.name(), page)
    }
    routes.add(.get, "/models/{name}/versions/{version}", "One version", query: [.flag("include_aliases"), .flag("include_browse")]) {
      [service] _, context in try await service.modelVersion(context.name(), version: context.number("version"))
    }
    routes.add(.patch, "/models/{name}/versions/{version}", "Change a version") { [service] (body: CatalogChangeRequest, _, context) in
      try await service.changeModelVersion(context.name(), version: context.number("version"), comment: body.comment, by: context.principal)
    }
    routes.add(.patch, "/models/{name}/versions/{version}/finalize", "Say that all files of a version are there") { [service] _, context in
      try await service.finalizeModelVersion(context.name(), version: context.number("version"), by: context.principal)
    }
    routes.done(.delete, "/models/{name}/versions/{version}", "Remove a version") { [service] _, context in
      try await service.deleteModelVersion(context.name(), version: context.number("version"), by: context.principal)
    }
  }
}
