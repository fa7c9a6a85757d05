// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres

/// Removing objects. Tables, volumes, models, and what a schema or catalog held when it was dropped by force, are kept with their files for
/// `CatalogStore.undropDays` and can be brought back (`CatalogStore+Undrop.swift`); a single version of a model is removed at once.
extension CatalogStore {
  /// Catalogs that every start makes again.
  static let permanent: Set<String> = ["main", "system"]

  /// - Parameter force: also drops schemas, tables, volumes, functions and models in it. Vector indexes are never removed this way.
  /// - Throws: `notFound` PLT-3002; `invalidArgument` PLT-1701 naming what is still in it; `permissionDenied` for a catalog of the platform
  ///   itself.
  public func dropCatalog(_ name: String, force: Bool, by actor: String) async throws {
    if Self.permanent.contains(name) { throw PlatformError(.permissionDenied, "catalog '\(name)' belongs to the platform") }
    let batch = UUID()
    try await pool.transaction { transaction in
      guard try !transaction.query("SELECT 1 FROM catalogs WHERE name = $1 FOR UPDATE", [.text(name)]).isEmpty else {
        throw Self.missing("catalog", name)
      }
      let schemas = try transaction.query("SELECT name FROM schemas WHERE catalog = $1 ORDER BY name FOR UPDATE", [.text(name)])
        .map { try $0.string("name") }
      if !schemas.isEmpty && !force { throw Self.notEmpty("catalog '\(name)'", ["schemas": schemas.count]) }
      for schema in schemas { try Self.empty(transaction, catalog: name, schema: schema, force: force, batch: batch, by: actor) }
      try Self.bury(transaction, .schema, "catalog = $1", [.text(name)], batch, by: actor)
      try Self.bury(transaction, .catalog, "name = $1", [.text(name)], batch, by: actor)
    }
  }

  /// As `dropCatalog`.
  public func dropSchema(catalog: String, name: String, force: Bool, by actor: String) async throws {
    let batch = UUID()
    try await pool.transaction { transaction in
      let key: [PostgresValue] = [.text(catalog), .text(name)]
      guard try !transaction.query("SELECT 1 FROM schemas WHERE catalog = $1 AND name = $2 FOR UPDATE", key).isEmpty else {
        throw Self.missing("schema", "\(catalog).\(name)")
      }
      try Self.empty(transaction, catalog: catalog, schema: name, force: force, batch: batch, by: actor)
      try Self.bury(transaction, .schema, "catalog = $1 AND name = $2", key, batch, by: actor)
    }
  }

  /// Drops the table. Its files stay where they are: those of a managed one until the purge, those of others for ever.
  /// - Throws: `notFound` PLT-3002; `conflict` when the primary key is referred to by a foreign key of another table.
  public func dropTable(_ name: ThreePartName, by actor: String) async throws {
    try await pool.transaction { transaction in
      let made = try Self.bury(
        transaction, .table, "lower(catalog) = lower($1) AND lower(schema) = lower($2) AND lower(name) = lower($3)", Self.key(name), UUID(), by: actor)
      if made.isEmpty { throw Self.missing("table", "\(name)") }
    }
  }

  /// As `dropTable`.
  public func dropVolume(_ name: ThreePartName, by actor: String) async throws {
    try await pool.transaction { transaction in
      let made = try Self.bury(
        transaction, .volume, "lower(catalog) = lower($1) AND lower(schema) = lower($2) AND lower(name) = lower($3)", Self.key(name), UUID(), by: actor)
      if made.isEmpty { throw Self.missing("volume", "\(name)") }
    }
  }

  /// Drops the model with its versions and aliases. Files of versions that were uploaded stay until the purge.
  /// - Parameter force: also one that has versions.
  /// - Throws: `notFound` PLT-3002; `invalidArgument` PLT-1701 for a model that has versions.
  public func dropModel(_ name: ThreePartName, force: Bool = false, by actor: String) async throws {
    try await pool.transaction { transaction in
      let key = Self.key(name)
      guard try !transaction.query("SELECT 1 FROM models WHERE catalog = $1 AND schema = $2 AND name = $3 FOR UPDATE", key).isEmpty else {
        throw Self.missing("model", "\(name)")
      }
      let versions = try transaction.query("SELECT count(*) AS n FROM model_versions WHERE catalog = $1 AND schema = $2 AND model = $3", key)[0].int("n")
      if versions > 0 && !force { throw Self.notEmpty("model '\(name)'", ["versions": versions]) }
      try Self.buryModels(transaction, "catalog = $1 AND schema = $2 AND name = $3", key, UUID(), by: actor)
    }
  }

  /// As `bury`, with what belongs to the models.
  private static func buryModels(
    _ transaction: PostgresTransaction, _ condition: String, _ parameters: [PostgresValue], _ batch: UUID, by actor: String
  ) throws {
    for model in try transaction.query("SELECT id, catalog, schema, name FROM models WHERE \(condition) ORDER BY name FOR UPDATE", parameters) {
      let key: [PostgresValue] = [.text(try model.string("catalog")), .text(try model.string("schema")), .text(try model.string("name"))]
      let id: String = try model.string("id")
      func all(_ rows: String) -> String {
        "(SELECT coalesce(jsonb_agg(to_jsonb(r)), '[]') FROM \(rows) r WHERE catalog = $1 AND schema = $2 AND model = $3)"
      }
      let parts = try transaction.query(
        "SELECT jsonb_build_object('versions', \(all("model_versions")), 'aliases', \(all("model_aliases"))) AS parts", key)[0].json("parts")
      // Aliases go with the versions that they mean.
      try transaction.execute("DELETE FROM model_versions WHERE catalog = $1 AND schema = $2 AND model = $3", key)
      try bury(transaction, .model, "id = $1::uuid", [.text(id)], batch, by: actor)
      try transaction.execute("UPDATE dropped SET parts = $2::jsonb WHERE kind = 'model' AND id = $1::uuid", [.text(id), .encoding(parts)])
    }
  }

