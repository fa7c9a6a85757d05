// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Synchronization
import Testing

@testable import DeltaLog

@Suite struct RaceTests {
  /// Writers race on one table while the store loses writes and answers. Every row that a writer was told is in must be there
  /// exactly once until a writer was told that it is out, and every commit must fit the version before it.
  @Test(arguments: UInt64(1)...6) func racesAndFaultsLeaveAValidLog(_ seed: UInt64) throws {
    let faults = WriteFaults()
    let store = faults.store()
    let plain = try DeltaTable(store: store, path: ObjectPath("t"), parquet: LineHandler())
    _ = try plain.create(schema: LogFixture().schema, configuration: ["delta.checkpointInterval": "7"])
    let cached = try DeltaTable(store: store, path: ObjectPath("t"), parquet: LineHandler(), cache: SnapshotCache())
    let added = Mutex<Set<String>>([])
    let removed = Mutex<Set<String>>([])
    let unknown = Mutex<Set<String>>([])
    DispatchQueue.concurrentPerform(iterations: 4) { writer in
      var random = SplitMix64(seed: seed * 100 + UInt64(writer))
      let table = writer % 2 == 0 ? plain : cached
      for step in 0..<25 {
        if Int.random(in: 0..<6, using: &random) == 0 {
          faults.add(Bool.random(using: &random) ? .error : .lostAnswer)
        }
        let name = "w\(writer)-\(step)"
        var touched = [name]
        do {
          if Bool.random(using: &random) {
            _ = try table.append([LogFixture.file(name)])
            added.withLock { _ = $0.insert(name) }
          } else {
            var base = try table.latest()
            var rewrite = CommitPlan.Rewrite()
            rewrite.removed = base.files.isEmpty ? [] : [base.files.randomElement(using: &random)!]
            rewrite.added = [LogFixture.file(name)]
            touched += rewrite.removed.map(\.path)
            _ = try table.commit(.rewrite(rewrite, where: .unknown, read: rewrite.removed, operation: "UPDATE"), onto: &base)
            added.withLock { _ = $0.insert(name) }
            removed.withLock { $0.formUnion(rewrite.removed.map(\.path)) }
          }
        } catch {
          // A conflict says that nothing happened; a fault of the store may hide a commit.
          if CommitConflict.kind(of: PlatformError.from(error)) == nil { unknown.withLock { $0.formUnion(touched) } }
        }
      }
    }
    faults.plan([])
    let end = try plain.snapshot()
    #expect(try cached.latest().files.map(\.path) == end.files.map(\.path), "seed \(seed)")
    let uncertain = unknown.withLock { $0 }
    let gone = removed.withLock { $0 }
    for path in added.withLock({ $0 }) where !uncertain.contains(path) {
      #expect((end.filesByPath[path] != nil) == !gone.contains(path), "seed \(seed): \(path)")
    }
    var model: Set<String> = []
    for version in 0...end.version {
      for action in try plain.commit(version) {
        switch action {
        case .remove(let file): #expect(model.remove(file.path) != nil, "seed \(seed), version \(version): \(file.path)")
        case .add(let file): #expect(model.insert(file.path).inserted, "seed \(seed), version \(version): \(file.path)")
        default: break
        }
      }
      if version % 10 == 0 { #expect(try Set(plain.snapshot(version: version).files.map(\.path)) == model, "seed \(seed), version \(version)") }
    }
    #expect(model == Set(end.files.map(\.path)) && end.version > 20)
  }
}
