// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DeltaLog
import Foundation
import ObjectStore
import Postgres
import Query
import Synchronization
import TestSupport
import Testing

@testable import Coordinator

/// What a backup takes, how damage is found, and that a restored cluster is the one that was there.
@Suite(.serialized) struct BackupTests {
  // MARK: decisions

  @Test func logListingsThatLackAVersionEndBeforeIt() {
    func log(_ versions: [Int], checkpoints: [Int] = []) -> [String] {
      let digits = { (number: Int) in String(repeating: "0", count: 20 - String(number).count) + String(number) }
      return versions.map { digits($0) + ".json" } + checkpoints.map { digits($0) + ".checkpoint.parquet" } + ["_last_checkpoint", ".~x"]
    }
    #expect(LogSelection(log([0, 1, 2])).version == 2)
    #expect(LogSelection(log([0, 1, 3])) == LogSelection(log([0, 1])), "version 2 came while the folder was listed")
    #expect(LogSelection(log([11, 12], checkpoints: [10])).version == 12, "the log before a checkpoint may be gone")
    #expect(LogSelection(log([3, 11, 12, 14], checkpoints: [10])).version == 12)
    #expect(LogSelection(log([0, 1, 2, 3], checkpoints: [3])).version == 3)
    let limited = LogSelection(log([0, 1, 2, 3], checkpoints: [3]), limit: 2)
    #expect(limited.version == 2 && limited.names.count == 3, "neither the version nor its checkpoint: \(limited.names)")
    #expect(LogSelection(["notes.txt"]).version == nil)
    #expect(!LogSelection(log([0])).names.contains { $0.hasPrefix("_") || $0.hasPrefix(".") })
  }

  @Test func pathsOfObjectsStayInside() throws {
    func parts(_ path: String) throws -> [String] { try BackupObject(path: path, bytes: 0, sha256: "", mode: 0, modified: 0).parts() }
    #expect(try parts("storage/lake/a").count == 3)
    #expect(try parts("home/keys/").count == 2)
    for path in ["storage/../x", "/etc/passwd", "storage//x", "other/x", "storage", "home/./x", "", "storage/a/../../../x"] {
      #expect(throws: PlatformError.self, "\(path)") { try parts(path) }
    }
  }

  @Test func tablesComeBehindThoseTheyReference() {
    let tables = [
      CopiedTable(name: "a", columns: [], references: ["b", "a"]), CopiedTable(name: "b", columns: [], references: ["c", "elsewhere"]),
      CopiedTable(name: "c", columns: []), CopiedTable(name: "x", columns: [], references: ["y"]), CopiedTable(name: "y", columns: [], references: ["x"]),
    ]
    let names = CopiedTable.ordered(tables).map(\.name)
    #expect(names.sorted() == ["a", "b", "c", "x", "y"])
    #expect(names.firstIndex(of: "c")! < names.firstIndex(of: "b")! && names.firstIndex(of: "b")! < names.firstIndex(of: "a")!, "\(names)")
  }

  @Test func onlyFoldersThatMoveAreMoved() {
    #expect(BackupRelocation([("/a", "/a")]).statements.isEmpty)
    let moved = BackupRelocation([("/data", "/new"), ("/data", "/new")])
    #expect(moved.moves.count == 1)
    #expect(BackupRelocation([("/data", "/x"), ("/data/lake", "/y")]).moves.map(\.from) == ["/data/lake", "/data"], "inner folders first")
  }

  @Test func laterFormatsAndStepsAreRefused() throws {
    let error = #expect(throws: PlatformError.self) { try BackupManifest.parse(Data(#"{"format": 2, "and": "more"}"#.utf8)) }
    #expect(error?.number == "PLT-4406")
    #expect(throws: PlatformError.self) { try BackupManifest.parse(Data("{".utf8)) }
    var manifest = Self.manifest
    manifest.database.steps = [.init(component: "catalog", number: 999, checksum: "x")]
    #expect(throws: PlatformError.self) { try manifest.migrations(among: CoordinatorProcess.migrations) }
    let first = CatalogMigrations.all[0]
    manifest.database.steps = [.init(component: "catalog", number: 1, checksum: first.checksum)]
    #expect(try manifest.migrations(among: CoordinatorProcess.migrations).map(\.name) == [first.name])
  }

  static let manifest = BackupManifest(
    id: "i", createdAt: Date(timeIntervalSince1970: 0), platform: "0", home: "/h", storage: "/h",
    database: .init(steps: [], tables: [], sequences: []), tables: [], leftOut: [], objects: 0, bytes: 0, objectsDigest: "")

  // MARK: the folder

