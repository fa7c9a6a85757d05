// SPDX-License-Identifier: Apache-2.0

public import Core
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

  private static func audit(_ transaction: PostgresTransaction, _ actor: String, _ action: String, _ object: String) throws {
    try transaction.execute(
      "INSERT INTO audit (actor, action, object, outcome) VALUES ($1, $2, $3, 'ok')", [.text(actor), .text(action), .text(object)])
  }

  private static func missing(_ kind: String, _ name: String) -> PlatformError {
    PlatformError(.notFound, "\(kind) '\(name)' does not exist", number: "PLT-3002")
  }

  // MARK: catalogs and schemas

  /// - Throws: `invalidArgument` PLT-3001 for a name that cannot be used, `alreadyExists` when there is one of this name.
  public func createCatalog(_ name: String, by actor: String) async throws {
    guard ThreePartName.isPlain(name) else { throw PlatformError(.invalidArgument, "'\(name)' is not a usable name", number: "PLT-3001") }
    try await pool.transaction { transaction in
      guard try transaction.execute("INSERT INTO catalogs (name) VALUES ($1) ON CONFLICT DO NOTHING", [.text(name)]) == 1 else {
        throw PlatformError(.alreadyExists, "catalog '\(name)' exists already")
      }
      try Self.audit(transaction, actor, "create catalog", name)
    }
  }

  /// - Returns: false when it existed already.
  public func createSchema(catalog: String, name: String, by actor: String) async throws -> Bool {
    guard ThreePartName.isPlain(name) else { throw PlatformError(.invalidArgument, "'\(name)' is not a usable name", number: "PLT-3001") }
    return try await pool.transaction { transaction in
      guard try !transaction.query("SELECT 1 FROM catalogs WHERE name = $1", [.text(catalog)]).isEmpty else {
        throw Self.missing("catalog", catalog)
      }
      let made = try transaction.execute(
        "INSERT INTO schemas (catalog, name) VALUES ($1, $2) ON CONFLICT DO NOTHING", [.text(catalog), .text(name)])
      if made == 1 { try Self.audit(transaction, actor, "create schema", "\(catalog).\(name)") }
      return made == 1
    }
  }

  public func schemas() async throws -> [(catalog: String, name: String)] {
    try await pool.query("SELECT catalog, name FROM schemas ORDER BY 1, 2").map { (try $0.string("catalog"), try $0.string("name")) }
  }

  // MARK: tables

  /// The table's entry, made when it does not exist yet. The location is decided here, once, unless one is given.
  public func table(
    _ name: ThreePartName, creatingIn lake: String, columns: [ColumnEntry], by actor: String, location given: String? = nil
  ) async throws -> TableEntry {
    if let found = try await findTable(name) { return found }
    let id = UUID()
    let encoded = try JSONValue(encoding: columns)
    try await pool.transaction { transaction in
      guard try !transaction.query("SELECT 1 FROM schemas WHERE catalog = $1 AND name = $2", [.text(name.catalog), .text(name.schema)]).isEmpty
      else { throw Self.missing("schema", "\(name.catalog).\(name.schema)") }
      let location = given ?? "\(lake)/\(name.catalog)/\(name.schema)/\(name.name)-\(id.uuidString.prefix(8).lowercased())"
      let made = try transaction.execute(
        """
        INSERT INTO tables (id, catalog, schema, name, location, columns, owner) VALUES ($1::uuid, $2, $3, $4, $5, $6::jsonb, $7)
        ON CONFLICT (catalog, schema, name) DO NOTHING
        """,
        [.text(id.uuidString), .text(name.catalog), .text(name.schema), .text(name.name), .text(location), .encoding(encoded), .text(actor)])
      if made == 1 { try Self.audit(transaction, actor, "create table", "\(name)") }
    }
    return try await table(name)
  }

  /// - Throws: `notFound` PLT-3002.
  public func table(_ name: ThreePartName) async throws -> TableEntry {
    guard let found = try await findTable(name) else { throw Self.missing("table", "\(name)") }
    return found
  }

  public func findTable(_ name: ThreePartName) async throws -> TableEntry? {
    try await pool.query(
      "SELECT * FROM tables WHERE catalog = $1 AND schema = $2 AND name = $3",
      [.text(name.catalog), .text(name.schema), .text(name.name)]
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

  public func updateColumns(_ name: ThreePartName, _ columns: [ColumnEntry]) async throws {
    try await pool.execute(
      "UPDATE tables SET columns = $4::jsonb, updated_at = now() WHERE catalog = $1 AND schema = $2 AND name = $3",
      [.text(name.catalog), .text(name.schema), .text(name.name), .encoding(JSONValue(encoding: columns))])
  }

  /// Forgets the table; its files stay until somebody removes the folder.
  public func dropTable(_ name: ThreePartName, by actor: String) async throws {
    try await pool.transaction { transaction in
      guard
        try transaction.execute(
          "DELETE FROM tables WHERE catalog = $1 AND schema = $2 AND name = $3",
          [.text(name.catalog), .text(name.schema), .text(name.name)]) == 1
      else { throw Self.missing("table", "\(name)") }
      try Self.audit(transaction, actor, "drop table", "\(name)")
    }
  }

  private static func tableEntry(_ row: PostgresRow) throws -> TableEntry {
    TableEntry(
      id: try row.get("id"),
      name: ThreePartName(catalog: try row.string("catalog"), schema: try row.string("schema"), name: try row.string("name")),
      location: try row.string("location"), columns: try row.json("columns").decode(), comment: try row.string("comment"),
      owner: try row.string("owner"), createdAt: try row.date("created_at"), updatedAt: try row.date("updated_at"))
  }

  // MARK: models

  /// Registers the next version. A run that registers again (its commit was repeated) gets the version it made before.
  public func registerModel(
    _ name: ThreePartName, kind: String, location: String, runID: String?, facts: JSONValue, by actor: String
  ) async throws -> ModelVersionEntry {
    let version = try await pool.transaction { transaction -> Int in
      let key: [PostgresValue] = [.text(name.catalog), .text(name.schema), .text(name.name)]
      guard try !transaction.query("SELECT 1 FROM schemas WHERE catalog = $1 AND name = $2", Array(key[..<2])).isEmpty else {
        throw Self.missing("schema", "\(name.catalog).\(name.schema)")
      }
      try transaction.execute(
        "INSERT INTO models (catalog, schema, name, owner) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING", key + [.text(actor)])
      try transaction.execute("SELECT 1 FROM models WHERE catalog = $1 AND schema = $2 AND name = $3 FOR UPDATE", key)
      let same = try transaction.query(
        "SELECT version FROM model_versions WHERE catalog = $1 AND schema = $2 AND model = $3 AND location = $4", key + [.text(location)])
      if let row = same.first { return try row.int("version") }
      let next = try transaction.query(
        "SELECT coalesce(max(version), 0) + 1 AS next FROM model_versions WHERE catalog = $1 AND schema = $2 AND model = $3", key
      )[0].int("next")
      try transaction.execute(
        """
        INSERT INTO model_versions (catalog, schema, model, version, kind, location, run_id, facts)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8::jsonb)
        """, key + [.int(next), .text(kind), .text(location), .optional(runID), .encoding(facts)])
      try Self.audit(transaction, actor, "register model", "\(name)/\(next)")
      return next
    }
    return try await modelVersion(name, version: version)
  }

  /// `models:/c.s.m/3`, `c.s.m/3`, `c.s.m@alias` or `c.s.m` (the newest version).
  public func resolveModel(_ text: String) async throws -> ModelVersionEntry {
    var rest = text
    if rest.hasPrefix("models:/") { rest.removeFirst("models:/".count) }
    if let at = rest.lastIndex(of: "@") {
      let name = try ThreePartName(String(rest[..<at]))
      let alias = String(rest[rest.index(after: at)...])
      let rows = try await pool.query(
        "SELECT version FROM model_aliases WHERE catalog = $1 AND schema = $2 AND model = $3 AND alias = $4",
        [.text(name.catalog), .text(name.schema), .text(name.name), .text(alias)])
      guard let row = rows.first else { throw Self.missing("model alias", text) }
      return try await modelVersion(name, version: row.int("version"))
    }
    if let slash = rest.lastIndex(of: "/") {
      guard let version = Int(rest[rest.index(after: slash)...]) else {
        throw PlatformError(.invalidArgument, "'\(text)' does not end in a version number", number: "PLT-3001")
      }
      return try await modelVersion(ThreePartName(String(rest[..<slash])), version: version)
    }
    return try await modelVersion(ThreePartName(rest), version: nil)
  }

  public func modelVersion(_ name: ThreePartName, version: Int?) async throws -> ModelVersionEntry {
    let rows = try await pool.query(
      """
      SELECT * FROM model_versions WHERE catalog = $1 AND schema = $2 AND model = $3 AND ($4::int IS NULL OR version = $4)
      ORDER BY version DESC LIMIT 1
      """, [.text(name.catalog), .text(name.schema), .text(name.name), .optional(version)])
    guard let row = rows.first else { throw Self.missing("model", "\(name)" + (version.map { "/\($0)" } ?? "")) }
    return ModelVersionEntry(
      model: name, version: try row.int("version"), kind: try row.string("kind"), location: try row.string("location"),
      runID: try row.get("run_id"), facts: try row.json("facts"), createdAt: try row.date("created_at"))
  }

  public func setAlias(_ name: ThreePartName, alias: String, version: Int, by actor: String) async throws {
    try await pool.transaction { transaction in
      try transaction.execute(
        """
        INSERT INTO model_aliases (catalog, schema, model, alias, version) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (catalog, schema, model, alias) DO UPDATE SET version = excluded.version
        """, [.text(name.catalog), .text(name.schema), .text(name.name), .text(alias), .int(version)])
      try Self.audit(transaction, actor, "set alias", "\(name)@\(alias)")
    }
  }

  // MARK: indexes, endpoints

  public func setIndex(_ entry: VectorIndexEntry, by actor: String) async throws {
    try await pool.transaction { transaction in
      guard
        try !transaction.query(
          "SELECT 1 FROM schemas WHERE catalog = $1 AND name = $2", [.text(entry.name.catalog), .text(entry.name.schema)]
        ).isEmpty
      else { throw Self.missing("schema", "\(entry.name.catalog).\(entry.name.schema)") }
      try transaction.execute(
        """
        INSERT INTO vector_indexes (catalog, schema, name, source_table, source_version, location, facts)
        VALUES ($1, $2, $3, $4, $5::bigint, $6, $7::jsonb)
        ON CONFLICT (catalog, schema, name) DO UPDATE SET source_table = excluded.source_table,
          source_version = excluded.source_version, location = excluded.location, facts = excluded.facts, updated_at = now()
        """,
        [
          .text(entry.name.catalog), .text(entry.name.schema), .text(entry.name.name), .text(entry.sourceTable),
          .int(Int(entry.sourceVersion)), .text(entry.location), .encoding(entry.facts),
        ])
      try Self.audit(transaction, actor, "sync index", "\(entry.name)")
    }
  }

  public func index(_ name: ThreePartName) async throws -> VectorIndexEntry {
    let rows = try await pool.query(
      "SELECT * FROM vector_indexes WHERE catalog = $1 AND schema = $2 AND name = $3",
      [.text(name.catalog), .text(name.schema), .text(name.name)])
    guard let row = rows.first else { throw Self.missing("index", "\(name)") }
    return VectorIndexEntry(
      name: name, sourceTable: try row.string("source_table"), sourceVersion: Int64(try row.int("source_version")),
      location: try row.string("location"), facts: try row.json("facts"))
  }

  public func setEndpoint(name: String, kind: String, model: String, replicas: Int, by actor: String) async throws {
    try await pool.transaction { transaction in
      try transaction.execute(
        """
        INSERT INTO endpoints (name, kind, model, replicas) VALUES ($1, $2, $3, $4)
        ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, model = excluded.model, replicas = excluded.replicas, updated_at = now()
        """, [.text(name), .text(kind), .text(model), .int(replicas)])
      try Self.audit(transaction, actor, "set endpoint", name)
    }
  }

  public func endpoints() async throws -> [EndpointEntry] {
    try await pool.query("SELECT * FROM endpoints ORDER BY name").map {
      EndpointEntry(
        name: try $0.string("name"), kind: try $0.string("kind"), model: try $0.string("model"), replicas: try $0.int("replicas"),
        createdAt: try $0.date("created_at"))
    }
  }

  // MARK: lineage, drift, audit

  public func addLineage(_ edges: [LineageEdge]) async throws {
    guard !edges.isEmpty else { return }
    try await pool.transaction { transaction in
      for edge in edges {
        try transaction.execute(
          """
          INSERT INTO lineage (source_kind, source, source_version, target_kind, target, target_version, run_id, task_key)
          VALUES ($1, $2, $3::bigint, $4, $5, $6::bigint, $7, $8)
          """,
          [
            .text(edge.sourceKind), .text(edge.source), .optional(edge.sourceVersion.map(Int.init)), .text(edge.targetKind),
            .text(edge.target), .optional(edge.targetVersion.map(Int.init)), .optional(edge.runID), .optional(edge.taskKey),
          ])
      }
    }
  }

  public func addDrift(_ entries: [DriftEntry]) async throws {
    try await pool.transaction { transaction in
      for one in entries {
        try transaction.execute(
          """
          INSERT INTO drift (table_name, column_name, run_id, baseline, psi, ks, js, alert) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
          ON CONFLICT (table_name, column_name, run_id) DO UPDATE SET psi = excluded.psi, ks = excluded.ks, js = excluded.js,
            alert = excluded.alert, recorded_at = now()
          """,
          [
            .text(one.table), .text(one.column), .text(one.runID), .text(one.baseline), .optional(one.psi), .optional(one.ks),
            .optional(one.js), .bool(one.alert),
          ])
      }
    }
  }

  /// The newest measurement of each monitored column.
  public func latestDrift() async throws -> [DriftEntry] {
    try await pool.query(
      "SELECT DISTINCT ON (table_name, column_name) * FROM drift ORDER BY table_name, column_name, recorded_at DESC"
    ).map {
      DriftEntry(
        table: try $0.string("table_name"), column: try $0.string("column_name"), baseline: try $0.string("baseline"),
        runID: try $0.string("run_id"), psi: try $0.get("psi"), ks: try $0.get("ks"), js: try $0.get("js"),
        alert: try $0.bool("alert"))
    }
  }

  public func audit(actor: String, action: String, object: String, outcome: String) async throws {
    try await pool.execute(
      "INSERT INTO audit (actor, action, object, outcome) VALUES ($1, $2, $3, $4)",
      [.text(actor), .text(action), .text(object), .text(outcome)])
  }
}
