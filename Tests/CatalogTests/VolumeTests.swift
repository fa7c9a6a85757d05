// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Postgres
import TestSupport
import Testing

@Suite struct VolumeTests {
  private func name(_ text: String) -> ThreePartName { ThreePartName(catalog: "main", schema: "demo", name: text) }

  /// A temporary folder without links in its path.
  private func folder(_ temporary: TemporaryDirectory, _ name: String) throws -> String {
    try FileManager.default.createDirectory(atPath: temporary.file(name), withIntermediateDirectories: true)
    let real = try #require(realpath(temporary.file(name), nil))
    defer { free(real) }
    return String(cString: real)
  }

  @Test func managedVolumesHaveAFolderOfTheirOwn() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let temporary = TemporaryDirectory("volumes")
    let lake = try folder(temporary, "lake")
    let made = try await store.createVolume(name("files"), creatingIn: lake + "/", comment: "it's", by: "ann")
    #expect(made.kind == .managed && made.owner == "ann" && made.comment == "it's")
    #expect(made.location.hasPrefix(lake + "/_volumes/main/demo/files-"))
    var isFolder: ObjCBool = false
    #expect(FileManager.default.fileExists(atPath: made.location, isDirectory: &isFolder) && isFolder.boolValue)
    #expect(try await store.volume(name("files")) == made)
    let twice = try await failure { _ = try await store.createVolume(name("files"), creatingIn: lake, by: "ann") }
    #expect(twice.code == .alreadyExists && twice.number == "PLT-3003")
    #expect(try FileManager.default.contentsOfDirectory(atPath: lake + "/_volumes/main/demo").count == 1, "a refused call leaves nothing")

    for odd in ["", "..", "a/b", "a b"] {
      #expect(try await failure { _ = try await store.createVolume(name(odd), creatingIn: lake, by: "ann") }.number == "PLT-3001")
    }
    let nowhere = ThreePartName(catalog: "main", schema: "../..", name: "v")
    #expect(try await failure { _ = try await store.createVolume(nowhere, creatingIn: lake, by: "ann") }.number == "PLT-3002")
    #expect(try await failure { _ = try await store.createVolume(name("v"), creatingIn: "lake", by: "ann") }.number == "PLT-3001")

