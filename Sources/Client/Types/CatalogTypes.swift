// SPDX-License-Identifier: Apache-2.0

// Objects of `/api/2.1/unity-catalog/`, in the members that Unity Catalog's own clients read. Times are milliseconds since 1970.

public struct CatalogInfo: Codable, Sendable, Equatable {
  public var name: String
  public var fullName: String
  public var id: String
  public var comment: String
  public var owner: String
  public var properties: [String: String]
  public var catalogType = "MANAGED_CATALOG"
  public var securableType = "CATALOG"
  public var createdAt: Int64
  public var createdBy: String
  public var updatedAt: Int64

  public init(
    id: String, name: String, comment: String, owner: String, properties: [String: String], createdAt: Int64, updatedAt: Int64
  ) {
    self.id = id
    self.name = name
    fullName = name
    self.comment = comment
    self.owner = owner
    createdBy = owner
    self.properties = properties
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  enum CodingKeys: String, CodingKey {
    case name, id, comment, owner, properties
    case fullName = "full_name"
    case catalogType = "catalog_type"
    case securableType = "securable_type"
    case createdAt = "created_at"
    case createdBy = "created_by"
    case updatedAt = "updated_at"
  }
}

public struct SchemaInfo: Codable, Sendable, Equatable {
  public var name: String
  public var catalogName: String
  public var fullName: String
  public var schemaID: String
  public var comment: String
  public var owner: String
  public var properties: [String: String]
  public var catalogType = "MANAGED_CATALOG"
  public var createdAt: Int64
  public var createdBy: String
  public var updatedAt: Int64

  public init(
    id: String, catalog: String, name: String, comment: String, owner: String, properties: [String: String], createdAt: Int64,
    updatedAt: Int64
  ) {
    schemaID = id
    catalogName = catalog
    self.name = name
    fullName = "\(catalog).\(name)"
    self.comment = comment
    self.owner = owner
    createdBy = owner
    self.properties = properties
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  enum CodingKeys: String, CodingKey {
    case name, comment, owner, properties
    case catalogName = "catalog_name"
    case fullName = "full_name"
    case schemaID = "schema_id"
    case catalogType = "catalog_type"
    case createdAt = "created_at"
    case createdBy = "created_by"
    case updatedAt = "updated_at"
  }
}

public struct TableInfo: Codable, Sendable, Equatable {
  public var name: String
  public var catalogName: String
  public var schemaName: String
  public var fullName: String
  public var tableID: String
  /// `MANAGED` or `EXTERNAL`.
  public var tableType: String
  public var dataSourceFormat = "DELTA"
  public var columns: [ColumnInfo]?
  /// `file:///...`
  public var storageLocation: String
  public var comment: String
  public var owner: String
  public var properties: [String: String]?
  public var createdAt: Int64
  public var createdBy: String
  public var updatedAt: Int64

  public init(
    id: String, catalog: String, schema: String, name: String, tableType: String, columns: [ColumnInfo]?, storageLocation: String,
    comment: String, owner: String, properties: [String: String]?, createdAt: Int64, updatedAt: Int64
  ) {
    tableID = id
    catalogName = catalog
    schemaName = schema
    self.name = name
    fullName = "\(catalog).\(schema).\(name)"
    self.tableType = tableType
    self.columns = columns
    self.storageLocation = storageLocation
    self.comment = comment
    self.owner = owner
    createdBy = owner
    self.properties = properties
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  enum CodingKeys: String, CodingKey {
    case name, columns, comment, owner, properties
    case catalogName = "catalog_name"
    case schemaName = "schema_name"
    case fullName = "full_name"
    case tableID = "table_id"
    case tableType = "table_type"
    case dataSourceFormat = "data_source_format"
    case storageLocation = "storage_location"
    case createdAt = "created_at"
    case createdBy = "created_by"
    case updatedAt = "updated_at"
  }
}

public struct VolumeInfo: Codable, Sendable, Equatable {
  public var name: String
  public var catalogName: String
  public var schemaName: String
  public var fullName: String
  public var volumeID: String
  /// `MANAGED` or `EXTERNAL`.
  public var volumeType: String
  /// `file:///...`
  public var storageLocation: String
  public var comment: String
  public var owner: String
  public var createdAt: Int64
  public var createdBy: String
  public var updatedAt: Int64

