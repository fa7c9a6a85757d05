// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation

extension FileStaging {
  private static func common(_ file: OpenedFiles.File) -> String {
    "auto_detect=false, compression=\(SQLText.literal(file.compression)), max_line_size=\(lineLimit), hive_partitioning=false"
  }

  /// The file's lines as one column `line`.
  /// - Parameter isStrict: whether line ends of several kinds are an error; otherwise empty lines may come in between.
  private func lines(_ file: OpenedFiles.File, rejects: String? = nil, isStrict: Bool = false) -> String {
    let errors = rejects.map { ", store_rejects=true, rejects_table='\($0)_e', rejects_scan='\($0)_s'" } ?? ", ignore_errors=true"
    let shape = "header=false, columns={'line': 'VARCHAR'}, delim='', quote='', escape=''"
    return "read_csv(\(SQLText.literal(file.path)), \(Self.common(file)), \(shape), strict_mode=\(isStrict)\(errors))"
  }

  /// Moves what the engine rejected into the table of bad records, each record once.
  /// - Parameter table: of the records of a CSV file, which may span lines.
  private func takeRejects(_ rejects: String, _ files: [OpenedFiles.File], of table: String? = nil) throws {
    let paths = try connection.rows("SELECT DISTINCT file_path FROM \(rejects)_s").compactMap { $0[0].stringValue }
    for path in paths {
      guard let file = files.first(where: { $0.path == path }) else { continue }
      let index = file.index
      try connection.execute(
        """
        INSERT INTO \(badTable) SELECT \(index), e.line, min(e.line_byte_position) - 1 + CASE WHEN starts_with(any_value(e.csv_line), E'\\n') THEN 1 ELSE 0 END,
          lower(arg_min(replace(CAST(e.error_type AS VARCHAR), '_', ' '), e.byte_position)), regexp_replace(any_value(e.csv_line), '^\\n', '')
        FROM \(rejects)_e e JOIN \(rejects)_s s ON s.scan_id = e.scan_id AND s.file_id = e.file_id
        WHERE s.file_path = \(SQLText.literal(path)) GROUP BY e.line
        """)
      try correctRaw(file, spansLines: table != nil)
      if file.isRewritten { try connection.execute("UPDATE \(badTable) SET byte_offset = NULL WHERE f = \(index)") }
      if let table {
        // The engine counts records, which are lines where none spans several.
        let columns = try connection.query("SELECT * FROM \(table) LIMIT 0").columns.map(\.name).filter { $0.hasPrefix("c") }
        let spans = "regexp_matches(concat_ws('', \(columns.joined(separator: ", "))), '[\\r\\n]')"
        try connection.execute(
          """
          UPDATE \(badTable) SET line = NULL WHERE f = \(index) AND (
            EXISTS (SELECT 1 FROM \(table) WHERE f = \(index) AND \(spans)) OR EXISTS (SELECT 1 FROM \(badTable) WHERE f = \(index) AND contains(raw, E'\\n')))
          """)
      }
    }
    try connection.execute("DROP TABLE \(rejects)_e; DROP TABLE \(rejects)_s")
  }

  /// What the engine keeps of a record, in bytes.
  private static let engineRawLimit = 10_000

