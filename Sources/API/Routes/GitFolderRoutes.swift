// SPDX-License-Identifier: Apache-2.0

public import Core
import Hummingbird

/// Repositories in the workspace, in the shapes of Databricks' API.
public protocol GitFolderServing: Sendable {
  func createGitFolder(_ request: JSONValue, by principal: Principal) async throws -> JSONValue
  func gitFolder(_ id: Int64) async throws -> JSONValue
  /// - Parameter prefix: of their paths; nil: of all.
  func gitFolders(prefix: String?, pageSize: Int, pageToken: String?) async throws -> JSONValue
  func updateGitFolder(_ id: Int64, _ request: JSONValue, by principal: Principal) async throws
  func deleteGitFolder(_ id: Int64, by principal: Principal) async throws
}

/// `/api/2.0/repos`.
struct GitFolderRoutes {
  let service: any PlatformService

  private static func id(_ context: PlatformRequestContext) throws -> Int64 {
    let text = try context.parameters.require("id")
    guard let id = Int64(text), id > 0 else {
      throw PlatformError(.invalidArgument, "'\(text.prefix(40))' is no number of a git folder", number: "PLT-4420")
    }
    return id
  }

  private static func object(_ request: Request) async throws -> JSONValue {
    let body: JSONValue = try await request.json()
    guard body.objectValue != nil else { throw PlatformError(.invalidArgument, "the request body is no JSON object", number: "PLT-4420") }
    return body
  }

  func add(to router: Router<PlatformRequestContext>) {
    let service = self.service
    let folders = router.group("/api/2.0/repos")
    folders.post { request, context in
      try Response.json(await service.createGitFolder(try await Self.object(request), by: context.principal))
    }
    folders.get { request, _ in
      // As Databricks has it: without a prefix those of /Repos are meant. Ours is `all`.
      let isAll = request.query("all") == "true"
      return try Response.json(
        await service.gitFolders(
          prefix: isAll ? nil : request.query("path_prefix") ?? "", pageSize: request.queryInt("page_size", in: 1...100, default: 20),
          pageToken: request.query("next_page_token")))
    }
    folders.get("/{id}") { _, context in try Response.json(await service.gitFolder(Self.id(context))) }
    folders.patch("/{id}") { request, context in
      try await service.updateGitFolder(Self.id(context), try await Self.object(request), by: context.principal)
      return try Response.json(JSONValue.object([:]))
    }
    folders.delete("/{id}") { _, context in
      try await service.deleteGitFolder(Self.id(context), by: context.principal)
      return try Response.json(JSONValue.object([:]))
    }
  }
}
