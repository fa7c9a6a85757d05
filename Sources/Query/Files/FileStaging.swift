// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation
import ObjectStore

/// Reads the files of a `FileRead` into a table of the engine, before the engine is shut off from files.
///
/// Records that cannot be read go to the table `badTable` (file, line, byte_offset, reason, raw). Values that do not fit their
/// column, and columns that the schema does not have, go to the rescued column as JSON; without one, a record with such
/// values is bad. Nothing is lost without a trace, except what `DROPMALFORMED` and `schemaEvolutionMode none` say to drop.
final class FileStaging {
  struct Outcome {
    /// Of the files' data: without the rescued column and `_metadata`.
    var columns: [Column]
    /// Columns that are in the files and not in the given schema.
    var newColumns: [Column]
    var badRecords: Int64
    /// Files of which nothing could be read.
    var badFiles: [FileProblem]
  }

  /// Columns of one table of raw texts: all files with the same header.
  struct Part {
    var table: String
    /// Names of the file's columns and the expressions of their values.
    var fields: [(name: String, value: String)]
    var kind: Kind
    /// For parquet: positions of the files, read again when the columns are known.
    var files: [Int] = []
    var types: [SQLType] = []
    enum Kind { case text, json, typed }
  }

  let read: FileRead
  let connection: Connection
  let scratch: String
  let isCancelled: @Sendable () -> Bool
  /// For a query bad records become rows with what is known of them; for a load they stay in `badTable`.
  let isQuery: Bool
  /// Whether each row keeps which file and line it is of, in the columns `fileColumn` and `lineColumn` of the view.
  var keepsPlaces = false
  /// Files that are not opened, by position.
  var refused: [Int: FileProblem] = [:]
  /// Files of `read` that are members of archives, by position.
  var members: Set<Int> = []
  /// Files that are others now than those that were listed, as they were read, by position.
  private(set) var replaced: [Int: FileRead.File] = [:]
  var parts: [Part] = []
  var problems: [FileProblem] = []
  private var counter = 0
  /// Copies of objects; files that are read twice are fetched once.
  private let fetched: FetchedFiles

  static let filesAtOnce = 200
  static let fileColumn = "__platform_file"
  static let lineColumn = "__platform_line"
  static let lineLimit = 16 << 20
  static let columnLimit = 4000
  static let sampleRows = 100_000

  var badTable: String { read.view + "__bad" }
  private var filesTable: String { read.view + "__files" }

  init(_ read: FileRead, connection: Connection, scratch: String, isQuery: Bool, keys: KeyRing = .shared, isCancelled: @escaping @Sendable () -> Bool) {
    self.read = read
    self.connection = connection
    self.scratch = scratch
    self.isQuery = isQuery
    self.isCancelled = isCancelled
    fetched = FetchedFiles(folder: scratch, keepsCopies: read.format == .parquet, keys: keys, isCancelled: isCancelled)
  }

  func unique(_ word: String) -> String {
    counter += 1
    return "\(read.view)__\(word)\(counter)"
  }

  /// - Parameter isProbe: only columns are looked for, and there may be none.
  /// - Throws: `invalidArgument` PLT-3113 when the files have no columns; `invalidFile` PLT-3114 when `FAILFAST` met a bad record; `cancelled`.
  func run(isProbe: Bool = false) throws -> Outcome {
    try connection.execute(
      """
      CREATE TEMP TABLE \(badTable) (f INTEGER, line BIGINT, byte_offset BIGINT, reason VARCHAR, raw VARCHAR);
      CREATE TEMP TABLE \(filesTable) (f INTEGER, name VARCHAR, base VARCHAR, size BIGINT, modified TIMESTAMP WITH TIME ZONE)
      """)
    try describeFiles()
    problems += refused.values.sorted { $0.index < $1.index }
    var start = 0
    while start < read.files.count {
      if isCancelled() { throw CancellationError() }
      let end = min(start + Self.filesAtOnce, read.files.count)
      let opened = try open(start..<end)
      try fetched.begin(read.files[end..<min(end + Self.filesAtOnce, read.files.count)])
      problems += opened.problems
      try collect(opened.files)
      start = end
    }
    if !isQuery { try takeUnreadable() }
    let (columns, newColumns) = try decideColumns()
    if columns.isEmpty, isProbe { return Outcome(columns: [], newColumns: [], badRecords: 0, badFiles: problems) }
    guard !columns.isEmpty else { throw noColumns() }
    guard Set(columns.map { $0.name.lowercased() }).count == columns.count else {
      throw PlatformError(.invalidArgument, "two columns of the files have the same name", number: "PLT-3113", path: read.files.first?.name)
    }
    try describeReplaced()
    try fill(columns)
    let bad = try connection.rows("SELECT count(*) FROM \(badTable)").first?[0].intValue ?? 0
    try settle(columns, bad: bad)
    return Outcome(columns: columns, newColumns: newColumns, badRecords: bad, badFiles: problems)
  }

