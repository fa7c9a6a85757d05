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
public protocol UnityCatalogService: Sendable {
  func metastore() async throws -> MetastoreInfo

  func catalogs(_ page: PageRequest) async throws -> CatalogList<CatalogInfo>
  func catalog(_ name: String) async throws -> CatalogInfo
  func createCatalog(_ request: CatalogCreateRequest, by principal: Principal) async throws -> CatalogInfo
  func changeCatalog(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws -> CatalogInfo
  func deleteCatalog(_ name: String, force: Bool, by principal: Principal) async throws

  func schemas(catalog: String, _ page: PageRequest) async throws -> CatalogList<SchemaInfo>
  func schema(_ name: String) async throws -> SchemaInfo
  func createSchema(_ request: CatalogCreateRequest, by principal: Principal) async throws -> SchemaInfo
  func changeSchema(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws -> SchemaInfo
  func deleteSchema(_ name: String, force: Bool, by principal: Principal) async throws

  func tables(catalog: String, schema: String, _ page: PageRequest) async throws -> CatalogList<TableInfo>
  func table(_ name: String) async throws -> TableInfo
  func tableExists(_ name: String) async throws -> Bool
  /// Registers a Delta table that exists.
  func createTable(_ request: CatalogCreateRequest, by principal: Principal) async throws -> TableInfo
  func changeTable(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws
  func deleteTable(_ name: String, by principal: Principal) async throws

  func volumes(catalog: String, schema: String, _ page: PageRequest) async throws -> CatalogList<VolumeInfo>
  func volume(_ name: String) async throws -> VolumeInfo
  func createVolume(_ request: CatalogCreateRequest, by principal: Principal) async throws -> VolumeInfo
  func changeVolume(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws -> VolumeInfo
  func deleteVolume(_ name: String, by principal: Principal) async throws

  /// The path on this machine of `/Volumes/catalog/schema/volume/...`, which need not exist; links inside of the volume are followed.
  func volumePath(_ path: String) async throws -> String

  func models(catalog: String?, schema: String?, _ page: PageRequest) async throws -> CatalogList<RegisteredModelInfo>
  func model(_ name: String) async throws -> RegisteredModelInfo
  func createModel(_ request: CatalogCreateRequest, by principal: Principal) async throws -> RegisteredModelInfo
  func changeModel(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws -> RegisteredModelInfo
  func deleteModel(_ name: String, by principal: Principal) async throws
  func modelVersions(_ name: String, _ page: PageRequest) async throws -> CatalogList<ModelVersionInfo>
  func modelVersion(_ name: String, version: Int) async throws -> ModelVersionInfo
  func modelVersion(_ name: String, alias: String) async throws -> ModelVersionInfo
  func setAlias(_ name: String, alias: String, version: Int, by principal: Principal) async throws -> ModelAliasInfo
  func removeAlias(_ name: String, alias: String, by principal: Principal) async throws
}
