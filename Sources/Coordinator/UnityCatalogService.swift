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

/// The catalog for Unity Catalog's clients: catalogs, schemas, tables and volumes. Names are found in any case of letters; new ones are made
/// in small letters.
extension CoordinatorService {
  var lake: String { configuration.layout.lake }

  /// Folders that this machine's configuration makes external locations: `PLATFORM_EXTERNAL_LOCATIONS`, separated by colons. None by default.
  static var seededFolders: [String] {
    (ProcessInfo.processInfo.environment["PLATFORM_EXTERNAL_LOCATIONS"] ?? "").split(separator: ":").map(String.init).filter { $0.hasPrefix("/") }
  }

  func metastore() async throws -> MetastoreInfo {
    let system = try await catalog.catalog("system")
    return MetastoreInfo(
      id: system.id.uuidString.lowercased(), name: "platform", owner: system.owner, storageRoot: "file://" + lake,
      createdAt: system.createdAt.catalogMilliseconds)
  }

  // MARK: catalogs

  func catalogs(_ page: PageRequest) async throws -> CatalogList<CatalogInfo> {
    try await catalog.catalogs(limit: page.limit, pageToken: page.token).list("catalogs", CatalogInfo.init)
  }

  func catalog(_ name: String) async throws -> CatalogInfo {
    CatalogInfo(try await catalog.catalog(catalog.storedCatalog(name)))
  }

  func createCatalog(_ request: CreateCatalogRequest, by principal: Principal) async throws -> CatalogInfo {
    try Self.requireNoStorage(request.storageRoot, request.name)
    let name = request.name.lowercased()
    try await catalog.createCatalog(name, comment: request.comment ?? "", properties: request.properties ?? [:], by: principal.name)
    return try await self.catalog(name)
  }

