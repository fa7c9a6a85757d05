// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Synchronization
import Testing

@testable import DeltaLog

@Suite struct CommitTests {
  let store = InMemoryObjectStore()
  func table(_ features: Set<TableFeature> = TableFeature.writtenByData, cache: SnapshotCache? = nil) throws -> DeltaTable {
    try DeltaTable(store: store, path: ObjectPath("t"), parquet: LineHandler(), dataFeatures: features, cache: cache)
  }

  static let schema = StructType(fields: [
    StructField(name: "p", type: .primitive("string")), StructField(name: "id", type: .primitive("long")),
  ])

  static func file(_ path: String, _ p: String? = "x", rows: Int = 10) -> AddFile {
    AddFile(relativePath: path, size: 10, statistics: ["numRecords": .integer(Int64(rows))], partitionValues: ["p": p])
  }

  func create(_ configuration: [String: String] = [:], features: Set<TableFeature> = []) throws -> Snapshot {
    _ = try table().create(schema: Self.schema, partitionColumns: ["p"], configuration: configuration, features: features)
    return try table().snapshot()
  }

  @Test func plansRebaseBehindHarmlessWinners() throws {
    var stale = try create()
    _ = try table().append([Self.file("a"), Self.file("b", "y")])
    stale = try table().snapshot()
    var other = stale
    let plan = try CommitPlan.replaceWhere(.compare(column: ["p"], .equal, .string("x")), [Self.file("c")], base: stale)
    _ = try table().commit(.append([Self.file("d", "y")]), onto: &other)
    let outcome = try table().commit(plan, onto: &stale)
    #expect(outcome.version == 3 && stale.version == 3 && stale.files.map(\.path) == ["b", "c", "d"])
    #expect(try table().snapshot().files == stale.files)
    // The same condition, decided before: now another writer has replaced what it read.
    var late = try table().snapshot(version: 2)
    let error = #expect(throws: PlatformError.self) { try table().commit(plan, onto: &late) }
    #expect(error.flatMap { CommitConflict.kind(of: $0) } == .concurrentAppend || error.flatMap { CommitConflict.kind(of: $0) } == .concurrentDeleteRead)
    #expect(late.version == 3)
  }

  @Test func replaceWhereTakesWholePartitionsOnly() throws {
    var base = try create()
    _ = try table().append([Self.file("a"), Self.file("b", "y"), Self.file("n", nil)])
    base = try table().snapshot()
    let isX = FilePredicate.compare(column: ["P"], .equal, .string("x"))
    #expect(errorText { _ = try CommitPlan.replaceWhere(isX, [Self.file("c", "y")], base: base) }?.contains("outside") == true)
    #expect(errorText { _ = try CommitPlan.replaceWhere(.isNull(["id"]), [], base: base) }?.contains("no partition column") == true)
    #expect(try CommitPlan.deletePartitions(.isNull(["p"]), base: base).actions.count == 1)
    #expect(try CommitPlan.deletePartitions(.not(isX), base: base).actions.count == 1)
    let dynamic = CommitPlan.dynamicOverwrite([Self.file("c", "y"), Self.file("d", nil)], base: base)
    _ = try table().commit(dynamic, onto: &base)
    #expect(base.files.map(\.path) == ["a", "c", "d"])
    _ = try table().commit(.overwrite([Self.file("e")], base: base), onto: &base)
    #expect(base.files.map(\.path) == ["e"] && base.removedFiles.count == 5)
  }

  @Test func appendOnlyTablesAllowRearrangementOnly() throws {
    var base = try create(["delta.appendOnly": "true"])
    _ = try table().append([Self.file("a")])
    base = try table().snapshot()
    #expect(errorCode { _ = try table().commit(.overwrite([], base: base), onto: &base) } == .permissionDenied)
    _ = try table().commit(.rearrange(removed: base.files, added: [Self.file("b")]), onto: &base)
    #expect(base.files.map(\.path) == ["b"] && base.files[0].dataChange == false)
  }