  public init(
    id: String, catalog: String, schema: String, name: String, volumeType: String, storageLocation: String, comment: String, owner: String,
    createdAt: Int64, updatedAt: Int64
  ) {
    volumeID = id
    catalogName = catalog
    schemaName = schema
    self.name = name
    fullName = "\(catalog).\(schema).\(name)"
    self.volumeType = volumeType
    self.storageLocation = storageLocation
    self.comment = comment
    self.owner = owner
    createdBy = owner
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  enum CodingKeys: String, CodingKey {
    case name, comment, owner
    case catalogName = "catalog_name"
    case schemaName = "schema_name"
    case fullName = "full_name"
    case volumeID = "volume_id"
    case volumeType = "volume_type"
    case storageLocation = "storage_location"
    case createdAt = "created_at"
    case createdBy = "created_by"
    case updatedAt = "updated_at"
  }
}

/// An alias of a registered model; the version it means.
public struct ModelAliasInfo: Codable, Sendable, Equatable {
  public var aliasName: String
  public var versionNum: Int
  public init(aliasName: String, versionNum: Int) {
    self.aliasName = aliasName
    self.versionNum = versionNum
  }
  enum CodingKeys: String, CodingKey {
    case aliasName = "alias_name"
    case versionNum = "version_num"
  }
}

public struct RegisteredModelInfo: Codable, Sendable, Equatable {
  public var name: String
  public var catalogName: String
  public var schemaName: String
  public var fullName: String
  public var id: String
  public var comment: String
  public var owner: String
  /// Only of a single model; a listing leaves them out.
  public var aliases: [ModelAliasInfo]?
  /// Not a member of Unity Catalog's: the number of the newest version.
  public var newestVersion: Int?
  public var createdAt: Int64
  public var createdBy: String
  public var updatedAt: Int64

  public init(
    id: String, catalog: String, schema: String, name: String, comment: String, owner: String, aliases: [ModelAliasInfo]?,
    newestVersion: Int?, createdAt: Int64, updatedAt: Int64
  ) {
    self.id = id
    catalogName = catalog
    schemaName = schema
    self.name = name
    fullName = "\(catalog).\(schema).\(name)"
    self.comment = comment
    self.owner = owner
    createdBy = owner
    self.aliases = aliases
    self.newestVersion = newestVersion
    self.createdAt = createdAt
    self.updatedAt = updatedAt
  }

  enum CodingKeys: String, CodingKey {
    case name, id, comment, owner, aliases
    case catalogName = "catalog_name"
    case schemaName = "schema_name"
    case fullName = "full_name"
    case newestVersion = "newest_version"
    case createdAt = "created_at"
    case createdBy = "created_by"
    case updatedAt = "updated_at"
  }
}

public struct ModelVersionInfo: Codable, Sendable, Equatable {
  public var modelName: String
  public var catalogName: String
  public var schemaName: String
  public var version: Int
  /// Versions appear whole.
  public var status = "READY"
  public var storageLocation: String
  public var source: String
  public var runID: String?
  public var aliases: [ModelAliasInfo]
  public var createdAt: Int64
  public var updatedAt: Int64

  public init(
    catalog: String, schema: String, model: String, version: Int, storageLocation: String, runID: String?, aliases: [ModelAliasInfo],
    createdAt: Int64
  ) {
    catalogName = catalog
    schemaName = schema
    modelName = model
    self.version = version
    self.storageLocation = storageLocation
    source = storageLocation
    self.runID = runID
    self.aliases = aliases
    self.createdAt = createdAt
    updatedAt = createdAt
  }

  enum CodingKeys: String, CodingKey {
    case version, status, source, aliases
    case modelName = "model_name"
    case catalogName = "catalog_name"
    case schemaName = "schema_name"
    case storageLocation = "storage_location"
    case runID = "run_id"
    case createdAt = "created_at"
    case updatedAt = "updated_at"
  }
}

/// The one metastore of a cluster.
public struct MetastoreInfo: Codable, Sendable, Equatable {
  public var metastoreID: String
  public var name: String
  public var owner: String
  public var privilegeModelVersion = "1.0"
  public var createdAt: Int64
  public init(id: String, name: String, owner: String, createdAt: Int64) {
    metastoreID = id
    self.name = name
    self.owner = owner
    self.createdAt = createdAt
  }
  enum CodingKeys: String, CodingKey {
    case name, owner
    case metastoreID = "metastore_id"
    case privilegeModelVersion = "privilege_model_version"
    case createdAt = "created_at"
  }
}
