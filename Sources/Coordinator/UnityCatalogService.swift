// SPDX-License-Identifier: Apache-2.0

import API
import Catalog
import Client
import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import Query

/// The catalog for Unity Catalog's clients. Names are found in any case of letters; new ones are made in small letters.
extension CoordinatorService {
  private var lake: String { configuration.layout.lake }

  /// Folders that this machine's configuration makes external locations: `PLATFORM_EXTERNAL_LOCATIONS`, separated by colons. None by default.
  static var seededFolders: [String] {
    (ProcessInfo.processInfo.environment["PLATFORM_EXTERNAL_LOCATIONS"] ?? "").split(separator: ":").map(String.init).filter { $0.hasPrefix("/") }
  }

  func metastore() async throws -> MetastoreInfo {
    let system = try await catalog.catalog("system")
    return MetastoreInfo(
      id: system.id.uuidString.lowercased(), name: "platform", owner: system.owner, createdAt: system.createdAt.catalogMilliseconds)
  }

  // MARK: catalogs

  func catalogs(_ page: PageRequest) async throws -> CatalogList<CatalogInfo> {
    try await catalog.catalogs(limit: page.limit, pageToken: page.token).list("catalogs", CatalogInfo.init)
  }

  func catalog(_ name: String) async throws -> CatalogInfo {
    CatalogInfo(try await catalog.catalog(catalog.storedCatalog(name)))
  }

  func createCatalog(_ request: CatalogCreateRequest, by principal: Principal) async throws -> CatalogInfo {
    try request.requireNoStorage()
    try await refuseTaken("catalog", request.name) { _ = try await catalog.storedCatalog(request.name) }
    let name = request.name.lowercased()
    try await catalog.createCatalog(name, comment: request.comment ?? "", properties: request.properties ?? [:], by: principal.name)
    return try await self.catalog(name)
  }

