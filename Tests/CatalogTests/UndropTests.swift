// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Postgres
import TestSupport
import Testing

@Suite struct UndropTests {
  private let columns = [ColumnEntry(name: "id", type: "bigint"), ColumnEntry(name: "What", type: "varchar", comment: "said", isNullable: false)]

  private func name(_ text: String) throws -> ThreePartName { try ThreePartName(text, defaults: ("main", "demo")) }

  private func make(_ store: CatalogStore, _ text: String, lake: String = "/lake") async throws -> TableEntry {
    try await store.table(name(text), creatingIn: lake, columns: columns, by: "ann")
  }

  @Test func aDroppedTableComesBackAsItWas() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let made = try await make(store, "t")
    _ = try await store.setTag(.object(.table, made.name), key: "pii", value: "yes", replacing: false, by: "ann")
    _ = try await store.addConstraint(ConstraintEntry(name: "pk", kind: .primaryKey, columns: ["ID"]), to: made.name, by: "ann")
    try await store.dropTable(name("T"), by: "bob")
    #expect(try await store.findTable(name("t")) == nil)
    let listed = try await store.dropped(catalog: "MAIN", schema: "demo", limit: 10).entries
    #expect(listed.map(\.name) == ["main.demo.t"] && listed[0].id == made.id && listed[0].droppedBy == "bob" && listed[0].isManaged)
    #expect(try await store.dropped(catalog: "system", limit: 10).entries.isEmpty)
    try await store.undrop(.table, ["Main", "Demo", "T"], by: "bob")
    #expect(try await store.table(name("t")) == made)
    #expect(try await store.tags(.object(.table, made.name), limit: 5).entries.map(\.value) == ["yes"])
    #expect(try await store.constraints([made.id])[made.id]?.map(\.columns) == [["id"]])
    #expect(try await store.dropped(limit: 10).entries.isEmpty)
    #expect(try await failure { try await store.undrop(.table, ["main", "demo", "t"], by: "bob") }.number == "PLT-3002")
  }

  @Test func theLastOfSeveralComesBackUnlessOneIsNamed() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let first = try await make(store, "t")
    try await store.dropTable(name("t"), by: "ann")
    let second = try await make(store, "t")
    #expect(second.id != first.id)
    #expect(try await failure { try await store.undrop(.table, ["main", "demo", "t"], by: "ann") }.code == .alreadyExists, "the name is taken")
    try await store.dropTable(name("t"), by: "ann")
    #expect(try await readAll(1) { try await store.dropped(limit: 1, pageToken: $0) }.map(\.id) == [second.id, first.id])
    try await store.undrop(.table, ["main", "demo", "t"], by: "ann")
    #expect(try await store.table(name("t")).id == second.id)
    _ = try await store.rename(.table, second.name, to: name("other"), by: "ann")
    try await store.undrop(.table, ["main", "demo", "t"], id: first.id, by: "ann")
    #expect(try await store.table(name("t")).id == first.id)
  }

  @Test func aSchemaAndACatalogComeBackWithWhatTheyHeld() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let temporary = TemporaryDirectory("undrop")
    let lake = try #require(realpath(temporary.path, nil)).withMemoryRebound(to: CChar.self, capacity: 1) { String(cString: $0) }
    try await store.createCatalog("shop", comment: "c", properties: ["a": "b"], by: "ann")
    for schema in ["eu", "us"] { _ = try await store.createSchema(catalog: "shop", name: schema, by: "ann") }
    let old = try await make(store, "shop.eu.old", lake: lake)
    try await store.dropTable(old.name, by: "ann")
    let table = try await make(store, "shop.eu.t", lake: lake)
    try FileManager.default.createDirectory(atPath: table.location, withIntermediateDirectories: true)
    let volume = try await store.createVolume(ThreePartName("shop.us.v"), creatingIn: lake, by: "ann")
    let function = try await store.setFunction(
      ThreePartName("shop.eu.f"),
      FunctionDefinition(parameters: [], returns: "INTEGER", columns: [], body: "1", isDeterministic: true, catalog: "shop", schema: "eu"),
      comment: "one", by: "ann")
    try await store.dropFunction(function.name, by: "ann")
    try await store.undrop(.function, ["shop", "eu", "f"], by: "ann")
    let before = try await store.catalog("shop")
    #expect(try await failure { try await store.dropSchema(catalog: "shop", name: "eu", force: false, by: "ann") }.number == "PLT-1701")
    #expect(try await failure { try await store.dropCatalog("shop", force: false, by: "ann") }.number == "PLT-1701")

    try await store.dropSchema(catalog: "shop", name: "eu", force: true, by: "ann")
    #expect(try await failure { try await store.undrop(.table, ["shop", "eu", "t"], by: "ann") }.message.contains("schema 'shop.eu'"))
    try await store.undrop(.schema, ["shop", "eu"], by: "ann")
    #expect(try await store.table(table.name) == table)
    #expect(try await store.function(function.name) == function)
    #expect(try await store.findTable(old.name) == nil, "what was dropped before stays dropped")

    try await store.dropCatalog("shop", force: true, by: "ann")
    #expect(try await failure { _ = try await store.catalog("shop") }.number == "PLT-3002")
    try await store.undrop(.catalog, ["Shop"], by: "ann")
    #expect(try await store.catalog("shop") == before)
    #expect(try await store.table(table.name) == table)
    #expect(try await store.volume(volume.name) == volume)
    #expect(try await store.function(function.name) == function)
    #expect(try await store.findTable(old.name) == nil)
    #expect(try await store.schemas(catalog: "shop", limit: 5).entries.map(\.name) == ["eu", "us"])

    try await store.dropCatalog("shop", force: true, by: "ann")
    // Both tables, the volume, the function, two schemas and the catalog.
    #expect(try await store.purge(olderThan: .zero, lake: lake) == 7)
    #expect(!FileManager.default.fileExists(atPath: table.location) && !FileManager.default.fileExists(atPath: volume.location))
    #expect(try await failure { try await store.undrop(.catalog, ["shop"], by: "ann") }.number == "PLT-3002")
  }

  @Test func theSameIsDroppedAndBroughtBackOnce() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    _ = try await make(store, "t")
    func wins(_ body: @escaping @Sendable () async throws -> Void) async throws -> Int {
      try await withThrowingTaskGroup(of: Int.self) { group in
        for _ in 0..<8 {
          group.addTask {
            do {
              try await body()
              return 1
            } catch let error as PlatformError where [.notFound, .alreadyExists].contains(error.code) { return 0 }
          }
        }
        return try await group.reduce(0, +)
      }
    }
    let name = try name("t")
    #expect(try await wins { try await store.dropTable(name, by: "ann") } == 1)
    #expect(try await wins { try await store.undrop(.table, ["main", "demo", "t"], by: "ann") } == 1)
    #expect(try await store.findTable(name) != nil)
  }
}
