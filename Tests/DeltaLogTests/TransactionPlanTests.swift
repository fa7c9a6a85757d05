// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Testing

@testable import DeltaLog

/// Several changes of a table as one commit, and tables whose versions a coordinator gives out among ordinary writers.
@Suite struct TransactionPlanTests {
  private func base(_ configuration: [String: String] = [:], files: [AddFile] = [LogFixture.file("old"), LogFixture.file("other")]) throws -> Snapshot {
    let fixture = LogFixture()
    let features = TableFeature.used(by: TableMetadata(schema: fixture.schema, configuration: configuration), fixture.schema)
    try fixture.start(.supporting(features.union([.deletionVectors])), configuration: configuration)
    if !files.isEmpty { try fixture.commit(1, files.map { .add($0) }) }
    return try fixture.table.snapshot()
  }

  private func delete(_ path: String, vector: String? = nil, _ base: Snapshot) throws -> CommitPlan {
    var change = CommitPlan.Rewrite()
    let file = try #require(base.filesByPath[path])
    if let vector {
      change.deleted = [(file, DeletionVectorDescriptor(storage: .inline, pathOrInlineDv: vector, offset: nil, sizeInBytes: 4, cardinality: 1))]
    } else {
      change.removed = [file]
    }
    return .rewrite(change, where: .all, read: base.files, operation: "DELETE")
  }

  private func paths(_ plan: CommitPlan) -> (removed: [String], added: [String]) {
    var found: (removed: [String], added: [String]) = ([], [])
    for action in plan.actions {
      if case .remove(let file) = action { found.removed.append(file.path + (file.deletionVector.map { ":" + $0.pathOrInlineDv } ?? "")) }
      if case .add(let file) = action { found.added.append(file.path + (file.deletionVector.map { ":" + $0.pathOrInlineDv } ?? "")) }
    }
    return found
  }

  @Test func changesOfATableBecomeOneCommit() throws {
    let base = try base()
    var steps: [CommitPlan] = []
    func now() throws -> Snapshot { try base.behind(steps, data: [.deletionVectors]) }
    steps.append(.append([LogFixture.file("a"), LogFixture.file("b")]))
    steps.append(try delete("old", vector: "v1", now()))
    steps.append(try delete("a", vector: "v2", now()))
    steps.append(try delete("old", vector: "v3", now()))
    steps.append(try delete("b", now()))
    #expect(try now().version == base.version && Set(now().filesByPath.keys) == ["a", "old", "other"])
    let whole = try CommitPlan.combined(steps, base: base)
    // Of what came and went within, nothing is left.
    #expect(paths(whole).removed == ["old"] && paths(whole).added == ["a:v2", "old:v3"])
    #expect(try Set(base.behind([whole], data: [.deletionVectors]).files) == Set(now().files))
    #expect(whole.operation == "TRANSACTION" && whole.operationParameters["statements"] == ["WRITE", "DELETE", "DELETE", "DELETE", "DELETE"])
    #expect(whole.reads.predicates == [.all] && whole.reads.files.isSuperset(of: ["old", "other", "a"]))
    // It is one that the log takes, and travels as text.
    let fixture = LogFixture()
    try fixture.start(base.tableProtocol)
    try fixture.commit(1, base.files.map { .add($0) })
    var there = try fixture.table.snapshot()
    let text = try JSONValue(encoding: whole).sortedText
    let same: CommitPlan = try JSONValue(parsing: text).decode()
    #expect(same.actions == whole.actions && same.reads == whole.reads && same.operationParameters == whole.operationParameters)
    _ = try fixture.table.commit(same, onto: &there)
    #expect(try Set(fixture.table.snapshot().filesByPath.keys) == ["a", "old", "other"])
    #expect(try CommitPlan.combined([steps[0]], base: base).operation == "WRITE")
    // Everything goes, and comes anew.
    let over = try CommitPlan.combined(steps + [.overwrite([LogFixture.file("new")], base: now())], base: base)
    #expect(paths(over).removed == ["old", "other"] && paths(over).added == ["new"])
  }

  @Test(arguments: ["delta.enableChangeDataFeed", "delta.enableRowTracking"]) func rowsThatAreTrackedChangeOnce(_ property: String) throws {
    let base = try base([property: "true"], files: [])
    let more: [CommitPlan] = [.append([LogFixture.file("a")]), .append([LogFixture.file("b")])]
    #expect(paths(try CommitPlan.combined(more, base: base)).added == ["a", "b"])
    let after = try base.behind([more[0]], data: [])
    #expect(errorText { _ = try CommitPlan.combined([more[0], .overwrite([], base: after)], base: base) }?.contains("several that only insert") == true)
    #expect(errorCode { try CommitPlan.requireChangeable(base, isFirst: false) } == .invalidArgument)
    try CommitPlan.requireChangeable(base, isFirst: true)
  }

  // MARK: ordinary writers of coordinated tables

  private struct One {
    let store = FaultyObjectStore()
    let coordinator = MemoryCoordinator()

    func table(_ cache: SnapshotCache? = nil) throws -> DeltaTable {
      try DeltaTable(
        store: store, path: ObjectPath("a"), parquet: LineHandler(), cache: cache, coordination: TableCoordination(id: "id-a", coordinator: coordinator))
    }

    func start() throws {
      _ = try table().create(schema: LogFixture().schema, configuration: ["delta.checkpointInterval": "1000"])
      try CoordinatedTable(table(), id: "id-a", coordinator: coordinator).adopt()
    }

    func files() throws -> Set<String> { try Set(table().snapshot().filesByPath.keys) }
  }

