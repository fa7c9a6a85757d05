// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
public import Postgres

/// The namespace and its objects in Postgres. Each change and its audit row are one transaction.
public struct CatalogStore: Sendable {
  public let pool: PostgresPool
  public init(pool: PostgresPool) { self.pool = pool }

  /// Makes the catalogs and schemas that everything expects. Safe to repeat.
  public func bootstrap() async throws {
    try await pool.transaction { transaction in
      for catalog in ["main", "system"] {
        try transaction.execute("INSERT INTO catalogs (name) VALUES ($1) ON CONFLICT DO NOTHING", [.text(catalog)])
      }
      for (catalog, schema) in [("main", "default"), ("main", "demo"), ("system", "ai")] {
        try transaction.execute(
          "INSERT INTO schemas (catalog, name) VALUES ($1, $2) ON CONFLICT DO NOTHING", [.text(catalog), .text(schema)])
      }
    }
  }

  static func audit(_ transaction: PostgresTransaction, _ actor: String, _ action: String, _ object: String) throws {
    try transaction.execute(
      "INSERT INTO audit (actor, action, object, outcome) VALUES ($1, $2, $3, 'ok')", [.text(actor), .text(action), .text(object)])
  }

  static func missing(_ kind: String, _ name: String) -> PlatformError {
    PlatformError(.notFound, "\(kind) '\(name)' does not exist", number: "PLT-3002")
  }

  /// - Throws: `notFound` PLT-3002 when the schema does not exist.
  static func requireSchema(_ transaction: PostgresTransaction, _ name: ThreePartName) throws {
    let found = try transaction.query("SELECT 1 FROM schemas WHERE catalog = $1 AND name = $2 FOR KEY SHARE", [.text(name.catalog), .text(name.schema)])
    if found.isEmpty { throw missing("schema", "\(name.catalog).\(name.schema)") }
  }

  /// Names end up in paths, so each is looked at again where something is made.
  /// - Throws: `invalidArgument` PLT-3001.
  public static func requirePlain(_ name: String) throws {
    guard ThreePartName.isPlain(name) else { throw PlatformError(.invalidArgument, "'\(name)' is not a usable name", number: "PLT-3001") }
  }

  static func key(_ name: ThreePartName) -> [PostgresValue] { [.text(name.catalog), .text(name.schema), .text(name.name)] }

  static func name(_ row: PostgresRow) throws -> ThreePartName {
    ThreePartName(catalog: try row.string("catalog"), schema: try row.string("schema"), name: try row.string("name"))
  }

  /// - Throws: `invalidArgument` PLT-3001 for a name that cannot be used, `alreadyExists` when there is one of this name.
  public func createCatalog(_ name: String, comment: String = "", properties: [String: String] = [:], by actor: String) async throws {
    try Self.requirePlain(name)
    let properties = try JSONValue(encoding: properties)
    try await pool.transaction { transaction in
      guard
        try transaction.execute(
          "INSERT INTO catalogs (name, comment, owner, properties, created_by, updated_by) VALUES ($1, $2, $3, $4::jsonb, $3, $3) ON CONFLICT DO NOTHING",
          [.text(name), .text(comment), .text(actor), .encoding(properties)]) == 1
      else {
        throw PlatformError(.alreadyExists, "catalog '\(name)' exists already", number: "PLT-3003")
      }
      try Self.audit(transaction, actor, "create catalog", name)
    }
  }

  /// - Returns: false when it existed already.
  /// - Throws: `invalidArgument` PLT-3001 for a name that cannot be used, `notFound` PLT-3002 when there is no such catalog.
  public func createSchema(
    catalog: String, name: String, comment: String = "", properties: [String: String] = [:], by actor: String
  ) async throws -> Bool {
    try Self.requirePlain(name)
    let properties = try JSONValue(encoding: properties)
    return try await pool.transaction { transaction in
      guard try !transaction.query("SELECT 1 FROM catalogs WHERE name = $1 FOR KEY SHARE", [.text(catalog)]).isEmpty else {
        throw Self.missing("catalog", catalog)
      }
      let made = try transaction.execute(
        """
        INSERT INTO schemas (catalog, name, comment, owner, properties, created_by, updated_by)
        VALUES ($1, $2, $3, $4, $5::jsonb, $4, $4) ON CONFLICT DO NOTHING
        """,
        [.text(catalog), .text(name), .text(comment), .text(actor), .encoding(properties)])
      if made == 1 { try Self.audit(transaction, actor, "create schema", "\(catalog).\(name)") }
      return made == 1
    }
  }

  public func schemas() async throws -> [(catalog: String, name: String)] {
    try await pool.query("SELECT catalog, name FROM schemas ORDER BY 1, 2").map { (try $0.string("catalog"), try $0.string("name")) }
  }

  /// Catalogs by name.
  public func catalogs(limit: Int, pageToken: String? = nil) async throws -> CatalogPage<CatalogEntry> {
    try await page(Listing("catalogs", key: [("name", "text")]), limit, pageToken, Self.catalogEntry)
  }

  /// Schemas by catalog and name, of one catalog or of all.
  public func schemas(catalog: String? = nil, limit: Int, pageToken: String? = nil) async throws -> CatalogPage<SchemaEntry> {
    try await page(
      Listing("schemas", filters: [("catalog", catalog)], key: [("catalog", "text"), ("name", "text")]), limit, pageToken,
      Self.schemaEntry)
  }
}
