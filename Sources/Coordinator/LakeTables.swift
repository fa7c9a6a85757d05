// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import Query

/// The catalog's tables as Delta tables, in folders and in buckets. Methods read and write files on the blocking pool.
struct LakeTables: Sendable {
  let catalog: CatalogStore
  /// Folder below which managed tables live.
  let root: String

  /// Who asked for what is committed, as the table's history says it.
  @TaskLocal static var committer: String?

  /// Latest snapshots, so that a table whose log did not grow is not read again.
  let snapshots = SnapshotCaches()
  /// What commits leave to be done.
  let upkeep = TableUpkeep()
  /// How far the tables have come whose versions the catalog gives out, where several tables are to be seen as they were at one moment.
  var moment: TableMoment?
  /// The transaction whose statements these tables are for: they are as it has left them.
  var block: AtomicBlock?

  init(catalog: CatalogStore, root: String) {
    self.catalog = catalog
    self.root = root
  }

  /// A table at one version, as executors need it.
  struct Resolved: Sendable {
    var entry: TableEntry
    var scan: TableScan
    var columns: [Column]

    var version: Int64 { scan.version }
    var rows: Int64? { scan.rows }

    /// Absolute paths of the live data files, in order of path, for work that reads files by themselves.
    /// - Throws: `invalidArgument` for a table of which the files alone are not the rows.
    var files: [String] {
      get throws {
        try entry.requireOnDisk()
        guard scan.isPlain else {
          throw PlatformError(
            .invalidArgument, "table '\(entry.name)' has partitions, deletion vectors or mapped columns, which this task does not read",
            hint: "Copy it: CREATE TABLE copy AS SELECT * FROM \(entry.name).")
        }
        return scan.paths
      }
    }
  }

  /// Features of tables that `TableScan` takes care of on reading.
  static let readFeatures: Set<TableFeature> = [.columnMapping, .deletionVectors, .typeWidening]

  /// A table at one version, before anything is asked of its rows.
  struct Found: Sendable {
    var entry: TableEntry
    var snapshot: Snapshot
    fileprivate var sharedFolders: [String]
    fileprivate var isPast: Bool

    /// Blocks for tables of many files.
    /// - Parameters:
    ///   - filters: what a statement asks of the table's rows; files none of whose rows can match are left out.
    ///   - variables: values that the filters name.
    func resolved(matching filters: [TableFilter]? = nil, variables: [StatementVariable] = []) throws -> Resolved {
      var scan = try TableScan(
        snapshot, folder: entry.location, sharedFolders: sharedFolders,
        matching: TableFilter.predicate(filters, schema: snapshot.schema, variables: variables))
      if isPast { scan.isPast = true }
      return Resolved(
        entry: entry, scan: scan,
        columns: try TypeMapping.columns(snapshot.schema))
    }
  }

  /// - Parameter filters: as for `Found.resolved`.
  /// - Throws: `notFound` for no such table or version.
  func resolve(
    _ name: ThreePartName, version: Int64? = nil, timestampMilliseconds: Int64? = nil, matching filters: [TableFilter]? = nil
  ) async throws -> Resolved {
    let found = try await find(name, version: version, timestampMilliseconds: timestampMilliseconds)
    return try await BlockingPool.shared.run { try found.resolved(matching: filters) }
  }

  /// Where files may lie that a shallow clone shares: below the lake and the external locations.
  func sharedFolders() async throws -> [String] { [root] + (try await catalog.externalFolders()) }

  /// - Throws: `notFound` for no such table or version; `invalidArgument` for a view.
  func find(_ name: ThreePartName, version: Int64? = nil, timestampMilliseconds: Int64? = nil) async throws -> Found {
    let entry = try await entry(name)
    let caches = snapshots
    let shared = try await sharedFolders()
    return try await BlockingPool.shared.run {
      let table = try open(entry, Self.readFeatures, caches.cache(entry.location))
      let snapshot: Snapshot
      if let time = timestampMilliseconds {
        snapshot = try table.snapshot(timestampMilliseconds: time)
      } else if let version {
        snapshot = try table.snapshot(version: version)
      } else {
        snapshot = try seen(table, entry)
      }
      return Found(entry: entry, snapshot: snapshot, sharedFolders: shared, isPast: version != nil || timestampMilliseconds != nil)
    }
  }

