// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import Glibc
import Synchronization

/// What `platform sql` does with statements and its own commands, whether they are typed, given or read from a file.
final class SQLSession {
  let client: PlatformClient
  var catalog: String
  var schema: String
  var rowLimit: Int
  /// Seconds.
  var timeLimit: Int?
  var text = SQLResultText()
  /// Values for `:name`.
  var parameters: [StatementParameter] = []
  /// Of a file with several statements each gets the values that it mentions.
  var onlyMentioned = false
  var showsTime = false
  /// Rows go into this file instead of standard output.
  private var file: FileHandle?
  private var lastStatement = ""
  private let isInteractive: Bool
  private var names: (at: Date, values: [String])?

  init(client: PlatformClient, catalog: String, schema: String, rowLimit: Int, isInteractive: Bool) {
    self.client = client
    self.catalog = catalog
    self.schema = schema
    self.rowLimit = rowLimit
    self.isInteractive = isInteractive
    text.unicode = Report.unicode
    text.usesColour =
      isatty(STDOUT_FILENO) == 1 && ProcessInfo.processInfo.environment["NO_COLOR"] == nil && ProcessInfo.processInfo.environment["TERM"] != "dumb"
  }

  var prompt: String { "\(catalog).\(schema)" }

  // MARK: statements

  /// The values that go along with a statement.
  func given(to statement: String) -> [StatementParameter]? {
    let text = statement.lowercased()
    let given = onlyMentioned ? parameters.filter { text.contains(":" + ($0.name ?? "").lowercased()) } : parameters
    return given.isEmpty ? nil : given
  }

  /// Runs one statement and shows its rows.
  /// - Throws: what the statement fails with.
  func run(_ statement: String) async throws {
    lastStatement = statement
    let started = ContinuousClock.now
    var request = StatementRequest(statement: statement, catalog: catalog, schema: schema, rowLimit: rowLimit)
    request.statementTimeout = timeLimit
    request.parameters = given(to: statement)
    request.warehouseID = "platform"
    let answer = try await InterruptibleStatement.run(client, request)
    let took = ContinuousClock.now - started
    if let changed = answer.catalog { catalog = changed }
    if let changed = answer.schema { schema = changed }
    if !answer.columns.isEmpty {
      show(text.render(answer))
      if text.format == .table || text.format == .wide {
        Report.note(
          "\(answer.rows.count) row\(answer.rows.count == 1 ? "" : "s")" + (answer.truncated ? " (more were cut off; see --limit)" : ""))
      }
    }
    if let rows = answer.affectedRows {
      Report.note("\(Report.check) \(rows) row\(rows == 1 ? "" : "s")" + (answer.version.map { ", version \($0)" } ?? ""))
    } else if answer.columns.isEmpty {
      Report.note("\(Report.check) done")
    }
    if showsTime { Report.note("time \(String(format: "%.1f", took / .milliseconds(1))) ms") }
  }

  private func show(_ output: String) {
    if let file { return file.write(Data(output.utf8)) }
    if isInteractive && isatty(STDOUT_FILENO) == 1 && Pager.isWanted(output) { return Pager.show(output) }
    StandardStreams.out(output)
  }

  // MARK: commands of the program

  enum Next { case goOn, quit, run(String) }

