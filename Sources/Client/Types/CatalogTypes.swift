// SPDX-License-Identifier: Apache-2.0

// Objects of `/api/2.1/unity-catalog/`, in the members that Unity Catalog's own clients read. Times are milliseconds since 1970.

/// What every object of the catalog has.
public struct ObjectFacts: Codable, Sendable, Equatable {
  public var name: String
  public var fullName: String
  public var catalogName: String?
  public var schemaName: String?
  /// Missing rather than empty: some clients refuse an empty one.
  public var comment: String?
  public var owner: String
  public var properties: [String: String]?
  public var createdAt: Int64
  public var createdBy: String
  public var updatedAt: Int64
  public var updatedBy: String
  public var browseOnly: Bool?

  public init(
    name: String, catalog: String? = nil, schema: String? = nil, comment: String, owner: String, properties: [String: String]? = nil,
    createdAt: Int64, createdBy: String, updatedAt: Int64, updatedBy: String
  ) {
    self.name = name
    fullName = ([catalog, schema].compactMap { $0 } + [name]).joined(separator: ".")
    catalogName = catalog
    schemaName = schema
    self.comment = comment.isEmpty ? nil : comment
    self.owner = owner
    self.properties = properties
    self.createdAt = createdAt
    self.createdBy = createdBy
    self.updatedAt = updatedAt
    self.updatedBy = updatedBy
  }

  enum CodingKeys: String, CodingKey {
    case name, comment, owner, properties
    case fullName = "full_name"
    case catalogName = "catalog_name"
    case schemaName = "schema_name"
    case createdAt = "created_at"
    case createdBy = "created_by"
    case updatedAt = "updated_at"
    case updatedBy = "updated_by"
    case browseOnly = "browse_only"
  }
}

/// The facts of an object and what only its kind has, side by side in one JSON object.
@dynamicMemberLookup
public struct CatalogObject<Own: Codable & Sendable & Equatable>: Codable, Sendable, Equatable {
  public var facts: ObjectFacts
  public var own: Own

  public init(_ facts: ObjectFacts, _ own: Own) {
    self.facts = facts
    self.own = own
  }

  public init(from decoder: any Decoder) throws {
    facts = try ObjectFacts(from: decoder)
    own = try Own(from: decoder)
  }

  public func encode(to encoder: any Encoder) throws {
    try facts.encode(to: encoder)
    try own.encode(to: encoder)
  }

  public subscript<Value>(dynamicMember path: WritableKeyPath<ObjectFacts, Value>) -> Value {
    get { facts[keyPath: path] }
    set { facts[keyPath: path] = newValue }
  }

  public subscript<Value>(dynamicMember path: WritableKeyPath<Own, Value>) -> Value {
    get { own[keyPath: path] }
    set { own[keyPath: path] = newValue }
  }
}

public typealias CatalogInfo = CatalogObject<CatalogFacts>
public typealias SchemaInfo = CatalogObject<SchemaFacts>
public typealias TableInfo = CatalogObject<TableFacts>
public typealias VolumeInfo = CatalogObject<VolumeFacts>
public typealias RegisteredModelInfo = CatalogObject<RegisteredModelFacts>
public typealias ConnectionInfo = CatalogObject<ConnectionFacts>
public typealias StorageCredentialInfo = CatalogObject<StorageCredentialFacts>
public typealias ExternalLocationInfo = CatalogObject<ExternalLocationFacts>

public struct CatalogFacts: Codable, Sendable, Equatable {
  public var id: String
  public var catalogType = "MANAGED_CATALOG"
  public var securableType = "CATALOG"
  public var isolationMode = "OPEN"
  public init(id: String) { self.id = id }
  enum CodingKeys: String, CodingKey {
    case id
    case catalogType = "catalog_type"
    case securableType = "securable_type"
    case isolationMode = "isolation_mode"
  }
}

public struct SchemaFacts: Codable, Sendable, Equatable {
  public var schemaID: String
  public var catalogType = "MANAGED_CATALOG"
  public init(id: String) { schemaID = id }
  enum CodingKeys: String, CodingKey {
    case schemaID = "schema_id"
    case catalogType = "catalog_type"
  }
}

public struct TableFacts: Codable, Sendable, Equatable {
  public var tableID: String
  /// `MANAGED`, `EXTERNAL` or `VIEW`.
  public var tableType: String
  public var dataSourceFormat: String? = "DELTA"
  public var columns: [ColumnInfo]?
  /// `file:///...`
  public var storageLocation: String?
  public var tableConstraints: [TableConstraint]?
  public var securableType = "TABLE"
  /// The query of a view.
  public var viewDefinition: String?