  /// A backup of one file.
  private func small(_ folder: TemporaryDirectory) throws -> BackupFolder {
    let writer = try BackupWriter(folder.file("b"))
    try writer.add("storage/lake/file") { put in try Data("content".utf8).withUnsafeBytes { try put($0) } }
    _ = try writer.finish(Self.manifest)
    return BackupFolder(path: folder.file("b"))
  }

  @Test func everyDamageIsFound() throws {
    let folder = TemporaryDirectory("backup")
    let backup = try small(folder)
    #expect(try ClusterBackup.look(backup, { _ in }).damaged.isEmpty)
    let file = backup.file("storage/lake/file")
    for (what, change) in [
      ("bytes", { try Data("contenu".utf8).write(to: URL(fileURLWithPath: file)) }),
      ("bytes instead", { try Data("con".utf8).write(to: URL(fileURLWithPath: file)) }),
      ("missing", { try FileManager.default.removeItem(atPath: file) }),
    ] as [(String, () throws -> Void)] {
      try change()
      let damaged = try ClusterBackup.look(backup, { _ in }).damaged
      #expect(damaged.count == 1 && damaged[0].path == "storage/lake/file" && damaged[0].what.contains(what), "\(damaged)")
    }
    for name in [BackupFolder.objectsName, BackupFolder.manifestDigestName, BackupFolder.manifestName] {
      var data = try #require(FileManager.default.contents(atPath: backup.file(name)))
      data[data.startIndex + 5] ^= 1
      try data.write(to: URL(fileURLWithPath: backup.file(name)))
      let error = #expect(throws: PlatformError.self) { try backup.open() }
      #expect(error?.number == "PLT-4402", "\(name): \(String(describing: error))")
    }
  }

  @Test func whatWasBegunIsNoBackupAndIsMadeAnew() throws {
    let folder = TemporaryDirectory("backup")
    let target = folder.file("b")
    do {
      let writer = try BackupWriter(target)
      try writer.add("storage/lake/half") { put in try Data("half".utf8).withUnsafeBytes { try put($0) } }
      for path in [target, target + ".partial"] {
        let error = #expect(throws: PlatformError.self) { try BackupFolder(path: path).open() }
        #expect(["PLT-4401", "PLT-4402"].contains(error?.number), "\(String(describing: error))")
      }
      let second = #expect(throws: PlatformError.self) { try BackupWriter(target) }
      #expect(second?.code == .conflict, "two at once")
      // Here the process is killed: the lock is gone with it, the files stay.
    }
    let backup = try small(folder)
    #expect(try backup.open().objects.map(\.path) == ["storage/lake/file"], "nothing of the first")
    #expect(!FileManager.default.fileExists(atPath: target + ".partial"))
    let third = #expect(throws: PlatformError.self) { try BackupWriter(target) }
    #expect(third?.code == .alreadyExists)
  }

  // MARK: a cluster

  /// A cluster's folders and database without its processes.
  private struct Cluster {
    let layout: DataLayout
    let server: PrivatePostgres
    let pool: PostgresPool
    let catalog: CatalogStore
    var entry: TableEntry

    init(_ root: String) async throws {
      layout = DataLayout(root: root)
      try layout.create()
      server = try await PrivatePostgres.start(directory: layout.postgres, diesWithParent: true)
      pool = try PostgresPool(PostgresConfiguration(connectionString: server.connectionString, poolSize: 2))
      try await Migrator(pool: pool, migrations: CoordinatorProcess.migrations).migrate()
      catalog = CatalogStore(pool: pool)
      try await catalog.bootstrap()
      entry = try await catalog.table(ThreePartName("main.default.t"), creatingIn: layout.lake, columns: [], by: "ann")
      _ = try LakeTables.log(entry.location).create(schema: StructType(fields: [StructField(name: "id", type: .primitive("long"))]))
      try append("a")
      try append("b")
      try layout.writePrivate(Data("secret".utf8), to: layout.sealingKey)
      try layout.writePrivate(Data("token".utf8), to: layout.adminTokenFile)
    }

    func append(_ name: String) throws {
      try Data(name.utf8).write(to: URL(fileURLWithPath: "\(entry.location)/\(name)"))
      _ = try LakeTables.log(entry.location).append([AddFile(relativePath: name, size: 1, statistics: ["numRecords": 1])])
    }

    /// The table becomes another file, and the old ones are deleted as VACUUM without a retention does.
    func replace(by name: String) throws {
      let log = try LakeTables.log(entry.location)
      let before = try log.snapshot()
      try Data(name.utf8).write(to: URL(fileURLWithPath: "\(entry.location)/\(name)"))
      _ = try log.overwrite([AddFile(relativePath: name, size: 1, statistics: ["numRecords": 1])], readVersion: before.version)
      for file in before.filesByPath.keys { try FileManager.default.removeItem(atPath: "\(entry.location)/\(file)") }
    }

