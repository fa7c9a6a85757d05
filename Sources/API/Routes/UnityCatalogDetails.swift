// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import Hummingbird

/// Constraints, tags, dropped objects, and what programs need that read and write files themselves.
extension UnityCatalogRoutes {
  func addDetails(to routes: DescribedRoutes) {
    routes.add(.post, "/constraints", "Add a constraint to a table") { [service] (body: CreateConstraintRequest, _, context) in
      try await service.addConstraint(body, by: context.principal)
    }
    routes.done(
      .delete, "/constraints/{name}", "Remove a constraint of a table", query: [.text("constraint_name", required: true), .flag("cascade")]
    ) { [service] request, context in
      try await service.removeConstraint(
        request.requiredQuery("constraint_name"), from: context.name(), cascade: request.flag("cascade"), by: context.principal)
    }
    let base = "/entity-tag-assignments"
    routes.add(.post, base, "Put a tag on an object") { [service] (body: TagAssignment, _, context) in
      try await service.setTag(body, replacing: false, by: context.principal)
    }
    routes.list(base + "/{kind}/{name}/tags", "tag_assignments", "The tags of an object") { [service] page, _, context in
      try await service.tags(context.name("kind"), context.name(), page)
    }
    routes.add(.get, base + "/{kind}/{name}/tags/{key}", "One tag of an object") { [service] _, context in
      try await service.tag(context.name("kind"), context.name(), key: context.name("key"))
    }
    routes.add(.patch, base + "/{kind}/{name}/tags/{key}", "Change the value of a tag", query: [.text("update_mask")]) {
      [service] (body: ChangeTagRequest, _, context) in
      try await service.setTag(
        TagAssignment(
          entityType: context.name("kind"), entityName: context.name(), tagKey: context.name("key"), tagValue: body.tagValue), replacing: true,
        by: context.principal)
    }
    routes.done(.delete, base + "/{kind}/{name}/tags/{key}", "Remove a tag") { [service] _, context in
      try await service.removeTag(context.name("kind"), context.name(), key: context.name("key"), by: context.principal)
    }
  }

  func addDropped(to routes: DescribedRoutes) {
    routes.list("/dropped", "dropped", "What was dropped and can be brought back, newest first", query: [.text("catalog_name"), .text("schema_name")]) {
      [service] page, request, _ in try await service.dropped(catalog: request.query("catalog_name"), schema: request.query("schema_name"), page)
    }
    for kind in ["catalog", "schema", "table", "volume", "function", "model"] {
      routes.done(.post, "/\(kind)s/{name}/undrop", "Bring back what was dropped under this name", query: [.text("id")]) { [service] request, context in
        try await service.undrop(kind, context.name(), id: request.query("id"), by: context.principal)
      }
    }
  }

  func addStorage(to routes: DescribedRoutes) {
    // Databricks' own client asks under 2.0, the open one under 2.1.
    for prefix in [Self.prefix, "/api/2.0/unity-catalog"] {
      var routes = routes
      routes.prefix = prefix
      for kind in ["table", "volume", "path", "model-version"] {
        routes.add(.post, "/temporary-\(kind)-credentials", "How to open the storage of one \(kind.replacing("-", with: " "))") {
          [service] (body: TemporaryCredentialsRequest, _, context) in try await service.temporaryCredentials(body, by: context.principal)
        }
      }
    }
    routes.done(.post, "/delta/preview/commits", "Commit a version of a table, or say that versions were backfilled") {
      [service] (body: DeltaCommitRequest, _, context) in try await service.commitDelta(body, by: context.principal)
    }
    routes.add(
      .get, "/delta/preview/commits", "Commits that are not in the table's log yet; in the query, or in a body",
      query: [.text("table_id"), .text("table_uri"), .text("start_version"), .text("end_version")]
    ) { [service] request, _ -> DeltaCommits in
      if request.query("table_id") == nil { return try await service.deltaCommits(request.json()) }
      return try await service.deltaCommits(
        DeltaCommitsRequest(
          tableID: request.requiredQuery("table_id"), tableURI: request.query("table_uri") ?? "",
          startVersion: Int64(request.queryInt("start_version", in: 0...Int.max, default: 0)),
          endVersion: request.query("end_version") == nil ? nil : Int64(request.queryInt("end_version", in: 0...Int.max, default: 0))))
    }
  }
}
