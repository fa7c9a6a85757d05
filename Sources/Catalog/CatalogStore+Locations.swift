// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation
import Postgres

/// How stores outside are opened. Its secret part is sealed and leaves the catalog only through `credentialSecret`.
public struct CredentialEntry: Sendable, Equatable {
  public var id: UUID
  public var name: String
  /// The member of the request that carried it, as in `aws_iam_role`.
  public var kind: String
  /// What may be shown: an account, a role.
  public var facts: JSONValue
  public var hasSecret: Bool
  /// `STORAGE` or `SERVICE`.
  public var purpose: String
  public var isReadOnly: Bool
  public var comment: String
  public var owner: String
  public var createdAt: Date
  public var createdBy: String
  public var updatedAt: Date
  public var updatedBy: String
}

/// A folder or a bucket's prefix in which external tables and volumes may be.
public struct LocationEntry: Sendable, Equatable {
  public var id: UUID
  public var name: String
  /// `file:///path` or `s3://bucket/prefix`, without `/` at its end.
  public var url: String
  public var credential: String?
  public var credentialID: UUID?
  public var isReadOnly: Bool
  /// It came from the configuration of the machine, and goes with it.
  public var isSeed: Bool
  public var comment: String
  public var owner: String
  public var createdAt: Date
  public var createdBy: String
  public var updatedAt: Date
  public var updatedBy: String
}

/// What may be changed; nil leaves it as it is.
public struct SecuredChange: Sendable {
  public var newName: String?
  public var comment: String?
  public var owner: String?
  public var isReadOnly: Bool?
  public init(newName: String? = nil, comment: String? = nil, owner: String? = nil, isReadOnly: Bool? = nil) {
    self.newName = newName
    self.comment = comment
    self.owner = owner
    self.isReadOnly = isReadOnly
  }
}

extension CatalogStore {
  /// Keeps two that choose locations apart until the first has committed.
  private static let urlLock = 7_304_401_891

  // MARK: credentials

  /// - Parameter secret: sealed; nil when there is nothing to hide.
  /// - Throws: `invalidArgument` PLT-3001, `alreadyExists` PLT-3003.
  public func createCredential(
    _ name: String, kind: String, facts: JSONValue, secret: Data?, sealedWith key: SealingKey, purpose: String, isReadOnly: Bool, comment: String,
    by actor: String
  ) async throws -> CredentialEntry {
    try Self.requirePlain(name)
    let id = UUID()
    let sealed = try secret.map { try key.seal($0, for: "credential \(id.uuidString)") }
    try await pool.transaction { transaction in
      let made = try transaction.execute(
        """
        INSERT INTO storage_credentials (id, name, kind, facts, secret, purpose, is_read_only, comment, owner, created_by, updated_by)
        VALUES ($1::uuid, $2, $3, $4::jsonb, $5, $6, $7, $8, $9, $9, $9) ON CONFLICT DO NOTHING
        """,
        [
          .text(id.uuidString), .text(name), .text(kind), .encoding(facts), sealed.map(PostgresValue.bytes) ?? .null, .text(purpose),
          .bool(isReadOnly), .text(comment), .text(actor),
        ])
      if made == 0 { throw PlatformError(.alreadyExists, "credential '\(name)' exists already", number: "PLT-3003") }
      try Self.audit(transaction, actor, "create credential", name)
    }
    return try await credential(name)
  }

  /// - Throws: `notFound` PLT-3002.
  public func credential(_ name: String) async throws -> CredentialEntry {
    guard let row = try await pool.query("SELECT * FROM storage_credentials WHERE lower(name) = lower($1)", [.text(name)]).first else {
      throw Self.missing("credential", name)
    }
    return try Self.credentialEntry(row)
  }

  /// Credentials by name, of one purpose or of all.
  public func credentials(purpose: String? = nil, limit: Int, pageToken: String? = nil) async throws -> CatalogPage<CredentialEntry> {
    try await page(
      Listing("storage_credentials", filters: [("purpose", purpose)], key: [("name", "text")]), limit, pageToken, Self.credentialEntry)
  }

  /// - Parameter replaced: another content, with its kind; nil keeps what is there.
  /// - Throws: `notFound` PLT-3002, `alreadyExists` PLT-3003.
  public func changeCredential(
    _ name: String, _ change: SecuredChange, replaced: (kind: String, facts: JSONValue, secret: Data?)? = nil, sealedWith key: SealingKey,
    by actor: String
  ) async throws -> CredentialEntry {
    let entry = try await credential(name)
    if let replaced {
      let sealed = try replaced.secret.map { try key.seal($0, for: "credential \(entry.id.uuidString)") }
      try await pool.execute(
        "UPDATE storage_credentials SET kind = $2, facts = $3::jsonb, secret = $4 WHERE id = $1::uuid",
        [.text(entry.id.uuidString), .text(replaced.kind), .encoding(replaced.facts), sealed.map(PostgresValue.bytes) ?? .null])
    }
    return try await credential(changeSecured("storage_credentials", "credential", entry.id, entry.name, change, by: actor))
  }

