// SPDX-License-Identifier: Apache-2.0

// `/api/2.0/lineage-tracking/`: where the rows and columns of a table come from, and where they go.

/// Asks for the neighbours of a table, or of one of its columns.
public struct LineageRequest: Codable, Sendable, Equatable {
  public var tableName: String
  public var columnName: String?
  public init(tableName: String, columnName: String? = nil) {
    self.tableName = tableName
    self.columnName = columnName
  }
  enum CodingKeys: String, CodingKey {
    case tableName = "table_name"
    case columnName = "column_name"
  }
}

/// When rows last went this way, and who sent them.
public struct LineageEvent: Codable, Sendable, Equatable {
  /// The version that was read.
  public var sourceVersion: Int64?
  /// The version that was made.
  public var targetVersion: Int64?
  public var runID: String?
  public var taskKey: String?
  public var createdBy: String?
  /// Milliseconds since 1970.
  public var eventTime: Int64
  public init(sourceVersion: Int64?, targetVersion: Int64?, runID: String?, taskKey: String?, createdBy: String?, eventTime: Int64) {
    self.sourceVersion = sourceVersion
    self.targetVersion = targetVersion
    self.runID = runID
    self.taskKey = taskKey
    self.createdBy = createdBy
    self.eventTime = eventTime
  }
  enum CodingKeys: String, CodingKey {
    case sourceVersion = "source_version"
    case targetVersion = "target_version"
    case runID = "run_id"
    case taskKey = "task_key"
    case createdBy = "created_by"
    case eventTime = "event_time"
  }
}

/// A neighbour of a table: another table or view, or something else that has a name.
public struct LineageNeighbour: Codable, Sendable, Equatable {
  public struct Table: Codable, Sendable, Equatable {
    public var name: String
    public var catalogName: String
    public var schemaName: String
    /// `TABLE` or `VIEW`.
    public var tableType: String
    public init(name: String, catalogName: String, schemaName: String, tableType: String) {
      self.name = name
      self.catalogName = catalogName
      self.schemaName = schemaName
      self.tableType = tableType
    }
    enum CodingKeys: String, CodingKey {
      case name
      case catalogName = "catalog_name"
      case schemaName = "schema_name"
      case tableType = "table_type"
    }
  }
  /// A model, an endpoint, an index, a path.
  public struct Object: Codable, Sendable, Equatable {
    public var kind: String
    public var name: String
    public init(kind: String, name: String) {
      self.kind = kind
      self.name = name
    }
  }
  public var tableInfo: Table?
  public var objectInfo: Object?
  public var event: LineageEvent
  public init(tableInfo: Table?, objectInfo: Object?, event: LineageEvent) {
    self.tableInfo = tableInfo
    self.objectInfo = objectInfo
    self.event = event
  }

  public var fullName: String { tableInfo.map { "\($0.catalogName).\($0.schemaName).\($0.name)" } ?? objectInfo?.name ?? "" }
  public var kind: String { tableInfo?.tableType.lowercased() ?? objectInfo?.kind ?? "" }
}

public struct TableLineageInfo: Codable, Sendable, Equatable {
  public var upstreams: [LineageNeighbour]
  public var downstreams: [LineageNeighbour]
  public init(upstreams: [LineageNeighbour], downstreams: [LineageNeighbour]) {
    self.upstreams = upstreams
    self.downstreams = downstreams
  }
}

public struct LineageColumn: Codable, Sendable, Equatable {
  public var name: String
  public var catalogName: String
  public var schemaName: String
  public var tableName: String
  public var event: LineageEvent
  public init(name: String, catalogName: String, schemaName: String, tableName: String, event: LineageEvent) {
    self.name = name
    self.catalogName = catalogName
    self.schemaName = schemaName
    self.tableName = tableName
    self.event = event
  }
  public var fullTableName: String { "\(catalogName).\(schemaName).\(tableName)" }
  enum CodingKeys: String, CodingKey {
    case name, event
    case catalogName = "catalog_name"
    case schemaName = "schema_name"
    case tableName = "table_name"
  }
}

public struct ColumnLineageInfo: Codable, Sendable, Equatable {
  public var upstreamColumns: [LineageColumn]
  public var downstreamColumns: [LineageColumn]
  public init(upstreamColumns: [LineageColumn], downstreamColumns: [LineageColumn]) {
    self.upstreamColumns = upstreamColumns
    self.downstreamColumns = downstreamColumns
  }
  enum CodingKeys: String, CodingKey {
    case upstreamColumns = "upstream_cols"
    case downstreamColumns = "downstream_cols"
  }
}
