// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Testing

@testable import DeltaLog

@Suite struct MaintenanceTests {
  static let day: Int64 = 86_400_000

  static func candidate(_ name: String, _ day: Int64) throws -> LogCleanup.Candidate {
    LogCleanup.Candidate(path: try ObjectPath("t/_delta_log/" + name), modifiedMilliseconds: day * Self.day)
  }

  @Test func logsAreCutAtACheckpoint() throws {
    // One commit a day, checkpoints at 10 and 20, a compaction around 10.
    var files = try (0...29).map { try Self.candidate("\(LogFixture.name($0)).json", Int64($0)) }
    for version in [10, 20] { files.append(try Self.candidate("\(LogFixture.name(version)).checkpoint.parquet", Int64(version))) }
    files.append(try Self.candidate("\(LogFixture.name(9)).\(LogFixture.name(12)).compacted.json", 12))
    files.append(try Self.candidate("\(LogFixture.name(3)).crc", 3))
    files.append(try Self.candidate("_last_checkpoint", 20))
    func expired(_ now: Int64, _ days: Int64) -> [String] {
      LogCleanup.expired(files.shuffled(), prefix: "t/_delta_log/", now: now * Self.day, retentionMilliseconds: days * Self.day).map { $0.name }
    }
    #expect(expired(29, 30).isEmpty && expired(15, 10).isEmpty)
    let cut = expired(29, 15)
    #expect(cut.count == 12 && cut.first == LogFixture.name(0) + ".json" && cut.contains { $0.hasSuffix("compacted.json") })
    #expect(!cut.contains(LogFixture.name(10) + ".json"))
    #expect(expired(49, 10).filter { $0.hasSuffix(".json") && !$0.contains("compacted") }.count == 20)
    #expect(expired(60, 1).contains(LogFixture.name(10) + ".checkpoint.parquet"))
    // Without a checkpoint nothing goes.
    files.removeAll { $0.path.name.contains("checkpoint") }
    #expect(expired(100, 1).isEmpty)
  }

  @Test func sidecarsInUseStay() throws {
    let files = try [Self.candidate("_sidecars/a.parquet", 1), Self.candidate("_sidecars/b.parquet", 1), Self.candidate("_sidecars/new.parquet", 9)]
    let unused = LogCleanup.unusedSidecars(files, prefix: "t/_delta_log/", referenced: [files[0].path], now: 10 * Self.day)
    #expect(unused.map(\.name) == ["b.parquet"])
  }

  @Test func cleanedTablesStayReadable() throws {
    let store = InMemoryObjectStore()
    let table = try DeltaTable(store: store, path: ObjectPath("t"), parquet: LineHandler())
    for policy in ["classic", "v2"] {
      for info in try store.list(ObjectPath("t")) { try store.delete(info.path) }
      _ = try table.create(
        schema: LogFixture().schema, configuration: ["delta.checkpointPolicy": policy, "delta.checkpointInterval": "4", "delta.logRetentionDuration": "1 day"])
      for index in 1...10 { _ = try table.append([LogFixture.file("f\(index)")]) }
      #expect(try table.cleanUpLog().isEmpty)
      let deleted = try table.cleanUpLog(now: ProcessSupport.wallMilliseconds + 3 * Self.day)
      #expect(deleted.count >= 9, "\(policy): \(deleted)")
      #expect(try table.snapshot().files.count == 10 && table.snapshot(version: 8).files.count == 8)
      #expect(errorCode { _ = try table.snapshot(version: 7) } == .invalidFile)
      #expect(try store.list(ObjectPath("t/_delta_log/_sidecars")).count == (policy == "v2" ? 1 : 0))
    }
  }

