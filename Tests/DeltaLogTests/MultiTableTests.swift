// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Synchronization
import Testing

@testable import DeltaLog

/// Decides in memory, and fails as told: call `index` before it happens, or after it with the answer lost.
final class MemoryCoordinator: CommitCoordinator {
  private struct State {
    var latest: [String: Int64] = [:]
    var last: [String: Int64] = [:]
    var unpublished: [String: [DecidedCommit]] = [:]
    var calls = 0
    var fault: (index: Int, isAfter: Bool, isForGood: Bool)?
  }
  private let state = Mutex(State())

  var calls: Int { state.withLock { $0.calls } }
  func plan(_ fault: (index: Int, isAfter: Bool, isForGood: Bool)?) {
    state.withLock { state in
      state.calls = 0
      state.fault = fault
    }
  }

  private func run<T: Sendable>(_ body: (inout State) throws -> T) throws -> T {
    try state.withLock { state in
      let call = state.calls
      state.calls += 1
      let lost = PlatformError(.unavailable, "injected fault")
      guard let fault = state.fault, call == fault.index || (fault.isForGood && call > fault.index) else { return try body(&state) }
      if !fault.isAfter || call > fault.index { throw lost }
      _ = try body(&state)
      throw lost
    }
  }

  func progress(of tables: [String]) throws -> [String: TableProgress] {
    try run { state in
      Dictionary(uniqueKeysWithValues: tables.map { ($0, TableProgress(latest: state.latest[$0], unpublished: state.unpublished[$0] ?? [])) })
    }
  }

  func decide(_ commits: [DecidedCommit]) throws {
    try run { state in
      for commit in commits {
        guard state.latest[commit.table].map({ $0 + 1 == commit.version }) ?? true, commit.version > state.last[commit.table] ?? 0 else {
          throw PlatformError(.conflict, "taken")
        }
      }
      for commit in commits {
        state.latest[commit.table] = commit.version
        if commit.isLast { state.last[commit.table] = commit.version }
        state.unpublished[commit.table, default: []].append(commit)
      }
    }
  }

  func published(_ table: String, through version: Int64) throws {
    try run { state in
      state.unpublished[table]?.removeAll { $0.version <= version }
      if let last = state.last[table], last == state.latest[table], last <= version { state.latest[table] = nil }
    }
  }
}

@Suite struct MultiTableTests {
  struct Lake {
    let store = FaultyObjectStore()
    let coordinator = MemoryCoordinator()
    let names = ["a", "b", "c"]

    func table(_ name: String) throws -> CoordinatedTable {
      CoordinatedTable(try DeltaTable(store: store, path: ObjectPath(name), parquet: LineHandler()), id: "id-\(name)", coordinator: coordinator)
    }

    func tables() throws -> [CoordinatedTable] { try names.map(table) }

    func start() throws {
      for name in names {
        _ = try DeltaTable(store: store, path: ObjectPath(name), parquet: LineHandler()).create(
          schema: LogFixture().schema, configuration: ["delta.checkpointInterval": "1000"])
        #expect(try table(name).adopt() == 1 && table(name).adopt() == 1)
      }
    }

    /// A file of that name in every table.
    func commit(_ name: String) throws -> [Int64] {
      let tables = try tables()
      let bases = try CoordinatedTable.snapshots(tables)
      return try MultiTableCommit(zip(tables, bases).map { .init($0, .append([LogFixture.file(name)]), base: $1) }).run()
    }

    func files() throws -> [Set<String>] { try CoordinatedTable.snapshots(tables()).map { Set($0.files.map(\.path)) } }
  }

  @Test func tablesChangeTogether() throws {
    let lake = Lake()
    try lake.start()
    #expect(try lake.commit("x") == [2, 2, 2])
    #expect(try lake.commit("y") == [3, 3, 3])
    #expect(try lake.files() == [["x", "y"], ["x", "y"], ["x", "y"]])
    // In the log as ordinary versions, and nothing is left over.
    #expect(try lake.store.list(nil).map(\.path.text).filter { $0.contains("_staged") } == [])
    #expect(try DeltaTable(store: lake.store, path: ObjectPath("a"), parquet: LineHandler()).snapshot().version == 3)
    // Writers that do not know the coordinator stay out, also those that began before.
    let plain = try DeltaTable(store: lake.store, path: ObjectPath("a"), parquet: LineHandler())
    #expect(errorText { _ = try plain.append([LogFixture.file("z")]) }?.contains("platform.coordinatedCommits") == true)
    var early = try plain.snapshot(version: 0)
    #expect(errorCode { _ = try plain.commit(.append([LogFixture.file("z")]), onto: &early) } != nil)
    #expect(try plain.latestVersion() == 3)
    let one = try lake.table("a")
    #expect(errorCode { _ = try MultiTableCommit([.init(one, .append([]), base: early), .init(one, .append([]), base: early)]).run() } == .invalidArgument)
  }

