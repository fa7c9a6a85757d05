// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import Core
import Foundation

/// Reads another system's database in one snapshot, without being able to change it. Belongs to one thread; every call blocks, no longer
/// than its bound, and ends soon after `isCancelled`.
public final class PostgresExport {
  /// A column of a query.
  public struct Field: Sendable, Equatable {
    public var name: String
    /// `pg_type.typname` of the column; of the items, for an array.
    public var type: String
    public var isArray: Bool
    /// Of `numeric(p,s)`.
    public var precision: Int?
    public var scale: Int?
  }

  private let connection: PostgresConnection
  private let isCancelled: @Sendable () -> Bool

  /// Connects, and holds what is there now.
  /// - Parameters:
  ///   - connectionString: with the password, if one is needed; it is in no error.
  ///   - bound: for each statement.
  /// - Throws: `unavailable` or `badConfiguration` PLT-1109.
  public init(connectionString: String, bound: Duration, isCancelled: @escaping @Sendable () -> Bool) throws {
    var configuration = PostgresConfiguration(connectionString: connectionString, schema: "public", poolSize: 1)
    configuration.requiresWritable = false
    configuration.applicationName = "platform-import"
    configuration.connectTimeout = .seconds(10)
    configuration.statementTimeout = bound
    configuration.answerTimeout = bound + .seconds(30)
    configuration.idleInTransactionTimeout = .seconds(600)
    configuration.lockTimeout = .seconds(30)
    try configuration.validate()
    self.isCancelled = isCancelled
    connection = try PostgresConnection(configuration)
    for statement in ["SET standard_conforming_strings = on", "SET extra_float_digits = 1", "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"] {
      _ = try connection.run(statement, [])
    }
  }

  /// The first row of a query; nil when there is none.
  /// - Throws: what the server says.
  public func row(_ sql: String) throws -> [String?]? { try rows(sql).first }

  /// All rows of a query, as text. For few.
  public func rows(_ sql: String) throws -> [[String?]] {
    if isCancelled() { throw CancellationError() }
    return try connection.run("SELECT row_to_json(r)::text FROM (\(sql)) AS r", []).rows.map { row in
      guard let text: String = try row.get(0), let members = try JSONValue(parsing: text).objectValue else {
        throw PlatformError(.unavailable, "the Postgres gave no row where one was expected")
      }
      // Columns are called a, b, c, .. so that their order is known.
      return members.sorted { $0.key < $1.key }.map { $0.value == .null ? nil : $0.value.stringValue ?? $0.value.sortedText }
    }
  }

  /// The columns of a query.
  /// - Throws: `invalidArgument` for what is no single query.
  public func fields(of query: String) throws -> [Field] {
    let limit = try connection.begin(query, nil)
    guard PQsendQueryParams(connection.handle, "SELECT * FROM (\(query)\n) AS q LIMIT 0", 0, nil, nil, nil, nil, 0) == 1 else { throw connection.failure(nil) }
    try connection.flush(limit)
    var found: [(name: String, type: UInt32, modifier: Int32)] = []
    var problem: PostgresError?
    while let result = try connection.nextResult(limit) {
      defer { PQclear(result) }
      guard PQresultStatus(result) == PGRES_TUPLES_OK else {
        problem = problem ?? connection.failure(result)
        continue
      }
      found = (0..<PQnfields(result)).map { (String(cString: PQfname(result, $0)), PQftype(result, $0), PQfmod(result, $0)) }
    }
    if let problem { throw problem }
    let types = Set(found.map(\.type)).sorted().map(String.init).joined(separator: ",")
    guard !types.isEmpty else { return [] }
    // A domain is what it is made of.
    var known: [UInt32: (name: String, item: String?)] = [:]
    for row in try rows(
      """
      SELECT t.oid::text AS a, CASE WHEN b.oid IS NULL THEN t.typname ELSE b.typname END::text AS b,
        CASE WHEN coalesce(b.typcategory, t.typcategory) = 'A' THEN e.typname END::text AS c
      FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
        LEFT JOIN pg_catalog.pg_type e ON e.oid = coalesce(b.typelem, t.typelem) WHERE t.oid IN (\(types))
      """) where row.count == 3
    {
      guard let id = row[0].flatMap({ UInt32($0) }) else { continue }
      known[id] = (row[1] ?? "text", row[2])
    }
    return found.map { name, type, modifier in
      let (own, item) = known[type] ?? ("text", nil)
      var field = Field(name: name, type: item ?? own, isArray: item != nil)
      if field.type == "numeric", modifier >= 4 {
        field.precision = Int((modifier - 4) >> 16 & 0xFFFF)
        field.scale = Int(modifier - 4) & 0x7FF
      }
      return field
    }
  }

  /// `COPY (query) TO STDOUT` as CSV: every value in double quotes, NULL as nothing.
  /// - Returns: the number of rows.
  public func copyOut(_ query: String, _ take: (UnsafeBufferPointer<UInt8>) throws -> Void) throws -> Int {
    try connection.copyOut("COPY (\(query)\n) TO STDOUT (FORMAT csv, FORCE_QUOTE *)", isCancelled: isCancelled, take)
  }

  /// A text as SQL.
  /// - Throws: `invalidArgument` for one with a NUL character.
  public static func literal(_ text: String) throws -> String {
    guard !text.utf8.contains(0) else { throw PlatformError(.invalidArgument, "a value for Postgres holds a NUL character") }
    return "'" + text.replacing("'", with: "''") + "'"
  }
}

extension PostgresConnection {
  /// A COPY .. TO STDOUT, row after row.
  /// - Returns: the number of rows.
  func copyOut(_ sql: String, isCancelled: () -> Bool, _ take: (UnsafeBufferPointer<UInt8>) throws -> Void) throws -> Int {
    let limit = try begin(sql, nil)
    guard PQsendQueryParams(handle, sql, 0, nil, nil, nil, nil, 0) == 1 else { throw failure(nil) }
    try flush(limit)
    guard let start = try nextResult(limit) else { throw failure(nil) }
    guard PQresultStatus(start) == PGRES_COPY_OUT else {
      let refusal = failure(start)
      PQclear(start)
      while let rest = try nextResult(limit) { PQclear(rest) }
      throw refusal
    }
    PQclear(start)
    var count = 0
    copying: while true {
      var buffer: UnsafeMutablePointer<CChar>?
      let length = PQgetCopyData(handle, &buffer, 1)
      switch length {
      case 0:
        if isCancelled() {
          abandon()
          throw CancellationError()
        }
        try waitToRead(limit)
      case -1: break copying
      case -2: throw failure(nil)
      default:
        count += 1
        defer { PQfreemem(buffer) }
        do {
          if count & 1023 == 0, isCancelled() { throw CancellationError() }
          try buffer?.withMemoryRebound(to: UInt8.self, capacity: Int(length)) { try take(UnsafeBufferPointer(start: $0, count: Int(length))) }
        } catch {
          abandon()  // the rest would have to be read first
          throw error
        }
      }
    }
    var problem: PostgresError?
    while let result = try nextResult(limit) {
      if PQresultStatus(result) != PGRES_COMMAND_OK { problem = problem ?? failure(result) }
      PQclear(result)
    }
    if let problem { throw problem }
    return count
  }

  /// Waits until the server has sent something, and takes it in.
  func waitToRead(_ limit: StatementLimit) throws {
    var descriptor = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
    let milliseconds = limit.remainingMilliseconds
    let count = poll(&descriptor, 1, min(milliseconds, 1000))
    if count == 0, milliseconds == 0 { throw abandon(limit) }
    if count > 0, !consumeInput() { throw failure(nil) }
  }
}
