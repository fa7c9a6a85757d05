// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Postgres
import Testing

@Suite struct PagingTests {
  private func makeTable(_ store: CatalogStore, _ name: String, schema: String = "demo") async throws {
    _ = try await store.table(ThreePartName(catalog: "main", schema: schema, name: name), creatingIn: "/lake", columns: [], by: "ann")
  }

  @Test func pagesHoldEveryEntryOnceInOrder() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    for index in [3, 11, 7, 1, 0, 9, 5, 10, 2, 8, 4, 6] { try await makeTable(store, "t\(index)", schema: index % 2 == 0 ? "demo" : "default") }
    let whole = try await store.tables()
    #expect(whole.count == 12)
    for size in [1, 2, 3, 4, 5, 11, 12, 13, 1000] {
      #expect(try await readAll(size) { try await store.tables(limit: size, pageToken: $0) } == whole)
    }
    #expect(try await readAll(2) { try await store.tables(catalog: "main", schema: "demo", limit: 2, pageToken: $0) }.count == 6)
    let empty = try await store.tables(catalog: "system", limit: 5)
    #expect(empty.entries.isEmpty && empty.nextPageToken == nil)
    #expect(try await store.tables(limit: 12).nextPageToken == nil, "the last page says that it is the last")
  }

  @Test func changesBetweenPagesMoveNothingElse() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    for letter in ["b", "d", "f", "h"] { try await makeTable(store, letter) }
    let first = try await store.tables(limit: 2)
    #expect(first.entries.map(\.name.name) == ["b", "d"])
    for letter in ["a", "c", "e"] { try await makeTable(store, letter) }
    // Even the entry that the page ended with may go.
    try await store.dropTable(ThreePartName(catalog: "main", schema: "demo", name: "d"), by: "ann")
    let second = try await store.tables(limit: 2, pageToken: first.nextPageToken)
    #expect(second.entries.map(\.name.name) == ["e", "f"])
    let third = try await store.tables(limit: 2, pageToken: second.nextPageToken)
    #expect(third.entries.map(\.name.name) == ["h"] && third.nextPageToken == nil)
  }

  @Test func everyListingHasPages() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    for index in 1...3 {
      let name = ThreePartName(catalog: "main", schema: "demo", name: "n\(index)")
      for version in 1...index {
        _ = try await store.registerModel(
          name, kind: "embed", location: "/m/\(index)/\(version)", runID: nil, facts: ["v": .integer(Int64(version))], by: "ann")
      }
      try await store.setIndex(VectorIndexEntry(name: name, sourceTable: "t", sourceVersion: 1, location: "/i", facts: .null), by: "ann")
      try await store.setEndpoint(name: "e\(index)", kind: "embed", model: "m", replicas: 1, by: "ann")
    }
    #expect(try await readAll(1) { try await store.catalogs(limit: 1, pageToken: $0) }.map(\.name) == ["main", "system"])
    #expect(try await readAll(1) { try await store.schemas(limit: 1, pageToken: $0) }.map(\.name) == ["default", "demo", "ai"])
    #expect(try await readAll(1) { try await store.schemas(catalog: "main", limit: 1, pageToken: $0) }.map(\.name) == ["default", "demo"])
    let models = try await readAll(2) { try await store.models(schema: "demo", limit: 2, pageToken: $0) }
    #expect(models.map(\.name.name) == ["n1", "n2", "n3"] && models.map(\.newestVersion) == [1, 2, 3])
    let third = models[2].name
    #expect(try await readAll(2) { try await store.modelVersions(third, limit: 2, pageToken: $0) }.map(\.version) == [3, 2, 1])
    #expect(try await store.modelVersions(ThreePartName("main.demo.none"), limit: 2).entries.isEmpty)
    #expect(try await readAll(2) { try await store.indexes(limit: 2, pageToken: $0) }.map(\.name.name) == ["n1", "n2", "n3"])
    #expect(try await readAll(2) { try await store.endpoints(limit: 2, pageToken: $0) } == store.endpoints())
    let audit = try await readAll(5) { try await store.auditEntries(limit: 5, pageToken: $0) }
    #expect(audit.count == 12 && audit.first?.object == "e3")
  }

  @Test func tokensAreGoodForTheirListingOnly() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    for letter in ["a", "b", "c"] { try await makeTable(store, letter) }
    let token = try #require(try await store.tables(catalog: "main", limit: 1).nextPageToken)
    #expect(token.wholeMatch(of: /[A-Za-z0-9_-]+/) != nil, "it can stand in a URL")
    #expect(try await store.tables(catalog: "main", limit: 1, pageToken: token).entries.map(\.name.name) == ["b"])
    func refused(_ body: () async throws -> Void) async throws { #expect(try await failure { try await body() }.code == .invalidArgument) }
    try await refused { _ = try await store.tables(limit: 1, pageToken: token) }
    try await refused { _ = try await store.tables(catalog: "main", schema: "demo", limit: 1, pageToken: token) }
    try await refused { _ = try await store.models(catalog: "main", limit: 1, pageToken: token) }
    try await refused { _ = try await store.endpoints(limit: 1, pageToken: token) }
    for odd in ["", "x", "!!!", token + "x", String(token.dropLast(2)), "W10", "e30", String(repeating: "A", count: 5000), "☃", "\0"] {
      try await refused { _ = try await store.tables(catalog: "main", limit: 1, pageToken: odd) }
    }
    for limit in [0, -1, 1001, Int.max, Int.min] { try await refused { _ = try await store.tables(limit: limit) } }
  }
}