  /// The secret part. Nothing but code that opens the store may see it.
  public func credentialSecret(_ name: String, sealedWith key: SealingKey) async throws -> Data? {
    let rows = try await pool.query("SELECT id, secret FROM storage_credentials WHERE lower(name) = lower($1)", [.text(name)])
    guard let row = rows.first else { throw Self.missing("credential", name) }
    let id: UUID = try row.get("id")
    guard let sealed: Data = try row.get("secret") else { return nil }
    return try key.unseal(sealed, for: "credential \(id.uuidString)")
  }

  /// - Parameter force: also when locations use it; they are left without one.
  /// - Throws: `notFound` PLT-3002; `invalidArgument` PLT-1701 when it is used.
  public func dropCredential(_ name: String, force: Bool, by actor: String) async throws {
    let entry = try await credential(name)
    try await pool.transaction { transaction in
      let id = PostgresValue.text(entry.id.uuidString)
      let used = try transaction.query("SELECT count(*) AS n FROM external_locations WHERE credential = $1::uuid", [id])[0].int("n")
      guard used == 0 || force else {
        throw PlatformError(.invalidArgument, "credential '\(entry.name)' is used by \(used) external locations", hint: "Use force.", number: "PLT-1701")
      }
      try transaction.execute("UPDATE external_locations SET credential = NULL WHERE credential = $1::uuid", [id])
      try transaction.execute("DELETE FROM tags WHERE object = $1::uuid", [id])
      try transaction.execute("DELETE FROM storage_credentials WHERE id = $1::uuid", [id])
      try Self.audit(transaction, actor, "drop credential", entry.name)
    }
  }

  // MARK: external locations

