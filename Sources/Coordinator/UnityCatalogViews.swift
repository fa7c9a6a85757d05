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

enum CatalogURL {
  /// `file:///path`, with what a URL cannot hold escaped; a place elsewhere stays as it is.
  static func file(_ path: String) -> String {
    path.hasPrefix("/") ? "file://" + (path.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? path) : path
  }
}

private func aliasList(_ aliases: [String: Int], version: Int? = nil) -> [ModelAliasInfo] {
  aliases.filter { version == nil || $0.value == version }.sorted { $0.key < $1.key }.map { ModelAliasInfo(aliasName: $0.key, versionNum: $0.value) }
}

extension CatalogObject where Own == CatalogFacts {
  init(_ entry: CatalogEntry) {
    self.init(
      ObjectFacts(
        name: entry.name, comment: entry.comment, owner: entry.owner, properties: entry.properties, createdAt: entry.createdAt.catalogMilliseconds,
        createdBy: entry.createdBy, updatedAt: entry.updatedAt.catalogMilliseconds, updatedBy: entry.updatedBy),
      CatalogFacts(id: entry.id.catalogText))
  }
}

extension CatalogObject where Own == SchemaFacts {
  init(_ entry: SchemaEntry) {
    self.init(
      ObjectFacts(
        name: entry.name, catalog: entry.catalog, comment: entry.comment, owner: entry.owner, properties: entry.properties,
        createdAt: entry.createdAt.catalogMilliseconds, createdBy: entry.createdBy, updatedAt: entry.updatedAt.catalogMilliseconds,
        updatedBy: entry.updatedBy), SchemaFacts(id: entry.id.catalogText))
  }
}

extension CatalogObject where Own == TableFacts {
  /// With the columns that the catalog keeps.
  init(_ entry: TableEntry) {
    let columns = entry.columns.enumerated().map { index, column in
      ColumnInfo(
        name: column.name, type: CatalogTypeText.delta(sql: column.type), position: index, nullable: column.isNullable ?? true,
        metadata: column.comment.map { ["comment": .string($0)] } ?? [:])
    }
    var own = TableFacts(
      id: entry.id.catalogText, tableType: entry.kind.rawValue.uppercased(), columns: columns,
      storageLocation: entry.kind == .view ? nil : CatalogURL.file(entry.location))
    if let view = entry.view {
      own.viewDefinition = view.query
      own.dataSourceFormat = nil
    }
    self.init(
      ObjectFacts(
        name: entry.name.name, catalog: entry.name.catalog, schema: entry.name.schema, comment: entry.comment, owner: entry.owner,
        properties: entry.properties, createdAt: entry.createdAt.catalogMilliseconds, createdBy: entry.createdBy,
        updatedAt: entry.updatedAt.catalogMilliseconds, updatedBy: entry.updatedBy), own)
  }
}

extension CatalogObject where Own == VolumeFacts {
  init(_ entry: VolumeEntry) {
    self.init(
      ObjectFacts(
        name: entry.name.name, catalog: entry.name.catalog, schema: entry.name.schema, comment: entry.comment, owner: entry.owner,
        createdAt: entry.createdAt.catalogMilliseconds, createdBy: entry.createdBy, updatedAt: entry.updatedAt.catalogMilliseconds,
        updatedBy: entry.updatedBy),
      VolumeFacts(id: entry.id.catalogText, volumeType: entry.kind.rawValue.uppercased(), storageLocation: CatalogURL.file(entry.location)))
  }
}

extension CatalogObject where Own == RegisteredModelFacts {
  init(_ entry: ModelEntry, aliases: [String: Int]?) {
    self.init(
      ObjectFacts(
        name: entry.name.name, catalog: entry.name.catalog, schema: entry.name.schema, comment: entry.comment, owner: entry.owner,
        createdAt: entry.createdAt.catalogMilliseconds, createdBy: entry.createdBy, updatedAt: entry.updatedAt.catalogMilliseconds,
        updatedBy: entry.updatedBy),
      RegisteredModelFacts(id: entry.id.catalogText, aliases: aliases.map { aliasList($0) }, newestVersion: entry.newestVersion))
  }
}

extension ModelVersionInfo {
  init(_ entry: ModelVersionEntry, aliases: [String: Int]) {
    self.init(
      id: entry.id.catalogText, catalog: entry.model.catalog, schema: entry.model.schema, model: entry.model.name, version: entry.version,
      status: entry.status.rawValue, storageLocation: CatalogURL.file(entry.location), source: entry.source ?? CatalogURL.file(entry.location),
      runID: entry.runID, comment: entry.comment, aliases: aliasList(aliases, version: entry.version), createdAt: entry.createdAt.catalogMilliseconds,
      createdBy: entry.createdBy, updatedAt: entry.updatedAt.catalogMilliseconds, updatedBy: entry.updatedBy)
  }
}

extension CatalogObject where Own == ConnectionFacts {
  init(_ entry: ConnectionEntry) {
    self.init(
      ObjectFacts(
        name: entry.name, comment: entry.comment, owner: entry.owner, properties: entry.properties, createdAt: entry.createdAt.catalogMilliseconds,
        createdBy: entry.createdBy, updatedAt: entry.updatedAt.catalogMilliseconds, updatedBy: entry.updatedBy),
      ConnectionFacts(id: entry.id.catalogText, connectionType: entry.kind, options: entry.options, readOnly: entry.isReadOnly))
  }
}

extension CatalogObject where Own == StorageCredentialFacts {
  init(_ entry: CredentialEntry) {
    var own = StorageCredentialFacts(id: entry.id.catalogText, purpose: entry.purpose, readOnly: entry.isReadOnly)
    // What was stored is of the kind that it says; an entry of another version of the platform shows its name only.
    switch entry.kind {
    case "aws_iam_role": own.awsIAMRole = try? entry.facts.decode()
    case "cloudflare_api_token": own.cloudflareAPIToken = try? entry.facts.decode()
    default: own.s3AccessKey = try? entry.facts.decode()
    }
    self.init(
      ObjectFacts(
        name: entry.name, comment: entry.comment, owner: entry.owner, createdAt: entry.createdAt.catalogMilliseconds, createdBy: entry.createdBy,
        updatedAt: entry.updatedAt.catalogMilliseconds, updatedBy: entry.updatedBy), own)
  }
}

extension CatalogObject where Own == ExternalLocationFacts {
  init(_ entry: LocationEntry) {
    self.init(
      ObjectFacts(
        name: entry.name, comment: entry.comment, owner: entry.owner, createdAt: entry.createdAt.catalogMilliseconds, createdBy: entry.createdBy,
        updatedAt: entry.updatedAt.catalogMilliseconds, updatedBy: entry.updatedBy),
      ExternalLocationFacts(
        id: entry.id.catalogText, url: entry.url, credentialName: entry.credential, credentialID: entry.credentialID?.catalogText,
        readOnly: entry.isReadOnly))
  }
}
