// SPDX-License-Identifier: Apache-2.0

public import Core
public import ObjectStore

/// A change to a table, decided on one version of it and not yet committed.
public struct CommitPlan: Sendable {
  /// What the change does, without `commitInfo`: that is made at the commit.
  public var actions: [Action]
  /// What the change was computed from.
  public var reads: TransactionReads
  /// nil: the table's level, or less where that is enough.
  public var isolation: IsolationLevel?
  /// For the history: `WRITE`, `DELETE`, `MERGE`, ..
  public var operation: String
  public var operationParameters: [String: JSONValue] = [:]
  /// Numbers as text, as the reference implementation has them: `numOutputRows`, `numAddedFiles`, ..
  public var operationMetrics: [String: String]?
  public var userName: String?
  public var userMetadata: String?
  /// Whether row ids of copied rows were kept; set in the commit when the table tracks rows.
  public var preservesRowIds: Bool?
  /// Features that the protocol may lose by this change.
  public var droppedFeatures: Set<TableFeature> = []
  /// Files of the change that the disk may not have yet: the commit waits for them.
  public var unsynced: [UnsyncedFile] = []

  public init(_ actions: [Action], reads: TransactionReads = TransactionReads(), isolation: IsolationLevel? = nil, operation: String) {
    self.actions = actions
    self.reads = reads
    self.isolation = isolation
    self.operation = operation
  }

  /// This plan with the name of who asked for it, where it has none yet.
  public func committed(by user: String?) -> CommitPlan {
    var plan = self
    plan.userName = userName ?? user
    return plan
  }

  public var isBlindAppend: Bool { ConflictChecker.isBlindAppend(actions, reads) }

  /// Counts of files and bytes for `operationMetrics`, where the caller gives none.
  var fileMetrics: [String: String] {
    var added = 0
    var removed = 0
    var addedBytes: Int64 = 0
    var removedBytes: Int64 = 0
    for action in actions {
      switch action {
      case .add(let file):
        added += 1
        addedBytes = addedBytes.addingReportingOverflow(file.size).partialValue
      case .remove(let file):
        removed += 1
        removedBytes = removedBytes.addingReportingOverflow(file.size ?? 0).partialValue
      default: break
      }
    }
    return [
      "numAddedFiles": String(added), "numRemovedFiles": String(removed), "numAddedBytes": String(addedBytes),
      "numRemovedBytes": String(removedBytes),
    ]
  }
}

