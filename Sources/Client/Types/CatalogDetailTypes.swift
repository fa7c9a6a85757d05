// SPDX-License-Identifier: Apache-2.0

// Constraints, tags, credentials for storage, commits: the smaller calls of `/api/2.1/unity-catalog/`.

/// Exactly one of the three.
public struct TableConstraint: Codable, Sendable, Equatable {
  public struct PrimaryKey: Codable, Sendable, Equatable {
    public var name: String
    public var childColumns: [String]
    public var timeseriesColumns: [String]?
    public var rely: Bool?
    public init(name: String, childColumns: [String], timeseriesColumns: [String]?, rely: Bool?) {
      self.name = name
      self.childColumns = childColumns
      self.timeseriesColumns = timeseriesColumns
      self.rely = rely
    }
    enum CodingKeys: String, CodingKey {
      case name, rely
      case childColumns = "child_columns"
      case timeseriesColumns = "timeseries_columns"
    }
  }
  public struct ForeignKey: Codable, Sendable, Equatable {
    public var name: String
    public var childColumns: [String]
    public var parentTable: String
    public var parentColumns: [String]?
    public var rely: Bool?
    public init(name: String, childColumns: [String], parentTable: String, parentColumns: [String]?, rely: Bool?) {
      self.name = name
      self.childColumns = childColumns
      self.parentTable = parentTable
      self.parentColumns = parentColumns
      self.rely = rely
    }
    enum CodingKeys: String, CodingKey {
      case name, rely
      case childColumns = "child_columns"
      case parentTable = "parent_table"
      case parentColumns = "parent_columns"
    }
  }
  public struct Named: Codable, Sendable, Equatable {
    public var name: String
    public init(name: String) { self.name = name }
  }
  public var primaryKey: PrimaryKey?
  public var foreignKey: ForeignKey?
  public var named: Named?
  public init(primaryKey: PrimaryKey? = nil, foreignKey: ForeignKey? = nil, named: Named? = nil) {
    self.primaryKey = primaryKey
    self.foreignKey = foreignKey
    self.named = named
  }
  enum CodingKeys: String, CodingKey {
    case primaryKey = "primary_key_constraint"
    case foreignKey = "foreign_key_constraint"
    case named = "named_table_constraint"
  }
}

public struct CreateConstraintRequest: Codable, Sendable, Equatable {
  public var fullNameArg: String
  public var constraint: TableConstraint
  public init(fullNameArg: String, constraint: TableConstraint) {
    self.fullNameArg = fullNameArg
    self.constraint = constraint
  }
  enum CodingKeys: String, CodingKey {
    case constraint
    case fullNameArg = "full_name_arg"
  }
}

public struct TagAssignment: Codable, Sendable, Equatable {
  /// `catalogs`, `schemas`, `tables`, `columns`, `volumes`, `models`, `connections`, `external_locations` or `credentials`.
  public var entityType: String
  public var entityName: String
  public var tagKey: String
  public var tagValue: String?
  /// RFC 3339.
  public var updateTime: String?
  public var updatedBy: String?
  public init(entityType: String, entityName: String, tagKey: String, tagValue: String?, updateTime: String? = nil, updatedBy: String? = nil) {
    self.entityType = entityType
    self.entityName = entityName
    self.tagKey = tagKey
    self.tagValue = tagValue
    self.updateTime = updateTime
    self.updatedBy = updatedBy
  }
  enum CodingKeys: String, CodingKey {
    case entityType = "entity_type"
    case entityName = "entity_name"
    case tagKey = "tag_key"
    case tagValue = "tag_value"
    case updateTime = "update_time"
    case updatedBy = "updated_by"
  }
}

public struct ChangeTagRequest: Codable, Sendable, Equatable {
  public var tagValue: String?
  enum CodingKeys: String, CodingKey { case tagValue = "tag_value" }
}

public struct TableSummary: Codable, Sendable, Equatable {
  public var fullName: String
  public var tableType: String
  public init(fullName: String, tableType: String) {
    self.fullName = fullName
    self.tableType = tableType
  }
  enum CodingKeys: String, CodingKey {
    case fullName = "full_name"
    case tableType = "table_type"
  }
}

/// Something that was dropped and can still be brought back.
public struct DroppedInfo: Codable, Sendable, Equatable {
  /// `catalog`, `schema`, `table` or `volume`.
  public var kind: String
  public var id: String
  public var fullName: String
  public var droppedAt: Int64
  public var droppedBy: String
  /// When it is removed for good.
  public var purgedAfter: Int64
  public init(kind: String, id: String, fullName: String, droppedAt: Int64, droppedBy: String, purgedAfter: Int64) {
    self.kind = kind
    self.id = id
    self.fullName = fullName
    self.droppedAt = droppedAt
    self.droppedBy = droppedBy
    self.purgedAfter = purgedAfter
  }
  enum CodingKeys: String, CodingKey {
    case kind, id
    case fullName = "full_name"
    case droppedAt = "dropped_at"
    case droppedBy = "dropped_by"
    case purgedAfter = "purged_after"
  }
}

