// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres

/// Removing catalogs, schemas, and the files of what they held. Rows go first, in one transaction; files go after it has committed, so
/// what a crash in between leaves are files that nothing names, never a name without files.
extension CatalogStore {
  /// Catalogs that every start makes again.
  static let permanent: Set<String> = ["main", "system"]

  /// - Parameters:
  ///   - force: also removes schemas, tables and volumes in it. Models and vector indexes are never removed this way.
  ///   - lake: where managed files are; those of removed managed tables and volumes are removed.
  /// - Throws: `notFound` PLT-3002; `invalidArgument` PLT-1701 naming what is still in it; `permissionDenied` for a catalog of the platform
  ///   itself; `unavailable` when everything is forgotten but files are left.
  public func dropCatalog(_ name: String, force: Bool, removingFilesIn lake: String, by actor: String) async throws {
    if Self.permanent.contains(name) { throw PlatformError(.permissionDenied, "catalog '\(name)' belongs to the platform") }
    let locations = try await pool.transaction { transaction -> [String] in
      guard try !transaction.query("SELECT 1 FROM catalogs WHERE name = $1 FOR UPDATE", [.text(name)]).isEmpty else {
        throw Self.missing("catalog", name)
      }
      let schemas = try transaction.query("SELECT name FROM schemas WHERE catalog = $1 ORDER BY name FOR UPDATE", [.text(name)])
        .map { try $0.string("name") }
      if !schemas.isEmpty && !force { throw Self.notEmpty("catalog '\(name)'", ["schemas": schemas.count]) }
      let locations = try schemas.flatMap { try Self.empty(transaction, catalog: name, schema: $0, force: force, by: actor) }
      try transaction.execute("DELETE FROM schemas WHERE catalog = $1", [.text(name)])
      try transaction.execute("DELETE FROM catalogs WHERE name = $1", [.text(name)])
      try Self.audit(transaction, actor, "drop catalog", name)
      return locations
    }
    try await removeFiles(locations, in: lake, of: "catalog '\(name)'")
  }

  /// As `dropCatalog`.
  public func dropSchema(catalog: String, name: String, force: Bool, removingFilesIn lake: String, by actor: String) async throws {
    let locations = try await pool.transaction { transaction -> [String] in
      let key: [PostgresValue] = [.text(catalog), .text(name)]
      guard try !transaction.query("SELECT 1 FROM schemas WHERE catalog = $1 AND name = $2 FOR UPDATE", key).isEmpty else {
        throw Self.missing("schema", "\(catalog).\(name)")
      }
      let locations = try Self.empty(transaction, catalog: catalog, schema: name, force: force, by: actor)
      try transaction.execute("DELETE FROM schemas WHERE catalog = $1 AND name = $2", key)
      try Self.audit(transaction, actor, "drop schema", "\(catalog).\(name)")
      return locations
    }
    try await removeFiles(locations, in: lake, of: "schema '\(catalog).\(name)'")
  }

  /// Forgets the table and then, when it is managed, removes its folder. The files of an external table are never touched.
  /// - Throws: `notFound` PLT-3002; `unavailable` when the table is forgotten but files are left.
  public func dropTable(_ name: ThreePartName, removingFilesIn lake: String, by actor: String) async throws {
    let entry = try await table(name)
    try await pool.transaction { transaction in
      guard try transaction.execute("DELETE FROM tables WHERE id = $1::uuid", [.text(entry.id.uuidString)]) == 1 else {
        throw Self.missing("table", "\(name)")
      }
      try Self.audit(transaction, actor, "drop table", "\(name)")
    }
    if entry.kind == .managed { try await removeFiles([entry.location], in: lake, of: "table '\(name)'") }
  }

  /// - Throws: `notFound` PLT-3002; `invalidArgument` PLT-1701 for a model that has versions: these are kept.
  public func dropModel(_ name: ThreePartName, by actor: String) async throws {
    try await pool.transaction { transaction in
      let key = Self.key(name)
      guard try !transaction.query("SELECT 1 FROM models WHERE catalog = $1 AND schema = $2 AND name = $3 FOR UPDATE", key).isEmpty else {
        throw Self.missing("model", "\(name)")
      }
      let versions = try transaction.query(
        "SELECT count(*) AS n FROM model_versions WHERE catalog = $1 AND schema = $2 AND model = $3", key)[0].int("n")
      if versions > 0 { throw Self.notEmpty("model '\(name)'", ["versions": versions]) }
      try transaction.execute("DELETE FROM models WHERE catalog = $1 AND schema = $2 AND name = $3", key)
      try Self.audit(transaction, actor, "drop model", "\(name)")
    }
  }

  private static func notEmpty(_ what: String, _ counts: [String: Int]) -> PlatformError {
    let rest = counts.sorted { $0.key < $1.key }.map { "\($0.value) \($0.value == 1 ? String($0.key.dropLast($0.key == "vector indexes" ? 2 : 1)) : $0.key)" }
    let kept = counts.keys.contains { ["models", "versions", "vector indexes"].contains($0) }
    return PlatformError(
      .invalidArgument, "\(what) is not empty: it has \(rest.joined(separator: ", "))",
      hint: kept ? "Models and vector indexes are not removed together with what holds them." : "Remove them first, or use force.",
      number: "PLT-1701")
  }

  /// Removes the tables and volumes of a schema that is locked.
  /// - Returns: folders of managed ones.
  private static func empty(
    _ transaction: PostgresTransaction, catalog: String, schema: String, force: Bool, by actor: String
  ) throws -> [String] {
    let key: [PostgresValue] = [.text(catalog), .text(schema)]
    var counts: [String: Int] = [:]
    for (shown, kind) in [("tables", "tables"), ("volumes", "volumes"), ("models", "models"), ("vector indexes", "vector_indexes")] {
      let count = try transaction.query("SELECT count(*) AS n FROM \(kind) WHERE catalog = $1 AND schema = $2", key)[0].int("n")
      if count > 0 { counts[shown] = count }
    }
    let kept = counts.filter { ["models", "vector indexes"].contains($0.key) }
    guard counts.isEmpty || (force && kept.isEmpty) else { throw notEmpty("schema '\(catalog).\(schema)'", force ? kept : counts) }
    var locations: [String] = []
    for kind in ["tables", "volumes"] {
      for row in try transaction.query("DELETE FROM \(kind) WHERE catalog = $1 AND schema = $2 RETURNING catalog, schema, name, kind, location", key) {
        try audit(transaction, actor, "drop \(kind.dropLast())", "\(try name(row))")
        if try row.string("kind") == "managed" { locations.append(try row.string("location")) }
      }
    }
    return locations
  }

  /// Only folders below the lake are removed; others stay, whatever the catalog says of them.
  private func removeFiles(_ locations: [String], in lake: String, of what: String) async throws {
    try await BlockingPool.shared.run {
      let home = try VolumePath.reached(VolumePath.absolute(lake))
      var left: String?
      for location in locations {
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
