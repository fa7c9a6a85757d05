// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation
public import ObjectStore

/// The result of a commit.
public struct CommitOutcome: Sendable, Equatable {
  /// The version that holds the change.
  public var version: Int64
  /// True when the application transaction was recorded before: nothing was written.
  public var isReplay: Bool
  /// Why the checkpoint that was due is absent. The commit stands.
  public var checkpointProblem: PlatformError?
}

extension DeltaTable {
  /// How often a commit tries again after losing a race, before it throws `conflict`.
  static let attemptLimit = 200

  /// Makes version 0, with files or without. The protocol supports what schema and configuration use.
  /// - Parameter features: features to support beside those.
  /// - Throws: `alreadyExists`; `invalidArgument`.
  public func create(
    schema: StructType, partitionColumns: [String] = [], name: String? = nil, configuration: [String: String] = [:],
    files: [AddFile] = [], transaction: AppTransaction? = nil, operation: String = "CREATE TABLE", features: Set<TableFeature> = []
  ) throws -> CommitOutcome {
    let metadata = TableMetadata(name: name, schema: schema, partitionColumns: partitionColumns, configuration: configuration)
    return try create(metadata, features: features, actions: files.map { .add($0) }, transaction: transaction, operation: operation)
  }

  /// Makes version 0 from metadata that may hold mapped columns, constraints and properties.
  /// - Parameter actions: files and domains to start with.
  public func create(
    _ metadata: TableMetadata, features: Set<TableFeature> = [], actions: [Action] = [], transaction: AppTransaction? = nil,
    operation: String = "CREATE TABLE", userName: String? = nil
  ) throws -> CommitOutcome {
    if try exists() {
      if let transaction, let outcome = try replayed(transaction, snapshot()) { return outcome }
      throw PlatformError(.alreadyExists, "a table exists already", path: path.text)
    }
    let actions = try Self.first(metadata, features, (transaction.map { [.transaction($0)] } ?? []) + actions)
    let plan = CommitPlan(actions, operation: operation).committed(by: userName)
    try CommitValidation.check(plan.actions, base: nil, data: dataFeatures)
    let info = commitInfo(plan, level: TableProperties(metadata.configuration).isolationLevel, readVersion: nil)
    let (lines, written) = try prepared(plan, info, base: nil, version: 0)
    guard try put(lines, version: 0, identity: written.txnId) else {
      if let transaction, let outcome = try replayed(transaction, snapshot()) { return outcome }
      throw PlatformError(.alreadyExists, "a table exists already", path: path.text)
    }
    return CommitOutcome(version: 0, isReplay: false)
  }

  /// The actions of version 0.
  private static func first(_ metadata: TableMetadata, _ features: Set<TableFeature>, _ actions: [Action]) throws -> [Action] {
    let schema = try StructType(parsing: metadata.schemaString)
    // A new table's versions are its own, also those of a copy.
    let wanted = TableFeature.used(by: metadata, schema).union(features).subtracting([.coordinatedCommits])
    return [.protocol(.supporting(wanted)), .metadata(metadata)] + actions
  }

  /// Looks for what no table can be made of, before there is a place for the table.
  /// - Throws: `invalidArgument`, as `create`.
  public static func checkNew(_ metadata: TableMetadata, features: Set<TableFeature>, actions: [Action]) throws {
    try CommitValidation.check(first(metadata, features, actions), base: nil, data: TableFeature.writtenByData)
  }

  /// Adds files. Rebases over concurrent commits that leave the columns alone.
  /// - Parameters:
  ///   - expectedSchema: what the files were written for; a table with other columns is a `conflict`.
  ///   - expectedMetadata: the same with properties and partitions: rules of the table are part of them.
  ///   - metrics: for the history; those of appends that become one version are added up.
  ///   - unsynced: of `files`, those that the disk may not have yet.
  /// - Throws: `notFound`, `conflict` after the schema changed or too many lost races.
  public func append(
    _ files: [AddFile], expectedSchema: StructType? = nil, transaction: AppTransaction? = nil, operation: String = "WRITE",
    expectedMetadata: TableMetadata? = nil, metrics: [String: String]? = nil, unsynced: [UnsyncedFile] = [], userName: String? = nil
  ) throws -> CommitOutcome {
    let request = AppendQueue.Request(
      files, expectedSchema: expectedSchema, transaction: transaction, operation: operation, expectedMetadata: expectedMetadata, metrics: metrics,
      unsynced: unsynced, userName: userName)
    func now() throws -> CommitOutcome { try appendNow(request) }
    // Writers of one process take turns: racing for a version costs more than waiting for it.
    guard let cache else { return try now() }
    guard let queue = cache.appends else { return try cache.exclusively(now) }
    // Who has to wait anyway waits for its own files meanwhile: who commits for all would wait for one after the other.
    if queue.isBusy { for file in unsynced { try file.sync() } }
    return try queue.append(request) { batch in cache.exclusivelyNow { appendTogether(batch) } }
  }

