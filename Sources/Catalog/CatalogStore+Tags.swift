// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
import Postgres

/// A tag of an object, or of a column of a table.
public struct TagEntry: Sendable, Equatable {
  public var key: String
  public var value: String
  public var updatedAt: Date
  public var updatedBy: String
}

/// Tags belong to the identifier of an object: they stay with it when it is renamed, dropped and brought back.
extension CatalogStore {
  /// An object may have this many, and so may each column.
  public static let tagLimit = 50

  /// What tags can be put on.
  public enum Tagged: Sendable, Equatable {
    case catalog(String)
    case schema(catalog: String, name: String)
    case object(ObjectKind, ThreePartName)
    case column(ThreePartName, String)
    case connection(String)
    case location(String)
    case credential(String)
  }

  /// The identifier, and the column as the table spells it.
  /// - Throws: `notFound` PLT-3002.
  func identify(_ tagged: Tagged) async throws -> (id: UUID, column: String) {
    switch tagged {
    case .catalog(let name): return (try await catalog(storedCatalog(name)).id, "")
    case .schema(let parent, let name):
      let found = try await storedSchema(parent, name)
      return (try await schema(catalog: found.catalog, name: found.name).id, "")
    case .object(let kind, let name):
      let name = try await stored(kind, name)
      switch kind {
      case .table: return (try await table(name).id, "")
      case .volume: return (try await volume(name).id, "")
      case .model: return (try await model(name).id, "")
      case .function: return (try await function(name).id, "")
      }
    case .column(let name, let column):
      let entry = try await table(name)
      guard let found = entry.columns.first(where: { $0.name.lowercased() == column.lowercased() }) else {
        throw Self.missing("column", "\(entry.name).\(column)")
      }
      return (entry.id, found.name)
    case .connection(let name): return (try await connection(name).id, "")
    case .location(let name): return (try await location(name).id, "")
    case .credential(let name): return (try await credential(name).id, "")
    }
  }

  /// - Parameter replacing: whether the tag may be there already.
  /// - Throws: `notFound` PLT-3002; `alreadyExists` PLT-3003 or, when replacing, `notFound`; `invalidArgument` for a key or value that
  ///   cannot be used; `resourceExhausted` above `tagLimit`.
  public func setTag(_ tagged: Tagged, key: String, value: String, replacing: Bool, by actor: String) async throws -> TagEntry {
    guard (1...256).contains(key.utf8.count), value.utf8.count <= 1000,
      !(key + value).unicodeScalars.contains(where: { $0.value < 32 }), !key.contains(where: { ".,-=/:".contains($0) }) || key.hasPrefix("class.")
    else {
      throw PlatformError(
        .invalidArgument, "'\(key.prefix(100))' is not a usable tag",
        hint: "A key has 1 to 256 bytes without . , - = / : and control characters, a value up to 1000.", number: "PLT-3001")
    }
    let (id, column) = try await identify(tagged)
    let place: [PostgresValue] = [.text(id.uuidString), .text(column)]
    try await pool.transaction { transaction in
      try transaction.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 4))", [.text(id.uuidString)])
      let there = try !transaction.query("SELECT 1 FROM tags WHERE object = $1::uuid AND column_name = $2 AND key = $3", place + [.text(key)]).isEmpty
      guard there == replacing else {
        throw there
          ? PlatformError(.alreadyExists, "tag '\(key)' is there already", hint: "Update it.", number: "PLT-3003") : Self.missing("tag", key)
      }
      let count = try transaction.query("SELECT count(*) AS n FROM tags WHERE object = $1::uuid AND column_name = $2", place)[0].int("n")
      guard there || count < Self.tagLimit else { throw PlatformError(.resourceExhausted, "an object has at most \(Self.tagLimit) tags") }
      try transaction.execute(
        """
        INSERT INTO tags (object, column_name, key, value, updated_by) VALUES ($1::uuid, $2, $3, $4, $5)
        ON CONFLICT (object, column_name, key) DO UPDATE SET value = excluded.value, updated_by = excluded.updated_by, updated_at = now()
        """, place + [.text(key), .text(value), .text(actor)])
      try Self.audit(transaction, actor, "set tag \(key)", id.uuidString.lowercased())
    }
    return try await tag(tagged, key: key)
  }

  /// - Throws: `notFound` PLT-3002.
  public func tag(_ tagged: Tagged, key: String) async throws -> TagEntry {
    let (id, column) = try await identify(tagged)
    let rows = try await pool.query(
      "SELECT * FROM tags WHERE object = $1::uuid AND column_name = $2 AND key = $3", [.text(id.uuidString), .text(column), .text(key)])
    guard let row = rows.first else { throw Self.missing("tag", key) }
    return try Self.tagEntry(row)
  }

  /// Tags by key.
  public func tags(_ tagged: Tagged, limit: Int, pageToken: String? = nil) async throws -> CatalogPage<TagEntry> {
    let (id, column) = try await identify(tagged)
    return try await page(
      Listing("tags", filters: [("object::text", id.uuidString.lowercased()), ("column_name", column)], key: [("key", "text")]), limit,
      pageToken, Self.tagEntry)
  }

  /// - Throws: `notFound` PLT-3002.
  public func removeTag(_ tagged: Tagged, key: String, by actor: String) async throws {
    let (id, column) = try await identify(tagged)
    try await pool.transaction { transaction in
      let removed = try transaction.execute(
        "DELETE FROM tags WHERE object = $1::uuid AND column_name = $2 AND key = $3", [.text(id.uuidString), .text(column), .text(key)])
      if removed == 0 { throw Self.missing("tag", key) }
      try Self.audit(transaction, actor, "remove tag \(key)", id.uuidString.lowercased())
    }
  }

  private static func tagEntry(_ row: PostgresRow) throws -> TagEntry {
    TagEntry(
      key: try row.string("key"), value: try row.string("value"), updatedAt: try row.date("updated_at"), updatedBy: try row.string("updated_by"))
  }
}