    _ = try await store.createVolume(name("a"), creatingIn: lake, by: "ann")
    #expect(try await readAll(1) { try await store.volumes(catalog: "main", limit: 1, pageToken: $0) }.map(\.name.name) == ["a", "files"])
    #expect(try await store.volumes(catalog: "system", limit: 1).entries.isEmpty)
  }

  @Test func aDroppedVolumeComesBackUntilItIsPurged() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let temporary = TemporaryDirectory("volumes")
    let lake = try folder(temporary, "lake")
    let outside = try folder(temporary, "outside")
    try Data("kept".utf8).write(to: URL(fileURLWithPath: outside + "/file"))
    let made = try await store.createVolume(name("gone"), creatingIn: lake, by: "ann")
    try FileManager.default.createDirectory(atPath: made.location + "/deep/er", withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(atPath: made.location + "/deep/link", withDestinationPath: outside)
    try await store.dropVolume(name("gone"), by: "ann")
    #expect(try await store.findVolume(name("gone")) == nil && FileManager.default.fileExists(atPath: made.location))
    #expect(try await failure { try await store.dropVolume(name("gone"), by: "ann") }.number == "PLT-3002")
    try await store.undrop(.volume, ["main", "demo", "GONE"], by: "bob")
    #expect(try await store.volume(name("gone")) == made)

    try await store.dropVolume(name("gone"), by: "ann")
    #expect(try await store.purge(lake: lake) == 0, "it is not old enough")
    // Only what is below the lake is removed.
    #expect(try await store.purge(olderThan: .zero, lake: outside) == 1)
    #expect(FileManager.default.fileExists(atPath: made.location))
    let again = try await store.createVolume(name("gone"), creatingIn: lake, by: "ann")
    try FileManager.default.createSymbolicLink(atPath: again.location + "/link", withDestinationPath: outside)
    try await store.dropVolume(name("gone"), by: "ann")
    #expect(try await store.purge(olderThan: .zero, lake: lake) == 1)
    #expect(!FileManager.default.fileExists(atPath: again.location))
    #expect(FileManager.default.fileExists(atPath: outside + "/file"), "links are removed, not followed")
    #expect(try await failure { try await store.undrop(.volume, ["main", "demo", "gone"], by: "ann") }.number == "PLT-3002")
  }

  @Test func externalVolumesAreWhereTheyAreAllowedAndApart() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let temporary = TemporaryDirectory("volumes")
    let lake = try folder(temporary, "data/lake")
    let data = try folder(temporary, "data")
    let shared = try folder(temporary, "shared")
    let inner = try folder(temporary, "shared/a/b")
    let beside = try folder(temporary, "shared/ab")
    let secret = try folder(temporary, "private")
    try FileManager.default.createSymbolicLink(atPath: shared + "/out", withDestinationPath: secret)
    try FileManager.default.createSymbolicLink(atPath: shared + "/in", withDestinationPath: beside)
    try Data().write(to: URL(fileURLWithPath: shared + "/file"))
    func create(_ volume: String, _ location: String, in roots: [String]? = nil) async throws -> VolumeEntry {
      try await store.createVolume(name(volume), at: location, allowedIn: roots ?? [shared], apartFrom: [lake], by: "ann")
    }
    for odd in ["", "/", "a", "shared", shared + "/../private", shared + "/./a", shared + "//a", shared + "/a\0", shared + "/a\n"] {
      #expect(try await failure { _ = try await create("v", odd) }.number == "PLT-3001", "\(odd.debugDescription)")
    }
    for absent in [shared + "/none", shared + "/file", shared + "/file/x"] {
      #expect(try await failure { _ = try await create("v", absent) }.code == .notFound, "\(absent)")
    }
    for (location, roots) in [(secret, [shared]), (shared + "/out", [shared]), (inner, []), (inner, [shared + "/ab", "/nonexistent"]), (shared, [inner])] {
      #expect(try await failure { _ = try await create("v", location, in: roots) }.code == .permissionDenied, "\(location) in \(roots)")
    }
    for location in [lake, data] {
      #expect(try await failure { _ = try await create("v", location, in: [data]) }.code == .conflict)
    }
    let made = try await create("docs", inner + "/")
    #expect(made.kind == .external && made.location == inner)
    for location in [inner, shared + "/a", shared] {
      let error = try await failure { _ = try await create("v", location) }
      #expect(error.code == .conflict && error.message.contains("main.demo.docs"))
    }
    #expect(try await create("link", shared + "/in").location == beside, "links are followed once, when the volume is made")
    #expect(try await failure { _ = try await create("docs", beside) }.code == .alreadyExists)

    // Tables and volumes keep apart in both directions.
    let table = ThreePartName(catalog: "main", schema: "demo", name: "t")
    for location in [inner + "/t", inner, shared] {
      let error = try await failure { _ = try await store.table(table, creatingIn: lake, columns: [], by: "ann", location: location) }
      #expect(error.code == .conflict)
    }
    _ = try await store.table(table, creatingIn: lake, columns: [], by: "ann", location: secret + "/t")
    let around = try await failure { _ = try await create("v", secret, in: [secret]) }
    #expect(around.code == .conflict && around.message.contains("table 'main.demo.t'"))

    try Data("kept".utf8).write(to: URL(fileURLWithPath: inner + "/file"))
    try await store.dropVolume(name("docs"), by: "ann")
    // Its place may be given to another meanwhile, and then it cannot come back.
    _ = try await create("usurper", inner)
    #expect(try await failure { try await store.undrop(.volume, ["main", "demo", "docs"], by: "ann") }.code == .conflict)
    try await store.purge(olderThan: .zero, lake: lake)
    #expect(FileManager.default.fileExists(atPath: inner + "/file"), "an external volume's files are somebody else's")
  }

  @Test func twoThatWantTheSameFolderGetItOnce() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let temporary = TemporaryDirectory("volumes")
    let shared = try folder(temporary, "shared")
    let made = try await withThrowingTaskGroup(of: Bool.self) { group in
      for index in 0..<6 {
        group.addTask {
          do {
            _ = try await store.createVolume(
              name("v\(index)"), at: shared, allowedIn: [shared], apartFrom: [temporary.file("lake")], by: "ann")
            return true
          } catch let error as PlatformError where error.code == .conflict {
            return false
          }
        }
      }
      return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
    }
    #expect(made == 1)
  }

  @Test func pathsStayInTheVolume() async throws {
    let store = try await makeStore()
    defer { store.pool.close() }
    let temporary = TemporaryDirectory("volumes")
    let lake = try folder(temporary, "lake")
    let outside = try folder(temporary, "outside")
    let volume = try await store.createVolume(name("files"), creatingIn: lake, by: "ann")
    let home = volume.location
    try FileManager.default.createDirectory(atPath: home + "/sub", withIntermediateDirectories: true)
    for (link, target) in [("out", outside), ("up", ".."), ("dangling", outside + "/none"), ("inside", "sub")] {
      try FileManager.default.createSymbolicLink(atPath: home + "/" + link, withDestinationPath: target)
    }
    #expect(try volume.path("") == home)
    #expect(try volume.path("sub/new/er.txt") == home + "/sub/new/er.txt")
    #expect(try volume.path("sub/") == home + "/sub")
    #expect(try volume.path("a b/ü☃/%2e%2ex/a%2Fb/..x/x..") == home + "/a b/ü☃/%2e%2ex/a%2Fb/..x/x..", "nothing is decoded")
    #expect(try volume.path("inside/x") == home + "/sub/x")
    for odd in ["/etc/passwd", "..", "../x", "a/../b", "a/..", "%2e%2e/x", "a/%2E.", ".", "a//b", "/", "a\0b", "a\nb", String(repeating: "x", count: 256)] {
      #expect(throws: PlatformError.self, "\(odd.debugDescription)") { try volume.path(odd) }
    }
    for link in ["out", "out/x", "up", "up/x", "dangling", "dangling/x"] {
      let error = #expect(throws: PlatformError.self) { try volume.path(link) }
      #expect(error?.code == .permissionDenied, "\(link)")
    }
    #expect(try await store.volumePath("/Volumes/main/demo/files/sub/x") == home + "/sub/x")
    #expect(try await store.volumePath("/Volumes/main/demo/files") == home)
    for text in ["", "/Volumes/main/demo", "Volumes/main/demo/files/x", "/Volumes/main/demo/../x", "/volumes/main/demo/files", "/Volumes/main//files/x"] {
      #expect(try await failure { _ = try await store.volumePath(text) }.number == "PLT-3001", "\(text)")
    }
    #expect(try await failure { _ = try await store.volumePath("/Volumes/main/demo/none/x") }.number == "PLT-3002")
    #expect(try await failure { _ = try await store.volumePath("/Volumes/main/demo/files/out/x") }.code == .permissionDenied)
  }

  @Test func volumesOfAnEarlierSchemaAreManaged() async throws {
    let store = try await makeStore(migrations: [CatalogMigrations.all[0]])
    defer { store.pool.close() }
    try await store.pool.execute("INSERT INTO volumes (catalog, schema, name, location, owner) VALUES ('main', 'demo', 'old', '/lake/old', 'ann')")
    try await Migrator(pool: store.pool, migrations: CatalogMigrations.all).migrate()
    let old = try await store.volume(name("old"))
    #expect(old.kind == .managed && old.location == "/lake/old" && old.comment == "")
  }
}
