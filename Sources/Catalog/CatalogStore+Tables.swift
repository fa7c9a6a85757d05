// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres

/// Tables: where their Delta logs are and what columns they have.
extension CatalogStore {
  /// The table's entry, made when it does not exist yet. The location is decided here, once, unless one is given.
  /// - Throws: `invalidArgument` PLT-3001 for a name that cannot be used, `notFound` PLT-3002 when there is no such schema, `conflict`
  ///   when the given location is inside of a volume or around one.
  public func table(
    _ name: ThreePartName, creatingIn lake: String, columns: [ColumnEntry], by actor: String, location given: String? = nil
  ) async throws -> TableEntry {
    if let found = try await findTable(name) { return found }
    try Self.requirePlain(name.name)
    let id = UUID()
    let encoded = try JSONValue(encoding: columns)
    try await pool.transaction { transaction in
      try Self.requireSchema(transaction, name)
      if let given { try Self.requireApart(transaction, given, from: ["volumes"]) }
      let location = given ?? "\(lake)/\(name.catalog)/\(name.schema)/\(name.name)-\(id.uuidString.prefix(8).lowercased())"
      let made = try transaction.execute(
        """
        INSERT INTO tables (id, catalog, schema, name, location, columns, owner, created_by, updated_by)
        VALUES ($1::uuid, $2, $3, $4, $5, $6::jsonb, $7, $7, $7) ON CONFLICT DO NOTHING
        """,
        [.text(id.uuidString)] + Self.key(name) + [.text(location), .encoding(encoded), .text(actor)])
      if made == 1 { try Self.audit(transaction, actor, "create table", "\(name)") }
    }
    return try await table(name)
  }

  /// - Throws: `notFound` PLT-3002.
  public func table(_ name: ThreePartName) async throws -> TableEntry {
    guard let found = try await findTable(name) else { throw try await missing(name) }
    return found
  }

  /// With the name of a table of the schema that is nearly the same.
  private func missing(_ name: ThreePartName) async throws -> PlatformError {
    var error = Self.missing("table", "\(name)")
    let others = try await pool.query(
      "SELECT name FROM tables WHERE lower(catalog) = lower($1) AND lower(schema) = lower($2) ORDER BY name LIMIT 1000",
      [.text(name.catalog), .text(name.schema)]
    ).map { try $0.string("name") }
    if let near = Spelling.suggestion(for: name.name, among: others) { error.hint = "Did you mean '\(name.catalog).\(name.schema).\(near)'?" }
    return error
  }

  /// The table of this name in any case of letters.
  public func findTable(_ name: ThreePartName) async throws -> TableEntry? {
    try await pool.query(
      "SELECT * FROM tables WHERE lower(catalog) = lower($1) AND lower(schema) = lower($2) AND lower(name) = lower($3)", Self.key(name)
    ).first.map(Self.tableEntry)
  }

  public func tables(catalog: String? = nil, schema: String? = nil) async throws -> [TableEntry] {
    try await pool.query(
      """
      SELECT * FROM tables WHERE ($1::text IS NULL OR catalog = $1) AND ($2::text IS NULL OR schema = $2)
      ORDER BY catalog, schema, name
      """, [.optional(catalog), .optional(schema)]
    ).map(Self.tableEntry)
  }

  /// Tables by catalog, schema and name, page by page.
  public func tables(
    catalog: String? = nil, schema: String? = nil, limit: Int, pageToken: String? = nil
  ) async throws -> CatalogPage<TableEntry> {
    try await page(.objects("tables", catalog, schema), limit, pageToken, Self.tableEntry)
  }

  /// Names and kinds of the tables of a catalog whose schema and name match patterns of SQL's LIKE; nil and the empty pattern match all.
  public func tableNames(
    catalog: String, schemaLike: String?, nameLike: String?, limit: Int, pageToken: String? = nil
  ) async throws -> CatalogPage<(name: ThreePartName, kind: String)> {
    var listing = Listing.objects("tables", catalog, nil)
    listing.columns = "catalog, schema, name, kind"
    listing.patterns = [("schema", schemaLike?.isEmpty == true ? nil : schemaLike), ("name", nameLike?.isEmpty == true ? nil : nameLike)]
    return try await page(listing, limit, pageToken) { (name: try Self.name($0), kind: try $0.string("kind")) }
  }

  /// - Throws: `notFound` PLT-3002.
  public func updateColumns(_ name: ThreePartName, _ columns: [ColumnEntry]) async throws {
    let changed = try await pool.execute(
      "UPDATE tables SET columns = $4::jsonb, updated_at = now() WHERE catalog = $1 AND schema = $2 AND name = $3",
      Self.key(name) + [.encoding(JSONValue(encoding: columns))])
    if changed == 0 { throw Self.missing("table", "\(name)") }
  }

  private static func view(_ row: PostgresRow) throws -> ViewDefinition? {
    guard let value: JSONValue = try row.get("view") else { return nil }
    return try value.decode()
  }

  static func tableEntry(_ row: PostgresRow) throws -> TableEntry {
    guard let kind = TableEntry.Kind(rawValue: try row.string("kind")) else {
      throw PlatformError(.internalError, "table '\(try name(row))' is of an unknown kind")
    }
    return TableEntry(
      id: try row.get("id"), name: try name(row), kind: kind,
      location: try row.string("location"), view: try Self.view(row), columns: try row.decodedList("columns"), comment: try row.string("comment"),
      owner: try row.string("owner"), properties: try row.decoded("properties"), createdAt: try row.date("created_at"),
      createdBy: try row.get("created_by") ?? row.string("owner"), updatedAt: try row.date("updated_at"),
      updatedBy: try row.get("updated_by") ?? row.string("owner"))
  }
}
