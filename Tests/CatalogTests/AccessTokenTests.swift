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
    let (first, second) = (try await tokens.create(principal: "ann"), try await tokens.create(principal: "ann", ttlSeconds: 3600))
    let other = try await tokens.create(principal: "bob")
    #expect(first.hasPrefix("plt_") && first.utf8.count == 47 && Set([first, second, other]).count == 3)
    #expect(try await tokens.authenticate(first) == "ann")
    #expect(try await tokens.authenticate(second) == "ann")
    let expired = try await tokens.create(principal: "ann", ttlSeconds: 0)
    for secret in [expired, "", "plt_", first + "x", String(first.dropLast()), first.uppercased(), String(repeating: "x", count: 10_000), "a\0b"] {
      let error = try await failure { _ = try await tokens.authenticate(secret) }
      #expect(error.code == .unauthenticated && error.number == "PLT-1402")
      #expect(secret.isEmpty || !error.description.contains(secret))
    }
    try await tokens.revokeAll(principal: "ann")
    for secret in [first, second] {
      #expect(try await failure { _ = try await tokens.authenticate(secret) }.number == "PLT-1402")
    }
    #expect(try await tokens.authenticate(other) == "bob", "another's tokens stay")
    try await tokens.store(first, principal: "ann")
    #expect(try await failure { _ = try await tokens.authenticate(first) }.number == "PLT-1402", "what was revoked stays revoked")
  }

  @Test func givenTokensAreStoredOnceAndNeverInTheClear() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let tokens = AccessTokens(pool: store.pool)
    for _ in 0..<2 { try await tokens.store("plt_given", principal: "admin") }
    #expect(try await tokens.authenticate("plt_given") == "admin")
    let rows = try await store.pool.query("SELECT row_to_json(t)::text AS text FROM access_tokens t")
    #expect(rows.count == 1)
    #expect(try rows.allSatisfy { try !$0.string("text").contains("given") })
  }
}
