// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Testing

@testable import DeltaLog

@Suite struct ConflictTests {
  static let schema = StructType(fields: [
    StructField(name: "p", type: .primitive("integer")), StructField(name: "id", type: .primitive("long")),
  ])

  static func file(_ path: String, p: Int?, low: Int = 0, high: Int = 9) -> AddFile {
    var file = AddFile(path: path, partitionValues: ["p": p.map(String.init)], size: 10, modificationTime: 1)
    file.stats = "{\"numRecords\":10,\"minValues\":{\"id\":\(low)},\"maxValues\":{\"id\":\(high)},\"nullCount\":{\"id\":0}}"
    return file
  }

  static func base() throws -> Snapshot {
    Snapshot(
      version: 3, tableProtocol: TableProtocol(), metadata: TableMetadata(schema: schema, partitionColumns: ["p"]), schema: schema,
      filesByPath: ["a": file("a", p: 1), "b": file("b", p: 2)], transactions: [:], domains: [:], tombstones: [:])
  }

  static func winner(_ actions: [Action], blind: Bool = false) -> [Action] {
    var info = CommitInfo()
    info.isBlindAppend = blind
    return [.commitInfo(info)] + actions
  }

  static func kind(
    _ winner: [Action], reads: TransactionReads = TransactionReads(), actions: [Action] = [.add(file("n", p: 1))],
    level: IsolationLevel = .writeSerializable
  ) throws -> CommitConflict.Kind? {
    do {
      try ConflictChecker(reads: reads, actions: actions, isolation: level, base: base()).check(winner, version: 4)
      return nil
    } catch let error as CommitConflict {
      #expect(CommitConflict.kind(of: error.platformError) == error.kind && error.platformError.code == .conflict)
      return error.kind
    }
  }

  static func p(_ value: Int64) -> FilePredicate { .compare(column: ["p"], .equal, .integer(value)) }

