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

/// Commits over several tables that a database decides: writers are killed, readers see all of a commit or nothing of it.
@Suite(.serialized) struct TogetherTests {
  /// Set in the writers' processes: the database's connection string, its schema, and the tables' folder and identifiers.
  static let variable = "PLATFORM_TEST_TOGETHER"
  static let given = ProcessInfo.processInfo.environment[variable].flatMap { try? JSONValue(parsing: $0) }
  static let seconds = ProcessInfo.processInfo.environment["SOAK_SECONDS"].flatMap(Double.init) ?? 6

  struct Lake {
    let tables: [CoordinatedTable]
    let store: FaultyObjectStore?

    init(_ catalog: CatalogStore, folder: String, entries: [(name: String, id: String)], isFaulty: Bool = false) throws {
      let disk = try LocalObjectStore(root: folder)
      let faulty = isFaulty ? FaultyObjectStore(disk) : nil
      store = faulty
      tables = try entries.map { entry in
        CoordinatedTable(
          DeltaTable(store: faulty ?? disk, path: try ObjectPath(entry.name), parquet: DuckDBParquetHandler()), id: entry.id,
          coordinator: CatalogCommitCoordinator(catalog: catalog, patience: .seconds(20)))
      }
    }

    func commit(_ name: String) throws -> [Int64] {
      let bases = try CoordinatedTable.snapshots(tables)
      let file = AddFile(relativePath: name, size: 1, statistics: ["numRecords": 1])
      return try MultiTableCommit(zip(tables, bases).map { .init($0, .append([file]), base: $1) }).run()
    }

    func files() throws -> [Set<String>] { try CoordinatedTable.snapshots(tables).map { Set($0.filesByPath.keys) } }
  }

  struct Place {
    let folder = TemporaryDirectory("together")
    let connection: String
    let schema = "t\(UInt32.random(in: 0 ... .max))"
    let catalog: CatalogStore
    var entries: [(name: String, id: String)] = []

    init() async throws {
      chmod(folder.path, 0o755)
      connection = try await PrivatePostgres.start(directory: folder.file("pg"), diesWithParent: true).connectionString
      let pool = try PostgresPool(PostgresConfiguration(connectionString: connection, schema: schema, poolSize: 4))
      try await Migrator(pool: pool, migrations: CatalogMigrations.all).migrate()
      catalog = CatalogStore(pool: pool)
      try await catalog.bootstrap()
      _ = try await catalog.createSchema(catalog: "main", name: "demo", comment: "", properties: [:], by: "ann")
      for name in ["features", "index"] {
        let entry = try await catalog.table(ThreePartName("main.demo.\(name)"), creatingIn: folder.file("lake"), columns: [], by: "ann")
        entries.append((name, entry.id.uuidString.lowercased()))
      }
    }

    func lake(isFaulty: Bool = false) throws -> Lake { try Lake(catalog, folder: folder.file("data"), entries: entries, isFaulty: isFaulty) }

    func create() throws {
      let schema = StructType(fields: [StructField(name: "id", type: .primitive("long"))])
      for table in try lake().tables {
        _ = try table.table.create(schema: schema, configuration: ["delta.checkpointInterval": "20"])
        try table.adopt()
      }
    }
  }

  /// In a writer's process: commits until it is killed, each noted before it begins and after it was acknowledged.
  @Test(.enabled(if: given != nil, "only a process that another test starts runs it")) func body() async throws {
    guard let given = Self.given, let connection = given["connection"]?.stringValue, let schema = given["schema"]?.stringValue,
      let folder = given["folder"]?.stringValue, let entries = given["entries"]?.objectValue
    else { return }
    let pool = try PostgresPool(PostgresConfiguration(connectionString: connection, schema: schema, poolSize: 2))
    let lake = try Lake(
      CatalogStore(pool: pool), folder: folder + "/data", entries: entries.compactMap { key, id in id.stringValue.map { (key, $0) } }.sorted { $0.0 < $1.0 })
    let journal = open("\(folder)/journal-\(UUID().uuidString)", O_WRONLY | O_CREAT | O_APPEND, 0o644)
    try await BlockingPool.shared.run {
      while !FileManager.default.fileExists(atPath: folder + "/stop") {
        let name = UUID().uuidString
        do {
          _ = try lake.commit(name)
          _ = (name + "\n").withCString { write(journal, $0, strlen($0)) }
        } catch {}  // lost, or unclear: the reader's rules hold all the same
      }
    }
  }

