// SPDX-License-Identifier: Apache-2.0

public import Core
import DeltaLog
public import DuckDB
import Foundation
import ObjectStore
import Synchronization

/// Work of kind `ingest.files`: files become one data file of a table, and what cannot be read becomes rows of a quarantine
/// table. Twice the same work gives the same rows; which of the results counts is decided at the commit.
public struct FileLoad: Codable, Sendable, Hashable {
  public static let kind = "ingest.files"

  /// `schema` holds the columns that are expected; nil to find them out and write nothing.
  public var read: FileRead
  /// All columns of the table that is written.
  public var columns: [Column]
  /// Absolute paths of the files to write; a file without rows is not written.
  public var dataPath: String
  public var quarantinePath: String
  /// The time of the batch, so that a second attempt writes the same rows. Microseconds since 1970.
  public var readAt: Int64
  /// Comes back with the result: which batch the files are of.
  public var batch: Int64 = 0
  /// For a table with partitions, rules or columns that compute their values; nil: its files are plain.
  public var target: WriteTarget?
  /// Whether rows that break a rule of the target, and files of which nothing can be read, become rows of the quarantine; otherwise they end the load.
  public var quarantinesRows: Bool?
  public var memory = "1GB"
  public var threads = 2

  public init(read: FileRead, columns: [Column], dataPath: String, quarantinePath: String, readAt: Int64) {
    self.read = read
    self.columns = columns
    self.dataPath = dataPath
    self.quarantinePath = quarantinePath
    self.readAt = readAt
  }

  /// Columns of the quarantine table: one row for each record, or file, that could not be read.
  public static let quarantineColumns = [
    Column("file", .varchar), Column("line", .bigint), Column("byte_offset", .bigint), Column("reason", .varchar), Column("raw", .varchar),
    Column("read_at", .timestampTZ),
  ]
}

public struct FileLoadResult: Codable, Sendable, Hashable {
  /// The files' own columns.
  public var columns: [Column]
  /// Columns that the files have and the schema has not. When they are to be added, nothing was written.
  public var newColumns: [Column]
  /// Only the columns were looked for.
  public var isProbe: Bool
  public var batch: Int64
  /// The table's columns that `data` was written for.
  public var written: [Column]
  public var data: WrittenFile?
  /// For a load with a target: all files, and what they were made for.
  public var parts: [WrittenFile] = []
  public var target: WriteTarget?
  public var identityMarks: [String: Int64]?
  public var quarantine: WrittenFile?
  public var rows: Int64
  public var files: Int
  public var badRecords: Int64
  public var badFiles: Int
  /// Bad records and files by reason.
  public var reasons: [String: Int]
  /// Files that were replaced after they were listed, as they were read: these are in the table.
  public var replaced: [FileRead.File]?
  /// Files, by name, of which nothing could be read, and those that were no longer there.
  public var unreadable: [String]?
  public var gone: [String]?

  /// How many files there were with anything to read.
  public var filesRead: Int { files - (unreadable?.count ?? 0) - (gone?.count ?? 0) }
}

extension FileLoad {
  /// The same load, which writes files of this attempt's own, so that no two attempts write the same object.
  public func named(attempt: Int) -> FileLoad {
    var load = self
    load.dataPath = dataPath.replacing("{attempt}", with: String(attempt))
    load.quarantinePath = quarantinePath.replacing("{attempt}", with: String(attempt))
    return load
  }

  /// The narrowest type that takes the values of both.
  public static func common(_ one: SQLType, _ other: SQLType) -> SQLType { FileStaging.common(one, other) }