  private func open(_ range: Range<Int>) throws -> OpenedFiles {
    let opened = try OpenedFiles(read.files[range], format: read.format, options: read.options, scratch: scratch, fetched: fetched, leavingOut: refused)
    for index in range where !members.contains(index) {
      let listed = read.files[index]
      if let object = fetched.found[index] { replaced[index] = listed.asRead(object) }
      if let file = opened.found[index] { replaced[index] = listed.asRead(file) }
    }
    return opened
  }

  func noColumns() -> PlatformError {
    let reason = problems.first.map { ": \(read.files[$0.index].name): \($0.reason)" } ?? ""
    return PlatformError(
      .invalidArgument, "no column can be read from \(read.files.count) files\(reason)", hint: "Give a schema, or check format and options.",
      number: "PLT-3113", path: read.files.first?.name)
  }

  /// Files that have records, and not one that can be read. The records stay in `badTable`.
  private func takeUnreadable() throws {
    guard read.options.mode != .failFast else { return }  // which names the record
    let tables = parts.map(\.table).filter { !$0.isEmpty }
    let readable = tables.isEmpty ? "" : "WHERE f NOT IN (\(tables.map { "SELECT f FROM \($0)" }.joined(separator: " UNION ALL ")))"
    let found = try connection.rows(
      """
      SELECT f, count(*), min(line), arg_min(reason, coalesce(line, 0)), coalesce(bool_or(starts_with(ltrim(raw), '{')), false)
      FROM \(badTable) \(readable) GROUP BY f ORDER BY f
      """)
    let known = Set(problems.map(\.index))
    for row in found {
      guard let index = row[0].intValue.map(Int.init), !known.contains(index) else { continue }
      let place = row[2].intValue.map { "line \($0): " } ?? ""
      var reason = "none of its records (\(row[1].intValue ?? 0)) can be read: \(place)\(Self.uncut(row[3].stringValue ?? ""))"
      if read.format == .json, !read.options.multiLine, row[4] == .bool(true) { reason += " (objects that span lines need the option multiLine)" }
      problems.append(FileProblem(index: index, reason: reason, line: row[2].intValue))
    }
  }

  private func describeFiles() throws {
    let appender = try Appender(connection, table: filesTable)
    for (index, file) in read.files.enumerated() {
      try appender.append(Int64(index))
      try appender.append(file.name)
      try appender.append((file.name as NSString).lastPathComponent)
      try appender.append(file.sizeBytes)
      try appender.append(file.modifiedMilliseconds * 1000)
      try appender.endRow()
    }
    try appender.close()
  }

  /// A load's rows say which file they are of.
  private func describeReplaced() throws {
    guard !isQuery, read.hasMetadata else { return }
    for (index, file) in replaced.sorted(by: { $0.key < $1.key }) {
      try connection.execute(
        "UPDATE \(filesTable) SET size = \(file.sizeBytes), modified = make_timestamptz(\(file.modifiedMilliseconds * 1000)) WHERE f = \(index)")
    }
  }

  private func collect(_ files: [OpenedFiles.File]) throws {
    switch read.format {
    case .csv: try collectCSV(files)
    case .json: try collectJSON(files)
    case .avro: try collectAvro(files)
    case .parquet: try collectParquet(files)
    case .text: try collectText(files)
    case .binaryFile: try collectBinary(files)
    }
  }

  /// Runs SQL over one file; a failure is that file's problem and no other's.
  func attempt(_ index: Int, _ body: () throws -> Void) throws {
    do {
      try body()
    } catch let error as PlatformError where error.code == .invalidArgument || error.code == .invalidFile {
      problems.append(FileProblem(index: index, reason: Self.reason(error)))
    }
  }

