// SPDX-License-Identifier: Apache-2.0

// Bodies of `/api/2.1/unity-catalog/`. The server reads, checks and documents them from these declarations; members that are not here are
// passed over.

public struct CreateCatalogRequest: Codable, Sendable, Equatable {
  public var name: String
  public var comment: String?
  public var properties: [String: String]?
  /// Refused rather than passed over: catalogs have no place of their own.
  public var storageRoot: String?
  public init(name: String, comment: String? = nil, properties: [String: String]? = nil) {
    self.name = name
    self.comment = comment
    self.properties = properties
  }
  enum CodingKeys: String, CodingKey {
    case name, comment, properties
    case storageRoot = "storage_root"
  }
}

public struct CreateSchemaRequest: Codable, Sendable, Equatable {
  public var name: String
  public var catalogName: String
  public var comment: String?
  public var properties: [String: String]?
  public var storageRoot: String?
  public init(name: String, catalogName: String, comment: String? = nil, properties: [String: String]? = nil) {
    self.name = name
    self.catalogName = catalogName
    self.comment = comment
    self.properties = properties
  }
  enum CodingKeys: String, CodingKey {
    case name, comment, properties
    case catalogName = "catalog_name"
    case storageRoot = "storage_root"
  }
}

/// A column of a table that is made.
public struct ColumnRequest: Codable, Sendable, Equatable {
  public var name: String
  /// As in `array<bigint>`.
  public var typeText: String?
  /// The field, or its type, as JSON of a Delta schema.
  public var typeJSON: String?
  public var typeName: ColumnTypeName?
  public var typePrecision: Int?
  public var typeScale: Int?
  public var position: Int?
  public var nullable: Bool?
  public var comment: String?
  public var partitionIndex: Int?
  enum CodingKeys: String, CodingKey {
    case name, position, nullable, comment
    case typeText = "type_text"
    case typeJSON = "type_json"
    case typeName = "type_name"
    case typePrecision = "type_precision"
    case typeScale = "type_scale"
    case partitionIndex = "partition_index"
  }
}

public struct CreateTableRequest: Codable, Sendable, Equatable {
  public var name: String
  public var catalogName: String
  public var schemaName: String
  public var tableType: TableTypeName
  public var dataSourceFormat: DataSourceFormatName?
  public var columns: [ColumnRequest]?
  /// `file:///...`; of a managed table only one that was given out by `staging-tables`.
  public var storageLocation: String?
  public var comment: String?
  public var properties: [String: String]?
  public init(
    name: String, catalogName: String, schemaName: String, tableType: TableTypeName, columns: [ColumnRequest]? = nil, storageLocation: String? = nil,
    comment: String? = nil, properties: [String: String]? = nil
  ) {
    self.name = name
    self.catalogName = catalogName
    self.schemaName = schemaName
    self.tableType = tableType
    dataSourceFormat = .delta
    self.columns = columns
    self.storageLocation = storageLocation
    self.comment = comment
    self.properties = properties
  }
  enum CodingKeys: String, CodingKey {
    case name, columns, comment, properties
    case catalogName = "catalog_name"
    case schemaName = "schema_name"
    case tableType = "table_type"
    case dataSourceFormat = "data_source_format"
    case storageLocation = "storage_location"
  }
}

public struct CreateVolumeRequest: Codable, Sendable, Equatable {
  public var name: String
  public var catalogName: String
  public var schemaName: String
  public var volumeType: VolumeTypeName
  public var storageLocation: String?
  public var comment: String?
  public init(
    name: String, catalogName: String, schemaName: String, volumeType: VolumeTypeName, storageLocation: String? = nil, comment: String? = nil
  ) {
    self.name = name
    self.catalogName = catalogName
    self.schemaName = schemaName
    self.volumeType = volumeType
    self.storageLocation = storageLocation
    self.comment = comment
  }
  enum CodingKeys: String, CodingKey {
    case name, comment
    case catalogName = "catalog_name"
    case schemaName = "schema_name"
    case volumeType = "volume_type"
    case storageLocation = "storage_location"
  }
}

/// Of registered models, and of folders for tables to be (`staging-tables`).
public struct CreateObjectRequest: Codable, Sendable, Equatable {
  public var name: String
  public var catalogName: String
  public var schemaName: String
  public var comment: String?
  public init(name: String, catalogName: String, schemaName: String, comment: String? = nil) {
    self.name = name
    self.catalogName = catalogName
    self.schemaName = schemaName
    self.comment = comment
  }
  enum CodingKeys: String, CodingKey {
    case name, comment
    case catalogName = "catalog_name"
    case schemaName = "schema_name"
  }
}

public struct CreateModelVersionRequest: Codable, Sendable, Equatable {
  public var modelName: String
  public var catalogName: String
  public var schemaName: String
  public var source: String?
  public var runID: String?
  public var comment: String?

  public init(model: String, schema: String, catalog: String, comment: String? = nil) {
    modelName = model
    schemaName = schema
    catalogName = catalog
    self.comment = comment
  }

  enum CodingKeys: String, CodingKey {
    case source, comment
    case modelName = "model_name"
    case catalogName = "catalog_name"
    case schemaName = "schema_name"
    case runID = "run_id"
  }
}

/// Body of the calls that change an object in the catalog; what is missing stays.
public struct CatalogChangeRequest: Codable, Sendable, Equatable {
  public var comment: String?
  public var owner: String?
  public var properties: [String: String]?
  /// The last part of the name, or for a table the full name in another schema.
  public var newName: String?

  public init(comment: String? = nil, owner: String? = nil, properties: [String: String]? = nil, newName: String? = nil) {
    self.comment = comment
    self.owner = owner
    self.properties = properties
    self.newName = newName
  }

  enum CodingKeys: String, CodingKey {
    case comment, owner, properties
    case newName = "new_name"
  }
}

/// Body of `PUT models/NAME/aliases/ALIAS`.
public struct ModelAliasRequest: Codable, Sendable, Equatable {
  public var versionNum: Int
  public init(versionNum: Int) { self.versionNum = versionNum }
  enum CodingKeys: String, CodingKey { case versionNum = "version_num" }
}

/// An object without members.
public struct EmptyAnswer: Codable, Sendable, Equatable {
  public init() {}
}

/// One page of a listing; `key` is the member that holds the entries, as in `catalogs`.
public struct CatalogList<Entry: Codable & Sendable>: Codable, Sendable {
  public var key: String
  public var entries: [Entry]
  /// Give it as `page_token` for the next page; missing after the last one.
  public var nextPageToken: String?

  public init(_ key: String, _ entries: [Entry], nextPageToken: String?) {
    self.key = key
    self.entries = entries
    self.nextPageToken = nextPageToken
  }

  private struct Member: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { return nil }
  }
  private static var next: Member { Member(stringValue: "next_page_token") }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Member.self)
    nextPageToken = try container.decodeIfPresent(String.self, forKey: Self.next)
    guard let member = container.allKeys.first(where: { $0.stringValue != Self.next.stringValue }) else {
      key = ""
      entries = []
      return
    }
    key = member.stringValue
    entries = try container.decode([Entry].self, forKey: member)
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Member.self)
    try container.encode(entries, forKey: Member(stringValue: key))
    try container.encodeIfPresent(nextPageToken, forKey: Self.next)
  }
}