  /// The engine takes away more than the bytes that are no UTF-8, and cuts long records without a word: such records are read again.
  private func correctRaw(_ file: OpenedFiles.File, spansLines: Bool) throws {
    let isCut = "strlen(raw) >= \(Self.engineRawLimit - 4)"
    let wanted = "f = \(file.index) AND (reason = 'invalid encoding' OR \(isCut))"
    if try !connection.rows("SELECT 1 FROM \(badTable) WHERE \(wanted) LIMIT 1").isEmpty {
      let again = unique("again")
      try connection.execute("CREATE TEMP TABLE \(again) (o BIGINT, t VARCHAR, whole BIGINT)")
      try readAgain(file, wanted, spansLines: spansLines, into: again)
      try connection.execute(
        """
        UPDATE \(badTable) SET raw = x.t, reason = reason || CASE WHEN x.whole > 0 THEN '\(Self.cutMark)' || x.whole || ' bytes in all' ELSE '' END
        FROM \(again) x WHERE \(wanted) AND byte_offset = x.o;
        UPDATE \(badTable) SET reason = reason || '\(Self.cutMark)the record is longer'
        WHERE f = \(file.index) AND \(isCut) AND (byte_offset IS NULL OR byte_offset NOT IN (SELECT o FROM \(again)));
        DROP TABLE \(again)
        """)
    }
    func restore(_ sign: String, _ text: String) throws {
      try connection.execute("UPDATE \(badTable) SET raw = replace(raw, \(SQLText.literal(sign)), \(SQLText.literal(text))) WHERE f = \(file.index)")
    }
    if let shielded = file.shielded { try restore(String(shielded.mark), "\u{FFFD}") }
    if file.comment != read.options.comment { try restore(file.comment, read.options.comment) }
  }

  /// Reads a file, and when the engine gives it up because it cut a long bad record in the middle of a character, reads it once more from a copy
  /// without such characters.
  /// - Parameters:
  ///   - limit: records that may be bad are longer, in bytes.
  ///   - body: puts rows with these columns into the table.
  private func shielding(
    _ file: OpenedFiles.File, _ quoting: CSVQuoting?, longerThan limit: Int, into table: String, _ columns: [String], _ body: (OpenedFiles.File) throws -> Void
  ) throws {
    do { try body(file) } catch let error as PlatformError where error.message.contains("Invalid unicode (byte sequence mismatch)") {
      let copy = try OpenedFiles.newCopy(scratch)
      defer { unlink(copy) }
      let text = try UnpackedText(file.path, compression: file.compression)
      guard let mark = try LongRecords.shield(text, quoting, longerThan: limit, copy: copy) else { throw error }
      var shielded = file
      shielded.shielded = .init(path: file.path, compression: file.compression, mark: Unicode.Scalar(mark))
      (shielded.path, shielded.compression) = (copy, "none")
      try body(shielded)
      // Nothing that was taken may have been in a long record.
      let sign = SQLText.literal(String(Unicode.Scalar(mark)))
      let isChanged = columns.map { "contains(\($0), \(sign))" }.joined(separator: " OR ")
      guard try connection.rows("SELECT 1 FROM \(table) WHERE f = \(file.index) AND (\(isChanged)) LIMIT 1").isEmpty else {
        try connection.execute("DELETE FROM \(table) WHERE f = \(file.index); DELETE FROM \(badTable) WHERE f = \(file.index)")
        throw error
      }
    }
  }

  /// - Parameter table: gets offset, text and, where that is not all of it, the length of each record that `wanted` selects and that is found.
  private func readAgain(_ file: OpenedFiles.File, _ wanted: String, spansLines: Bool, into table: String) throws {
    let records = try connection.rows(
      """
      SELECT byte_offset, any_value(raw), bool_or(reason = 'invalid encoding') FROM \(badTable)
      WHERE \(wanted) AND byte_offset >= 0 GROUP BY 1 ORDER BY 1 LIMIT 10000
      """)
    guard !records.isEmpty else { return }
    var known: [Int64: (raw: String, isEncoding: Bool)] = [:]
    for record in records { if let offset = record[0].intValue { known[offset] = (record[1].stringValue ?? "", record[2] == .bool(true)) } }
    let options = read.options
    let quoting = spansLines && !options.quote.isEmpty ? CSVQuoting(delimiter: options.delimiter, quote: options.quote, escape: options.escape) : nil
    let appender = try Appender(connection, table: table)
    let text = try UnpackedText(file.shielded?.path ?? file.path, compression: file.shielded?.compression ?? file.compression)
    let mark = file.shielded?.mark
    try RecordText(quoting: quoting).read(text, at: known.keys.sorted()) { offset, bytes, length in
      let text = String(decoding: bytes, as: UTF8.self).replacing("\u{0}", with: "\u{FFFD}").unicodeScalars
      // Whether it is the same record.
      guard let record = known[offset], record.isEncoding || text.starts(with: record.raw.unicodeScalars.prefix(100).prefix { $0 != mark }) else { return }
      let isCut = length > bytes.count || text.count > Self.rawLimit
      try appender.append(offset)
      try appender.append(isCut ? String(String.UnicodeScalarView(text.prefix(Self.rawLimit))) : String(text))
      try appender.append(isCut ? length : 0)
      try appender.endRow()
    }
    try appender.close()
  }

