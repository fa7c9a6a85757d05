// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation

/// Writes pushed records into a table's data files: several batches at once, each wholly or not at all.
///
/// First `stage` reads the bodies and converts every value, while the engine may still open files; then `run` applies the rules of the
/// table and writes what has passed. A batch that breaks a rule is found by itself, and its first bad record by halving.
struct RecordWriter {
  /// Converted records: `f` batch, `n` line, `c0...` values by position of the column, `h0...` whether the record has the key.
  private static let typed = "__records_typed"
  private static let refused = "__records_refused"
  private static let rows = "__records_rows"
  /// What a packed body may become.
  static let unpackedLimit = 256 << 20

  let batches: [RecordBatch]
  let connection: Connection
  private(set) var table: TargetTable
  private let target: WriteTarget

  init(_ spec: StatementSpec, _ connection: Connection) throws {
    guard let batches = spec.records, let target = spec.target else { throw PlatformError(.internalError, "pushed records need a table") }
    self.batches = batches
    self.target = target
    self.connection = connection
    table = try TargetTable(target, columns: [])
  }

  // MARK: reading

  /// Makes the tables of converted records and of refusals.
  func stage(scratch: String, isCancelled: @escaping @Sendable () -> Bool) throws {
    try connection.execute("CREATE TEMP TABLE \(Self.refused) (f INTEGER, line BIGINT, reason VARCHAR)")
    var files: [FileRead.File] = []
    var copies: [String] = []
    defer { for copy in copies { unlink(copy) } }
    try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
    for (index, batch) in batches.enumerated() {
      if isCancelled() { throw CancellationError() }
      var path = batch.path
      if batch.isPacked || batch.format == .arrow {
        path = "\(scratch)/records-\(UUID().uuidString.lowercased()).json"
        copies.append(path)
        var text = Data()
        do { text = try Self.text(of: batch) } catch let error as PlatformError where error.code == .invalidFile {
          try refuse(index, line: error.line, error.message)
        }
        try text.write(to: URL(fileURLWithPath: path))
      }
      files.append(.init(path: path, name: "batch.json", sizeBytes: batch.sizeBytes, modifiedMilliseconds: 0))
    }
    var options = try FileOptions([:], format: .json)
    options.rescuedColumn = nil
    options.compression = "none"
    let staging = FileStaging(
      FileRead(view: "__records", format: .json, options: options, files: files, schema: table.columns), connection: connection, scratch: scratch,
      isQuery: false,
      isCancelled: isCancelled)
    try connection.execute("CREATE TEMP TABLE \(staging.badTable) (f INTEGER, line BIGINT, byte_offset BIGINT, reason VARCHAR, raw VARCHAR)")
    let flags = table.columns.indices.map { "h\($0) BOOLEAN" } + table.columns.enumerated().map { "c\($0) \($1.type.sql)" }
    try connection.execute("CREATE TEMP TABLE \(Self.typed) (f INTEGER, n BIGINT, problem VARCHAR, \(flags.joined(separator: ", ")))")
    let opened = try OpenedFiles(files[...], format: .json, options: options, scratch: scratch)
    try staging.collectJSON(opened.files)
    for part in staging.parts {
      if isCancelled() { throw CancellationError() }
      try connection.execute(insert(part, staging))
      try connection.execute("DROP TABLE \(part.table)")
    }
    for problem in opened.problems + staging.problems { try refuse(problem.index, line: nil, problem.reason) }
    try connection.execute(
      """
      INSERT INTO \(Self.refused) SELECT f, line, reason FROM \(staging.badTable);
      INSERT INTO \(Self.refused) SELECT f, n, problem FROM \(Self.typed) WHERE problem IS NOT NULL;
      DROP TABLE \(staging.badTable)
      """)
  }

  private func refuse(_ index: Int, line: Int?, _ reason: String) throws {
    try connection.execute(
      "INSERT INTO \(Self.refused) VALUES (\(index), \(line.map { String($0) } ?? "NULL"), \(SQLText.literal(String(reason.prefix(500)))))")
  }

  /// The records as lines of JSON.
  /// - Throws: `invalidFile`.
  private static func text(of batch: RecordBatch) throws -> Data {
    guard var data = FileManager.default.contents(atPath: batch.path) else { throw PlatformError(.unavailable, "the pushed records are gone") }
    if batch.isPacked {
      do { data = try GzipReader.unpack(data, limit: unpackedLimit) } catch let failure as GzipReader.Failure {
        throw PlatformError(.invalidFile, failure == .damaged ? "the gzip data is damaged" : "unpacked the records take more than \(unpackedLimit >> 20) MB")
      }
    }
    return batch.format == .arrow ? try ArrowStreamDecoder.lines(data) : data
  }

