// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation

/// The metaData action.
public struct TableMetadata: Sendable, Hashable {
  public struct Format: Sendable, Hashable {
    public var provider = "parquet"
    public var options: [String: String]? = [:]
    public init() {}
  }

  public var id: String
  public var name: String?
  public var description: String?
  public var format = Format()
  public var schemaString: String
  public var partitionColumns: [String]
  public var configuration: [String: String]
  public var createdTime: Int64?

  public init(
    id: String = UUID().uuidString.lowercased(), name: String? = nil, schema: StructType, partitionColumns: [String] = [],
    configuration: [String: String] = [:], createdTime: Int64? = ProcessSupport.wallMilliseconds
  ) {
    self.id = id
    self.name = name
    schemaString = schema.schemaString
    self.partitionColumns = partitionColumns
    self.configuration = configuration
    self.createdTime = createdTime
  }

  init(id: String, schemaString: String, partitionColumns: [String], configuration: [String: String]) {
    self.id = id
    self.schemaString = schemaString
    self.partitionColumns = partitionColumns
    self.configuration = configuration
  }
}

/// A data file that becomes part of the table.
public struct AddFile: Sendable, Hashable {
  /// Relative to the table, percent-encoded; or an absolute URI.
  public var path: String
  /// By physical column name; nil is null.
  public var partitionValues: [String: String?]
  public var size: Int64
  public var modificationTime: Int64
  public var dataChange: Bool
  /// JSON text: numRecords, tightBounds, minValues, maxValues, nullCount.
  public var stats: String?
  public var tags: [String: String]?
  /// Rows of the file that are no longer in the table.
  public var deletionVector: DeletionVectorDescriptor?
  /// Row id of the file's first row ("Row Tracking").
  public var baseRowId: Int64?
  public var defaultRowCommitVersion: Int64?
  public var clusteringProvider: String?

  /// - Parameter relativePath: as it lies in the file system; it is encoded here.
  public init(
    relativePath: String, size: Int64, statistics: JSONValue?, partitionValues: [String: String?] = [:],
    modificationTime: Int64 = ProcessSupport.wallMilliseconds
  ) {
    self.init(path: DeltaPath.encode(relativePath), partitionValues: partitionValues, size: size, modificationTime: modificationTime)
    stats = statistics.map(JSONText.text(of:))
  }

  /// - Parameter path: as it stands in the log: percent-encoded, or an absolute URI.
  public init(path: String, partitionValues: [String: String?], size: Int64, modificationTime: Int64, dataChange: Bool = true) {
    self.path = path
    self.partitionValues = partitionValues
    self.size = size
    self.modificationTime = modificationTime
    self.dataChange = dataChange
  }

  /// The path as it lies in the file system, below the table's folder.
  /// - Throws: `invalidFile` for absolute paths, URLs, and paths that leave the table.
  public func relativePath() throws -> String { try DeltaPath.decode(path) }

  /// Where the file lies, absolute locations included.
  public func location() throws -> FileLocation { try DeltaPath.location(path) }

  /// Rows in the table: `numRecords` of the statistics less the deletion vector's.
  public var rowCount: Int64? {
    guard let rows = physicalRowCount else { return nil }
    guard let deleted = deletionVector?.cardinality else { return rows }
    return deleted <= rows ? rows - deleted : nil
  }

  /// `numRecords` of the statistics: rows in the data file, deleted ones included.
  public var physicalRowCount: Int64? { stats.flatMap(FileStatistics.rowCount(in:)) }
}

/// A data file that is part of the table no more.
public struct RemoveFile: Sendable, Hashable {
  public var path: String
  public var deletionTimestamp: Int64?
  public var dataChange: Bool
  public var extendedFileMetadata: Bool?
  public var partitionValues: [String: String?]?
  public var size: Int64?
  public var stats: String?
  public var tags: [String: String]?
  public var deletionVector: DeletionVectorDescriptor?
  public var baseRowId: Int64?
  public var defaultRowCommitVersion: Int64?