  /// Blocks; looks at `context.isCancelled` every 50 ms and interrupts the engine.
  /// - Throws: `invalidFile` PLT-3290 for a file of which nothing can be read, unless such are put aside, PLT-3114 in mode FAILFAST;
  ///   `conflict` PLT-3116 for new columns that are not allowed; `cancelled`.
  public func run(context: any WorkContext) throws -> FileLoadResult {
    try FileLoad.withConnection(memory: memory, threads: threads, context) { connection in
      let archives = try ZipExpansion(self.read, scratch: context.scratchDirectory) { context.isCancelled }
      var read = archives.read
      let isProbe = read.schema == nil && read.options.schema == nil
      read.hasMetadata = columns.contains { $0.name == FileRead.metadataColumn }
      let staging = FileStaging(read, connection: connection, scratch: context.scratchDirectory, isQuery: false) { context.isCancelled }
      staging.refused = archives.refused
      staging.members = archives.members
      staging.keepsPlaces = target != nil && quarantinesRows ?? false
      let outcome = try staging.run(isProbe: isProbe)
      let unreadable = outcome.badFiles.filter { !$0.isGone }
      if let first = unreadable.first, !putsFilesAside { throw refusal(first, of: unreadable.count, read) }
      let isAllGone = unreadable.isEmpty && outcome.badFiles.count == read.files.count
      if isProbe, outcome.columns.isEmpty, !isAllGone { throw staging.noColumns() }
      var result = FileLoadResult(
        columns: outcome.columns, newColumns: outcome.newColumns, isProbe: isProbe, batch: batch, written: columns, rows: 0, files: self.read.files.count,
        badRecords: outcome.badRecords, badFiles: outcome.badFiles.count, reasons: [:])
      // Of an archive's members the archive is not told apart.
      let own = Set(self.read.files.map(\.name))
      result.unreadable = unreadable.map { read.files[$0.index].name }.filter(own.contains)
      result.gone = outcome.badFiles.filter(\.isGone).map { read.files[$0.index].name }.filter(own.contains)
      let replaced = archives.replaced + staging.replaced.sorted { $0.key < $1.key }.map(\.value)
      if !replaced.isEmpty { result.replaced = replaced }
      func count(_ outcome: FileStaging.Outcome) throws {
        result.reasons = [:]
        for row in try connection.rows("SELECT \(FileStaging.uncut(sql: "reason")), count(*) FROM \(staging.badTable) GROUP BY 1 ORDER BY 2 DESC LIMIT 20") {
          result.reasons[row[0].stringValue ?? "", default: 0] += Int(row[1].intValue ?? 0)
        }
        for bad in outcome.badFiles.prefix(1000) { result.reasons[bad.reason, default: 0] += 1 }
      }
      try count(outcome)
      if isProbe { return result }
      result.target = target
      if !outcome.newColumns.isEmpty {
        switch read.options.evolution ?? .rescue {
        case .addNewColumns: return result
        case .failOnNewColumns:
          let names = outcome.newColumns.prefix(10).map { "\($0.name) \($0.type.sql)" }.joined(separator: ", ")
          throw PlatformError(
            .conflict, "the files have columns that the table has not: \(names)", hint: "Add them, or use schemaEvolutionMode addNewColumns or rescue.",
            number: "PLT-3116")
        case .rescue, .none: break
        }
      }
      result.rows = try connection.rows("SELECT count(*) FROM \(SQLText.identifier(read.view))").first?[0].intValue ?? 0
      if result.rows > 0, let target {
        try write(target, staging, connection, &result)
        if staging.keepsPlaces { try count(outcome) }
      } else if result.rows > 0 {
        let present = Set(try connection.query("SELECT * FROM \(SQLText.identifier(read.view)) LIMIT 0").columns.map { $0.name.lowercased() })
        let list = columns.map { column in
          let name = SQLText.identifier(column.name)
          return "CAST(\(present.contains(column.name.lowercased()) ? name : "NULL") AS \(column.type.sql)) AS \(name)"
        }.joined(separator: ", ")
        result.data = try ParquetFile.write(
          connection, source: "(SELECT \(list) FROM \(SQLText.identifier(read.view)))", columns: columns, path: dataPath)
      }
      result.quarantine = try writeQuarantine(staging, outcome, connection)
      return result
    }
  }