public struct StagingTableInfo: Codable, Sendable, Equatable {
  public var id: String
  public var name: String
  public var catalogName: String
  public var schemaName: String
  public var stagingLocation: String
  public init(id: String, name: String, catalogName: String, schemaName: String, stagingLocation: String) {
    self.id = id
    self.name = name
    self.catalogName = catalogName
    self.schemaName = schemaName
    self.stagingLocation = stagingLocation
  }
  enum CodingKeys: String, CodingKey {
    case id, name
    case catalogName = "catalog_name"
    case schemaName = "schema_name"
    case stagingLocation = "staging_location"
  }
}

/// Asks how to open the storage of one thing: `table_id`, `volume_id`, `url`, or a version of a model.
public struct TemporaryCredentialsRequest: Codable, Sendable, Equatable {
  public var tableID: String?
  public var volumeID: String?
  public var url: String?
  public var catalogName: String?
  public var schemaName: String?
  public var modelName: String?
  public var version: Int?
  /// As in `READ_WRITE`, `WRITE_VOLUME`, `PATH_READ`.
  public var operation: String?
  enum CodingKeys: String, CodingKey {
    case url, version, operation
    case tableID = "table_id"
    case volumeID = "volume_id"
    case catalogName = "catalog_name"
    case schemaName = "schema_name"
    case modelName = "model_name"
  }
}

/// Where the storage is; of a folder of this machine there is nothing else to know.
public struct TemporaryCredentials: Codable, Sendable, Equatable {
  public struct Keys: Codable, Sendable, Equatable {
    public var accessKeyID: String
    public var secretAccessKey: String
    public var sessionToken: String?
    public init(accessKeyID: String, secretAccessKey: String, sessionToken: String?) {
      self.accessKeyID = accessKeyID
      self.secretAccessKey = secretAccessKey
      self.sessionToken = sessionToken
    }
    enum CodingKeys: String, CodingKey {
      case accessKeyID = "access_key_id"
      case secretAccessKey = "secret_access_key"
      case sessionToken = "session_token"
    }
  }
  public var url: String
  public var awsTempCredentials: Keys?
  public var expirationTime: Int64?
  public init(url: String, awsTempCredentials: Keys? = nil, expirationTime: Int64? = nil) {
    self.url = url
    self.awsTempCredentials = awsTempCredentials
    self.expirationTime = expirationTime
  }
  enum CodingKeys: String, CodingKey {
    case url
    case awsTempCredentials = "aws_temp_credentials"
    case expirationTime = "expiration_time"
  }
}

public struct DeltaCommitInfo: Codable, Sendable, Equatable {
  public var version: Int64
  public var timestamp: Int64
  public var fileName: String
  public var fileSize: Int64
  public var fileModificationTimestamp: Int64
  public init(version: Int64, timestamp: Int64, fileName: String, fileSize: Int64, fileModificationTimestamp: Int64) {
    self.version = version
    self.timestamp = timestamp
    self.fileName = fileName
    self.fileSize = fileSize
    self.fileModificationTimestamp = fileModificationTimestamp
  }
  enum CodingKeys: String, CodingKey {
    case version, timestamp
    case fileName = "file_name"
    case fileSize = "file_size"
    case fileModificationTimestamp = "file_modification_timestamp"
  }
}

public struct DeltaCommitRequest: Codable, Sendable, Equatable {
  public var tableID: String
  public var tableURI: String
  public var commitInfo: DeltaCommitInfo?
  public var latestBackfilledVersion: Int64?
  enum CodingKeys: String, CodingKey {
    case tableID = "table_id"
    case tableURI = "table_uri"
    case commitInfo = "commit_info"
    case latestBackfilledVersion = "latest_backfilled_version"
  }
}

public struct DeltaCommitsRequest: Codable, Sendable, Equatable {
  public var tableID: String
  public var tableURI: String
  public var startVersion: Int64
  public var endVersion: Int64?
  public init(tableID: String, tableURI: String, startVersion: Int64, endVersion: Int64?) {
    self.tableID = tableID
    self.tableURI = tableURI
    self.startVersion = startVersion
    self.endVersion = endVersion
  }
  enum CodingKeys: String, CodingKey {
    case tableID = "table_id"
    case tableURI = "table_uri"
    case startVersion = "start_version"
    case endVersion = "end_version"
  }
}

public struct DeltaCommits: Codable, Sendable, Equatable {
  public var commits: [DeltaCommitInfo]
  public var latestTableVersion: Int64
  public init(commits: [DeltaCommitInfo], latestTableVersion: Int64) {
    self.commits = commits
    self.latestTableVersion = latestTableVersion
  }
  enum CodingKeys: String, CodingKey {
    case commits
    case latestTableVersion = "latest_table_version"
  }
}