/// Checks a change against the rules for log entries, before anything is written.
enum CommitValidation {
  /// - Parameters:
  ///   - base: nil for version 0.
  ///   - data: what the writer of the data files can do.
  /// - Throws: `invalidArgument`, `permissionDenied` for what an append-only table forbids, `invalidFile` for a feature not known.
  ///   - dropped: features that the protocol may lose.
  static func check(_ actions: [Action], base: Snapshot?, data: Set<TableFeature>, dropped: Set<TableFeature> = []) throws {
    var tableProtocol = base?.tableProtocol
    var metadata = base?.metadata
    var counts = (protocols: 0, metadata: 0)
    var added: [String: AddFile] = [:]
    var removed: [String: RemoveFile] = [:]
    var applications: Set<String> = []
    var domains: Set<String> = []
    var hasChanges = false
    for action in actions {
      switch action {
      case .protocol(let value):
        counts.protocols += 1
        try value.validate()
        if let present = base?.tableProtocol {
          let lost = present.features.subtracting(value.features).subtracting(dropped)
          guard lost.isEmpty else { throw PlatformError(.invalidArgument, "a table's protocol cannot lose what it supports") }
          let keepsVersions = value.minReaderVersion >= present.minReaderVersion && value.minWriterVersion >= present.minWriterVersion
          guard !dropped.isEmpty || keepsVersions else {
            throw PlatformError(.invalidArgument, "a table's protocol cannot lose what it supports")
          }
        }
        tableProtocol = value
      case .metadata(let value):
        counts.metadata += 1
        metadata = value
      case .add(let file):
        _ = try DeltaPath.location(file.path)
        guard file.size >= 0, added.updateValue(file, forKey: file.path) == nil else {
          throw PlatformError(.invalidArgument, "a commit cannot add a file twice", path: file.path)
        }
      case .remove(let file):
        guard removed.updateValue(file, forKey: file.path) == nil else {
          throw PlatformError(.invalidArgument, "a commit cannot remove a file twice", path: file.path)
        }
      case .transaction(let value):
        guard applications.insert(value.appId).inserted else {
          throw PlatformError(.invalidArgument, "a commit cannot record an application twice: \(value.appId)")
        }
      case .domain(let value):
        guard domains.insert(value.domain).inserted else {
          throw PlatformError(.invalidArgument, "a commit cannot set a metadata domain twice: \(value.domain)")
        }
      case .change: hasChanges = true
      case .commitInfo, .checkpoint, .sidecar:
        throw PlatformError(.invalidArgument, "a change cannot hold commitInfo, checkpointMetadata or sidecar actions")
      }
    }
    guard counts.protocols <= 1, counts.metadata <= 1 else {
      throw PlatformError(.invalidArgument, "a commit cannot hold two protocol or two metaData actions")
    }
    guard let tableProtocol, let metadata else {
      throw PlatformError(.invalidArgument, "the first commit of a table needs a protocol and metadata")
    }
    let schema = try StructType(parsing: metadata.schemaString)
    let used = TableFeature.used(by: metadata, schema)
    if counts.metadata + counts.protocols > 0 {
      let missing = used.subtracting(tableProtocol.features)
      guard missing.isEmpty else {
        throw PlatformError(
          .invalidArgument,
          "the table's protocol does not support what its metadata uses: "
            + missing.sorted().map(\.rawValue).joined(separator: ", "))
      }
    }
    if counts.metadata > 0 { try checkMetadata(metadata, schema, tableProtocol) }
    try tableProtocol.checkReadable(metadata, data: data)
    try tableProtocol.checkWritable(active: tableProtocol.features.intersection(used), data: data)
    if !domains.isEmpty, !tableProtocol.supports(.domainMetadata) {
      throw PlatformError(.invalidArgument, "metadata domains need the table feature domainMetadata")
    }
    for domain in domains where domain.hasPrefix("delta.") && domain != RowTracking.domain && domain != ClusteringColumns.domain {
      throw PlatformError(.invalidArgument, "the metadata domain \(domain) belongs to the protocol")
    }
    let properties = TableProperties(metadata.configuration)
    if properties.isAppendOnly, tableProtocol.supports(.appendOnly), base != nil,
      let file = removed.values.first(where: \.dataChange)
    {
      throw PlatformError(.permissionDenied, "the table is append-only", path: file.path)
    }
    try checkFiles(added, removed, base, metadata, schema, tableProtocol)
    if properties.hasChangeDataFeed, tableProtocol.supports(.changeDataFeed), !hasChanges {
      // Without change files every row of both would count as changed.
      if let file = added.values.first(where: { $0.dataChange && removed[$0.path]?.dataChange == true }) {
        throw PlatformError(.invalidArgument, "the table has a change data feed: the change needs change files", path: file.path)
      }
    }
  }

