// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import Glibc
import Postgres

/// Copies rows out of a Postgres, in one snapshot of it: first through a file into a table of the engine, while that may open files, then
/// by the table's rules into data files.
struct PostgresRows {
  private static let rows = "__postgres_rows"
  /// Of a row, as text.
  private static let lineLimit = 128 << 20

  let read: PostgresRead
  let outcome: PostgresOutcome

  /// Reads, and makes the table of rows.
  init(_ spec: StatementSpec, connectionString: String, _ connection: Connection, scratch: String, isCancelled: @escaping @Sendable () -> Bool) throws {
    guard let read = spec.postgres else { throw PlatformError(.internalError, "there is nothing to read from Postgres") }
    self.read = read
    do {
      let export = try PostgresExport(connectionString: connectionString, bound: .seconds(3500), isCancelled: isCancelled)
      let source = try Self.source(read)
      let columns = try Self.columns(of: source, export, spec.targetColumns)
      guard !columns.isEmpty, Set(columns.map { $0.name.lowercased() }).count == columns.count else {
        throw PlatformError(
          .invalidArgument, columns.isEmpty ? "the query has no columns" : "two columns of the source have the same name",
          hint: "Give a query that names its columns differently.", number: "PLT-3129")
      }
      let plain = columns.map { Column($0.name, $0.column.type) }
      guard !read.isProbe else {
        outcome = PostgresOutcome(columns: plain, mark: read.last, hasMore: false)
        return
      }
      var range = Watermark.Range(filters: ["true"], mark: nil, hasMore: false)
      if let name = read.watermark { range = try Watermark(read, name, columns, source, export).range() }
      outcome = PostgresOutcome(columns: plain, mark: range.mark, hasMore: range.hasMore)
      try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
      let path = "\(scratch)/postgres-\(UUID().uuidString.lowercased()).csv"
      defer { unlink(path) }
      let longest = try Self.copy(range.selects(source, columns.map { try $0.exported }), export, to: path)
      try Self.load(path, columns, longest: longest, connection)
    } catch let error as PostgresError {
      // The server's text names tables and columns of the user's own.
      throw PlatformError(
        error.isConnectionLoss && error.sqlState != "25006" ? .unavailable : .invalidArgument, "Postgres: \(error.message.prefix(500))",
        hint: "Check the connection, and what is to be read.", number: "PLT-3129")
    }
  }

  /// Arrays of arrays, which the type does not tell, are text; so are arrays for which the table has a column of text.
  private static func columns(of source: String, _ export: PostgresExport, _ target: [Column]) throws -> [PostgresColumn] {
    let fields = try export.fields(of: source)
    let open = fields.filter { field in field.isArray && !target.contains { $0.name.lowercased() == field.name.lowercased() } }
    var texts = Set(target.filter { $0.type == .varchar }.map { $0.name.lowercased() })
    if !open.isEmpty {
      let list = try open.enumerated().map { "bool_or(array_ndims(q.\(try PostgresIdentifier.quote($1.name))) > 1)::text AS a\(1000 + $0)" }
      let found = try export.row("SELECT \(list.joined(separator: ", ")) FROM (\(source)\n) AS q") ?? []
      for (field, isNested) in zip(open, found) where isNested == "true" { texts.insert(field.name.lowercased()) }
    }
    return fields.map { field in
      var field = field
      if field.isArray, texts.contains(field.name.lowercased()) { (field.type, field.isArray) = ("text", false) }
      return PostgresColumn(field)
    }
  }

  /// The source as a query.
  private static func source(_ read: PostgresRead) throws -> String {
    if let query = read.query { return query }
    let parts = (read.table ?? "").split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard (1...2).contains(parts.count) else {
      throw PlatformError(.invalidArgument, "'\((read.table ?? "").prefix(100))' is not a table's name", hint: "Write schema.table.", number: "PLT-3129")
    }
    return "SELECT * FROM " + (try parts.map { try PostgresIdentifier.quote($0) }.joined(separator: "."))
  }