  @Test func brokenPlansAreRefused() throws {
    var base = try create(features: [.deletionVectors])
    _ = try table().append([Self.file("a")])
    base = try table().snapshot()
    let a = base.files[0]
    let vector = DeletionVectorDescriptor.inline(DeletionVector([1, 2]))
    var withoutStatistics = Self.file("s")
    withoutStatistics.stats = nil
    withoutStatistics.deletionVector = vector
    var mapped = base.metadata
    mapped.configuration["delta.columnMapping.mode"] = "name"
    let cases: [([Action], String)] = [
      ([.add(Self.file("b")), .add(Self.file("b"))], "twice"), ([.remove(RemoveFile(Self.file("zz"), deletionTimestamp: 1))], "not part"),
      ([.add(AddFile(path: "q", partitionValues: [:], size: 1, modificationTime: 1))], "partition values"),
      ([.add(a.with(vector, now: 1))], "without the removal"), ([.add(withoutStatistics)], "numRecords"),
      ([.add(a), .remove(RemoveFile(a, deletionTimestamp: 1))], "add and remove"), ([.metadata(mapped)], "columnMapping"),
      ([.protocol(TableProtocol())], "cannot lose"), ([.commitInfo(CommitInfo())], "commitInfo"),
      ([.domain(DomainMetadata(domain: "x", configuration: ""))], "domainMetadata"),
      ([.transaction(AppTransaction(appId: "a", version: 1)), .transaction(AppTransaction(appId: "a", version: 2))], "twice"),
      ([.metadata(base.metadata), .metadata(base.metadata)], "two"),
      ([.add(AddFile(path: "../x", partitionValues: ["p": "x"], size: 1, modificationTime: 1))], "leaves"),
    ]
    for (actions, expected) in cases {
      let text = errorText { _ = try table().commit(CommitPlan(actions, operation: "X"), onto: &base) }
      #expect(text?.contains(expected) == true, "\(expected): \(text ?? "no error")")
    }
    #expect(try table().snapshot().version == 1)
  }

