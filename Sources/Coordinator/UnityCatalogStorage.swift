// SPDX-License-Identifier: Apache-2.0

import API
import Catalog
import Client
import Core
import DeltaLog
import Foundation
import ObjectStore

/// Connections, credentials, external locations, and the ways to storage, for Unity Catalog's clients.
extension CoordinatorService {
  /// From now on tables in buckets open with the keys that the catalog has now.
  private func loadStorageKeys() async throws {
    // Keys that cannot be unsealed are missed where such a place is opened.
    _ = try await StorageKeyLoader(catalog: catalog, keyPath: configuration.layout.sealingKey).load()
  }

  /// Made at its first use; it never leaves this machine.
  func sealing() async throws -> SealingKey {
    let path = configuration.layout.sealingKey
    return try await BlockingPool.shared.run { try SealingKey(loadingOrCreating: path) }
  }

  // MARK: connections

  func connections(_ page: PageRequest) async throws -> CatalogList<ConnectionInfo> {
    try await catalog.connections(limit: page.limit, pageToken: page.token).list("connections", ConnectionInfo.init)
  }

  func connection(_ name: String) async throws -> ConnectionInfo { ConnectionInfo(try await catalog.connection(name)) }

  func createConnection(_ request: CreateConnectionRequest, by principal: Principal) async throws -> ConnectionInfo {
    ConnectionInfo(
      try await catalog.createConnection(
        request.name.lowercased(), kind: request.connectionType.uppercased(), options: request.options, properties: request.properties ?? [:],
        isReadOnly: request.readOnly ?? false, comment: request.comment ?? "", sealedWith: sealing(), by: principal.name))
  }

  func changeConnection(_ name: String, _ request: ChangeConnectionRequest, by principal: Principal) async throws -> ConnectionInfo {
    let change = SecuredChange(newName: request.newName?.lowercased(), comment: request.comment, owner: request.owner)
    return ConnectionInfo(try await catalog.changeConnection(name, change, options: request.options, sealedWith: sealing(), by: principal.name))
  }

  func deleteConnection(_ name: String, by principal: Principal) async throws { try await catalog.dropConnection(name, by: principal.name) }

  // MARK: credentials

  func credentials(key: String, purpose: CredentialPurposeName?, _ page: PageRequest) async throws -> CatalogList<StorageCredentialInfo> {
    try await catalog.credentials(purpose: purpose?.rawValue, limit: page.limit, pageToken: page.token).list(key, StorageCredentialInfo.init)
  }

  func credential(_ name: String) async throws -> StorageCredentialInfo { StorageCredentialInfo(try await catalog.credential(name)) }

  func createCredential(_ request: CredentialRequest, by principal: Principal) async throws -> StorageCredentialInfo {
    guard let name = request.name else { throw Self.missing("name") }
    guard let content = try Self.content(request) else {
      throw PlatformError(
        .invalidArgument, "one of aws_iam_role, cloudflare_api_token and s3_access_key says how the store is opened", number: "PLT-1405")
    }
    return StorageCredentialInfo(
      try await catalog.createCredential(
        name.lowercased(), kind: content.kind, facts: content.facts, secret: content.secret, sealedWith: sealing(),
        purpose: (request.purpose ?? .storage).rawValue, isReadOnly: request.readOnly ?? false, comment: request.comment ?? "", by: principal.name))
  }

  func changeCredential(_ name: String, _ request: CredentialRequest, by principal: Principal) async throws -> StorageCredentialInfo {
    let change = SecuredChange(
      newName: request.newName?.lowercased(), comment: request.comment, owner: request.owner, isReadOnly: request.readOnly)
    let changed = try await catalog.changeCredential(name, change, replaced: Self.content(request), sealedWith: sealing(), by: principal.name)
    try await loadStorageKeys()
    return StorageCredentialInfo(changed)
  }

  func deleteCredential(_ name: String, force: Bool, by principal: Principal) async throws {
    try await catalog.dropCredential(name, force: force, by: principal.name)
    try await loadStorageKeys()
  }