  /// Whether a file of which nothing can be read does not end the load.
  private var putsFilesAside: Bool { quarantinesRows == true || read.options.ignoresCorruptFiles == true || read.options.mode == .dropMalformed }

  private func refusal(_ problem: FileProblem, of count: Int, _ read: FileRead) -> PlatformError {
    PlatformError(
      .invalidFile, "nothing of a file can be read: \(problem.reason)" + (count > 1 ? "; nor of \(count - 1) other file\(count > 2 ? "s" : "")" : ""),
      hint: "Correct or remove it and load again, or have such files put aside: bad_rows: quarantine,"
        + " in COPY INTO COPY_OPTIONS ('quarantineBadRows' = 'true').",
      number: "PLT-3290", path: read.files[problem.index].name, line: problem.line.map { Int($0) })
  }

  /// Applies the table's rules. Columns that no file has take their defaults, or compute their values.
  private func write(_ target: WriteTarget, _ staging: FileStaging, _ connection: Connection, _ result: inout FileLoadResult) throws {
    let table = try TargetTable(target, columns: [])
    let present = Set(try connection.query("SELECT * FROM \(SQLText.identifier(read.view)) LIMIT 0").columns.map { $0.name.lowercased() })
    let found = Set(staging.parts.flatMap { $0.fields.map { $0.name.lowercased() } })
    let own = try Set(
      table.schema.generatedColumns.map { $0.path[0].lowercased() } + table.schema.defaults.map { $0.path[0].lowercased() }
        + table.schema.identityColumns().map { $0.name.lowercased() })
    var given: [String: String] = [:]
    for field in table.schema.fields {
      let key = field.name.lowercased()
      if present.contains(key), !own.contains(key) || found.contains(key) { given[key] = "r.\(SQLText.identifier(field.name))" }
    }
    let source = "\(SQLText.identifier(read.view)) AS r"
    var query: String
    if staging.keepsPlaces {
      try judge(RowRules(table: table), source, given, staging, connection, &result)
      query = "SELECT \(table.columns.map { SQLText.identifier($0.name) }.joined(separator: ", ")) FROM __judged WHERE \(RowRules.reasonColumn) IS NULL"
    } else {
      query = try RowRules(table: table).query(from: source, given: given)
    }
    let identities = try table.schema.identityColumns()
    if !identities.isEmpty {
      do { try connection.execute("CREATE TEMP TABLE __rows_bound AS \(query)") } catch { throw RowRuleError.translated(error) }
      query = "SELECT * FROM __rows_bound"
    }
    let folder = (dataPath as NSString).deletingLastPathComponent
    result.parts = try DataFileWriter(layout: PhysicalLayout(table: table), folder: folder).write(connection, query: query)
    result.target = table.described
    result.identityMarks = try StatementRunner.identityMarks(identities, "__rows_bound", connection)
  }

  /// Makes the table `__judged` of complete rows with what is wrong about each, and moves what was found into the table of bad records.
  private func judge(
    _ rules: RowRules, _ source: String, _ given: [String: String], _ staging: FileStaging, _ connection: Connection, _ result: inout FileLoadResult
  ) throws {
    let places = [FileStaging.fileColumn, FileStaging.lineColumn]
    let query = try rules.judged(from: source, given: given, passing: places.map { "r.\($0)" }, passed: places)
    do { try connection.execute("CREATE TEMP TABLE __judged AS \(query)") } catch { throw RowRuleError.translated(error) }
    let hidden = Set(places + [RowRules.reasonColumn])
    let shown = rules.table.columns.filter { !hidden.contains($0.name) && $0.type != .blob }
      .map { "\(SQLText.literal($0.name)): \(SQLText.identifier($0.name))" }.joined(separator: ", ")
    let raw = shown.isEmpty ? "NULL::VARCHAR" : "CAST(to_json({\(shown)}) AS VARCHAR)"
    try connection.execute(
      """
      INSERT INTO \(staging.badTable) SELECT f, n, NULL, \(FileStaging.reason("reason", cutting: "raw")), left(raw, \(FileStaging.rawLimit))
      FROM (SELECT \(places[0]) AS f, \(places[1]) AS n, \(RowRules.reasonColumn) AS reason, \(raw) AS raw FROM __judged WHERE \(RowRules.reasonColumn) IS NOT NULL)
      """)
    let broken = try connection.rows("SELECT count(*) FROM __judged WHERE \(RowRules.reasonColumn) IS NOT NULL").first?[0].intValue ?? 0
    result.rows -= broken
    result.badRecords += broken
  }

