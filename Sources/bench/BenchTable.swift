// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import Query

/// A Delta table `t` that statements run on as planner, executor and commit do it together.
struct BenchTable {
  static let features: Set<TableFeature> = [
    .columnMapping, .deletionVectors, .typeWidening, .invariants, .checkConstraints, .generatedColumns, .allowColumnDefaults, .identityColumns,
  ]

  /// Runs statements one after the other, as an executor does.
  private static let session = StatementSession(.init(memoryLimit: "4GB", threads: Peer.threads, scratch: NSTemporaryDirectory()))

  let delta: DeltaTable
  let location: String

  /// Lets the executor do what it does while it waits for a statement.
  static func idle() throws { try session.prepare() }

  init(_ lake: String, _ name: String) throws {
    location = "\(lake)/\(name)"
    delta = DeltaTable(
      store: try LocalObjectStore(root: lake), path: try ObjectPath(name), parquet: DuckDBParquetHandler(), dataFeatures: Self.features, cache: SnapshotCache())
  }

  func create(_ configuration: [String: String] = [:]) throws {
    _ = try delta.create(schema: TypeMapping.schema(LargeTableGroup.columns), configuration: configuration)
  }

  /// What a query reads of the table.
  func scan(_ statement: String) throws -> TableScan { try scan(StatementPlan(parsing: statement, catalog: "main", schema: "demo"), delta.latest()) }

  private func scan(_ plan: StatementPlan, _ snapshot: Snapshot) throws -> TableScan {
    let view = plan.references.first { $0.name.name == "t" }?.view
    return try TableScan(
      snapshot, folder: location, matching: TableFilter.predicate(view.flatMap { plan.filters[$0] }, schema: snapshot.schema))
  }

  /// Runs a statement and commits what it wrote.
  @discardableResult func run(_ statement: String, sources: [String: [String]] = [:]) throws -> StatementResult {
    let base = try delta.latest()
    let target = WriteTarget(
      name: "t", schema: base.metadata.schemaString, partitionColumns: base.metadata.partitionColumns, properties: base.metadata.configuration,
      version: base.version)
    var plan = try StatementPlan(parsing: statement, catalog: "main", schema: "demo")
    var queries: ChangeQueries?
    if plan.changesRows {
      queries = try plan.changeQueries(target, sourceColumns: Set(LargeTableGroup.columns.map { $0.name.lowercased() }))
    }
    var spec = StatementSpec(
      kind: plan.kind, sql: plan.sql,
      tables: try plan.references.map { reference in
        if let files = sources[reference.name.name] { return .init(view: reference.view, files: files, columns: LargeTableGroup.columns) }
        return .init(view: reference.view, scan: try scan(plan, base))
      }, insertColumns: plan.insertColumns, outputDirectory: plan.kind == .select ? nil : location)
    spec.insert = plan.insert
    if plan.kind != .select { spec.target = target }
    if let queries {
      spec.change = .init(
        queries: queries, files: try base.files.map { try TargetFile($0, folder: location) }, version: base.version)
    }
    let result = try Self.session.run(StatementOrder(spec: spec, output: nil)).result
    if plan.kind != .select { try commit(plan, result, base) }
    return result
  }

  /// Rows of `sources` in `count` files, each of its own range, as one commit.
  func split(_ sources: [String], into count: Int) throws {
    let engine = try Database(settings: .init(threads: Peer.threads)).connect()
    try engine.execute("SET TimeZone='UTC'; CREATE VIEW rows AS SELECT * FROM read_parquet(\(SQLText.list(sources)))")
    let total = LargeTableGroup.rowCount
    var added: [AddFile] = []
    for part in 0..<count {
      let (first, end) = (total * part / count, total * (part + 1) / count)
      let name = "part-\(part).zstd.parquet"
      let answer = try engine.rows(
        "COPY (SELECT * FROM rows WHERE id >= \(first) AND id < \(end)) TO \(SQLText.literal(location + "/" + name)) (FORMAT parquet, COMPRESSION zstd, RETURN_STATS)"
      )
      let size = answer.first.flatMap { $0[2].intValue } ?? 0
      let statistics: JSONValue = [
        "numRecords": .integer(Int64(end - first)), "minValues": ["id": .integer(Int64(first))], "maxValues": ["id": .integer(Int64(end - 1))],
        "nullCount": ["id": 0],
      ]
      added.append(AddFile(relativePath: name, size: size, statistics: statistics))
    }
    _ = try delta.append(added)
  }

  private func adds(_ files: [WrittenFile]) throws -> [AddFile] { try files.map { try $0.added(to: location) } }

  private func commit(_ plan: StatementPlan, _ result: StatementResult, _ start: Snapshot) throws {
    var base = start
    var commit = CommitPlan.append(try adds(result.files))
    if let change = result.change {
      let byPath = Dictionary(uniqueKeysWithValues: try base.files.map { (location + "/" + (try $0.relativePath()), $0) })
      func file(_ path: String) throws -> AddFile {
        guard let found = byPath[path] else { throw PlatformError(.internalError, "a changed file is not in the table", path: path) }
        return found
      }
      var rewrite = CommitPlan.Rewrite()
      rewrite.removed = try change.removed.map(file)
      rewrite.deleted = try change.vectors.map { (try file($0.path), $0.descriptor) }
      rewrite.added = try adds(result.files)
      commit = .rewrite(rewrite, where: .all, read: base.files, operation: plan.kind.rawValue.uppercased())
    }
    _ = try delta.commit(commit, onto: &base)
  }
}
