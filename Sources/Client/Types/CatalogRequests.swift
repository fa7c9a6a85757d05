// SPDX-License-Identifier: Apache-2.0

/// Body of the calls that make an object in the catalog. Each kind reads the members that it has.
public struct CatalogCreateRequest: Codable, Sendable, Equatable {
  public var name: String
  public var catalogName: String?
  public var schemaName: String?
  public var comment: String?
  public var properties: [String: String]?
  /// `MANAGED` or `EXTERNAL`, of volumes.
  public var volumeType: String?
  /// `MANAGED` or `EXTERNAL`, of tables.
  public var tableType: String?
  public var dataSourceFormat: String?
  /// `file:///...` or an absolute path, of external volumes and tables.
  public var storageLocation: String?
  /// Of catalogs and schemas; not supported, and refused rather than passed over.
  public var storageRoot: String?

  public init(
    name: String, catalogName: String? = nil, schemaName: String? = nil, comment: String? = nil, properties: [String: String]? = nil,
    volumeType: String? = nil, tableType: String? = nil, dataSourceFormat: String? = nil, storageLocation: String? = nil
  ) {
    self.name = name
    self.catalogName = catalogName
    self.schemaName = schemaName
    self.comment = comment
    self.properties = properties
    self.volumeType = volumeType
    self.tableType = tableType
    self.dataSourceFormat = dataSourceFormat
    self.storageLocation = storageLocation
  }

  enum CodingKeys: String, CodingKey {
    case name, comment, properties
    case catalogName = "catalog_name"
    case schemaName = "schema_name"
    case volumeType = "volume_type"
    case tableType = "table_type"
    case dataSourceFormat = "data_source_format"
    case storageLocation = "storage_location"
    case storageRoot = "storage_root"
  }
}

/// Body of the calls that change an object in the catalog; what is missing stays.
public struct CatalogChangeRequest: Codable, Sendable, Equatable {
  public var comment: String?
  public var owner: String?
  public var properties: [String: String]?
  /// Refused: objects keep their name.
  public var newName: String?

  public init(comment: String? = nil, owner: String? = nil, properties: [String: String]? = nil) {
    self.comment = comment
    self.owner = owner
    self.properties = properties
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
