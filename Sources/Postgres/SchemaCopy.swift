// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import Core
import Foundation

/// A table as it is copied: the columns that are stored, without those that the server computes.
public struct CopiedTable: Codable, Sendable, Equatable {
  public var name: String
  public var columns: [String]
  /// Other tables that rows of this one name.
  public var references: [String]

  public init(name: String, columns: [String], references: [String] = []) {
    self.name = name
    self.columns = columns
    self.references = references
  }

  /// The tables in an order in which each comes behind those that it references. Where they go in a circle, by name.
  public static func ordered(_ tables: [CopiedTable]) -> [CopiedTable] {
    var left = tables.sorted { $0.name < $1.name }
    let all = Set(left.map(\.name))
    var placed: Set<String> = []
    var out: [CopiedTable] = []
    while !left.isEmpty {
      let next = left.firstIndex { table in table.references.allSatisfy { $0 == table.name || !all.contains($0) || placed.contains($0) } } ?? 0
      let table = left.remove(at: next)
      placed.insert(table.name)
      out.append(table)
    }
    return out
  }
}

/// A sequence and how far it has counted.
public struct CopiedSequence: Codable, Sendable, Equatable {
  public var name: String
  public var last: Int64
  public var isCalled: Bool
}

/// Reads all of a schema as it was at one moment, whatever is written meanwhile. Belongs to one thread; every call blocks.
public final class SchemaExport {
  private let connection: PostgresConnection
  private let schema: String

  /// Connects. The moment is that of the first call.
  /// - Throws: `unavailable` or `badConfiguration` PLT-1109.
  public init(connectionString: String, schema: String = "platform") throws {
    connection = try PostgresConnection(.forCopies(connectionString, schema))
    self.schema = schema
    _ = try connection.run("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", [])
  }

  /// The rows of a query.
  public func query(_ sql: String, _ parameters: [PostgresValue] = []) throws -> [PostgresRow] {
    do { return try connection.run(sql, parameters).rows } catch let error as PostgresError { throw error.platformError }
  }

  /// Bytes that the whole database takes on the server's disk.
  public func databaseBytes() throws -> Int64 { try query("SELECT pg_database_size(current_database()) AS n").first?.get("n") ?? 0 }

  /// The schema's tables, in order of name.
  public func tables() throws -> [CopiedTable] {
    let columns = try query(
      """
      SELECT c.relname::text AS t, a.attname::text AS c FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
      WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1, a.attnum
      """, [.text(schema)])
    let references = try query(
      """
      SELECT a.relname::text AS t, b.relname::text AS r FROM pg_catalog.pg_constraint k
      JOIN pg_catalog.pg_class a ON a.oid = k.conrelid JOIN pg_catalog.pg_class b ON b.oid = k.confrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = a.relnamespace WHERE n.nspname = $1 AND k.contype = 'f' ORDER BY 1, 2
      """, [.text(schema)])
    var found: [CopiedTable] = []
    for row in columns {
      let name = try row.string("t")
      if found.last?.name != name { found.append(CopiedTable(name: name, columns: [])) }
      found[found.count - 1].columns.append(try row.string("c"))
    }
    for row in references {
      let (name, other) = (try row.string("t"), try row.string("r"))
      guard let index = found.firstIndex(where: { $0.name == name }), !found[index].references.contains(other) else { continue }
      found[index].references.append(other)
    }
    return found
  }

  /// The schema's sequences. Their numbers are those of this moment, not of the first call: read them behind the tables.
  public func sequences() throws -> [CopiedSequence] {
    try query("SELECT sequencename::text AS s FROM pg_catalog.pg_sequences WHERE schemaname = $1 ORDER BY 1", [.text(schema)]).map { row in
      let name = try row.string("s")
      let state = try query("SELECT last_value, is_called FROM \(PostgresIdentifier.quote(name))")[0]
      return CopiedSequence(name: name, last: try state.get("last_value"), isCalled: try state.bool("is_called"))
    }
  }

  /// All rows of a table in the text form of COPY, which every version of the server reads.
  /// - Returns: the number of rows.
  public func copy(_ table: CopiedTable, _ take: (UnsafeBufferPointer<UInt8>) throws -> Void) throws -> Int {
    let columns = try table.columns.map(PostgresIdentifier.quote).joined(separator: ", ")
    do {
      return try connection.copyOut("COPY \(PostgresIdentifier.quote(table.name)) (\(columns)) TO STDOUT", isCancelled: { Task.isCancelled }, take)
    } catch let error as PostgresError { throw error.platformError }
  }
}

/// Fills the tables of a schema that has been made, in one transaction. Belongs to one thread; every call blocks.
public final class SchemaImport {
  private let connection: PostgresConnection

  /// Connects, and begins the transaction.
  /// - Throws: `unavailable` or `badConfiguration` PLT-1109.
  public init(connectionString: String, schema: String = "platform") throws {
    connection = try PostgresConnection(.forCopies(connectionString, schema))
    _ = try connection.run("BEGIN", [])
  }

  /// - Returns: the number of affected rows.
  @discardableResult
  public func execute(_ sql: String, _ parameters: [PostgresValue] = []) throws -> Int {
    do { return try connection.run(sql, parameters).affected } catch let error as PostgresError { throw error.platformError }
  }

  /// Empties tables, all at once: they may reference each other.
  public func empty(_ tables: [CopiedTable]) throws {
    guard !tables.isEmpty else { return }
    try execute("TRUNCATE \(tables.map { try PostgresIdentifier.quote($0.name) }.joined(separator: ", "))")
  }

  /// Rows in the text form of COPY.
  /// - Returns: the number of rows.
  public func copy(_ table: CopiedTable, _ produce: (_ put: (UnsafeRawBufferPointer) throws -> Void) throws -> Void) throws -> Int {
    let columns = try table.columns.map(PostgresIdentifier.quote).joined(separator: ", ")
    do {
      return try connection.copyIn("COPY \(PostgresIdentifier.quote(table.name)) (\(columns)) FROM STDIN", produce)
    } catch let error as PostgresError { throw error.platformError }
  }

  public func set(_ sequence: CopiedSequence) throws {
    try execute(
      "SELECT setval($1::regclass, $2::bigint, $3::boolean)",
      [.text(try PostgresIdentifier.quote(sequence.name)), .int(Int(sequence.last)), .bool(sequence.isCalled)])
  }

  /// Makes all of it visible.
  public func commit() throws { try execute("COMMIT") }
}

extension PostgresConfiguration {
  /// For whole tables: no statement is too long, and the transaction may wait for a disk.
  fileprivate static func forCopies(_ connectionString: String, _ schema: String) throws -> PostgresConfiguration {
    var configuration = PostgresConfiguration(connectionString: connectionString, schema: schema, poolSize: 1)
    configuration.applicationName = "platform-backup"
    configuration.connectTimeout = .seconds(10)
    configuration.statementTimeout = .zero
    configuration.answerTimeout = .seconds(86_400)
    configuration.idleInTransactionTimeout = .zero
    configuration.lockTimeout = .seconds(30)
    try configuration.validate()
    return configuration
  }
}