  /// Removes one version; its number is never used again. Aliases that meant it go with it.
  /// - Throws: `notFound` PLT-3002; `unavailable` when files are left.
  public func dropModelVersion(_ name: ThreePartName, version: Int, removingFilesIn lake: String, by actor: String) async throws {
    let locations = try await pool.transaction { transaction -> [String] in
      let rows = try transaction.query(
        "DELETE FROM model_versions WHERE catalog = $1 AND schema = $2 AND model = $3 AND version = $4 RETURNING location, managed",
        Self.key(name) + [.int(version)])
      guard let row = rows.first else { throw Self.missing("model", "\(name)/\(version)") }
      try Self.audit(transaction, actor, "drop model version", "\(name)/\(version)")
      return try row.bool("managed") ? [row.string("location")] : []
    }
    try await removeFiles(locations, in: lake, of: "model '\(name)/\(version)'")
  }

  static func notEmpty(_ what: String, _ counts: [String: Int]) -> PlatformError {
    let rest = counts.sorted { $0.key < $1.key }.map { "\($0.value) \($0.value == 1 ? String($0.key.dropLast($0.key == "vector indexes" ? 2 : 1)) : $0.key)" }
    let kept = counts.keys.contains("vector indexes")
    return PlatformError(
      .invalidArgument, "\(what) is not empty: it has \(rest.joined(separator: ", "))",
      hint: kept ? "Vector indexes are not removed together with what holds them." : "Remove them first, or say CASCADE (`--force`, `force=true`).",
      number: "PLT-1701")
  }

  /// Drops the tables, volumes, functions and models of a schema that is locked.
  private static func empty(
    _ transaction: PostgresTransaction, catalog: String, schema: String, force: Bool, batch: UUID, by actor: String
  ) throws {
    let key: [PostgresValue] = [.text(catalog), .text(schema)]
    var counts: [String: Int] = [:]
    for (shown, kind) in [("tables", "tables"), ("volumes", "volumes"), ("functions", "functions"), ("models", "models"), ("vector indexes", "vector_indexes")]
    {
      let count = try transaction.query("SELECT count(*) AS n FROM \(kind) WHERE catalog = $1 AND schema = $2", key)[0].int("n")
      if count > 0 { counts[shown] = count }
    }
    let kept = counts.filter { $0.key == "vector indexes" }
    guard counts.isEmpty || (force && kept.isEmpty) else { throw notEmpty("schema '\(catalog).\(schema)'", force ? kept : counts) }
    try bury(transaction, .table, "catalog = $1 AND schema = $2", key, batch, by: actor)
    try bury(transaction, .volume, "catalog = $1 AND schema = $2", key, batch, by: actor)
    try bury(transaction, .function, "catalog = $1 AND schema = $2", key, batch, by: actor)
    try buryModels(transaction, "catalog = $1 AND schema = $2", key, batch, by: actor)
  }

  /// Moves rows to `dropped`, whole, so that they can be put back as they were.
  /// - Returns: their names.
  @discardableResult
  static func bury(
    _ transaction: PostgresTransaction, _ kind: DroppedEntry.Kind, _ condition: String, _ parameters: [PostgresValue], _ batch: UUID, by actor: String
  ) throws -> [String] {
    let (parts, facts) =
      switch kind {
      case .catalog: ("name, '', ''", "NULL, false")
      case .schema: ("catalog, name, ''", "NULL, false")
      case .table, .volume: ("catalog, schema, name", "location, kind = 'managed'")
      case .function, .model: ("catalog, schema, name", "NULL, false")
      }
    let count = parameters.count
    let rows = try transaction.query(
      """
      WITH gone AS (DELETE FROM \(kind.rows) WHERE \(condition) RETURNING *)
      INSERT INTO dropped (kind, id, catalog, schema, name, location, managed, entry, batch, dropped_by)
      SELECT '\(kind.rawValue)', id, \(parts), \(facts), to_jsonb(gone), $\(count + 1)::uuid, $\(count + 2) FROM gone
      RETURNING catalog, schema, name
      """, parameters + [.text(batch.uuidString), .text(actor)])
    let names = try rows.map { row in
      try ["catalog", "schema", "name"].map { try row.string($0) }.filter { !$0.isEmpty }.joined(separator: ".")
    }
    for name in names { try audit(transaction, actor, "drop \(kind.rawValue)", name) }
    return names
  }

  /// Only folders below the lake are removed; others stay, whatever the catalog says of them.
  /// - Throws: `unavailable` naming a folder that is left.
  func removeFiles(_ locations: [String], in lake: String, of what: String) async throws {
    if locations.isEmpty { return }
    try await BlockingPool.shared.run {
      let home = try VolumePath.reached(VolumePath.absolute(lake))
      var left: String?
      for location in locations where location.hasPrefix("/") {
        let reached = try VolumePath.reached(location)
        guard reached != home, VolumePath.isInside(reached, home) else { continue }
        do { try FileManager.default.removeItem(atPath: location) } catch CocoaError.fileNoSuchFile {
          // Never written, or removed by somebody else: what was asked for.
        } catch { left = left ?? location }
      }
      if let left { throw PlatformError(.unavailable, "\(what) was dropped, but not all its files", hint: "Remove the folder.", path: left) }
    }
  }
}