  /// - Throws: `notFound`; `invalidArgument` for a view.
  func entry(_ name: ThreePartName) async throws -> TableEntry {
    let entry = try await catalog.table(name)
    guard entry.kind != .view else {
      throw PlatformError(.invalidArgument, "'\(name)' is a view: it has no rows of its own", hint: "Name a table.", number: "PLT-3224")
    }
    return entry
  }

  /// A table of the catalog, which may give out its versions.
  /// - Parameters:
  ///   - features: what the caller takes care of in data files.
  ///   - cache: what is kept of the table between calls.
  func open(_ entry: TableEntry, _ features: Set<TableFeature> = [], _ cache: SnapshotCache? = nil) throws -> DeltaTable {
    let (store, path) = try ObjectStores.open(entry.location)
    return DeltaTable(
      store: store, path: path, parquet: DuckDBParquetHandler(), dataFeatures: features, cache: cache, coordination: coordination(entry))
  }

  func coordination(_ entry: TableEntry) -> TableCoordination {
    TableCoordination(id: entry.id.uuidString.lowercased(), coordinator: CatalogCommitCoordinator(catalog: catalog))
  }

  /// What lies in a folder, whatever the catalog says of it.
  static func open(_ location: String, _ features: Set<TableFeature> = [], _ cache: SnapshotCache? = nil) throws -> DeltaTable {
    let (store, path) = try ObjectStores.open(location)
    return DeltaTable(store: store, path: path, parquet: DuckDBParquetHandler(), dataFeatures: features, cache: cache)
  }

  /// Makes the catalog entry, so that executors know the folder to write to.
  /// - Parameter isAnywhere: whether the caller's work can write to a table that lies in a bucket.
  func prepare(_ name: ThreePartName, columns: [Column], by actor: String, isAnywhere: Bool = false) async throws -> TableEntry {
    let entry = try await catalog.table(
      name, creatingIn: root, columns: columns.map { ColumnEntry(name: $0.name, type: $0.type.sql.lowercased()) }, by: actor)
    if !isAnywhere { try entry.requireOnDisk() }
    try await BlockingPool.shared.run {
      try ReadOnlyPlaces.shared.requireWritable(entry.location)
      if !entry.isInBucket { try FileManager.default.createDirectory(atPath: entry.location, withIntermediateDirectories: true) }
    }
    return entry
  }

  enum Mode: Sendable {
    case append, overwrite
  }

  /// One commit with all files of a stage. Repeated with the same key, it finds its own version and changes nothing.
  /// - Returns: the version that holds the files.
  func commit(
    _ entry: TableEntry, columns: [Column], files: [WrittenFile], mode: Mode, key: String, operation: String
  ) async throws -> Int64 {
    try await requireOwnLog(entry)
    let version = try await BlockingPool.shared.run {
      let table = try open(entry)
      let schema = TypeMapping.schema(columns)
      let adds = try Self.adds(files, entry)
      let transaction = AppTransaction(appId: "platform/\(key)", version: 1)
      if try !table.exists() {
        return try table.create(schema: schema, name: "\(entry.name)", files: adds, transaction: transaction, operation: operation).version
      }
      switch mode {
      case .append: return try table.append(adds, expectedSchema: schema, transaction: transaction, operation: operation).version
      case .overwrite:
        var attempt = 0
        while true {
          do {
            let base = try table.snapshot()
            return try table.overwrite(
              adds, readVersion: base.version, schema: schema, transaction: transaction, operation: operation
            ).version
          } catch let error as PlatformError where error.code == .conflict && attempt < 10 {
            attempt += 1
          }
        }
      }
    }
    try await catalog.updateColumns(
      entry.name, columns.map { ColumnEntry(name: $0.name, type: $0.type.sql.lowercased()) })
    return version
  }
}