  public init(path: String, deletionTimestamp: Int64?, dataChange: Bool = true) {
    self.path = path
    self.deletionTimestamp = deletionTimestamp
    self.dataChange = dataChange
  }

  /// The removal of `file`, with all that the protocol wants kept.
  public init(_ file: AddFile, deletionTimestamp: Int64, dataChange: Bool = true) {
    self.init(path: file.path, deletionTimestamp: deletionTimestamp, dataChange: dataChange)
    extendedFileMetadata = true
    partitionValues = file.partitionValues
    size = file.size
    stats = file.stats
    tags = file.tags
    deletionVector = file.deletionVector
    baseRowId = file.baseRowId
    defaultRowCommitVersion = file.defaultRowCommitVersion
  }

  public func location() throws -> FileLocation { try DeltaPath.location(path) }
}

/// A file with changed rows only ("Add CDC File"): it has a column `_change_type`.
public struct ChangeFile: Sendable, Hashable {
  public var path: String
  public var partitionValues: [String: String?]
  public var size: Int64
  public var tags: [String: String]?

  /// - Parameter path: percent-encoded, below `_change_data`.
  public init(path: String, partitionValues: [String: String?], size: Int64) {
    self.path = path
    self.partitionValues = partitionValues
    self.size = size
  }

  public func location() throws -> FileLocation { try DeltaPath.location(path) }
}

/// How far an application got: a commit with a version not above the recorded one was made before.
public struct AppTransaction: Sendable, Hashable {
  public var appId: String
  public var version: Int64
  public var lastUpdated: Int64?
  public init(appId: String, version: Int64, lastUpdated: Int64? = ProcessSupport.wallMilliseconds) {
    self.appId = appId
    self.version = version
    self.lastUpdated = lastUpdated
  }
}

/// A named piece of configuration; names with the prefix `delta.` belong to the protocol.
public struct DomainMetadata: Sendable, Hashable {
  public var domain: String
  public var configuration: String
  public var removed: Bool
  public init(domain: String, configuration: String, removed: Bool = false) {
    self.domain = domain
    self.configuration = configuration
    self.removed = removed
  }
}

/// Who committed what, for people; the identity of the commit; and its time where in-commit timestamps are on.
public struct CommitInfo: Sendable, Hashable {
  public var timestamp: Int64?
  public var inCommitTimestamp: Int64?
  public var operation: String?
  public var operationParameters: JSONValue?
  public var operationMetrics: JSONValue?
  public var engineInfo: String?
  public var isBlindAppend: Bool?
  public var isolationLevel: String?
  public var readVersion: Int64?
  public var txnId: String?
  public var userName: String?
  public var userMetadata: String?
  public var tags: [String: String]?
  /// Members that are not listed above.
  public var other: [String: JSONValue] = [:]
  public init() {}
}

/// Marks a V2 checkpoint.
public struct CheckpointMetadata: Sendable, Hashable {
  public var version: Int64
  public var tags: [String: String]?
  public init(version: Int64, tags: [String: String]? = nil) {
    self.version = version
    self.tags = tags
  }
}

/// A file below `_delta_log/_sidecars` with file actions of a V2 checkpoint.
public struct Sidecar: Sendable, Hashable {
  public var path: String
  public var sizeInBytes: Int64
  public var modificationTime: Int64
  public var tags: [String: String]?
  public init(path: String, sizeInBytes: Int64, modificationTime: Int64, tags: [String: String]? = nil) {
    self.path = path
    self.sizeInBytes = sizeInBytes
    self.modificationTime = modificationTime
    self.tags = tags
  }
}

/// One line of a commit or one row of a checkpoint.
public enum Action: Sendable, Hashable {
  case `protocol`(TableProtocol)
  case metadata(TableMetadata)
  case add(AddFile)
  case remove(RemoveFile)
  case change(ChangeFile)
  case transaction(AppTransaction)
  case domain(DomainMetadata)
  case commitInfo(CommitInfo)
  case checkpoint(CheckpointMetadata)
  case sidecar(Sidecar)
}
