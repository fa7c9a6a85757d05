// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Testing

@testable import DeltaLog

@Suite struct FeatureRemovalTests {
  private func table(_ configuration: [String: String], features: Set<TableFeature> = []) throws -> (LogFixture, DeltaTable) {
    let fixture = LogFixture()
    _ = try fixture.table.create(schema: fixture.schema, configuration: configuration, features: features)
    return (fixture, fixture.table)
  }

  private func drop(_ name: String, _ table: DeltaTable) throws -> Snapshot {
    var base = try table.snapshot()
    _ = try table.commit(FeatureRemoval.plan(name, base: base), onto: &base)
    #expect(try table.snapshot().tableProtocol == base.tableProtocol)
    return base
  }

  @Test func whatIsNotUsedGoesAndThePlainVersionsComeBack() throws {
    let (_, table) = try table(["delta.enableChangeDataFeed": "true", "delta.enableDeletionVectors": "true", "delta.checkpointPolicy": "v2", "own": "x"])
    #expect(try table.snapshot().tableProtocol.minReaderVersion == 3)
    var after = try drop("DELETIONVECTORS", table)
    #expect(after.metadata.configuration["delta.enableDeletionVectors"] == nil && after.tableProtocol.readerFeatures == ["v2Checkpoint"])
    after = try drop("v2Checkpoint", table)
    #expect(after.tableProtocol.minReaderVersion == 1 && after.tableProtocol.readerFeatures == nil && after.tableProtocol.supports(.changeDataFeed))
    after = try drop("changeDataFeed", table)
    #expect(after.tableProtocol == TableProtocol(minReaderVersion: 1, minWriterVersion: 2) && after.metadata.configuration == ["own": "x"])
    #expect(errorCode { _ = try drop("changeDataFeed", table) } == .notFound)
  }

  @Test func whatIsUsedStays() throws {
    let (_, table) = try table([
      "delta.enableDeletionVectors": "true", "delta.constraints.a": "id > 0", "delta.enableRowTracking": "true",
      RowTracking.rowIdColumnProperty: "_row-id-col-1", RowTracking.rowCommitVersionColumnProperty: "_row-version-col-1",
    ])
    var base = try table.snapshot()
    _ = try table.commit(.append([LogFixture.file("a", vector: "abcd")]), onto: &base)
    #expect(errorText { _ = try drop("deletionVectors", table) }?.contains("1 files have deletion vectors") == true)
    #expect(errorText { _ = try drop("checkConstraints", table) }?.contains("has constraints") == true)
    #expect(errorText { _ = try drop("domainMetadata", table) }?.contains("domainMetadata") == true)
    #expect(errorText { _ = try drop("invariants", table) }?.contains("stays with a table") == true)
    let after = try drop("rowTracking", table)
    #expect(after.domains.isEmpty && !after.properties.hasRowTracking)
    _ = try drop("domainMetadata", table)
    // No other change may lose a feature.
    base = try table.snapshot()
    let plan = CommitPlan([.protocol(TableProtocol(minReaderVersion: 1, minWriterVersion: 2))], operation: "X")
    #expect(errorCode { _ = try table.commit(plan, onto: &base) } == .invalidArgument)
  }

  @Test func aTableIsPartitionedOrClusteredWhateverItWas() throws {
    let fixture = LogFixture()
    let table = fixture.table
    let column = "day"
    let schema = StructType(fields: fixture.schema.fields + [StructField(name: column, type: .primitive("date"))])
    let clustered = try NewTable(schema: schema, clusteringColumns: [[column]])
    let partitioned = try NewTable(schema: schema, partitionColumns: [column])
    _ = try table.create(clustered.metadata, features: clustered.features, actions: clustered.domains)
    func change(_ plan: (Snapshot) throws -> CommitPlan) throws -> Snapshot {
      var base = try table.snapshot()
      _ = try table.commit(plan(base), onto: &base)
      return try table.snapshot()
    }
    var after = try change { try .replace($0, by: partitioned) }
    #expect(after.metadata.partitionColumns == [column] && after.domains.isEmpty && !after.tableProtocol.supports(.clustering))
    after = try change { try .replace($0, by: clustered) }
    #expect(try after.metadata.partitionColumns.isEmpty && ClusteringColumns.read(after.domains) == [[column]])
    after = try change { CommitPlan.restore(to: try table.snapshot(version: 1), from: $0).plan }
    #expect(after.metadata.partitionColumns == [column] && after.domains.isEmpty)
    after = try change { CommitPlan.restore(to: try table.snapshot(version: 0), from: $0).plan }
    #expect(try after.metadata.partitionColumns.isEmpty && ClusteringColumns.read(after.domains) == [[column]])
  }

  @Test func missingFilesAreFoundAndTakenOut() throws {
    let (_, table) = try table([:])
    var base = try table.snapshot()
    let elsewhere = AddFile(path: "file:///other/c", partitionValues: [:], size: 1, modificationTime: 1)
    _ = try table.commit(.append([LogFixture.file("a%20b"), LogFixture.file("gone"), elsewhere]), onto: &base)
    let losses = try TableRepair.losses(base, present: ["a b"]) { $0 == "file:///other/c" }
    #expect(losses.map(\.file.path) == ["gone"] && losses[0].isFileMissing && !losses[0].isVectorMissing)
    _ = try table.commit(TableRepair.plan(losses), onto: &base)
    #expect(try table.snapshot().files.map(\.path) == ["a%20b", "file:///other/c"])
  }

