// SPDX-License-Identifier: Apache-2.0

import API
import Catalog
import Core
import Foundation

/// Users and their tokens.
extension CoordinatorService {
  static func requireAdministrator(_ principal: Principal, to deed: String) throws {
    guard !principal.isAdministrator else { return }
    throw PlatformError(
      .permissionDenied, "\(principal.name) may not \(deed): that is for administrators",
      hint: "An administrator makes others with 'platform users create NAME --administrator'.", number: "PLT-4463")
  }

  private static func facts(_ entry: AccessTokens.Entry) -> TokenFacts {
    func milliseconds(_ date: Date) -> Int64 { Int64(date.timeIntervalSince1970 * 1000) }
    return TokenFacts(
      id: entry.id, comment: entry.comment, createdAt: milliseconds(entry.createdAt), expiresAt: entry.expiresAt.map(milliseconds))
  }

  func users() async throws -> [PlatformUser] {
    try await Users(pool: pool).all().map { PlatformUser(name: $0.name, isAdministrator: $0.isAdministrator) }
  }

  func createUser(_ name: String, isAdministrator: Bool, by principal: Principal) async throws -> PlatformUser {
    try Self.requireAdministrator(principal, to: "make users")
    let made = try await Users(pool: pool).create(name, isAdministrator: isAdministrator, by: principal.name)
    return PlatformUser(name: made.name, isAdministrator: made.isAdministrator)
  }

  func deleteUser(_ name: String, by principal: Principal) async throws {
    try Self.requireAdministrator(principal, to: "delete users")
    try await Users(pool: pool).delete(name, by: principal.name)
  }

  func createToken(for user: String?, seconds: Int?, comment: String, by principal: Principal) async throws -> (secret: String, token: TokenFacts) {
    let user = user ?? principal.name
    if user != principal.name { try Self.requireAdministrator(principal, to: "make tokens of others") }
    let made = try await tokens.create(principal: user, ttlSeconds: seconds, comment: comment)
    try await catalog.audit(actor: principal.name, action: "create token", object: user, outcome: "ok")
    return (made.secret, Self.facts(made.entry))
  }

  func tokens(of principal: Principal) async throws -> [TokenFacts] { try await tokens.list(principal: principal.name).map(Self.facts) }

  func deleteToken(_ id: String, by principal: Principal) async throws {
    try await tokens.revoke(id, of: principal.name)
    try await catalog.audit(actor: principal.name, action: "delete token", object: principal.name, outcome: "ok")
  }
}
