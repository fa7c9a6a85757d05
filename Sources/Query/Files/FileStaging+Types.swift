// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation

/// Finding out types, and converting texts to them without losing anything unseen.
extension FileStaging {
  /// The columns that `fields` of the part look like.
  func infer(_ part: Part, _ fields: [(name: String, value: String)]) throws -> [Column] {
    if !part.types.isEmpty {
      return fields.map { field in Column(field.name, part.fields.firstIndex { $0.name == field.name }.map { part.types[$0] } ?? .varchar) }
    }
    guard read.options.infersTypes else { return fields.map { Column($0.name, .varchar) } }
    switch part.kind {
    case .typed: return fields.map { Column($0.name, .varchar) }
    case .text: return try zip(fields, inferTexts(part, fields.map(\.value), numbers: true)).map { Column($0.name, $1 ?? .varchar) }
    case .json:
      let text = try connection.rows("SELECT CAST(json_group_structure(j) AS VARCHAR) FROM (SELECT j FROM \(part.table) LIMIT \(Self.sampleRows))")
        .first?[0].stringValue
      let structure = try text.map { try JSONValue(parsing: $0) } ?? .null
      var columns = fields.map { Column($0.name, Self.type(structure[$0.name] ?? .null)) }
      let texts = columns.indices.filter { columns[$0].type == .varchar && structure[columns[$0].name]?.stringValue == "VARCHAR" }
      let found = try inferTexts(part, texts.map { "json_extract_string(s.j, \(SQLText.literal(Self.pointer(columns[$0].name))))" }, numbers: false)
      for (index, type) in zip(texts, found) { columns[index].type = type ?? .varchar }
      return columns
    }
  }

  /// A type of `json_structure`. Lists and objects of nothing known are text.
  private static func type(_ structure: JSONValue) -> SQLType {
    switch structure {
    case .string(let word):
      switch word {
      case "BIGINT", "UBIGINT": return .bigint
      case "HUGEINT", "UHUGEINT": return .decimal(38, 0)
      case "DOUBLE": return .double
      case "BOOLEAN": return .boolean
      default: return .varchar
      }
    case .array(let items): return .list(type(items.first ?? .null))
    case .object(let members):
      guard !members.isEmpty else { return .varchar }
      var fields: [SQLField] = []
      var taken: Set<String> = []
      for (name, value) in members.sorted(by: { $0.key < $1.key }) {
        // Names that differ in case only cannot stand beside each other; the object stays JSON.
        guard !name.isEmpty, taken.insert(name.lowercased()).inserted else { return .varchar }
        fields.append(SQLField(name: name, type: type(value)))
      }
      return .structure(fields)
    default: return .varchar
    }
  }

  private static let date = #"\d{4}-\d{2}-\d{2}"#
  private static let timestamp = #"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)?"#
  private static let integer = #"\s*[+-]?[0-9]+\s*"#

  /// For each expression the type that all its values have, or nil when only text takes them.
  private func inferTexts(_ part: Part, _ values: [String], numbers: Bool) throws -> [SQLType?] {
    var found: [SQLType?] = []
    let options = read.options
    for start in stride(from: 0, to: values.count, by: 100) {
      let some = values[start..<min(start + 100, values.count)]
      let aliases = some.enumerated().map { "\($1) AS v\($0)" }.joined(separator: ", ")
      var counts: [String] = []
      for index in some.indices {
        let v = "v\(index - start)"
        let date =
          options.dateFormat.isEmpty
          ? "regexp_full_match(\(v), '\(Self.date)') AND TRY_CAST(\(v) AS DATE) IS NOT NULL"
          : "(\(FileOptions.time(v, by: options.dateFormat))) IS NOT NULL"
        let time =
          options.timestampFormat.isEmpty
          ? "regexp_full_match(\(v), '\(Self.timestamp)') AND TRY_CAST(\(v) AS TIMESTAMP WITH TIME ZONE) IS NOT NULL"
          : "(\(FileOptions.time(v, by: options.timestampFormat))) IS NOT NULL"
        counts += [
          "count(\(v))", "count(*) FILTER (lower(\(v)) IN ('true', 'false'))",
          "count(*) FILTER (regexp_full_match(\(v), '\(Self.integer)') AND TRY_CAST(\(v) AS BIGINT) IS NOT NULL)",
          "count(*) FILTER (regexp_full_match(\(v), '\(Self.integer)') AND TRY_CAST(\(v) AS DECIMAL(20,0)) IS NOT NULL)",
          "count(*) FILTER (regexp_full_match(\(v), '\(Self.integer)') AND TRY_CAST(\(v) AS DECIMAL(38,0)) IS NOT NULL)",
          "count(*) FILTER (TRY_CAST(\(v) AS DOUBLE) IS NOT NULL AND NOT contains(\(v), '_'))", "count(*) FILTER (\(date))",
          "count(*) FILTER (\(time) OR (\(date)))",
        ]
      }
      guard !counts.isEmpty,
        let row = try connection.rows(
          "SELECT \(counts.joined(separator: ", ")) FROM (SELECT \(aliases) FROM (SELECT * FROM \(part.table) LIMIT \(Self.sampleRows)) s)"
        ).first
      else { continue }
      for index in 0..<some.count {
        let all = row[index * 8].intValue ?? 0
        func every(_ offset: Int) -> Bool { all > 0 && row[index * 8 + offset].intValue == all }
        let number: SQLType? = every(1) ? .boolean : every(2) ? .bigint : every(3) ? .decimal(20, 0) : every(4) ? .decimal(38, 0) : every(5) ? .double : nil
        found.append((numbers ? number : nil) ?? (every(6) ? .date : every(7) ? .timestampTZ : nil))
      }
    }
    return found
  }

