// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import Hummingbird

/// Who is asking, who there is, and tokens: the first calls of Databricks' clients.
struct IdentityRoutes {
  let service: any PlatformService

  func add(to routes: DescribedRoutes) {
    // Before it has a token: where to sign in, which is nowhere, and how clouds are called here.
    routes.add(.get, "/.well-known/databricks-config", "What a client has to know before it signs in") { request, _ -> JSONValue in
      ["oidc_endpoint": .string("http://\(request.head.authority ?? "")/oidc"), "workspace_id": "1"]
    }
    var scim = routes.tagged("Identity")
    scim.prefix = "/api/2.0/preview/scim/v2"
    scim.add(.get, "/Me", "Who is asking") { _, context in
      Self.user(PlatformUser(name: context.principal.name, isAdministrator: context.principal.isAdministrator))
    }
    scim.add(
      .get, "/Users", "Those who may hold tokens", query: [.text("filter"), .text("startIndex"), .text("count")]
    ) { [service] request, _ -> JSONValue in
      let match = try Self.filter(request.query("filter"), "userName")
      return try Self.list(await service.users().filter { match($0.name) }.map(Self.user), request)
    }
    scim.add(.get, "/Users/{id}", "One who may hold tokens") { [service] _, context -> JSONValue in
      Self.user(try await Self.named(context.name("id"), service))
    }
    scim.add(.post, "/Users", "Make a user") { [service] (body: JSONValue, _, context) -> JSONValue in
      guard let name = body["userName"]?.stringValue else { throw PlatformError(.invalidArgument, "userName: is missing", number: "PLT-1405") }
      let groups = (body["groups"]?.arrayValue ?? []).compactMap { ($0["display"] ?? $0["value"])?.stringValue }
      let isAdministrator = groups.contains("admins") || groups.contains(Self.identifier("admins"))
      return Self.user(try await service.createUser(name, isAdministrator: isAdministrator, by: context.principal))
    }
    scim.done(.delete, "/Users/{id}", "Delete a user; their tokens are good for nothing from then on") { [service] _, context in
      try await service.deleteUser(Self.named(context.name("id"), service).name, by: context.principal)
    }
    scim.add(.get, "/Groups", "Groups: one, of those who administer") { [service] request, _ -> JSONValue in
      let match = try Self.filter(request.query("filter"), "displayName")
      let names = try await service.users().filter(\.isAdministrator).map(\.name)
      return try Self.list(match("admins") ? [Self.admins(names)] : [], request)
    }
    scim.add(.get, "/ServicePrincipals", "Programs with a name of their own: none") { request, _ -> JSONValue in try Self.list([], request) }
    addTokens(to: routes.tagged("Identity"))
  }

  private func addTokens(to routes: DescribedRoutes) {
    var routes = routes
    routes.prefix = "/api/2.0/token"
    routes.add(.post, "/create", "Make a token, whose secret is shown this once") { [service] (body: JSONValue, _, context) -> JSONValue in
      var seconds: Int?
      if let value = body["lifetime_seconds"], value != .null {
        guard let number = value.intValue ?? value.stringValue.flatMap({ Int($0) }), (1...315_360_000).contains(number) else {
          throw PlatformError(.invalidArgument, "lifetime_seconds: must be a number from 1 to 315360000", number: "PLT-1405")
        }
        seconds = number
      }
      let comment = body["comment"]?.stringValue ?? ""
      guard comment.utf8.count <= 1000, !comment.contains("\0") else {
        throw PlatformError(.invalidArgument, "comment: must have at most 1000 bytes", number: "PLT-1405")
      }
      let made = try await service.createToken(for: body["user_name"]?.stringValue, seconds: seconds, comment: comment, by: context.principal)
      return ["token_value": .string(made.secret), "token_info": Self.token(made.token)]
    }
    routes.add(.get, "/list", "The caller's tokens, without their secrets") { [service] _, context -> JSONValue in
      ["token_infos": .array(try await service.tokens(of: context.principal).map(Self.token))]
    }
    routes.done(.post, "/delete", "One of the caller's tokens is good for nothing from then on") { [service] (body: JSONValue, _, context) in
      try await service.deleteToken(body["token_id"]?.stringValue ?? "", by: context.principal)
    }
  }

  private static func token(_ token: TokenFacts) -> JSONValue {
    [
      "token_id": .string(token.id), "comment": .string(token.comment), "creation_time": .integer(token.createdAt),
      "expiry_time": .integer(token.expiresAt ?? -1),
    ]
  }

  private static func named(_ id: String, _ service: any PlatformService) async throws -> PlatformUser {
    guard let user = try await service.users().first(where: { identifier($0.name) == id }) else {
      throw PlatformError(.notFound, "there is no user '\(id.prefix(60))'", number: "PLT-4462")
    }
    return user
  }

  /// Stays the same for a name.
  private static func identifier(_ name: String) -> String {
    String(SHA256Digest.digest(Data(name.utf8)).prefix(6).reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
  }

  private static func user(_ user: PlatformUser) -> JSONValue {
    let (name, group): (String, JSONValue) = (user.name, ["display": "admins", "type": "direct", "value": .string(identifier("admins"))])
    return [
      "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "id": .string(identifier(name)), "userName": .string(name),
      "displayName": .string(name), "active": true, "emails": [["type": "work", "value": .string(name), "primary": true]],
      "groups": .array(user.isAdministrator ? [group] : []),
    ]
  }

  private static func admins(_ names: [String]) -> JSONValue {
    [
      "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "id": .string(identifier("admins")), "displayName": "admins",
      "members": .array(names.map { ["display": .string($0), "value": .string(identifier($0)), "$ref": .string("Users/\(identifier($0))")] }),
    ]
  }

  /// `userName eq "x"`, the one filter that clients send.
  /// - Throws: `invalidArgument` for others: an answer that is not filtered would be wrong.
  private static func filter(_ text: String?, _ member: String) throws -> (String) -> Bool {
    guard let text, !text.isEmpty else { return { _ in true } }
    let words = text.split(separator: " ", maxSplits: 2).map(String.init)
    guard words.count == 3, words[0].lowercased() == member.lowercased(), words[1].lowercased() == "eq", words[2].hasPrefix("\""),
      words[2].hasSuffix("\""), words[2].count >= 2
    else { throw PlatformError(.invalidArgument, "only a filter of the form \(member) eq \"...\" is understood") }
    let wanted = words[2].dropFirst().dropLast().lowercased()
    return { $0.lowercased() == wanted }
  }

  private static func list(_ all: [JSONValue], _ request: Request) throws -> JSONValue {
    let start = try request.queryInt("startIndex", in: 0...Int.max, default: 1)
    let count = try request.queryInt("count", in: 0...Int.max, default: 10_000)
    let page = Array(all.dropFirst(max(0, start - 1)).prefix(count))
    return [
      "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"], "totalResults": .integer(Int64(all.count)),
      "startIndex": .integer(Int64(max(1, start))), "itemsPerPage": .integer(Int64(page.count)), "Resources": .array(page),
    ]
  }
}