  public init(id: String, tableType: String, columns: [ColumnInfo]?, storageLocation: String?) {
    tableID = id
    self.tableType = tableType
    self.columns = columns
    self.storageLocation = storageLocation
  }

  enum CodingKeys: String, CodingKey {
    case columns
    case tableID = "table_id"
    case tableType = "table_type"
    case dataSourceFormat = "data_source_format"
    case storageLocation = "storage_location"
    case tableConstraints = "table_constraints"
    case securableType = "securable_type"
    case viewDefinition = "view_definition"
  }
}

public struct VolumeFacts: Codable, Sendable, Equatable {
  public var volumeID: String
  /// `MANAGED` or `EXTERNAL`.
  public var volumeType: String
  /// `file:///...`
  public var storageLocation: String
  public init(id: String, volumeType: String, storageLocation: String) {
    volumeID = id
    self.volumeType = volumeType
    self.storageLocation = storageLocation
  }
  enum CodingKeys: String, CodingKey {
    case volumeID = "volume_id"
    case volumeType = "volume_type"
    case storageLocation = "storage_location"
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

public struct RegisteredModelFacts: Codable, Sendable, Equatable {
  public var id: String
  /// Only of a single model; a listing leaves them out.
  public var aliases: [ModelAliasInfo]?
  /// Not a member of Unity Catalog's: the number of the newest version.
  public var newestVersion: Int?
  public init(id: String, aliases: [ModelAliasInfo]?, newestVersion: Int?) {
    self.id = id
    self.aliases = aliases
    self.newestVersion = newestVersion
  }
  enum CodingKeys: String, CodingKey {
    case id, aliases
    case newestVersion = "newest_version"
  }
}

public struct ModelVersionInfo: Codable, Sendable, Equatable {
  public var modelName: String
  public var catalogName: String
  public var schemaName: String
  public var version: Int
  /// `PENDING_REGISTRATION`, `READY` or `FAILED_REGISTRATION`.
  public var status: String
  public var storageLocation: String
  public var source: String?
  public var runID: String?
  public var comment: String?
  public var aliases: [ModelAliasInfo]
  public var id: String
  public var createdAt: Int64
  public var createdBy: String
  public var updatedAt: Int64
  public var updatedBy: String

  public init(
    id: String, catalog: String, schema: String, model: String, version: Int, status: String, storageLocation: String, source: String?,
    runID: String?, comment: String, aliases: [ModelAliasInfo], createdAt: Int64, createdBy: String, updatedAt: Int64, updatedBy: String
  ) {
    self.id = id
    catalogName = catalog
    schemaName = schema
    modelName = model
    self.version = version
    self.status = status
    self.storageLocation = storageLocation
    self.source = source
    self.runID = runID
    self.comment = comment.isEmpty ? nil : comment
    self.aliases = aliases
    self.createdAt = createdAt
    self.createdBy = createdBy
    self.updatedAt = updatedAt
    self.updatedBy = updatedBy
  }

  enum CodingKeys: String, CodingKey {
    case version, status, source, aliases, comment, id
    case modelName = "model_name"
    case catalogName = "catalog_name"
    case schemaName = "schema_name"
    case storageLocation = "storage_location"
    case runID = "run_id"
    case createdAt = "created_at"
    case createdBy = "created_by"
    case updatedAt = "updated_at"
    case updatedBy = "updated_by"
  }
}

/// The one metastore of a cluster.
public struct MetastoreInfo: Codable, Sendable, Equatable {
  public var metastoreID: String
  public var globalMetastoreID: String
  public var name: String
  public var owner: String
  public var cloud = "local"
  public var region = "local"
  public var privilegeModelVersion = "1.0"
  public var storageRoot: String
  public var createdAt: Int64
  public init(id: String, name: String, owner: String, storageRoot: String, createdAt: Int64) {
    metastoreID = id
    globalMetastoreID = "local:local:\(id)"
    self.name = name
    self.owner = owner
    self.storageRoot = storageRoot
    self.createdAt = createdAt
  }
  enum CodingKeys: String, CodingKey {
    case name, owner, cloud, region
    case metastoreID = "metastore_id"
    case globalMetastoreID = "global_metastore_id"
    case privilegeModelVersion = "privilege_model_version"
    case storageRoot = "storage_root"
    case createdAt = "created_at"
  }
}
