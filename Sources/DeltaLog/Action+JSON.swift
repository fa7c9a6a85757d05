// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

extension Action {
  /// The actions of a commit, a log compaction or a JSON checkpoint: one JSON document a line. Kinds unknown here are skipped.
  /// - Throws: `invalidFile` naming `name` and the byte.
  static func parse(_ data: Data, name: String) throws -> [Action] {
    do {
      return try JSONScanner.scan(data) { scanner in
        var actions: [Action] = []
        while !scanner.isAtEnd() {
          if let action = try Action(&scanner) { actions.append(action) }
        }
        return actions
      }
    } catch {
      throw PlatformError(.invalidFile, "a damaged action in the table's log: \(PlatformError.from(error).message)", path: name)
    }
  }

  /// One action; nil for a kind that is unknown here and for an empty row.
  init?(_ scanner: inout JSONScanner) throws {
    var found: Action?
    try scanner.members { scanner, key in
      if try scanner.null() { return }
      let action: Action
      switch key {
      case "add": action = .add(try AddFile(&scanner))
      case "remove": action = .remove(try RemoveFile(&scanner))
      case "metaData": action = .metadata(try TableMetadata(&scanner))
      case "protocol": action = .protocol(try TableProtocol(&scanner))
      case "txn": action = .transaction(try AppTransaction(&scanner))
      case "domainMetadata": action = .domain(try DomainMetadata(&scanner))
      case "cdc": action = .change(try ChangeFile(&scanner))
      case "commitInfo": action = .commitInfo(try CommitInfo(&scanner))
      case "checkpointMetadata": action = .checkpoint(try CheckpointMetadata(&scanner))
      case "sidecar": action = .sidecar(try Sidecar(&scanner))
      default: return try scanner.skip()
      }
      guard found == nil else { throw scanner.fault("two actions in one line") }
      found = action
    }
    guard let found else { return nil }
    self = found
  }

  /// One line without its end.
  func write(_ out: inout JSONText) {
    out.object { out in
      switch self {
      case .protocol(let value):
        out.key("protocol")
        value.write(&out)
      case .metadata(let value):
        out.key("metaData")
        value.write(&out)
      case .add(let value):
        out.key("add")
        value.write(&out)
      case .remove(let value):
        out.key("remove")
        value.write(&out)
      case .change(let value):
        out.key("cdc")
        value.write(&out)
      case .transaction(let value):
        out.key("txn")
        out.object {
          $0.member("appId", value.appId)
          $0.member("version", value.version)
          $0.member("lastUpdated", value.lastUpdated)
        }
      case .domain(let value):
        out.key("domainMetadata")
        out.object {
          $0.member("domain", value.domain)
          $0.member("configuration", value.configuration)
          $0.member("removed", value.removed)
        }
      case .commitInfo(let value):
        out.key("commitInfo")
        value.write(&out)
      case .checkpoint(let value):
        out.key("checkpointMetadata")
        out.object {
          $0.member("version", value.version)
          $0.member("tags", value.tags)
        }
      case .sidecar(let value):
        out.key("sidecar")
        out.object {
          $0.member("path", value.path)
          $0.member("sizeInBytes", value.sizeInBytes)
          $0.member("modificationTime", value.modificationTime)
          $0.member("tags", value.tags)
        }
      }
    }
  }

  /// The bytes of a commit file.
  static func encode(_ actions: [Action]) -> Data {
    var out = JSONText()
    for action in actions {
      action.write(&out)
      out.newline()
    }
    return out.data
  }

  var line: Data {
    var out = JSONText()
    write(&out)
    return out.data
  }
}

extension JSONScanner {
  func required<T>(_ value: T?, _ name: String) throws -> T {
    guard let value else { throw fault("missing '\(name)'") }
    return value
  }
}