  /// One INSERT of a part's records, converted, with what is wrong about each.
  private func insert(_ part: FileStaging.Part, _ staging: FileStaging) -> String {
    var problems: [String] = ["CASE WHEN json_extract(s.j, '/') IS NOT NULL THEN 'a key is empty' END"]
    var flags: [String] = []
    var values: [String] = []
    var used: Set<Int> = []
    var wanted: [(value: String, type: SQLType)] = []
    for (field, column) in zip(table.schema.fields, table.columns) {
      let matching = part.fields.indices.filter { part.fields[$0].name.lowercased() == field.name.lowercased() }
      guard !matching.isEmpty else {
        flags.append("false")
        values.append("NULL::\(column.type.sql)")
        continue
      }
      var typed: [String] = []
      for index in matching {
        used.insert(index)
        let value = part.fields[index].value
        let (expression, isLost) = staging.converted(value, part, index, to: column.type)
        typed.append(expression)
        wanted.append((value, column.type))
        if let isLost {
          let text =
            "'''' || \(SQLText.literal(field.name)) || ''' takes \(column.type.sql.replacing("'", with: "''")), not ' || left(CAST(\(value) AS VARCHAR), 80)"
          problems.append("CASE WHEN \(isLost) THEN \(text) END")
        }
      }
      // Keys of one record that differ in case only would take each other's place.
      if matching.count > 1 {
        let count = matching.map { "CAST(\(part.fields[$0].value) IS NOT NULL AS INTEGER)" }.joined(separator: " + ")
        problems.append("CASE WHEN \(count) > 1 THEN '''' || \(SQLText.literal(field.name)) || ''' is given twice' END")
      }
      // A null means nothing for columns that compute their own values.
      let isOwn = ownValues.contains(field.name)
      flags.append(
        "("
          + matching.map { index in
            let value = part.fields[index].value
            return isOwn ? "(\(value) IS NOT NULL AND json_type(\(value)) <> 'NULL')" : "\(value) IS NOT NULL"
          }.joined(separator: " OR ") + ")")
      values.append(typed.count == 1 ? typed[0] : "coalesce(\(typed.joined(separator: ", ")))")
    }
    for (index, field) in part.fields.enumerated() where !used.contains(index) {
      problems.append(
        "CASE WHEN \(field.value) IS NOT NULL AND json_type(\(field.value)) <> 'NULL' THEN 'the table has no column ''' || \(SQLText.literal(String(field.name.prefix(100)))) || '''' END"
      )
    }
    let problem = "nullif(left(concat_ws('; ', \(problems.joined(separator: ", "))), 500), '')"
    let source = FileStaging.withNumberTexts(part.table, part, wanted)
    return "INSERT INTO \(Self.typed) SELECT s.f, s.n, \(problem), \((flags + values).joined(separator: ", ")) FROM \(source) s"
  }

  /// Generated and identity columns: given in all records of a batch, or computed for all of them.
  private var ownValues: Set<String> {
    Set(table.schema.generatedColumns.map { $0.path[0] }).union((try? table.schema.identityColumns().map(\.name)) ?? [])  // damage is told by the rules
  }

  // MARK: writing

  /// Applies the table's rules and writes the rows of all batches that pass.
  mutating func run(folder: String) throws -> StatementResult {
    var outcomes = batches.map { _ in RecordOutcome(rows: 0) }
    for row in try connection.rows("SELECT DISTINCT ON (f) f, line, reason FROM \(Self.refused) ORDER BY f, coalesce(line, 0)") {
      guard let index = row[0].intValue, outcomes.indices.contains(Int(index)) else { continue }
      outcomes[Int(index)].refusal = row[2].stringValue ?? "a record cannot be read"
      outcomes[Int(index)].line = row[1].intValue.map { Int($0) }
    }
    let own = table.schema.fields.indices.filter { ownValues.contains(table.schema.fields[$0].name) }
    let tests = own.flatMap { ["bool_or(h\($0))", "bool_and(h\($0))"] }
    var groups: [[Bool]: [Int]] = [:]
    for row in try connection.rows("SELECT \((["f", "count(*)"] + tests).joined(separator: ", ")) FROM \(Self.typed) GROUP BY f ORDER BY f") {
      guard let number = row[0].intValue, outcomes.indices.contains(Int(number)), outcomes[Int(number)].refusal == nil else { continue }
      let index = Int(number)
      outcomes[index].rows = row[1].intValue ?? 0
      let given = own.indices.map { row[2 + 2 * $0] == .bool(true) }
      if let mixed = own.indices.first(where: { given[$0] && row[3 + 2 * $0] != .bool(true) }) {
        outcomes[index].refusal = "'\(table.schema.fields[own[mixed]].name)' computes its own values: give it in all records of the batch, or in none"
      } else {
        groups[given, default: []].append(index)
      }
    }
    for index in outcomes.indices where outcomes[index].rows == 0 && outcomes[index].refusal == nil { outcomes[index].refusal = "the batch has no records" }
    let identities = try table.schema.identityColumns()
    var isStarted = false
    for (given, members) in groups.sorted(by: { $0.value[0] < $1.value[0] }) {
      let absent = Set(own.indices.filter { !given[$0] }.map { own[$0] })
      do {
        try add(members, absent, identities, &isStarted)
      } catch let error as PlatformError where error.code == .invalidArgument {
        if members.count == 1 { try refuse(members[0], absent, error, &outcomes) }
        for index in members where members.count > 1 {
          do { try add([index], absent, identities, &isStarted) } catch let error as PlatformError where error.code == .invalidArgument {
            try refuse(index, absent, error, &outcomes)
          }
        }
      }
    }
    for index in outcomes.indices where outcomes[index].refusal != nil { outcomes[index].rows = 0 }
    let original = try TargetTable(target, columns: [])
    var files: [WrittenFile] = []
    if isStarted {
      files = try DataFileWriter(layout: PhysicalLayout(table: original), folder: folder).write(connection, query: "SELECT * FROM \(Self.rows)")
    }
    var result = StatementResult(
      columns: original.columns, rows: [], isTruncated: false, files: files, rowCount: outcomes.reduce(0) { $0 + $1.rows }, target: original.described)
    if isStarted { result.identityMarks = try StatementRunner.identityMarks(identities, Self.rows, connection) }
    result.records = outcomes
    return result
  }

