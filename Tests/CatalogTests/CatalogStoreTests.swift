// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Postgres
import Testing

@Suite struct CatalogStoreTests {
  private let columns = [ColumnEntry(name: "id", type: "bigint"), ColumnEntry(name: "price", type: "decimal(10,2)")]

  @Test func catalogsAndSchemasAreMadeOnce() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    try await store.bootstrap()
    try await store.createCatalog("sales", by: "ann")
    let twice = try await failure { try await store.createCatalog("sales", by: "ann") }
    #expect(twice.code == .alreadyExists && twice.number == "PLT-3003")
    #expect(try await store.createSchema(catalog: "sales", name: "orders", by: "ann"))
    #expect(try await !store.createSchema(catalog: "sales", name: "orders", by: "ann"))
    let nowhere = try await failure { _ = try await store.createSchema(catalog: "none", name: "s", by: "ann") }
    #expect(nowhere.code == .notFound && nowhere.number == "PLT-3002")
    for name in ["", "a.b", "../up", "a/b"] {
      #expect(try await failure { _ = try await store.createSchema(catalog: "main", name: name, by: "ann") }.number == "PLT-3001")
    }
    #expect(
      try await store.schemas().map { "\($0.catalog).\($0.name)" } == ["main.default", "main.demo", "sales.orders", "system.ai"])
    let audit = try await store.auditEntries(actor: "ann", limit: 10).entries
    #expect(audit.map { "\($0.action) \($0.object) \($0.outcome)" } == ["create schema sales.orders ok", "create catalog sales ok"])
  }

  @Test func tablesAreFoundChangedAndForgotten() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let name = ThreePartName(catalog: "main", schema: "demo", name: "Straße_1")
    #expect(try await store.findTable(name) == nil)
    let made = try await store.table(name, creatingIn: "/lake", columns: columns, by: "ann")
    #expect(made.name == name && made.columns == columns && made.owner == "ann" && made.comment == "")
    #expect(made.location.wholeMatch(of: /\/lake\/main\/demo\/Straße_1-[0-9a-f]{8}/) != nil)
    #expect(try await store.table(name, creatingIn: "/other", columns: [], by: "bob") == made, "the first call decides")
    #expect(try await store.table(name) == made)

    try await store.updateColumns(name, [ColumnEntry(name: "id", type: "text")])
    let changed = try await store.table(name)
    #expect(changed.columns == [ColumnEntry(name: "id", type: "text")] && changed.updatedAt > made.updatedAt && changed.location == made.location)

    let given = ThreePartName(catalog: "main", schema: "default", name: "given")
    #expect(try await store.table(given, creatingIn: "/lake", columns: [], by: "ann", location: "/lake/x").location == "/lake/x")
    #expect(try await store.tables().map(\.name) == [given, name])
    #expect(try await store.tables(catalog: "main", schema: "demo").map(\.name) == [name])
    #expect(try await store.tables(catalog: "system").isEmpty)

    try await store.dropTable(name, by: "ann")
    #expect(try await store.findTable(name) == nil)
    for action in [
      { _ = try await store.table(name) }, { try await store.dropTable(name, by: "ann") }, { try await store.updateColumns(name, []) },
    ] as [() async throws -> Void] {
      let error = try await failure { try await action() }
      #expect(error.code == .notFound && error.number == "PLT-3002" && error.message.contains("\(name)"))
    }
    let again = try await store.table(name, creatingIn: "/lake", columns: columns, by: "ann")
    #expect(again.id != made.id && again.location != made.location, "what was dropped does not come back")
  }

  @Test func tablesNeedASchemaAndAPlainName() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let nowhere = try await failure {
      _ = try await store.table(ThreePartName(catalog: "main", schema: "none", name: "t"), creatingIn: "/lake", columns: [], by: "ann")
    }
    #expect(nowhere.number == "PLT-3002" && nowhere.message.contains("main.none"))
    for name in ["", "../../etc", "a/b", "a b"] {
      let odd = ThreePartName(catalog: "main", schema: "demo", name: name)
      #expect(try await failure { _ = try await store.table(odd, creatingIn: "/lake", columns: [], by: "ann") }.number == "PLT-3001")
      #expect(
        try await failure { _ = try await store.registerModel(odd, kind: "embed", location: "/m", runID: nil, facts: .null, by: "ann") }
          .number == "PLT-3001")
      let index = VectorIndexEntry(name: odd, sourceTable: "t", sourceVersion: 0, location: "/i", facts: .null)
      #expect(try await failure { try await store.setIndex(index, by: "ann") }.number == "PLT-3001")
    }
  }

  @Test func concurrentCallsMakeOneTable() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let name = ThreePartName(catalog: "main", schema: "demo", name: "t")
    let locations = try await withThrowingTaskGroup(of: String.self) { group in
      for index in 0..<8 {
        group.addTask { try await store.table(name, creatingIn: "/lake\(index)", columns: columns, by: "ann").location }
      }
      return try await group.reduce(into: Set<String>()) { $0.insert($1) }
    }
    #expect(locations.count == 1)
    #expect(try await store.auditEntries(limit: 10).entries.filter { $0.action == "create table" }.count == 1)
  }

  @Test func indexesAndEndpointsAreMadeAndChanged() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let name = ThreePartName(catalog: "main", schema: "demo", name: "i")
    #expect(try await failure { _ = try await store.index(name) }.number == "PLT-3002")
    var entry = VectorIndexEntry(
      name: name, sourceTable: "main.demo.t", sourceVersion: 4_000_000_000, location: "/lake/i1", facts: ["dimension": 384, "m": [1, "x"]])
    try await store.setIndex(entry, by: "ann")
    #expect(try await store.index(name) == entry)
    entry.location = "/lake/i2"
    entry.sourceVersion += 1
    entry.facts = ["dimension": 768]
    try await store.setIndex(entry, by: "ann")
    #expect(try await store.index(name) == entry)
    entry.name.schema = "none"
    #expect(try await failure { try await store.setIndex(entry, by: "ann") }.number == "PLT-3002")

    try await store.setEndpoint(name: "chat", kind: "generate", model: "main.demo.m/1", replicas: 2, by: "ann")
    try await store.setEndpoint(name: "ask", kind: "embed", model: "main.demo.e/1", replicas: 1, by: "ann")
    try await store.setEndpoint(name: "chat", kind: "generate", model: "main.demo.m/2", replicas: 3, by: "bob")
    let endpoints = try await store.endpoints()
    #expect(endpoints.map(\.name) == ["ask", "chat"])
    #expect(endpoints[1].model == "main.demo.m/2" && endpoints[1].replicas == 3 && endpoints[1].kind == "generate")
    try await store.removeEndpoint("ask", by: "ann")
    #expect(try await store.endpoints().map(\.name) == ["chat"])
    #expect(try await failure { try await store.removeEndpoint("ask", by: "ann") }.number == "PLT-3002")
  }

  @Test func adaptersAndEndpointsHaveOneSetOfNames() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    func adapter(_ name: String, _ version: Int = 1) -> EndpointAdapter {
      EndpointAdapter(name: name, model: "models:/a.b.\(name)/\(version)", location: "/\(name)")
    }
    func set(_ name: String, _ adapters: [EndpointAdapter]?) async throws {
      try await store.setEndpoint(name: name, kind: "generate", model: "models:/a.b.m/1", replicas: 1, adapters: adapters, by: "ann")
    }
    func adapters() async throws -> [String: [EndpointAdapter]] {
      Dictionary(uniqueKeysWithValues: try await store.endpoints().map { ($0.name, $0.adapters) })
    }
    try await set("chat", [adapter("polite"), adapter("brief")])
    try await set("other", nil)
    #expect(try await adapters() == ["chat": [adapter("brief"), adapter("polite")], "other": []])
    for (endpoint, names) in [("other", ["polite"]), ("other", ["chat"]), ("third", ["third"]), ("chat", ["other"]), ("brief", [])] {
      #expect(try await failure { try await set(endpoint, names.map { adapter($0) }) }.number == "PLT-4507", "\(endpoint): \(names)")
      #expect(try await failure { try await store.requireFreeNames(endpoint: endpoint, adapters: names) }.number == "PLT-4507")
    }
    try await store.requireFreeNames(endpoint: "chat", adapters: ["polite", "new"])
    // What is not said stays, what is said is all.
    try await set("chat", nil)
    #expect(try await adapters()["chat"]?.count == 2)
    try await set("chat", [adapter("polite", 2)])
    #expect(try await adapters()["chat"] == [adapter("polite", 2)])
    #expect(try await store.endpoints(limit: 5).entries == store.endpoints())
    // What requests bring stays when a deployment names others, and gives way to one of its name.
    func load(_ name: String, to endpoint: String, replaces: Bool = false) async throws {
      let entry = try #require(try await store.endpoints().first { $0.name == endpoint })
      let one = EndpointAdapter(name: name, model: "models:/a.b.\(name)/1", location: "/\(name)", isLoaded: true)
      try await store.addAdapter(one, to: entry, replaces: replaces, by: "ann")
    }
    try await load("loaded", to: "chat")
    for name in ["loaded", "other", "chat", "polite"] { #expect(try await failure { try await load(name, to: "chat") }.number == "PLT-4507", "\(name)") }
    #expect(try await failure { try await load("loaded", to: "other", replaces: true) }.number == "PLT-4507")
    try await load("loaded", to: "chat", replaces: true)
    try await set("chat", [adapter("polite", 3)])
    #expect(try await adapters()["chat"]?.map { "\($0.name) \($0.isLoaded)" } == ["loaded true", "polite false"])
    try await set("chat", [adapter("loaded")])
    #expect(try await adapters()["chat"] == [adapter("loaded")])
    try await store.removeAdapter("loaded", by: "ann")
    #expect(try await failure { try await store.removeAdapter("loaded", by: "ann") }.number == "PLT-3002")
    var stale = try #require(try await store.endpoints().first { $0.name == "chat" })
    stale.model = "models:/a.b.m/7"
    let one = EndpointAdapter(name: "x", model: "models:/a.b.x/1", location: "/x", isLoaded: true)
    #expect(try await failure { try await store.addAdapter(one, to: stale, replaces: false, by: "ann") }.code == .conflict)
    try await set("other", [adapter("brief")])
    try await store.removeEndpoint("chat", by: "ann")
    try await set("polite", [])
    #expect(try await adapters() == ["other": [adapter("brief")], "polite": []])
  }

  @Test func lineageIsFoundFromBothSides() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    try await store.addLineage([])
    let edges = (0..<5).map {
      LineageEdge(
        sourceKind: "table", source: "main.demo.s\($0 % 2)", sourceVersion: 5_000_000_000 + Int64($0), targetKind: "model", target: "main.demo.m",
        targetVersion: nil, runID: "run-\($0)", taskKey: nil, actor: "ann")
    }
    func plain(_ edges: [LineageEdge]) -> [LineageEdge] {
      edges.map { edge in
        #expect(edge.recordedAt != nil)
        var edge = edge
        edge.recordedAt = nil
        return edge
      }
    }
    try await store.addLineage(edges)
    try await store.addLineage([LineageEdge(sourceKind: "model", source: "main.demo.m", targetKind: "endpoint", target: "chat")])
    #expect(plain(try await readAll(2) { try await store.lineage(of: "main.demo.m", as: .target, limit: 2, pageToken: $0) }) == edges.reversed())
    #expect(plain(try await store.lineage(of: "main.demo.s1", as: .source, limit: 10).entries) == [edges[3], edges[1]])
    #expect(try await store.lineage(of: "main.demo.m", as: .source, limit: 10).entries.map(\.target) == ["chat"])
    // All or none: the second has a text that cannot be stored.
    var odd = edges[0]
    odd.source = "a\0b"
    #expect(try await failure { try await store.addLineage([edges[0], odd]) }.number == "PLT-1108")
    #expect(try await store.lineage(of: "main.demo.m", as: .target, limit: 10).entries.count == 5)
  }

  @Test func theNewestDriftOfEachColumnIsShown() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    func entry(_ column: String, _ run: String, _ psi: Double?, baseline: String = "v1") -> DriftEntry {
      DriftEntry(table: "main.demo.t", column: column, baseline: baseline, runID: run, psi: psi, ks: nil, js: 0.5, alert: (psi ?? 0) > 0.2)
    }
    #expect(try await store.latestDrift().isEmpty)
    try await store.addDrift([entry("a", "r1", 0.1), entry("b", "r1", nil)])
    try await store.addDrift([entry("a", "r2", 0.3)])
    #expect(try await store.latestDrift() == [entry("a", "r2", 0.3), entry("b", "r1", nil)])
    try await store.addDrift([entry("a", "r1", 0.9, baseline: "v2")])
    #expect(try await store.latestDrift().first == entry("a", "r1", 0.9, baseline: "v2"), "a run that measures again replaces what it said")
  }

  @Test func auditKeepsWhoDidWhat() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    try await store.audit(actor: "ann", action: "cancel run", object: "r'1", outcome: "denied")
    try await store.audit(actor: "bob", action: "cancel run", object: "r2", outcome: "ok")
    let entries = try await store.auditEntries(limit: 10).entries
    #expect(entries.map(\.actor) == ["bob", "ann"] && entries[1].object == "r'1" && entries[1].outcome == "denied")
    #expect(abs(entries[0].at.timeIntervalSinceNow) < 600)
    #expect(try await store.auditEntries(actor: "ann", limit: 10).entries == [entries[1]])
  }
}