  /// The value of a field as `type`, and a condition that is true when something of it does not fit. Nil: everything fits.
  func converted(_ value: String, _ part: Part, _ index: Int, to type: SQLType) -> (value: String, isLost: String?) {
    switch part.kind {
    case .text:
      if type == .varchar { return (value, nil) }
      let typed = fromText(value, type)
      let isNull = "(\(typed)) IS NULL"
      let json = "CASE WHEN json_valid(\(value)) THEN CAST(\(value) AS JSON) END"
      return (typed, "\(value) IS NOT NULL AND \(type.isNested ? "(\(isNull) OR \(Self.losesParts(json, typed, type))\(extras(json, type)))" : isNull)")
    case .typed:
      let source = index < part.types.count ? part.types[index] : .varchar
      if source == type { return ("CAST(\(value) AS \(type.sql))", nil) }
      let cast = "TRY_CAST(\(value) AS \(type.sql))"
      switch (source, type) {
      case (.float, .tinyint), (.float, .smallint), (.float, .integer), (.float, .bigint), (.double, .tinyint), (.double, .smallint),
        (.double, .integer), (.double, .bigint), (.decimal, .tinyint), (.decimal, .smallint), (.decimal, .integer), (.decimal, .bigint):
        let whole = "CASE WHEN \(value) = \(cast) THEN \(cast) END"
        return (whole, "\(value) IS NOT NULL AND (\(whole)) IS NULL")
      case (.varchar, .tinyint), (.varchar, .smallint), (.varchar, .integer), (.varchar, .bigint), (.varchar, .float), (.varchar, .double),
        (.varchar, .decimal):
        let whole = fromText(value, type)
        return (whole, "\(value) IS NOT NULL AND (\(whole)) IS NULL")
      case (_, .list), (_, .array), (_, .structure), (_, .map):
        guard source.isNested else { return (cast, "\(value) IS NOT NULL AND \(cast) IS NULL") }
        let shape = "TRY_CAST(\(value) AS \(Self.textual(type).sql))"
        let rounds = Self.rounds(value, source, type).map { " OR \($0)" } ?? ""
        let extra = Self.hasExtras(source, type) ? extras("CAST(to_json(\(value)) AS JSON)", type) : ""
        return (cast, "\(value) IS NOT NULL AND (\(cast) IS NULL OR \(Self.nulls(cast)) <> \(Self.nulls(shape))\(rounds)\(extra))")
      default: return (cast, "\(value) IS NOT NULL AND \(cast) IS NULL")
      }
    case .json:
      let exact = Self.keepsNumberText(type) ? value.replacingPrefix("json_extract(s.j,", with: "json_extract(s.x,") : value
      let text = exact.replacingPrefix("json_extract(", with: "json_extract_string(")
      switch type {
      case .varchar:
        let whole = "WHEN starts_with(\(text), \(Self.mark)) THEN substr(\(text), 2)"
        return ("CASE \(whole) WHEN contains(\(text), \(Self.mark)) THEN \(Self.unmarked(text)) ELSE \(text) END", nil)
      case .decimal:
        let typed = fromText("replace(\(text), \(Self.mark), '')", type)
        return (typed, "\(text) IS NOT NULL AND (\(typed)) IS NULL")
      case .list, .array, .structure, .map:
        var typed = "TRY_CAST(\(value) AS \(type.sql))"
        if exact != value {
          let parts = "CAST(\(exact) AS VARCHAR)"
          let unless = Self.isText(value, type).map { " AND NOT \($0)" } ?? ""
          let texts = "CAST(replace(\(parts), \(Self.mark), '') AS JSON)"
          typed = "CASE WHEN contains(\(parts), \(Self.mark))\(unless) THEN TRY_CAST(\(texts) AS \(type.sql)) ELSE \(typed) END"
        }
        let lost = "\(typed) IS NULL OR \(Self.losesParts(value, typed, type))\(extras(value, type))"
        return (typed, "\(value) IS NOT NULL AND json_type(\(value)) <> 'NULL' AND (\(lost))")
      case .blob:
        let typed = "TRY(from_base64(\(text)))"
        return (typed, "\(text) IS NOT NULL AND \(typed) IS NULL")
      default:
        let typed = fromText(text, type)
        return (typed, "\(text) IS NOT NULL AND (\(typed)) IS NULL")
      }
    }
  }

