// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Postgres
import TestSupport
import Testing

@Suite struct ConstraintTests {
  private func table(_ store: CatalogStore, _ name: String, _ columns: [String]) async throws -> TableEntry {
    try await store.table(
      ThreePartName("main.demo.\(name)"), creatingIn: "/lake", columns: columns.map { ColumnEntry(name: $0, type: "bigint") }, by: "ann")
  }

  @Test func keysReferToColumnsThatAreThere() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let people = try await table(store, "people", ["Id", "since"])
    let orders = try await table(store, "orders", ["id", "person"])
    func add(_ entry: ConstraintEntry, _ to: TableEntry) async throws -> ConstraintEntry { try await store.addConstraint(entry, to: to.name, by: "ann") }
    let foreign = ConstraintEntry(name: "fk", kind: .foreignKey, columns: ["person"], parent: people.name)
    #expect(try await failure { _ = try await add(foreign, orders) }.code == .invalidArgument, "there is no key yet")
    let primary = try await add(ConstraintEntry(name: "pk", kind: .primaryKey, columns: ["ID"], isRelied: true), people)
    #expect(primary.columns == ["Id"] && primary.isRelied)
    #expect(try await failure { _ = try await add(ConstraintEntry(name: "pk2", kind: .primaryKey, columns: ["since"]), people) }.number == "PLT-3003")
    #expect(try await failure { _ = try await add(ConstraintEntry(name: "c", kind: .primaryKey, columns: ["none"]), orders) }.number == "PLT-3002")
    #expect(try await failure { _ = try await add(ConstraintEntry(name: "c", kind: .primaryKey, columns: ["id", "ID"]), orders) }.code == .invalidArgument)
    let made = try await add(foreign, orders)
    #expect(made.parentColumns == ["Id"] && made.parent == people.name)