  // MARK: CSV

  func collectCSV(_ files: [OpenedFiles.File]) throws {
    var groups: [(header: Header, files: [OpenedFiles.File])] = []
    var known: [Header: Int] = [:]
    for file in files {
      try attempt(file.index) {
        guard let header = try header(file) else { return }  // an empty file has no records
        if let group = known[header] {
          groups[group].files.append(file)
        } else {
          known[header] = groups.count
          groups.append((header, [file]))
        }
      }
    }
    let quoting = CSVQuoting(delimiter: read.options.delimiter, quote: read.options.quote, escape: read.options.escape)
    for group in groups {
      let table = unique("raw")
      let columns = group.header.names.indices.map { "c\($0)" }
      try connection.execute("CREATE TEMP TABLE \(table) (f INTEGER, n BIGINT, \(columns.map { "\($0) VARCHAR" }.joined(separator: ", ")))")
      // One after the other where each row is to know its line.
      let together = keepsPlaces ? group.files.map { [$0] } : together(group.files)
      for packing in together {
        do {
          try readCSV(packing, columns, group.header.skippedLines, into: table)
        } catch let error as PlatformError where error.code == .invalidArgument {
          // One of them spoils the others: each by itself.
          for file in packing {
            try attempt(file.index) {
              try shielding(file, quoting, longerThan: Self.engineRawLimit - 10, into: table, columns) {
                try readCSV([$0], columns, group.header.skippedLines, into: table)
              }
            }
          }
        }
      }
      let values = columns.map { name in
        var value = "s.\(name)"
        if read.options.trims { value = "trim(\(value))" }
        return value
      }
      parts.append(Part(table: table, fields: zip(group.header.names, values).map { ($0, $1) }, kind: .text))
    }
  }

  /// Files that are read at once. Of several files the engine loses, without a word, a last record whose quote is never closed: only files without
  /// such surprises come together.
  private func together(_ files: [OpenedFiles.File]) -> [[OpenedFiles.File]] {
    let quoting = CSVQuoting(delimiter: read.options.delimiter, quote: read.options.quote, escape: read.options.escape)
    var plain: [OpenedFiles.File] = []
    var alone: [[OpenedFiles.File]] = []
    for file in files {
      let isPlain = file.compression == "none" && file.comment == read.options.comment
      if isPlain, quoting.isRegular(file: file.path) { plain.append(file) } else { alone.append([file]) }
    }
    return (plain.isEmpty ? [] : [plain]) + alone
  }

