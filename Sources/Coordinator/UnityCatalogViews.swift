// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import Foundation

extension Date {
  /// Milliseconds since 1970.
  var catalogMilliseconds: Int64 { Int64((timeIntervalSince1970 * 1000).rounded(.down)) }
}

extension CatalogPage {
  func list<Info: Codable & Sendable>(_ key: String, _ info: (Entry) -> Info) -> CatalogList<Info> {
    CatalogList(key, entries.map(info), nextPageToken: nextPageToken)
  }
}

extension UUID {
  fileprivate var catalogText: String { uuidString.lowercased() }
}

/// `file:///path`, with what a URL cannot hold escaped.
private func url(_ path: String) -> String {
  "file://" + (path.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? path)
}

private func aliasList(_ aliases: [String: Int], version: Int? = nil) -> [ModelAliasInfo] {
  aliases.filter { version == nil || $0.value == version }.sorted { $0.key < $1.key }.map { ModelAliasInfo(aliasName: $0.key, versionNum: $0.value) }
}

extension CatalogInfo {
  init(_ entry: CatalogEntry) {
    self.init(
      id: entry.id.catalogText, name: entry.name, comment: entry.comment, owner: entry.owner, properties: entry.properties,
      createdAt: entry.createdAt.catalogMilliseconds, updatedAt: entry.updatedAt.catalogMilliseconds)
  }
}

extension SchemaInfo {
  init(_ entry: SchemaEntry) {
    self.init(
      id: entry.id.catalogText, catalog: entry.catalog, name: entry.name, comment: entry.comment, owner: entry.owner,
      properties: entry.properties, createdAt: entry.createdAt.catalogMilliseconds, updatedAt: entry.updatedAt.catalogMilliseconds)
  }
}

extension TableInfo {
  /// With the columns that the catalog keeps.
  init(_ entry: TableEntry) {
    self.init(
      id: entry.id.catalogText, catalog: entry.name.catalog, schema: entry.name.schema, name: entry.name.name,
      tableType: entry.kind.rawValue.uppercased(),
      columns: entry.columns.enumerated().map { ColumnInfo(name: $1.name, type: CatalogTypeText.delta(sql: $1.type), position: $0) },
      storageLocation: url(entry.location), comment: entry.comment, owner: entry.owner, properties: entry.properties,
      createdAt: entry.createdAt.catalogMilliseconds, updatedAt: entry.updatedAt.catalogMilliseconds)
  }
}

extension VolumeInfo {
  init(_ entry: VolumeEntry) {
    self.init(
      id: entry.id.catalogText, catalog: entry.name.catalog, schema: entry.name.schema, name: entry.name.name,
      volumeType: entry.kind.rawValue.uppercased(), storageLocation: url(entry.location), comment: entry.comment, owner: entry.owner,
      createdAt: entry.createdAt.catalogMilliseconds, updatedAt: entry.updatedAt.catalogMilliseconds)
  }
}

extension RegisteredModelInfo {
  init(_ entry: ModelEntry, aliases: [String: Int]?) {
    self.init(
      id: entry.id.catalogText, catalog: entry.name.catalog, schema: entry.name.schema, name: entry.name.name, comment: entry.comment,
      owner: entry.owner, aliases: aliases.map { aliasList($0) }, newestVersion: entry.newestVersion,
      createdAt: entry.createdAt.catalogMilliseconds, updatedAt: entry.updatedAt.catalogMilliseconds)
  }
}

extension ModelVersionInfo {
  init(_ entry: ModelVersionEntry, aliases: [String: Int]) {
    self.init(
      catalog: entry.model.catalog, schema: entry.model.schema, model: entry.model.name, version: entry.version,
      storageLocation: url(entry.location), runID: entry.runID, aliases: aliasList(aliases, version: entry.version),
      createdAt: entry.createdAt.catalogMilliseconds)
  }
}
