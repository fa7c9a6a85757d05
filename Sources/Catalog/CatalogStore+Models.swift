// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation
import Postgres

/// Registered models: numbered versions that never change, and aliases that move.
extension CatalogStore {
  /// Registers the next version. A run that registers again (its commit was repeated) gets the version it made before.
  /// - Throws: `invalidArgument` PLT-3001 for a name that cannot be used, `notFound` PLT-3002 when there is no such schema.
  public func registerModel(
    _ name: ThreePartName, kind: String, location: String, runID: String?, facts: JSONValue, by actor: String
  ) async throws -> ModelVersionEntry {
    try Self.requirePlain(name.name)
    let version = try await pool.transaction { transaction -> Int in
      let key = Self.key(name)
      try Self.requireSchema(transaction, name)
      try transaction.execute(
        "INSERT INTO models (catalog, schema, name, owner, created_by, updated_by) VALUES ($1, $2, $3, $4, $4, $4) ON CONFLICT DO NOTHING", key + [.text(actor)]
      )
      try transaction.execute("SELECT 1 FROM models WHERE catalog = $1 AND schema = $2 AND name = $3 FOR UPDATE", key)
      let same = try transaction.query(
        "SELECT version FROM model_versions WHERE catalog = $1 AND schema = $2 AND model = $3 AND location = $4", key + [.text(location)])
      if let row = same.first { return try row.int("version") }
      let next = try Self.takeVersion(transaction, name)
      try transaction.execute(
        """
        INSERT INTO model_versions (catalog, schema, model, version, kind, location, run_id, facts, created_by, updated_by)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8::jsonb, $9, $9)
        """, key + [.int(next), .text(kind), .text(location), .optional(runID), .encoding(facts), .text(actor)])
      try Self.audit(transaction, actor, "register model", "\(name)/\(next)")
      return next
    }
    return try await modelVersion(name, version: version)
  }

  /// `models:/c.s.m/3`, `c.s.m/3`, `c.s.m@alias` or `c.s.m` (the newest version).
  /// - Throws: `invalidArgument` PLT-3001 for another form, `notFound` PLT-3002.
  public func resolveModel(_ text: String) async throws -> ModelVersionEntry {
    var rest = text
    if rest.hasPrefix("models:/") { rest.removeFirst("models:/".count) }
    if let at = rest.lastIndex(of: "@") {
      let name = try ThreePartName(String(rest[..<at]))
      let alias = String(rest[rest.index(after: at)...])
      let rows = try await pool.query(
        "SELECT version FROM model_aliases WHERE catalog = $1 AND schema = $2 AND model = $3 AND alias = $4",
        Self.key(name) + [.text(alias)])
      guard let row = rows.first else { throw Self.missing("model alias", text) }
      return try await modelVersion(name, version: row.int("version"))
    }
    if let slash = rest.lastIndex(of: "/") {
      // A version is what the column holds: a number beyond it would be an error of the server instead of a missing version.
      guard let version = Int(rest[rest.index(after: slash)...]), Int32(exactly: version) != nil else {
        throw PlatformError(.invalidArgument, "'\(text)' does not end in a version number", number: "PLT-3001")
      }
      return try await modelVersion(ThreePartName(String(rest[..<slash])), version: version)
    }
    return try await modelVersion(ThreePartName(rest), version: nil)
  }

  /// One version, or the newest that is ready.
  /// - Throws: `notFound` PLT-3002.
  public func modelVersion(_ name: ThreePartName, version: Int?) async throws -> ModelVersionEntry {
    let rows = try await pool.query(
      """
      SELECT * FROM model_versions WHERE catalog = $1 AND schema = $2 AND model = $3 AND (version = $4::int OR ($4::int IS NULL AND status = 'READY'))
      ORDER BY version DESC LIMIT 1
      """, Self.key(name) + [.optional(version)])
    guard let row = rows.first else { throw Self.missing("model", "\(name)" + (version.map { "/\($0)" } ?? "")) }
    return try Self.versionEntry(row, name)
  }