  private func readCSV(_ files: [OpenedFiles.File], _ columns: [String], _ skipped: Int, into table: String) throws {
    let options = read.options
    let rejects = unique("rejects")
    let list = columns.map { "'\($0)': 'VARCHAR'" }.joined(separator: ", ")
    let sign = files[0].comment
    let comment = sign.isEmpty ? "" : ", comment=\(SQLText.literal(sign))"
    let values = columns.map { name in
      sign == options.comment ? "r.\(name)" : "replace(r.\(name), \(SQLText.literal(sign)), \(SQLText.literal(options.comment)))"
    }
    let order = "CASE r.__f " + files.map { "WHEN \(SQLText.literal($0.path)) THEN \($0.index)" }.joined(separator: " ") + " END"
    try connection.execute(
      """
      INSERT INTO \(table) SELECT \(order), \(keepsPlaces ? "row_number() OVER ()" : "NULL"), \(values.joined(separator: ", "))
      FROM read_csv(\(SQLText.list(files.map(\.path))), \(Self.common(files[0])), header=\(options.header), columns={\(list)},
        delim=\(SQLText.literal(options.delimiter)), quote=\(SQLText.literal(options.quote)),
        escape=\(SQLText.literal(options.quote.isEmpty ? "" : options.escape)), skip=\(skipped), strict_mode=true, nullstr=\(SQLText.literal(options.nullValue)),
        allow_quoted_nulls=false\(comment), filename='__f', store_rejects=true, rejects_table='\(rejects)_e', rejects_scan='\(rejects)_s') r
      """)
    try takeRejects(rejects, files, of: table)
    if keepsPlaces, let file = files.first { try numberLines(file, of: table, columns: columns.count) }
  }

  /// Puts lines in the place of the numbers of records, where each record of the file is one line; otherwise the lines are not known.
  private func numberLines(_ file: OpenedFiles.File, of table: String, columns: Int) throws {
    let (all, rejects) = (unique("all"), unique("rejects"))
    try connection.execute("CREATE TEMP TABLE \(all) AS SELECT row_number() OVER () AS l, line FROM \(lines(file, rejects: rejects))")
    let isWhole = try connection.rows("SELECT count(*) FROM \(rejects)_e").first?[0].intValue == 0
    var conditions = ["l > \(read.options.skipRows)", "l NOT IN (SELECT line FROM \(badTable) WHERE f = \(file.index) AND line IS NOT NULL)"]
    if columns > 1 || read.options.header { conditions.append("coalesce(line, '') <> ''") }
    if !file.comment.isEmpty { conditions.append("NOT starts_with(line, \(SQLText.literal(file.comment)))") }
    let records = "(SELECT l, row_number() OVER (ORDER BY l) - \(read.options.header ? 1 : 0) AS k FROM \(all) WHERE \(conditions.joined(separator: " AND ")))"
    let isKnown =
      try isWhole
      && connection.rows(
        "SELECT (SELECT count(*) FROM \(records) WHERE k > 0) = (SELECT count(*) FROM \(table) WHERE f = \(file.index))"
      ).first?[0] == .bool(true)
    try connection.execute(
      """
      UPDATE \(table) SET n = \(isKnown ? "(SELECT x.l FROM \(records) x WHERE x.k = \(table).n)" : "NULL") WHERE f = \(file.index);
      DROP TABLE \(all); DROP TABLE \(rejects)_e; DROP TABLE \(rejects)_s
      """)
  }

  /// Gives `body` the first lines, at most `limit`, until it returns false.
  private func forEachLine(_ file: OpenedFiles.File, limit: Int, _ body: (String) throws -> Bool) throws {
    if let lines = SmallText.lines(file) {
      for line in lines.prefix(limit) {
        guard try body(String(line)) else { return }
      }
      return
    }
    let result = try connection.query("SELECT line FROM \(lines(file)) LIMIT \(limit)")
    while let chunk = try result.next() {
      let vector = chunk.column(0)
      for row in 0..<chunk.count {
        guard try body(vector.isNull(row) ? "" : vector.string(row)) else { return }
      }
    }
  }

  private struct Header: Hashable {
    var names: [String]
    /// Lines before the first record; the engine passes over comments by itself.
    var skippedLines: Int
  }

