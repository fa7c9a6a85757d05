// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Testing

@testable import DeltaLog

@Suite struct LogReadingTests {
  static let uuid = "80a083e8-7026-4e79-81be-64bd76c43a11"

  @Test(arguments: [
    ("00000000000000000042.json", LogFile.commit(42)), ("00000000000000000042.checkpoint.parquet", .checkpoint(42, .classic)),
    ("00000000000000000042.checkpoint.0000000002.0000000003.parquet", .checkpoint(42, .part(index: 2, count: 3))),
    ("00000000000000000042.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json", .checkpoint(42, .unique(isJSON: true))),
    ("00000000000000000042.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.parquet", .checkpoint(42, .unique(isJSON: false))),
    ("00000000000000000003.00000000000000000005.compacted.json", .compaction(from: 3, to: 5)), ("00000000000000000001.crc", .checksum(1)),
    ("_sidecars/a.parquet", .sidecar), ("_last_checkpoint", .lastCheckpoint),
    ("_staged_commits/00000000000000000008.7d17ac10-5cc3-401b-bd1a-9c82dd2ea032.json", .stagedCommit(8)),
    ("0000000000000000042.json", nil), ("00000000000000000042.json.tmp", nil), ("99999999999999999999.json", nil),
    ("00000000000000000042.checkpoint.0000000004.0000000003.parquet", nil), ("00000000000000000042.checkpoint.0.0.parquet", nil),
    ("00000000000000000005.00000000000000000003.compacted.json", nil), ("+0000000000000000042.json", nil), ("x", nil), ("", nil),
  ]) func logFilesAreKnownByTheirNames(_ name: String, _ expected: LogFile?) { #expect(LogFile(name: name) == expected) }

  /// A log of random valid commits, and the state after each by a naive model.
  struct Model {
    var files: [(path: String, vector: String?)] = []
    var applications: [String: Int64] = [:]
    var domains: [String: String] = [:]

    mutating func step(_ random: inout SplitMix64, _ version: Int) -> [Action] {
      var actions: [Action] = []
      for index in files.indices.shuffled(using: &random).prefix(Int.random(in: 0..<3, using: &random)).sorted(by: >) {
        let old = files[index]
        let removal = RemoveFile(LogFixture.file(old.path, vector: old.vector), deletionTimestamp: .max)
        if Bool.random(using: &random) {
          files.remove(at: index)
          actions.append(.remove(removal))
        } else {
          let vector = "\(10_000 + version)"
          files[index].vector = vector
          let add = Action.add(LogFixture.file(old.path, vector: vector))
          actions += Bool.random(using: &random) ? [add, .remove(removal)] : [.remove(removal), add]
        }
      }
      for index in 0..<Int.random(in: 0..<3, using: &random) {
        // Sometimes a path that was there before.
        let path = "f\(Int.random(in: 0..<4, using: &random) == 0 ? index : version * 10 + index)"
        guard !files.contains(where: { $0.path == path }) else { continue }
        guard !actions.contains(where: { if case .remove(let value) = $0 { value.path == path } else { false } }) else { continue }
        files.append((path, nil))
        actions.append(.add(LogFixture.file(path)))
      }
      if Bool.random(using: &random) {
        let name = "app\(Int.random(in: 0..<3, using: &random))"
        applications[name] = Int64(version)
        actions.append(.transaction(AppTransaction(appId: name, version: Int64(version))))
      }
      if Bool.random(using: &random) {
        let name = "domain\(Int.random(in: 0..<3, using: &random))"
        let removed = Bool.random(using: &random)
        domains[name] = removed ? nil : "\(version)"
        actions.append(.domain(DomainMetadata(domain: name, configuration: "\(version)", removed: removed)))
      }
      return actions
    }

    func expect(_ snapshot: Snapshot, _ note: Comment) {
      let found = snapshot.files.map { "\($0.path) \($0.deletionVector?.pathOrInlineDv ?? "-")" }
      #expect(found == files.map { "\($0.path) \($0.vector ?? "-")" }.sorted(), note)
      #expect(snapshot.transactions.mapValues(\.version) == applications, note)
      #expect(snapshot.domains.mapValues(\.configuration) == domains, note)
    }
  }

  @Test(arguments: UInt64(1)...16) func randomLogsGiveTheNaiveState(_ seed: UInt64) throws {
    var random = SplitMix64(seed: seed)
    let log = LogFixture()
    try log.start(TableProtocol.supporting([.deletionVectors, .v2Checkpoint, .domainMetadata]))
    var model = Model()
    var models = [model]
    var commits: [[Action]] = [[]]
    var running = try log.table.snapshot()
    for version in 1...30 {
      let actions = model.step(&random, version)
      try log.commit(version, actions)
      models.append(model)
      commits.append(actions)
      let note: Comment = "seed \(seed), version \(version)"
      model.expect(try log.table.snapshot(), note)
      if Bool.random(using: &random) {
        running = try log.table.update(running)
        model.expect(running, note)
      }
      if Int.random(in: 0..<4, using: &random) == 0 {
        let state = try log.table.snapshot(version: Int64(version))
        let head: [Action] =
          [.protocol(state.tableProtocol), .metadata(state.metadata)] + state.transactions.values.map { .transaction($0) }
          + state.domains.values.map { .domain($0) }
        let files: [Action] = state.files.map { .add($0) } + state.removedFiles.map { .remove($0) }
        let name = LogFixture.name(version)
        let mark = Action.checkpoint(CheckpointMetadata(version: Int64(version)))
        switch Int.random(in: 0..<4, using: &random) {
        case 0: try log.put("\(name).checkpoint.parquet", head + files)
        case 1:
          let half = files.count / 2
          try log.put("\(name).checkpoint.0000000001.0000000002.parquet", head + files.prefix(half))
          try log.put("\(name).checkpoint.0000000002.0000000002.parquet", Array(files.dropFirst(half)))
        case 2: try log.put("\(name).checkpoint.\(Self.uuid).json", [mark] + head + files)
        default:
          var sidecars: [Action] = []
          for part in 0..<2 {
            let own = files.enumerated().filter { $0.offset % 2 == part }.map(\.element)
            try log.put("_sidecars/\(version)-\(part).parquet", own)
            let size = try log.store.head(ObjectPath("t/_delta_log/_sidecars/\(version)-\(part).parquet"))?.size ?? 0
            sidecars.append(.sidecar(Sidecar(path: "\(version)-\(part).parquet", sizeInBytes: Int64(size), modificationTime: 1)))
          }
          try log.put("\(name).checkpoint.\(Self.uuid).parquet", [mark] + head + sidecars)
        }
      }
      if version > 4, Int.random(in: 0..<4, using: &random) == 0 {
        let from = version - Int.random(in: 1..<4, using: &random)
        try log.put("\(LogFixture.name(from)).\(LogFixture.name(version)).compacted.json", LogCompaction.actions(commits[from...version]))
      }
    }
    for version in 0...30 {
      models[version].expect(try log.table.snapshot(version: Int64(version)), "seed \(seed), version \(version)")
    }
    // Old commits may be gone once a checkpoint stands for them.
    if let last = try log.table.listing().checkpoints.keys.max() {
      for version in 0..<Int(last) { try log.store.delete(ObjectPath("t/_delta_log/\(LogFixture.name(version)).json")) }
      model.expect(try log.table.snapshot(), "seed \(seed) from its checkpoint")
    }
  }

  @Test func damagedV2CheckpointsArePassedOver() throws {
    let log = LogFixture()
    try log.start()
    try log.commit(1, [.add(LogFixture.file("a"))])
    let name = "\(LogFixture.name(1)).checkpoint.\(Self.uuid)"
    let head: [Action] = [.protocol(TableProtocol()), .metadata(TableMetadata(schema: log.schema))]
    let sidecar = Action.sidecar(Sidecar(path: "x.parquet", sizeInBytes: 3, modificationTime: 1))
    for lines in [
      head,  // no checkpointMetadata
      [.checkpoint(CheckpointMetadata(version: 2))] + head, [.checkpoint(CheckpointMetadata(version: 1)), sidecar] + head,
      [.checkpoint(CheckpointMetadata(version: 1)), sidecar, .add(LogFixture.file("wrong"))] + head,
    ] {
      try log.put(name + ".json", lines)
      #expect(try log.table.snapshot().files.map(\.path) == ["a"])
    }
    try log.put("_sidecars/x.parquet", ["{\"txn\":{\"appId\":\"a\",\"version\":1}}"])
    #expect(try log.table.snapshot().files.map(\.path) == ["a"])
    // With the first commits gone nothing is left to read from, and the reason is told.
    try log.store.delete(ObjectPath("t/_delta_log/\(LogFixture.name(0)).json"))
    #expect(errorText { _ = try log.table.snapshot() }?.contains("version 0 is missing") == true)
  }

  @Test func gapsAreRefusedByVersionAlsoWhenFollowing() throws {
    let log = LogFixture()
    try log.start()
    let start = try log.table.snapshot()
    try log.commit(1, [.add(LogFixture.file("a"))])
    try log.commit(3, [.add(LogFixture.file("b"))])
    #expect(errorText { _ = try log.table.snapshot() }?.contains("version 2 is missing") == true)
    #expect(errorText { _ = try log.table.update(start) }?.contains("version 2 is missing") == true)
    #expect(try log.table.snapshot(version: 1).files.count == 1)
  }

  @Test func incompletePartsAreNoCheckpoint() throws {
    let log = LogFixture()
    try log.start()
    try log.commit(1, [.add(LogFixture.file("a"))])
    try log.put("\(LogFixture.name(1)).checkpoint.0000000001.0000000002.parquet", ["{}"])
    #expect(try log.table.listing().checkpoints.isEmpty)
    #expect(try log.table.snapshot().files.count == 1)
  }

  @Test func inCommitTimestampsRuleTimeTravel() throws {
    let log = LogFixture()
    try log.start()
    let before = ProcessSupport.wallMilliseconds
    for version in 1...2 { try log.commit(version, [.add(LogFixture.file("f\(version)"))]) }
    func info(_ time: Int64) -> Action {
      var info = CommitInfo()
      info.inCommitTimestamp = time
      return .commitInfo(info)
    }
    let first = before + 1_000_000
    try log.commit(
      3,
      [
        info(first), .protocol(TableProtocol.supporting([.inCommitTimestamp])),
        .metadata(
          TableMetadata(
            schema: log.schema,
            configuration: [
              "delta.enableInCommitTimestamps": "true", "delta.inCommitTimestampEnablementVersion": "3",
              "delta.inCommitTimestampEnablementTimestamp": "\(first)",
            ])),
      ])
    for version in 4...20 { try log.commit(version, [info(first + Int64(version - 3) * 1000), .add(LogFixture.file("f\(version)"))]) }
    for version in 3...20 {
      let time = first + Int64(version - 3) * 1000
      #expect(try log.table.version(atTimestampMilliseconds: time) == Int64(version))
      #expect(try log.table.version(atTimestampMilliseconds: time + 999) == Int64(version))
    }
    #expect(try log.table.version(atTimestampMilliseconds: first - 1) == 2)
    #expect(try log.table.version(atTimestampMilliseconds: 0) == nil)
    #expect(try log.table.history(limit: 3).map(\.timestampMilliseconds) == [first + 17_000, first + 16_000, first + 15_000])
  }

  @Test func fileTimesAreMadeToRise() throws {
    let paths = try (0..<4).map { try ObjectPath("t/_delta_log/\(LogFixture.name($0)).json") }
    let infos = zip(paths, [50, 40, 40, 90] as [Int64]).map { ObjectInfo(path: $0, size: 1, modifiedMilliseconds: $1) }
    #expect(DeltaTable.fileTimes(LogListing(infos, prefix: "t/_delta_log/")).map(\.time) == [50, 51, 52, 90])
  }

  @Test func featuresOfDataReadersAreRefusedUntilDeclared() throws {
    var log = LogFixture()
    let both = TableProtocol.supporting([.deletionVectors, .columnMapping])
    try log.commit(0, [.protocol(both), .metadata(ColumnMapping.newTable(TableMetadata(schema: log.schema)))])
    #expect(try log.table.snapshot().version == 0)
    log.features = [.deletionVectors]
    #expect(errorText { _ = try log.table.snapshot() }?.contains("reader features columnMapping,") == true)
    log.features = []
    #expect(errorText { _ = try log.table.snapshot() }?.contains("columnMapping, deletionVectors") == true)
    log.features = TableFeature.readByData
    for feature in ["catalogManaged", "future"] {
      let lists = TableProtocol(minReaderVersion: 3, minWriterVersion: 7, readerFeatures: [feature], writerFeatures: [feature])
      try log.commit(0, [.protocol(lists), .metadata(TableMetadata(schema: log.schema))])
      #expect(errorText { _ = try log.table.snapshot() }?.contains("reader features \(feature)") == true)
    }
    try log.commit(0, [.protocol(TableProtocol(minReaderVersion: 3, minWriterVersion: 2)), .metadata(TableMetadata(schema: log.schema))])
    #expect(errorCode { _ = try log.table.snapshot() } == .invalidFile)
    // Names are mapped also on the plain reader version 2.
    log.features = []
    let mapped = TableMetadata(schema: log.schema, configuration: ["delta.columnMapping.mode": "name"])
    try log.commit(0, [.protocol(TableProtocol(minReaderVersion: 2, minWriterVersion: 5)), .metadata(mapped)])
    #expect(errorText { _ = try log.table.snapshot() }?.contains("columnMapping") == true)
  }

  @Test func variantsAreRefusedByTheirColumnsOnly() throws {
    let log = LogFixture()
    // Other writers list the feature as soon as they list any.
    for feature in ["variantType", "variantType-preview", "variantShredding"] {
      let lists = TableProtocol(minReaderVersion: 3, minWriterVersion: 7, readerFeatures: [feature], writerFeatures: [feature])
      try log.commit(0, [.protocol(lists), .metadata(TableMetadata(schema: log.schema))])
      #expect(try log.table.snapshot().tableProtocol.readerFeatures == [feature])
      var metadata = TableMetadata(schema: log.schema)
      metadata.schemaString = #"{"type":"struct","fields":[{"name":"v","type":"variant","nullable":true,"metadata":{}}]}"#
      try log.commit(0, [.protocol(lists), .metadata(metadata)])
      #expect(errorText { _ = try log.table.snapshot() }?.contains("column 'v': the type 'variant' is not supported") == true)
    }
  }

  @Test func hostileSchemasAreErrors() throws {
    let log = LogFixture()
    let deep = String(repeating: #"{"type":"array","containsNull":true,"elementType":"#, count: 90) + "1" + String(repeating: "}", count: 90)
    for schema in [
      "", "[]", "{}", #"{"type":"struct","fields":[{"type":"long"}]}"#, #"{"type":"struct","fields":[{"name":"a","type":"variant"}]}"#,
      #"{"type":"struct","fields":[{"name":"a","type":"decimal(39,1)"}]}"#, #"{"type":"struct","fields":[{"name":"a","type":"decimal(3,9)"}]}"#,
      #"{"type":"struct","fields":[{"name":"a","type":"# + deep + "}]}",
    ] {
      var metadata = TableMetadata(schema: log.schema)
      metadata.schemaString = schema
      try log.commit(0, [.protocol(TableProtocol()), .metadata(metadata)])
      #expect(errorCode { _ = try log.table.snapshot() } == .invalidFile, "\(schema.prefix(80))")
    }
  }

  @Test func protocolsGrowAsTheRulesSay() {
    #expect(TableProtocol.supporting([]) == TableProtocol())
    let vectors = TableProtocol(minReaderVersion: 1, minWriterVersion: 4).adding([.deletionVectors])
    #expect(vectors.minReaderVersion == 3 && vectors.readerFeatures == ["deletionVectors"])
    #expect(
      vectors.writerFeatures == [
        "appendOnly", "changeDataFeed", "checkConstraints", "deletionVectors", "generatedColumns", "invariants",
      ])
    let tracked = TableProtocol().adding([.rowTracking])
    #expect(tracked.minReaderVersion == 1 && tracked.readerFeatures == nil && tracked.supports(.domainMetadata))
    let mapped = TableProtocol(minReaderVersion: 2, minWriterVersion: 5).adding([.timestampNtz])
    #expect(mapped.readerFeatures == ["columnMapping", "timestampNtz"])
    #expect(mapped.adding([.timestampNtz]) == mapped)
    let unknown = TableProtocol(minReaderVersion: 3, minWriterVersion: 7, readerFeatures: ["x"], writerFeatures: ["x"]).adding([.v2Checkpoint])
    #expect(unknown.readerFeatures == ["v2Checkpoint", "x"] && unknown.writerFeatures == ["v2Checkpoint", "x"])
  }

  @Test func statisticsOfCheckpointColumnsStandInForText() throws {
    let line = #"{"add":{"path":"x","size":1,"stats":null,"stats_parsed":{"numRecords":4,"minValues":{"id":1,"s":null},"maxValues":null}}}"#
    guard case .add(let file)? = try Action.parse(Data(line.utf8), name: "x").first else { return #expect(Bool(false)) }
    #expect(file.stats == #"{"minValues":{"id":1},"numRecords":4}"# && file.rowCount == 4)
  }
}
