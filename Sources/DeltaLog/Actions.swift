// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation

/// Versions and features that a reader or writer has to know ("Protocol Evolution").
public struct TableProtocol: Codable, Sendable, Hashable {
  public var minReaderVersion: Int
  public var minWriterVersion: Int
  public var readerFeatures: [String]?
  public var writerFeatures: [String]?

  public init(
    minReaderVersion: Int = 1, minWriterVersion: Int = 2, readerFeatures: [String]? = nil, writerFeatures: [String]? = nil
  ) {
    self.minReaderVersion = minReaderVersion
    self.minWriterVersion = minWriterVersion
    self.readerFeatures = readerFeatures
    self.writerFeatures = writerFeatures
  }

  static let knownFeatures: Set<String> = ["timestampNtz", "appendOnly", "invariants"]

  /// - Throws: `invalidFile` naming what this reader does not know.
  func checkReadable(_ metadata: TableMetadata?) throws {
    let unknown = (readerFeatures ?? []).filter { !Self.knownFeatures.contains($0) }
    guard minReaderVersion <= 3, unknown.isEmpty else {
      let what =
        unknown.isEmpty
        ? "reader version \(minReaderVersion)" : "the reader features " + unknown.sorted().joined(separator: ", ")
      throw PlatformError(.invalidFile, "the table needs \(what), which this reader does not know")
    }
    if let mode = metadata?.configuration["delta.columnMapping.mode"], mode != "none" {
      throw PlatformError(.invalidFile, "the table needs the reader feature columnMapping, which this reader does not know")
    }
  }

  func checkWritable() throws {
    let unknown = (writerFeatures ?? []).filter { !Self.knownFeatures.contains($0) }
    guard minWriterVersion <= 2 || (minWriterVersion == 7 && unknown.isEmpty) else {
      let what =
        unknown.isEmpty
        ? "writer version \(minWriterVersion)" : "the writer features " + unknown.sorted().joined(separator: ", ")
      throw PlatformError(.invalidFile, "the table needs \(what), which this writer does not know")
    }
  }
}

/// The metaData action.
public struct TableMetadata: Codable, Sendable, Hashable {
  public struct Format: Codable, Sendable, Hashable {
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
}

/// A data file that becomes part of the table.
public struct AddFile: Codable, Sendable, Hashable {
  /// Relative to the table, percent-encoded.
  public var path: String
  public var partitionValues: [String: String?]
  public var size: Int64
  public var modificationTime: Int64
  public var dataChange: Bool
  /// JSON text: numRecords, minValues, maxValues, nullCount.
  public var stats: String?
  var deletionVector: JSONValue?

  /// - Parameter relativePath: as it lies in the file system; it is encoded here.
  public init(
    relativePath: String, size: Int64, statistics: JSONValue?, partitionValues: [String: String?] = [:],
    modificationTime: Int64 = ProcessSupport.wallMilliseconds
  ) {
    path = DeltaPath.encode(relativePath)
    self.partitionValues = partitionValues
    self.size = size
    self.modificationTime = modificationTime
    dataChange = true
    stats = statistics?.sortedText
  }

  /// The path as it lies in the file system, below the table's folder.
  /// - Throws: `invalidFile` for absolute paths, URLs, and paths that leave the table.
  public func relativePath() throws -> String { try DeltaPath.decode(path) }

  /// `numRecords` of the statistics.
  public var rowCount: Int64? {
    stats.flatMap { try? JSONValue(parsing: $0) }?["numRecords"]?.intValue.map(Int64.init)  // statistics are optional
  }
}

/// A data file that is part of the table no more.
public struct RemoveFile: Codable, Sendable, Hashable {
  public var path: String
  public var deletionTimestamp: Int64?
  public var dataChange: Bool
  public var extendedFileMetadata: Bool?
  public var partitionValues: [String: String?]?
  public var size: Int64?
}

/// How far an application got: a commit with a version not above the recorded one was made before.
public struct AppTransaction: Codable, Sendable, Hashable {
  public var appId: String
  public var version: Int64
  public var lastUpdated: Int64?
  public init(appId: String, version: Int64, lastUpdated: Int64? = ProcessSupport.wallMilliseconds) {
    self.appId = appId
    self.version = version
    self.lastUpdated = lastUpdated
  }
}

/// Who committed what, for people; and the identity of the commit.
public struct CommitInfo: Codable, Sendable, Hashable {
  public var timestamp: Int64?
  public var operation: String?
  public var operationParameters: JSONValue?
  public var operationMetrics: JSONValue?
  public var engineInfo: String?
  public var isBlindAppend: Bool?
  public var readVersion: Int64?
  public var txnId: String?
}

/// One line of a commit or one row of a checkpoint: exactly one member is set; kinds unknown here are skipped.
struct ActionLine: Codable {
  var `protocol`: TableProtocol?
  var metaData: TableMetadata?
  var add: AddFile?
  var remove: RemoveFile?
  var txn: AppTransaction?
  var commitInfo: CommitInfo?
}

enum DeltaPath {
  /// RFC 2396: unreserved characters and `/` stay.
  static func encode(_ path: String) -> String {
    let kept = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()/=+".utf8)
    var out = ""
    for byte in path.utf8 {
      if kept.contains(byte) {
        out.unicodeScalars.append(Unicode.Scalar(byte))
      } else {
        out += "%" + [byte].hexadecimal.uppercased()
      }
    }
    return out
  }

  static func decode(_ path: String) throws -> String {
    guard let text = path.removingPercentEncoding, !text.hasPrefix("/"), !path.contains("://"),
      !text.split(separator: "/", omittingEmptySubsequences: false).contains(where: { $0 == ".." || $0 == "." || $0.isEmpty }
      )
    else { throw PlatformError(.invalidFile, "a file path of the table leaves the table", path: path) }
    return text
  }
}
