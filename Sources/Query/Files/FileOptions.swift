// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

/// How files of a format are read. The names are those of Databricks' `read_files`, in any case.
public struct FileOptions: Codable, Sendable, Hashable {
  /// What happens with a record that cannot be read.
  public enum Mode: String, Codable, Sendable { case permissive = "PERMISSIVE", dropMalformed = "DROPMALFORMED", failFast = "FAILFAST" }

  /// What happens with columns that the schema does not have.
  public enum Evolution: String, Codable, Sendable, CaseIterable { case addNewColumns, rescue, failOnNewColumns, none }

  public enum Encoding: String, Codable, Sendable { case utf8, utf16, utf16LittleEndian, utf16BigEndian, latin1, windows1252 }

  public var header = true
  public var delimiter = ","
  public var quote = "\""
  public var escape = "\""
  public var comment = ""
  public var skipRows = 0
  /// Texts that mean NULL.
  public var nullValue = ""
  public var encoding = Encoding.utf8
  /// `none`, `gzip`, `zstd`, `zip`; empty: by the file's name.
  public var compression = ""
  /// Patterns for `time(_:by:)`; empty: ISO 8601.
  public var dateFormat = ""
  public var timestampFormat = ""
  public var multiLine = false
  public var wholeText = false
  public var trims = false
  public var mode = Mode.permissive
  public var evolution: Evolution?
  public var infersTypes = true
  public var hints: [Column] = []
  public var schema: [Column]?
  /// Nil: no such column.
  public var rescuedColumn: String?
  /// Of names; files that do not match are left out.
  public var fileNamePattern = ""
  public var recursive = true
  /// Whether files of which nothing can be read do not end a query or a load.
  public var ignoresCorruptFiles: Bool?
  /// Milliseconds since 1970; files outside are left out.
  public var modifiedAfter: Int64?
  public var modifiedBefore: Int64?

  private static let names = [
    "header", "delimiter", "sep", "quote", "escape", "comment", "skiprows", "nullvalue", "encoding", "charset", "compression", "dateformat",
    "timestampformat", "multiline", "wholetext", "ignoreleadingwhitespace", "ignoretrailingwhitespace", "mode", "schemaevolutionmode",
    "infercolumntypes", "inferschema", "schemahints", "schema", "rescueddatacolumn", "pathglobfilter", "filenamepattern", "recursivefilelookup",
    "modifiedafter", "modifiedbefore", "mergeschema", "ignorecorruptfiles",
  ]

  /// - Parameter arguments: names in any case.
  /// - Throws: `invalidArgument` PLT-3111 naming the option, with what it may be.
  public init(_ arguments: [String: String], format: FileRead.Format, isTabs: Bool = false) throws {
    rescuedColumn = format == .text || format == .binaryFile ? nil : FileRead.rescuedColumn
    if isTabs { delimiter = "\t" }
    var isRescueNamed = false
    for (given, value) in arguments.sorted(by: { $0.key < $1.key }) {
      let name = given.lowercased()
      func wrong(_ hint: String) -> PlatformError {
        PlatformError(.invalidArgument, "option '\(given.prefix(40))' cannot be '\(value.prefix(80))'", hint: hint, number: "PLT-3111")
      }
      func flag() throws -> Bool {
        switch value.lowercased() {
        case "true", "1", "yes": return true
        case "false", "0", "no": return false
        default: throw wrong("Use true or false.")
        }
      }
      func character(optional: Bool = false) throws -> String {
        let text = value == "\\t" ? "\t" : value
        guard text.utf8.count == 1 || (optional && text.isEmpty), text.utf8.allSatisfy({ $0 < 128 && $0 != 10 && $0 != 13 && $0 != 0 }) else {
          throw wrong("Use one ASCII character.")
        }
        return text
      }
      switch name {
      case "header": header = try flag()
      case "delimiter", "sep": delimiter = try character()
      case "quote": quote = try character(optional: true)
      case "escape": escape = try character(optional: true)
      case "comment": comment = try character(optional: true)
      case "skiprows":
        guard let number = Int(value), (0...100_000).contains(number) else { throw wrong("Use 0 to 100000.") }
        skipRows = number
      case "nullvalue": nullValue = value
      case "encoding", "charset":
        let known: [String: Encoding] = [
          "utf-8": .utf8, "utf8": .utf8, "utf-16": .utf16, "utf16": .utf16, "utf-16le": .utf16LittleEndian, "utf-16be": .utf16BigEndian,
          "latin1": .latin1, "latin-1": .latin1, "iso-8859-1": .latin1, "windows-1252": .windows1252, "cp1252": .windows1252,
        ]
        guard let found = known[value.lowercased()] else { throw wrong("Use UTF-8, UTF-16, UTF-16LE, UTF-16BE, ISO-8859-1 or windows-1252.") }
        encoding = found
      case "compression":
        let known = ["none": "none", "gzip": "gzip", "gz": "gzip", "zstd": "zstd", "zst": "zstd", "zip": "zip", "auto": ""]
        guard let found = known[value.lowercased()] else { throw wrong("Use none, gzip, zstd or zip.") }
        compression = found
      case "dateformat": dateFormat = try Self.pattern(value) ?? { throw wrong("For example yyyy-MM-dd.") }()
      case "timestampformat": timestampFormat = try Self.pattern(value) ?? { throw wrong("For example yyyy-MM-dd HH:mm:ss.") }()
      case "multiline": multiLine = try flag()
      case "wholetext": wholeText = try flag()
      case "ignoreleadingwhitespace", "ignoretrailingwhitespace": trims = try flag() || trims
      case "mode": mode = try Mode(rawValue: value.uppercased()) ?? { throw wrong("Use PERMISSIVE, DROPMALFORMED or FAILFAST.") }()
      case "schemaevolutionmode":
        guard let found = Evolution.allCases.first(where: { $0.rawValue.lowercased() == value.lowercased() }) else {
          throw wrong("Use addNewColumns, rescue, failOnNewColumns or none.")
        }
        evolution = found
      case "mergeschema": if try flag() { evolution = evolution ?? .addNewColumns }
      case "infercolumntypes", "inferschema": infersTypes = try flag()
      case "schemahints": hints = try Self.columns(value)
      case "schema": schema = try Self.columns(value)
      case "rescueddatacolumn":
        isRescueNamed = true
        rescuedColumn = value.isEmpty ? nil : value
      case "pathglobfilter", "filenamepattern": fileNamePattern = value
      case "ignorecorruptfiles": ignoresCorruptFiles = try flag()
      case "recursivefilelookup": recursive = try flag()
      case "modifiedafter": modifiedAfter = try Self.time(value) ?? { throw wrong("For example 2026-01-31 or 2026-01-31 12:00:00.") }()
      case "modifiedbefore": modifiedBefore = try Self.time(value) ?? { throw wrong("For example 2026-01-31 or 2026-01-31 12:00:00.") }()
      default:
        throw PlatformError(
          .invalidArgument, "option '\(given.prefix(40))' is not known",
          hint: Spelling.suggestion(for: name, among: Self.names).map { "Did you mean '\($0)'?" } ?? "See docs/ingestion.md.", number: "PLT-3111")
      }
    }
    if schema != nil && !isRescueNamed { rescuedColumn = nil }
  }