  /// A line that begins with a backslash.
  func command(_ line: String, buffer: String) async throws -> Next {
    let words = line.split(separator: " ", maxSplits: 1).map(String.init)
    let argument = words.count > 1 ? words[1].trimmingSpace().trimmingSuffix(";") : ""
    switch words[0] {
    case "\\q", "\\quit": return .quit
    case "\\?", "\\h", "\\help": show(Self.help)
    case "\\l": try await list("catalogs", "/api/2.1/unity-catalog/catalogs", "catalogs", ["name", "comment"])
    case "\\dn":
      let target = argument.isEmpty ? catalog : argument
      try await list("schemas of \(target)", "/api/2.1/unity-catalog/schemas?catalog_name=\(segment(target))", "schemas", ["name", "comment"])
    case "\\d", "\\dt", "\\dv":
      if argument.isEmpty || words[0] != "\\d" {
        try await tables(in: argument, onlyViews: words[0] == "\\dv")
      } else {
        try await describe(argument)
      }
    case "\\c", "\\use":
      let parts = argument.split(separator: ".").map(String.init)
      guard (1...2).contains(parts.count) else { throw PlatformError(.invalidArgument, "write \\c CATALOG.SCHEMA, or \\c SCHEMA") }
      if parts.count == 2 { catalog = parts[0] }
      schema = parts[parts.count - 1]
      names = nil
    case "\\timing":
      showsTime.toggle()
      Report.note("timing is \(showsTime ? "on" : "off")")
    case "\\x":
      text.isExpanded.toggle()
      Report.note("expanded display is \(text.isExpanded ? "on" : "off")")
    case "\\format":
      guard let format = SQLResultFormat(rawValue: argument) else {
        throw PlatformError(.invalidArgument, "\\format takes \(SQLResultFormat.allCases.map(\.rawValue).joined(separator: ", "))")
      }
      text.format = format
    case "\\o":
      try? file?.close()  // what was written is written
      file = nil
      guard !argument.isEmpty else { return .goOn }
      guard FileManager.default.createFile(atPath: argument, contents: nil), let handle = FileHandle(forWritingAtPath: argument) else {
        throw PlatformError(.invalidArgument, "cannot write to the file", number: "PLT-1201", path: argument)
      }
      file = handle
    case "\\i": for statement in try Self.statements(inFile: argument) { try await run(statement) }
    case "\\e":
      let edited = try Editor.edit(SQLTextSplitter.isBlankText(buffer) ? lastStatement : buffer)
      return .run(edited)
    case "\\g": return .run(buffer.isEmpty ? lastStatement + ";" : buffer + ";")
    case "\\watch":
      let statement = SQLTextSplitter.isBlankText(buffer) ? lastStatement : buffer
      guard !statement.isEmpty else { throw PlatformError(.invalidArgument, "there is no statement to repeat") }
      try await watch(statement, seconds: argument.isEmpty ? 2 : Double(argument) ?? -1)
    default: throw PlatformError(.invalidArgument, "there is no command \(words[0])", hint: "\\? lists them.")
    }
    return .goOn
  }