extension TableProtocol {
  init(_ scanner: inout JSONScanner) throws {
    var reader: Int64?
    var writer: Int64?
    var readers: [String]?
    var writers: [String]?
    try scanner.members { scanner, key in
      switch key {
      case "minReaderVersion": reader = try scanner.integer()
      case "minWriterVersion": writer = try scanner.integer()
      case "readerFeatures": readers = try scanner.null() ? nil : scanner.strings()
      case "writerFeatures": writers = try scanner.null() ? nil : scanner.strings()
      default: try scanner.skip()
      }
    }
    guard let minReader = Int(exactly: try scanner.required(reader, "minReaderVersion")),
      let minWriter = Int(exactly: try scanner.required(writer, "minWriterVersion"))
    else { throw scanner.fault("a protocol version that is too large") }
    self.init(minReaderVersion: minReader, minWriterVersion: minWriter, readerFeatures: readers, writerFeatures: writers)
  }

  func write(_ out: inout JSONText) {
    out.object {
      $0.member("minReaderVersion", minReaderVersion)
      $0.member("minWriterVersion", minWriterVersion)
      $0.member("readerFeatures", readerFeatures)
      $0.member("writerFeatures", writerFeatures)
    }
  }
}

extension TableMetadata {
  init(_ scanner: inout JSONScanner) throws {
    var identity: String?
    var schema: String?
    self.init(id: "", schemaString: "", partitionColumns: [], configuration: [:])
    var value = self
    try scanner.members { scanner, key in
      switch key {
      case "id": identity = try scanner.string()
      case "name": value.name = try scanner.stringOrNull()
      case "description": value.description = try scanner.stringOrNull()
      case "schemaString": schema = try scanner.string()
      case "partitionColumns": value.partitionColumns = try scanner.null() ? [] : scanner.strings()
      case "configuration": value.configuration = try scanner.null() ? [:] : scanner.stringMap()
      case "createdTime": value.createdTime = try scanner.integerOrNull()
      case "format":
        guard try !scanner.null() else { return }
        try scanner.members { scanner, key in
          switch key {
          case "provider": value.format.provider = try scanner.stringOrNull() ?? "parquet"
          case "options": value.format.options = try scanner.null() ? nil : scanner.stringMap()
          default: try scanner.skip()
          }
        }
      default: try scanner.skip()
      }
    }
    value.id = try scanner.required(identity, "id")
    value.schemaString = try scanner.required(schema, "schemaString")
    self = value
  }

  func write(_ out: inout JSONText) {
    out.object {
      $0.member("id", id)
      $0.member("name", name)
      $0.member("description", description)
      $0.key("format")
      $0.object {
        $0.member("provider", format.provider)
        $0.member("options", format.options ?? [:])
      }
      $0.member("schemaString", schemaString)
      $0.member("partitionColumns", partitionColumns)
      $0.member("configuration", configuration)
      $0.member("createdTime", createdTime)
    }
  }
}

extension AddFile {
  init(_ scanner: inout JSONScanner) throws {
    var path: String?
    var size: Int64?
    var parsedStatistics: JSONValue?
    var value = AddFile(path: "", partitionValues: [:], size: 0, modificationTime: 0)
    try scanner.members { scanner, key in
      switch key {
      case "path": path = try scanner.string()
      case "partitionValues": value.partitionValues = try scanner.null() ? [:] : scanner.nullableStringMap()
      case "size": size = try scanner.size()
      case "modificationTime": value.modificationTime = try scanner.integerOrNull() ?? 0
      case "dataChange": value.dataChange = try scanner.boolOrNull() ?? true
      case "stats": value.stats = try scanner.stringOrNull()
      case "stats_parsed": parsedStatistics = try scanner.value()
      case "tags": value.tags = try scanner.null() ? nil : scanner.stringMap()
      case "deletionVector": value.deletionVector = try scanner.null() ? nil : DeletionVectorDescriptor(&scanner)
      case "baseRowId": value.baseRowId = try scanner.sizeOrNull()
      case "defaultRowCommitVersion": value.defaultRowCommitVersion = try scanner.sizeOrNull()
      case "clusteringProvider": value.clusteringProvider = try scanner.stringOrNull()
      default: try scanner.skip()
      }
    }
    value.path = try scanner.required(path, "path")
    value.size = try scanner.required(size, "size")
    do { _ = try DeltaPath.location(value.path) } catch { throw scanner.fault("\(PlatformError.from(error).message): '\(value.path.prefix(300))'") }
    // Checkpoints may hold statistics as columns only (`delta.checkpoint.writeStatsAsJson` false).
    if value.stats == nil, let parsed = parsedStatistics, parsed != .null {
      value.stats = JSONText.text(of: FileStatistics.withoutNulls(parsed))
    }
    self = value
  }

