// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation
import Postgres

/// How another system is reached. Options whose name says that they are secret are sealed and never shown.
public struct ConnectionEntry: Sendable, Equatable {
  public var id: UUID
  public var name: String
  /// As in `POSTGRESQL`.
  public var kind: String
  /// Without the secret ones.
  public var options: [String: String]
  public var properties: [String: String]
  public var isReadOnly: Bool
  public var comment: String
  public var owner: String
  public var createdAt: Date
  public var createdBy: String
  public var updatedAt: Date
  public var updatedBy: String
}

extension CatalogStore {
  /// Whether an option's value is kept from sight.
  public static func isSecretOption(_ name: String) -> Bool {
    let folded = name.lowercased().filter { $0.isLetter }
    return ["password", "secret", "token", "privatekey", "accesskey", "apikey", "passphrase", "serviceaccountkey", "credentials"].contains {
      folded.contains($0)
    }
  }

  private static func split(_ options: [String: String]) throws -> (shown: JSONValue, secret: Data?) {
    let secret = options.filter { isSecretOption($0.key) }
    return (
      try JSONValue(encoding: options.filter { !isSecretOption($0.key) }), secret.isEmpty ? nil : try JSONEncoder.platform.encode(secret)
    )
  }

  /// - Throws: `invalidArgument` PLT-3001, `alreadyExists` PLT-3003.
  public func createConnection(
    _ name: String, kind: String, options: [String: String], properties: [String: String], isReadOnly: Bool, comment: String,
    sealedWith key: SealingKey, by actor: String
  ) async throws -> ConnectionEntry {
    try Self.requirePlain(name)
    let id = UUID()
    let (shown, secret) = try Self.split(options)
    let sealed = try secret.map { try key.seal($0, for: "connection \(id.uuidString)") }
    let facts = try JSONValue(encoding: properties)
    try await pool.transaction { transaction in
      let made = try transaction.execute(
        """
        INSERT INTO connections (id, name, kind, options, secret, properties, is_read_only, comment, owner, created_by, updated_by)
        VALUES ($1::uuid, $2, $3, $4::jsonb, $5, $6::jsonb, $7, $8, $9, $9, $9) ON CONFLICT DO NOTHING
        """,
        [
          .text(id.uuidString), .text(name), .text(kind), .encoding(shown), sealed.map(PostgresValue.bytes) ?? .null, .encoding(facts),
          .bool(isReadOnly), .text(comment), .text(actor),
        ])
      if made == 0 { throw PlatformError(.alreadyExists, "connection '\(name)' exists already", number: "PLT-3003") }
      try Self.audit(transaction, actor, "create connection", name)
    }
    return try await connection(name)
  }

  /// - Throws: `notFound` PLT-3002.
  public func connection(_ name: String) async throws -> ConnectionEntry {
    guard let row = try await pool.query("SELECT * FROM connections WHERE lower(name) = lower($1)", [.text(name)]).first else {
      throw Self.missing("connection", name)
    }
    return try Self.connectionEntry(row)
  }

  /// Connections by name.
  public func connections(limit: Int, pageToken: String? = nil) async throws -> CatalogPage<ConnectionEntry> {
    try await page(Listing("connections", key: [("name", "text")]), limit, pageToken, Self.connectionEntry)
  }

  /// All options, the secret ones too. Nothing but code that connects may see them.
  public func connectionOptions(_ name: String, sealedWith key: SealingKey) async throws -> [String: String] {
    let rows = try await pool.query("SELECT id, options, secret FROM connections WHERE lower(name) = lower($1)", [.text(name)])
    guard let row = rows.first else { throw Self.missing("connection", name) }
    let id: UUID = try row.get("id")
    var options: [String: String] = try row.json("options").decode()
    if let sealed: Data = try row.get("secret") {
      let secret = try JSONDecoder.platform.decode([String: String].self, from: key.unseal(sealed, for: "connection \(id.uuidString)"))
      options.merge(secret) { $1 }
    }
    return options
  }

  /// - Parameter options: takes the place of all that are there.
  /// - Throws: `notFound` PLT-3002, `alreadyExists` PLT-3003.
  public func changeConnection(
    _ name: String, _ change: SecuredChange, options: [String: String]?, properties: [String: String]? = nil, sealedWith key: SealingKey,
    by actor: String
  ) async throws -> ConnectionEntry {
    let entry = try await connection(name)
    if let options {
      let (shown, secret) = try Self.split(options)
      let sealed = try secret.map { try key.seal($0, for: "connection \(entry.id.uuidString)") }
      try await pool.execute(
        "UPDATE connections SET options = $2::jsonb, secret = $3 WHERE id = $1::uuid",
        [.text(entry.id.uuidString), .encoding(shown), sealed.map(PostgresValue.bytes) ?? .null])
    }
    if let properties {
      try await pool.execute(
        "UPDATE connections SET properties = $2::jsonb WHERE id = $1::uuid",
        [.text(entry.id.uuidString), .encoding(JSONValue(encoding: properties))])
    }
    return try await connection(changeSecured("connections", "connection", entry.id, entry.name, change, by: actor))
  }

  /// - Throws: `notFound` PLT-3002.
  public func dropConnection(_ name: String, by actor: String) async throws {
    let entry = try await connection(name)
    try await pool.transaction { transaction in
      try transaction.execute("DELETE FROM tags WHERE object = $1::uuid", [.text(entry.id.uuidString)])
      guard try transaction.execute("DELETE FROM connections WHERE id = $1::uuid", [.text(entry.id.uuidString)]) == 1 else {
        throw Self.missing("connection", name)
      }
      try Self.audit(transaction, actor, "drop connection", entry.name)
    }
  }

  private static func connectionEntry(_ row: PostgresRow) throws -> ConnectionEntry {
    let owner = try row.string("owner")
    return ConnectionEntry(
      id: try row.get("id"), name: try row.string("name"), kind: try row.string("kind"), options: try row.decoded("options"),
      properties: try row.decoded("properties"), isReadOnly: try row.bool("is_read_only"), comment: try row.string("comment"), owner: owner,
      createdAt: try row.date("created_at"), createdBy: try row.get("created_by") ?? owner, updatedAt: try row.date("updated_at"),
      updatedBy: try row.get("updated_by") ?? owner)
  }
}