  /// The names of the columns, from the first record. Nil for a file without records.
  private func header(_ file: OpenedFiles.File) throws -> Header? {
    let options = read.options
    var text = ""
    let limit = options.skipRows + 10_000
    var seen = 0
    var skipped = options.skipRows
    var hasEmptyLines = false
    var record: [String]?
    try forEachLine(file, limit: limit) { line in
      seen += 1
      if seen <= options.skipRows { return true }
      if text.isEmpty {
        if line.isEmpty { hasEmptyLines = true }
        if line.isEmpty || (!file.comment.isEmpty && line.hasPrefix(file.comment)) { return true }
        // The engine would take an empty line for the header.
        if hasEmptyLines, options.header { skipped = seen - 1 }
      }
      text += text.isEmpty ? line : "\n" + line
      guard text.utf8.count <= Self.lineLimit else { return false }
      record = Self.fields(text, delimiter: options.delimiter, quote: options.quote, escape: options.escape)
      return record == nil
    }
    if text.isEmpty {
      guard seen < limit else { throw PlatformError(.invalidFile, "there is no record in the first \(seen) lines") }
      return nil
    }
    guard let record else { throw PlatformError(.invalidFile, "a quote in the first record is not closed") }
    guard record.count <= Self.columnLimit else { throw PlatformError(.invalidFile, "the first record has \(record.count) fields") }
    guard options.header else { return Header(names: positionalNames(record.count), skippedLines: skipped) }
    var names: [String] = []
    var taken: Set<String> = []
    for (index, raw) in record.enumerated() {
      let clean = raw.trimmingCharacters(in: .whitespaces)
      let base = clean.isEmpty ? "_c\(index)" : clean
      var name = base
      var number = 2
      while !taken.insert(name.lowercased()).inserted {
        name = "\(base)_\(number)"
        number += 1
      }
      names.append(name)
    }
    return Header(names: names, skippedLines: skipped)
  }

  /// Names of columns of a file without a header: those of the given schema, from the first on.
  private func positionalNames(_ count: Int) -> [String] {
    let made = (0..<count).map { "_c\($0)" }
    let given = (read.options.schema ?? read.schema ?? []).map(\.name)
      .filter { ![read.options.rescuedColumn, FileRead.rescuedColumn, FileRead.metadataColumn].contains($0) }
    // A schema that knows the made names means them.
    guard !given.contains(where: { made.contains($0.lowercased()) }) else { return made }
    return made.indices.map { $0 < given.count ? given[$0] : made[$0] }
  }

  /// The fields of one record, or nil while a quote is open.
  static func fields(_ text: String, delimiter: String, quote: String, escape: String) -> [String]? {
    guard let separator = delimiter.utf8.first else { return [text] }
    let (open, guardMark) = (quote.utf8.first, escape.utf8.first)
    var fields: [String] = []
    var current: [UInt8] = []
    var isQuoted = false
    let bytes = Array(text.utf8)
    var index = 0
    while index < bytes.count {
      let byte = bytes[index]
      if isQuoted {
        if byte == guardMark, index + 1 < bytes.count, bytes[index + 1] == open || (guardMark != open && bytes[index + 1] == guardMark) {
          current.append(bytes[index + 1])
          index += 1
        } else if byte == open {
          isQuoted = false
        } else {
          current.append(byte)
        }
      } else if byte == open, current.isEmpty {
        isQuoted = true
      } else if byte == separator {
        fields.append(String(decoding: current, as: UTF8.self))
        current = []
      } else if byte != 13 || index + 1 < bytes.count {
        current.append(byte)
      }
      index += 1
    }
    if isQuoted { return nil }
    fields.append(String(decoding: current, as: UTF8.self))
    return fields
  }

  // MARK: JSON