  @Test func blindAppendsNeverConflictWithFiles() throws {
    for winner in [
      Self.winner([.add(Self.file("x", p: 1))], blind: true), Self.winner([.add(Self.file("x", p: 1))]),
      Self.winner([.remove(RemoveFile(Self.file("a", p: 1), deletionTimestamp: 1))]),
      Self.winner([.transaction(AppTransaction(appId: "z", version: 1))]),
    ] {
      for level in [IsolationLevel.serializable, .writeSerializable, .snapshot] { #expect(try Self.kind(winner, level: level) == nil) }
    }
    #expect(try Self.kind(Self.winner([.metadata(Self.base().metadata)])) == .metadataChanged)
  }

  @Test func addedFilesCountByLevelAndCondition() throws {
    let reads = TransactionReads.matching(Self.p(1), [])
    let hit = Self.winner([.add(Self.file("x", p: 1))])
    let blindHit = Self.winner([.add(Self.file("x", p: 1))], blind: true)
    let miss = Self.winner([.add(Self.file("x", p: 2))])
    #expect(try Self.kind(hit, reads: reads) == .concurrentAppend)
    #expect(try Self.kind(blindHit, reads: reads) == nil)
    #expect(try Self.kind(blindHit, reads: reads, level: .serializable) == .concurrentAppend)
    #expect(try Self.kind(miss, reads: reads, level: .serializable) == nil)
    #expect(try Self.kind(hit, reads: reads, level: .snapshot) == nil)
    // A change of the schema has to see every file.
    let metadata = try Action.metadata(Self.base().metadata)
    #expect(try Self.kind(blindHit, reads: reads, actions: [metadata]) == .concurrentAppend)
    // Statistics tell files apart where partitions do not.
    let ids = TransactionReads.matching(.compare(column: ["id"], .greater, .integer(100)), [])
    #expect(try Self.kind(hit, reads: ids) == nil)
    #expect(try Self.kind(Self.winner([.add(Self.file("x", p: 1, high: 101))]), reads: ids) == .concurrentAppend)
    #expect(try Self.kind(miss, reads: .everything) == .concurrentAppend)
  }

  @Test func removalsConflictWithReadsAndRemovals() throws {
    let a = Self.file("a", p: 1)
    let gone = Self.winner([.remove(RemoveFile(a, deletionTimestamp: 1))])
    #expect(try Self.kind(gone, reads: .matching(Self.p(1), [a])) == .concurrentDeleteRead)
    #expect(try Self.kind(gone, reads: .matching(Self.p(2), [Self.file("b", p: 2)])) == nil)
    #expect(try Self.kind(gone, reads: .everything, level: .snapshot) == .concurrentDeleteRead)
    #expect(try Self.kind(gone, actions: [.remove(RemoveFile(a, deletionTimestamp: 2))]) == .concurrentDeleteDelete)
  }

  @Test func otherActionsConflictWithTheirLikes() throws {
    let upgrade = Action.protocol(TableProtocol.supporting([.deletionVectors]))
    #expect(try Self.kind(Self.winner([upgrade]), actions: [upgrade]) == .protocolChanged)
    #expect(try Self.kind(Self.winner([upgrade])) == nil)
    var reads = TransactionReads()
    reads.applications = ["app"]
    let progress = Self.winner([.transaction(AppTransaction(appId: "app", version: 1))])
    #expect(try Self.kind(progress, reads: reads) == .concurrentTransaction)
    #expect(try Self.kind(progress) == nil)
    let domain = Action.domain(DomainMetadata(domain: "d", configuration: ""))
    #expect(try Self.kind(Self.winner([domain]), actions: [domain]) == .domainMetadataChanged)
    #expect(try Self.kind(Self.winner([RowTracking.domainAction(4)]), actions: [RowTracking.domainAction(5)]) == nil)
  }

  @Test func rearrangementsNeedLess() {
    var file = Self.file("a", p: 1)
    file.dataChange = false
    let removal = Action.remove(RemoveFile(file, deletionTimestamp: 1, dataChange: false))
    #expect(ConflictChecker.level([.add(file), removal], table: .serializable) == .snapshot)
    #expect(ConflictChecker.level([.add(Self.file("x", p: 1)), removal], table: .serializable) == .serializable)
    #expect(ConflictChecker.level([.transaction(AppTransaction(appId: "a", version: 1))], table: .writeSerializable) == .writeSerializable)
    #expect(!ConflictChecker.isBlindAppend([.add(file), removal], TransactionReads()))
    #expect(!ConflictChecker.isBlindAppend([.add(file)], .everything) && ConflictChecker.isBlindAppend([.add(file)], TransactionReads()))
  }

  /// Random transactions on one table: whatever is let through must equal some serial order. With `Serializable` that is the
  /// order of the log: replayed in that order on a model of rows, every transaction must find what it had found when it ran.
  @Test(arguments: UInt64(1)...40) func whatIsLetThroughIsSerial(_ seed: UInt64) throws {
    var random = SplitMix64(seed: seed)
    struct Running {
      var plan: CommitPlan
      var base: Snapshot
      /// Paths that the transaction's condition selected.
      var seen: Set<String>
      var condition: FilePredicate?
    }
    let store = InMemoryObjectStore()
    let table = try DeltaTable(store: store, path: ObjectPath("t"), parquet: LineHandler())
    _ = try table.create(
      schema: Self.schema, partitionColumns: ["p"],
      configuration: ["delta.isolationLevel": "Serializable", "delta.checkpointInterval": "100000"])
    var running: [Running] = []
    var counter = 0
    var committed = 0
    for _ in 0..<80 {
      if running.count < 4 && Bool.random(using: &random) {
        let base = try table.snapshot()
        counter += 1
        let partition = Int.random(in: 0..<3, using: &random)
        let low = Int.random(in: 0..<50, using: &random)
        let fresh = Self.file("f\(counter)", p: partition, low: low, high: low + 9)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: running.append(Running(plan: .append([fresh]), base: base, seen: [], condition: nil))
        case 1:
          let condition = Self.p(Int64(partition))
          let plan = try CommitPlan.replaceWhere(condition, [fresh], base: base)
          running.append(
            Running(plan: plan, base: base, seen: Set(base.files.filter { $0.partitionValues["p"] == "\(partition)" }.map(\.path)), condition: condition))
        default:
          let condition = FilePredicate.compare(column: ["id"], .less, .integer(Int64(low)))
          let skipper = FileSkipper(base)
          let read = base.files.filter { skipper.mayMatch($0, condition) }
          var rewrite = CommitPlan.Rewrite()
          rewrite.removed = Array(read.prefix(1))
          rewrite.added = rewrite.removed.isEmpty ? [] : [fresh]
          running.append(
            Running(plan: .rewrite(rewrite, where: condition, read: read, operation: "UPDATE"), base: base, seen: Set(read.map(\.path)), condition: condition))
        }
      } else if !running.isEmpty {
        var one = running.remove(at: Int.random(in: 0..<running.count, using: &random))
        guard !one.plan.actions.isEmpty else { continue }
        let before = try table.snapshot()
        do {
          _ = try table.commit(one.plan, onto: &one.base)
          committed += 1
          if let condition = one.condition {
            // In the order of the log the transaction sees `before`: it must select the very same files.
            let skipper = FileSkipper(before)
            let now = before.files.filter { skipper.mayMatch($0, condition) }.map(\.path)
            #expect(Set(now) == one.seen, "seed \(seed)")
          }
        } catch let error as PlatformError {
          #expect(CommitConflict.kind(of: error) != nil, "seed \(seed): \(error)")
        }
      }
    }
    #expect(committed > 5, "seed \(seed)")
  }
}
