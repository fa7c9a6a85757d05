// SPDX-License-Identifier: Apache-2.0

public import Core

/// Taking a table feature back, so that readers and writers without it can use the table again. Pure: decides on a snapshot.
public enum FeatureRemoval {
  /// Properties that put a feature to use: they go with it.
  private static func properties(_ feature: TableFeature) -> [String] {
    switch feature {
    case .changeDataFeed: ["delta.enableChangeDataFeed"]
    case .deletionVectors: ["delta.enableDeletionVectors"]
    case .typeWidening: ["delta.enableTypeWidening"]
    case .v2Checkpoint: ["delta.checkpointPolicy"]
    case .inCommitTimestamp:
      ["delta.enableInCommitTimestamps", "delta.inCommitTimestampEnablementVersion", "delta.inCommitTimestampEnablementTimestamp"]
    case .rowTracking: ["delta.enableRowTracking", "delta.rowTrackingSuspended", RowTracking.rowIdColumnProperty, RowTracking.rowCommitVersionColumnProperty]
    case .appendOnly: ["delta.appendOnly"]
    default: []
    }
  }

  private static let droppable: Set<TableFeature> = [
    .changeDataFeed, .deletionVectors, .typeWidening, .v2Checkpoint, .inCommitTimestamp, .rowTracking, .checkConstraints, .generatedColumns,
    .identityColumns, .allowColumnDefaults, .timestampNtz, .vacuumProtocolCheck, .clustering, .domainMetadata, .coordinatedCommits,
  ]

  /// The change that takes `name` out of the protocol.
  /// - Throws: `notFound` for a feature that the table does not have; `invalidArgument` for one that stays, or that rows, columns or files use.
  public static func plan(_ name: String, base: Snapshot) throws -> CommitPlan {
    guard let feature = base.tableProtocol.features.first(where: { $0.rawValue.lowercased() == name.lowercased() }) else {
      throw PlatformError(
        .notFound, "the table does not have the feature '\(name.prefix(60))'",
        hint: "It has: \(base.tableProtocol.features.sorted().map(\.rawValue).joined(separator: ", ")).")
    }
    guard droppable.contains(feature) else {
      throw PlatformError(
        .invalidArgument, "the feature '\(feature)' stays with a table",
        hint: "CREATE TABLE .. AS SELECT copies the rows into a table without it.")
    }
    guard base.tableProtocol.minWriterVersion >= 7 else {
      throw PlatformError(
        .invalidArgument, "the feature '\(feature)' is part of the table's writer version \(base.tableProtocol.minWriterVersion), not one of a list")
    }
    func isUsed(_ what: String, _ hint: String) -> PlatformError {
      PlatformError(.invalidArgument, "the feature '\(feature)' is in use: \(what)", hint: hint)
    }
    var metadata = base.metadata
    for property in properties(feature) { metadata.configuration[property] = nil }
    var actions: [Action] = []
    var gone: Set<TableFeature> = [feature]
    switch feature {
    case .deletionVectors:
      let count = base.filesByPath.values.filter { $0.deletionVector != nil }.count
      guard count == 0 else { throw isUsed("\(count) files have deletion vectors", "REORG TABLE .. APPLY (PURGE) writes them anew.") }
    case .rowTracking:
      if let domain = base.domains[RowTracking.domain] {
        actions.append(.domain(DomainMetadata(domain: domain.domain, configuration: domain.configuration, removed: true)))
      }
    case .clustering:
      guard try ClusteringColumns.read(base.domains).isEmpty else { throw isUsed("the table is clustered", "ALTER TABLE .. CLUSTER BY NONE first.") }
      if let domain = base.domains[ClusteringColumns.domain] {
        actions.append(.domain(DomainMetadata(domain: domain.domain, configuration: domain.configuration, removed: true)))
      }
    case .domainMetadata:
      guard base.domains.isEmpty else { throw isUsed("the table has the domains \(base.domains.keys.sorted().joined(separator: ", "))", "") }
    default: break
    }
    if TableFeature.used(by: metadata, base.schema).contains(feature) {
      let hint =
        switch feature {
        case .typeWidening: "CREATE OR REPLACE TABLE .. AS SELECT writes all rows with the wider types."
        case .checkConstraints: "ALTER TABLE .. DROP CONSTRAINT first."
        case .allowColumnDefaults: "ALTER TABLE .. ALTER COLUMN .. DROP DEFAULT first."
        default: "Columns of the table need it."
        }
      throw isUsed(feature == .checkConstraints ? "the table has constraints" : "columns of the table need it", hint)
    }
    let left = base.tableProtocol.features.subtracting(gone)
    if let other = left.sorted().first(where: { $0.requirements.contains(feature) }) {
      throw isUsed("the feature '\(other)' needs it", "ALTER TABLE .. DROP FEATURE \(other) first.")
    }
    gone.formIntersection(base.tableProtocol.features)
    actions.insert(.protocol(base.tableProtocol.removing(gone)), at: 0)
    if metadata != base.metadata { actions.insert(.metadata(metadata), at: 1) }
    var plan = CommitPlan(actions, reads: .everything, operation: "DROP FEATURE")
    plan.operationParameters = ["featureName": .string(feature.rawValue)]
    plan.droppedFeatures = gone
    return plan
  }
}

