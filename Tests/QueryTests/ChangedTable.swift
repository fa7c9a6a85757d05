// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import TestSupport
import Testing

@testable import Query

/// A Delta table that statements write to, as planner, executor and commit do it together, and an independent reader of its rows.
final class ChangedTable {
  static let features: Set<TableFeature> = [
    .columnMapping, .deletionVectors, .typeWidening, .invariants, .checkConstraints, .generatedColumns, .allowColumnDefaults, .identityColumns,
  ]

  let folder = TemporaryDirectory("changed")
  let delta: DeltaTable
  private let sources: [String: (files: [String], columns: [Column])]
  private let engine: Connection
  /// Its environment; nil: the table lies in a folder.
  private let bucket: [String: String]?
  private let location: String
  /// Where files of other tables may lie that the table shares.
  var sharedFolders: [String] = []
  /// Files that statements have removed without looking at them.
  private(set) var removedWhole = 0

  /// - Parameters:
  ///   - metadata: nil: another program makes the table.
  ///   - bucket: a place `s3://bucket/..` for the table, and the environment that leads there.
  init(
    _ metadata: TableMetadata?, sources: [String: (files: [String], columns: [Column])] = [:], bucket: (place: String, environment: [String: String])? = nil
  ) throws {
    self.bucket = bucket?.environment
    location = bucket?.place ?? folder.file("t")
    let (store, path) = try ObjectStores.open(location, environment: bucket?.environment ?? [:])
    delta = DeltaTable(store: store, path: path, parquet: DuckDBParquetHandler(), dataFeatures: Self.features)
    self.sources = sources
    engine = try Database(settings: .init(threads: 1)).connect()
    try engine.execute("SET TimeZone='UTC'")
    if let metadata { _ = try delta.create(metadata) }
  }

  /// Runs and commits one statement on `t`.
  @discardableResult func run(_ statement: String) throws -> StatementResult { try start(statement).commit() }

  /// Runs one statement on `t` as it is now.
  func start(_ statement: String) throws -> (result: StatementResult, commit: () throws -> StatementResult) {
    let base = try delta.snapshot()
    let target = WriteTarget(
      name: "t", schema: base.metadata.schemaString, partitionColumns: base.metadata.partitionColumns, properties: base.metadata.configuration,
      version: base.version)
    var plan = try StatementPlan(parsing: statement, catalog: "main", schema: "demo")
    var queries: ChangeQueries?
    if plan.changesRows { queries = try plan.changeQueries(target, sourceColumns: nil) }
    var spec = StatementSpec(
      kind: plan.kind, sql: plan.sql,
      tables: try plan.references.map { reference in
        let source = try #require(sources["\(reference.name)"] ?? sources[reference.name.name])
        return .init(view: reference.view, files: source.files, columns: source.columns)
      }, insertColumns: plan.insertColumns, outputDirectory: location)
    spec.insert = plan.insert
    spec.target = target
    if let queries {
      spec.change = try .init(queries, of: plan, on: base, variables: [], folder: location, sharedFolders: sharedFolders)
    }
    removedWhole += spec.change?.whole?.count ?? 0
    let result = try run(spec)
    return (
      result,
      { [self, plan] in
        try commit(plan, result, base)
        return result
      }
    )
  }

  /// OPTIMIZE: all files of a partition become one.
  func optimize(_ order: RewriteSpec.Order? = nil) throws {
    var base = try delta.snapshot()
    var removed: [AddFile] = []
    var added: [AddFile] = []
    for (_, group) in Dictionary(grouping: base.files, by: \.partitionValues) {
      let spec = RewriteSpec(
        sources: group.map { .init(path: $0.path, vector: $0.deletionVector?.uniqueId) },
        files: try group.map { try TargetFile($0, folder: location, sharedFolders: sharedFolders) },
        target: WriteTarget(
          name: "t", schema: base.metadata.schemaString, partitionColumns: base.metadata.partitionColumns, properties: base.metadata.configuration,
          version: base.version), order: order, outputDirectory: location)
      added += try adds(try RewriteRunner.run(spec, context: QuietContext(scratchDirectory: folder.path)).files)
      removed += group
    }
    guard !removed.isEmpty else { return }
    _ = try delta.commit(.rearrange(removed: removed, added: added), onto: &base)
  }