  // MARK: nested values

  /// A condition that is true when something inside of a JSON value is not in `typed`. A value that does not fit becomes null, which is seen by
  /// counting the nulls of the same shape in text; a list or object in the place of the other leaves nothing in either. A number that is rounded
  /// becomes none.
  private static func losesParts(_ json: String, _ typed: String, _ type: SQLType) -> String {
    let shape = "TRY_CAST(\(json) AS \(textual(type).sql))"
    return "\(nulls(typed)) <> \(nulls(shape))" + (find(json, type, misplaced).map { " OR \($0)" } ?? "")
      + (find(json, type, unlikeNumber).map { " OR CASE WHEN \(hasFractions(json)) THEN \($0) ELSE false END" } ?? "")
  }

  /// ` OR` a condition that is true when an object inside of a value has a key that is not null and that its struct lacks.
  private func extras(_ json: String, _ type: SQLType) -> String {
    guard read.options.evolution != FileOptions.Evolution.none else { return "" }
    return Self.find(json, type, Self.extraKeys).map { " OR \($0)" } ?? ""
  }

  /// Keys count with their case: the engine puts no others into a struct.
  private static func extraKeys(_ json: String, _ type: SQLType) -> String? {
    guard case .structure(let fields) = type else { return nil }
    let known = fields.map { SQLText.literal($0.name) }.joined(separator: ", ")
    let place = "'/' || replace(replace(k, '~', '~0'), '/', '~1')"
    let keys = "list_filter(json_keys(\(json)), lambda k: k NOT IN (\(known)) AND coalesce(json_type(\(json), \(place)) <> 'NULL', true))"
    return "CASE WHEN json_type(\(json)) = 'OBJECT' THEN len(\(keys)) > 0 ELSE false END"
  }

  /// Whether a struct in `source` has a field that its place in `type` lacks.
  private static func hasExtras(_ source: SQLType, _ type: SQLType) -> Bool {
    switch (source, type) {
    case (.list(let from), .list(let to)), (.array(let from, _), .list(let to)), (.map(_, let from), .map(_, let to)): return hasExtras(from, to)
    case (.structure(let from), .structure(let to)):
      return from.contains { field in
        guard let place = to.first(where: { $0.name.lowercased() == field.name.lowercased() }) else { return true }
        return hasExtras(field.type, place.type)
      }
    default: return false
    }
  }

  /// Whether there may be numbers with fractions, exponents or underscores: what is looked through at once, before every number is.
  private static func hasFractions(_ json: String) -> String { "regexp_matches(CAST(\(json) AS VARCHAR), '[0-9][.eE_]|[.][0-9]')" }

  /// A condition that is true when a value for a whole number has a fraction, or one for any number an underscore.
  private static func unlikeNumber(_ json: String, _ type: SQLType) -> String? {
    let text = "json_extract_string(\(json), '$')"
    switch type {
    case .tinyint, .smallint, .integer, .bigint, .hugeint:
      let number = "TRY_CAST(\(text) AS DOUBLE)"
      return
        "(\(text) IS NOT NULL AND NOT regexp_full_match(\(text), '\(integer)') AND (contains(\(text), '_') OR coalesce(\(number) <> trunc(\(number)), false)))"
    case .float, .double, .decimal: return "coalesce(contains(\(text), '_'), false)"
    default: return nil
    }
  }