  @Test func vacuumKeepsWhatAVersionNeeds() throws {
    let store = InMemoryObjectStore()
    let table = try DeltaTable(store: store, path: ObjectPath("t"), parquet: LineHandler(), dataFeatures: TableFeature.writtenByData)
    func put(_ names: String...) throws { for name in names { try store.put(ObjectPath("t/" + name), Data([1])) } }
    try put("a b.parquet", "p=1/b", "gone", "gone2", "stray", "_change_data/c", "_hidden/x", ".tmp", "_p=2/old", "x/_y/z", "shared")
    _ = try table.create(schema: LogFixture().schema, configuration: ["delta.enableDeletionVectors": "true"])
    var file = AddFile(relativePath: "a b.parquet", size: 1, statistics: ["numRecords": 5])
    file.deletionVector = try table.writeDeletionVectors([DeletionVector([1]), DeletionVector([2])])[0]
    let stray = try table.writeDeletionVectors([DeletionVector([3])])[0]
    var shared = LogFixture.file("shared")
    shared.path = "file:///data/t/shared"
    _ = try table.append([file, LogFixture.file("p=1/b"), LogFixture.file("gone"), shared])
    #expect(try table.deletionVector(of: file) == DeletionVector([1]))
    var base = try table.snapshot()
    _ = try table.commit(
      CommitPlan([.remove(RemoveFile(base.filesByPath["gone"]!, deletionTimestamp: ProcessSupport.wallMilliseconds))], reads: .everything, operation: "DELETE"),
      onto: &base)
    // Young files belong to writers at work.
    #expect(try table.vacuum(isDryRun: true).files.isEmpty)
    let later = ProcessSupport.wallMilliseconds + 3 * Self.day
    #expect(errorText { _ = try table.vacuum(retentionMilliseconds: Self.day) }?.contains("below the table's") == true)
    let soon = try table.vacuum(retentionMilliseconds: Self.day, isForced: true, isDryRun: true, now: ProcessSupport.wallMilliseconds)
    #expect(soon.files.isEmpty)
    let expected = ["_change_data/c", "_p=2/old", "gone", "gone2", "stray", try #require(try stray.relativePath())].sorted()
    let decision = try table.vacuum(retentionMilliseconds: Self.day, isForced: true, isDryRun: true, now: later)
    #expect(decision.files.map { String($0.path.text.dropFirst(2)) }.sorted() == expected && decision.sizeInBytes > 0)
    #expect(try store.head(ObjectPath("t/gone")) != nil)
    _ = try table.vacuum(now: later + 30 * Self.day)
    #expect(try store.head(ObjectPath("t/gone")) == nil && store.head(ObjectPath("t/a b.parquet")) != nil && store.head(ObjectPath("t/_hidden/x")) != nil)
    #expect(try table.deletionVector(of: file) == DeletionVector([1]))
  }

  @Test func restoredVersionsHaveTheirFilesBack() throws {
    let store = InMemoryObjectStore()
    let table = try DeltaTable(store: store, path: ObjectPath("t"), parquet: LineHandler(), dataFeatures: TableFeature.writtenByData)
    _ = try table.create(schema: LogFixture().schema, configuration: ["a": "1"], features: [.domainMetadata, .deletionVectors])
    _ = try table.append([LogFixture.file("x"), LogFixture.file("y")])
    var base = try table.snapshot()
    _ = try table.commit(CommitPlan([.domain(DomainMetadata(domain: "d", configuration: "1"))], operation: "SET"), onto: &base)
    let target = base
    var rewrite = CommitPlan.Rewrite()
    rewrite.removed = [base.filesByPath["x"]!]
    rewrite.added = [LogFixture.file("z")]
    rewrite.deleted = [(base.filesByPath["y"]!, .inline(DeletionVector([1])))]
    _ = try table.commit(.rewrite(rewrite, where: .all, read: base.files, operation: "MERGE"), onto: &base)
    var metadata = base.metadata
    metadata.configuration = ["a": "2"]
    let upgraded = base.tableProtocol.adding([.inCommitTimestamp])
    _ = try table.commit(
      CommitPlan([.protocol(upgraded), .metadata(metadata), .domain(DomainMetadata(domain: "e", configuration: "2"))], operation: "SET"), onto: &base)
    let (plan, returning) = CommitPlan.restore(to: target, from: base)
    #expect(returning.map(\.path) == ["x", "y"])
    _ = try table.commit(plan, onto: &base)
    #expect(base.files.map { LogicalFile($0) } == target.files.map { LogicalFile($0) })
    #expect(base.domains == target.domains && base.metadata == target.metadata && base.tableProtocol == upgraded)
    #expect(CommitPlan.restore(to: base, from: base).plan.actions.isEmpty)
    #expect(try table.snapshot().files.map(\.path) == ["x", "y"])
  }

  @Test func clonesShareOrCopy() throws {
    let store = InMemoryObjectStore()
    let table = try DeltaTable(store: store, path: ObjectPath("t"), parquet: LineHandler(), dataFeatures: TableFeature.writtenByData)
    _ = try table.create(schema: LogFixture().schema, features: [.deletionVectors])
    var file = AddFile(relativePath: "a b", size: 1, statistics: ["numRecords": 5])
    file.deletionVector = try table.writeDeletionVectors([DeletionVector([1])])[0]
    _ = try table.append([file])
    let source = try table.snapshot()
    let shallow = try TableClone.shallow(source, root: "file:///data/t", name: "copy", configuration: ["x": "y"])
    #expect(shallow.metadata.id != source.metadata.id && shallow.metadata.configuration["x"] == "y" && shallow.copies.isEmpty)
    let copy = try DeltaTable(store: store, path: ObjectPath("copy"), parquet: LineHandler(), dataFeatures: TableFeature.writtenByData)
    _ = try copy.create(shallow.metadata, features: shallow.tableProtocol.features, actions: shallow.actions, operation: "CLONE")
    let shared = try copy.snapshot().files[0]
    #expect(try shared.location() == .absolute("file:///data/t/a%20b") && shared.rowCount == 4)
    let vector = try copy.deletionVector(of: shared) { location, range in
      #expect(location.hasPrefix("file:///data/t/deletion_vector_"))
      return try store.get(ObjectPath(String(location.dropFirst(13))), range: range)
    }
    #expect(vector == DeletionVector([1]))
    #expect(errorText { _ = try copy.deletionVector(of: shared) }?.contains("outside") == true)
    let deep = try TableClone.deep(source, name: nil)
    let vectorOfSource = try #require(try file.deletionVector?.relativePath())
    #expect(deep.copies.map(\.path) == [vectorOfSource, "a b"].sorted())
    #expect(deep.copies.allSatisfy { $0.source == .relative($0.path) })
    // What a table shares is copied under names of the copy's own, always the same.
    let whole = try TableClone.deep(copy.snapshot(), name: nil)
    #expect(try whole.copies == TableClone.deep(copy.snapshot(), name: nil).copies && whole.copies.count == 2)
    let own = try #require(whole.actions.compactMap { if case .add(let file) = $0 { file } else { nil } }.first)
    let vectorPath = try #require(try own.deletionVector?.relativePath())
    #expect(own.deletionVector?.offset == file.deletionVector?.offset && own.rowCount == 4)
    #expect(whole.copies.contains(.init(source: .absolute("file:///data/t/a%20b"), path: try own.relativePath())))
    #expect(whole.copies.contains(.init(source: .absolute("file:///data/t/" + vectorOfSource), path: vectorPath)))
    #expect(errorCode { _ = try TableClone.shallow(source, root: "t", name: nil) } == .invalidArgument)
  }

  @Test func smallFilesArePackedByPartition() {
    func file(_ name: String, _ p: String, _ size: Int64, deleted: Int64? = nil) -> AddFile {
      var file = AddFile(path: name, partitionValues: ["p": p], size: size, modificationTime: 1)
      file.stats = "{\"numRecords\":100}"
      file.deletionVector = deleted.map {
        DeletionVectorDescriptor(storage: .inline, pathOrInlineDv: "", offset: nil, sizeInBytes: 0, cardinality: $0)
      }
      return file
    }
    let optimize = Optimize(minimumFileSize: 80, targetFileSize: 100)
    let files = [
      file("a", "1", 10), file("b", "1", 60), file("c", "1", 50), file("d", "1", 90), file("e", "2", 5), file("f", "3", 200, deleted: 50),
      file("g", "3", 200, deleted: 1), file("h", "1", .max),
    ]
    let bins = optimize.bins(files.shuffled())
    #expect(bins.map { $0.files.map(\.path) } == [["a", "c"], ["f"]])
    #expect(optimize.bins(files) == bins)
  }

  @Test func curvesKeepNeighboursTogether() {
    #expect(SpaceFillingCurve.zOrder([0b11, 0b00]).suffix(1) == [0b1010])
    #expect(SpaceFillingCurve.zOrder([0, 1, 2]).count == 12)
    #expect(SpaceFillingCurve.rank(5, [1, 5, 9]) == 2 && SpaceFillingCurve.rank(0, [1]) == 0 && SpaceFillingCurve.rank(3, [Int]()) == 0)
    for (dimensions, bits) in [(2, 4), (3, 3), (4, 2), (1, 6)] {
      let side = 1 << bits
      var points: [([UInt8], [Int])] = []
      for index in 0..<Int(pow(Double(side), Double(dimensions))) {
        var rest = index
        let point = (0..<dimensions).map { _ -> Int in
          defer { rest /= side }
          return rest % side
        }
        points.append((SpaceFillingCurve.hilbert(point.map { UInt32($0) }, bits: bits), point))
      }
      points.sort { $0.0.lexicographicallyPrecedes($1.0) }
      // Every step of the curve goes to a neighbour, and no two points share a place.
      for (left, right) in zip(points, points.dropFirst()) {
        #expect(left.0 != right.0 && zip(left.1, right.1).reduce(0) { $0 + abs($1.0 - $1.1) } == 1)
      }
    }
  }
}