  func write(_ out: inout JSONText) {
    out.object {
      $0.member("path", path)
      $0.member("partitionValues", nullable: partitionValues)
      $0.member("size", size)
      $0.member("modificationTime", modificationTime)
      $0.member("dataChange", dataChange)
      $0.member("stats", stats)
      $0.member("tags", tags)
      deletionVector?.write(&$0)
      $0.member("baseRowId", baseRowId)
      $0.member("defaultRowCommitVersion", defaultRowCommitVersion)
      $0.member("clusteringProvider", clusteringProvider)
    }
  }
}

extension RemoveFile {
  init(_ scanner: inout JSONScanner) throws {
    var path: String?
    var value = RemoveFile(path: "", deletionTimestamp: nil)
    try scanner.members { scanner, key in
      switch key {
      case "path": path = try scanner.string()
      case "deletionTimestamp": value.deletionTimestamp = try scanner.integerOrNull()
      case "dataChange": value.dataChange = try scanner.boolOrNull() ?? true
      case "extendedFileMetadata": value.extendedFileMetadata = try scanner.boolOrNull()
      case "partitionValues": value.partitionValues = try scanner.null() ? nil : scanner.nullableStringMap()
      case "size": value.size = try scanner.sizeOrNull()
      case "stats": value.stats = try scanner.stringOrNull()
      case "tags": value.tags = try scanner.null() ? nil : scanner.stringMap()
      case "deletionVector": value.deletionVector = try scanner.null() ? nil : DeletionVectorDescriptor(&scanner)
      case "baseRowId": value.baseRowId = try scanner.sizeOrNull()
      case "defaultRowCommitVersion": value.defaultRowCommitVersion = try scanner.sizeOrNull()
      default: try scanner.skip()
      }
    }
    value.path = try scanner.required(path, "path")
    self = value
  }

  func write(_ out: inout JSONText) {
    out.object {
      $0.member("path", path)
      $0.member("deletionTimestamp", deletionTimestamp)
      $0.member("dataChange", dataChange)
      $0.member("extendedFileMetadata", extendedFileMetadata)
      $0.member("partitionValues", nullable: partitionValues)
      $0.member("size", size)
      $0.member("stats", stats)
      $0.member("tags", tags)
      deletionVector?.write(&$0)
      $0.member("baseRowId", baseRowId)
      $0.member("defaultRowCommitVersion", defaultRowCommitVersion)
    }
  }
}

extension ChangeFile {
  init(_ scanner: inout JSONScanner) throws {
    var path: String?
    var size: Int64?
    var value = ChangeFile(path: "", partitionValues: [:], size: 0)
    try scanner.members { scanner, key in
      switch key {
      case "path": path = try scanner.string()
      case "partitionValues": value.partitionValues = try scanner.null() ? [:] : scanner.nullableStringMap()
      case "size": size = try scanner.size()
      case "tags": value.tags = try scanner.null() ? nil : scanner.stringMap()
      default: try scanner.skip()
      }
    }
    value.path = try scanner.required(path, "path")
    value.size = try scanner.required(size, "size")
    do { _ = try DeltaPath.location(value.path) } catch { throw scanner.fault("\(PlatformError.from(error).message): '\(value.path.prefix(300))'") }
    self = value
  }

  func write(_ out: inout JSONText) {
    out.object {
      $0.member("path", path)
      $0.member("partitionValues", nullable: partitionValues)
      $0.member("size", size)
      $0.member("dataChange", false)
      $0.member("tags", tags)
    }
  }
}

