// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres

/// Removing objects. Tables and volumes, and what a schema or catalog held when it was dropped by force, are kept with their files for
/// `CatalogStore.undropDays` and can be brought back (`CatalogStore+Undrop.swift`); models and their versions are removed at once.
extension CatalogStore {
  /// Catalogs that every start makes again.
  static let permanent: Set<String> = ["main", "system"]

  /// - Parameter force: also drops schemas, tables and volumes in it. Its functions cannot be brought back.
  ///     Models and vector indexes are never removed this way.
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

  /// - Parameters:
  ///   - force: also removes its versions, and the files of those that were uploaded.
  ///   - lake: only folders below it are removed.
  /// - Throws: `notFound` PLT-3002; `invalidArgument` PLT-1701 for a model that has versions; `unavailable` when files are left.
  public func dropModel(_ name: ThreePartName, force: Bool = false, removingFilesIn lake: String, by actor: String) async throws {
    let locations = try await pool.transaction { transaction -> [String] in
      let key = Self.key(name)
      guard try !transaction.query("SELECT 1 FROM models WHERE catalog = $1 AND schema = $2 AND name = $3 FOR UPDATE", key).isEmpty else {
        throw Self.missing("model", "\(name)")
      }
      let removed = try transaction.query(
        "DELETE FROM model_versions WHERE catalog = $1 AND schema = $2 AND model = $3 RETURNING location, managed", key)
      if !removed.isEmpty && !force { throw Self.notEmpty("model '\(name)'", ["versions": removed.count]) }
      let id: String = try transaction.query(
        "DELETE FROM models WHERE catalog = $1 AND schema = $2 AND name = $3 RETURNING id", key)[0].string("id")
      try transaction.execute("DELETE FROM tags WHERE object = $1::uuid", [.text(id)])
      try Self.audit(transaction, actor, "drop model", "\(name)")
      return try removed.filter { try $0.bool("managed") }.map { try $0.string("location") }
    }
    try await removeFiles(locations, in: lake, of: "model '\(name)'")
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
    let kept = counts.keys.contains { ["models", "vector indexes"].contains($0) }
    return PlatformError(
      .invalidArgument, "\(what) is not empty: it has \(rest.joined(separator: ", "))",
      hint: kept ? "Models and vector indexes are not removed together with what holds them." : "Remove them first, or say CASCADE (`--force`, `force=true`).",
      number: "PLT-1701")
  }

  /// Drops the tables, volumes and functions of a schema that is locked.
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
    let kept = counts.filter { ["models", "vector indexes"].contains($0.key) }
    guard counts.isEmpty || (force && kept.isEmpty) else { throw notEmpty("schema '\(catalog).\(schema)'", force ? kept : counts) }
    try bury(transaction, .table, "catalog = $1 AND schema = $2", key, batch, by: actor)
    try bury(transaction, .volume, "catalog = $1 AND schema = $2", key, batch, by: actor)
    try bury(transaction, .function, "catalog = $1 AND schema = $2", key, batch, by: actor)
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
      case .function: ("catalog, schema, name", "NULL, false")
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