  func restore(_ version: Int64) throws {
    var base = try delta.snapshot()
    _ = try delta.commit(CommitPlan.restore(to: delta.snapshot(version: version), from: base).plan, onto: &base)
  }

  /// Rows as the executors of statements see them, as sorted JSON texts.
  func scanned(version: Int64? = nil) throws -> [String] {
    let scan = try TableScan(delta.snapshot(version: version), folder: location, sharedFolders: sharedFolders)
    return try Self.texts(scan)
  }

  /// `table_changes` of all versions, as sorted JSON texts.
  func changes() throws -> [String] {
    let latest = try delta.snapshot()
    let found = try delta.changesAndSchemas(0...latest.version)
    var scan = try TableScan(changes: found.changes, schemas: found.schemas, of: latest, folder: location) { try self.delta.deletionVector($0) }
    // When the peer says that a commit was made is not what the log's files say.
    scan.schemaText = try StructType(parsing: scan.schemaText).without(ChangeDataFeed.timestampColumn).schemaString
    return try Self.texts(scan)
  }

  private static func texts(_ scan: TableScan) throws -> [String] {
    let spec = StatementSpec(kind: .select, sql: "SELECT CAST(to_json(t) AS VARCHAR) AS line FROM t", tables: [.init(view: "t", scan: scan)], limits: .init())
    var unlimited = spec
    unlimited.limits.rows = 1_000_000
    let folder = TemporaryDirectory("scan")
    return try StatementRunner.run(unlimited, context: QuietContext(scratchDirectory: folder.path)).rows.compactMap { $0[0].stringValue }.sorted()
  }

  private func run(_ spec: StatementSpec) throws -> StatementResult {
    let context = QuietContext(scratchDirectory: folder.path)
    guard let bucket else { return try StatementRunner.run(spec, context: context) }
    let scratch = TemporaryDirectory("attempt")
    var environment = bucket
    environment["PLATFORM_OBJECT_CACHE"] = folder.file("cache")
    var remote = RemoteTables(scratch: scratch.path, keys: KeyRing(), environment: environment)
    let local = try remote.localised(spec)
    return try remote.published(StatementRunner.run(local, context: context))
  }

  /// A file of the table on this machine, for the independent reader.
  private func local(_ path: String) throws -> String {
    guard bucket != nil else { return location + "/" + path }
    let copy = folder.file(UUID().uuidString)
    _ = try delta.store.download(delta.path.appending(path), to: copy)
    return copy
  }

  private func adds(_ files: [WrittenFile]) throws -> [AddFile] { try files.map { try $0.added(to: location) } }

  private func commit(_ plan: StatementPlan, _ result: StatementResult, _ start: Snapshot) throws {
    var base = start
    var commit: CommitPlan
    if let change = result.change {
      guard !change.removed.isEmpty || !change.vectors.isEmpty || !result.files.isEmpty else { return }
      func file(_ path: String) throws -> AddFile {
        try #require(base.filesByPath.values.first { try TableScan.path($0.location(), location, sharedFolders) == path })
      }
      var rewrite = CommitPlan.Rewrite()
      rewrite.removed = try change.removed.map(file)
      rewrite.deleted = try change.vectors.map { (try file($0.path), $0.descriptor) }
      rewrite.added = try adds(result.files)
      rewrite.changes = try adds(change.changeFiles).map { ChangeFile(path: $0.path, partitionValues: $0.partitionValues, size: $0.size) }
      let read = change.reads(base)
      commit = .rewrite(rewrite, where: read.condition, read: read.files, operation: plan.kind.rawValue.uppercased())
    } else if plan.replaces {
      commit = plan.insert.trailing.isEmpty ? .overwrite(try adds(result.files), base: base) : .dynamicOverwrite(try adds(result.files), base: base)
    } else {
      commit = .append(try adds(result.files))
    }
    if let marks = result.identityMarks {
      let columns = try base.schema.identityColumns().map { column in
        var column = column
        if let mark = marks[column.name] { column.observe(mark) }
        return column
      }
      commit.actions =
        try SchemaChange.actions(
          base, schema: base.schema.updating(columns).schemaString, configuration: base.metadata.configuration,
          partitionColumns: base.metadata.partitionColumns) + commit.actions
    }
    _ = try delta.commit(commit, onto: &base)
  }