extension TableProtocol {
  /// This protocol without `features`. A list that nothing but old features is left in becomes the plain versions again.
  func removing(_ features: Set<TableFeature>) -> TableProtocol {
    let left = self.features.subtracting(features)
    if left.isSubset(of: [.appendOnly, .invariants]) { return TableProtocol(minReaderVersion: 1, minWriterVersion: 2) }
    let readers = left.filter(\.concernsReaders)
    return TableProtocol(
      minReaderVersion: readers.isEmpty ? 1 : 3, minWriterVersion: 7, readerFeatures: readers.isEmpty ? nil : readers.map(\.rawValue).sorted(),
      writerFeatures: left.map(\.rawValue).sorted())
  }
}

/// Looking for files that the log names and that are not there.
public struct TableRepair: Sendable {
  /// A file of the table of which something is missing.
  public struct Loss: Sendable, Hashable {
    public var file: AddFile
    public var isFileMissing: Bool
    public var isVectorMissing: Bool
  }

  /// - Parameters:
  ///   - present: files below the table's folder, by their path from there.
  ///   - exists: whether a file elsewhere exists.
  /// - Returns: by path.
  public static func losses(_ snapshot: Snapshot, present: Set<String>, exists: (String) throws -> Bool) throws -> [Loss] {
    func isThere(_ location: FileLocation) throws -> Bool {
      switch location {
      case .relative(let path): present.contains(path)
      case .absolute(let place): try exists(place)
      }
    }
    return try snapshot.files.compactMap { file in
      var loss = Loss(file: file, isFileMissing: try !isThere(file.location()), isVectorMissing: false)
      if let vector = file.deletionVector, vector.storage != .inline {
        if let relative = try vector.relativePath() {
          loss.isVectorMissing = !present.contains(relative)
        } else {
          loss.isVectorMissing = try !isThere(DeltaPath.location(vector.pathOrInlineDv))
        }
      }
      return loss.isFileMissing || loss.isVectorMissing ? loss : nil
    }
  }

  /// Takes the files that are missing out of the table. A file of which only the deletion vector is missing stays: without it, rows that
  /// were deleted would be back.
  public static func plan(_ losses: [Loss], now: Int64 = ProcessSupport.wallMilliseconds) -> CommitPlan {
    let gone = losses.filter(\.isFileMissing)
    var plan = CommitPlan(gone.map { .remove(RemoveFile($0.file, deletionTimestamp: now)) }, operation: "FSCK")
    plan.operationMetrics = ["numRemovedFiles": String(gone.count)]
    return plan
  }
}

extension StructField {
  /// `varchar(20)` or `char(3)`, in small letters, as other engines keep it; nil: any length.
  public var characterLimit: String? {
    get { metadata["__CHAR_VARCHAR_TYPE_STRING"]?.stringValue?.lowercased() }
    set {
      if let newValue { metadata["__CHAR_VARCHAR_TYPE_STRING"] = .string(newValue) } else { metadata["__CHAR_VARCHAR_TYPE_STRING"] = nil }
    }
  }
}