    _ = try await store.rename(.table, people.name, to: ThreePartName("main.default.persons"), by: "ann")
    let shown = try await store.constraints([people.id, orders.id])
    #expect(shown[orders.id]?.first?.parent == (try ThreePartName("main.default.persons")) && shown[people.id]?.first?.kind == .primaryKey)
    let persons = try ThreePartName("main.default.persons")
    #expect(try await failure { try await store.removeConstraint("pk", from: persons, cascade: false, by: "ann") }.code == .conflict)
    try await store.removeConstraint("PK", from: persons, cascade: true, by: "ann")
    #expect(try await store.constraints([people.id, orders.id]).isEmpty)
    #expect(try await failure { try await store.removeConstraint("pk", from: persons, cascade: true, by: "ann") }.number == "PLT-3002")
  }

  @Test func tagsAreOfObjectsAndColumns() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let people = try await table(store, "people", ["Id"])
    for tagged in [
      CatalogStore.Tagged.catalog("MAIN"), .schema(catalog: "main", name: "demo"), .object(.table, people.name), .column(people.name, "id"),
    ] {
      let made = try await store.setTag(tagged, key: "team", value: "a", replacing: false, by: "ann")
      #expect(made.key == "team" && made.value == "a" && made.updatedBy == "ann")
      #expect(try await failure { _ = try await store.setTag(tagged, key: "team", value: "b", replacing: false, by: "ann") }.number == "PLT-3003")
      #expect(try await store.setTag(tagged, key: "team", value: "b", replacing: true, by: "bob").value == "b")
      #expect(try await failure { _ = try await store.setTag(tagged, key: "other", value: "b", replacing: true, by: "ann") }.number == "PLT-3002")
      _ = try await store.setTag(tagged, key: "alone", value: "", replacing: false, by: "ann")
      #expect(try await readAll(1) { try await store.tags(tagged, limit: 1, pageToken: $0) }.map(\.key) == ["alone", "team"])
      try await store.removeTag(tagged, key: "team", by: "ann")
      #expect(try await failure { try await store.removeTag(tagged, key: "team", by: "ann") }.number == "PLT-3002")
    }
    #expect(
      try await failure { _ = try await store.setTag(.column(people.name, "none"), key: "a", value: "", replacing: false, by: "ann") }.number == "PLT-3002")
    for key in ["", "a.b", "a/b", "a\nb", String(repeating: "k", count: 300)] {
      #expect(try await failure { _ = try await store.setTag(.catalog("main"), key: key, value: "", replacing: false, by: "ann") }.number == "PLT-3001")
    }
    for index in 0..<49 { _ = try await store.setTag(.catalog("main"), key: "k\(index)", value: "", replacing: false, by: "ann") }
    #expect(try await failure { _ = try await store.setTag(.catalog("main"), key: "more", value: "", replacing: false, by: "ann") }.code == .resourceExhausted)
  }

  @Test func commitsOfATableAreGivenOutOneByOne() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let id = try await table(store, "t", ["a"]).id
    func commit(_ version: Int64, backfilled: Int64? = nil) async throws {
      try await store.commitDelta(
        table: id, DeltaCommitEntry(version: version, fileName: "\(version).json", fileSize: 10, fileModifiedAt: 5, committedAt: 6),
        latestBackfilled: backfilled)
    }
    #expect(try await store.deltaCommits(table: id, from: 0, to: nil).latest == 0)
    try await commit(1)
    #expect(try await failure { try await commit(1) }.number == "PLT-3005")
    #expect(try await failure { try await commit(3) }.code == .invalidArgument, "a gap")
    let won = try await withThrowingTaskGroup(of: Int.self) { group in
      for _ in 0..<6 {
        group.addTask {
          do {
            try await commit(2)
            return 1
          } catch let error as PlatformError where error.number == "PLT-3005" { return 0 }
        }
      }
      return try await group.reduce(0, +)
    }
    #expect(won == 1)
    for version in 3...10 { try await commit(Int64(version)) }
    #expect(try await failure { try await commit(11) }.code == .resourceExhausted)
    try await store.commitDelta(table: id, nil, latestBackfilled: 8)
    #expect(try await store.deltaCommits(table: id, from: 0, to: nil).commits.map(\.version) == [10, 9])
    try await store.commitDelta(table: id, nil, latestBackfilled: 10)
    var seen = try await store.deltaCommits(table: id, from: 0, to: nil)
    #expect(seen.commits.isEmpty && seen.latest == 10)
    try await commit(11, backfilled: 10)
    seen = try await store.deltaCommits(table: id, from: 1, to: 11)
    #expect(seen.commits.map(\.version) == [11] && seen.latest == 11)
    #expect(try await failure { try await store.commitDelta(table: id, nil, latestBackfilled: 12) }.code == .invalidArgument)
    #expect(try await failure { try await store.commitDelta(table: UUID(), nil, latestBackfilled: 1) }.number == "PLT-3002")
    #expect(try await failure { try await store.commitDelta(table: id, nil, latestBackfilled: nil) }.code == .invalidArgument)
  }

  @Test func versionsOfClientsBeginAsPending() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let temporary = TemporaryDirectory("versions")
    let name = try ThreePartName("main.demo.m")
    #expect(
      try await failure { _ = try await store.createModelVersion(name, creatingIn: temporary.path, source: "s", runID: nil, comment: "", by: "ann") }.number
        == "PLT-3002")
    _ = try await store.createModel(name, by: "ann")
    let first = try await store.createModelVersion(name, creatingIn: temporary.path, source: "s", runID: "r", comment: "c", by: "ann")
    #expect(first.version == 1 && first.status == .pending && first.isManaged && first.source == "s" && first.comment == "c")
    #expect(FileManager.default.fileExists(atPath: first.location))
    #expect(try await failure { _ = try await store.resolveModel("main.demo.m") }.number == "PLT-3002", "nothing is ready")
    #expect(try await store.finalizeModelVersion(name, version: 1, by: "ann").status == .ready)
    #expect(try await store.resolveModel("main.demo.m").version == 1)
    _ = try await store.createModelVersion(name, creatingIn: temporary.path, source: nil, runID: nil, comment: "", by: "ann")
    #expect(try await store.failForgottenVersions() == 0)
    #expect(try await store.failForgottenVersions(olderThan: .zero) == 1)
    #expect(try await failure { _ = try await store.finalizeModelVersion(name, version: 2, by: "ann") }.code == .conflict)
    try await store.setAlias(name, alias: "a", version: 2, by: "ann")
    try await store.dropModelVersion(name, version: 2, removingFilesIn: temporary.path, by: "ann")
    #expect(try await store.aliases(name).isEmpty)
    #expect(
      try await store.createModelVersion(name, creatingIn: temporary.path, source: nil, runID: nil, comment: "", by: "ann").version == 3,
      "numbers are not used again")
    #expect(try await failure { try await store.dropModel(name, by: "ann") }.number == "PLT-1701")
    try await store.dropModel(name, force: true, by: "ann")
    #expect(FileManager.default.fileExists(atPath: first.location), "it can be brought back")
    try await store.purge(olderThan: .zero, lake: temporary.path)
    #expect(!FileManager.default.fileExists(atPath: first.location))
  }
}