  func appendNow(_ request: AppendQueue.Request) throws -> CommitOutcome {
    let (transaction, expectedSchema, expectedMetadata) = (request.transaction, request.expectedSchema, request.expectedMetadata)
    var plan = CommitPlan(request.files.map { .add($0) }, operation: request.operation)
    plan.unsynced = request.unsynced
    plan.userName = request.userName
    if let metrics = request.metrics {
      plan.operationParameters = ["mode": "Append"]
      plan.operationMetrics = metrics
    }
    var attempt = 1
    while true {
      var base = try takeLatest()
      if let transaction, let outcome = try replayed(transaction, base) {
        keep(base)
        return outcome
      }
      if let expectedSchema, !expectedSchema.hasSameColumns(as: base.schema) {
        keep(base)
        throw PlatformError(.conflict, "the table's schema changed since the files were written", path: path.text)
      }
      if let expectedMetadata, !expectedMetadata.asksTheSame(as: base.metadata) {
        keep(base)
        throw PlatformError(.conflict, "the table's schema or properties changed since the files were written", path: path.text)
      }
      do {
        let outcome = try commit(plan, onto: &base, transaction: transaction)
        keep(base)
        return outcome
      } catch let error as PlatformError where CommitConflict.kind(of: error) == .metadataChanged && attempt < 20 {
        keep(base)
        attempt += 1  // perhaps only a property: the columns are compared again
      }
    }
  }

  /// Replaces all files, and the schema when one is given.
  /// - Parameter readVersion: the version that the new content was computed from; any commit after it is a `conflict`.
  public func overwrite(
    _ files: [AddFile], readVersion: Int64, schema: StructType? = nil, transaction: AppTransaction? = nil,
    operation: String = "WRITE"
  ) throws -> CommitOutcome {
    var base = try latest()
    if let transaction, let outcome = try replayed(transaction, base) { return outcome }
    let changed = PlatformError(
      .conflict, "the table changed after version \(readVersion), which the overwrite started from", path: path.text)
    guard base.version == readVersion else { throw changed }
    if base.properties.isAppendOnly {
      throw PlatformError(.permissionDenied, "the table is append-only", path: path.text)
    }
    var plan = CommitPlan.overwrite(files, base: base, operation: operation)
    plan.isolation = .serializable
    if let schema, schema != base.schema {
      if schema.fields.contains(where: { $0.type.mentions("timestamp_ntz") }), !base.tableProtocol.supports(.timestampNtz) {
        throw PlatformError(
          .invalidArgument, "the new schema holds timestamp_ntz, which the table's protocol does not allow")
      }
      var metadata = base.metadata
      metadata.schemaString = schema.schemaString
      plan.actions.insert(.metadata(metadata), at: 0)
    }
    do {
      return try commit(plan, onto: &base, transaction: transaction)
    } catch let error as PlatformError where CommitConflict.kind(of: error) != nil {
      throw changed
    }
  }

  /// The version that recorded `transaction`, when it was committed before.
  func replayed(_ transaction: AppTransaction, _ base: Snapshot) throws -> CommitOutcome? {
    guard let recorded = base.transactions[transaction.appId], recorded.version >= transaction.version else { return nil }
    var version = base.version
    let commits = try listing().commits
    for candidate in commits.keys.sorted(by: >) {
      let isOurs = try commit(candidate).contains {
        if case .transaction(let own) = $0 { own.appId == transaction.appId && own.version == transaction.version } else { false }
      }
      if isOurs {
        version = candidate
        break
      }
    }
    return CommitOutcome(version: version, isReplay: true)
  }

  func checkpointIfDue(_ state: Snapshot) -> PlatformError? {
    guard state.version > 0, state.version % state.properties.checkpointInterval == 0 else { return nil }
    if let checkpoints = cache?.checkpoints {
      let problem = checkpoints.begin { try writeCheckpoint(state) }
      return problem.map { PlatformError.from($0, context: "an earlier checkpoint") }
    }
    do {
      try writeCheckpoint(state)
      return nil
    } catch {
      return PlatformError.from(error, context: "checkpoint of version \(state.version)")
    }
  }

  /// Writes the checkpoint of `version`, then `_last_checkpoint`. Readers need neither.
  public func checkpoint(version: Int64) throws { try writeCheckpoint(snapshot(version: version)) }
}

extension DeltaType {
  /// Whether this is the primitive type `name`, or holds it.
  public func mentions(_ name: String) -> Bool {
    switch self {
    case .primitive(let own): own == name
    case .array(let item, _): item.mentions(name)
    case .map(let key, let value, _): key.mentions(name) || value.mentions(name)
    case .structure(let type): type.fields.contains { $0.type.mentions(name) }
    }
  }
}

extension StructType {
  /// Same names and types in the same order; nullability and comments may differ.
  public func hasSameColumns(as other: StructType) -> Bool {
    fields.map(\.name) == other.fields.map(\.name) && fields.map(\.type) == other.fields.map(\.type)
  }
}
