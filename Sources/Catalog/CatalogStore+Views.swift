// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres

/// Views share their names with tables: a schema has one of a name.
extension CatalogStore {
  /// Makes a view, or gives one that exists another query.
  /// - Parameter replaces: what to do when there is a view of the name already: take its place, or refuse.
  /// - Throws: `invalidArgument` PLT-3001 for a name that cannot be used, or when a table has the name; `notFound` PLT-3002 when there is no
  ///   such schema; `alreadyExists` PLT-3003.
  public func setView(
    _ name: ThreePartName, _ view: ViewDefinition, columns: [ColumnEntry], comment: String?, properties: [String: String]?, replaces: Bool,
    by actor: String
  ) async throws -> TableEntry {
    try Self.requirePlain(name.name)
    let encoded = try JSONValue(encoding: columns)
    let definition = try JSONValue(encoding: view)
    let facts = try properties.map { try JSONValue(encoding: $0) }
    try await pool.transaction { transaction in
      try Self.requireSchema(transaction, name)
      let made = try transaction.execute(
        """
        INSERT INTO tables (id, catalog, schema, name, kind, location, columns, comment, owner, properties, view)
        VALUES ($1::uuid, $2, $3, $4, 'view', '', $5::jsonb, $6, $7, $8::jsonb, $9::jsonb) ON CONFLICT (catalog, schema, name) DO NOTHING
        """,
        [.text(UUID().uuidString)] + Self.key(name)
          + [.encoding(encoded), .text(comment ?? ""), .text(actor), .encoding(facts ?? [:]), .encoding(definition)])
      if made == 1 { return try Self.audit(transaction, actor, "create view", "\(name)") }
      let changed =
        replaces
        ? try transaction.execute(
          """
          UPDATE tables SET columns = $4::jsonb, comment = coalesce($5, comment), properties = coalesce($6::jsonb, properties), view = $7::jsonb,
            updated_at = now() WHERE catalog = $1 AND schema = $2 AND name = $3 AND kind = 'view'
          """, Self.key(name) + [.encoding(encoded), .optional(comment), facts.map { .encoding($0) } ?? .null, .encoding(definition)]) : 0
      guard changed == 1 else {
        let taken = try transaction.query("SELECT kind FROM tables WHERE catalog = $1 AND schema = $2 AND name = $3", Self.key(name))
        let isView = try taken.first?.string("kind") == "view"
        throw PlatformError(
          .alreadyExists, "\(isView ? "view" : "table") '\(name)' exists already",
          hint: isView ? "Use CREATE OR REPLACE VIEW." : "A view cannot take a table's place.", number: "PLT-3003")
      }
      try Self.audit(transaction, actor, "replace view", "\(name)")
    }
    return try await table(name)
  }

  /// - Throws: `notFound` PLT-3002, also when the name is a table's.
  public func view(_ name: ThreePartName) async throws -> TableEntry {
    guard let found = try await findTable(name), found.kind == .view else { throw Self.missing("view", "\(name)") }
    return found
  }

  /// It can be brought back as a table can.
  /// - Throws: `notFound` PLT-3002, also when the name is a table's.
  public func dropView(_ name: ThreePartName, by actor: String) async throws {
    try await pool.transaction { transaction in
      let gone = try Self.bury(
        transaction, .table, "catalog = $1 AND schema = $2 AND name = $3 AND kind = 'view'", Self.key(name), UUID(), by: actor)
      if gone.isEmpty { throw Self.missing("view", "\(name)") }
    }
  }
}
