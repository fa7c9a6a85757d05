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

  @Test func aModelComesBackWithItsVersionsAndAliases() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let temporary = TemporaryDirectory("undrop-model")
    let lake = try #require(realpath(temporary.path, nil)).withMemoryRebound(to: CChar.self, capacity: 1) { String(cString: $0) }
    try await store.createCatalog("shop", comment: "", properties: [:], by: "ann")
    _ = try await store.createSchema(catalog: "shop", name: "eu", by: "ann")
    let name = try ThreePartName("shop.eu.m")
    let model = try await store.createModel(name, comment: "what it is for", by: "ann")
    let first = try await store.createModelVersion(name, creatingIn: lake, source: "s", runID: "r", comment: "c", by: "ann")
    let trained = try await store.registerModel(name, kind: "generate", location: "/models/a", runID: "run-1", facts: ["loss": 0.25], by: "ann")
    try await store.setAlias(name, alias: "champion", version: 2, by: "ann")
    _ = try await store.setTag(.object(.model, name), key: "pii", value: "no", replacing: false, by: "ann")
    let before = try await store.model(name)
    #expect(before.id == model.id)
    func isWhole(_ name: ThreePartName) async throws {
      var renamed = before
      renamed.name = name
      #expect(try await store.model(name) == renamed)
      let uploaded = try await store.modelVersion(name, version: 1)
      #expect(uploaded.location == first.location && uploaded.isManaged)
      let second = try await store.modelVersion(name, version: 2)
      #expect(second.id == trained.id && second.facts == ["loss": 0.25] && second.runID == "run-1" && second.status == .ready)
      #expect(try await store.aliases(name) == ["champion": 2])
      #expect(try await store.tags(.object(.model, name), limit: 5).entries.map(\.value) == ["no"])
    }

    #expect(try await failure { try await store.dropModel(name, by: "ann") }.number == "PLT-1701")
    try await store.dropModel(name, force: true, by: "bob")
    #expect(try await failure { _ = try await store.model(name) }.number == "PLT-3002")
    #expect(try await store.modelVersions(name, limit: 5).entries.isEmpty)
    #expect(try await store.aliases(name).isEmpty)
    #expect(try await store.dropped(catalog: "shop", limit: 5).entries.map(\.kind) == [.model])
    #expect(FileManager.default.fileExists(atPath: first.location))
    // The name is taken meanwhile, and is free again.
    _ = try await store.createModel(name, by: "ann")
    #expect(try await failure { try await store.undrop(.model, ["shop", "eu", "m"], id: before.id, by: "ann") }.code == .alreadyExists)
    try await store.dropModel(name, by: "ann")
    try await store.undrop(.model, ["Shop", "EU", "M"], id: before.id, by: "ann")
    try await isWhole(name)
    #expect(try await store.registerModel(name, kind: "generate", location: "/models/b", runID: nil, facts: .null, by: "ann").version == 3)
    try await store.dropModelVersion(name, version: 3, removingFilesIn: lake, by: "ann")

    // With what holds it, under its new name.
    try await store.dropModel(name, force: true, by: "ann")
    _ = try await store.renameSchema(catalog: "shop", name: "eu", to: "europe", by: "ann")
    try await store.undrop(.model, ["shop", "europe", "m"], id: before.id, by: "ann")
    let moved = try ThreePartName("shop.europe.m")
    #expect(try await store.model(moved).id == before.id)
    #expect(try await store.aliases(moved) == ["champion": 2])
    #expect(try await failure { try await store.dropSchema(catalog: "shop", name: "europe", force: false, by: "ann") }.number == "PLT-1701")
    try await store.dropSchema(catalog: "shop", name: "europe", force: true, by: "ann")
    #expect(try await failure { try await store.undrop(.model, ["shop", "europe", "m"], by: "ann") }.message.contains("schema 'shop.europe'"))
    try await store.undrop(.schema, ["shop", "europe"], by: "ann")
    #expect(try await store.modelVersion(moved, version: 2).id == trained.id)
    #expect(try await store.aliases(moved) == ["champion": 2])
    try await store.dropCatalog("shop", force: true, by: "ann")
    try await store.undrop(.catalog, ["shop"], by: "ann")
    #expect(try await store.modelVersion(moved, version: 1).location == first.location)
    try await store.dropCatalog("shop", force: true, by: "ann")
    // The model, the one that had its name, the schema and the catalog.
    #expect(try await store.purge(olderThan: .zero, lake: lake) == 4)
    #expect(!FileManager.default.fileExists(atPath: first.location))
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