  @Test(.enabled(if: given == nil, "not in a process that a test has started")) func killedWritersLeaveAllOrNothing() async throws {
    let place = try await Place()
    defer { place.catalog.pool.close() }
    try await BlockingPool.shared.run { try place.create() }
    let told: JSONValue = [
      "connection": .string(place.connection), "schema": .string(place.schema), "folder": .string(place.folder.path),
      "entries": .object(Dictionary(uniqueKeysWithValues: place.entries.map { ($0.name, .string($0.id)) })),
    ]
    var environment = ProcessInfo.processInfo.environment
    environment[Self.variable] = told.sortedText
    let itself = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let start = { [environment] in
      let (ended, continuation) = AsyncStream<Never>.makeStream()
      let child = try await ChildProcess.start(
        .init(
          executable: itself, arguments: ["--testing-library", "swift-testing", "--filter", "TogetherTests/body"], environment: environment,
          outputPath: "/dev/null", errorPath: "/dev/null", deathSignal: SIGKILL)
      ) { _ in continuation.finish() }
      return (child: child, ended: ended)
    }
    var running: [(child: ChildProcess, ended: AsyncStream<Never>)] = []
    for _ in 0..<3 { running.append(try await start()) }
    let lake = try place.lake()
    func look() async throws -> [Set<String>] { try await BlockingPool.shared.run { try lake.files() } }
    let begun = ContinuousClock.now
    while try await look()[0].count < 3, ContinuousClock.now - begun < .seconds(120) { try await Task.sleep(for: .milliseconds(50)) }
    let end = ContinuousClock.now + .seconds(Self.seconds)
    var (kills, looks) = (0, 0)
    while ContinuousClock.now < end {
      let files = try await look()
      #expect(files[0] == files[1])
      looks += 1
      guard Int.random(in: 0..<4) == 0 else { continue }
      let victim = Int.random(in: 0..<running.count)
      running[victim].child.signal(SIGKILL)
      kills += 1
      running[victim] = try await start()
    }
    _ = FileManager.default.createFile(atPath: place.folder.file("stop"), contents: nil)
    for one in running.prefix(1) { one.child.signal(SIGKILL) }
    for one in running { for await _ in one.ended {} }
    let last = try await look()
    #expect(last[0] == last[1] && last[0].count >= 3 && kills >= 1 && looks >= 5, "\(last[0].count) commits, \(kills) kills, \(looks) looks")
    for name in try FileManager.default.contentsOfDirectory(atPath: place.folder.path) where name.hasPrefix("journal-") {
      for line in try String(contentsOfFile: place.folder.file(name), encoding: .utf8).split(separator: "\n") {
        #expect(last[0].contains(String(line)), "an acknowledged commit is lost")
      }
    }
    // Readers that know nothing of the coordinator come to the same once everything is published.
    for (name, _) in place.entries {
      let plain = DeltaTable(store: try LocalObjectStore(root: place.folder.file("data")), path: try ObjectPath(name), parquet: DuckDBParquetHandler())
      #expect(try Set(plain.snapshot().filesByPath.keys) == last[0])
    }
  }

