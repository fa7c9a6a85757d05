// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Postgres
import TestSupport
import Testing

@Suite struct LocationTests {
  private let key: SealingKey

  init() throws { key = try SealingKey([UInt8](repeating: 7, count: 32)) }

  @Test(arguments: [
    ("/data/x/", "file:///data/x"), ("file:///data/x", "file:///data/x"), ("file:/data/x", "file:///data/x"), ("file:///a%20b", "file:///a b"),
    ("s3://bucket", "s3://bucket"), ("s3://bucket/", "s3://bucket"), ("s3a://bucket/a/b/", "s3://bucket/a/b"),
  ])
  func placesHaveOneSpelling(given: String, stored: String) throws { #expect(try CatalogStore.canonicalURL(given) == stored) }

  @Test(arguments: [
    "", "data", "/", "file:///", "/a/../b", "file:///a/%2e%2e/b", "s3://", "s3://B", "s3://bucket/a//b", "s3://bucket/../x", "http://x/y", "/a\nb", "file:///%",
  ])
  func otherPlacesAreRefused(text: String) throws {
    #expect(throws: PlatformError.self) { try CatalogStore.canonicalURL(text) }
  }

  @Test func locationsLieSideBySide() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    func make(_ name: String, _ url: String, _ credential: String? = nil) async throws -> LocationEntry {
      try await store.createLocation(name, url: url, credential: credential, isReadOnly: false, comment: "", apartFrom: ["/lake"], by: "ann")
    }
    let made = try await make("raw", "/data/raw/")
    #expect(made.url == "file:///data/raw" && made.owner == "ann" && made.credential == nil)
    for url in ["/data", "/data/raw", "/data/raw/in"] { #expect(try await failure { _ = try await make("x", url) }.code == .conflict, "\(url)") }
    for url in ["/lake", "/lake/main", "/"] { #expect(try await failure { _ = try await make("x", url) }.code != .notFound, "\(url)") }
    _ = try await make("rawer", "/data/rawer")
    #expect(try await failure { _ = try await make("RAW", "/other") }.code == .alreadyExists)
    #expect(try await failure { _ = try await make("s", "s3://bucket/x") }.number == "PLT-3001", "a bucket needs a credential")
    #expect(try await failure { _ = try await make("s", "s3://bucket/x", "none") }.number == "PLT-3002")
    #expect(try await store.location(of: "file:///data/raw/t/1")?.name == "raw")
    #expect(try await store.location(of: "/data/rawest") == nil)
    #expect(try await store.externalFolders() == ["/data/raw", "/data/rawer"])
    #expect(try await readAll(1) { try await store.locations(limit: 1, pageToken: $0) }.map(\.name) == ["raw", "rawer"])

    let changed = try await store.changeLocation(
      "raw", SecuredChange(newName: "fresh", comment: "c", isReadOnly: true), url: "/data/fresh", force: false, apartFrom: ["/lake"], by: "bob")
    #expect(changed.name == "fresh" && changed.url == "file:///data/fresh" && changed.isReadOnly && changed.comment == "c" && changed.updatedBy == "bob")
    try await store.dropLocation("FRESH", force: false, by: "ann")
    #expect(try await failure { _ = try await store.location("fresh") }.number == "PLT-3002")
  }

  @Test func aLocationWithObjectsStaysUnlessForced() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let temporary = TemporaryDirectory("locations")
    let folder = try #require(realpath(temporary.path, nil)).withMemoryRebound(to: CChar.self, capacity: 1) { String(cString: $0) }
    try FileManager.default.createDirectory(atPath: folder + "/v", withIntermediateDirectories: true)
    _ = try await store.createLocation("here", url: folder, credential: nil, isReadOnly: false, comment: "", apartFrom: ["/lake"], by: "ann")
    _ = try await store.createVolume(
      ThreePartName("main.demo.v"), at: folder + "/v", allowedIn: store.externalFolders(), apartFrom: ["/lake"], by: "ann")
    #expect(try await failure { try await store.dropLocation("here", force: false, by: "ann") }.number == "PLT-1701")
    #expect(
      try await failure {
        _ = try await store.changeLocation("here", SecuredChange(), url: "/elsewhere", force: false, apartFrom: ["/lake"], by: "ann")
      }.number == "PLT-1701")
    try await store.dropLocation("here", force: true, by: "ann")
    #expect(try await store.externalFolders().isEmpty)
  }