  @Test func ordinaryWritersAskTheCoordinator() throws {
    let one = One()
    try one.start()
    let table = try one.table(SnapshotCache(groupsAppends: true))
    #expect(try table.append([LogFixture.file("x")]).version == 2)
    #expect(try one.coordinator.progress(of: ["id-a"])["id-a"]?.latest == 2)
    #expect(try table.overwrite([LogFixture.file("y")], readVersion: 2).version == 3)
    let coordinated = try CoordinatedTable(one.table(), id: "id-a", coordinator: one.coordinator)
    let stale = try table.latest()
    #expect(try MultiTableCommit([.init(coordinated, .append([LogFixture.file("z")]), base: stale)]).run() == [4])
    // Behind what others have done since, whoever decided it.
    var base = stale
    #expect(try table.commit(.append([LogFixture.file("q")]), onto: &base).version == 5)
    #expect(try table.latest().filesByPath.keys.sorted() == ["q", "y", "z"])
    #expect(try one.store.list(nil).map(\.path.text).filter { $0.contains("_staged") } == [])
    // A copy of the table has versions of its own.
    let copy = try DeltaTable(store: one.store, path: ObjectPath("copy"), parquet: LineHandler())
    _ = try copy.create(schema: LogFixture().schema, features: base.tableProtocol.features)
    #expect(try !copy.snapshot().tableProtocol.supports(.coordinatedCommits))
    // Taken back, the log alone counts again.
    let change = try FeatureRemoval.plan("platform.coordinatedCommits", base: base)
    _ = try table.commit(change, onto: &base)
    let plain = try DeltaTable(store: one.store, path: ObjectPath("a"), parquet: LineHandler())
    #expect(try plain.append([LogFixture.file("r")]).version == 7)
  }

  @Test func readersFinishWhatWasDecided() throws {
    let one = One()
    try one.start()
    let cache = SnapshotCache()
    _ = try one.table(cache).latest()
    one.store.restart { $0.operation == .putIfAbsent ? .error : nil }
    #expect(try one.table().append([LogFixture.file("x")]).version == 2)
    one.store.restart()
    let plain = try DeltaTable(store: one.store, path: ObjectPath("a"), parquet: LineHandler())
    #expect(try plain.snapshot().version == 1, "in no log yet")
    #expect(try one.table(cache).latest().version == 2)
    #expect(try plain.snapshot().version == 2)
    #expect(try one.coordinator.progress(of: ["id-a"])["id-a"]?.unpublished == [])
  }

  /// The writer dies, or loses an answer, at each of its steps.
  @Test func everyStepOfAnOrdinaryWriterCanFail() throws {
    let faults: [FaultyObjectStore.Fault] = [.crashBefore, .crashAfter, .error, .lostAnswer]
    var step = 0
    var steps = 1
    while step < steps {
      for fault in faults {
        let one = One()
        try one.start()
        _ = try one.table().append([LogFixture.file("x")])
        let failing = step
        one.store.restart { $0.index == failing ? fault : nil }
        let outcome = Result { try one.table().append([LogFixture.file("y")]).version }
        steps = max(steps, one.store.steps.count)
        one.store.restart()
        let files = try one.files()
        #expect(files == ["x"] || files == ["x", "y"], "step \(step), \(fault)")
        if case .success(let version) = outcome { #expect(version == 3 && files == ["x", "y"], "step \(step), \(fault)") }
        #expect(try one.table().append([LogFixture.file("z")]).version == Int64(files.count) + 2, "step \(step), \(fault)")
        #expect(try one.files() == files.union(["z"]), "step \(step), \(fault)")
      }
      step += 1
    }
    #expect(steps > 5)
    for isAfter in [false, true] {
      for call in 0..<6 {
        let one = One()
        try one.start()
        _ = try one.table().append([LogFixture.file("x")])
        one.coordinator.plan((call, isAfter, false))
        let outcome = Result { try one.table().append([LogFixture.file("y")]).version }
        one.coordinator.plan(nil)
        let files = try one.files()
        if case .success = outcome { #expect(files == ["x", "y"], "call \(call), after \(isAfter)") }
        #expect(files == ["x"] || files == ["x", "y"], "call \(call), after \(isAfter)")
      }
    }
  }

  @Test func aRepeatedCommitOverTablesFindsItself() throws {
    let lake = MultiTableTests.Lake()
    try lake.start()
    let mark = AppTransaction(appId: "run/1", version: 1)
    func commit() throws -> [Int64] {
      let tables = try lake.tables()
      let bases = try CoordinatedTable.snapshots(tables)
      if let done = try MultiTableCommit.replayed(mark, zip(tables, bases)) { return done }
      return try MultiTableCommit(
        zip(tables, bases).map { table, base in
          var plan = CommitPlan.append([LogFixture.file("x")])
          plan.actions.append(.transaction(mark))
          return .init(table, plan, base: base)
        }
      ).run()
    }
    #expect(try commit() == [2, 2, 2])
    _ = try lake.commit("y")
    #expect(try commit() == [2, 2, 2])
    #expect(try lake.files() == [["x", "y"], ["x", "y"], ["x", "y"]])
    // On a version from before the table was adopted.
    let fresh = try DeltaTable(store: lake.store, path: ObjectPath("d"), parquet: LineHandler())
    _ = try fresh.create(schema: LogFixture().schema)
    let old = try fresh.snapshot()
    let table = CoordinatedTable(fresh, id: "id-d", coordinator: lake.coordinator)
    #expect(try table.adopt() == 1)
    #expect(try MultiTableCommit([.init(table, .append([LogFixture.file("x")]), base: old)]).run() == [2])
    #expect(try table.table.adoptedVersion(fresh.snapshot()) == 1)
  }
}