  func collectJSON(_ files: [OpenedFiles.File]) throws {
    let raw = unique("lines")
    try connection.execute("CREATE TEMP TABLE \(raw) (f INTEGER, n BIGINT, t VARCHAR)")
    let small = SmallRecords(connection, table: raw)
    for file in files {
      if isCancelled() { throw CancellationError() }
      if !read.options.multiLine, let lines = SmallText.lines(file), Self.isObjectFirst(lines) {
        try small.append(file.index, lines)
        continue
      }
      try small.flush()
      try attempt(file.index) {
        let isArray = try firstByte(file) == UInt8(ascii: "[")
        if read.options.multiLine || isArray {
          let kind = isArray ? "array" : "unstructured"
          try connection.execute(
            """
            INSERT INTO \(raw) SELECT \(file.index), row_number() OVER (), CAST(json AS VARCHAR) FROM read_json_objects(\(SQLText.literal(file.path)),
              format='\(kind)', compression=\(SQLText.literal(file.compression == "none" ? "uncompressed" : file.compression)), maximum_object_size=\(Self.lineLimit), hive_partitioning=false)
            """)
        } else {
          try shielding(file, nil, longerThan: Self.lineLimit - 10, into: raw, ["t"]) { file in
            let rejects = unique("rejects")
            try connection.execute("INSERT INTO \(raw) SELECT \(file.index), row_number() OVER (), line FROM \(lines(file, rejects: rejects))")
            try takeRejects(rejects, [file])
          }
        }
      }
    }
    try small.flush()
    try addRecords(raw)
  }

  /// Whether the first that stands in the text is an object: one a line, then.
  private static func isObjectFirst(_ lines: [Substring]) -> Bool {
    for line in lines {
      if let first = line.utf8.first(where: { $0 != 32 && $0 != 9 }) { return first == UInt8(ascii: "{") }
    }
    return false
  }

  /// The first byte that is no white space: lines may be too long to be read.
  private func firstByte(_ file: OpenedFiles.File) throws -> UInt8? {
    let passed: Set<UInt8> = [9, 10, 13, 32, 0xEF, 0xBB, 0xBF]
    var found: UInt8?
    try UnpackedText(file.path, compression: file.compression).forEach { piece, _ in
      found = piece.first { !passed.contains($0) }
      return found == nil
    }
    return found
  }

  /// Nesting that the engine's recursive functions still stand.
  static let depthLimit = 128

  static func depth(_ text: String) -> Int {
    var (depth, most) = (0, 0)
    var isQuoted = false
    var isEscaped = false
    for byte in text.utf8 {
      if isQuoted {
        if isEscaped { isEscaped = false } else if byte == UInt8(ascii: "\\") { isEscaped = true } else if byte == UInt8(ascii: "\"") { isQuoted = false }
        continue
      }
      switch byte {
      case UInt8(ascii: "\""): isQuoted = true
      case UInt8(ascii: "["), UInt8(ascii: "{"):
        depth += 1
        most = max(most, depth)
      case UInt8(ascii: "]"), UInt8(ascii: "}"): depth -= 1
      default: break
      }
    }
    return most
  }

