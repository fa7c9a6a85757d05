// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Synchronization
import Testing

@testable import DeltaLog

/// A writer dies at each step that it takes: what was acknowledged stays, what was not is there whole or not at all, and
/// the table goes on.
@Suite struct CrashTests {
  static let faults: [FaultyObjectStore.Fault] = [.crashBefore, .crashAfter, .error, .lostAnswer]

  @Test(arguments: faults) func commitsAreWholeWhereverTheWriterDies(_ fault: FaultyObjectStore.Fault) throws {
    // Version 7 is due for a checkpoint, so that its steps are among those that fail. In the first round none does.
    var steps = 0
    var step = -1
    repeat {
      let store = FaultyObjectStore()
      let table = try DeltaTable(store: store, path: ObjectPath("t"), parquet: LineHandler(), cache: SnapshotCache())
      _ = try table.create(schema: LogFixture().schema, configuration: ["delta.checkpointInterval": "7"])
      for index in 1...6 { _ = try table.append([LogFixture.file("f\(index)")]) }
      let failing = step
      store.restart { $0.index == failing ? fault : nil }
      let outcome = Result { try table.append([LogFixture.file("last")], transaction: AppTransaction(appId: "a", version: 1)) }
      steps = max(steps, store.steps.count)
      store.restart()
      let fresh = try DeltaTable(store: store, path: ObjectPath("t"), parquet: LineHandler())
      let state = try fresh.snapshot()
      #expect(state.version == 6 || state.version == 7, "step \(step)")
      #expect(state.files.count == Int(state.version), "step \(step)")
      if case .success(let done) = outcome { #expect(done.version == 7 && state.version == 7, "step \(step)") }
      // Told again, it is there once.
      let again = try fresh.append([LogFixture.file("last")], transaction: AppTransaction(appId: "a", version: 1))
      #expect(again.version == 7 && again.isReplay == (state.version == 7), "step \(step)")
      #expect(try fresh.append([LogFixture.file("next")]).version == 8)
      #expect(try fresh.snapshot().files.count == 8)
      step += 1
    } while step < steps
    #expect(steps >= 6)
  }

  /// A store without atomic writes leaves a part of a checkpoint: it is passed over.
  @Test func tornCheckpointsArePassedOver() throws {
    for part in [0, 300, 999] {
      let store = FaultyObjectStore()
      let table = try DeltaTable(store: store, path: ObjectPath("t"), parquet: LineHandler())
      _ = try table.create(schema: LogFixture().schema, configuration: ["delta.checkpointInterval": "100"])
      for index in 1...6 { _ = try table.append([LogFixture.file("f\(index)")]) }
      try table.checkpoint(version: 3)
      store.restart { $0.operation == .put && $0.path?.text.contains("checkpoint") == true ? .torn(part) : nil }
      #expect(errorCode { try table.checkpoint(version: 6) } == .unavailable)
      store.restart()
      #expect(try table.snapshot().files.count == 6, "\(part)")
      // Also when the pointer names it.
      try store.put(ObjectPath("t/_delta_log/_last_checkpoint"), Data("{\"version\":6,\"size\":8}".utf8))
      #expect(try table.snapshot().files.count == 6 && table.snapshot(version: 2).files.count == 2, "\(part)")
    }
  }

  /// `_last_checkpoint` only saves time: whatever it says, the table is the same.
  @Test func liesAboutTheLastCheckpointChangeNothing() throws {
    let fixture = LogFixture()
    let table = fixture.table
    _ = try table.create(schema: fixture.schema, configuration: ["delta.checkpointInterval": "4"])
    for index in 1...10 { _ = try table.append([LogFixture.file("f\(index)")]) }
    let pointer = try ObjectPath("t/_delta_log/_last_checkpoint")
    #expect(try table.recentListing().start == 8)
    #expect(try table.recentListing().commits.count == 3)
    let lies = [
      "", "{", "[]", "{}", "{\"version\":3}", "{\"version\":4}", "{\"version\":99}", "{\"version\":-1}", "{\"version\":\"8\"}", "{\"version\":8.5}",
      "{\"version\":9223372036854775807}", "{\"version\":null}", String(repeating: "[", count: 2000),
    ]
    for text in lies {
      try fixture.store.put(pointer, Data(text.utf8))
      #expect(try table.snapshot().files.count == 10 && table.snapshot(version: 2).files.count == 2 && table.latestVersion() == 10, "\(text.prefix(30))")
    }
    try fixture.store.delete(pointer)
    #expect(try table.snapshot().files.count == 10)
  }

  /// Writers of one process that meet share commits; each append is there once, and each is told its version.
  @Test(arguments: UInt64(1)...4) func groupedAppendsAreAnsweredOneByOne(_ seed: UInt64) throws {
    let faults = WriteFaults()
    let store = faults.store()
    let table = try DeltaTable(store: store, path: ObjectPath("t"), parquet: LineHandler(), cache: SnapshotCache(groupsAppends: true))
    _ = try table.create(schema: LogFixture().schema)
    let other = try DeltaTable(store: store, path: ObjectPath("t"), parquet: LineHandler())
    let told = Mutex<[String: Int64]>([:])
    let unclear = Mutex<Set<String>>([])
    DispatchQueue.concurrentPerform(iterations: 12) { writer in
      var random = SplitMix64(seed: seed * 1000 + UInt64(writer))
      for step in 0..<15 {
        let name = "w\(writer)-\(step)"
        if writer == 0, Int.random(in: 0..<4, using: &random) == 0 { faults.add(Bool.random(using: &random) ? .error : .lostAnswer) }
        do {
          let transaction = AppTransaction(appId: name, version: 1)
          let outcome = try (writer == 11 ? other : table).append([LogFixture.file(name)], transaction: transaction)
          told.withLock { $0[name] = outcome.version }
          if step % 5 == 0 {
            let again = try table.append([LogFixture.file(name + "-again")], transaction: transaction)
            #expect(again.isReplay && again.version == outcome.version)
          }
        } catch { unclear.withLock { _ = $0.insert(name) } }
      }
    }
    faults.plan([])
    let end = try other.snapshot()
    let versions = told.withLock { $0 }
    var places: [String: Int64] = [:]
    for version in 1...end.version {
      for case .add(let file) in try other.commit(version) { #expect(places.updateValue(version, forKey: file.path) == nil, "\(file.path) twice") }
    }
    for (name, version) in versions { #expect(places[name] == version, "seed \(seed): \(name)") }
    let unknown = unclear.withLock { $0 }
    #expect(Set(places.keys).subtracting(unknown) == Set(versions.keys))
    #expect(errorCode { _ = try table.append([AddFile(path: "../x", partitionValues: [:], size: 1, modificationTime: 1)]) } == .invalidFile)
  }

  @Test func oneBadAppendDoesNotSpoilTheOthers() throws {
    func request(_ name: String, application: String? = nil, operation: String = "WRITE") -> AppendQueue.Request {
      AppendQueue.Request(
        [LogFixture.file(name)], expectedSchema: nil, transaction: application.map { AppTransaction(appId: $0, version: 1) }, operation: operation)
    }
    func count(_ requests: [AppendQueue.Request]) -> Int { AppendQueue.batch(requests).count }
    #expect(count([]) == 0 && count([request("a")]) == 1 && count([request("a"), request("b"), request("c", application: "x")]) == 3)
    #expect(count([request("a"), request("a"), request("b")]) == 1)
    #expect(count([request("a", application: "x"), request("b", application: "x")]) == 1)
    #expect(count([request("a"), request("b", operation: "COPY")]) == 1)
    #expect(count((0..<1000).map { request("f\($0)") }) == AppendQueue.requestLimit)
    let store = InMemoryObjectStore()
    let table = try DeltaTable(store: store, path: ObjectPath("t"), parquet: LineHandler(), cache: SnapshotCache(groupsAppends: true))
    _ = try table.create(schema: LogFixture().schema)
    let bad = AppendQueue.Request(
      [AddFile(path: "b", partitionValues: ["no": "column"], size: 1, modificationTime: 1)], expectedSchema: nil, transaction: nil, operation: "WRITE")
    let results = table.appendTogether([request("a"), bad, request("c")])
    #expect(results.map { (try? $0.get().version) ?? -1 } == [1, -1, 2])
    #expect(try table.snapshot().files.map(\.path) == ["a", "c"])
  }
}
