// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres

/// What answers requests: vector indexes and model endpoints.
extension CatalogStore {
  /// Makes the index, or points it to what was built last.
  /// - Throws: `invalidArgument` PLT-3001 for a name that cannot be used, `notFound` PLT-3002 when there is no such schema.
  public func setIndex(_ entry: VectorIndexEntry, by actor: String) async throws {
    try Self.requirePlain(entry.name.name)
    try await pool.transaction { transaction in
      try Self.requireSchema(transaction, entry.name)
      try transaction.execute(
        """
        INSERT INTO vector_indexes (catalog, schema, name, source_table, source_version, location, facts)
        VALUES ($1, $2, $3, $4, $5::bigint, $6, $7::jsonb)
        ON CONFLICT (catalog, schema, name) DO UPDATE SET source_table = excluded.source_table,
          source_version = excluded.source_version, location = excluded.location, facts = excluded.facts, updated_at = now()
        """,
        Self.key(entry.name)
          + [.text(entry.sourceTable), .int(Int(entry.sourceVersion)), .text(entry.location), .encoding(entry.facts)])
      try Self.audit(transaction, actor, "sync index", "\(entry.name)")
    }
  }

  /// - Throws: `notFound` PLT-3002.
  public func index(_ name: ThreePartName) async throws -> VectorIndexEntry {
    let rows = try await pool.query("SELECT * FROM vector_indexes WHERE catalog = $1 AND schema = $2 AND name = $3", Self.key(name))
    guard let row = rows.first else { throw Self.missing("index", "\(name)") }
    return try Self.indexEntry(row)
  }

  /// Indexes by catalog, schema and name.
  public func indexes(
    catalog: String? = nil, schema: String? = nil, limit: Int, pageToken: String? = nil
  ) async throws -> CatalogPage<VectorIndexEntry> {
    try await page(.objects("vector_indexes", catalog, schema), limit, pageToken, Self.indexEntry)
  }

  private static func indexEntry(_ row: PostgresRow) throws -> VectorIndexEntry {
    VectorIndexEntry(
      name: try name(row), sourceTable: try row.string("source_table"), sourceVersion: Int64(try row.int("source_version")),
      location: try row.string("location"), facts: try row.json("facts"))
  }

  /// Makes the endpoint, or changes what it serves and how often.
  /// - Parameter adapters: all that it has from now on, besides those that requests have brought under other names; nil leaves them.
  /// - Throws: `alreadyExists` PLT-4507 when a name is that of another endpoint or of an adapter of one.
  public func setEndpoint(
    name: String, kind: String, model: String, replicas: Int, adapters: [EndpointAdapter]? = nil, by actor: String
  ) async throws {
    try await pool.transaction { transaction in
      // Names of endpoints and adapters are those of models: one after the other, so that none is given twice.
      try transaction.execute("LOCK TABLE endpoint_adapters IN SHARE ROW EXCLUSIVE MODE")
      try Self.requireFreeNames(transaction, endpoint: name, adapters: adapters ?? [])
      try transaction.execute(
        """
        INSERT INTO endpoints (name, kind, model, replicas) VALUES ($1, $2, $3, $4)
        ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, model = excluded.model, replicas = excluded.replicas, updated_at = now()
        """, [.text(name), .text(kind), .text(model), .int(replicas)])
      if let adapters {
        try transaction.execute("DELETE FROM endpoint_adapters WHERE endpoint = $1 AND NOT is_loaded", [.text(name)])
        for adapter in adapters {
          try transaction.execute("DELETE FROM endpoint_adapters WHERE name = $1", [.text(adapter.name)])
          try transaction.execute(
            "INSERT INTO endpoint_adapters (name, endpoint, model, location) VALUES ($1, $2, $3, $4)",
            [.text(adapter.name), .text(name), .text(adapter.model), .text(adapter.location)])
        }
      }
      try Self.audit(transaction, actor, "set endpoint", name)
    }
  }

