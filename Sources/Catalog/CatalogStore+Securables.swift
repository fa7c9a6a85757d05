// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres

/// What clients of the Unity Catalog API need of every kind of object: names in any case, single objects, changes, removal.
extension CatalogStore {
  /// Kinds of objects with a three-part name.
  public enum ObjectKind: String, Sendable, CaseIterable {
    case table, volume, model, function

    var rows: String { rawValue + "s" }
  }

  // MARK: names in any case

  /// The name as it is stored: the same one, or the only one that differs in the case of letters.
  /// - Throws: `notFound` PLT-3002.
  public func storedCatalog(_ name: String) async throws -> String {
    let rows = try await pool.query(
      "SELECT name FROM catalogs WHERE lower(name) = lower($1) ORDER BY (name = $1) DESC, name LIMIT 1", [.text(name)])
    guard let row = rows.first else { throw Self.missing("catalog", name) }
    return try row.string("name")
  }

  /// - Throws: `notFound` PLT-3002.
  public func storedSchema(_ catalog: String, _ name: String) async throws -> (catalog: String, name: String) {
    let rows = try await pool.query(
      """
      SELECT catalog, name FROM schemas WHERE lower(catalog) = lower($1) AND lower(name) = lower($2)
      ORDER BY (catalog = $1) DESC, (name = $2) DESC, catalog, name LIMIT 1
      """, [.text(catalog), .text(name)])
    guard let row = rows.first else { throw Self.missing("schema", "\(catalog).\(name)") }
    return (try row.string("catalog"), try row.string("name"))
  }

  /// The object's name as it is stored, or nil when there is none.
  public func findStored(_ kind: ObjectKind, _ name: ThreePartName) async throws -> ThreePartName? {
    try await pool.query(
      """
      SELECT catalog, schema, name FROM \(kind.rows)
      WHERE lower(catalog) = lower($1) AND lower(schema) = lower($2) AND lower(name) = lower($3)
      ORDER BY (catalog = $1) DESC, (schema = $2) DESC, (name = $3) DESC, catalog, schema, name LIMIT 1
      """, Self.key(name)
    ).first.map(Self.name)
  }

  /// - Throws: `notFound` PLT-3002.
  public func stored(_ kind: ObjectKind, _ name: ThreePartName) async throws -> ThreePartName {
    guard let found = try await findStored(kind, name) else { throw Self.missing(kind.rawValue, "\(name)") }
    return found
  }

  // MARK: single objects

  /// - Throws: `notFound` PLT-3002.
  public func catalog(_ name: String) async throws -> CatalogEntry {
    guard let row = try await pool.query("SELECT * FROM catalogs WHERE name = $1", [.text(name)]).first else {
      throw Self.missing("catalog", name)
    }
    return try Self.catalogEntry(row)
  }

  /// - Throws: `notFound` PLT-3002.
  public func schema(catalog: String, name: String) async throws -> SchemaEntry {
    guard let row = try await pool.query("SELECT * FROM schemas WHERE catalog = $1 AND name = $2", [.text(catalog), .text(name)]).first else {
      throw Self.missing("schema", "\(catalog).\(name)")
    }
    return try Self.schemaEntry(row)
  }

  /// - Throws: `notFound` PLT-3002.
  public func model(_ name: ThreePartName) async throws -> ModelEntry {
    let rows = try await pool.query(
      "SELECT \(Self.modelColumns) FROM models WHERE catalog = $1 AND schema = $2 AND name = $3", Self.key(name))
    guard let row = rows.first else { throw Self.missing("model", "\(name)") }
    return try Self.modelEntry(row)
  }

  static func catalogEntry(_ row: PostgresRow) throws -> CatalogEntry {
    CatalogEntry(
      id: try row.get("id"), name: try row.string("name"), comment: try row.string("comment"), owner: try row.string("owner"),
      properties: try row.decoded("properties"), createdAt: try row.date("created_at"),
      createdBy: try row.get("created_by") ?? row.string("owner"), updatedAt: try row.date("updated_at"),
      updatedBy: try row.get("updated_by") ?? row.string("owner"))
  }

  static func schemaEntry(_ row: PostgresRow) throws -> SchemaEntry {
    SchemaEntry(
      id: try row.get("id"), catalog: try row.string("catalog"), name: try row.string("name"), comment: try row.string("comment"),
      owner: try row.string("owner"), properties: try row.decoded("properties"), createdAt: try row.date("created_at"),
      createdBy: try row.get("created_by") ?? row.string("owner"), updatedAt: try row.date("updated_at"),
      updatedBy: try row.get("updated_by") ?? row.string("owner"))
  }