  func changeCatalog(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws -> CatalogInfo {
    let name = try await catalog.storedCatalog(name)
    try await catalog.changeCatalog(name, request.change, by: principal.name)
    return try await self.catalog(name)
  }

  func deleteCatalog(_ name: String, force: Bool, by principal: Principal) async throws {
    try await catalog.dropCatalog(catalog.storedCatalog(name), force: force, by: principal.name)
  }

  // MARK: schemas

  func schemas(catalog name: String, _ page: PageRequest) async throws -> CatalogList<SchemaInfo> {
    try await catalog.schemas(catalog: catalog.storedCatalog(name), limit: page.limit, pageToken: page.token).list("schemas", SchemaInfo.init)
  }

  func schema(_ name: String) async throws -> SchemaInfo {
    let found = try await storedSchema(name)
    return SchemaInfo(try await catalog.schema(catalog: found.catalog, name: found.name))
  }

  func createSchema(_ request: CatalogCreateRequest, by principal: Principal) async throws -> SchemaInfo {
    try request.requireNoStorage()
    guard let given = request.catalogName else { throw CatalogCreateRequest.missing("catalog_name") }
    let parent = try await catalog.storedCatalog(given)
    try await refuseTaken("schema", "\(parent).\(request.name)") { _ = try await catalog.storedSchema(parent, request.name) }
    let name = request.name.lowercased()
    let made = try await catalog.createSchema(
      catalog: parent, name: name, comment: request.comment ?? "", properties: request.properties ?? [:], by: principal.name)
    if !made { throw Self.taken("schema", "\(parent).\(name)") }
    return SchemaInfo(try await catalog.schema(catalog: parent, name: name))
  }

  func changeSchema(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws -> SchemaInfo {
    let found = try await storedSchema(name)
    try await catalog.changeSchema(catalog: found.catalog, name: found.name, request.change, by: principal.name)
    return try await schema(name)
  }

  func deleteSchema(_ name: String, force: Bool, by principal: Principal) async throws {
    let found = try await storedSchema(name)
    try await catalog.dropSchema(catalog: found.catalog, name: found.name, force: force, by: principal.name)
  }

  // MARK: tables

  func tables(catalog parent: String, schema: String, _ page: PageRequest) async throws -> CatalogList<TableInfo> {
    let found = try await catalog.storedSchema(parent, schema)
    return try await catalog.tables(catalog: found.catalog, schema: found.name, limit: page.limit, pageToken: page.token)
      .list("tables") { TableInfo($0) }
  }

  /// Columns come from the table's own log, which knows nullability and partitions; from the catalog when the log cannot be read.
  func table(_ name: String) async throws -> TableInfo {
    let entry = try await catalog.table(catalog.stored(.table, Self.threePart(name)))
    let facts = try await BlockingPool.shared.run { () -> DeltaFacts? in
      do { return try DeltaFacts(reading: entry.location) } catch is PlatformError { return nil }
    }
    var info = TableInfo(entry)
    if let facts {
      info.columns = facts.columns
      info.properties = facts.properties.merging(entry.properties) { $1 }
    }
    return info
  }

  func tableExists(_ name: String) async throws -> Bool { try await catalog.findStored(.table, Self.threePart(name)) != nil }

  func createTable(_ request: CatalogCreateRequest, by principal: Principal) async throws -> TableInfo {
    let name = try await newName(.table, request)
    guard (request.tableType ?? "EXTERNAL").uppercased() == "EXTERNAL" else {
      throw PlatformError(
        .invalidArgument, "only external tables are made here, not '\(request.tableType ?? "")'",
        hint: "Make managed tables with the SQL statement CREATE TABLE.", number: "PLT-1702")
    }
    guard (request.dataSourceFormat ?? "DELTA").uppercased() == "DELTA" else {
      throw PlatformError(.invalidArgument, "data_source_format '\(request.dataSourceFormat ?? "")' is not supported; DELTA is", number: "PLT-1702")
    }
    guard let given = request.storageLocation else { throw CatalogCreateRequest.missing("storage_location") }
    let location = try Self.path(given)
    let (roots, lake) = (try await catalog.externalFolders(), configuration.layout.root)
    let columns = try await BlockingPool.shared.run {
      let folder = try CatalogStore.externalFolder(location, of: "table '\(name)'", allowedIn: roots, apartFrom: lake)
      return try DeltaFacts(reading: folder).entries
    }
    let entry = try await catalog.registerTable(
      name, at: location, allowedIn: roots, apartFrom: lake, columns: columns, comment: request.comment ?? "",
      properties: request.properties ?? [:], by: principal.name)
    return try await table("\(entry.name)")
  }

  func changeTable(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws {
    try await catalog.change(.table, catalog.stored(.table, Self.threePart(name)), request.change, by: principal.name)
  }

  func deleteTable(_ name: String, by principal: Principal) async throws {
    try await catalog.dropTable(catalog.stored(.table, Self.threePart(name)), by: principal.name)
  }

  // MARK: volumes

  func volumes(catalog parent: String, schema: String, _ page: PageRequest) async throws -> CatalogList<VolumeInfo> {
    let found = try await catalog.storedSchema(parent, schema)
    return try await catalog.volumes(catalog: found.catalog, schema: found.name, limit: page.limit, pageToken: page.token)
      .list("volumes", VolumeInfo.init)
  }

  func volume(_ name: String) async throws -> VolumeInfo {
    VolumeInfo(try await catalog.volume(catalog.stored(.volume, Self.threePart(name))))
  }

  func createVolume(_ request: CatalogCreateRequest, by principal: Principal) async throws -> VolumeInfo {
    let name = try await newName(.volume, request)
    let comment = request.comment ?? ""
    switch (request.volumeType ?? "MANAGED").uppercased() {
    case "MANAGED":
      guard request.storageLocation == nil else {
        throw PlatformError(.invalidArgument, "a managed volume takes no storage_location", hint: "Use volume_type EXTERNAL.")
      }
      return VolumeInfo(try await catalog.createVolume(name, creatingIn: lake, comment: comment, by: principal.name))
    case "EXTERNAL":
      guard let given = request.storageLocation else { throw CatalogCreateRequest.missing("storage_location") }
      return VolumeInfo(
        try await catalog.createVolume(
          name, at: Self.path(given), allowedIn: catalog.externalFolders(), apartFrom: configuration.layout.root, comment: comment, by: principal.name))
    default: throw PlatformError(.invalidArgument, "volume_type must be MANAGED or EXTERNAL")
    }
  }

  func changeVolume(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws -> VolumeInfo {
    let name = try await catalog.stored(.volume, Self.threePart(name))
    try await catalog.change(.volume, name, request.change, by: principal.name)
    return VolumeInfo(try await catalog.volume(name))
  }

  func deleteVolume(_ name: String, by principal: Principal) async throws {
    try await catalog.dropVolume(catalog.stored(.volume, Self.threePart(name)), by: principal.name)
  }

  func volumePath(_ path: String) async throws -> String { try await catalog.volumePath(path) }

  // MARK: models

  func models(catalog parent: String?, schema: String?, _ page: PageRequest) async throws -> CatalogList<RegisteredModelInfo> {
    var filter: (catalog: String?, schema: String?) = (nil, nil)
    if let parent, let schema {
      let found = try await catalog.storedSchema(parent, schema)
      filter = (found.catalog, found.name)
    }
    return try await catalog.models(catalog: filter.catalog, schema: filter.schema, limit: page.limit, pageToken: page.token)
      .list("registered_models") { RegisteredModelInfo($0, aliases: nil) }
  }

  func model(_ name: String) async throws -> RegisteredModelInfo {
    let name = try await catalog.stored(.model, Self.threePart(name))
    return RegisteredModelInfo(try await catalog.model(name), aliases: try await catalog.aliases(name))
  }

  func createModel(_ request: CatalogCreateRequest, by principal: Principal) async throws -> RegisteredModelInfo {
    try request.requireNoStorage()
    let name = try await newName(.model, request)
    return RegisteredModelInfo(try await catalog.createModel(name, comment: request.comment ?? "", by: principal.name), aliases: [:])
  }

  func changeModel(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws -> RegisteredModelInfo {
    try await catalog.change(.model, catalog.stored(.model, Self.threePart(name)), request.change, by: principal.name)
    return try await model(name)
  }

  func deleteModel(_ name: String, by principal: Principal) async throws {
    try await catalog.dropModel(catalog.stored(.model, Self.threePart(name)), removingFilesIn: lake, by: principal.name)
  }

  func modelVersions(_ name: String, _ page: PageRequest) async throws -> CatalogList<ModelVersionInfo> {
    let name = try await catalog.stored(.model, Self.threePart(name))
    let aliases = try await catalog.aliases(name)
    return try await catalog.modelVersions(name, limit: page.limit, pageToken: page.token)
      .list("model_versions") { ModelVersionInfo($0, aliases: aliases) }
  }

  func modelVersion(_ name: String, version: Int) async throws -> ModelVersionInfo {
    let name = try await catalog.stored(.model, Self.threePart(name))
    guard Int32(exactly: version) != nil else {
      throw PlatformError(.notFound, "model '\(name)/\(version)' does not exist", number: "PLT-3002")
    }
    return ModelVersionInfo(try await catalog.modelVersion(name, version: version), aliases: try await catalog.aliases(name))
  }

  func modelVersion(_ name: String, alias: String) async throws -> ModelVersionInfo {
    let name = try await catalog.stored(.model, Self.threePart(name))
    guard let version = try await catalog.aliases(name)[alias] else {
      throw PlatformError(.notFound, "model alias '\(name)@\(alias)' does not exist", number: "PLT-3002")
    }
    return try await modelVersion("\(name)", version: version)
  }

  func setAlias(_ name: String, alias: String, version: Int, by principal: Principal) async throws -> ModelAliasInfo {
    try await catalog.setAlias(catalog.stored(.model, Self.threePart(name)), alias: alias, version: version, by: principal.name)
    return ModelAliasInfo(aliasName: alias, versionNum: version)
  }

  func removeAlias(_ name: String, alias: String, by principal: Principal) async throws {
    try await catalog.removeAlias(catalog.stored(.model, Self.threePart(name)), alias: alias, by: principal.name)
  }

  // MARK: names

  private static func threePart(_ name: String) throws -> ThreePartName { try ThreePartName(name) }

  private func storedSchema(_ name: String) async throws -> (catalog: String, name: String) {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 2, parts.allSatisfy({ !$0.isEmpty }) else {
      throw PlatformError(.invalidArgument, "'\(name.prefix(300))' is not a name of the form catalog.schema", number: "PLT-3001")
    }
    return try await catalog.storedSchema(parts[0], parts[1])
  }

  /// The name of an object to be made: its schema as stored, itself in small letters and not taken in another case.
  private func newName(_ kind: CatalogStore.ObjectKind, _ request: CatalogCreateRequest) async throws -> ThreePartName {
    guard let parent = request.catalogName else { throw CatalogCreateRequest.missing("catalog_name") }
    guard let schema = request.schemaName else { throw CatalogCreateRequest.missing("schema_name") }
    let found = try await catalog.storedSchema(parent, schema)
    let name = ThreePartName(catalog: found.catalog, schema: found.name, name: request.name.lowercased())
    if let taken = try await catalog.findStored(kind, name) { throw Self.taken(kind.rawValue, "\(taken)") }
    return name
  }

  private static func taken(_ kind: String, _ name: String) -> PlatformError {
    PlatformError(.alreadyExists, "\(kind) '\(name)' exists already", number: "PLT-3003")
  }

  private func refuseTaken(_ kind: String, _ name: String, _ look: () async throws -> Void) async throws {
    do { try await look() } catch let error as PlatformError where error.code == .notFound { return }
    throw Self.taken(kind, name)
  }

  /// An absolute path of `file:///path`, `file:/path` or `/path`.
  /// - Throws: `invalidArgument` PLT-1702 for places that are not folders of this machine.
  static func path(_ location: String) throws -> String {
    if location.hasPrefix("/") { return location }
    guard location.hasPrefix("file:/"), let path = String(location.dropFirst(5)).removingPercentEncoding else {
      throw PlatformError(
        .invalidArgument, "storage_location '\(location.prefix(200))' is not a folder of this machine", hint: "Write file:///path.",
        number: "PLT-1702")
    }
    return path.hasPrefix("///") ? String(path.dropFirst(2)) : path
  }
}

extension CatalogCreateRequest {
  static func missing(_ member: String) -> PlatformError {
    PlatformError(.invalidArgument, "the request body is missing '\(member)'")
  }

  /// - Throws: `invalidArgument` PLT-1702.
  func requireNoStorage() throws {
    guard storageRoot == nil, storageLocation == nil else {
      throw PlatformError(.invalidArgument, "a storage location of its own is not supported for '\(name)'", number: "PLT-1702")
    }
  }
}

extension CatalogChangeRequest {
  var change: CatalogStore.Change { CatalogStore.Change(comment: comment, owner: owner, properties: properties) }
}

/// What a table's log says that the catalog does not keep.
struct DeltaFacts: Sendable {
  var columns: [ColumnInfo]
  var properties: [String: String]
  /// Columns as the catalog keeps them.
  var entries: [ColumnEntry]

  /// Reads the newest version. Blocks.
  /// - Throws: `notFound` when there is no Delta table; what keeps the log from being read.
  init(reading location: String) throws {
    let parent = (location as NSString).deletingLastPathComponent
    let table = DeltaTable(
      store: try LocalObjectStore(root: parent), path: try ObjectPath((location as NSString).lastPathComponent), parquet: DuckDBParquetHandler())
    let snapshot = try table.snapshot()
    let partitions = snapshot.metadata.partitionColumns
    columns = snapshot.schema.fields.enumerated().map { index, field in
      ColumnInfo(
        name: field.name, type: field.type.json, position: index, nullable: field.nullable,
        partitionIndex: partitions.firstIndex(of: field.name), metadata: field.metadata)
    }
    properties = snapshot.metadata.configuration
    entries = try TypeMapping.columns(snapshot.schema).map { ColumnEntry(name: $0.name, type: $0.type.sql.lowercased()) }
  }
}
