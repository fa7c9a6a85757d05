// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
import Postgres

/// Something that was dropped and can still be brought back.
public struct DroppedEntry: Sendable, Equatable {
  public enum Kind: String, Sendable, CaseIterable {
    case catalog, schema, table, volume, function, model
    var rows: String { rawValue + "s" }
    /// How many parts its full name has.
    var parts: Int { self == .catalog ? 1 : self == .schema ? 2 : 3 }
  }

  public var kind: Kind
  public var id: UUID
  /// Its full name when it was dropped; a parent that has since been renamed is named as it is now.
  public var name: String
  public var location: String?
  public var isManaged: Bool
  public var droppedAt: Date
  public var droppedBy: String
}

extension CatalogStore {
  /// How long what was dropped can be brought back.
  public static let undropDays = 7

  /// What can be brought back, newest first; of one schema or catalog, or of all.
  public func dropped(
    catalog: String? = nil, schema: String? = nil, limit: Int, pageToken: String? = nil
  ) async throws -> CatalogPage<DroppedEntry> {
    var listing = Listing(
      "dropped", filters: [("lower(catalog)", catalog?.lowercased()), ("lower(schema)", schema?.lowercased()), ("is_purging", "false")],
      key: [("moment", "text"), ("id", "text")], isDescending: true)
    // Both orders are those of text; the moment in UTC with microseconds sorts as time does.
    listing.table =
      "(SELECT kind, id::text AS id, catalog, schema, name, location, managed, is_purging::text AS is_purging, dropped_by, dropped_at, to_char(dropped_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS moment FROM dropped) d"
    return try await page(listing, limit, pageToken, Self.droppedEntry)
  }

  /// Brings back what was dropped last under this name, as it was: identifier, owner, tags, constraints, files; of a model its versions and
  /// aliases. With a schema or catalog comes back what was dropped together with it.
  /// - Parameter id: which one, when several of the name were dropped.
  /// - Throws: `notFound` PLT-3002 when nothing of the name can be brought back, or what held it does not exist; `alreadyExists` PLT-3003
  ///   when the name is taken; `conflict` when its place has been given to another.
  public func undrop(_ kind: DroppedEntry.Kind, _ name: [String], id: UUID? = nil, by actor: String) async throws {
    guard name.count == kind.parts else {
      throw PlatformError(.invalidArgument, "the name of a \(kind.rawValue) has \(kind.parts) parts", number: "PLT-3001")
    }
    let shown = name.joined(separator: ".")
    let parts = name + Array(repeating: "", count: 3 - name.count)
    try await pool.transaction { transaction in
      let rows = try transaction.query(
        """
        SELECT id, batch, catalog, schema FROM dropped
        WHERE kind = $1 AND lower(catalog) = lower($2) AND lower(schema) = lower($3) AND lower(name) = lower($4) AND NOT is_purging
          AND ($5::uuid IS NULL OR id = $5::uuid)
        ORDER BY dropped_at DESC, id LIMIT 1 FOR UPDATE
        """, [.text(kind.rawValue)] + parts.map { .text($0) } + [.optional(id?.uuidString)])
      guard let found = rows.first else {
        throw PlatformError(
          .notFound, "no dropped \(kind.rawValue) '\(shown)' can be brought back", hint: "What was dropped stays for \(Self.undropDays) days.",
          number: "PLT-3002")
      }
      let (identifier, batch) = (try found.string("id"), try found.string("batch"))
      let (catalog, schema) = (try found.string("catalog"), try found.string("schema"))
      if kind == .schema, try transaction.query("SELECT 1 FROM catalogs WHERE name = $1 FOR KEY SHARE", [.text(catalog)]).isEmpty {
        throw Self.missing("catalog", catalog)
      }
      if kind.parts == 3 { try Self.requireSchema(transaction, ThreePartName(catalog: catalog, schema: schema, name: name[2])) }
      try Self.raise(transaction, kind, identifier)
      if kind == .catalog || kind == .schema {
        for inner in [DroppedEntry.Kind.schema, .table, .volume, .function, .model] where inner.parts > kind.parts {
          let members = try transaction.query(
            "SELECT id FROM dropped WHERE kind = $1 AND batch = $2::uuid AND catalog = $3 AND ($4 = '' OR schema = $4) AND NOT is_purging FOR UPDATE",
            [.text(inner.rawValue), .text(batch), .text(catalog), .text(kind == .schema ? schema : "")])
          for member in members { try Self.raise(transaction, inner, try member.string("id")) }
        }
      }
      try Self.audit(transaction, actor, "undrop \(kind.rawValue)", shown)
    }
  }