extension AppTransaction {
  init(_ scanner: inout JSONScanner) throws {
    var appId: String?
    var version: Int64?
    var lastUpdated: Int64?
    try scanner.members { scanner, key in
      switch key {
      case "appId": appId = try scanner.string()
      case "version": version = try scanner.integer()
      case "lastUpdated": lastUpdated = try scanner.integerOrNull()
      default: try scanner.skip()
      }
    }
    self.init(
      appId: try scanner.required(appId, "appId"), version: try scanner.required(version, "version"), lastUpdated: lastUpdated)
  }
}

extension DomainMetadata {
  init(_ scanner: inout JSONScanner) throws {
    var domain: String?
    var configuration: String?
    var removed: Bool?
    try scanner.members { scanner, key in
      switch key {
      case "domain": domain = try scanner.string()
      case "configuration": configuration = try scanner.stringOrNull()
      case "removed": removed = try scanner.boolOrNull()
      default: try scanner.skip()
      }
    }
    self.init(domain: try scanner.required(domain, "domain"), configuration: configuration ?? "", removed: removed ?? false)
  }
}

extension CommitInfo {
  /// Free-form by the protocol: a member of an unexpected type is kept as it is, not refused.
  init(_ scanner: inout JSONScanner) throws {
    self.init()
    var value = self
    try scanner.members { scanner, key in
      let item = try scanner.value()
      switch (key, item) {
      case (_, .null): break
      case ("timestamp", .integer(let number)): value.timestamp = number
      case ("inCommitTimestamp", .integer(let number)): value.inCommitTimestamp = number
      case ("operation", .string(let text)): value.operation = text
      case ("operationParameters", _): value.operationParameters = item
      case ("operationMetrics", _): value.operationMetrics = item
      case ("engineInfo", .string(let text)): value.engineInfo = text
      case ("isBlindAppend", .bool(let flag)): value.isBlindAppend = flag
      case ("isolationLevel", .string(let text)): value.isolationLevel = text
      case ("readVersion", .integer(let number)): value.readVersion = number
      case ("txnId", .string(let text)): value.txnId = text
      case ("userName", .string(let text)): value.userName = text
      case ("userMetadata", .string(let text)): value.userMetadata = text
      case ("tags", .object(let members)): value.tags = members.compactMapValues(\.stringValue)
      default: value.other[key] = item
      }
    }
    self = value
  }

  func write(_ out: inout JSONText) {
    out.object {
      $0.member("timestamp", timestamp)
      $0.member("inCommitTimestamp", inCommitTimestamp)
      $0.member("operation", operation)
      $0.member("operationParameters", operationParameters)
      $0.member("operationMetrics", operationMetrics)
      $0.member("engineInfo", engineInfo)
      $0.member("isBlindAppend", isBlindAppend)
      $0.member("isolationLevel", isolationLevel)
      $0.member("readVersion", readVersion)
      $0.member("txnId", txnId)
      $0.member("userName", userName)
      $0.member("userMetadata", userMetadata)
      $0.member("tags", tags)
      for (key, item) in other.sorted(by: { $0.key < $1.key }) { $0.member(key, item) }
    }
  }
}

extension CheckpointMetadata {
  init(_ scanner: inout JSONScanner) throws {
    var version: Int64?
    var tags: [String: String]?
    try scanner.members { scanner, key in
      switch key {
      case "version": version = try scanner.size()
      case "tags": tags = try scanner.null() ? nil : scanner.stringMap()
      default: try scanner.skip()
      }
    }
    self.init(version: try scanner.required(version, "version"), tags: tags)
  }
}

extension Sidecar {
  init(_ scanner: inout JSONScanner) throws {
    var path: String?
    var size: Int64?
    var time: Int64?
    var tags: [String: String]?
    try scanner.members { scanner, key in
      switch key {
      case "path": path = try scanner.string()
      case "sizeInBytes": size = try scanner.size()
      case "modificationTime": time = try scanner.integerOrNull()
      case "tags": tags = try scanner.null() ? nil : scanner.stringMap()
      default: try scanner.skip()
      }
    }
    self.init(
      path: try scanner.required(path, "path"), sizeInBytes: try scanner.required(size, "sizeInBytes"), modificationTime: time ?? 0,
      tags: tags)
  }
}