  /// A condition that is true when numbers or texts inside of a value lose their fractions; nil: there are none.
  private static func rounds(_ value: String, _ source: SQLType, _ type: SQLType, depth: Int = 0) -> String? {
    func each(_ list: String, _ item: SQLType, _ wanted: SQLType) -> String? {
      rounds("r\(depth)", item, wanted, depth: depth + 1).map { "coalesce(list_bool_or(list_transform(\(list), lambda r\(depth): \($0))), false)" }
    }
    switch (source, type) {
    case (.float, .tinyint), (.float, .smallint), (.float, .integer), (.float, .bigint), (.double, .tinyint), (.double, .smallint), (.double, .integer),
      (.double, .bigint), (.decimal, .tinyint), (.decimal, .smallint), (.decimal, .integer), (.decimal, .bigint):
      return "coalesce(\(value) <> TRY_CAST(\(value) AS \(type.sql)), false)"
    case (.varchar, .tinyint), (.varchar, .smallint), (.varchar, .integer), (.varchar, .bigint):
      return "coalesce(NOT regexp_full_match(\(value), '\(integer)'), false)"
    case (.varchar, .float), (.varchar, .double), (.varchar, .decimal): return "coalesce(contains(\(value), '_'), false)"
    case (.list(let item), .list(let wanted)), (.list(let item), .array(let wanted, _)), (.array(let item, _), .list(let wanted)),
      (.array(let item, _), .array(let wanted, _)):
      return each(value, item, wanted)
    case (.map(_, let item), .map(_, let wanted)): return each("map_values(\(value))", item, wanted)
    case (.structure(let fields), .structure(let wanted)):
      let found = wanted.compactMap { field -> String? in
        guard let own = fields.first(where: { $0.name.lowercased() == field.name.lowercased() }) else { return nil }
        return rounds("struct_extract(\(value), \(SQLText.literal(own.name)))", own.type, field.type, depth: depth)
      }
      return found.isEmpty ? nil : "(\(found.joined(separator: " OR ")))"
    default: return nil
    }
  }

  private static func misplaced(_ json: String, _ type: SQLType) -> String? {
    switch type {
    case .list, .array: "coalesce(json_type(\(json)) NOT IN ('ARRAY', 'NULL'), false)"
    case .structure, .map: "coalesce(json_type(\(json)) NOT IN ('OBJECT', 'NULL'), false)"
    // See `fromText`.
    case .date, .timestampTZ, .timestamp:
      "coalesce(lower(trim(json_extract_string(\(json), '$'))) IN ('infinity', '-infinity', 'inf', '-inf'), false)"
    default: nil
    }
  }

  /// A condition that is true when a list or object stands in the place of text.
  private static func isText(_ json: String, _ type: SQLType) -> String? {
    find(json, type) { $1 == .varchar ? "coalesce(json_type(\($0)) IN ('ARRAY', 'OBJECT'), false)" : nil }
  }

  /// A condition that is true when `test` is of a value or one inside of it; nil when nothing is to be tested.
  private static func find(_ json: String, _ type: SQLType, depth: Int = 0, _ test: (String, SQLType) -> String?) -> String? {
    var conditions = [test(json, type)].compactMap { $0 }
    func each(_ path: String, _ item: SQLType) {
      guard let inner = find("e\(depth)", item, depth: depth + 1, test) else { return }
      conditions.append("coalesce(list_bool_or(list_transform(json_extract(\(json), '\(path)'), lambda e\(depth): \(inner))), false)")
    }
    switch type {
    case .list(let item), .array(let item, _): each("$[*]", item)
    case .map(_, let value): each("$.*", value)
    case .structure(let fields):
      for field in fields {
        if let inner = find("json_extract(\(json), \(SQLText.literal(pointer(field.name))))", field.type, depth: depth, test) { conditions.append(inner) }
      }
    default: break
    }
    return conditions.isEmpty ? nil : "(\(conditions.joined(separator: " OR ")))"
  }

  // MARK: texts of numbers

  /// Begins the text of a number in `x`: a character that no text has (Unicode keeps it free).
  private static let mark = "chr(64976)"

  /// Whether values of the type show how their numbers are written.
  private static func keepsNumberText(_ type: SQLType) -> Bool {
    switch type {
    case .varchar, .decimal: true
    case .list(let item), .array(let item, _): keepsNumberText(item)
    case .map(let key, let value): keepsNumberText(key) || keepsNumberText(value)
    case .structure(let fields): fields.contains { keepsNumberText($0.type) }
    default: false
    }
  }

  /// The records of a JSON part with `x` beside `j`: the record in which numbers are texts behind a mark. The engine's functions read numbers
  /// with a fraction as floating point numbers: text and decimals are made of `x`.
  static func withNumberTexts(_ table: String, _ part: Part, _ wanted: [(value: String, type: SQLType)]) -> String {
    let exact = wanted.filter { keepsNumberText($0.type) }
    guard part.kind == .json, !exact.isEmpty else { return table }
    let isNeeded = exact.map { value, type in "json_type(\(value)) IN (\(type.isNested ? "" : "'DOUBLE', ")'ARRAY', 'OBJECT')" }.joined(separator: " OR ")
    return """
      (SELECT s.*, CASE WHEN regexp_matches(CAST(s.j AS VARCHAR), '\(numberPattern)') AND (\(isNeeded)) THEN \(marked) ELSE s.j END AS x FROM \(table) s)
      """
  }