  @Test func deletionVectorsReplaceEachOther() throws {
    var base = try create(["delta.enableDeletionVectors": "true"])
    _ = try table().append([Self.file("a")])
    base = try table().snapshot()
    for rows in [[UInt64(1)], [1, 5]] {
      var rewrite = CommitPlan.Rewrite()
      rewrite.deleted = [(base.files[0], .inline(DeletionVector(rows)))]
      _ = try table().commit(.rewrite(rewrite, where: .unknown, read: base.files, operation: "DELETE"), onto: &base)
      let again = try table().snapshot()
      #expect(again.files.count == 1 && again.rowCount == Int64(10 - rows.count) && again.files[0].stats?.contains("\"tightBounds\":false") == true)
      #expect(try table().deletionVector(of: again.files[0]) == DeletionVector(rows))
    }
    #expect(base.removedFiles.count == 2)
    // Both writers delete from the same file: the second has to look again.
    var late = try table().snapshot(version: 2)
    var rewrite = CommitPlan.Rewrite()
    rewrite.deleted = [(late.files[0], .inline(DeletionVector([7])))]
    let error = #expect(throws: PlatformError.self) {
      try table().commit(.rewrite(rewrite, where: .compare(column: ["p"], .equal, .string("none")), read: late.files, operation: "DELETE"), onto: &late)
    }
    #expect(error.flatMap { CommitConflict.kind(of: $0) } == .concurrentDeleteRead)
  }

  @Test func rowIdsAreNeverGivenTwice() throws {
    _ = try create(["delta.enableRowTracking": "true", RowTracking.rowIdColumnProperty: "_a", RowTracking.rowCommitVersionColumnProperty: "_b"])
    let table = try table()
    let stale = try table.snapshot()
    for index in 0..<3 { _ = try table.append([Self.file("f\(index)", rows: 5 + index), Self.file("g\(index)", rows: 0)]) }
    var late = stale
    _ = try table.commit(.append([Self.file("late", rows: 7)]), onto: &late)
    let snapshot = try table.snapshot()
    #expect(try RowTracking.highWaterMark(snapshot.domains) == 24)
    #expect(snapshot.filesByPath["late"]?.baseRowId == 18 && snapshot.filesByPath["late"]?.defaultRowCommitVersion == 4)
    var ranges: Set<Int64> = []
    for file in snapshot.files {
      let base = try #require(file.baseRowId)
      for row in base..<base + (file.physicalRowCount ?? 0) { #expect(ranges.insert(row).inserted) }
    }
    // Recommitted files keep their ids; removals carry them.
    var base = snapshot
    var again = try #require(snapshot.filesByPath["f0"])
    (again.baseRowId, again.defaultRowCommitVersion) = (nil, nil)
    again.tags = ["new": "tag"]
    _ = try table.commit(
      CommitPlan([.add(again), .remove(RemoveFile(snapshot.filesByPath["f1"]!, deletionTimestamp: 1))], reads: .everything, operation: "X"), onto: &base)
    #expect(base.filesByPath["f0"]?.baseRowId == 0 && base.filesByPath["f0"]?.defaultRowCommitVersion == 1)
    #expect(base.removedFiles.first?.baseRowId == 5)
    var bare = Self.file("bare")
    bare.stats = nil
    #expect(errorText { _ = try table.append([bare]) }?.contains("numRecords") == true)
  }

  @Test func inCommitTimestampsRiseAndTellWhenTheyBegan() throws {
    var base = try create()
    _ = try table().append([Self.file("a")])
    base = try table().snapshot()
    var metadata = base.metadata
    metadata.configuration["delta.enableInCommitTimestamps"] = "true"
    let upgrade: [Action] = [.protocol(base.tableProtocol.adding([.inCommitTimestamp])), .metadata(metadata)]
    _ = try table().commit(CommitPlan(upgrade, reads: .everything, operation: "SET TBLPROPERTIES"), onto: &base)
    let first = try #require(base.commitInfo?.inCommitTimestamp)
    #expect(base.metadata.configuration["delta.inCommitTimestampEnablementVersion"] == "2")
    #expect(base.metadata.configuration["delta.inCommitTimestampEnablementTimestamp"] == "\(first)")
    var last = first
    for index in 0..<20 {
      // Also from a base that came out of a checkpoint and knows no commit.
      if index == 10 { base.commitInfo = nil }
      _ = try table().commit(.append([Self.file("f\(index)")]), onto: &base)
      let time = try #require(base.commitInfo?.inCommitTimestamp)
      #expect(time > last)
      last = time
    }
    guard case .commitInfo? = try table().commit(5).first else { return #expect(Bool(false), "commitInfo comes first") }
    #expect(try table().version(atTimestampMilliseconds: last) == 22)
  }

  @Test func featuresComeWithWhatUsesThem() throws {
    let base = try create(
      ["delta.enableChangeDataFeed": "true", "delta.constraints.c": "id > 0", "delta.enableDeletionVectors": "true"])
    #expect(base.tableProtocol.minReaderVersion == 3)
    for feature in [TableFeature.changeDataFeed, .checkConstraints, .deletionVectors, .appendOnly, .invariants] {
      #expect(base.tableProtocol.supports(feature))
    }
    // A writer of files that knows no constraints may not write.
    var other = base
    let blind = try table([.deletionVectors])
    #expect(errorText { _ = try blind.commit(.append([Self.file("a")]), onto: &other) }?.contains("writer features checkConstraints") == true)
    #expect(errorCode { _ = try table().create(schema: Self.schema) } == .alreadyExists)
  }

  @Test func theChangeFeedNeedsItsFiles() throws {
    var base = try create(["delta.enableChangeDataFeed": "true", "delta.enableDeletionVectors": "true"])
    _ = try table().append([Self.file("a")])
    base = try table().snapshot()
    var rewrite = CommitPlan.Rewrite()
    rewrite.deleted = [(base.files[0], .inline(DeletionVector([1])))]
    let plan = CommitPlan.rewrite(rewrite, where: .all, read: base.files, operation: "DELETE")
    #expect(errorText { _ = try table().commit(plan, onto: &base) }?.contains("change files") == true)
    rewrite.changes = [ChangeFile(path: "_change_data/c.parquet", partitionValues: ["p": "x"], size: 3)]
    _ = try table().commit(.rewrite(rewrite, where: .all, read: base.files, operation: "DELETE"), onto: &base)
    #expect(try ChangeDataFeed.changes(table().commit(2), version: 2, timestampMilliseconds: 9).map(\.kind) == [.recorded])
    #expect(try ChangeDataFeed.changes(table().commit(1), version: 1, timestampMilliseconds: 9).map(\.kind) == [.inserted])
  }

  @Test func cachedWritersLoseNothing() throws {
    let table = try table(cache: SnapshotCache())
    let other = try self.table()
    _ = try create()
    let problems = Mutex<[String]>([])
    DispatchQueue.concurrentPerform(iterations: 6) { writer in
      for index in 0..<25 {
        do {
          let mine = writer % 2 == 0 ? table : other
          let mark = AppTransaction(appId: "w\(writer)", version: Int64(index))
          _ = try mine.append([Self.file("w\(writer)-\(index)")], transaction: mark)
          if index % 5 == 0 { #expect(try mine.append([Self.file("again")], transaction: mark).isReplay) }
        } catch { problems.withLock { $0.append("\(error)") } }
      }
    }
    #expect(problems.withLock { $0 } == [])
    #expect(try other.snapshot().files.count == 150 && table.latest().version == 150)
    #expect(try table.latest().files.map(\.path) == other.snapshot().files.map(\.path))
  }

  @Test func cachesNoticeAReplacedTable() throws {
    let cached = try table(cache: SnapshotCache())
    _ = try create()
    for index in 0..<5 { _ = try cached.append([Self.file("f\(index)")]) }
    for info in try store.list(ObjectPath("t")) { try store.delete(info.path) }
    #expect(errorCode { _ = try cached.latest() } == .notFound)
    _ = try create()
    #expect(try cached.append([Self.file("new")]).version == 1)
    #expect(try cached.latest().files.map(\.path) == ["new"])
    // Protocols that shut this reader out are seen behind the cache, too.
    let future = TableProtocol(minReaderVersion: 3, minWriterVersion: 7, readerFeatures: ["future"], writerFeatures: ["future"])
    try store.put(ObjectPath("t/_delta_log/\(LogFixture.name(2)).json"), Action.encode([.protocol(future)]))
    for _ in 0..<2 {
      #expect(errorText { _ = try cached.latest() }?.contains("future") == true)
      #expect(errorText { _ = try cached.append([Self.file("x")]) }?.contains("future") == true)
    }
  }

  @Test func checkpointsOfTheSecondKindAreReadBack() throws {
    _ = try create(["delta.checkpointPolicy": "v2", "delta.checkpointInterval": "3"])
    for index in 1...7 { _ = try table().append([Self.file("f\(index)")], transaction: AppTransaction(appId: "a", version: Int64(index))) }
    let whole = try table().snapshot()
    #expect(try table().listing().checkpoints.keys.sorted() == [3, 6])
    for version in 0..<6 { try store.delete(ObjectPath("t/_delta_log/\(LogFixture.name(version)).json")) }
    let again = try table().snapshot()
    #expect(again.files.map(\.path) == whole.files.map(\.path) && again.transactions == whole.transactions)
  }
}