  /// The engine's text up to its first line end; its hints are about options that people here do not have.
  static func reason(_ error: PlatformError) -> String {
    let line = error.message.split(separator: "\n").first.map(String.init) ?? error.message
    return String(line.replacing(#/\/proc\/self\/fd\/\d+/#, with: "the file").prefix(300))
  }

  // MARK: columns

  private func decideColumns() throws -> (columns: [Column], newColumns: [Column]) {
    var found: [Column] = []
    var positions: [String: Int] = [:]
    let known = Dictionary((read.schema ?? read.options.schema ?? []).map { ($0.name.lowercased(), $0) }) { first, _ in first }
    let given = read.schema ?? read.options.schema
    for part in parts {
      let missing = part.fields.filter { known[$0.name.lowercased()] == nil }
      if missing.isEmpty { continue }
      for column in try infer(part, missing) {
        if let position = positions[column.name.lowercased()] {
          found[position].type = Self.common(found[position].type, column.type)
        } else {
          positions[column.name.lowercased()] = found.count
          found.append(column)
        }
      }
      guard found.count <= Self.columnLimit else {
        throw PlatformError(.invalidArgument, "the files have more than \(Self.columnLimit) columns", number: "PLT-3113", path: read.files.first?.name)
      }
    }
    for hint in read.options.hints where known[hint.name.lowercased()] == nil {
      if let position = positions[hint.name.lowercased()] { found[position].type = hint.type } else if given == nil { found.append(hint) }
    }
    found.removeAll { $0.name == read.options.rescuedColumn }
    if let given { return (given, found) }
    return (found, [])
  }

  /// The narrowest type that takes values of both.
  static func common(_ one: SQLType, _ other: SQLType) -> SQLType {
    if one == other { return one }
    let numbers: [SQLType] = [.tinyint, .smallint, .integer, .bigint, .double]
    let (first, second) = (one == .float ? .double : one, other == .float ? .double : other)
    if let left = numbers.firstIndex(of: first), let right = numbers.firstIndex(of: second) { return numbers[max(left, right)] }
    switch (first, second) {
    case (.date, .timestampTZ), (.timestampTZ, .date): return .timestampTZ
    case (.decimal(let w1, let s1), .decimal(let w2, let s2)):
      let scale = max(s1, s2)
      return .decimal(min(38, max(w1 - s1, w2 - s2) + scale), scale)
    case (.decimal, .double), (.double, .decimal): return .double
    case (.decimal, .tinyint), (.decimal, .smallint), (.decimal, .integer), (.decimal, .bigint): return common(first, .decimal(19, 0))
    case (.tinyint, .decimal), (.smallint, .decimal), (.integer, .decimal), (.bigint, .decimal): return common(.decimal(19, 0), second)
    case (.list(let left), .list(let right)): return .list(common(left, right))
    case (.structure(let left), .structure(let right)):
      var fields = left
      for field in right {
        if let position = fields.firstIndex(where: { $0.name == field.name }) {
          fields[position].type = common(fields[position].type, field.type)
        } else {
          fields.append(field)
        }
      }
      return .structure(fields)
    default: return .varchar
    }
  }

  // MARK: rows

  private func fill(_ columns: [Column]) throws {
    let list = columns.map { "\(SQLText.identifier($0.name)) \($0.type.sql)" }.joined(separator: ", ")
    let staged = unique("typed")
    try connection.execute("CREATE TEMP TABLE \(staged) (__f INTEGER, __n BIGINT, __rescued VARCHAR, \(list))")
    for part in parts {
      if isCancelled() { throw CancellationError() }
      if part.kind == .typed && !part.files.isEmpty {
        var start = 0
        while start < part.files.count {
          let end = min(start + Self.filesAtOnce, part.files.count)
          for index in part.files[start..<end] {
            let opened = try open(index..<index + 1)
            problems += opened.problems
            guard let file = opened.files.first else { continue }
            try attempt(index) {
              try connection.execute(
                insert(
                  part, columns, into: staged,
                  from: "(SELECT \(index) AS __f, \(keepsPlaces ? "row_number() OVER ()" : "NULL::BIGINT") AS __n, * FROM \(Self.parquet(file.path)))"))
            }
          }
          start = end
        }
      } else {
        try connection.execute(insert(part, columns, into: staged, from: part.table))
        try connection.execute("DROP TABLE IF EXISTS \(part.table)")
      }
    }
    let names = columns.map { "t.\(SQLText.identifier($0.name))" }.joined(separator: ", ")
    let rescued = read.options.rescuedColumn.map { ", t.__rescued AS \(SQLText.identifier($0))" } ?? ""
    let metadata =
      !read.hasMetadata
      ? ""
      : """
      , struct_pack(file_path := m.name, file_name := m.base, file_size := m.size, file_block_start := 0::BIGINT,
        file_block_length := m.size, file_modification_time := m.modified) AS \(FileRead.metadataColumn)
      """
    let places = keepsPlaces ? ", t.__f AS \(Self.fileColumn), t.__n AS \(Self.lineColumn)" : ""
    if quarantinesMisfits {
      try connection.execute(
        """
        INSERT INTO \(badTable) SELECT __f, __n, NULL, \(Self.reason("'values that do not fit their columns'", cutting: "__rescued")), left(__rescued, \(Self.rawLimit))
        FROM \(staged) WHERE __rescued IS NOT NULL;
        DELETE FROM \(staged) WHERE __rescued IS NOT NULL
        """)
    }
    try connection.execute(
      "CREATE TEMP TABLE \(SQLText.identifier(read.view)) AS SELECT \(names)\(rescued)\(metadata)\(places) FROM \(staged) t JOIN \(filesTable) m ON m.f = t.__f"
    )
    try connection.execute("DROP TABLE \(staged)")
  }

  static func parquet(_ path: String) -> String { "read_parquet(\(SQLText.literal(path)), hive_partitioning=false)" }

  /// Without a column for them, values that do not fit make the whole record bad: they are never dropped in silence.
  private var quarantinesMisfits: Bool { read.options.rescuedColumn == nil && !(isQuery && read.options.mode == .permissive) }

  /// A whole record as JSON.
  private static func record(_ part: Part) -> String {
    if part.kind == .json { return "CAST(s.j AS VARCHAR)" }
    let members = part.fields.map { "CASE WHEN \($0.value) IS NOT NULL THEN \(member($0.name, $0.value, part.kind)) END" }
    return "'{' || concat_ws(',', \(members.joined(separator: ", "))) || '}'"
  }

  /// One INSERT of all rows of a part, converted to `columns`.
  private func insert(_ part: Part, _ columns: [Column], into table: String, from source: String) -> String {
    // A column of a file may have any name: only tables of our own making are sure to have these.
    let (file, number) = part.files.isEmpty ? ("s.f", "s.n") : ("s.__f", "s.__n")
    var rescues: [String] = []
    var values: [String] = []
    var used: Set<Int> = []
    var wanted: [(value: String, type: SQLType)] = []
    for column in columns {
      let matching = part.fields.indices.filter { part.fields[$0].name.lowercased() == column.name.lowercased() }
      guard let index = matching.first(where: { part.fields[$0].name == column.name }) ?? matching.first else {
        values.append("NULL::\(column.type.sql)")
        continue
      }
      used.insert(index)
      let field = part.fields[index]
      let (value, isLost) = converted(field.value, part, index, to: column.type)
      values.append(value)
      wanted.append((field.value, column.type))
      if let isLost { rescues.append("CASE WHEN \(isLost) THEN \(Self.member(column.name, field.value, part.kind)) END") }
    }
    if read.options.evolution != FileOptions.Evolution.none {
      for (index, field) in part.fields.enumerated() where !used.contains(index) && field.name != read.options.rescuedColumn {
        let present = part.kind == .json ? "\(field.value) IS NOT NULL AND json_type(\(field.value)) <> 'NULL'" : "\(field.value) IS NOT NULL"
        rescues.append("CASE WHEN \(present) THEN \(Self.member(field.name, field.value, part.kind)) END")
      }
    }
    var rescued = "NULL"
    if !rescues.isEmpty {
      let found = "nullif(concat_ws(',', \(rescues.joined(separator: ", "))), '')"
      rescued =
        quarantinesMisfits
        ? "CASE WHEN \(found) IS NOT NULL THEN \(Self.record(part)) END"
        : "'{' || \(found) || ',\"_file_path\":' || to_json((SELECT m.name FROM \(filesTable) m WHERE m.f = \(file))) || '}'"
    }
    return "INSERT INTO \(table) SELECT \(file), \(number), \(rescued), \(values.joined(separator: ", ")) FROM \(Self.withNumberTexts(source, part, wanted)) s"
  }

  private static func member(_ name: String, _ value: String, _ kind: Part.Kind) -> String {
    "to_json(\(SQLText.literal(name))) || ':' || " + (kind == .json ? asWritten(value) : "to_json(CAST(\(value) AS VARCHAR))")
  }

  // MARK: texts that are cut

  /// Characters of a bad record that are kept.
  static let rawLimit = 65536
  static let cutMark = "; raw is cut: "

  /// The reason of a bad record, which says when not all of its text is kept. Both are expressions.
  static func reason(_ reason: String, cutting text: String) -> String {
    "\(reason) || CASE WHEN length(\(text)) > \(rawLimit) THEN '\(cutMark)' || strlen(\(text)) || ' bytes in all' ELSE '' END"
  }

  /// An expression without what it says of the text.
  static func uncut(sql reason: String) -> String { "regexp_replace(\(reason), '\(cutMark).*$', '')" }

  private static func uncut(_ reason: String) -> String { reason.firstRange(of: cutMark).map { String(reason[..<$0.lowerBound]) } ?? reason }

  /// Bad records and files, as the caller wants them.
  private func settle(_ columns: [Column], bad: Int64) throws {
    if read.options.mode == .failFast || (isQuery && read.options.mode == .permissive && !problems.isEmpty) {
      if let problem = problems.first(where: { read.options.mode == .failFast || $0.isGone || read.options.ignoresCorruptFiles != true }) {
        throw PlatformError(
          .invalidFile, problem.reason, hint: "Leave the file out, or use mode => 'DROPMALFORMED'.", number: "PLT-3114", path: read.files[problem.index].name)
      }
    }
    // A line of a text has no place for what cannot be read of it.
    if isQuery, read.format == .text, read.options.mode == .permissive, bad > 0,
      let row = try connection.rows("SELECT f, line, byte_offset, reason FROM \(badTable) ORDER BY f, line LIMIT 1").first
    {
      let isEncoding = row[3].stringValue?.hasPrefix("invalid encoding") == true
      let place = row[2].intValue.map { " at byte \($0)" } ?? ""
      throw PlatformError(
        .invalidFile, isEncoding ? "a line is not UTF-8\(place)" : "a line cannot be read\(place): \(row[3].stringValue ?? "")",
        hint: (isEncoding ? "Give the file's encoding => 'ISO-8859-1' or another, " : "Leave the file out, ")
          + "or leave such lines out with mode => 'DROPMALFORMED'.",
        number: "PLT-3291", path: read.files[Int(row[0].intValue ?? 0)].name, line: row[1].intValue.map { Int($0) })
    }
    if read.options.mode == .failFast, bad > 0, let row = try connection.rows("SELECT f, line, reason FROM \(badTable) LIMIT 1").first {
      throw PlatformError(
        .invalidFile, "a record cannot be read: \(row[2].stringValue ?? "")", hint: "Use mode => 'PERMISSIVE' to keep the others.", number: "PLT-3114",
        path: read.files[Int(row[0].intValue ?? 0)].name, line: row[1].intValue.map { Int($0) })
    }
    guard isQuery, read.options.mode == .permissive, bad > 0 else { return }
    let names = columns.map { _ in "NULL" }.joined(separator: ", ")
    let rescued =
      read.options.rescuedColumn == nil ? "" : ", '{\"_corrupt_record\":' || coalesce(to_json(b.raw), 'null') || ',\"_file_path\":' || to_json(m.name) || '}'"
    let metadata =
      read.hasMetadata
      ? ", struct_pack(file_path := m.name, file_name := m.base, file_size := m.size, file_block_start := 0::BIGINT, file_block_length := m.size, file_modification_time := m.modified)"
      : ""
    try connection.execute(
      "INSERT INTO \(SQLText.identifier(read.view)) SELECT \(names)\(rescued)\(metadata) FROM \(badTable) b JOIN \(filesTable) m ON m.f = b.f")
  }
}
