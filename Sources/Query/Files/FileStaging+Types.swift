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
          : "try_strptime(\(v), \(SQLText.literal(options.dateFormat))) IS NOT NULL"
        let time =
          options.timestampFormat.isEmpty
          ? "regexp_full_match(\(v), '\(Self.timestamp)') AND TRY_CAST(\(v) AS TIMESTAMP WITH TIME ZONE) IS NOT NULL"
          : "try_strptime(\(v), \(SQLText.literal(options.timestampFormat))) IS NOT NULL"
        counts += [
          "count(\(v))", "count(*) FILTER (lower(\(v)) IN ('true', 'false'))",
          "count(*) FILTER (regexp_full_match(\(v), '\(Self.integer)') AND TRY_CAST(\(v) AS BIGINT) IS NOT NULL)",
          "count(*) FILTER (TRY_CAST(\(v) AS DOUBLE) IS NOT NULL)", "count(*) FILTER (\(date))", "count(*) FILTER (\(time) OR (\(date)))",
        ]
      }
      guard !counts.isEmpty,
        let row = try connection.rows(
          "SELECT \(counts.joined(separator: ", ")) FROM (SELECT \(aliases) FROM (SELECT * FROM \(part.table) LIMIT \(Self.sampleRows)) s)"
        ).first
      else { continue }
      for index in 0..<some.count {
        let all = row[index * 6].intValue ?? 0
        func every(_ offset: Int) -> Bool { all > 0 && row[index * 6 + offset].intValue == all }
        found.append(
          numbers && every(1) ? .boolean : numbers && every(2) ? .bigint : numbers && every(3) ? .double : every(4) ? .date : every(5) ? .timestampTZ : nil)
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
      return (typed, "\(value) IS NOT NULL AND (\(typed)) IS NULL")
    case .typed:
      let source = index < part.types.count ? part.types[index] : .varchar
      if source == type { return ("CAST(\(value) AS \(type.sql))", nil) }
      let cast = "TRY_CAST(\(value) AS \(type.sql))"
      switch (source, type) {
      case (.float, .tinyint), (.float, .smallint), (.float, .integer), (.float, .bigint), (.double, .tinyint), (.double, .smallint),
        (.double, .integer), (.double, .bigint), (.decimal, .tinyint), (.decimal, .smallint), (.decimal, .integer), (.decimal, .bigint):
        let whole = "CASE WHEN \(value) = \(cast) THEN \(cast) END"
        return (whole, "\(value) IS NOT NULL AND (\(whole)) IS NULL")
      default: return (cast, "\(value) IS NOT NULL AND \(cast) IS NULL")
      }
    case .json:
      let text = value.replacingPrefix("json_extract(", with: "json_extract_string(")
      switch type {
      case .varchar: return (text, nil)
      case .list, .array, .structure, .map:
        let typed = "TRY_CAST(\(value) AS \(type.sql))"
        // A value inside that does not fit becomes null: seen by counting the nulls of the same shape in text.
        let shape = "TRY_CAST(\(value) AS \(Self.textual(type).sql))"
        return (
          typed,
          "\(value) IS NOT NULL AND json_type(\(value)) <> 'NULL' AND (\(typed) IS NULL OR \(Self.nulls(typed)) <> \(Self.nulls(shape)))"
        )
      case .blob:
        let typed = "TRY(from_base64(\(text)))"
        return (typed, "\(text) IS NOT NULL AND \(typed) IS NULL")
      default:
        let typed = fromText(text, type)
        return (typed, "\(text) IS NOT NULL AND (\(typed)) IS NULL")
      }
    }
  }

  private static func nulls(_ value: String) -> String {
    let text = "CAST(to_json(\(value)) AS VARCHAR)"
    return "(length(\(text)) - length(replace(\(text), 'null', '')))"
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
    case .date where !read.options.dateFormat.isEmpty:
      return "CAST(try_strptime(\(value), \(SQLText.literal(read.options.dateFormat))) AS DATE)"
    case .timestampTZ where !read.options.timestampFormat.isEmpty, .timestamp where !read.options.timestampFormat.isEmpty:
      return "CAST(try_strptime(\(value), \(SQLText.literal(read.options.timestampFormat))) AS \(type.sql))"
    case .blob: return "encode(\(value))"
    case .list, .array, .structure, .map: return "CASE WHEN json_valid(\(value)) THEN TRY_CAST(CAST(\(value) AS JSON) AS \(type.sql)) END"
    default: return "TRY_CAST(\(value) AS \(type.sql))"
    }
  }
}

extension String {
  fileprivate func replacingPrefix(_ prefix: String, with other: String) -> String {
    hasPrefix(prefix) ? other + dropFirst(prefix.count) : self
  }
}
