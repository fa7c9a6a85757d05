// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Postgres
import Testing

@Suite struct AccessTokenTests {
  @Test func aTokenIsGoodUntilItExpiresOrIsRevoked() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let tokens = AccessTokens(pool: store.pool)
    let users = Users(pool: store.pool)
    #expect(try await failure { _ = try await tokens.create(principal: "ann") }.number == "PLT-4462")
    for name in ["ann", "bob"] { _ = try await users.create(name, isAdministrator: name == "bob", by: "admin") }
    let (first, second) = (try await tokens.create(principal: "ann").secret, try await tokens.create(principal: "ann", ttlSeconds: 3600).secret)
    let other = try await tokens.create(principal: "bob").secret
    #expect(first.hasPrefix("plt_") && first.utf8.count == 47 && Set([first, second, other]).count == 3)
    #expect(try await tokens.authenticate(first) == AccessTokens.Holder(name: "ann", isAdministrator: false))
    #expect(try await tokens.authenticate(second).name == "ann")
    let expired = try await tokens.create(principal: "ann", ttlSeconds: 0).secret
    for secret in [expired, "", "plt_", first + "x", String(first.dropLast()), first.uppercased(), String(repeating: "x", count: 10_000), "a\0b"] {
      let error = try await failure { _ = try await tokens.authenticate(secret) }
      #expect(error.code == .unauthenticated && error.number == "PLT-1402")
      #expect(secret.isEmpty || !error.description.contains(secret))
    }
    #expect(try await tokens.list(principal: "ann").count == 2)
    for token in try await tokens.list(principal: "ann") { try await tokens.revoke(token.id, of: "ann") }
    for secret in [first, second] {
      #expect(try await failure { _ = try await tokens.authenticate(secret) }.number == "PLT-1402")
    }
    #expect(try await tokens.authenticate(other) == AccessTokens.Holder(name: "bob", isAdministrator: true), "another's tokens stay")
    try await tokens.store(first)
    #expect(try await failure { _ = try await tokens.authenticate(first) }.number == "PLT-1402", "what was revoked stays revoked")

    // Whoever is deleted is out, and nobody takes the name.
    try await users.delete("bob", by: "admin")
    #expect(try await failure { _ = try await tokens.authenticate(other) }.number == "PLT-1402")
    #expect(try await failure { _ = try await users.create("bob", isAdministrator: false, by: "admin") }.number == "PLT-4464")
    #expect(try await users.all().map(\.name) == ["admin", "ann"])
  }

  @Test func givenTokensAreStoredOnceAndNeverInTheClear() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let tokens = AccessTokens(pool: store.pool)
    for _ in 0..<2 { try await tokens.store("plt_given") }
    #expect(try await tokens.authenticate("plt_given") == AccessTokens.Holder(name: "admin", isAdministrator: true))
    let rows = try await store.pool.query("SELECT row_to_json(t)::text AS text FROM access_tokens t")
    #expect(rows.count == 1)
    #expect(try rows.allSatisfy { try !$0.string("text").contains("given") })
  }
}