  static func versionEntry(_ row: PostgresRow, _ name: ThreePartName) throws -> ModelVersionEntry {
    guard let status = ModelVersionEntry.Status(rawValue: try row.string("status")) else {
      throw PlatformError(.internalError, "a version of model '\(name)' is in an unknown state")
    }
    return ModelVersionEntry(
      model: name, version: try row.int("version"), kind: try row.string("kind"), location: try row.string("location"),
      runID: try row.get("run_id"), facts: try row.json("facts"), createdAt: try row.date("created_at"), id: try row.get("id"),
      comment: try row.string("comment"), status: status, source: try row.get("source"), isManaged: try row.bool("managed"),
      createdBy: try row.get("created_by") ?? "", updatedAt: try row.date("updated_at"), updatedBy: try row.get("updated_by") ?? "")
  }

  /// Models by catalog, schema and name.
  public func models(
    catalog: String? = nil, schema: String? = nil, limit: Int, pageToken: String? = nil
  ) async throws -> CatalogPage<ModelEntry> {
    var listing = Listing.objects("models", catalog, schema)
    listing.columns = Self.modelColumns
    return try await page(listing, limit, pageToken, Self.modelEntry)
  }

  static let modelColumns = """
    *, (SELECT max(version) FROM model_versions v
        WHERE v.catalog = models.catalog AND v.schema = models.schema AND v.model = models.name) AS newest
    """

  static func modelEntry(_ row: PostgresRow) throws -> ModelEntry {
    ModelEntry(
      id: try row.get("id"), name: try name(row), comment: try row.string("comment"), owner: try row.string("owner"),
      newestVersion: try row.get("newest"), createdAt: try row.date("created_at"), createdBy: try row.get("created_by") ?? row.string("owner"),
      updatedAt: try row.date("updated_at"), updatedBy: try row.get("updated_by") ?? row.string("owner"))
  }

  /// The versions of one model, newest first. A model that does not exist has none.
  public func modelVersions(_ name: ThreePartName, limit: Int, pageToken: String? = nil) async throws -> CatalogPage<ModelVersionEntry> {
    let filters = [("catalog", name.catalog), ("schema", name.schema), ("model", name.name)]
    return try await page(
      Listing("model_versions", filters: filters, key: [("version", "int")], isDescending: true), limit, pageToken
    ) { try Self.versionEntry($0, name) }
  }

  /// The aliases of one model and the versions they mean.
  public func aliases(_ name: ThreePartName) async throws -> [String: Int] {
    let rows = try await pool.query(
      "SELECT alias, version FROM model_aliases WHERE catalog = $1 AND schema = $2 AND model = $3", Self.key(name))
    return try Dictionary(rows.map { (try $0.string("alias"), try $0.int("version")) }, uniquingKeysWith: { $1 })
  }

  /// Makes `alias` mean `version`, or moves it there.
  /// - Throws: `invalidArgument` PLT-3001 for an alias that cannot be used, `notFound` PLT-3002 when there is no such version.
  public func setAlias(_ name: ThreePartName, alias: String, version: Int, by actor: String) async throws {
    try Self.requirePlain(alias)
    try await pool.transaction { transaction in
      let found = try Int32(exactly: version).map {
        try transaction.query(
          "SELECT 1 FROM model_versions WHERE catalog = $1 AND schema = $2 AND model = $3 AND version = $4 FOR KEY SHARE",
          Self.key(name) + [.int(Int($0))])
      }
      if found?.isEmpty != false { throw Self.missing("model version", "\(name)/\(version)") }
      try transaction.execute(
        """
        INSERT INTO model_aliases (catalog, schema, model, alias, version) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (catalog, schema, model, alias) DO UPDATE SET version = excluded.version
        """, Self.key(name) + [.text(alias), .int(version)])
      try Self.audit(transaction, actor, "set alias", "\(name)@\(alias)")
    }
  }

  /// - Throws: `notFound` PLT-3002.
  public func removeAlias(_ name: ThreePartName, alias: String, by actor: String) async throws {
    try await pool.transaction { transaction in
      let removed = try transaction.execute(
        "DELETE FROM model_aliases WHERE catalog = $1 AND schema = $2 AND model = $3 AND alias = $4", Self.key(name) + [.text(alias)])
      if removed == 0 { throw Self.missing("model alias", "\(name)@\(alias)") }
      try Self.audit(transaction, actor, "remove alias", "\(name)@\(alias)")
    }
  }
}
