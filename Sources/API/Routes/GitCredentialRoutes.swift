// SPDX-License-Identifier: Apache-2.0

public import Core
import Hummingbird

/// Passwords for repositories, in the shapes of Databricks' API. Everybody sees, uses and changes their own.
public protocol GitCredentialServing: Sendable {
  func createGitCredential(_ request: JSONValue, by principal: Principal) async throws -> JSONValue
  func changeGitCredential(_ id: Int64, _ request: JSONValue, by principal: Principal) async throws
  func gitCredential(_ id: Int64, by principal: Principal) async throws -> JSONValue
  func gitCredentials(by principal: Principal) async throws -> JSONValue
  func deleteGitCredential(_ id: Int64, by principal: Principal) async throws
}

/// `/api/2.0/git-credentials`.
struct GitCredentialRoutes {
  let service: any PlatformService

  private static func id(_ context: PlatformRequestContext) throws -> Int64 {
    let text = try context.parameters.require("id")
    guard let id = Int64(text), id > 0 else {
      throw PlatformError(.invalidArgument, "'\(text.prefix(40))' is no number of a git credential", number: "PLT-4467")
    }
    return id
  }

  private static func object(_ request: Request) async throws -> JSONValue {
    let body: JSONValue = try await request.json()
    guard body.objectValue != nil else { throw PlatformError(.invalidArgument, "the request body is no JSON object", number: "PLT-4467") }
    return body
  }

  func add(to router: Router<PlatformRequestContext>) {
    let service = self.service
    let group = router.group("/api/2.0/git-credentials")
    group.post { request, context in
      try Response.json(await service.createGitCredential(try await Self.object(request), by: context.principal))
    }
    group.get { _, context in try Response.json(await service.gitCredentials(by: context.principal)) }
    group.get("/{id}") { _, context in try Response.json(await service.gitCredential(Self.id(context), by: context.principal)) }
    group.patch("/{id}") { request, context in
      try await service.changeGitCredential(Self.id(context), try await Self.object(request), by: context.principal)
      return try Response.json(JSONValue.object([:]))
    }
    group.delete("/{id}") { _, context in
      try await service.deleteGitCredential(Self.id(context), by: context.principal)
      return try Response.json(JSONValue.object([:]))
    }
  }
}