  private static func checkFiles(
    _ added: [String: AddFile], _ removed: [String: RemoveFile], _ base: Snapshot?, _ metadata: TableMetadata, _ schema: StructType,
    _ tableProtocol: TableProtocol
  ) throws {
    let columns = Set(
      metadata.partitionColumns.map { name in schema.fields.first { $0.name.lowercased() == name.lowercased() }?.physicalName ?? name })
    for file in added.values {
      guard Set(file.partitionValues.keys) == columns else {
        throw PlatformError(
          .invalidArgument, "a file's partition values are for \(file.partitionValues.keys.sorted()), the table has \(columns.sorted())",
          path: file.path)
      }
      if let vector = file.deletionVector {
        guard tableProtocol.supports(.deletionVectors) else {
          throw PlatformError(.invalidArgument, "deletion vectors need the table feature deletionVectors", path: file.path)
        }
        guard let rows = file.physicalRowCount, vector.cardinality <= rows else {
          throw PlatformError(.invalidArgument, "a file with a deletion vector needs numRecords in its statistics", path: file.path)
        }
      }
      if let present = base?.filesByPath[file.path], LogicalFile(present) != LogicalFile(file),
        removed[file.path].map({ LogicalFile($0) }) != LogicalFile(present)
      {
        throw PlatformError(.invalidArgument, "a file gets another deletion vector without the removal of the old one", path: file.path)
      }
      if let removal = removed[file.path], LogicalFile(removal) == LogicalFile(file) {
        throw PlatformError(.invalidArgument, "a commit cannot add and remove the same file", path: file.path)
      }
    }
    guard let base else {
      guard removed.isEmpty else { throw PlatformError(.invalidArgument, "the first commit of a table cannot remove files") }
      return
    }
    for file in removed.values {
      guard let present = base.filesByPath[file.path], LogicalFile(present) == LogicalFile(file) else {
        throw PlatformError(.invalidArgument, "a removed file is not part of the table", path: file.path)
      }
    }
  }

  private static func checkMetadata(_ metadata: TableMetadata, _ schema: StructType, _ tableProtocol: TableProtocol) throws {
    try TableProperties(metadata.configuration).validate()
    try schema.checkNames(isMapped: metadata.configuration["delta.columnMapping.mode"].map { $0 != "none" } ?? false)
    var seen: Set<String> = []
    for name in metadata.partitionColumns {
      guard let field = schema.fields.first(where: { $0.name == name }), seen.insert(name.lowercased()).inserted else {
        throw PlatformError(.invalidArgument, "the partition column '\(name)' is no column of the table, or named twice")
      }
      guard case .primitive = field.type else {
        throw PlatformError(.invalidArgument, "the partition column '\(name)' is no plain value")
      }
    }
    guard metadata.partitionColumns.isEmpty || metadata.partitionColumns.count < schema.fields.count else {
      throw PlatformError(.invalidArgument, "a table cannot be partitioned by all of its columns")
    }
    guard metadata.partitionColumns.isEmpty || !tableProtocol.supports(.clustering) else {
      throw PlatformError(.invalidArgument, "a table cannot be both partitioned and clustered")
    }
  }
}

extension StructType {
  /// - Throws: `invalidArgument` for names that are empty, the same but for case, or not storable without column mapping.
  public func checkNames(isMapped: Bool) throws {
    var seen: Set<String> = []
    for field in fields {
      guard !field.name.isEmpty, seen.insert(field.name.lowercased()).inserted else {
        throw PlatformError(.invalidArgument, "the column '\(field.name.prefix(200))' is there twice, or has no name")
      }
      if !isMapped, let bad = field.name.first(where: { " ,;{}()\n\t=".contains($0) }) {
        throw PlatformError(
          .invalidArgument, "the column name '\(field.name.prefix(200))' holds '\(bad)', which needs column mapping",
          hint: "Give the table TBLPROPERTIES ('delta.columnMapping.mode' = 'name'), or rename the column.")
      }
      try field.type.checkNames(isMapped: isMapped)
    }
  }
}

extension DeltaType {
  fileprivate func checkNames(isMapped: Bool) throws {
    switch self {
    case .primitive: break
    case .array(let item, _): try item.checkNames(isMapped: isMapped)
    case .map(let key, let value, _):
      try key.checkNames(isMapped: isMapped)
      try value.checkNames(isMapped: isMapped)
    case .structure(let type): try type.checkNames(isMapped: isMapped)
    }
  }
}