  private func writeQuarantine(_ staging: FileStaging, _ outcome: FileStaging.Outcome, _ connection: Connection) throws -> WrittenFile? {
    let read = staging.read
    let bad = try connection.rows("SELECT count(*) FROM \(staging.badTable)").first?[0].intValue ?? 0
    guard bad > 0 || !outcome.badFiles.isEmpty, read.options.mode != .dropMalformed else { return nil }
    try connection.execute(
      "CREATE TEMP TABLE \(staging.badTable)_out (file VARCHAR, line BIGINT, byte_offset BIGINT, reason VARCHAR, raw VARCHAR, read_at TIMESTAMP WITH TIME ZONE)"
    )
    let names = read.files.indices.map { "(\($0), \(SQLText.literal(read.files[$0].name)))" }.joined(separator: ", ")
    try connection.execute(
      """
      INSERT INTO \(staging.badTable)_out SELECT m.name, b.line, b.byte_offset, b.reason, b.raw, make_timestamptz(\(readAt))
      FROM \(staging.badTable) b JOIN (VALUES \(names)) m(f, name) ON m.f = b.f
      """)
    if !outcome.badFiles.isEmpty {
      let rows = outcome.badFiles.map {
        "(\(SQLText.literal(read.files[$0.index].name)), NULL, NULL, \(SQLText.literal($0.reason)), NULL, make_timestamptz(\(readAt)))"
      }
      try connection.execute("INSERT INTO \(staging.badTable)_out VALUES \(rows.joined(separator: ", "))")
    }
    return try ParquetFile.write(connection, source: "\(staging.badTable)_out", columns: FileLoad.quarantineColumns, path: quarantinePath)
  }

  /// Makes `read.view` for a query.
  static func stage(_ read: FileRead, _ connection: Connection, scratch: String, keys: KeyRing, isCancelled: @escaping @Sendable () -> Bool) throws {
    guard !read.files.isEmpty else { throw PlatformError(.notFound, "read_files found no file", number: "PLT-3113") }
    do {
      let archives = try ZipExpansion(read, scratch: scratch, keys: keys, isCancelled: isCancelled)
      let staging = FileStaging(archives.read, connection: connection, scratch: scratch, isQuery: true, keys: keys, isCancelled: isCancelled)
      staging.refused = archives.refused
      _ = try staging.run()
    } catch let error as PlatformError where error.code == .cancelled {
      throw isCancelled() ? CancellationError() : error
    }
  }

  /// An engine of its own, interrupted once the context is cancelled.
  static func withConnection<T>(memory: String, threads: Int, _ context: any WorkContext, _ body: (Connection) throws -> T) throws -> T {
    let spill = context.scratchDirectory + "/load-spill-" + UUID().uuidString.prefix(8)
    defer { try? FileManager.default.removeItem(atPath: spill) }  // scratch is removed with the attempt anyway
    let connection = try Database(settings: .init(memoryLimit: memory, threads: max(1, threads), temporaryDirectory: spill)).connect()
    try connection.execute("SET TimeZone='UTC'; SET enable_external_file_cache=false")
    let watch = WorkWatch(connection, context)
    defer { watch.stop() }
    do {
      return try body(connection)
    } catch let error as PlatformError where error.code == .cancelled {
      throw context.isCancelled ? CancellationError() : error
    }
  }
}
