// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres

/// Renaming. Identifiers, owners, tags and files stay; what names the object in a place that works with it (a vector index its source, an
/// endpoint its model, a dropped table its schema) follows. Lineage and audit keep the names of their time.
extension CatalogStore {
  /// - Returns: the name as it is stored.
  /// - Throws: `invalidArgument` PLT-3001, `notFound` PLT-3002, `alreadyExists` PLT-3003; `permissionDenied` for one of the platform itself.
  public func renameCatalog(_ name: String, to new: String, by actor: String) async throws -> String {
    let new = new.lowercased()
    try Self.requirePlain(new)
    if Self.permanent.contains(name) { throw PlatformError(.permissionDenied, "catalog '\(name)' belongs to the platform") }
    try await pool.transaction { transaction in
      try Self.requireFree(transaction, "catalogs", "catalog", new, "lower(name) = lower($1) AND name <> $2", [.text(new), .text(name)])
      guard
        try transaction.execute(
          "UPDATE catalogs SET name = $2, updated_at = now(), updated_by = $3 WHERE name = $1", [.text(name), .text(new), .text(actor)]) == 1
      else { throw Self.missing("catalog", name) }
      // What lies in `dropped` as a catalog of the old name is another one.
      try transaction.execute(
        "UPDATE dropped SET catalog = $2, entry = jsonb_set(entry, '{catalog}', to_jsonb($2::text)) WHERE catalog = $1 AND kind <> 'catalog'",
        [.text(name), .text(new)])
      try Self.follow(transaction, from: name + ".", to: new + ".")
      try Self.audit(transaction, actor, "rename catalog", "\(name) to \(new)")
    }
    return new
  }

  /// As `renameCatalog`.
  public func renameSchema(catalog: String, name: String, to new: String, by actor: String) async throws -> String {
    let new = new.lowercased()
    try Self.requirePlain(new)
    if catalog == "main" && ["default", "demo"].contains(name) || catalog == "system" && name == "ai" {
      throw PlatformError(.permissionDenied, "schema '\(catalog).\(name)' belongs to the platform")
    }
    try await pool.transaction { transaction in
      try Self.requireFree(
        transaction, "schemas", "schema", "\(catalog).\(new)", "catalog = $1 AND lower(name) = lower($2) AND name <> $3",
        [.text(catalog), .text(new), .text(name)])
      guard
        try transaction.execute(
          "UPDATE schemas SET name = $3, updated_at = now(), updated_by = $4 WHERE catalog = $1 AND name = $2",
          [.text(catalog), .text(name), .text(new), .text(actor)]) == 1
      else { throw Self.missing("schema", "\(catalog).\(name)") }
      try transaction.execute(
        """
        UPDATE dropped SET schema = $3, entry = jsonb_set(entry, '{schema}', to_jsonb($3::text))
        WHERE catalog = $1 AND schema = $2 AND kind IN ('table', 'volume', 'function', 'model')
        """, [.text(catalog), .text(name), .text(new)])
      try Self.follow(transaction, from: "\(catalog).\(name).", to: "\(catalog).\(new).")
      try Self.audit(transaction, actor, "rename schema", "\(catalog).\(name) to \(catalog).\(new)")
    }
    return new
  }

  /// Another name; for a table also another schema. Files stay where they are.
  /// - Returns: the name as it is stored.
  /// - Throws: as `renameCatalog`; `invalidArgument` when something other than a table would change its schema.
  public func rename(_ kind: ObjectKind, _ name: ThreePartName, to target: ThreePartName, by actor: String) async throws -> ThreePartName {
    var new = target
    new.name = new.name.lowercased()
    try Self.requirePlain(new.name)
    guard kind == .table || (new.catalog == name.catalog && new.schema == name.schema) else {
      throw PlatformError(.invalidArgument, "a \(kind.rawValue) stays in its schema", hint: "Only tables can be moved.", number: "PLT-1702")
    }
    let final = new
    try await pool.transaction { transaction in
      try Self.requireSchema(transaction, final)
      try Self.requireFree(
        transaction, kind.rows, kind.rawValue, "\(final)",
        "catalog = $1 AND schema = $2 AND lower(name) = lower($3) AND NOT (catalog = $4 AND schema = $5 AND name = $6)",
        Self.key(final) + Self.key(name))
      guard
        try transaction.execute(
          """
          UPDATE \(kind.rows) SET catalog = $4, schema = $5, name = $6, updated_at = now(), updated_by = $7
          WHERE catalog = $1 AND schema = $2 AND name = $3
          """, Self.key(name) + Self.key(final) + [.text(actor)]) == 1
      else { throw Self.missing(kind.rawValue, "\(name)") }
      try Self.follow(transaction, from: "\(name)", to: "\(final)")
      try Self.audit(transaction, actor, "rename \(kind.rawValue)", "\(name) to \(final)")
    }
    return final
  }

  private static func requireFree(
    _ transaction: PostgresTransaction, _ rows: String, _ kind: String, _ shown: String, _ condition: String, _ parameters: [PostgresValue]
  ) throws {
    if try !transaction.query("SELECT 1 FROM \(rows) WHERE \(condition)", parameters).isEmpty {
      throw PlatformError(.alreadyExists, "\(kind) '\(shown)' exists already", number: "PLT-3003")
    }
  }

  /// Texts that name the object: equal to the old name, or beginning with it where a version, an alias or a further part follows.
  private static func follow(_ transaction: PostgresTransaction, from old: String, to new: String) throws {
    let isPrefix = old.hasSuffix(".")
    let matches = isPrefix ? "starts_with(COLUMN, $1)" : "(COLUMN = $1 OR starts_with(COLUMN, $1 || '/') OR starts_with(COLUMN, $1 || '@'))"
    for (table, column) in [("vector_indexes", "source_table"), ("endpoints", "model"), ("endpoint_adapters", "model")] {
      for prefix in ["", "models:/"] {
        try transaction.execute(
          "UPDATE \(table) SET \(column) = $2 || substr(\(column), length($1) + 1) WHERE \(matches.replacing("COLUMN", with: column))",
          [.text(prefix + old), .text(prefix + new)])
      }
    }
  }
}