  /// `file:///path` or `s3://bucket/prefix` in the one spelling that is stored.
  /// - Throws: `invalidArgument` PLT-3001.
  public static func canonicalURL(_ text: String) throws -> String {
    guard text.utf8.count <= 4096, !text.unicodeScalars.contains(where: { $0.value < 32 || $0.value == 127 }) else {
      throw VolumePath.refuse(text, "it is too long or holds a control character")
    }
    if text.hasPrefix("/") { return "file://" + (try VolumePath.absolute(text)) }
    if text.hasPrefix("file:/") {
      guard let decoded = text.dropFirst(5).removingPercentEncoding else { throw VolumePath.refuse(text, "it holds a malformed escape") }
      let path = decoded.hasPrefix("///") ? String(decoded.dropFirst(2)) : decoded
      return "file://" + (try VolumePath.absolute(path))
    }
    for scheme in ["s3://", "s3a://"] where text.hasPrefix(scheme) {
      let parts = text.dropFirst(scheme.count).split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      let letters = parts[0].utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 || $0 == 46 }
      guard (3...63).contains(parts[0].utf8.count), letters else { throw VolumePath.refuse(text, "it does not name a bucket") }
      let key = try parts.count == 1 ? [] : VolumePath.parts(parts[1])
      return (["s3://" + parts[0]] + key).joined(separator: "/")
    }
    throw VolumePath.refuse(text, "only file:/// and s3:// are known")
  }

  static func contains(_ outer: String, _ inner: String) -> Bool { VolumePath.isInside(inner, outer) }

  /// - Throws: `invalidArgument` PLT-3001, `alreadyExists` PLT-3003, `notFound` PLT-3002 for the credential; `conflict` when it is in
  ///   another location, or around one, or overlaps the platform's `own` folders.
  public func createLocation(
    _ name: String, url: String, credential: String?, isReadOnly: Bool, comment: String, apartFrom own: [String], by actor: String
  ) async throws -> LocationEntry {
    try Self.requirePlain(name)
    let url = try Self.canonicalURL(url)
    try Self.requireOutside(url, of: own)
    var credentialID: UUID?
    if let credential { credentialID = try await self.credential(credential).id }
    let owned = credentialID
    guard owned != nil || url.hasPrefix("file://") else {
      throw PlatformError(.invalidArgument, "an external location of '\(url.prefix(5))' needs a credential", number: "PLT-3001")
    }
    try await pool.transaction { transaction in
      try Self.requireApart(transaction, url, except: nil)
      let made = try transaction.execute(
        """
        INSERT INTO external_locations (id, name, url, credential, is_read_only, comment, owner, created_by, updated_by)
        VALUES ($1::uuid, $2, $3, $4::uuid, $5, $6, $7, $7, $7) ON CONFLICT DO NOTHING
        """,
        [
          .text(UUID().uuidString), .text(name), .text(url), .optional(owned?.uuidString), .bool(isReadOnly), .text(comment), .text(actor),
        ])
      if made == 0 { throw PlatformError(.alreadyExists, "external location '\(name)' exists already", number: "PLT-3003") }
      try Self.audit(transaction, actor, "create external location", name)
    }
    return try await location(name)
  }

  private static func requireOutside(_ url: String, of folders: [String]) throws {
    for folder in folders {
      let own = "file://" + (try VolumePath.absolute(folder))
      guard !contains(own, url), !contains(url, own) else {
        throw PlatformError(.conflict, "'\(url)' overlaps the platform's own data")
      }
    }
  }

  private static func requireApart(_ transaction: PostgresTransaction, _ url: String, except id: UUID?) throws {
    try transaction.execute("SELECT pg_advisory_xact_lock($1::bigint)", [.int(urlLock)])
    let found = try transaction.query(
      """
      SELECT name FROM external_locations
      WHERE (starts_with(url || '/', $1::text || '/') OR starts_with($1::text || '/', url || '/')) AND ($2::uuid IS NULL OR id <> $2::uuid) LIMIT 1
      """, [.text(url), .optional(id?.uuidString)])
    if let row = found.first {
      throw PlatformError(.conflict, "'\(url)' overlaps external location '\(try row.string("name"))'", hint: "Locations lie side by side.")
    }
  }

  /// - Throws: `notFound` PLT-3002.
  public func location(_ name: String) async throws -> LocationEntry {
    guard let row = try await pool.query("SELECT * FROM \(Self.locations) WHERE lower(name) = lower($1)", [.text(name)]).first else {
      throw Self.missing("external location", name)
    }
    return try Self.locationEntry(row)
  }

  /// External locations by name.
  public func locations(limit: Int, pageToken: String? = nil) async throws -> CatalogPage<LocationEntry> {
    try await page(Listing(Self.locations, key: [("name", "text")]), limit, pageToken, Self.locationEntry)
  }

  /// The location that a path is in, or nil. Links are not followed here.
  public func location(of url: String) async throws -> LocationEntry? {
    try await pool.query(
      "SELECT * FROM \(Self.locations) WHERE starts_with($1::text || '/', url || '/') LIMIT 1", [.text(Self.canonicalURL(url))]
    ).first.map(Self.locationEntry)
  }

  /// Folders of this machine in which external tables and volumes may be.
  public func externalFolders() async throws -> [String] {
    try await pool.query("SELECT url FROM external_locations WHERE starts_with(url, 'file://') ORDER BY url").map {
      String(try $0.string("url").dropFirst("file://".count))
    }
  }

  /// - Throws: as `createLocation`; `invalidArgument` PLT-1701 when the place changes while objects are in it and `force` is false.
  public func changeLocation(
    _ name: String, _ change: SecuredChange, url: String? = nil, credential: String? = nil, force: Bool, apartFrom own: [String], by actor: String
  ) async throws -> LocationEntry {
    let entry = try await location(name)
    var credentialID: UUID?
    if let credential { credentialID = try await self.credential(credential).id }
    let moved = try url.map { try Self.canonicalURL($0) }
    if let moved { try Self.requireOutside(moved, of: own) }
    let given = credentialID
    try await pool.transaction { transaction in
      if let moved, moved != entry.url {
        try Self.requireApart(transaction, moved, except: entry.id)
        let used = try Self.used(transaction, entry.url)
        guard used == 0 || force else { throw Self.inUse(entry.name, used) }
      }
      try transaction.execute(
        "UPDATE external_locations SET url = coalesce($2, url), credential = coalesce($3::uuid, credential), is_seed = false WHERE id = $1::uuid",
        [.text(entry.id.uuidString), .optional(moved), .optional(given?.uuidString)])
    }
    return try await location(changeSecured("external_locations", "external location", entry.id, entry.name, change, by: actor))
  }

  /// - Throws: `notFound` PLT-3002; `invalidArgument` PLT-1701 when tables or volumes are in it and `force` is false.
  public func dropLocation(_ name: String, force: Bool, by actor: String) async throws {
    let entry = try await location(name)
    try await pool.transaction { transaction in
      let used = try Self.used(transaction, entry.url)
      guard used == 0 || force else { throw Self.inUse(entry.name, used) }
      try transaction.execute("DELETE FROM tags WHERE object = $1::uuid", [.text(entry.id.uuidString)])
      try transaction.execute("DELETE FROM external_locations WHERE id = $1::uuid", [.text(entry.id.uuidString)])
      try Self.audit(transaction, actor, "drop external location", entry.name)
    }
  }

  private static func inUse(_ name: String, _ count: Int) -> PlatformError {
    PlatformError(.invalidArgument, "\(count) tables and volumes are in external location '\(name)'", hint: "Use force.", number: "PLT-1701")
  }

  private static func used(_ transaction: PostgresTransaction, _ url: String) throws -> Int {
    let place = url.hasPrefix("file://") ? String(url.dropFirst("file://".count)) : url
    return try ["tables", "volumes"].reduce(0) { sum, rows in
      sum
        + (try transaction.query(
          "SELECT count(*) AS n FROM \(rows) WHERE kind = 'external' AND starts_with(location || '/', $1::text || '/')", [.text(place)])[0].int("n"))
    }
  }

  /// Makes the folders that the machine's configuration names external locations; those that it does not name any more go.
  public func seedLocations(_ folders: [String]) async throws {
    let wanted = try folders.map { try Self.canonicalURL($0) }
    try await pool.transaction { transaction in
      try transaction.execute("SELECT pg_advisory_xact_lock($1::bigint)", [.int(Self.urlLock)])
      try transaction.execute("DELETE FROM external_locations WHERE is_seed AND NOT url = ANY ($1::text[])", [.textArray(wanted)])
      for url in wanted {
        let overlapping = try transaction.query(
          "SELECT 1 FROM external_locations WHERE starts_with(url || '/', $1::text || '/') OR starts_with($1::text || '/', url || '/')", [.text(url)])
        guard overlapping.isEmpty else { continue }
        let id = UUID()
        let word = (url as NSString).lastPathComponent.unicodeScalars.map {
          $0.isASCII && ($0.properties.isAlphabetic || $0.properties.numericType != nil) ? Character($0) : "_"
        }
        try transaction.execute(
          """
          INSERT INTO external_locations (id, name, url, is_seed, comment, owner)
          VALUES ($1::uuid, $2, $3, true, 'named by PLATFORM_EXTERNAL_LOCATIONS', 'platform') ON CONFLICT DO NOTHING
          """, [.text(id.uuidString), .text(String(word).lowercased().prefix(60) + "_" + id.uuidString.prefix(8).lowercased()), .text(url)])
      }
    }
  }

  private static let locations = """
    (SELECT l.*, c.name AS credential_name, c.id AS credential_id FROM external_locations l
     LEFT JOIN storage_credentials c ON c.id = l.credential) external_locations
    """

  // MARK: rows

  /// - Returns: the name after the change.
  func changeSecured(
    _ rows: String, _ kind: String, _ id: UUID, _ name: String, _ change: SecuredChange, by actor: String
  ) async throws -> String {
    if let new = change.newName { try Self.requirePlain(new) }
    return try await pool.transaction { transaction in
      if let new = change.newName,
        try !transaction.query("SELECT 1 FROM \(rows) WHERE lower(name) = lower($1) AND id <> $2::uuid", [.text(new), .text(id.uuidString)]).isEmpty
      {
        throw PlatformError(.alreadyExists, "\(kind) '\(new)' exists already", number: "PLT-3003")
      }
      let changed = try transaction.query(
        """
        UPDATE \(rows) SET name = coalesce($2, name), comment = coalesce($3, comment), owner = coalesce($4, owner),
          is_read_only = coalesce($5::boolean, is_read_only), updated_at = now(), updated_by = $6 WHERE id = $1::uuid RETURNING name
        """,
        [
          .text(id.uuidString), .optional(change.newName), .optional(change.comment), .optional(change.owner), .optional(change.isReadOnly),
          .text(actor),
        ])
      guard let row = changed.first else { throw Self.missing(kind, name) }
      try Self.audit(transaction, actor, "change \(kind)", name)
      return try row.string("name")
    }
  }

  private static func credentialEntry(_ row: PostgresRow) throws -> CredentialEntry {
    let secret: Data? = try row.get("secret")
    let owner = try row.string("owner")
    return CredentialEntry(
      id: try row.get("id"), name: try row.string("name"), kind: try row.string("kind"), facts: try row.json("facts"), hasSecret: secret != nil,
      purpose: try row.string("purpose"), isReadOnly: try row.bool("is_read_only"), comment: try row.string("comment"), owner: owner,
      createdAt: try row.date("created_at"), createdBy: try row.get("created_by") ?? owner, updatedAt: try row.date("updated_at"),
      updatedBy: try row.get("updated_by") ?? owner)
  }

  private static func locationEntry(_ row: PostgresRow) throws -> LocationEntry {
    let owner = try row.string("owner")
    return LocationEntry(
      id: try row.get("id"), name: try row.string("name"), url: try row.string("url"), credential: try row.get("credential_name"),
      credentialID: try row.get("credential_id"), isReadOnly: try row.bool("is_read_only"), isSeed: try row.bool("is_seed"),
      comment: try row.string("comment"), owner: owner, createdAt: try row.date("created_at"), createdBy: try row.get("created_by") ?? owner,
      updatedAt: try row.date("updated_at"), updatedBy: try row.get("updated_by") ?? owner)
  }
}