  /// Each step in the store fails once; the database decides.
  @Test(.enabled(if: given == nil, "not in a process that a test has started")) func everyStepInTheStoreCanFail() async throws {
    let place = try await Place()
    defer { place.catalog.pool.close() }
    try await BlockingPool.shared.run {
      try place.create()
      let sound = try place.lake()
      var count = 0
      for step in 0..<200 {
        let lake = try place.lake(isFaulty: true)
        lake.store?.restart { $0.index == step ? [.crashBefore, .crashAfter, .error, .lostAnswer][step % 4] : nil }
        let outcome = Result { try lake.commit("step-\(step)") }
        let files = try sound.files()
        #expect(files[0] == files[1], "step \(step)")
        if case .success = outcome { #expect(files[0].contains("step-\(step)"), "step \(step)") }
        count = step
        if let steps = lake.store?.steps.count, steps <= step { break }
        // So that the log that is read, and the number of steps, stay the same.
        for table in sound.tables { try table.table.checkpoint(version: table.table.latestVersion() ?? 0) }
      }
      #expect(count > 8 && count < 199)
    }
  }

  /// What a process that died has left is removed by the next attempt; what the catalog knows, or somebody is at work in, stays.
  @Test(.enabled(if: given == nil, "not in a process that a test has started")) func foldersThatNobodyKnowsGo() async throws {
    let place = try await Place()
    defer { place.catalog.pool.close() }
    let folders = UnnamedFolders(pool: place.catalog.pool)
    let root = place.folder.file("lake/main/demo/t-run-task")
    let left = root + "-00000000"
    let other = root + "-2-00000000"
    let kept = try await place.catalog.table(
      ThreePartName("main.demo.kept"), creatingIn: place.folder.file("lake"), columns: [], by: "ann", location: root + "-11111111")
    for path in [left, other, kept.location] { try FileManager.default.createDirectory(atPath: path + "/_delta_log", withIntermediateDirectories: true) }
    let mine = try await folders.make(beside: root)
    func exist() -> [Bool] { [left, other, kept.location, mine].map { FileManager.default.fileExists(atPath: $0) } }
    #expect(exist() == [false, true, true, true])
    let second = try await folders.make(beside: root)
    #expect(exist() == [false, true, true, true] && second != mine)
    UnnamedFolders.release(mine)
    await folders.remove(try await folders.make(beside: root))
    #expect(exist() == [false, true, true, false] && FileManager.default.fileExists(atPath: second))
    await folders.remove(second)
  }

  /// The catalog's tables through `LakeTables`, with a conflict that stops all of it.
  @Test(.enabled(if: given == nil, "not in a process that a test has started")) func tablesOfTheCatalogChangeTogether() async throws {
    let place = try await Place()
    defer { place.catalog.pool.close() }
    let tables = LakeTables(catalog: place.catalog, root: place.folder.file("lake"))
    var entries: [TableEntry] = []
    for (name, _) in place.entries { entries.append(try await place.catalog.table(ThreePartName("main.demo.\(name)"))) }
    let schema = StructType(fields: [StructField(name: "id", type: .primitive("long"))])
    let all = entries
    try await BlockingPool.shared.run {
      for entry in all { _ = try LakeTables.log(entry.location).create(schema: schema) }
    }
    func add(_ name: String) -> @Sendable (Snapshot) throws -> CommitPlan {
      { _ in .append([AddFile(relativePath: name, size: 1, statistics: ["numRecords": 1])]) }
    }
    #expect(try await tables.commitTogether(entries.map { .init(entry: $0, decide: add("a")) }) == [2, 2])
    #expect(try await tables.together(entries).map { $0.files.map(\.path) } == [["a"], ["a"]])
    // Two that remove the same file: one of them does nothing at all.
    let swap: @Sendable (String) -> (Snapshot) throws -> CommitPlan = { name in
      { base in
        var change = CommitPlan.Rewrite()
        change.removed = base.files.filter { $0.path == "a" }
        guard !change.removed.isEmpty else { throw PlatformError(.conflict, "it is gone") }
        change.added = [AddFile(relativePath: name, size: 1, statistics: ["numRecords": 1])]
        return .rewrite(change, where: .unknown, read: change.removed, operation: "UPDATE")
      }
    }
    let outcomes = await withTaskGroup(of: Bool.self) { group in
      for name in ["b", "c"] {
        group.addTask {
          do {
            _ = try await tables.commitTogether([
              .init(entry: all[0], decide: { try swap(name)($0) }), .init(entry: all[1], decide: add("with-" + name)),
            ])
            return true
          } catch { return false }
        }
      }
      return await group.reduce(into: [Bool]()) { $0.append($1) }
    }
    #expect(outcomes.filter { $0 }.count == 1)
    let after = try await tables.together(entries)
    let winner = try #require(after[0].files.first?.path)
    #expect(after[0].files.map(\.path) == [winner] && Set(after[1].files.map(\.path)) == ["a", "with-" + winner])
    // The catalog's own endpoint tells the same versions.
    #expect(try await place.catalog.deltaCommits(table: entries[0].id, from: 0, to: nil).latest == after[0].version)
    // Upkeep knows such tables, too.
    #expect(after[0].tableProtocol.supports(.coordinatedCommits))
    #expect(try await BlockingPool.shared.run { try TableUpkeep.cleanLog(all[0].location) } == [])
    // Given back, it has no newest version in the catalog, and who began before is refused.
    let next = after[0].version + 1
    try await BlockingPool.shared.run {
      let table = try tables.log(all[0])
      var base = try table.snapshot()
      _ = try table.commit(FeatureRemoval.plan("platform.coordinatedCommits", base: base), onto: &base)
    }
    #expect(try await place.catalog.newestDeltaCommit(table: all[0].id) == nil)
    #expect(try await place.catalog.deltaMoment().keys.sorted { $0.uuidString < $1.uuidString } == [all[1].id])
    #expect(try await place.catalog.deltaProgress(of: [all[0].id])[all[0].id]?.latest == nil)
    func give(_ version: Int64) async throws {
      let commit = DeltaCommitEntry(version: version, fileName: "\(version).json", fileSize: 1, fileModifiedAt: 1, committedAt: 1)
      try await place.catalog.commitDelta(together: [.init(table: all[0].id, commit: commit)])
    }
    await #expect(throws: PlatformError.self) { try await give(next) }
    try await tables.requireOwnLog(all[0])
    _ = try await tables.commitTogether(entries.map { .init(entry: $0, decide: add("again")) })
    #expect(try await tables.together(entries)[0].version == next + 2)
    #expect(try await place.catalog.newestDeltaCommit(table: all[0].id) == next + 2)
    await #expect(throws: PlatformError.self) {
      try await place.catalog.commitDelta(together: [
        .init(table: UUID(), commit: DeltaCommitEntry(version: 1, fileName: "x", fileSize: 1, fileModifiedAt: 1, committedAt: 1))
      ])
    }
  }
}
