// SPDX-License-Identifier: Apache-2.0

public import Core
import DuckDB
import Foundation

/// Deals the rows of some files of a table out to parts, so that rows with equal keys land in the same part. The parts are plain
/// Parquet files in a folder of the attempt; a shard of the next stage reads its part from every exchange.
public struct ExchangeShard: Codable, Sendable {
  public static let kind = "sql.exchange"
  /// No column of a table has this name.
  private static let partColumn = "__platform_part"

  /// `StatementSpec.Table.view` of the table that is dealt out.
  public var view: String
  /// The files to read.
  public var scan: TableScan
  /// Columns that the parts get.
  public var columns: [Column]
  /// Names of columns among them.
  public var keys: [Column]
  public var parts: Int
  /// Absolute; made if it does not exist.
  public var folder: String
  /// Given back with the result: the statement that the parts are for.
  public var statement: StatementSpec?

  public init(view: String, scan: TableScan, columns: [Column], keys: [Column], parts: Int, folder: String) {
    self.view = view
    self.scan = scan
    self.columns = columns
    self.keys = keys
    self.parts = parts
    self.folder = folder
  }

  /// The parts that have rows.
  public struct Result: Codable, Sendable {
    public struct File: Codable, Sendable {
      public var part: Int
      /// Absolute.
      public var path: String
      public var size: Int64
      public var rows: Int64
    }
    public var view: String
    public var columns: [Column]
    public var parts: Int
    public var files: [File]
    public var statement: StatementSpec?
    /// Another one deals rows out in another way.
    public var engine: String
  }

  /// A text that equal keys share: the same number has different hashes as INTEGER and BIGINT, and zero has two signs.
  static func text(_ key: Column) -> String {
    let name = SQLText.identifier(key.name)
    switch key.type {
    case .float, .double: return "CASE WHEN \(name) = 0 THEN '0' WHEN isnan(\(name)) THEN 'nan' ELSE CAST(CAST(\(name) AS DOUBLE) AS VARCHAR) END"
    default: return "CAST(\(name) AS VARCHAR)"
    }
  }

  /// Blocks.
  /// - Throws: `invalidFile` naming a damaged file, `cancelled`, `resourceExhausted`.
  public func run(context: any WorkContext) throws -> Result {
    let spill = context.scratchDirectory + "/exchange-spill-" + UUID().uuidString.prefix(8)
    defer { try? FileManager.default.removeItem(atPath: spill) }  // scratch is removed with the attempt anyway
    let connection = try Database(settings: .init(memoryLimit: "1GB", threads: 2, temporaryDirectory: spill)).connect()
    let watch = WorkWatch(connection, context)
    defer { watch.stop() }
    do {
      try connection.execute(StatementRunner.connectionSettings)
      try scan.define("__input", on: connection)
      do { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) } catch {
        throw PlatformError(.permissionDenied, "cannot create the folder", path: folder)
      }
      try connection.execute("SET preserve_insertion_order=false; SET allowed_paths=\(SQLText.list(scan.paths))")
      try connection.execute("SET allowed_directories=\(SQLText.list([folder + "/"])); SET enable_external_access=false; SET lock_configuration=true")
      let list = columns.map { SQLText.identifier($0.name) }.joined(separator: ", ")
      let part = "CAST(hash(\(keys.map(Self.text).joined(separator: ", "))) % \(parts) AS INTEGER)"
      let rows = try connection.rows(
        """
        COPY (SELECT \(list), \(part) AS \(Self.partColumn) FROM __input) TO \(SQLText.literal(folder + "/parts"))
        (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (\(Self.partColumn)), RETURN_STATS)
        """)
      return Result(
        view: view, columns: columns, parts: parts, files: try rows.map(file).sorted { ($0.part, $0.path) < ($1.part, $1.path) }, statement: statement,
        engine: try Database.engineVersion())
    } catch let error as PlatformError where error.code == .cancelled {
      throw context.isCancelled ? CancellationError() : error
    }
  }

  private func file(_ row: [SQLValue]) throws -> Result.File {
    guard row.count >= 3, let path = row[0].stringValue, let rows = Int64(row[1]), let size = Int64(row[2]),
      let folder = path.split(separator: "/").dropLast().last, folder.hasPrefix(Self.partColumn + "="),
      let part = Int(folder.dropFirst(Self.partColumn.utf8.count + 1)), (0..<parts).contains(part)
    else { throw PlatformError(.internalError, "the engine does not tell which files it wrote") }
    return Result.File(part: part, path: path, size: size, rows: rows)
  }

  /// What the shard of `part` reads of each table, by view.
  /// - Throws: `unavailable` when workers of different engines have dealt the rows out.
  public static func scans(_ results: [Result], part: Int) throws -> [String: TableScan] {
    let engines = Set(results.map(\.engine))
    guard engines.count <= 1 else {
      throw PlatformError(
        .unavailable, "workers have different versions of the SQL engine: \(engines.sorted().joined(separator: ", "))",
        hint: "Install the same on all, or leave partition_by out.", number: "PLT-3219")
    }
    return Dictionary(grouping: results, by: \.view).mapValues { own in
      var scan = TableScan(files: [], columns: own[0].columns)
      scan.files = own.flatMap(\.files).filter { $0.part == part }.map { TableScan.File(path: $0.path, size: $0.size, rows: $0.rows) }
      return scan
    }
  }
}