  /// One file's rows under the table's names, without those that are gone: as a query.
  private func query(_ path: String, _ values: [String: String?], _ snapshot: Snapshot, _ gone: DeletionVector?, extra: String) throws -> String {
    let list = try snapshot.schema.fields.map { field in
      let type = try TypeMapping.sql(field.type).sql
      let value =
        snapshot.metadata.partitionColumns.contains(field.name)
        ? (values[field.physicalName] ?? nil).map { SQLText.literal($0) } ?? "NULL" : SQLText.identifier(field.physicalName)
      return "CAST(\(value) AS \(type)) AS \(SQLText.identifier(field.name))"
    }.joined(separator: ", ")
    var rows: [String] = []
    gone?.forEach { rows.append(String($0)) }
    return "SELECT \(list)\(extra) FROM read_parquet(\(SQLText.literal(path)), file_row_number=true, hive_partitioning=false)"
      + (rows.isEmpty ? "" : " WHERE file_row_number NOT IN (\(rows.joined(separator: ", ")))")
  }

  /// Rows as sorted JSON texts.
  func rows(version: Int64? = nil, extra: String = "") throws -> [String] {
    let snapshot = try delta.snapshot(version: version)
    var found: [String] = []
    for file in snapshot.files {
      let query = try query(
        local(file.relativePath()), file.partitionValues, snapshot, delta.deletionVector(of: file), extra: extra)
      found += try Self.texts(query, engine)
    }
    return found.sorted()
  }

  static func texts(_ query: String, _ engine: Connection) throws -> [String] {
    try engine.rows("SELECT CAST(to_json(r) AS VARCHAR) FROM (\(query)) AS r").compactMap { $0[0].stringValue }.sorted()
  }

  /// Rows that come of applying the recorded changes of every version, one after the other.
  func replayed() throws -> [String] {
    let latest = try delta.snapshot()
    var rows: [String: Int] = [:]
    for change in try delta.changes(0...latest.version) {
      guard case .relative(let path) = try AddFile(path: change.path, partitionValues: [:], size: 0, modificationTime: 0).location() else { continue }
      let snapshot = try delta.snapshot(version: change.version)
      let kind = change.kind == .recorded ? "_change_type" : SQLText.literal(change.kind.rawValue)
      let inner = try query(local(path), change.partitionValues, snapshot, nil, extra: ", \(kind) AS __kind")
      for row in try engine.rows("SELECT __kind, CAST(to_json(r) AS VARCHAR) FROM (SELECT * EXCLUDE (__kind), __kind FROM (\(inner))) AS r") {
        guard let kind = row[0].stringValue, var text = row[1].stringValue, let end = text.range(of: ",\"__kind\"") else { continue }
        text = String(text[..<end.lowerBound]) + "}"
        rows[text, default: 0] += kind == "insert" || kind == "update_postimage" ? 1 : -1
      }
    }
    #expect(rows.values.allSatisfy { $0 >= 0 })
    return rows.flatMap { Array(repeating: $0.key, count: max(0, $0.value)) }.sorted()
  }
}

extension StructType {
  fileprivate func without(_ name: String) -> StructType { StructType(fields: fields.filter { $0.name != name }) }
}
