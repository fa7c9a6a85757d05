// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Hummingbird

/// Secrets of people's programs, in scopes.
public protocol SecretServing: Sendable {
  func createSecretScope(_ scope: String, by principal: Principal) async throws
  func secretScopes() async throws -> [String]
  func deleteSecretScope(_ scope: String, by principal: Principal) async throws
  func putSecret(_ scope: String, _ key: String, _ value: [UInt8], by principal: Principal) async throws
  func deleteSecret(_ scope: String, _ key: String, by principal: Principal) async throws
  /// Their names with the milliseconds of their last change.
  func secrets(_ scope: String) async throws -> [(key: String, updated: Int64)]
  func secret(_ scope: String, _ key: String, by principal: Principal) async throws -> [UInt8]
}

/// Databricks' API of secrets. Who may use a scope is not kept: everybody with a token may.
struct SecretRoutes {
  let service: any PlatformService

  private static let nothing: JSONValue = [:]

  private static func text(_ body: JSONValue, _ name: String) throws -> String {
    guard let text = body[name]?.stringValue, !text.isEmpty else { throw bad("'\(name)' is missing") }
    return text
  }

  private static func bad(_ text: String) -> PlatformError { PlatformError(.invalidArgument, text, number: "PLT-4335") }

  func add(to router: Router<PlatformRequestContext>) {
    let service = self.service
    let group = router.group("/api/2.0/secrets")
    group.post("/scopes/create") { request, context in
      let body: JSONValue = try await request.json()
      if let kind = body["scope_backend_type"]?.stringValue, kind != "DATABRICKS" { throw Self.bad("scopes of the kind '\(kind.prefix(40))' are not built") }
      try await service.createSecretScope(Self.text(body, "scope"), by: context.principal)
      return try Response.json(Self.nothing)
    }
    group.get("/scopes/list") { _, _ in
      let scopes = try await service.secretScopes()
      return try Response.json(JSONValue.object(["scopes": .array(scopes.map { ["name": .string($0), "backend_type": "DATABRICKS"] })]))
    }
    group.post("/scopes/delete") { request, context in
      let body: JSONValue = try await request.json()
      try await service.deleteSecretScope(Self.text(body, "scope"), by: context.principal)
      return try Response.json(Self.nothing)
    }
    group.post("/put") { request, context in
      let body: JSONValue = try await request.json()
      let value: [UInt8]
      switch (body["string_value"]?.stringValue, body["bytes_value"]?.stringValue) {
      case (let text?, nil): value = Array(text.utf8)
      case (nil, let encoded?):
        guard let bytes = Data(base64Encoded: encoded) else { throw Self.bad("bytes_value is no base64") }
        value = [UInt8](bytes)
      default: throw Self.bad("give string_value or bytes_value")
      }
      try await service.putSecret(Self.text(body, "scope"), Self.text(body, "key"), value, by: context.principal)
      return try Response.json(Self.nothing)
    }
    group.post("/delete") { request, context in
      let body: JSONValue = try await request.json()
      try await service.deleteSecret(Self.text(body, "scope"), Self.text(body, "key"), by: context.principal)
      return try Response.json(Self.nothing)
    }
    group.get("/list") { request, _ in
      let found = try await service.secrets(request.requiredQuery("scope"))
      return try Response.json(
        JSONValue.object(["secrets": .array(found.map { ["key": .string($0.key), "last_updated_timestamp": .integer($0.updated)] })]))
    }
    group.get("/get") { request, context in
      let key = try request.requiredQuery("key")
      let value = try await service.secret(request.requiredQuery("scope"), key, by: context.principal)
      return try Response.json(JSONValue.object(["key": .string(key), "value": .string(Data(value).base64EncodedString())]))
    }
  }
}