  /// - Returns: the length of the longest row.
  private static func copy(_ queries: [String], _ export: PostgresExport, to path: String) throws -> Int {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw PlatformError.system("write", path) }
    defer { close(descriptor) }
    var buffer: [UInt8] = []
    var longest = 0
    func flush() throws {
      try WholeWrite.write(buffer, to: descriptor, path)
      buffer.removeAll(keepingCapacity: true)
    }
    for query in queries {
      _ = try export.copyOut(query) { piece in
        longest = max(longest, piece.count)
        guard longest <= lineLimit else {
          throw PlatformError(
            .invalidArgument, "a row of the source is longer than \(lineLimit >> 20) MB", hint: "Leave the large column out.", number: "PLT-3129")
        }
        buffer.append(contentsOf: piece)
        if buffer.count >= 1 << 20 { try flush() }
      }
    }
    try flush()
    return longest
  }

  /// The file as a table with the columns' types.
  private static func load(_ path: String, _ columns: [PostgresColumn], longest: Int, _ connection: Connection) throws {
    let texts = ["'k': 'VARCHAR'"] + columns.indices.map { "'c\($0)': 'VARCHAR'" }
    let values = columns.enumerated().map { "\($1.imported("c\($0)")) AS \(SQLText.identifier($1.name))" }
    do {
      try connection.execute(
        """
        CREATE TEMP TABLE \(rows) AS SELECT \(values.joined(separator: ", ")) FROM read_csv(\(SQLText.literal(path)), auto_detect=false, header=false,
          columns={\(texts.joined(separator: ", "))}, delim=',', quote='"', escape='"', nullstr='', allow_quoted_nulls=false,
          max_line_size=\(max(2 << 20, longest + 16)), buffer_size=\(max(8 << 20, 2 * longest + 32)), strict_mode=true)
        """)
    } catch let error as PlatformError where error.code == .invalidArgument {
      throw PlatformError(
        .invalidArgument, "a value of the source does not fit its column: \(error.message.split(separator: "\n").first.map { String($0.prefix(300)) } ?? "")",
        hint: "Cast the column to text in a query.", number: "PLT-3129")
    }
  }

  /// Applies the table's rules and writes the rows.
  func write(_ spec: StatementSpec, _ connection: Connection) throws -> StatementResult {
    var result = StatementResult(columns: outcome.columns, rows: [], isTruncated: false, files: [], rowCount: 0)
    result.postgres = outcome
    if read.isProbe { return result }
    guard let target = spec.target, let folder = spec.outputDirectory else { throw PlatformError(.internalError, "a copy from Postgres needs a table") }
    let table = try TargetTable(target, columns: [])
    var given: [String: String] = [:]
    for column in outcome.columns {
      guard table.schema.fields.contains(where: { $0.name.lowercased() == column.name.lowercased() }) else {
        throw PlatformError(.conflict, "the table has no column '\(column.name)'", number: "PLT-3129")
      }
      given[column.name.lowercased()] = "r." + SQLText.identifier(column.name)
    }
    var query = try RowRules(table: table).query(from: "\(Self.rows) AS r", given: given)
    let identities = try table.schema.identityColumns()
    if !identities.isEmpty {
      do { try connection.execute("CREATE TEMP TABLE __rows_bound AS \(query)") } catch { throw RowRuleError.translated(error) }
      query = "SELECT * FROM __rows_bound"
    }
    result.files = try DataFileWriter(layout: PhysicalLayout(table: table), folder: folder).write(connection, query: query)
    result.rowCount = result.files.reduce(0) { $0 + $1.rows }
    result.target = table.described
    result.identityMarks = try StatementRunner.identityMarks(identities, "__rows_bound", connection)
    return result
  }
}

/// A column of Postgres, and how its values come here: as text that means the same to both engines.
struct PostgresColumn {
  let name: String
  let field: PostgresExport.Field
  let column: Column

  init(_ field: PostgresExport.Field) {
    self.field = field
    name = field.name
    let item = Self.type(field)
    column = Column(field.name, field.isArray ? .list(item) : item)
  }

  /// Types that nothing here matches become text.
  private static func type(_ field: PostgresExport.Field) -> SQLType {
    switch field.type {
    case "bool": return .boolean
    case "int2": return .smallint
    case "int4": return .integer
    case "int8", "oid": return .bigint
    case "float4": return .float
    case "float8": return .double
    case "numeric":
      guard let precision = field.precision, let scale = field.scale, (1...38).contains(precision), scale <= precision else { return .varchar }
      return .decimal(precision, scale)
    case "date": return .date
    case "timestamp", "timestamptz": return .timestampTZ
    case "bytea" where !field.isArray: return .blob
    default: return .varchar
    }
  }

  /// The column of the row `q`, as text.
  var exported: String {
    get throws {
      let place = "q." + (try PostgresIdentifier.quote(name))
      if field.isArray { return "array_to_json(\(place)::text[])::text" }
      return field.type == "bytea" ? "encode(\(place), 'hex')" : "\(place)::text"
    }
  }

  /// The value of that text.
  func imported(_ text: String) -> String {
    switch column.type {
    case .varchar: text
    case .blob: "unhex(\(text))"
    case .list(.date), .list(.timestampTZ):
      "CAST(list_transform(CAST(CAST(\(text) AS JSON) AS VARCHAR[]), lambda x: \(Self.era("x"))) AS \(column.type.sql))"
    case .list: "CAST(CAST(CAST(\(text) AS JSON) AS VARCHAR[]) AS \(column.type.sql))"
    case .date, .timestampTZ: "CAST(\(Self.era(text)) AS \(column.type.sql))"
    default: "CAST(\(text) AS \(column.type.sql))"
    }
  }

  /// Years before the first: the engine reads `(BC)` behind the day, Postgres writes `BC` at the end.
  private static func era(_ text: String) -> String {
    "CASE WHEN ends_with(\(text), ' BC') THEN regexp_replace(\(text), '^([0-9]+-[0-9]+-[0-9]+)(.*) BC$', '\\1 (BC)\\2') ELSE \(text) END"
  }
}
