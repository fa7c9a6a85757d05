// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation

extension CommitPlan {
  /// Brings the files, the metadata and the domains of an older version back, as a new version.
  ///
  /// The protocol stays: features do not go away, but for clustering when partitions come back; who gives out the versions is a matter of
  /// today and not of the older version. Row ids that were given stay given.
  /// - Returns: the plan, and the files that come back: their data must still be there.
  public static func restore(
    to target: Snapshot, from current: Snapshot, now: Int64 = ProcessSupport.wallMilliseconds
  ) -> (plan: CommitPlan, returning: [AddFile]) {
    let present = Set(current.filesByPath.values.map { LogicalFile($0) })
    let wanted = Set(target.filesByPath.values.map { LogicalFile($0) })
    let returning = target.files.filter { !present.contains(LogicalFile($0)) }
    var actions: [Action] = []
    var metadata = target.metadata
    let lost = current.tableProtocol.clusteringLost(by: metadata)
    let features = target.tableProtocol.features.subtracting(current.tableProtocol.features).subtracting([.coordinatedCommits])
    let tableProtocol = (lost.isEmpty ? current.tableProtocol : current.tableProtocol.removing(lost)).adding(features)
    if tableProtocol != current.tableProtocol { actions.append(.protocol(tableProtocol)) }
    // What counts upwards must not fall back: ids would be given twice.
    let keys = [ColumnMapping.maximumProperty]
    for key in keys {
      let highest = max(metadata.configuration[key].flatMap { Int64($0) } ?? 0, current.metadata.configuration[key].flatMap { Int64($0) } ?? 0)
      if highest > 0 { metadata.configuration[key] = String(highest) }
    }
    for key in ["delta.inCommitTimestampEnablementVersion", "delta.inCommitTimestampEnablementTimestamp", "delta.enableInCommitTimestamps"] {
      metadata.configuration[key] = current.metadata.configuration[key]
    }
    metadata.schemaString = restoredSchema(target.schema, current.schema)?.schemaString ?? metadata.schemaString
    if metadata != current.metadata { actions.append(.metadata(metadata)) }
    for (name, domain) in target.domains.sorted(by: { $0.key < $1.key }) where name != RowTracking.domain && current.domains[name] != domain {
      actions.append(.domain(domain))
    }
    for (name, domain) in current.domains.sorted(by: { $0.key < $1.key }) where name != RowTracking.domain && target.domains[name] == nil {
      actions.append(.domain(DomainMetadata(domain: name, configuration: domain.configuration, removed: true)))
    }
    actions += current.files.filter { !wanted.contains(LogicalFile($0)) }.map { .remove(RemoveFile($0, deletionTimestamp: now)) }
    actions += returning.map {
      var file = $0
      file.dataChange = true
      return .add(file)
    }
    var plan = CommitPlan(actions, reads: .everything, operation: "RESTORE")
    plan.operationParameters = ["version": .integer(target.version)]
    plan.droppedFeatures = lost
    return (plan, returning)
  }

  /// The older schema with the marks of identity columns as they are now; nil when nothing has to change.
  private static func restoredSchema(_ target: StructType, _ current: StructType) -> StructType? {
    var schema = target
    var isChanged = false
    for (index, field) in schema.fields.enumerated() {
      guard case .integer(let old)? = field.metadata["delta.identity.highWaterMark"],
        case .integer(let new)? = current.fields.first(where: { $0.name == field.name })?.metadata["delta.identity.highWaterMark"], old != new
      else { continue }
      schema.fields[index].metadata["delta.identity.highWaterMark"] = .integer(new)
      isChanged = true
    }
    return isChanged ? schema : nil
  }
}

/// The first version of a copy of a table.
public struct TableClone: Sendable {
  public var metadata: TableMetadata
  public var tableProtocol: TableProtocol
  /// Files and domains.
  public var actions: [Action]
  /// Files to copy before the commit: data and deletion vectors.
  public var copies: [Copy]

  /// A file that the new table is to have.
  public struct Copy: Sendable, Hashable {
    /// Where it lies, below the source's folder or, where the source shares it, elsewhere.
    public var source: FileLocation
    /// Its place below the new table's folder.
    public var path: String

    public init(source: FileLocation, path: String) {
      self.source = source
      self.path = path
    }
  }

  /// A copy that shares the data files of `source`. They must stay: vacuum of the source does not know the copy.
  /// - Parameter root: the URI of the source's folder, without a slash at its end, percent-encoded: `file:///data/t`, `s3://bucket/t`.
  public static func shallow(_ source: Snapshot, root: String, name: String?, configuration: [String: String] = [:]) throws -> TableClone {
    guard case .absolute(let root) = try DeltaPath.location(root), !root.hasSuffix("/") else {
      throw PlatformError(.invalidArgument, "a shallow clone needs the absolute location of its source", path: root)
    }
    var clone = TableClone(source, name: name, configuration: configuration)
    clone.actions += try source.files.map { file in
      var file = file
      if case .relative = try DeltaPath.location(file.path) { file.path = root + "/" + file.path }
      if var vector = file.deletionVector, let relative = try vector.relativePath() {
        vector.storage = .absolute
        vector.pathOrInlineDv = root + "/" + DeltaPath.encode(relative)
        file.deletionVector = vector
      }
      file.dataChange = true
      return .add(file)
    }
    return clone
  }

  /// A copy with files of its own. What `source` itself shares of other tables gets a name in the copy that follows from its place, so that
  /// a repeated copy finds what the first has done.
  public static func deep(_ source: Snapshot, name: String?, configuration: [String: String] = [:]) throws -> TableClone {
    var clone = TableClone(source, name: name, configuration: configuration)
    var copies: Set<Copy> = []
    for file in source.files {
      var file = file
      let location = try file.location()
      switch location {
      case .relative(let relative): copies.insert(Copy(source: location, path: relative))
      case .absolute(let uri):
        file.path = "shared-\(SHA256Digest.hex(uri)).parquet"
        copies.insert(Copy(source: location, path: file.path))
      }
      if let vector = file.deletionVector, vector.storage != .inline {
        var own = vector
        if vector.storage == .absolute {
          own = .file(uuid(vector.pathOrInlineDv), offset: 0, sizeInBytes: vector.sizeInBytes, cardinality: vector.cardinality)
          own.offset = vector.offset
          file.deletionVector = own
        }
        if let path = try own.relativePath() {
          copies.insert(Copy(source: vector.storage == .absolute ? try DeltaPath.location(vector.pathOrInlineDv) : .relative(path), path: path))
        }
      }
      file.dataChange = true
      clone.actions.append(.add(file))
    }
    clone.copies = copies.sorted { $0.path < $1.path }
    return clone
  }

  /// The same for the same text.
  private static func uuid(_ text: String) -> UUID {
    let b = SHA256Digest.digest(Data(text.utf8))
    return UUID(uuid: (b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]))
  }

  private init(_ source: Snapshot, name: String?, configuration: [String: String]) {
    metadata = source.metadata
    metadata.id = UUID().uuidString.lowercased()
    metadata.name = name
    metadata.createdTime = ProcessSupport.wallMilliseconds
    metadata.configuration.merge(configuration) { $1 }
    // In-commit timestamps start with the copy's own first version.
    metadata.configuration["delta.inCommitTimestampEnablementVersion"] = nil
    metadata.configuration["delta.inCommitTimestampEnablementTimestamp"] = nil
    tableProtocol = source.tableProtocol
    actions = source.domains.values.sorted { $0.domain < $1.domain }.map { .domain($0) }
    copies = []
  }
}