  @Test func theMachinesFoldersComeAndGo() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    _ = try await store.createLocation("own", url: "/own", credential: nil, isReadOnly: false, comment: "", apartFrom: ["/lake"], by: "ann")
    for _ in 0..<2 { try await store.seedLocations(["/seed/a", "/seed/a/inner", "/own/part", "/seed/b b"]) }
    #expect(try await store.externalFolders() == ["/own", "/seed/a", "/seed/b b"])
    try await store.seedLocations(["/seed/b b"])
    #expect(try await store.externalFolders() == ["/own", "/seed/b b"])
    try await store.seedLocations([])
    #expect(try await store.externalFolders() == ["/own"])
  }

  @Test func secretsAreStoredSealedAndNeverShown() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let made = try await store.createCredential(
      "keys", kind: "s3_access_key", facts: ["access_key_id": "AKIA"], secret: Data("hunter2-secret".utf8), sealedWith: key, purpose: "STORAGE",
      isReadOnly: false, comment: "", by: "ann")
    #expect(made.hasSecret && made.facts == ["access_key_id": "AKIA"])
    #expect(try await store.credentialSecret("KEYS", sealedWith: key) == Data("hunter2-secret".utf8))
    let connection = try await store.createConnection(
      "pg", kind: "POSTGRESQL", options: ["host": "db", "user": "u", "password": "hunter2-secret"], properties: [:], isReadOnly: true, comment: "",
      sealedWith: key, by: "ann")
    #expect(connection.options == ["host": "db", "user": "u"] && connection.isReadOnly)
    #expect(try await store.connectionOptions("pg", sealedWith: key)["password"] == "hunter2-secret")
    for table in ["storage_credentials", "connections", "audit"] {
      let text = try await store.pool.query("SELECT coalesce(string_agg(encode(convert_to(t::text, 'UTF8'), 'escape'), ' '), '') AS all_of_it FROM \(table) t")[
        0
      ].string("all_of_it")
      #expect(!text.contains("hunter2"), "\(table)")
    }
    let other = try SealingKey([UInt8](repeating: 8, count: 32))
    #expect(try await failure { _ = try await store.credentialSecret("keys", sealedWith: other) }.code == .badConfiguration)
    // A secret that is moved to another row does not open there.
    _ = try await store.createCredential(
      "thief", kind: "s3_access_key", facts: [:], secret: Data("x".utf8), sealedWith: key, purpose: "STORAGE", isReadOnly: false, comment: "", by: "bob")
    try await store.pool.execute(
      "UPDATE storage_credentials SET secret = (SELECT secret FROM storage_credentials WHERE name = 'keys') WHERE name = 'thief'")
    #expect(try await failure { _ = try await store.credentialSecret("thief", sealedWith: key) }.code == .badConfiguration)

    _ = try await store.createLocation("s", url: "s3://bucket/p", credential: "keys", isReadOnly: false, comment: "", apartFrom: ["/lake"], by: "ann")
    #expect(try await failure { try await store.dropCredential("keys", force: false, by: "ann") }.number == "PLT-1701")
    try await store.dropCredential("keys", force: true, by: "ann")
    #expect(try await store.location("s").credential == nil)
    let changed = try await store.changeConnection(
      "pg", SecuredChange(newName: "pg2"), options: ["host": "db2", "token": "t"], sealedWith: key, by: "bob")
    #expect(changed.name == "pg2" && changed.options == ["host": "db2"])
    #expect(try await store.connectionOptions("pg2", sealedWith: key) == ["host": "db2", "token": "t"])
    try await store.dropConnection("pg2", by: "ann")
    #expect(try await store.connections(limit: 5).entries.isEmpty)
  }
}