  /// Columns of a list such as `id BIGINT, price DECIMAL(10,2), tags ARRAY<STRING>`, with the types of CREATE TABLE. A colon may stand between
  /// name and type.
  /// - Throws: `invalidArgument` PLT-3111.
  public static func columns(_ text: String) throws -> [Column] {
    func wrong(_ what: String) -> PlatformError {
      PlatformError(
        .invalidArgument, "'\(text.prefix(80))' is no list of columns\(what)", hint: "For example id BIGINT, price DECIMAL(10,2), tags ARRAY<STRING>.",
        number: "PLT-3111")
    }
    var plan = try StatementPlan(partsOf: text)
    var columns: [Column] = []
    repeat {
      guard let name = plan.token, name.isName else { throw wrong("") }
      plan.position += 1
      _ = plan.takeSymbol(":")
      do {
        columns.append(Column(name.text, TypeMapping.stored(try TypeMapping.sql(plan.columnType()))))
      } catch let error as PlatformError {
        throw wrong(": \(error.message)")
      }
    } while plan.takeSymbol(",")
    guard plan.token == nil, Set(columns.map { $0.name.lowercased() }).count == columns.count else { throw wrong("") }
    return columns
  }

  /// Java's year of two digits, which is one from 2000 on; `%y` means one from 1969 on.
  private static let shortYear = "%{yy}"

  /// An expression: the value read by a pattern, NULL where it does not fit.
  static func time(_ value: String, by pattern: String) -> String {
    let time = "try_strptime(\(value), \(SQLText.literal(pattern.replacing(shortYear, with: "%y"))))"
    return pattern.contains(shortYear) ? "CASE WHEN year(\(time)) < 2000 THEN \(time) + INTERVAL 100 YEAR ELSE \(time) END" : time
  }

  /// A date pattern for `strptime`, see `time(_:by:)`: as given when it holds `%`, otherwise read as Java's letters. Nil for letters without meaning.
  static func pattern(_ text: String) -> String? {
    if text.contains("%") || text.isEmpty { return text }
    let known = [
      "yyyy": "%Y", "uuuu": "%Y", "yy": shortYear, "MMMM": "%B", "MMM": "%b", "MM": "%m", "M": "%-m", "dd": "%d", "d": "%-d", "HH": "%H", "H": "%-H",
      "hh": "%I", "mm": "%M", "ss": "%S", "SSS": "%g", "SSSSSS": "%f", "a": "%p", "EEE": "%a", "EEEE": "%A", "XXX": "%z", "xxx": "%z", "Z": "%z",
      "X": "%z",
    ]
    var out = ""
    var rest = Substring(text)
    while let first = rest.first {
      if first == "'" {
        rest.removeFirst()
        guard let end = rest.firstIndex(of: "'") else { return nil }
        out += rest[..<end]
        rest = rest[rest.index(after: end)...]
      } else if first.isLetter {
        let run = rest.prefix { $0 == first }
        guard let found = known[String(run)] else { return nil }
        out += found
        rest = rest.dropFirst(run.count)
      } else {
        out.append(first)
        rest.removeFirst()
      }
    }
    return out
  }

  /// Milliseconds since 1970 of `2026-01-31` with an optional time of day, in UTC.
  static func time(_ text: String) -> Int64? {
    let numbers = text.split { !$0.isNumber }.compactMap { Int64($0) }
    guard numbers.count == 3 || numbers.count == 6, (1...12).contains(numbers[1]), (1...31).contains(numbers[2]), (1...9999).contains(numbers[0])
    else { return nil }
    let year = numbers[1] <= 2 ? numbers[0] - 1 : numbers[0]
    let (era, month) = (year / 400, numbers[1] > 2 ? numbers[1] - 3 : numbers[1] + 9)
    let yearOfEra = year - era * 400
    let day = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + (153 * month + 2) / 5 + numbers[2] - 1
    let days = era * 146_097 + day - 719_468
    let clock = numbers.count == 6 ? numbers[3] * 3600 + numbers[4] * 60 + numbers[5] : 0
    return (days * 86_400 + clock) * 1000
  }
}