  /// Puts one row back. Columns that were added since take their defaults.
  private static func raise(_ transaction: PostgresTransaction, _ kind: DroppedEntry.Kind, _ id: String) throws {
    let key: [PostgresValue] = [.text(kind.rawValue), .text(id)]
    let row = try transaction.query("SELECT catalog, schema, name, location, managed, entry FROM dropped WHERE kind = $1 AND id = $2::uuid", key)[0]
    let shown = try ["catalog", "schema", "name"].map { try row.string($0) }.filter { !$0.isEmpty }.joined(separator: ".")
    if kind.parts == 3, let location: String = try row.get("location"), !location.isEmpty, try !row.bool("managed") {
      do { try requireApart(transaction, location, from: ["volumes", "tables"]) } catch let error as PlatformError {
        throw error.wrapping("\(kind.rawValue) '\(shown)' cannot be brought back")
      }
    }
    let entry = try row.json("entry")
    let columns = try (entry.objectValue ?? [:]).keys.sorted().map(PostgresIdentifier.quote).joined(separator: ", ")
    let made = try transaction.execute(
      "INSERT INTO \(kind.rows) (\(columns)) SELECT \(columns) FROM jsonb_populate_record(NULL::\(kind.rows), $1::jsonb) ON CONFLICT DO NOTHING",
      [.encoding(entry)])
    guard made == 1 else {
      throw PlatformError(
        .alreadyExists, "\(kind.rawValue) '\(shown)' exists already", hint: "Rename it, then bring back the dropped one.", number: "PLT-3003")
    }
    if kind == .model { try raiseVersions(transaction, id) }
    try transaction.execute("DELETE FROM dropped WHERE kind = $1 AND id = $2::uuid", key)
  }

  /// Puts back the versions and aliases of a model. What holds them may have another name by now.
  private static func raiseVersions(_ transaction: PostgresTransaction, _ id: String) throws {
    for (part, rows) in [("versions", "model_versions"), ("aliases", "model_aliases")] {
      let found = try transaction.query(
        """
        SELECT part || jsonb_build_object('catalog', d.catalog, 'schema', d.schema, 'model', d.name) AS entry
        FROM dropped d, jsonb_array_elements(d.parts -> '\(part)') part WHERE d.kind = 'model' AND d.id = $1::uuid
        """, [.text(id)])
      for row in found {
        let entry = try row.json("entry")
        let columns = try (entry.objectValue ?? [:]).keys.sorted().map(PostgresIdentifier.quote).joined(separator: ", ")
        try transaction.execute(
          "INSERT INTO \(rows) (\(columns)) SELECT \(columns) FROM jsonb_populate_record(NULL::\(rows), $1::jsonb)", [.encoding(entry)])
      }
    }
  }

  /// Removes for good what was dropped longer than `age` ago, and the files of managed tables, volumes and versions of models below `lake`. One that is being
  /// removed cannot be brought back any more; a purge that was interrupted is finished by the next.
  /// - Returns: how many objects are gone.
  @discardableResult
  public func purge(olderThan age: Duration = .seconds(undropDays * 86_400), lake: String, limit: Int = 1000) async throws -> Int {
    let rows = try await pool.query(
      """
      UPDATE dropped SET is_purging = true WHERE (kind, id) IN (
        SELECT kind, id FROM dropped WHERE is_purging OR dropped_at <= now() - make_interval(secs => $1::double precision)
        ORDER BY dropped_at LIMIT \(max(1, limit)) FOR UPDATE SKIP LOCKED)
      RETURNING kind, id, name, location, managed, jsonb_path_query_array(parts, '$.versions[*] ? (@.managed == true).location')::text AS versions
      """, [.double(age / .seconds(1))])
    var gone = 0
    var failure: (any Error)?
    for row in rows {
      do {
        if try row.bool("managed"), let location: String = try row.get("location") {
          try await removeFiles([location], in: lake, of: "'\(row.string("name"))'")
        }
        if let versions: String = try row.get("versions") {
          let found = try JSONValue(parsing: versions)
          try await removeFiles((found.arrayValue ?? []).compactMap(\.stringValue), in: lake, of: "model '\(row.string("name"))'")
        }
        let id = try row.value("id")
        let kind = try row.value("kind")
        try await pool.transaction { transaction in
          try transaction.execute("DELETE FROM tags WHERE object = $1::uuid", [id])
          try transaction.execute("DELETE FROM table_constraints WHERE table_id = $1::uuid OR parent = $1::uuid", [id])
          try transaction.execute("DELETE FROM delta_commits WHERE table_id = $1::uuid", [id])
          try transaction.execute("DELETE FROM dropped WHERE kind = $1 AND id = $2::uuid", [kind, id])
        }
        gone += 1
      } catch { failure = failure ?? error }
    }
    if let failure { throw failure }
    return gone
  }

  private static func droppedEntry(_ row: PostgresRow) throws -> DroppedEntry {
    guard let kind = DroppedEntry.Kind(rawValue: try row.string("kind")) else {
      throw PlatformError(.internalError, "a dropped object is of an unknown kind")
    }
    return DroppedEntry(
      kind: kind, id: try row.get("id"),
      name: try ["catalog", "schema", "name"].map { try row.string($0) }.filter { !$0.isEmpty }.joined(separator: "."),
      location: try row.get("location"), isManaged: try row.bool("managed"), droppedAt: try row.date("dropped_at"),
      droppedBy: try row.string("dropped_by"))
  }
}