  /// What may be shown of a credential, and what may not.
  private static func content(_ request: CredentialRequest) throws -> (kind: String, facts: JSONValue, secret: Data?)? {
    if let role = request.awsIAMRole { return ("aws_iam_role", try JSONValue(encoding: role), nil) }
    for (kind, keys) in [("cloudflare_api_token", request.cloudflareAPIToken), ("s3_access_key", request.s3AccessKey)] {
      guard var keys else { continue }
      guard keys.secretAccessKey != nil else { throw missing("\(kind).secret_access_key") }
      let secret = try JSONEncoder.platform.encode(keys)
      keys.secretAccessKey = nil
      keys.sessionToken = nil
      return (kind, try JSONValue(encoding: keys), secret)
    }
    return nil
  }

  // MARK: external locations

  func externalLocations(_ page: PageRequest) async throws -> CatalogList<ExternalLocationInfo> {
    try await catalog.locations(limit: page.limit, pageToken: page.token).list("external_locations", ExternalLocationInfo.init)
  }

  func externalLocation(_ name: String) async throws -> ExternalLocationInfo { ExternalLocationInfo(try await catalog.location(name)) }

  func createExternalLocation(_ request: CreateLocationRequest, by principal: Principal) async throws -> ExternalLocationInfo {
    let credential = request.credentialName.flatMap { $0.isEmpty ? nil : $0 }
    let made = try await catalog.createLocation(
      request.name.lowercased(), url: request.url, credential: credential, isReadOnly: request.readOnly ?? false, comment: request.comment ?? "",
      apartFrom: configuration.layout.ownFolders, by: principal.name)
    try await loadStorageKeys()
    return ExternalLocationInfo(made)
  }

  func changeExternalLocation(_ name: String, _ request: ChangeLocationRequest, by principal: Principal) async throws -> ExternalLocationInfo {
    let change = SecuredChange(
      newName: request.newName?.lowercased(), comment: request.comment, owner: request.owner, isReadOnly: request.readOnly)
    let changed = try await catalog.changeLocation(
      name, change, url: request.url, credential: request.credentialName, force: request.force ?? false, apartFrom: configuration.layout.ownFolders,
      by: principal.name)
    try await loadStorageKeys()
    return ExternalLocationInfo(changed)
  }

  func deleteExternalLocation(_ name: String, force: Bool, by principal: Principal) async throws {
    try await catalog.dropLocation(name, force: force, by: principal.name)
    try await loadStorageKeys()
  }

  // MARK: ways to storage

  /// What credentials may be asked for, over all kinds of objects.
  private static let operations: Set<String> = [
    "READ", "READ_WRITE", "READ_VOLUME", "WRITE_VOLUME", "PATH_READ", "PATH_READ_WRITE", "PATH_CREATE_TABLE", "READ_MODEL_VERSION",
    "READ_WRITE_MODEL_VERSION",
  ]

  func temporaryCredentials(_ request: TemporaryCredentialsRequest, by principal: Principal) async throws -> TemporaryCredentials {
    if let operation = request.operation, !Self.operations.contains(operation.uppercased()) {
      throw PlatformError(
        .invalidArgument, "operation: '\(operation.prefix(100))' is none of \(Self.operations.sorted().joined(separator: ", "))", number: "PLT-1405")
    }
    let place: String
    if let table = request.tableID {
      place = try await catalog.place(ofTable: Self.identifier(table, "table_id")).location
    } else if let volume = request.volumeID {
      place = try await catalog.volume(id: Self.identifier(volume, "volume_id")).location
    } else if let url = request.url {
      // Only what an administrator has opened: a path is not an object.
      let canonical = try CatalogStore.canonicalURL(url)
      guard try await catalog.location(of: canonical) != nil else {
        throw PlatformError(.permissionDenied, "no external location holds this place", hint: "Make one.", path: canonical)
      }
      place = canonical
    } else if let model = request.modelName, let parent = request.catalogName, let schema = request.schemaName, let version = request.version {
      let name = try await catalog.stored(.model, ThreePartName(catalog: parent, schema: schema, name: model))
      place = try await catalog.modelVersion(name, version: version).location
    } else {
      throw PlatformError(.invalidArgument, "table_id, volume_id, url or a model version is missing", number: "PLT-1405")
    }
    if let operation = request.operation?.uppercased(), operation.contains("WRITE") || operation.contains("CREATE") {
      let written = place
      try await BlockingPool.shared.run { try ReadOnlyPlaces.shared.requireWritable(written) }
    }
    // Some clients read no answer without an end.
    let end = Date().catalogMilliseconds + 3_600_000
    // Nothing is needed to open a folder of this machine: whoever can, may.
    guard place.hasPrefix("s3://") else {
      return TemporaryCredentials(url: place.hasPrefix("file://") ? place : CatalogURL.file(place), expirationTime: end)
    }
    guard let location = try await catalog.location(of: place), let credential = location.credential,
      let secret = try await catalog.credentialSecret(credential, sealedWith: sealing())
    else { throw PlatformError(.permissionDenied, "no external location with keys holds this place", path: place) }
    let keys = try JSONDecoder.platform.decode(AccessKeys.self, from: secret)
    return TemporaryCredentials(
      url: place,
      awsTempCredentials: .init(
        accessKeyID: keys.accessKeyID, secretAccessKey: keys.secretAccessKey ?? "", sessionToken: keys.sessionToken ?? ""),
      expirationTime: end)
  }

