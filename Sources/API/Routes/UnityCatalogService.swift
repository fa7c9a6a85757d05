// SPDX-License-Identifier: Apache-2.0

public import Client
import Core

/// Part of a listing that a client asks for.
public struct PageRequest: Sendable, Equatable {
  public static let standard = 100
  public static let most = 1000
  /// 1 to `most`.
  public var limit: Int
  public var token: String?

  /// - Parameter maxResults: nil or 0 leaves the size to the server; more than `most` is `most`.
  /// - Throws: `invalidArgument` for a negative number.
  public init(maxResults: Int? = nil, token: String? = nil) throws {
    let asked = maxResults ?? 0
    guard asked >= 0 else { throw PlatformError(.invalidArgument, "max_results must not be negative") }
    limit = asked == 0 ? Self.standard : min(asked, Self.most)
    self.token = token.flatMap { $0.isEmpty ? nil : $0 }
  }
}

/// What the catalog's HTTP surface asks of the coordinator. Names are full names, in any case of letters. Every method throws
/// `PlatformError`: `notFound` for what is not there, `alreadyExists` for a name that is taken, `invalidArgument` for what cannot be.
public protocol UnityCatalogService: UnityCatalogModelService, UnityCatalogSecuredService, UnityCatalogStorageService, UnityCatalogFunctionService {
  func metastore() async throws -> MetastoreInfo

