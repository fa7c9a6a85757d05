// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Testing

@testable import DeltaLog

/// Random transactions, each decided on some older version, in any order: what was committed is what one after the other
/// would have given.
@Suite struct SerialOrderTests {
  static let count = ProcessInfo.processInfo.environment["FUZZ_COUNT"].flatMap(Int.init) ?? 40

  struct Read {
    var predicate: FilePredicate
    /// nil: the whole table.
    var partition: String?
    func sees(_ file: AddFile) -> Bool { partition.map { file.partitionValues["p"] == .some(.some($0)) } ?? true }
  }

  @Test(arguments: [IsolationLevel.serializable, .writeSerializable]) func committedTransactionsHaveASerialOrder(_ level: IsolationLevel) throws {
    var committed = 0
    var refused = 0
    for seed in 0..<Self.count {
      var random = SplitMix64(seed: UInt64(seed) &* 77 &+ 5)
      let table = try DeltaTable(store: InMemoryObjectStore(), path: ObjectPath("t"), parquet: LineHandler())
      _ = try table.create(
        schema: CommitTests.schema, partitionColumns: ["p"], configuration: ["delta.isolationLevel": level.rawValue, "delta.checkpointInterval": "5"],
        files: ["x", "y", "z"].map { (name: String) in CommitTests.file("start-" + name, name) })
      var blind: Set<String> = []
      for step in 0..<30 {
        let latest = try table.snapshot()
        var base = try table.snapshot(version: max(0, latest.version - Int64.random(in: 0...4, using: &random)))
        let readVersion = base.version
        let partitions = ["x", "y", "z"]
        let partition = partitions.randomElement(using: &random)!
        let isWhole = Int.random(in: 0..<6, using: &random) == 0
        let read = Read(
          predicate: isWhole ? .all : .compare(column: ["p"], .equal, .string(partition)), partition: isWhole ? nil : partition)
        let seen = base.files.filter(read.sees)
        let name = "s\(seed)-\(step)"
        let added = CommitTests.file(name, partitions.randomElement(using: &random)!)
        var plan: CommitPlan
        let kind = Int.random(in: 0..<4, using: &random)
        switch kind {
        case 0: plan = .append([added])
        case 1: plan = CommitPlan([.add(added)], reads: .matching(read.predicate, seen), operation: "COPY")
        case 2: plan = CommitPlan(seen.map { .remove(RemoveFile($0, deletionTimestamp: 1)) }, reads: .matching(read.predicate, seen), operation: "DELETE")
        default:
          let gone = seen.randomElement(using: &random)
          plan = CommitPlan(
            [.add(added)] + (gone.map { [.remove(RemoveFile($0, deletionTimestamp: 1))] } ?? []), reads: .matching(read.predicate, seen), operation: "UPDATE")
        }
        guard !plan.actions.isEmpty else { continue }
        do {
          let outcome = try table.commit(plan, onto: &base)
          committed += 1
          let before = try table.snapshot(version: outcome.version - 1)
          var there = Set(before.files.filter(read.sees).map(\.path))
          // At the weaker level rows that were added without reading may be ordered behind a change that did not see them.
          if level == .writeSerializable, kind != 0 {
            for version in readVersion + 1..<max(outcome.version, readVersion + 1) {
              for case .add(let file) in try table.commit(version) where blind.contains(file.path) && !seen.contains(where: { $0.path == file.path }) {
                there.remove(file.path)
              }
            }
          }
          if kind != 0 { #expect(there == Set(seen.map(\.path)), "seed \(seed), step \(step): read at \(readVersion), committed as \(outcome.version)") }
          if kind == 0 { blind.insert(name) }
          // The change is exactly what was planned.
          let after = try table.snapshot(version: outcome.version)
          var expected = Set(before.files.map(\.path))
          for action in plan.actions {
            if case .remove(let file) = action { #expect(expected.remove(file.path) != nil) }
            if case .add(let file) = action { #expect(expected.insert(file.path).inserted) }
          }
          #expect(Set(after.files.map(\.path)) == expected, "seed \(seed), step \(step)")
        } catch let error as PlatformError {
          refused += 1
          #expect(CommitConflict.kind(of: error) != nil && kind != 0, "seed \(seed), step \(step): \(error)")
          // Refused for a reason: something that was read, or is removed, has changed.
          let now = Set(latest.files.filter(read.sees).map(\.path))
          #expect(level == .writeSerializable || latest.version > readVersion, "seed \(seed), step \(step)")
          if CommitConflict.kind(of: error) == .concurrentDeleteRead { #expect(!Set(seen.map(\.path)).isSubset(of: now) || latest.version > readVersion) }
        }
      }
    }
    #expect(committed > Self.count * 8 && refused > Self.count)
  }
}
