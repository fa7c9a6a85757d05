// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation
import ObjectStore

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

  /// Makes version 0, with files or without.
  /// - Throws: `alreadyExists`.
  public func create(
    schema: StructType, partitionColumns: [String] = [], name: String? = nil, configuration: [String: String] = [:],
    files: [AddFile] = [], transaction: AppTransaction? = nil, operation: String = "CREATE TABLE"
  ) throws -> CommitOutcome {
    if try exists() {
      if let transaction, let outcome = try replayed(transaction, snapshot()) { return outcome }
      throw PlatformError(.alreadyExists, "a table exists already", path: path.text)
    }
    let needsNtz = schema.fields.contains { $0.type.mentions("timestamp_ntz") }
    let table = needsNtz ? TableProtocol.supporting([.timestampNtz]) : TableProtocol()
    var actions: [Action] = [
      .protocol(table),
      .metadata(TableMetadata(name: name, schema: schema, partitionColumns: partitionColumns, configuration: configuration)),
    ]
    actions += transaction.map { [.transaction($0)] } ?? []
    actions += files.map { .add($0) }
    guard try put(actions, version: 0, operation: operation, isBlindAppend: true, readVersion: nil) else {
      if let transaction, let outcome = try replayed(transaction, snapshot()) { return outcome }
      throw PlatformError(.alreadyExists, "a table exists already", path: path.text)
    }
    return CommitOutcome(version: 0, isReplay: false)
  }

  /// Adds files. Rebases over concurrent commits that leave schema and protocol alone.
  /// - Parameter expectedSchema: what the files were written for; a table with other columns is a `conflict`.
  /// - Throws: `notFound`, `conflict` after the schema changed or too many lost races.
  public func append(
    _ files: [AddFile], expectedSchema: StructType? = nil, transaction: AppTransaction? = nil, operation: String = "WRITE"
  ) throws -> CommitOutcome {
    var random = SystemRandomNumberGenerator()
    for attempt in 1...Self.attemptLimit {
      let base = try snapshot()
      if let transaction, let outcome = try replayed(transaction, base) { return outcome }
      try checkWritable(base)
      if let expectedSchema, !expectedSchema.hasSameColumns(as: base.schema) {
        throw PlatformError(.conflict, "the table's schema changed since the files were written", path: path.text)
      }
      let actions: [Action] = (transaction.map { [.transaction($0)] } ?? []) + files.map { .add($0) }
      let version = base.version + 1
      if try put(actions, version: version, operation: operation, isBlindAppend: true, readVersion: base.version) {
        return CommitOutcome(version: version, isReplay: false, checkpointProblem: checkpointIfDue(version, base))
      }
      let wait = Backoff(firstMilliseconds: 2, limitMilliseconds: 100)
        .delayMilliseconds(afterAttempt: attempt, unit: Double.random(in: 0..<1, using: &random))
      Thread.sleep(forTimeInterval: Double(wait) / 1000)
    }
    throw PlatformError(
      .conflict, "the table is written so often that the append lost \(Self.attemptLimit) races", path: path.text)
  }

  /// Replaces all files, and the schema when one is given.
  /// - Parameter readVersion: the version that the new content was computed from; any commit after it is a `conflict`.
  public func overwrite(
    _ files: [AddFile], readVersion: Int64, schema: StructType? = nil, transaction: AppTransaction? = nil,
    operation: String = "WRITE"
  ) throws -> CommitOutcome {
    let base = try snapshot()
    if let transaction, let outcome = try replayed(transaction, base) { return outcome }
    try checkWritable(base)
    let changed = PlatformError(
      .conflict, "the table changed after version \(readVersion), which the overwrite started from", path: path.text)
    guard base.version == readVersion else { throw changed }
    if base.properties.isAppendOnly {
      throw PlatformError(.permissionDenied, "the table is append-only", path: path.text)
    }
    let now = ProcessSupport.wallMilliseconds
    let kept = Set(files.map(\.path))
    var actions: [Action] = transaction.map { [.transaction($0)] } ?? []
    if let schema, schema != base.schema {
      if schema.fields.contains(where: { $0.type.mentions("timestamp_ntz") }), !base.tableProtocol.supports(.timestampNtz) {
        throw PlatformError(
          .invalidArgument, "the new schema holds timestamp_ntz, which the table's protocol does not allow")
      }
      var metadata = base.metadata
      metadata.schemaString = schema.schemaString
      actions.append(.metadata(metadata))
    }
    actions += base.files.filter { !kept.contains($0.path) }.map { .remove(RemoveFile($0, deletionTimestamp: now)) }
    actions += files.map { .add($0) }
    let version = readVersion + 1
    guard try put(actions, version: version, operation: operation, isBlindAppend: false, readVersion: readVersion) else {
      if let transaction, let outcome = try replayed(transaction, snapshot()) { return outcome }
      throw changed
    }
    return CommitOutcome(version: version, isReplay: false, checkpointProblem: checkpointIfDue(version, base))
  }

  func checkWritable(_ base: Snapshot) throws {
    try base.tableProtocol.checkWritable(active: base.activeFeatures, data: dataFeatures)
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

  /// Writes one commit file. Returns false when another writer has this version.
  private func put(
    _ actions: [Action], version: Int64, operation: String, isBlindAppend: Bool, readVersion: Int64?
  ) throws -> Bool {
    let identity = UUID().uuidString.lowercased()
    var info = CommitInfo()
    info.timestamp = ProcessSupport.wallMilliseconds
    info.operation = operation
    info.operationParameters = [:]
    info.engineInfo = "platform/\(PlatformVersion.current)"
    info.isBlindAppend = isBlindAppend
    info.readVersion = readVersion
    info.txnId = identity
    let data = Action.encode([.commitInfo(info)] + actions)
    let file = try commitPath(version)
    do {
      try store.putIfAbsent(file, data)
      return true
    } catch {
      // The answer may have been lost after the write: the file's own identity tells whose it is.
      let failure = PlatformError.from(error)
      let existing: Bool
      do {
        existing = try commit(version).contains { if case .commitInfo(let own) = $0 { own.txnId == identity } else { false } }
      } catch let reading as PlatformError where reading.code == .notFound {
        throw failure
      }
      return existing
    }
  }

  func checkpointIfDue(_ version: Int64, _ base: Snapshot) -> PlatformError? {
    guard version > 0, version % base.properties.checkpointInterval == 0 else { return nil }
    do {
      try checkpoint(version: version)
      return nil
    } catch {
      return PlatformError.from(error, context: "checkpoint of version \(version)")
    }
  }

  /// Writes the checkpoint of `version`, then `_last_checkpoint`. Readers need neither.
  public func checkpoint(version: Int64) throws {
    let state = try snapshot(version: version)
    let horizon = ProcessSupport.wallMilliseconds - state.properties.deletedFileRetentionMilliseconds
    var actions: [Action] = [.protocol(state.tableProtocol), .metadata(state.metadata)]
    actions += state.transactions.values.sorted { $0.appId < $1.appId }.map { .transaction($0) }
    actions += state.domains.values.sorted { $0.domain < $1.domain }.map { .domain($0) }
    actions += state.files.map {
      var file = $0
      file.dataChange = false
      return .add(file)
    }
    actions += state.removedFiles.filter { ($0.deletionTimestamp ?? 0) > horizon }.map {
      var file = $0
      file.dataChange = false
      file.stats = nil
      file.tags = nil
      return .remove(file)
    }
    let lines = actions.map(\.line)
    let data = try parquet.writeCheckpoint(lines)
    try store.put(checkpointPath(version), data)
    let pointer: JSONValue = ["version": .integer(version), "size": .integer(Int64(lines.count))]
    try store.put(path.appending("_delta_log/_last_checkpoint"), Data(pointer.sortedText.utf8))
  }
}

extension DeltaType {
  func mentions(_ name: String) -> Bool {
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
