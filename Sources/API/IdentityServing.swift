// SPDX-License-Identifier: Apache-2.0

import Core
import HTTPTypes
import Hummingbird

/// Somebody who may hold tokens.
public struct PlatformUser: Sendable, Equatable {
  public var name: String
  public var isAdministrator: Bool
  public init(name: String, isAdministrator: Bool) {
    self.name = name
    self.isAdministrator = isAdministrator
  }
}

/// A token without its secret. Times are milliseconds since 1970.
public struct TokenFacts: Sendable, Equatable {
  public var id: String
  public var comment: String
  public var createdAt: Int64
  /// Nil: never.
  public var expiresAt: Int64?
  public init(id: String, comment: String, createdAt: Int64, expiresAt: Int64?) {
    self.id = id
    self.comment = comment
    self.createdAt = createdAt
    self.expiresAt = expiresAt
  }
}

/// Who there is, and the tokens that tell them apart.
public protocol IdentityServing: Sendable {
  /// By name.
  func users() async throws -> [PlatformUser]
  func createUser(_ name: String, isAdministrator: Bool, by principal: Principal) async throws -> PlatformUser
  func deleteUser(_ name: String, by principal: Principal) async throws
  /// - Parameter user: whose it is; nil: the caller's. An administrator may make those of others.
  func createToken(for user: String?, seconds: Int?, comment: String, by principal: Principal) async throws -> (secret: String, token: TokenFacts)
  /// The caller's.
  func tokens(of principal: Principal) async throws -> [TokenFacts]
  /// One of the caller's.
  func deleteToken(_ id: String, by principal: Principal) async throws
}

/// What shows or changes the whole cluster is for administrators; other routes look themselves at what the caller may.
struct Administration: RouterMiddleware {
  typealias Context = PlatformRequestContext
  /// Everything below these.
  private static let reserved = [
    "/metrics", "/api/2.0/console", "/api/2.0/events", "/api/2.0/nodes", "/api/2.0/join-tokens", "/api/2.0/notification-deliveries",
    "/v1/load_lora_adapter", "/v1/unload_lora_adapter",
  ]
  /// What everybody may look at.
  private static let unchanged = ["/api/2.0/notification-destinations"]

  static func isReserved(_ method: HTTPRequest.Method, _ path: String) -> Bool {
    // As the router reads it, which takes several slashes for one.
    let path = path.split(separator: "/").map { "/" + $0 }.joined()
    func isBelow(_ place: String) -> Bool { path == place || path.hasPrefix(place + "/") }
    return reserved.contains(where: isBelow) || (method != .get && method != .head && unchanged.contains(where: isBelow))
  }

  func handle(
    _ request: Request, context: Context, next: (Request, Context) async throws -> Response
  ) async throws -> Response {
    let principal = context.principal
    if !principal.name.isEmpty, !principal.isAdministrator, Self.isReserved(request.method, request.uri.path) {
      throw PlatformError(
        .permissionDenied, "\(principal.name) may not use \(request.uri.path): that is for administrators",
        hint: "An administrator makes others with 'platform users create NAME --administrator'.", number: "PLT-4463")
    }
    return try await next(request, context)
  }
}
