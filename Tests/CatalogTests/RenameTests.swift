// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Postgres
import Testing

@Suite struct RenameTests {
  @Test func everythingKeepsItsIdentityUnderANewName() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    try await store.createCatalog("shop", by: "ann")
    for schema in ["eu", "us"] { _ = try await store.createSchema(catalog: "shop", name: schema, by: "ann") }
    let table = try await store.table(ThreePartName("shop.eu.t"), creatingIn: "/lake", columns: [ColumnEntry(name: "a", type: "int")], by: "ann")
    let gone = try await store.table(ThreePartName("shop.eu.gone"), creatingIn: "/lake", columns: [], by: "ann")
    try await store.dropTable(gone.name, by: "ann")
    let model = try ThreePartName("shop.eu.m")
    _ = try await store.registerModel(model, kind: "generate", location: "/m/1", runID: nil, facts: [:], by: "ann")
    try await store.setAlias(model, alias: "champion", version: 1, by: "ann")
    try await store.setIndex(
      VectorIndexEntry(name: ThreePartName("shop.us.i"), sourceTable: "shop.eu.t", sourceVersion: 1, location: "/i", facts: [:]), by: "ann")
    try await store.setEndpoint(
      name: "e", kind: "generate", model: "models:/shop.eu.m/1", replicas: 1,
      adapters: [EndpointAdapter(name: "a", model: "models:/shop.eu.m/1", location: "/a")], by: "ann")

    #expect(try await store.renameCatalog("shop", to: "Store", by: "bob") == "store")
    #expect(try await store.renameSchema(catalog: "store", name: "eu", to: "europe", by: "bob") == "europe")
    var moved = try await store.table(ThreePartName("store.europe.t"))
    #expect(moved.id == table.id && moved.location == table.location && moved.columns == table.columns)
    #expect(try await store.resolveModel("store.europe.m@champion").location == "/m/1")
    #expect(try await store.index(ThreePartName("store.us.i")).sourceTable == "store.europe.t")
    #expect(try await store.endpoints().map(\.model) == ["models:/store.europe.m/1"])
    try await store.undrop(.table, ["store", "europe", "gone"], by: "bob")
    #expect(try await store.table(ThreePartName("store.europe.gone")).id == gone.id, "what was dropped follows its schema")

    #expect(try await store.rename(.table, moved.name, to: ThreePartName("store.us.Orders"), by: "bob") == ThreePartName("store.us.orders"))
    moved = try await store.table(ThreePartName("store.us.orders"))
    #expect(moved.id == table.id && moved.location == table.location && moved.updatedBy == "bob" && moved.createdBy == "ann")
    #expect(try await store.index(ThreePartName("store.us.i")).sourceTable == "store.us.orders")
    #expect(try await store.rename(.model, ThreePartName("store.europe.m"), to: ThreePartName("store.europe.n"), by: "bob").name == "n")
    #expect(try await store.resolveModel("store.europe.n@champion").version == 1)
    #expect(try await store.endpoints().map(\.model) == ["models:/store.europe.n/1"])
    #expect(try await store.endpoints()[0].adapters.map(\.model) == ["models:/store.europe.n/1"])
    #expect(
      try await failure { _ = try await store.rename(.model, ThreePartName("store.europe.n"), to: ThreePartName("store.us.n"), by: "bob") }.number == "PLT-1702"
    )
  }

  @Test func namesThatAreTakenOrFixedStay() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    try await store.createCatalog("a", by: "ann")
    #expect(try await failure { _ = try await store.renameCatalog("a", to: "MAIN", by: "ann") }.code == .alreadyExists)
    #expect(try await failure { _ = try await store.renameCatalog("main", to: "b", by: "ann") }.code == .permissionDenied)
    #expect(try await failure { _ = try await store.renameCatalog("nothing", to: "b", by: "ann") }.code == .notFound)
    #expect(try await failure { _ = try await store.renameCatalog("a", to: "b.c", by: "ann") }.number == "PLT-3001")
    #expect(try await failure { _ = try await store.renameSchema(catalog: "main", name: "demo", to: "x", by: "ann") }.code == .permissionDenied)
    for name in ["x", "y"] { _ = try await store.table(ThreePartName("main.demo.\(name)"), creatingIn: "/lake", columns: [], by: "ann") }
    #expect(
      try await failure { _ = try await store.rename(.table, ThreePartName("main.demo.x"), to: ThreePartName("main.demo.Y"), by: "ann") }.code == .alreadyExists
    )
    #expect(
      try await failure { _ = try await store.rename(.table, ThreePartName("main.demo.x"), to: ThreePartName("main.none.x"), by: "ann") }.number == "PLT-3002")
    #expect(try await store.rename(.table, ThreePartName("main.demo.x"), to: ThreePartName("main.demo.X"), by: "ann").name == "x")
  }

  /// Creating, and creating in other letters, and renaming to the same name: one wins.
  @Test func oneNameGoesToOne() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    for index in 0..<4 { _ = try await store.table(ThreePartName("main.demo.r\(index)"), creatingIn: "/lake", columns: [], by: "ann") }
    let made = try await withThrowingTaskGroup(of: Int.self) { group in
      for index in 0..<12 {
        group.addTask {
          do {
            switch index % 3 {
            case 0: try await store.createCatalog(index % 2 == 0 ? "shop" : "SHOP", by: "ann")
            case 1: return try await store.createSchema(catalog: "main", name: index % 2 == 0 ? "eu" : "EU", by: "ann") ? 100 : 0
            default:
              _ = try await store.rename(.table, ThreePartName("main.demo.r\(index / 3)"), to: ThreePartName("main.demo.won"), by: "ann")
              return 10_000
            }
            return 1
          } catch let error as PlatformError where [.alreadyExists, .conflict].contains(error.code) { return 0 }
        }
      }
      return try await group.reduce(0, +)
    }
    #expect(made == 10_101)
    #expect(try await store.catalogs(limit: 10).entries.filter { $0.name.lowercased() == "shop" }.count == 1)
  }
}