  // MARK: changes

  /// What may be changed of an object; nil leaves it as it is.
  public struct Change: Sendable, Equatable {
    public var comment: String?
    public var owner: String?
    public var properties: [String: String]?
    public init(comment: String? = nil, owner: String? = nil, properties: [String: String]? = nil) {
      self.comment = comment
      self.owner = owner
      self.properties = properties
    }
  }

  /// - Throws: `notFound` PLT-3002.
  public func changeCatalog(_ name: String, _ change: Change, by actor: String) async throws {
    try await self.change("catalogs", "catalog", name, [("name", name)], change, hasProperties: true, by: actor)
  }

  /// - Throws: `notFound` PLT-3002.
  public func changeSchema(catalog: String, name: String, _ change: Change, by actor: String) async throws {
    try await self.change(
      "schemas", "schema", "\(catalog).\(name)", [("catalog", catalog), ("name", name)], change, hasProperties: true, by: actor)
  }

  /// Volumes and models have no properties: they are left out.
  /// - Throws: `notFound` PLT-3002.
  public func change(_ kind: ObjectKind, _ name: ThreePartName, _ change: Change, by actor: String) async throws {
    try await self.change(
      kind.rows, kind.rawValue, "\(name)", [("catalog", name.catalog), ("schema", name.schema), ("name", name.name)], change,
      hasProperties: kind == .table || kind == .function, by: actor)
  }

  private func change(
    _ table: String, _ kind: String, _ shown: String, _ key: [(String, String)], _ change: Change, hasProperties: Bool, by actor: String
  ) async throws {
    var values: [PostgresValue] = [.optional(change.comment), .optional(change.owner), .text(actor)]
    var sets = "comment = coalesce($1, comment), owner = coalesce($2, owner), updated_by = $3, updated_at = now()"
    if hasProperties, let properties = change.properties {
      values.append(.encoding(try JSONValue(encoding: properties)))
      sets += ", properties = $4::jsonb"
    }
    let conditions = key.enumerated().map { "\($1.0) = $\(values.count + $0 + 1)" }.joined(separator: " AND ")
    let statement = "UPDATE \(table) SET \(sets) WHERE \(conditions)"
    let parameters = values + key.map { PostgresValue.text($0.1) }
    try await pool.transaction { transaction in
      guard try transaction.execute(statement, parameters) == 1 else { throw Self.missing(kind, shown) }
      try Self.audit(transaction, actor, "change \(kind)", shown)
    }
  }

  // MARK: registering

  /// Gives a Delta table that exists a name in the catalog. Links are followed once, here.
  /// - Parameters:
  ///   - roots: folders that an operator allows; the location has to be in one of them. None: nothing is allowed.
  ///   - lake: the platform's own data, which no external table may contain or be part of.
  /// - Throws: `invalidArgument` PLT-3001 for a name or path that cannot be used, `notFound` when the folder or (PLT-3002) the schema
  ///   does not exist, `permissionDenied` outside of `roots`, `conflict` when it overlaps the lake, a volume or another table,
  ///   `alreadyExists` PLT-3003.
  public func registerTable(
    _ name: ThreePartName, at location: String, allowedIn roots: [String], apartFrom own: [String], columns: [ColumnEntry],
    comment: String, properties: [String: String], mayBeMissing: Bool = false, by actor: String
  ) async throws -> TableEntry {
    try Self.requirePlain(name.name)
    let found: String
    if location.hasPrefix("s3://") {
      found = try await bucketPlace(location, of: "table '\(name)'")
    } else {
      found = try await BlockingPool.shared.run {
        try Self.externalFolder(location, of: "table '\(name)'", allowedIn: roots, apartFrom: own, mayBeMissing: mayBeMissing)
      }
    }
    let encoded = try JSONValue(encoding: columns)
    let facts = try JSONValue(encoding: properties)
    try await pool.transaction { transaction in
      try Self.requireSchema(transaction, name)
      try Self.requireApart(transaction, found, from: ["volumes", "tables"])
      let made = try transaction.execute(
        """
        INSERT INTO tables (id, catalog, schema, name, kind, location, columns, comment, owner, properties, created_by, updated_by)
        VALUES ($1::uuid, $2, $3, $4, 'external', $5, $6::jsonb, $7, $8, $9::jsonb, $8, $8) ON CONFLICT DO NOTHING
        """,
        [.text(UUID().uuidString)] + Self.key(name) + [.text(found), .encoding(encoded), .text(comment), .text(actor), .encoding(facts)])
      if made == 0 { throw PlatformError(.alreadyExists, "table '\(name)' exists already", number: "PLT-3003") }
      try Self.audit(transaction, actor, "register table", "\(name)")
    }
    return try await table(name)
  }