    func files() throws -> Set<String> { Set(try LakeTables.log(entry.location).snapshot().filesByPath.keys) }
  }

  @Test func aRestoredClusterIsTheOneThatWasThere() async throws {
    let folder = TemporaryDirectory("restore")
    chmod(folder.path, 0o755)
    let cluster = try await Cluster(folder.file("one"))
    defer { cluster.pool.close() }
    let target = folder.file("backup")
    let rounds = Mutex(0)
    let connection = cluster.server.connectionString
    let manifest = try await BlockingPool.shared.run {
      var creation = BackupCreation(layout: cluster.layout, connectionString: connection, writer: try BackupWriter(target), report: { _ in })
      creation.behind = { phase in
        guard phase == .objects,
          rounds.withLock({
            $0 += 1; return $0
          }) == 1
        else { return }
        // Between the logs and the files: what the logs name is vacuumed, and something new is committed.
        try cluster.replace(by: "c")
      }
      return try creation.run()
    }
    #expect(rounds.withLock { $0 } == 2, "it was noticed, and done again")
    #expect(manifest.tables.map(\.version) == [3] && manifest.tables[0].files == 1, "\(manifest.tables)")
    #expect(try ClusterBackup.look(BackupFolder(path: target), { _ in }).damaged.isEmpty)
    let mode = try FileManager.default.attributesOfItem(atPath: target + "/home/keys/catalog.key")[.posixPermissions] as? Int
    #expect(mode == 0o600)

    // Whatever a log names goes before it can be copied, again and again.
    let second = folder.file("second")
    let number = Mutex(0)
    let error = await #expect(throws: PlatformError.self) {
      try await BlockingPool.shared.run {
        var creation = BackupCreation(layout: cluster.layout, connectionString: connection, writer: try BackupWriter(second), report: { _ in })
        creation.behind = { phase in
          guard phase != .checking else { return }
          let next = number.withLock { number in
            number += 1
            return number
          }
          try cluster.replace(by: "x\(next)")
        }
        return try creation.run()
      }
    }
    #expect(error?.number == "PLT-4404" && error?.message.contains("x5 of main.default.t") == true, "\(String(describing: error))")
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == ["backup", "one"], "nothing is left of it")

    // Behind the backup.
    try cluster.append("later")
    _ = try await cluster.catalog.table(ThreePartName("main.default.later"), creatingIn: cluster.layout.lake, columns: [], by: "ann")

    let other = DataLayout(root: folder.file("two"))
    // Interrupted: the mark is there, and something that is not whole.
    try other.makeFolders()
    try other.writePrivate(Data(), to: other.restoringMark)
    try Data("half".utf8).write(to: URL(fileURLWithPath: other.lake + "/half"))
    let interrupted = #expect(throws: PlatformError.self) { try other.create() }
    #expect(interrupted?.number == "PLT-4407", "no cluster starts there")
    _ = try await ClusterBackup(layout: other).restore(target)
    #expect(!FileManager.default.fileExists(atPath: other.lake + "/half"))
    try other.create()

    let server = try await PrivatePostgres.start(directory: other.postgres, diesWithParent: true)
    let pool = try PostgresPool(PostgresConfiguration(connectionString: server.connectionString, poolSize: 2))
    defer { pool.close() }
    #expect(try await Migrator(pool: pool, migrations: CoordinatorProcess.migrations).migrate().isEmpty)
    let tables = try await CatalogStore(pool: pool).tables()
    #expect(tables.map { "\($0.name)" } == ["main.default.t"])
    let entry = try #require(tables.first)
    #expect(entry.location.hasPrefix(other.lake + "/") && entry.id == cluster.entry.id)
    #expect(Set(try LakeTables.log(entry.location).snapshot().filesByPath.keys) == ["c"])
    #expect(FileManager.default.contents(atPath: entry.location + "/c") == Data("c".utf8))
    #expect(FileManager.default.contents(atPath: other.adminTokenFile) == Data("token".utf8))
    #expect(FileManager.default.contents(atPath: other.sealingKey) == Data("secret".utf8))
    // Numbers go on where they were: a next entry of the audit does not meet an old one.
    try await pool.execute("INSERT INTO audit (actor, action, object, outcome) VALUES ('a', 'b', 'c', 'ok')")
    try await server.stop()

    let full = await #expect(throws: PlatformError.self) { try await ClusterBackup(layout: other).restore(target) }
    #expect(full?.number == "PLT-4405", "a cluster is not overwritten")
    try await cluster.server.stop()
  }
}