  @Test func aConflictInOneTableStopsAll() throws {
    let lake = Lake()
    try lake.start()
    _ = try lake.commit("x")
    let tables = try lake.tables()
    let stale = try CoordinatedTable.snapshots(tables)
    func rewrite(_ name: String) -> CommitPlan {
      var change = CommitPlan.Rewrite()
      change.removed = [stale[1].files[0]]
      change.added = [LogFixture.file(name)]
      return .rewrite(change, where: .unknown, read: change.removed, operation: "UPDATE")
    }
    let first = MultiTableCommit([.init(tables[0], .append([LogFixture.file("p")]), base: stale[0]), .init(tables[1], rewrite("q"), base: stale[1])])
    let second = MultiTableCommit([.init(tables[1], rewrite("r"), base: stale[1]), .init(tables[2], .append([LogFixture.file("s")]), base: stale[2])])
    #expect(try first.run() == [3, 3])
    let error = #expect(throws: PlatformError.self) { try second.run() }
    #expect(error.flatMap { CommitConflict.kind(of: $0) } != nil)
    #expect(try lake.files() == [["x", "p"], ["q"], ["x"]])
  }

  /// The writer dies, or loses an answer, at each of its steps in the store and at the coordinator.
  @Test func everyStepCanFail() throws {
    let faults: [FaultyObjectStore.Fault] = [.crashBefore, .crashAfter, .error, .lostAnswer]
    var step = 0
    let counted = Lake()
    try counted.start()
    _ = try counted.commit("x")
    counted.store.restart()
    _ = try counted.commit("y")
    var steps = counted.store.steps.count
    while step < steps {
      for fault in faults {
        let lake = Lake()
        try lake.start()
        _ = try lake.commit("x")
        let failing = step
        lake.store.restart { $0.index == failing ? fault : nil }
        let outcome = Result { try lake.commit("y") }
        steps = max(steps, lake.store.steps.count)
        lake.store.restart()
        try check(lake, outcome, "step \(step), \(fault)")
      }
      step += 1
    }
    #expect(steps > 12)
    for isAfter in [false, true] {
      for isForGood in [false, true] {
        var call = 0
        let counted = Lake()
        try counted.start()
        _ = try counted.commit("x")
        counted.coordinator.plan(nil)
        _ = try counted.commit("y")
        var calls = counted.coordinator.calls
        while call < calls {
          let lake = Lake()
          try lake.start()
          _ = try lake.commit("x")
          lake.coordinator.plan((call, isAfter, isForGood))
          let outcome = Result { try lake.commit("y") }
          calls = max(calls, lake.coordinator.calls)
          lake.coordinator.plan(nil)
          try check(lake, outcome, "call \(call), after \(isAfter), for good \(isForGood)")
          call += 1
        }
        #expect(calls >= 3)
      }
    }
  }

