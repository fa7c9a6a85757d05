// SPDX-License-Identifier: Apache-2.0

import CDuckDB
public import Core
import Foundation

/// A connection. All members block and belong to one thread at a time, except `interrupt` and `progress`.
public final class Connection: @unchecked Sendable {  // one thread at a time; two safe exceptions
  let database: Database
  var handle: cd_connection?
  var engine: Engine { database.engine }

  init(database: Database, handle: cd_connection) {
    self.database = database
    self.handle = handle
  }

  deinit { engine.api.disconnect_(&handle) }

  /// Ends the running query at its next check; it throws `cancelled`. From any thread.
  public func interrupt() { engine.api.interrupt_(handle) }

  /// Share done of the running query, 0...1, or nil. Needs `enable_progress_bar`. From any thread.
  public var progress: Double? {
    let value = engine.api.query_progress_(handle).percentage
    return value >= 0 ? min(1, value / 100) : nil
  }

  /// Runs every statement of `sql`; returns the number of rows that the last one changed.
  /// - Throws: `invalidArgument` with DuckDB's text, `cancelled` after `interrupt`.
  @discardableResult
  public func execute(_ sql: String, _ parameters: [SQLValue] = []) throws -> Int {
    var changed = 0
    try withStatements(sql) { statement, isLast in
      if isLast { try statement.bind(parameters) }
      let result = try statement.run()
      while try result.next() != nil {}
      changed = result.rowsChanged
    }
    return changed
  }

  /// Runs one or more statements and streams the rows of the last one.
  public func query(_ sql: String, _ parameters: [SQLValue] = []) throws -> ResultStream {
    var out: ResultStream?
    try withStatements(sql) { statement, isLast in
      if isLast { try statement.bind(parameters) }
      let result = try statement.run()
      if isLast { out = result } else { while try result.next() != nil {} }
    }
    guard let out else { throw PlatformError(.invalidArgument, "the text holds no SQL statement") }
    return out
  }

  /// All rows of the last statement.
  public func rows(_ sql: String, _ parameters: [SQLValue] = []) throws -> [[SQLValue]] {
    let result = try query(sql, parameters)
    var rows: [[SQLValue]] = []
    while let chunk = try result.next() { chunk.appendRows(to: &rows) }
    return rows
  }

  /// The rows as JSON objects.
  public func objects(_ sql: String, _ parameters: [SQLValue] = []) throws -> [JSONValue] {
    let result = try query(sql, parameters)
    var objects: [JSONValue] = []
    while let chunk = try result.next() {
      for row in 0..<chunk.count {
        var members: [String: JSONValue] = [:]
        for (index, column) in result.columns.enumerated() { members[column.name] = chunk.column(index).value(row).json }
        objects.append(.object(members))
      }
    }
    return objects
  }

  /// Prepares exactly one statement.
  public func prepare(_ sql: String) throws -> PreparedStatement {
    var found: PreparedStatement?
    var count = 0
    try withStatements(sql, onlyFirst: true) { statement, isLast in
      if !isLast { count += 1 }
      found = statement
    }
    guard count == 0, let found else { throw PlatformError(.invalidArgument, "exactly one SQL statement is expected") }
    return found
  }

  /// How many statements `sql` holds.
  public func statementCount(_ sql: String) throws -> Int {
    var extracted: cd_extracted?
    let count = engine.api.extract_statements_(handle, sql, &extracted)
    defer { engine.api.destroy_extracted_(&extracted) }
    if count == 0, let text = engine.api.extract_statements_error_(extracted) {
      throw Self.failure(String(cString: text))
    }
    return Int(count)
  }

  private func withStatements(
    _ sql: String, onlyFirst: Bool = false, _ body: (PreparedStatement, Bool) throws -> Void
  ) throws {
    guard !sql.utf8.contains(0) else { throw PlatformError(.invalidArgument, "SQL text must not hold a zero byte") }
    let api = engine.api
    var extracted: cd_extracted?
    let count = api.extract_statements_(handle, sql, &extracted)
    defer { api.destroy_extracted_(&extracted) }
    if count == 0, let text = api.extract_statements_error_(extracted) { throw Self.failure(String(cString: text)) }
    for index in 0..<count {
      var prepared: cd_prepared?
      let status = api.prepare_extracted_statement_(handle, extracted, index, &prepared)
      let statement = PreparedStatement(connection: self, handle: prepared)
      guard status == 0 else {
        throw Self.failure(api.prepare_error_(prepared).map { String(cString: $0) } ?? "the statement cannot be prepared")
      }
      try body(statement, index + 1 == count)
      if onlyFirst { return }
    }
  }

  /// DuckDB's text as the platform's error.
  static func failure(_ whole: String) -> PlatformError {
    // The engine's excerpt shows a statement that was rewritten for it, which nobody wrote like that.
    let text = whole.range(of: "\n\nLINE ").map { String(whole[..<$0.lowerBound]) } ?? whole
    if text.hasPrefix("INTERRUPT") { return PlatformError(.cancelled, "the query was interrupted") }
    if text.contains("No space left on device") { return .diskFull(text) }
    if text.hasPrefix("Out of Memory") { return PlatformError(.resourceExhausted, text) }
    if text.hasPrefix("Permission Error") { return PlatformError(.permissionDenied, text) }
    if text.hasPrefix("INTERNAL") { return PlatformError(.internalError, text) }
    return PlatformError(.invalidArgument, text)
  }
}