  /// Statements of a file, in order.
  static func statements(inFile path: String) throws -> [String] {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw PlatformError(.notFound, "no such file: \(path)", number: "PLT-1201")
    }
    return statements(in: String(decoding: data, as: UTF8.self))
  }

  static func statements(in text: String) -> [String] {
    var splitter = SQLTextSplitter()
    var found = splitter.feed(text)
    if let last = splitter.finish() { found.append(last) }
    // A temporary view lives as long as the text it is made in.
    if found.contains(where: { $0.range(of: #"^\s*create\s+(or\s+replace\s+)?temp(orary)?\s"#, options: [.regularExpression, .caseInsensitive]) != nil }) {
      return [text]
    }
    return found
  }

  private func watch(_ statement: String, seconds: Double) async throws {
    guard (0.1...86_400).contains(seconds) else { throw PlatformError(.invalidArgument, "\\watch takes seconds, 0.1 to 86400") }
    while true {
      Report.note(Date().formatted(.iso8601))
      try await run(statement)
      do { try await InterruptibleStatement.pause(seconds) } catch { return }
    }
  }

  private func list(_ title: String, _ path: String, _ key: String, _ fields: [String]) async throws {
    let entries = try await pages(path, key)
    showTable(fields, entries.map { entry in fields.map { entry[$0] ?? .null } })
  }

  private func pages(_ path: String, _ key: String) async throws -> [JSONValue] {
    var found: [JSONValue] = []
    var token: String?
    repeat {
      let more = token.map { (path.contains("?") ? "&" : "?") + "page_token=\(segment($0))" } ?? ""
      let page: JSONValue = try await client.get(path + more)
      found += page[key]?.arrayValue ?? []
      token = page["next_page_token"]?.stringValue.flatMap { $0.isEmpty ? nil : $0 }
    } while token != nil && found.count < 10_000
    return found
  }

  private func showTable(_ columns: [String], _ rows: [[JSONValue]]) {
    let answer = StatementResponse(
      statementID: "", columns: columns.map { .init(name: $0, type: "varchar") }, rows: rows, truncated: false)
    show(text.render(answer))
    Report.note("\(rows.count) row\(rows.count == 1 ? "" : "s")")
  }

  private func tables(in place: String, onlyViews: Bool) async throws {
    let parts = place.split(separator: ".").map(String.init)
    let (catalog, schema) = parts.count == 2 ? (parts[0], parts[1]) : (self.catalog, parts.first ?? self.schema)
    let entries = try await pages(
      "/api/2.1/unity-catalog/tables?catalog_name=\(segment(catalog))&schema_name=\(segment(schema))&omit_columns=true", "tables")
    let wanted = entries.filter { !onlyViews || ($0["table_type"]?.stringValue ?? "").hasSuffix("VIEW") }
    showTable(["name", "table_type", "owner", "comment"], wanted.map { entry in ["name", "table_type", "owner", "comment"].map { entry[$0] ?? .null } })
  }

  private func describe(_ name: String) async throws {
    let parts = name.split(separator: ".").map(String.init)
    let full = parts.count == 3 ? name : parts.count == 2 ? "\(catalog).\(name)" : "\(catalog).\(schema).\(name)"
    let table: JSONValue = try await client.get("/api/2.1/unity-catalog/tables/\(segment(full))")
    let columns = table["columns"]?.arrayValue ?? []
    showTable(
      ["column", "type", "nullable", "comment"],
      columns.map { [$0["name"] ?? .null, $0["type_text"] ?? .null, $0["nullable"] ?? .null, $0["comment"] ?? .null] })
    Report.note("\(full)  \(table["table_type"]?.stringValue ?? "")  \(table["storage_location"]?.stringValue ?? "")")
  }

  static let help = """
    Statements end with ; and may take several lines. Ctrl-C ends a running statement, Ctrl-D leaves.
      \\d [SCHEMA]      tables          \\d TABLE      columns of a table      \\dv  views
      \\l  catalogs     \\dn [CATALOG]  schemas        \\c CATALOG.SCHEMA  where names are looked up
      \\x  one line a column           \\timing  how long statements take
      \\format table|wide|csv|json|markdown           \\o [FILE]  rows go there
      \\i FILE  run it  \\e  edit the statement        \\g  run it   \\watch [SECONDS]  again and again
      \\?  this text    \\q  leave

    """

  // MARK: completion

  private static let words = [
    "select", "from", "where", "group by", "order by", "having", "limit", "join", "left join", "inner join", "on", "insert into", "values",
    "update", "set", "delete from", "merge into", "create table", "create or replace table", "create schema", "drop table", "describe",
    "describe history", "describe detail", "show tables", "explain", "version as of", "timestamp as of", "truncate table", "distinct", "count(", "as", "and",
    "or",
    "not", "null", "is null", "between", "like", "case", "when", "then", "else", "end", "union all", "with",
  ]
  private static let commands = [
    "\\d", "\\dt", "\\dv", "\\dn", "\\l", "\\c", "\\x", "\\timing", "\\format", "\\o", "\\i", "\\e", "\\g", "\\watch", "\\?", "\\q",
  ]

  /// Names and words that begin like `word`. Asks the coordinator at most every 20 seconds.
  func completions(_ word: String) -> [String] {
    if word.hasPrefix("\\") { return Self.commands.filter { $0.hasPrefix(word) } }
    if names.map({ Date().timeIntervalSince($0.at) > 20 }) ?? true { names = (Date(), fetchNames()) }
    let lower = word.lowercased()
    guard !lower.isEmpty else { return [] }
    return (names?.values ?? []).filter { $0.lowercased().hasPrefix(lower) }
      + (word.contains(".") ? [] : Self.words.filter { $0.hasPrefix(lower) })
  }

  private func fetchNames() -> [String] {
    let (client, catalog, schema) = (self.client, self.catalog, self.schema)
    let found = Mutex<[String]>([])
    let done = DispatchSemaphore(value: 0)
    // Waited for below; the line editor blocks its thread anyway.
    Task {
      var short = client
      short.timeout = .seconds(2)
      let tables: JSONValue? = try? await short.get(  // unreachable: nothing to offer
        "/api/2.1/unity-catalog/tables?catalog_name=\(segment(catalog))&schema_name=\(segment(schema))&omit_columns=true&max_results=500")
      let schemas: JSONValue? = try? await short.get("/api/2.1/unity-catalog/schemas?catalog_name=\(segment(catalog))")  // the same
      let names = (tables?["tables"]?.arrayValue ?? []).compactMap { $0["name"]?.stringValue }
      let full = (schemas?["schemas"]?.arrayValue ?? []).compactMap { $0["full_name"]?.stringValue }
      found.withLock { $0 = names + names.map { "\(catalog).\(schema).\($0)" } + full }
      done.signal()
    }
    _ = done.wait(timeout: .now() + 3)
    return found.withLock { $0.sorted() }
  }
}

extension SQLTextSplitter {
  /// Whether a text holds nothing but white space and comments.
  static func isBlankText(_ text: String) -> Bool {
    var splitter = SQLTextSplitter()
    return splitter.feed(text).isEmpty && splitter.isEmpty
  }
}

extension String {
  func trimmingSuffix(_ suffix: String) -> String { hasSuffix(suffix) ? String(dropLast(suffix.count)) : self }
}