  func createStagingTable(_ request: CreateObjectRequest, by principal: Principal) async throws -> StagingTableInfo {
    let name = try await newName(.table, request.catalogName, request.schemaName, request.name)
    let entry = try await catalog.createStagingTable(name, creatingIn: lake, by: principal.name)
    return StagingTableInfo(
      id: entry.id.uuidString.lowercased(), name: name.name, catalogName: name.catalog, schemaName: name.schema,
      stagingLocation: CatalogURL.file(entry.location))
  }

  func commitDelta(_ request: DeltaCommitRequest, by principal: Principal) async throws {
    let id = try await committed(request.tableID, request.tableURI)
    if let version = request.commitInfo?.version {
      let place = try await catalog.place(ofTable: id)
      let known = try await BlockingPool.shared.run { try LakeTables.log(place.location).latestVersion() }
      // The log has its own versions until the first commit comes here; from then on only clients of the catalog commit.
      guard known.map({ $0 < version }) ?? true else {
        throw PlatformError(
          .conflict, "version \(version) is taken: the log of table '\(place.name)' has it", hint: "Read the table again.", number: "PLT-3005")
      }
    }
    let commit = request.commitInfo.map {
      DeltaCommitEntry(
        version: $0.version, fileName: $0.fileName, fileSize: $0.fileSize, fileModifiedAt: $0.fileModificationTimestamp, committedAt: $0.timestamp)
    }
    try await catalog.commitDelta(table: id, commit, latestBackfilled: request.latestBackfilledVersion)
  }

  func deltaCommits(_ request: DeltaCommitsRequest) async throws -> DeltaCommits {
    let id = try await committed(request.tableID, request.tableURI)
    let found = try await catalog.deltaCommits(table: id, from: request.startVersion, to: request.endVersion)
    return DeltaCommits(
      commits: found.commits.map {
        DeltaCommitInfo(
          version: $0.version, timestamp: $0.committedAt, fileName: $0.fileName, fileSize: $0.fileSize, fileModificationTimestamp: $0.fileModifiedAt)
      }, latestTableVersion: found.latest)
  }

  /// - Throws: `invalidArgument` for a table that is not managed, or lies elsewhere than the writer believes.
  private func committed(_ table: String, _ uri: String) async throws -> UUID {
    let id = try Self.identifier(table, "table_id")
    let place = try await catalog.place(ofTable: id)
    guard place.isManaged else { throw PlatformError(.invalidArgument, "versions of external table '\(place.name)' are not given out here") }
    let isThere = try uri.isEmpty || CatalogStore.canonicalURL(uri) == CatalogStore.canonicalURL(place.location)
    guard isThere else {
      throw PlatformError(.invalidArgument, "table_uri: table '\(place.name)' is not there", number: "PLT-1405", path: "table_uri")
    }
    return id
  }
}