  /// Takes apart which texts are objects, and makes a part of those.
  private func addRecords(_ raw: String) throws {
    // Before anything recursive sees them.
    let suspects = try connection.query(
      "SELECT rowid, t FROM \(raw) WHERE length(t) - length(replace(replace(t, '[', ''), '{', '')) > \(Self.depthLimit)")
    var deep: [Int64] = []
    while let chunk = try suspects.next() {
      let (ids, texts) = (chunk.column(0), chunk.column(1))
      for row in 0..<chunk.count where Self.depth(texts.string(row)) > Self.depthLimit { deep.append(ids.int64(row)) }
    }
    if !deep.isEmpty {
      let list = deep.map(String.init).joined(separator: ", ")
      try connection.execute(
        """
        INSERT INTO \(badTable) SELECT f, n, NULL, \(Self.reason("'nested more than \(Self.depthLimit) deep'", cutting: "t")), left(t, \(Self.rawLimit)) FROM \(raw) WHERE rowid IN (\(list));
        DELETE FROM \(raw) WHERE rowid IN (\(list))
        """)
    }
    let checked = unique("json")
    try connection.execute(
      """
      CREATE TEMP TABLE \(checked) AS SELECT f, n, t,
        CASE WHEN NOT json_valid(t) THEN 0 WHEN json_type(t) <> 'OBJECT' THEN 1 WHEN len(list_distinct(json_keys(t))) < len(json_keys(t)) THEN 3 ELSE 2 END AS kind
      FROM \(raw) WHERE t IS NOT NULL AND trim(t, E' \\t\\r') <> '';
      DROP TABLE \(raw);
      INSERT INTO \(badTable) SELECT f, n, NULL, \(Self.reason("CASE kind WHEN 0 THEN 'not JSON' WHEN 1 THEN 'not a JSON object' ELSE 'a key stands twice in it' END", cutting: "t")),
        left(t, \(Self.rawLimit))
      FROM \(checked) WHERE kind <> 2
      """)
    let table = unique("records")
    try connection.execute("CREATE TEMP TABLE \(table) AS SELECT f, n, CAST(t AS JSON) AS j FROM \(checked) WHERE kind = 2; DROP TABLE \(checked)")
    let keys = try connection.rows("SELECT k FROM (SELECT unnest(json_keys(j)) AS k FROM \(table)) GROUP BY k ORDER BY k LIMIT \(Self.columnLimit + 1)")
    guard keys.count <= Self.columnLimit else {
      throw PlatformError(.invalidArgument, "the records have more than \(Self.columnLimit) different keys", number: "PLT-3113", path: read.files.first?.name)
    }
    // In the order of the first record that has them, which is how people wrote them.
    let sample = try connection.rows("SELECT unnest(json_keys(j)) FROM (SELECT j FROM \(table) ORDER BY f, n LIMIT 50)").compactMap { $0[0].stringValue }
    var order: [String: Int] = [:]
    for key in sample where order[key] == nil { order[key] = order.count }
    let names = keys.compactMap { $0[0].stringValue }.filter { !$0.isEmpty }.sorted { (order[$0] ?? .max, $0) < (order[$1] ?? .max, $1) }
    parts.append(Part(table: table, fields: names.map { ($0, "json_extract(s.j, \(SQLText.literal(Self.pointer($0))))") }, kind: .json))
  }

  static func pointer(_ key: String) -> String { "/" + key.replacing("~", with: "~0").replacing("/", with: "~1") }

  // MARK: the other formats

  func collectAvro(_ files: [OpenedFiles.File]) throws {
    for file in files {
      try attempt(file.index) {
        guard file.sizeBytes > 0 else { return }
        guard file.sizeBytes <= 2 << 30, let data = FileManager.default.contents(atPath: file.path) else {
          throw PlatformError(.invalidFile, "the file is too large or cannot be read")
        }
        var reader = try AvroReader(data)
        let raw = unique("avro")
        try connection.execute("CREATE TEMP TABLE \(raw) (f INTEGER, n BIGINT, t VARCHAR)")
        let appender = try Appender(connection, table: raw)
        var number: Int64 = 0
        var damage: PlatformError?
        do {
          try reader.forEach(isCancelled: isCancelled) { text in
            number += 1
            try appender.append(Int64(file.index))
            try appender.append(number)
            try appender.append(text)
            try appender.endRow()
          }
        } catch let error as PlatformError where error.number == "PLT-3112" {
          damage = error
        }
        try appender.close()
        if let damage {
          if number == 0 { throw damage }  // nothing of it can be read
          try connection.execute(
            "INSERT INTO \(badTable) VALUES (\(file.index), \(number + 1), NULL, \(SQLText.literal(damage.message)), NULL)")
        }
        let columns = reader.schema.columns
        let table = unique("records")
        try connection.execute("CREATE TEMP TABLE \(table) AS SELECT f, n, CAST(t AS JSON) AS j FROM \(raw); DROP TABLE \(raw)")
        var part = Part(table: table, fields: columns.map { ($0.name, "json_extract(s.j, \(SQLText.literal(Self.pointer($0.name))))") }, kind: .json)
        part.types = columns.map(\.type)
        parts.append(part)
      }
    }
  }