  private mutating func add(_ members: [Int], _ absent: Set<Int>, _ identities: [IdentityColumn], _ isStarted: inout Bool) throws {
    do {
      let query = try query(members, absent)
      try connection.execute(isStarted ? "INSERT INTO \(Self.rows) \(query)" : "CREATE TEMP TABLE \(Self.rows) AS \(query)")
    } catch { throw RowRuleError.translated(error) }
    isStarted = true
    // The next batches take the values behind these.
    guard let marks = try StatementRunner.identityMarks(identities, Self.rows, connection) else { return }
    let moved = identities.map { column in
      var column = column
      if let mark = marks[column.name] { column.observe(mark) }
      return column
    }
    var next = target
    next.schema = try StructType(parsing: target.schema ?? "").updating(moved).schemaString
    table = try TargetTable(next, columns: [])
  }

  /// Complete, checked rows of some batches.
  private func query(_ members: [Int], _ absent: Set<Int>, lines: ClosedRange<Int64>? = nil) throws -> String {
    let defaults = Dictionary(
      table.schema.defaults.filter { $0.path.count == 1 }.map { ($0.path[0], $0.expression) }, uniquingKeysWith: { first, _ in first })
    var given: [String: String] = [:]
    for (index, field) in table.schema.fields.enumerated() where !absent.contains(index) {
      var value = "r.c\(index)"
      if let expression = defaults[field.name] { value = "CASE WHEN r.h\(index) THEN \(value) ELSE (\(try SQLExpression.engine(expression))\n) END" }
      given[field.name.lowercased()] = value
    }
    var source = "SELECT * FROM \(Self.typed) WHERE f IN (\(members.map(String.init).joined(separator: ", ")))"
    if let lines { source += " AND n BETWEEN \(lines.lowerBound) AND \(lines.upperBound)" }
    return try RowRules(table: table).query(from: "(\(source) ORDER BY f, n) AS r", given: given)
  }

  /// Names the first record of a batch that breaks a rule.
  private func refuse(_ index: Int, _ absent: Set<Int>, _ error: PlatformError, _ outcomes: inout [RecordOutcome]) throws {
    var reason = error.message
    var line: Int64?
    if let range = try connection.rows("SELECT min(n), max(n) FROM \(Self.typed) WHERE f = \(index)").first, var low = range[0].intValue,
      var high = range[1].intValue
    {
      let start = low
      func problem(_ lines: ClosedRange<Int64>) throws -> String? {
        do {
          _ = try connection.rows("SELECT count(*) FROM (SELECT * FROM (\(query([index], absent, lines: lines))) AS q)")
          return nil
        } catch let error as PlatformError where error.code == .invalidArgument {
          return (RowRuleError.translated(error) as? PlatformError)?.message ?? error.message
        }
      }
      if try problem(start...high) != nil {
        while low < high {
          let middle = low + (high - low) / 2
          if try problem(start...middle) == nil { low = middle + 1 } else { high = middle }
        }
        line = low
        reason = try problem(low...low) ?? reason
      }
    }
    outcomes[index].refusal = String(reason.prefix(700))
    outcomes[index].line = line.map { Int($0) }
  }
}