  @Test func lengthsOnlyGrow() throws {
    var field = StructField(name: "code", type: .primitive("string"))
    field.characterLimit = "char(3)"
    let fixture = LogFixture()
    _ = try fixture.table.create(schema: StructType(fields: [field, StructField(name: "n", type: .primitive("long"))]))
    var change = SchemaChange(try fixture.table.snapshot())
    #expect(errorCode { try change.setCharacterLimit(["code"], "varchar(2)") } == .invalidArgument)
    #expect(errorCode { try change.setCharacterLimit(["code"], "char(5)") } == .invalidArgument)
    #expect(errorCode { try change.setCharacterLimit(["n"], "varchar(5)") } == .invalidArgument)
    try change.setCharacterLimit(["code"], "varchar(3)")
    try change.setCharacterLimit(["code"], "varchar(9)")
    #expect(change.schema.fields[0].characterLimit == "varchar(9)")
    try change.setCharacterLimit(["code"], nil)
    #expect(change.schema.fields[0].metadata.isEmpty)
    #expect(errorCode { try change.setCharacterLimit(["code"], "varchar(9)") } == .invalidArgument)
  }

  @Test func changesOfVectorsAreTheRowsBetweenThem() throws {
    let (old, new) = (LogFixture.file("a", rows: 20, vector: "abcd"), LogFixture.file("a", rows: 20, vector: "efgh"))
    let changes = ChangeDataFeed.changes(
      [.remove(RemoveFile(old, deletionTimestamp: 1)), .add(new), .add(LogFixture.file("b"))], version: 4, timestampMilliseconds: 9)
    #expect(changes.map(\.kind) == [.deleted, .inserted, .inserted])
    #expect(changes[0].deletionVector == new.deletionVector && changes[0].difference?.vector == old.deletionVector && changes[0].physicalRows == 20)
    #expect(changes[1].deletionVector == old.deletionVector && changes[1].difference?.vector == new.deletionVector)
    #expect(changes[2].difference == nil)
    let kept = DeletionVector([1, 2, 5]).allBut(without: DeletionVector([2]), below: 6)
    #expect(kept == DeletionVector([0, 2, 3, 4]))
  }

  /// An append made for rules that are no longer those of the table is refused, alone and beside others.
  @Test func appendsForOtherRulesConflict() throws {
    let store = InMemoryObjectStore()
    let cache = SnapshotCache(groupsAppends: true)
    let table = try DeltaTable(
      store: store, path: ObjectPath("t"), parquet: LineHandler(), dataFeatures: TableFeature.writtenByData, cache: cache)
    _ = try table.create(schema: LogFixture().schema)
    let before = try table.latest().metadata
    var base = try table.snapshot()
    var change = SchemaChange(base)
    try change.addConstraint("low", "id < 5")
    _ = try table.commit(change.plan(operation: "ADD CONSTRAINT"), onto: &base)
    func request(_ name: String, _ metadata: TableMetadata) -> AppendQueue.Request {
      .init([LogFixture.file(name)], expectedSchema: nil, transaction: nil, operation: "WRITE", expectedMetadata: metadata, metrics: ["numOutputRows": "2"])
    }
    #expect(errorCode { _ = try table.append([LogFixture.file("x")], expectedMetadata: before) } == .conflict)
    let results = table.appendTogether([request("a", base.metadata), request("b", before), request("c", base.metadata)])
    #expect(results.map { (try? $0.get().version) ?? -1 } == [2, -1, 3])
    let both = table.appendTogether([request("d", base.metadata), request("e", base.metadata)])
    #expect(try both.map { try $0.get().version } == [4, 4])
    let latest = try table.snapshot()
    #expect(latest.files.map(\.path) == ["a", "c", "d", "e"])
    #expect(latest.commitInfo?.operationMetrics?["numOutputRows"] == "4")
  }
}

/// Writers that encode the path of one file in different ways.
@Suite struct PathIdentityTests {
  @Test func removalsFindTheFileThatTheyMean() throws {
    let fixture = LogFixture()
    try fixture.start()
    try fixture.commit(1, ["p=a+b/x&y.parquet", "p=%C3%BC%2B/z.parquet", "p=1/plain.parquet"].map { .add(LogFixture.file($0)) })
    let table = fixture.table
    var early = try table.snapshot()
    try fixture.commit(
      2, ["p=a%2Bb/x%26y.parquet", "p=ü+/z.parquet"].map { .remove(RemoveFile(path: $0, deletionTimestamp: 1)) })
    #expect(try table.snapshot().files.map(\.path) == ["p=1/plain.parquet"])
    #expect(try table.update(table.snapshot(version: 1)).files.map(\.path) == ["p=1/plain.parquet"])
    // Two who remove the same file are told so.
    var rewrite = CommitPlan.Rewrite()
    rewrite.removed = early.files.filter { $0.path.hasPrefix("p=a") }
    let plan = CommitPlan.rewrite(rewrite, where: .unknown, read: rewrite.removed, operation: "DELETE")
    #expect(errorCode { _ = try table.commit(plan, onto: &early) } == .conflict)
  }
}