  func collectParquet(_ files: [OpenedFiles.File]) throws {
    for file in files {
      try attempt(file.index) {
        try refuseWideDecimals(file)
        let columns = try connection.query("SELECT * FROM \(Self.parquet(file.path)) LIMIT 0").columns
        let names = columns.map(\.name)
        let types = columns.map { TypeMapping.stored($0.type) }
        if let known = parts.firstIndex(where: { $0.fields.map(\.name) == names && $0.types == types }) {
          parts[known].files.append(file.index)
        } else {
          parts.append(
            Part(
              table: "", fields: names.map { ($0, "s.\(SQLText.identifier($0))") }, kind: .typed, files: [file.index], types: types))
        }
      }
    }
  }

  /// The engine reads decimals of more than 38 digits as something else.
  private func refuseWideDecimals(_ file: OpenedFiles.File) throws {
    let digits = "greatest(coalesce(precision, 0), coalesce(TRY_CAST(regexp_extract(logical_type, 'precision=([0-9]+)', 1) AS BIGINT), 0))"
    let wide = "SELECT name, \(digits) AS d FROM parquet_schema(\(SQLText.literal(file.path))) WHERE d > 38 LIMIT 1"
    guard let row = try connection.rows(wide).first else { return }
    throw PlatformError(
      .invalidFile, "column '\(row[0].stringValue?.prefix(100) ?? "")' holds decimals of \(row[1].intValue ?? 0) digits; at most 38 are read")
  }

  func collectText(_ files: [OpenedFiles.File]) throws {
    let table = unique("text")
    try connection.execute("CREATE TEMP TABLE \(table) (f INTEGER, n BIGINT, value VARCHAR)")
    let small = SmallRecords(connection, table: table)
    for file in files {
      if !read.options.wholeText, let lines = SmallText.lines(file) {
        try small.append(file.index, lines)
        continue
      }
      try small.flush()
      try attempt(file.index) {
        if read.options.wholeText {
          guard file.compression == "none" else { throw PlatformError(.invalidFile, "wholeText reads files that are not packed") }
          try connection.execute("INSERT INTO \(table) SELECT \(file.index), 1, content FROM read_text(\(SQLText.literal(file.path)))")
        } else if file.sizeBytes > 0 {
          try shielding(file, nil, longerThan: Self.lineLimit - 10, into: table, ["value"]) { file in
            let rejects = unique("rejects")
            try connection.execute(
              "INSERT INTO \(table) SELECT \(file.index), row_number() OVER (), coalesce(line, '') FROM \(lines(file, rejects: rejects, isStrict: true))")
            try takeRejects(rejects, [file])
          }
        }
      }
    }
    try small.flush()
    parts.append(Part(table: table, fields: [("value", "s.value")], kind: .text, types: [.varchar]))
  }

  func collectBinary(_ files: [OpenedFiles.File]) throws {
    let table = unique("binary")
    try connection.execute(
      "CREATE TEMP TABLE \(table) (f INTEGER, n BIGINT, path VARCHAR, modificationTime TIMESTAMP WITH TIME ZONE, length BIGINT, content BLOB)")
    for file in files {
      try attempt(file.index) {
        try connection.execute(
          """
          INSERT INTO \(table) SELECT \(file.index), 1, \(SQLText.literal(read.files[file.index].name)),
            make_timestamptz(\(file.modifiedMicroseconds)), size, content FROM read_blob(\(SQLText.literal(file.path)))
          """)
      }
    }
    let names = ["path", "modificationTime", "length", "content"]
    parts.append(
      Part(table: table, fields: names.map { ($0, "s.\($0)") }, kind: .typed, types: [.varchar, .timestampTZ, .bigint, .blob]))
  }
}