extension LakeTables {
  func history(_ name: ThreePartName, limit: Int) async throws -> [DeltaTable.HistoryEntry] {
    let entry = try await entry(name)
    return try await BlockingPool.shared.run { try open(entry, Self.readFeatures, snapshots.cache(entry.location)).history(limit: limit) }
  }

  /// Facts of the table's latest version, in the order and with the names of Databricks' DESCRIBE DETAIL.
  func detail(_ name: ThreePartName) async throws -> [(name: String, value: JSONValue)] {
    let entry = try await entry(name)
    let (snapshot, modified) = try await BlockingPool.shared.run {
      let table = try open(entry, Self.readFeatures, snapshots.cache(entry.location))
      return (try table.latest(), try table.history(limit: 1).first?.timestampMilliseconds)
    }
    let clustering = try snapshot.clusteringNames
    func time(_ milliseconds: Int64?) -> JSONValue { milliseconds.map { .string(SQLTime.timestamp(micros: $0 * 1000)) } ?? .null }
    return [
      ("format", "delta"), ("id", .string(snapshot.metadata.id)), ("name", .string("\(entry.name)")),
      ("description", snapshot.metadata.description.map { .string($0) } ?? .null), ("location", .string(entry.url)),
      ("createdAt", time(snapshot.metadata.createdTime)), ("lastModified", time(modified)),
      ("partitionColumns", .array(snapshot.metadata.partitionColumns.map { .string($0) })),
      ("clusteringColumns", .array(clustering.map { .string($0.joined(separator: ".")) })),
      ("numFiles", .integer(Int64(snapshot.filesByPath.count))), ("sizeInBytes", .integer(snapshot.sizeInBytes)),
      ("properties", .object(snapshot.metadata.configuration.mapValues { .string($0) })),
      ("minReaderVersion", .integer(Int64(snapshot.tableProtocol.minReaderVersion))),
      ("minWriterVersion", .integer(Int64(snapshot.tableProtocol.minWriterVersion))),
      ("tableFeatures", .array(snapshot.tableProtocol.features.map(\.rawValue).sorted().map { .string($0) })), ("version", .integer(snapshot.version)),
      ("numRows", snapshot.rowCount.map { .integer($0) } ?? .null),
    ]
  }
}

extension TableEntry {
  /// `file:///folder` or `s3://bucket/folder`.
  var url: String { isInBucket ? location : "file://" + location }
  var isInBucket: Bool { S3Location.isS3(location) }

  /// - Throws: `invalidArgument`: tasks other than SQL read and write folders.
  func requireOnDisk() throws {
    guard isInBucket else { return }
    throw PlatformError(
      .invalidArgument, "table '\(name)' lies in S3, which this task does not read or write",
      hint: "SQL does: CREATE TABLE copy AS SELECT * FROM \(name).", path: location)
  }
}

/// Columns of the tables that the built-in tasks write.
enum BuiltInTables {
  static let documents = [
    Column("path", .varchar), Column("size", .bigint), Column("sha256", .varchar), Column("content", .varchar),
    Column("read_at", .timestampTZ),
  ]
  static let quarantine = [
    Column("path", .varchar), Column("size", .bigint), Column("reason", .varchar), Column("read_at", .timestampTZ),
  ]
  static let chunks = [
    Column("chunk_id", .varchar), Column("path", .varchar), Column("position", .bigint), Column("text", .varchar),
    Column("tokens", .bigint), Column("split", .varchar),
  ]
  static let embeddings = [
    Column("chunk_id", .varchar), Column("path", .varchar), Column("text", .varchar), Column("embedding", .list(.float)),
  ]
}