  /// Adds an adapter to an endpoint that still serves the model that it was checked with.
  /// - Throws: `notFound` PLT-3002, `conflict` when the model is another one now, `alreadyExists` PLT-4507.
  public func addAdapter(_ adapter: EndpointAdapter, to endpoint: EndpointEntry, replaces: Bool, by actor: String) async throws {
    try await pool.transaction { transaction in
      try transaction.execute("LOCK TABLE endpoint_adapters IN SHARE ROW EXCLUSIVE MODE")
      let rows = try transaction.query("SELECT model FROM endpoints WHERE name = $1 FOR UPDATE", [.text(endpoint.name)])
      guard let row = rows.first else { throw Self.missing("endpoint", endpoint.name) }
      guard try row.string("model") == endpoint.model else {
        throw PlatformError(.conflict, "'\(endpoint.name)' serves another model since the adapter was checked", hint: "Try again.")
      }
      try Self.requireFreeNames(transaction, endpoint: endpoint.name, adapters: [adapter])
      if replaces { try transaction.execute("DELETE FROM endpoint_adapters WHERE name = $1", [.text(adapter.name)]) }
      guard try transaction.query("SELECT 1 FROM endpoint_adapters WHERE name = $1", [.text(adapter.name)]).isEmpty else {
        throw PlatformError(
          .alreadyExists, "the LoRA adapter '\(adapter.name)' has already been loaded", hint: "With load_inplace it takes the other one's place.",
          number: "PLT-4507")
      }
      try transaction.execute(
        "INSERT INTO endpoint_adapters (name, endpoint, model, location, is_loaded) VALUES ($1, $2, $3, $4, true)",
        [.text(adapter.name), .text(endpoint.name), .text(adapter.model), .text(adapter.location)])
      try Self.audit(transaction, actor, "load adapter", "\(endpoint.name): \(adapter.name) (\(adapter.model))")
    }
  }

  /// - Throws: `notFound` PLT-3002.
  public func removeAdapter(_ name: String, by actor: String) async throws {
    try await pool.transaction { transaction in
      guard try transaction.execute("DELETE FROM endpoint_adapters WHERE name = $1", [.text(name)]) == 1 else { throw Self.missing("LoRA adapter", name) }
      try Self.audit(transaction, actor, "unload adapter", name)
    }
  }

  /// Whether an endpoint of this name can have adapters of these names.
  /// - Throws: `alreadyExists` PLT-4507.
  public func requireFreeNames(endpoint: String, adapters: [String]) async throws {
    try await pool.transaction { transaction in
      try Self.requireFreeNames(transaction, endpoint: endpoint, adapters: adapters.map { EndpointAdapter(name: $0, model: "", location: "") })
    }
  }

  private static func requireFreeNames(_ transaction: PostgresTransaction, endpoint: String, adapters: [EndpointAdapter]) throws {
    func taken(_ name: String, _ what: String) -> PlatformError {
      PlatformError(
        .alreadyExists, "'\(name)' is the name of \(what) already", hint: "Requests name endpoints and adapters alike, so choose another name.",
        number: "PLT-4507")
    }
    if let row = try transaction.query("SELECT endpoint FROM endpoint_adapters WHERE name = $1", [.text(endpoint)]).first {
      throw taken(endpoint, "an adapter of endpoint '\(try row.string("endpoint"))'")
    }
    for adapter in adapters {
      if adapter.name == endpoint { throw taken(endpoint, "the endpoint") }
      if try !transaction.query("SELECT 1 FROM endpoints WHERE name = $1", [.text(adapter.name)]).isEmpty { throw taken(adapter.name, "an endpoint") }
      let rows = try transaction.query(
        "SELECT endpoint FROM endpoint_adapters WHERE name = $1 AND endpoint <> $2", [.text(adapter.name), .text(endpoint)])
      if let row = rows.first { throw taken(adapter.name, "an adapter of endpoint '\(try row.string("endpoint"))'") }
    }
  }

  /// - Throws: `notFound` PLT-3002.
  public func removeEndpoint(_ name: String, by actor: String) async throws {
    try await pool.transaction { transaction in
      guard try transaction.execute("DELETE FROM endpoints WHERE name = $1", [.text(name)]) == 1 else { throw Self.missing("endpoint", name) }
      try Self.audit(transaction, actor, "remove endpoint", name)
    }
  }

  public func endpoints() async throws -> [EndpointEntry] {
    try await withAdapters(pool.query("SELECT * FROM endpoints ORDER BY name").map(Self.endpointEntry))
  }

  private func withAdapters(_ entries: [EndpointEntry]) async throws -> [EndpointEntry] {
    var adapters: [String: [EndpointAdapter]] = [:]
    for row in try await pool.query("SELECT * FROM endpoint_adapters ORDER BY name") {
      adapters[try row.string("endpoint"), default: []].append(
        EndpointAdapter(name: try row.string("name"), model: try row.string("model"), location: try row.string("location"), isLoaded: try row.bool("is_loaded"))
      )
    }
    return entries.map { entry in
      var entry = entry
      entry.adapters = adapters[entry.name] ?? []
      return entry
    }
  }

  /// Endpoints by name.
  public func endpoints(limit: Int, pageToken: String? = nil) async throws -> CatalogPage<EndpointEntry> {
    var page = try await page(Listing("endpoints", key: [("name", "text")]), limit, pageToken, Self.endpointEntry)
    page.entries = try await withAdapters(page.entries)
    return page
  }

  private static func endpointEntry(_ row: PostgresRow) throws -> EndpointEntry {
    EndpointEntry(
      name: try row.string("name"), kind: try row.string("kind"), model: try row.string("model"), replicas: try row.int("replicas"),
      createdAt: try row.date("created_at"))
  }
}