  func catalogs(_ page: PageRequest) async throws -> CatalogList<CatalogInfo>
  func catalog(_ name: String) async throws -> CatalogInfo
  func createCatalog(_ request: CreateCatalogRequest, by principal: Principal) async throws -> CatalogInfo
  func changeCatalog(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws -> CatalogInfo
  func deleteCatalog(_ name: String, force: Bool, by principal: Principal) async throws

  func schemas(catalog: String, _ page: PageRequest) async throws -> CatalogList<SchemaInfo>
  func schema(_ name: String) async throws -> SchemaInfo
  func createSchema(_ request: CreateSchemaRequest, by principal: Principal) async throws -> SchemaInfo
  func changeSchema(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws -> SchemaInfo
  func deleteSchema(_ name: String, force: Bool, by principal: Principal) async throws

  /// - Parameter details: whether columns and constraints are wanted.
  func tables(catalog: String, schema: String, details: Bool, _ page: PageRequest) async throws -> CatalogList<TableInfo>
  func tableSummaries(catalog: String, schemaPattern: String?, tablePattern: String?, _ page: PageRequest) async throws -> CatalogList<TableSummary>
  func table(_ name: String) async throws -> TableInfo
  func tableExists(_ name: String) async throws -> Bool
  func createTable(_ request: CreateTableRequest, by principal: Principal) async throws -> TableInfo
  func changeTable(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws -> TableInfo
  func deleteTable(_ name: String, by principal: Principal) async throws
  func addConstraint(_ request: CreateConstraintRequest, by principal: Principal) async throws -> TableConstraint
  func removeConstraint(_ constraint: String, from table: String, cascade: Bool, by principal: Principal) async throws

  func volumes(catalog: String, schema: String, _ page: PageRequest) async throws -> CatalogList<VolumeInfo>
  func volume(_ name: String) async throws -> VolumeInfo
  func createVolume(_ request: CreateVolumeRequest, by principal: Principal) async throws -> VolumeInfo
  func changeVolume(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws -> VolumeInfo
  func deleteVolume(_ name: String, by principal: Principal) async throws
  /// The path on this machine of `/Volumes/catalog/schema/volume/...`, which need not exist; links inside of the volume are followed.
  /// - Throws: also `permissionDenied` PLT-3261 where nothing is written.
  func volumePath(_ path: String, toWrite: Bool) async throws -> String

  func dropped(catalog: String?, schema: String?, _ page: PageRequest) async throws -> CatalogList<DroppedInfo>
  /// - Parameter kind: `catalog`, `schema`, `table` or `volume`.
  func undrop(_ kind: String, _ name: String, id: String?, by principal: Principal) async throws

  func tags(_ entityType: String, _ name: String, _ page: PageRequest) async throws -> CatalogList<TagAssignment>
  func tag(_ entityType: String, _ name: String, key: String) async throws -> TagAssignment
  func setTag(_ assignment: TagAssignment, replacing: Bool, by principal: Principal) async throws -> TagAssignment
  func removeTag(_ entityType: String, _ name: String, key: String, by principal: Principal) async throws
}

/// Registered models and their versions.
public protocol UnityCatalogModelService: Sendable {
  func models(catalog: String?, schema: String?, _ page: PageRequest) async throws -> CatalogList<RegisteredModelInfo>
  func model(_ name: String) async throws -> RegisteredModelInfo
  func createModel(_ request: CreateObjectRequest, by principal: Principal) async throws -> RegisteredModelInfo
  func changeModel(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws -> RegisteredModelInfo
  func deleteModel(_ name: String, force: Bool, by principal: Principal) async throws
  func modelVersions(_ name: String, _ page: PageRequest) async throws -> CatalogList<ModelVersionInfo>
  func modelVersion(_ name: String, version: Int) async throws -> ModelVersionInfo
  func modelVersion(_ name: String, alias: String) async throws -> ModelVersionInfo
  func createModelVersion(_ request: CreateModelVersionRequest, by principal: Principal) async throws -> ModelVersionInfo
  func changeModelVersion(_ name: String, version: Int, comment: String?, by principal: Principal) async throws -> ModelVersionInfo
  func finalizeModelVersion(_ name: String, version: Int, by principal: Principal) async throws -> ModelVersionInfo
  func deleteModelVersion(_ name: String, version: Int, by principal: Principal) async throws
  func setAlias(_ name: String, alias: String, version: Int, by principal: Principal) async throws -> ModelAliasInfo
  func removeAlias(_ name: String, alias: String, by principal: Principal) async throws
}

/// Connections, credentials and external locations.
public protocol UnityCatalogSecuredService: Sendable {
  func connections(_ page: PageRequest) async throws -> CatalogList<ConnectionInfo>
  func connection(_ name: String) async throws -> ConnectionInfo
  func createConnection(_ request: CreateConnectionRequest, by principal: Principal) async throws -> ConnectionInfo
  func changeConnection(_ name: String, _ request: ChangeConnectionRequest, by principal: Principal) async throws -> ConnectionInfo
  func deleteConnection(_ name: String, by principal: Principal) async throws

  /// - Parameters:
  ///   - key: the member of the answer that holds the entries: `credentials` or `storage_credentials`.
  ///   - purpose: `STORAGE` or `SERVICE`; nil for both.
  func credentials(key: String, purpose: CredentialPurposeName?, _ page: PageRequest) async throws -> CatalogList<StorageCredentialInfo>
  func credential(_ name: String) async throws -> StorageCredentialInfo
  func createCredential(_ request: CredentialRequest, by principal: Principal) async throws -> StorageCredentialInfo
  func changeCredential(_ name: String, _ request: CredentialRequest, by principal: Principal) async throws -> StorageCredentialInfo
  func deleteCredential(_ name: String, force: Bool, by principal: Principal) async throws

  func externalLocations(_ page: PageRequest) async throws -> CatalogList<ExternalLocationInfo>
  func externalLocation(_ name: String) async throws -> ExternalLocationInfo
  func createExternalLocation(_ request: CreateLocationRequest, by principal: Principal) async throws -> ExternalLocationInfo
  func changeExternalLocation(_ name: String, _ request: ChangeLocationRequest, by principal: Principal) async throws -> ExternalLocationInfo
  func deleteExternalLocation(_ name: String, force: Bool, by principal: Principal) async throws
}

/// How programs that read and write files themselves reach them, and how writers of one table keep apart.
public protocol UnityCatalogStorageService: Sendable {
  func temporaryCredentials(_ request: TemporaryCredentialsRequest, by principal: Principal) async throws -> TemporaryCredentials
  func createStagingTable(_ request: CreateObjectRequest, by principal: Principal) async throws -> StagingTableInfo
  func commitDelta(_ request: DeltaCommitRequest, by principal: Principal) async throws
  func deltaCommits(_ request: DeltaCommitsRequest) async throws -> DeltaCommits
}
