// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres

/// Functions that are written in SQL.
extension CatalogStore {
  /// - Parameter replaces: take the place of a function of the name.
  /// - Throws: `invalidArgument` PLT-3001, `notFound` PLT-3002 when there is no such schema, `alreadyExists` PLT-3003.
  public func setFunction(
    _ name: ThreePartName, _ definition: FunctionDefinition, comment: String, properties: [String: String] = [:], replaces: Bool = false,
    by actor: String
  ) async throws -> FunctionEntry {
    try Self.requirePlain(name.name)
    let encoded = try JSONValue(encoding: definition)
    let facts = try JSONValue(encoding: properties)
    try await pool.transaction { transaction in
      try Self.requireSchema(transaction, name)
      let values =
        [.text(UUID().uuidString)] + Self.key(name) + [.encoding(encoded), .text(comment), .text(actor), .encoding(facts)]
      let made = try transaction.execute(
        """
        INSERT INTO functions (id, catalog, schema, name, definition, comment, owner, properties, created_by, updated_by)
        VALUES ($1::uuid, $2, $3, $4, $5::jsonb, $6, $7, $8::jsonb, $7, $7) ON CONFLICT (catalog, schema, name)
        """
          + (replaces
            ? " DO UPDATE SET definition = excluded.definition, comment = excluded.comment, properties = excluded.properties, updated_by = excluded.updated_by, updated_at = now()"
            : " DO NOTHING"),
        values)
      guard made == 1 else {
        throw PlatformError(.alreadyExists, "function '\(name)' exists already", hint: "Use CREATE OR REPLACE FUNCTION.", number: "PLT-3003")
      }
      try Self.audit(transaction, actor, replaces ? "replace function" : "create function", "\(name)")
    }
    return try await function(name)
  }

  public func findFunction(_ name: ThreePartName) async throws -> FunctionEntry? {
    try await pool.query("SELECT * FROM functions WHERE catalog = $1 AND schema = $2 AND name = $3", Self.key(name)).first.map(Self.functionEntry)
  }

  /// - Throws: `notFound` PLT-3002.
  public func function(_ name: ThreePartName) async throws -> FunctionEntry {
    guard let found = try await findFunction(name) else { throw Self.missing("function", "\(name)") }
    return found
  }

  /// Functions by catalog, schema and name, page by page.
  public func functions(
    catalog: String? = nil, schema: String? = nil, limit: Int, pageToken: String? = nil
  ) async throws -> CatalogPage<FunctionEntry> {
    try await page(.objects("functions", catalog, schema), limit, pageToken, Self.functionEntry)
  }

  /// - Throws: `notFound` PLT-3002.
  public func dropFunction(_ name: ThreePartName, by actor: String) async throws {
    try await pool.transaction { transaction in
      let made = try Self.bury(transaction, .function, "catalog = $1 AND schema = $2 AND name = $3", Self.key(name), UUID(), by: actor)
      if made.isEmpty { throw Self.missing("function", "\(name)") }
    }
  }

  static func functionEntry(_ row: PostgresRow) throws -> FunctionEntry {
    FunctionEntry(
      id: try row.get("id"), name: try name(row), definition: try row.json("definition").decode(), comment: try row.string("comment"),
      owner: try row.string("owner"), properties: try row.json("properties").decode(), createdAt: try row.date("created_at"),
      createdBy: try row.get("created_by") ?? row.string("owner"), updatedAt: try row.date("updated_at"),
      updatedBy: try row.get("updated_by") ?? row.string("owner"))
  }
}
