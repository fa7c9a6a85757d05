// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Postgres
import Testing

@Suite struct ModelTests {
  private let name = ThreePartName(catalog: "main", schema: "demo", name: "m")

  private func register(_ store: CatalogStore, _ location: String) async throws -> ModelVersionEntry {
    try await store.registerModel(
      name, kind: "generate", location: location, runID: "run-1", facts: ["loss": 0.25, "steps": 100, "source": ["t", 3]], by: "ann")
  }

  @Test func versionsCountUpAndNeverChange() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    #expect(try await failure { _ = try await store.modelVersion(name, version: nil) }.number == "PLT-3002")
    let first = try await register(store, "/models/a")
    #expect(first.version == 1 && first.uri == "models:/main.demo.m/1" && first.runID == "run-1" && first.kind == "generate")
    #expect(first.facts == ["loss": 0.25, "steps": 100, "source": ["t", 3]] && first.location == "/models/a")
    let second = try await register(store, "/models/b")
    #expect(second.version == 2)
    #expect(try await register(store, "/models/a") == first, "a commit that is repeated makes nothing new")
    #expect(try await store.modelVersion(name, version: 1) == first)
    #expect(try await store.modelVersion(name, version: nil) == second)
    #expect(try await failure { _ = try await store.modelVersion(name, version: 3) }.message.contains("main.demo.m/3"))
    let nowhere = ThreePartName(catalog: "main", schema: "none", name: "m")
    let error = try await failure {
      _ = try await store.registerModel(nowhere, kind: "embed", location: "/x", runID: nil, facts: .null, by: "ann")
    }
    #expect(error.number == "PLT-3002" && error.message.contains("main.none"))
  }

  @Test func concurrentRegistrationsGetDifferentVersions() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let versions = try await withThrowingTaskGroup(of: Int.self) { group in
      for index in 0..<12 { group.addTask { try await register(store, "/models/\(index)").version } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    #expect(versions.sorted() == Array(1...12))
  }

  @Test func namesResolveToVersions() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let first = try await register(store, "/models/a")
    let second = try await register(store, "/models/b")
    try await store.setAlias(name, alias: "champion", version: 1, by: "ann")
    for (text, expected) in [
      ("models:/main.demo.m/1", first), ("main.demo.m/2", second), ("main.demo.m", second), ("models:/main.demo.m", second),
      ("main.demo.m@champion", first), ("models:/main.demo.m@champion", first), ("`main`.demo.\"m\"/1", first),
    ] { #expect(try await store.resolveModel(text) == expected, "\(text)") }
    for text in ["main.demo.m/3", "main.demo.m/0", "main.demo.m/-1", "main.demo.none", "main.demo.m@other", "main.demo.m@"] {
      #expect(try await failure { _ = try await store.resolveModel(text) }.number == "PLT-3002", "\(text)")
    }
    for text in ["", "m", "main.demo.m/x", "main.demo.m/", "main.demo.m/99999999999", "main.demo.m/99999999999999999999", "a.b.c.d@e"] {
      #expect(try await failure { _ = try await store.resolveModel(text) }.number == "PLT-3001", "\(text)")
    }
  }

  @Test func aliasesMoveAndNeverHangInTheAir() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    _ = try await register(store, "/models/a")
    _ = try await register(store, "/models/b")
    try await store.setAlias(name, alias: "champion", version: 1, by: "ann")
    try await store.setAlias(name, alias: "challenger", version: 2, by: "ann")
    try await store.setAlias(name, alias: "champion", version: 2, by: "ann")
    #expect(try await store.aliases(name) == ["champion": 2, "challenger": 2])
    for version in [0, 3, -1, Int.max] {
      let error = try await failure { try await store.setAlias(name, alias: "champion", version: version, by: "ann") }
      #expect(error.code == .notFound && error.number == "PLT-3002" && error.message.contains("main.demo.m/\(version)"))
    }
    let other = ThreePartName(catalog: "main", schema: "demo", name: "other")
    #expect(try await failure { try await store.setAlias(other, alias: "champion", version: 1, by: "ann") }.code == .notFound)
    for alias in ["", "a b", "a/b", "a@b"] {
      #expect(try await failure { try await store.setAlias(name, alias: alias, version: 1, by: "ann") }.number == "PLT-3001")
    }
    #expect(try await store.aliases(name) == ["champion": 2, "challenger": 2], "what failed changed nothing")
    try await store.removeAlias(name, alias: "challenger", by: "ann")
    #expect(try await failure { try await store.removeAlias(name, alias: "challenger", by: "ann") }.number == "PLT-3002")
    #expect(try await store.aliases(name) == ["champion": 2])
    #expect(
      try await store.auditEntries(limit: 10).entries.map { "\($0.action) \($0.object)" }.filter { $0.contains("alias") } == [
        "remove alias main.demo.m@challenger", "set alias main.demo.m@champion", "set alias main.demo.m@challenger",
        "set alias main.demo.m@champion",
      ])
  }
}