  /// Numbers that the engine's functions may write in another way.
  private static let numberPattern = "[0-9][.eE]|[0-9]{16}"

  /// The record `s.j` with marks before its numbers, which are texts.
  private static var marked: String {
    let record = "CAST(s.j AS VARCHAR)"
    // Whatever is no number, texts in whole, and the number behind it; or the end.
    let pattern = #"((?:[^"0-9-]|"(?:[^"\\]|\\.)*")*)(-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|$)"#
    let marked = "regexp_replace(\(record), '\(pattern)', '\\1\"' || \(mark) || '\\2\"', 'g')"
    return "CAST(replace(\(marked), '\"' || \(mark) || '\"', '') AS JSON)"
  }

  /// The JSON text of a value of the record `s.j`, with numbers as they are written there. For few values: the record is gone through each time.
  static func asWritten(_ value: String) -> String {
    let text = "CAST(\(value) AS VARCHAR)"
    let exact = value.replacingPrefix("json_extract(s.j,", with: "json_extract(\(marked),")
    return "CASE WHEN regexp_matches(\(text), '\(numberPattern)') THEN \(unmarked("CAST(\(exact) AS VARCHAR)")) ELSE \(text) END"
  }

  /// JSON text with its numbers as they were.
  private static func unmarked(_ text: String) -> String {
    "regexp_replace(\(text), '\"' || \(mark) || '([0-9.eE+-]+)\"', '\\1', 'g')"
  }

  private static func nulls(_ value: String) -> String {
    let text = "CAST(to_json(\(value)) AS VARCHAR)"
    // Texts may hold the word, too.
    let rest = #"regexp_replace(\#(text), '"(?:[^"\\]|\\.)*"', '', 'g')"#
    return "CASE WHEN contains(\(text), 'null') THEN length(\(rest)) - length(replace(\(rest), 'null', '')) ELSE 0 END"
  }

  /// The type with text in the place of every single value.
  static func textual(_ type: SQLType) -> SQLType {
    switch type {
    case .list(let item), .array(let item, _): .list(textual(item))
    case .structure(let fields): .structure(fields.map { SQLField(name: $0.name, type: textual($0.type)) })
    case .map(let key, let value): .map(key, textual(value))
    default: .varchar
    }
  }

  private func fromText(_ value: String, _ type: SQLType) -> String {
    switch type {
    case .varchar: return value
    case .boolean:
      return
        "CASE lower(trim(\(value))) WHEN 'true' THEN true WHEN 'false' THEN false WHEN '1' THEN true WHEN '0' THEN false WHEN 't' THEN true WHEN 'f' THEN false END"
    case .tinyint, .smallint, .integer, .bigint, .hugeint:
      return "CASE WHEN regexp_full_match(\(value), '\(Self.integer)') THEN TRY_CAST(\(value) AS \(type.sql)) END"
    case .date, .timestampTZ, .timestamp:
      let format = type == .date ? read.options.dateFormat : read.options.timestampFormat
      let time = format.isEmpty ? "TRY_CAST(\(value) AS \(type.sql))" : "CAST(\(FileOptions.time(value, by: format)) AS \(type.sql))"
      // 'infinity' is a time to the engine, and to no reader of files.
      return "CASE WHEN isfinite(\(time)) THEN \(time) END"
    case .float, .double, .decimal:
      // The engine leaves out underscores between digits; for everybody else such a text is none of a number.
      return "CASE WHEN NOT contains(\(value), '_') THEN TRY_CAST(\(value) AS \(type.sql)) END"
    case .blob: return "encode(\(value))"
    case .list, .array, .structure, .map: return "CASE WHEN json_valid(\(value)) THEN TRY_CAST(CAST(\(value) AS JSON) AS \(type.sql)) END"
    default: return "TRY_CAST(\(value) AS \(type.sql))"
    }
  }
}

extension SQLType {
  fileprivate var isNested: Bool {
    switch self {
    case .list, .array, .structure, .map: true
    default: false
    }
  }
}

extension String {
  fileprivate func replacingPrefix(_ prefix: String, with other: String) -> String {
    hasPrefix(prefix) ? other + dropFirst(prefix.count) : self
  }
}
