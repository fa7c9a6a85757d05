// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
import Postgres

/// What somebody says of a table's keys. Nothing enforces it: it informs people and planners.
public struct ConstraintEntry: Sendable, Equatable {
  public enum Kind: String, Sendable {
    case primaryKey = "primary_key"
    case foreignKey = "foreign_key"
    /// A check that the table's own log enforces; only its name is known here.
    case named
  }

  public var name: String
  public var kind: Kind
  public var columns: [String]
  /// Columns of the primary key that hold the time of a time series.
  public var timeseries: [String]
  /// The table whose key is meant, of a foreign key, as it is called now.
  public var parent: ThreePartName?
  public var parentColumns: [String]
  /// Whether planners may rely on it.
  public var isRelied: Bool

  public init(
    name: String, kind: Kind, columns: [String] = [], timeseries: [String] = [], parent: ThreePartName? = nil, parentColumns: [String] = [],
    isRelied: Bool = false
  ) {
    self.name = name
    self.kind = kind
    self.columns = columns
    self.timeseries = timeseries
    self.parent = parent
    self.parentColumns = parentColumns
    self.isRelied = isRelied
  }
}

extension CatalogStore {
  /// Adds a constraint; columns come back as the table spells them.
  /// - Throws: `notFound` PLT-3002 for a table or column that is not there; `alreadyExists` PLT-3003 for a name that is taken or a second
  ///   primary key; `invalidArgument` when it cannot be.
  public func addConstraint(_ constraint: ConstraintEntry, to name: ThreePartName, by actor: String) async throws -> ConstraintEntry {
    try Self.requirePlain(constraint.name)
    var made = constraint
    let entry = try await table(name)
    made.columns = try Self.spelled(constraint.columns, in: entry)
    made.timeseries = try Self.spelled(constraint.timeseries, in: entry)
    var parentID: UUID?
    switch constraint.kind {
    case .named: break
    case .primaryKey:
      guard !made.columns.isEmpty, Set(made.columns).count == made.columns.count, made.timeseries.allSatisfy(made.columns.contains) else {
        throw PlatformError(.invalidArgument, "a primary key has columns, each once, and its time series are among them")
      }
    case .foreignKey:
      guard let parentName = constraint.parent, !made.columns.isEmpty else {
        throw PlatformError(.invalidArgument, "a foreign key has columns and a table that they refer to")
      }
      let parent = try await table(parentName)
      let keys = try await constraints([parent.id])[parent.id] ?? []
      guard let key = keys.first(where: { $0.kind == .primaryKey }) else {
        throw PlatformError(.invalidArgument, "table '\(parent.name)' has no primary key to refer to")
      }
      made.parentColumns = constraint.parentColumns.isEmpty ? key.columns : try Self.spelled(constraint.parentColumns, in: parent)
      guard made.parentColumns.sorted() == key.columns.sorted(), made.parentColumns.count == made.columns.count else {
        throw PlatformError(.invalidArgument, "the foreign key must refer to the primary key (\(key.columns.joined(separator: ", "))) of '\(parent.name)'")
      }
      made.parent = parent.name
      parentID = parent.id
    }
    let (stored, parent) = (made, parentID)
    try await pool.transaction { transaction in
      guard try !transaction.query("SELECT 1 FROM tables WHERE id = $1::uuid FOR UPDATE", [.text(entry.id.uuidString)]).isEmpty else {
        throw Self.missing("table", "\(name)")
      }
      let count = try transaction.execute(
        """
        INSERT INTO table_constraints (table_id, name, kind, columns, timeseries, parent, parent_columns, rely, created_by)
        VALUES ($1::uuid, $2, $3, $4::text[], $5::text[], $6::uuid, $7::text[], $8, $9) ON CONFLICT DO NOTHING
        """,
        [
          .text(entry.id.uuidString), .text(stored.name), .text(stored.kind.rawValue), .textArray(stored.columns), .textArray(stored.timeseries),
          .optional(parent?.uuidString), .textArray(stored.parentColumns), .bool(stored.isRelied), .text(actor),
        ])
      guard count == 1 else {
        throw PlatformError(
          .alreadyExists, "table '\(entry.name)' has a constraint '\(stored.name)' already, or a primary key", number: "PLT-3003")
      }
      try Self.audit(transaction, actor, "add constraint \(stored.name)", "\(entry.name)")
    }
    return stored
  }

  /// - Parameter cascade: also removes foreign keys of other tables that refer to a primary key.
  /// - Throws: `notFound` PLT-3002; `conflict` when foreign keys refer to it.
  public func removeConstraint(_ constraint: String, from name: ThreePartName, cascade: Bool, by actor: String) async throws {
    let entry = try await table(name)
    try await pool.transaction { transaction in
      let id = PostgresValue.text(entry.id.uuidString)
      let rows = try transaction.query(
        "DELETE FROM table_constraints WHERE table_id = $1::uuid AND lower(name) = lower($2) RETURNING kind", [id, .text(constraint)])
      guard let row = rows.first else { throw Self.missing("constraint", constraint) }
      if try row.string("kind") == ConstraintEntry.Kind.primaryKey.rawValue {
        let referring = try transaction.query("SELECT name FROM table_constraints WHERE parent = $1::uuid", [id])
        guard referring.isEmpty || cascade else {
          throw PlatformError(
            .conflict, "\(referring.count) foreign keys refer to '\(constraint)', one is '\(try referring[0].string("name"))'", hint: "Use cascade.")
        }
        try transaction.execute("DELETE FROM table_constraints WHERE parent = $1::uuid", [id])
      }
      try Self.audit(transaction, actor, "remove constraint \(constraint)", "\(entry.name)")
    }
  }

  /// The constraints of tables, by name. A foreign key whose table was dropped is left out.
  public func constraints(_ tables: [UUID]) async throws -> [UUID: [ConstraintEntry]] {
    if tables.isEmpty { return [:] }
    let rows = try await pool.query(
      """
      SELECT c.*, t.catalog AS parent_catalog, t.schema AS parent_schema, t.name AS parent_name
      FROM table_constraints c LEFT JOIN tables t ON t.id = c.parent
      WHERE c.table_id = ANY ($1::uuid[]) AND (c.kind <> 'foreign_key' OR t.id IS NOT NULL) ORDER BY c.table_id, c.name
      """, [.textArray(tables.map(\.uuidString))])
    var found: [UUID: [ConstraintEntry]] = [:]
    for row in rows {
      guard let kind = ConstraintEntry.Kind(rawValue: try row.string("kind")) else { continue }
      var entry = ConstraintEntry(
        name: try row.string("name"), kind: kind, columns: try row.get("columns"), timeseries: try row.get("timeseries"),
        parentColumns: try row.get("parent_columns"), isRelied: try row.bool("rely"))
      if let catalog: String = try row.get("parent_catalog") {
        entry.parent = ThreePartName(catalog: catalog, schema: try row.string("parent_schema"), name: try row.string("parent_name"))
      }
      found[try row.get("table_id"), default: []].append(entry)
    }
    return found
  }

  private static func spelled(_ columns: [String], in table: TableEntry) throws -> [String] {
    try columns.map { column in
      guard let found = table.columns.first(where: { $0.name.lowercased() == column.lowercased() }) else {
        throw missing("column", "\(table.name).\(column)")
      }
      return found.name
    }
  }
}