  func changeCatalog(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws -> CatalogInfo {
    var name = try await catalog.storedCatalog(name)
    if let new = request.newName, new.lowercased() != name {
      name = try await catalog.renameCatalog(name, to: Self.lastPart(new, of: 1), by: principal.name)
    }
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

  func createSchema(_ request: CreateSchemaRequest, by principal: Principal) async throws -> SchemaInfo {
    try Self.requireNoStorage(request.storageRoot, request.name)
    let parent = try await catalog.storedCatalog(request.catalogName)
    let name = request.name.lowercased()
    let made = try await catalog.createSchema(
      catalog: parent, name: name, comment: request.comment ?? "", properties: request.properties ?? [:], by: principal.name)
    if !made { throw PlatformError(.alreadyExists, "schema '\(parent).\(name)' exists already", number: "PLT-3003") }
    return SchemaInfo(try await catalog.schema(catalog: parent, name: name))
  }

  func changeSchema(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws -> SchemaInfo {
    var found = try await storedSchema(name)
    if let new = request.newName {
      let last = try Self.lastPart(new, of: 2)
      if last.lowercased() != found.name {
        found.name = try await catalog.renameSchema(catalog: found.catalog, name: found.name, to: last, by: principal.name)
      }
    }
    try await catalog.changeSchema(catalog: found.catalog, name: found.name, request.change, by: principal.name)
    return SchemaInfo(try await catalog.schema(catalog: found.catalog, name: found.name))
  }

  func deleteSchema(_ name: String, force: Bool, by principal: Principal) async throws {
    let found = try await storedSchema(name)
    try await catalog.dropSchema(catalog: found.catalog, name: found.name, force: force, by: principal.name)
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

  func createVolume(_ request: CreateVolumeRequest, by principal: Principal) async throws -> VolumeInfo {
    let name = try await newName(.volume, request.catalogName, request.schemaName, request.name)
    let comment = request.comment ?? ""
    switch request.volumeType {
    case .managed:
      guard request.storageLocation == nil else {
        throw PlatformError(.invalidArgument, "a managed volume takes no storage_location", hint: "Use volume_type EXTERNAL.")
      }
      return VolumeInfo(try await catalog.createVolume(name, creatingIn: lake, comment: comment, by: principal.name))
    case .external:
      guard let given = request.storageLocation else { throw Self.missing("storage_location") }
      return VolumeInfo(
        try await catalog.createVolume(
          name, at: Self.path(given), allowedIn: catalog.externalFolders(), apartFrom: configuration.layout.ownFolders, comment: comment,
          by: principal.name))
    }
  }

  func changeVolume(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws -> VolumeInfo {
    let name = try await renamed(.volume, name, request.newName, by: principal)
    try await catalog.change(.volume, name, request.change, by: principal.name)
    return VolumeInfo(try await catalog.volume(name))
  }

  func deleteVolume(_ name: String, by principal: Principal) async throws {
    try await catalog.dropVolume(Self.threePart(name), by: principal.name)
  }

  func volumePath(_ path: String, toWrite: Bool) async throws -> String {
    let place = try await catalog.volumePath(path)
    if toWrite { try await BlockingPool.shared.run { try ReadOnlyPlaces.shared.requireWritable(place) } }
    return place
  }

  // MARK: dropped objects

  func dropped(catalog parent: String?, schema: String?, _ page: PageRequest) async throws -> CatalogList<DroppedInfo> {
    let kept = Int64(CatalogStore.undropDays) * 86_400_000
    return try await catalog.dropped(catalog: parent, schema: schema, limit: page.limit, pageToken: page.token).list("dropped") { entry in
      DroppedInfo(
        kind: entry.kind.rawValue, id: entry.id.uuidString.lowercased(), fullName: entry.name, droppedAt: entry.droppedAt.catalogMilliseconds,
        droppedBy: entry.droppedBy, purgedAfter: entry.droppedAt.catalogMilliseconds + kept)
    }
  }

  func undrop(_ kind: String, _ name: String, id: String?, by principal: Principal) async throws {
    guard let kind = DroppedEntry.Kind(rawValue: kind) else { throw PlatformError(.invalidArgument, "'\(kind)' cannot be brought back") }
    let identifier = try id.map { try Self.identifier($0, "id") }
    let parts =
      switch kind {
      case .catalog: [name]
      case .schema: try Self.twoPart(name)
      case .table, .volume, .function, .model: try { [$0.catalog, $0.schema, $0.name] }(Self.threePart(name))
      }
    try await catalog.undrop(kind, parts, id: identifier, by: principal.name)
  }

  // MARK: names

  static func threePart(_ name: String) throws -> ThreePartName { try ThreePartName(name) }

  private static func twoPart(_ name: String) throws -> [String] {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 2, parts.allSatisfy({ !$0.isEmpty }) else {
      throw PlatformError(.invalidArgument, "'\(name.prefix(300))' is not a name of the form catalog.schema", number: "PLT-3001")
    }
    return parts
  }

  private func storedSchema(_ name: String) async throws -> (catalog: String, name: String) {
    let parts = try Self.twoPart(name)
    return try await catalog.storedSchema(parts[0], parts[1])
  }

  static func identifier(_ text: String, _ member: String) throws -> UUID {
    guard let id = UUID(uuidString: text) else { throw PlatformError(.invalidArgument, "\(member): must be a UUID", number: "PLT-1405", path: member) }
    return id
  }

  /// The last part of a name that may be given whole.
  private static func lastPart(_ name: String, of count: Int) throws -> String {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 1 || parts.count == count, let last = parts.last else {
      throw PlatformError(.invalidArgument, "'\(name.prefix(300))' is not a usable name", number: "PLT-3001")
    }
    return last
  }

  /// The name of an object to be made: its schema as stored, itself in small letters.
  func newName(_ kind: CatalogStore.ObjectKind, _ parent: String, _ schema: String, _ name: String) async throws -> ThreePartName {
    let found = try await catalog.storedSchema(parent, schema)
    let name = ThreePartName(catalog: found.catalog, schema: found.name, name: name.lowercased())
    if let taken = try await catalog.findStored(kind, name) {
      throw PlatformError(.alreadyExists, "\(kind.rawValue) '\(taken)' exists already", number: "PLT-3003")
    }
    return name
  }

  /// The object's name after it was given another one, or as it is.
  func renamed(_ kind: CatalogStore.ObjectKind, _ name: String, _ new: String?, by principal: Principal) async throws -> ThreePartName {
    let stored = try await catalog.stored(kind, Self.threePart(name))
    guard let new else { return stored }
    var target = try ThreePartName(new, defaults: (stored.catalog, stored.schema))
    let schema = try await catalog.storedSchema(target.catalog, target.schema)
    target = ThreePartName(catalog: schema.catalog, schema: schema.name, name: target.name.lowercased())
    if target == stored { return stored }
    return try await catalog.rename(kind, stored, to: target, by: principal.name)
  }

  static func missing(_ member: String) -> PlatformError {
    PlatformError(.invalidArgument, "\(member): is missing", number: "PLT-1405", path: member)
  }

  /// - Throws: `invalidArgument` PLT-1702.
  private static func requireNoStorage(_ root: String?, _ name: String) throws {
    guard root == nil else {
      throw PlatformError(.invalidArgument, "a storage location of its own is not supported for '\(name)'", number: "PLT-1702")
    }
  }

  /// An absolute path of `file:///path`, `file:/path` or `/path`; `s3://bucket/path` stays.
  /// - Throws: `invalidArgument` PLT-1702 for places that are neither folders of this machine nor in a bucket.
  static func path(_ location: String) throws -> String {
    if location.hasPrefix("/") { return location }
    if S3Location.isS3(location) { return try CatalogStore.canonicalURL(location) }
    guard location.hasPrefix("file:/"), let path = String(location.dropFirst(5)).removingPercentEncoding else {
      throw PlatformError(
        .invalidArgument, "storage_location '\(location.prefix(200))' is not a folder of this machine", hint: "Write file:///path.",
        number: "PLT-1702")
    }
    return path.hasPrefix("///") ? String(path.dropFirst(2)) : path
  }
}

extension CatalogChangeRequest {
  var change: CatalogStore.Change { CatalogStore.Change(comment: comment, owner: owner, properties: properties) }
}