  private func check(_ lake: Lake, _ outcome: Result<[Int64], any Error>, _ what: String) throws {
    let files = try lake.files()
    #expect(Set(files).count == 1, "\(what): \(files)")
    if case .success(let versions) = outcome { #expect(versions == [3, 3, 3] && files[0] == ["x", "y"], "\(what)") }
    #expect(files[0] == ["x"] || files[0] == ["x", "y"], "\(what)")
    // It goes on, and what readers without the coordinator see becomes the same.
    let versions = try lake.commit("z")
    #expect(Set(versions).count == 1, "\(what)")
    for (name, expected) in zip(lake.names, try lake.files()) {
      let plain = try DeltaTable(store: lake.store, path: ObjectPath(name), parquet: LineHandler())
      #expect(try Set(plain.snapshot().files.map(\.path)) == expected && expected == files[0].union(["z"]), "\(what)")
    }
  }

  /// Writers over overlapping tables race; readers never see a part of a commit.
  @Test(arguments: UInt64(1)...3) func readersSeeAllOrNothing(_ seed: UInt64) throws {
    let lake = Lake()
    try lake.start()
    let done = Mutex<Set<String>>([])
    let isOver = Atomic<Int>(0)
    let problems = Mutex<[String]>([])
    DispatchQueue.concurrentPerform(iterations: 5) { role in
      do {
        if role < 3 {
          defer { isOver.add(1, ordering: .relaxed) }
          for step in 0..<12 {
            _ = try lake.commit("w\(role)-\(step)")
            done.withLock { _ = $0.insert("w\(role)-\(step)") }
          }
        } else {
          while isOver.load(ordering: .relaxed) < 3 {
            let known = done.withLock { $0 }
            let files = try lake.files()
            if Set(files).count != 1 { problems.withLock { $0.append("\(files)") } }
            if !known.isSubset(of: files[0]) { problems.withLock { $0.append("lost") } }
          }
        }
      } catch { problems.withLock { $0.append("\(error)") } }
    }
    #expect(problems.withLock { $0 } == [])
    #expect(try lake.files()[0].count == 36)
    #expect(try CoordinatedTable.snapshots(lake.tables()).map(\.version) == [37, 37, 37])
  }

  /// A table is given back to its log; who began before that is told, and nothing acknowledged is lost.
  @Test func aTableIsGivenBack() throws {
    let lake = Lake()
    try lake.start()
    _ = try lake.commit("x")
    func ours() throws -> DeltaTable {
      try DeltaTable(
        store: lake.store, path: ObjectPath("a"), parquet: LineHandler(), coordination: TableCoordination(id: "id-a", coordinator: lake.coordinator))
    }
    let plain = try DeltaTable(store: lake.store, path: ObjectPath("a"), parquet: LineHandler())
    let coordinated = try ours()
    var early = try coordinated.snapshot()
    #expect(early.version == 2)
    var base = early
    // The publication fails: the next who looks makes up for it.
    lake.store.restart { $0.operation == .putIfAbsent ? .error : nil }
    _ = try coordinated.commit(FeatureRemoval.plan("platform.coordinatedCommits", base: base), onto: &base)
    lake.store.restart()
    #expect(try plain.latestVersion() == 2)
    let removed = early.files
    var change = CommitPlan.Rewrite()
    change.removed = removed
    change.added = [LogFixture.file("late")]
    let late = CommitPlan.rewrite(change, where: .unknown, read: removed, operation: "UPDATE")
    // Not at the coordinator, which knows nothing of what follows, but in the log.
    #expect(try coordinated.commit(late, onto: &early).version == 4)
    #expect(try plain.snapshot().version == 4 && !plain.snapshot().tableProtocol.supports(.coordinatedCommits))
    #expect(try plain.snapshot().files.map(\.path) == ["late"])
    // Others write, in any number; then it is taken over again.
    for name in ["p", "q"] { #expect(try plain.append([LogFixture.file(name)]).version > 4) }
    #expect(try ours().append([LogFixture.file("r")]).version == 7)
    #expect(try lake.table("a").adopt() == 8)
    #expect(try lake.commit("y") == [9, 3, 3])
    #expect(try lake.files() == [["late", "p", "q", "r", "y"], ["x", "y"], ["x", "y"]])
    // An older version brings its rows back, and not who gives out the versions.
    let again = try ours()
    var given = try again.snapshot()
    _ = try again.commit(FeatureRemoval.plan("platform.coordinatedCommits", base: given), onto: &given)
    let restored = try CommitPlan.restore(to: again.snapshot(version: 9), from: given).plan
    _ = try again.commit(restored, onto: &given)
    #expect(!given.tableProtocol.supports(.coordinatedCommits))
  }

  @Test func aVersionWrittenPastTheCoordinatorIsNamed() throws {
    let lake = Lake()
    try lake.start()
    // The publication fails, and somebody who ignores the feature takes the version.
    lake.store.restart { $0.operation == .putIfAbsent ? .error : nil }
    #expect(try lake.commit("x") == [2, 2, 2])
    lake.store.restart()
    try lake.store.put(ObjectPath("b/_delta_log/\(DeltaTable.digits(2)).json"), Data("{\"commitInfo\":{}}\n".utf8))
    let error = #expect(throws: PlatformError.self) { try lake.files() }
    #expect(error?.number == "PLT-2308" && error?.path?.contains("b/_delta_log") == true)
  }
}