  /// A place in a bucket, below one of the external locations.
  /// - Throws: `permissionDenied` elsewhere; `invalidArgument` PLT-3001 for a place that cannot be used.
  public func bucketPlace(_ url: String, of what: String) async throws -> String {
    let place = try Self.canonicalURL(url)
    guard let location = try await self.location(of: place) else {
      throw PlatformError(.permissionDenied, "\(what) would be outside of the external locations", hint: "Make one that holds it.", path: place)
    }
    // The location itself may hold many tables.
    guard place != location.url else {
      throw PlatformError(
        .invalidArgument, "\(what) would be external location '\(location.name)' itself", hint: "Name a folder in it.", number: "PLT-3001", path: place)
    }
    return place
  }

  /// An allowed folder, with its links followed. Touches the file system.
  /// - Parameter mayBeMissing: whether somebody may make it later.
  /// - Throws: `notFound`, `permissionDenied`, `conflict`; `invalidArgument` PLT-3001 for a path that cannot be used.
  public static func externalFolder(_ path: String, of what: String, allowedIn roots: [String], apartFrom own: [String], mayBeMissing: Bool = false) throws
    -> String
  {
    let given = try VolumePath.absolute(path)
    // Refused before it is looked at: whoever may not use a folder does not learn whether it exists.
    let reached = try VolumePath.reached(given)
    guard roots.contains(where: { root in VolumePath.real(root).map { VolumePath.isInside(reached, $0) } ?? false }) else {
      throw PlatformError(
        .permissionDenied, "\(what) would be outside of the folders that are allowed for external data",
        hint: roots.isEmpty ? "None is allowed." : "Allowed: \(roots.joined(separator: ", ")).", path: given)
    }
    var info = stat()
    let isThere = stat(reached, &info) == 0
    guard isThere ? info.st_mode & S_IFMT == S_IFDIR : mayBeMissing else {
      throw PlatformError(.notFound, "there is no folder for \(what)", path: given)
    }
    for folder in try own.map({ try VolumePath.reached(VolumePath.absolute($0)) }) {
      guard !VolumePath.isInside(reached, folder), !VolumePath.isInside(folder, reached) else {
        throw PlatformError(.conflict, "\(what) would overlap the platform's own data", path: given)
      }
    }
    return reached
  }

  /// Makes a model without versions.
  /// - Throws: `invalidArgument` PLT-3001, `notFound` PLT-3002 when there is no such schema, `alreadyExists` PLT-3003.
  public func createModel(_ name: ThreePartName, comment: String = "", by actor: String) async throws -> ModelEntry {
    try Self.requirePlain(name.name)
    try await pool.transaction { transaction in
      try Self.requireSchema(transaction, name)
      let made = try transaction.execute(
        "INSERT INTO models (catalog, schema, name, comment, owner, created_by, updated_by) VALUES ($1, $2, $3, $4, $5, $5, $5) ON CONFLICT DO NOTHING",
        Self.key(name) + [.text(comment), .text(actor)])
      if made == 0 { throw PlatformError(.alreadyExists, "model '\(name)' exists already", number: "PLT-3003") }
      try Self.audit(transaction, actor, "create model", "\(name)")
    }
    return try await model(name)
  }
}

extension PostgresRow {
  /// A JSON column as a type, read once. Listings of many rows spend most of their time here.
  func decoded<T: Decodable & ExpressibleByDictionaryLiteral>(_ column: String, as type: T.Type = T.self) throws -> T {
    let text = try string(column)
    return text == "{}" ? [:] : try Self.decode(text, column)
  }

  func decodedList<T: Decodable>(_ column: String, of type: T.Type = T.self) throws -> [T] { try Self.decode(string(column), column) }

  private static func decode<T: Decodable>(_ text: String, _ column: String) throws -> T {
    do { return try JSONDecoder().decode(T.self, from: Data(text.utf8)) } catch {
      throw PlatformError(.internalError, "column '\(column)' holds something else: \(JSONValue.reason(error))")
    }
  }
}
