// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import Hummingbird

/// Who is asking, and who there is, as far as tokens name them: the first calls of Databricks' clients.
struct IdentityRoutes {
  let service: any PlatformService

  func add(to routes: DescribedRoutes) {
    // Before it has a token: where to sign in, which is nowhere, and how clouds are called here.
    routes.add(.get, "/.well-known/databricks-config", "What a client has to know before it signs in") { request, _ -> JSONValue in
      ["oidc_endpoint": .string("http://\(request.head.authority ?? "")/oidc"), "workspace_id": "1"]
    }
    var scim = routes.tagged("Identity")
    scim.prefix = "/api/2.0/preview/scim/v2"
    scim.add(.get, "/Me", "Who is asking") { _, context in Self.user(context.principal.name) }
    scim.add(
      .get, "/Users", "Those who hold tokens", query: [.text("filter"), .text("startIndex"), .text("count")]
    ) { [service] request, _ -> JSONValue in
      let names = try await service.principals().filter(Self.filter(request.query("filter"), "userName"))
      return try Self.list(names.map(Self.user), request)
    }
    scim.add(.get, "/Users/{id}", "One who holds tokens") { [service] _, context -> JSONValue in
      let id = try context.name("id")
      guard let name = try await service.principals().first(where: { Self.identifier($0) == id }) else {
        throw PlatformError(.notFound, "there is no user '\(id.prefix(60))'", number: "PLT-3002")
      }
      return Self.user(name)
    }
    scim.add(.get, "/Groups", "Groups: one, of those who administer") { [service] request, _ -> JSONValue in
      let match = try Self.filter(request.query("filter"), "displayName")
      let names = try await service.principals()
      return try Self.list(match("admins") ? [Self.admins(names)] : [], request)
    }
    scim.add(.get, "/ServicePrincipals", "Programs with a name of their own: none") { request, _ -> JSONValue in try Self.list([], request) }
  }

  /// Stays the same for a name.
  private static func identifier(_ name: String) -> String {
    String(SHA256Digest.digest(Data(name.utf8)).prefix(6).reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
  }

  private static func user(_ name: String) -> JSONValue {
    [
      "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "id": .string(identifier(name)), "userName": .string(name),
      "displayName": .string(name), "active": true, "emails": [["type": "work", "value": .string(name), "primary": true]],
      "groups": [["display": "admins", "type": "direct", "value": .string(identifier("admins"))]],
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
