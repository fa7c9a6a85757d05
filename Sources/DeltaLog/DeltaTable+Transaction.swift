// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore

extension DeltaTable {
  /// The latest version; reads only what is newer than the cache when there is one.
  public func latest() throws -> Snapshot {
    let current = try takeLatest()
    keep(current)
    return current
  }

  /// The latest version, and nobody else holds it: it can be changed in place. Give it back with `keep`.
  func takeLatest() throws -> Snapshot {
    guard let held = cache?.take() else { return try snapshot() }
    do {
      guard try store.head(commitPath(held.snapshot.version)) == held.mark else { return try snapshot() }
      return try settled(update(held.snapshot))
    } catch {
      return try snapshot()  // it says what is wrong, or finds a new table
    }
  }

  func keep(_ snapshot: Snapshot) {
    // A mark that cannot be had only means that the next call reads the log.
    guard let cache, let mark = try? store.head(commitPath(snapshot.version)) else { return }
    cache.put(SnapshotCache.Held(snapshot: snapshot, mark: mark))
  }

  /// Commits `plan`, which was decided on `base`. When other writers were faster, their commits are checked one by one
  /// (`ConflictChecker`) and the plan goes behind them.
  ///
  /// `base` becomes the version that was committed, or the newest one seen when an error is thrown.
  /// - Parameter transaction: recorded with the change; when it is recorded already, nothing is written and the outcome is a replay.
  /// - Throws: `conflict` (see `CommitConflict.kind(of:)`) or after too many lost races; `invalidArgument`, `permissionDenied`.
  public func commit(_ plan: CommitPlan, onto base: inout Snapshot, transaction: AppTransaction? = nil) throws -> CommitOutcome {
    let readVersion = base.version
    var plan = plan
    if let transaction {
      if let outcome = try replayed(transaction, base) { return outcome }
      plan.actions.insert(.transaction(transaction), at: 0)
    }
    try CommitValidation.check(plan.actions, base: base, data: dataFeatures, dropped: plan.droppedFeatures)
    let level = plan.isolation ?? ConflictChecker.level(plan.actions, table: base.properties.isolationLevel)
    let checker = ConflictChecker(reads: plan.reads, actions: plan.actions, isolation: level, base: base)
    var random = SystemRandomNumberGenerator()
    for attempt in 1...Self.attemptLimit {
      let version = base.version + 1
      let info = commitInfo(plan, level: level, readVersion: readVersion)
      let (actions, written) = try prepared(plan, info, base: base, version: version)
      if try put(actions, version: version, identity: written.txnId, behind: plan.unsynced, base: base) {
        try base.advance(actions, data: dataFeatures)
        return CommitOutcome(version: version, isReplay: false, checkpointProblem: checkpointIfDue(base))
      }
      // Somebody has this version: look at all that came since, and try behind it.
      while let found = try commitIfPresent(base.version + 1) {
        let winner = base.resolved(found)
        try base.advance(winner, data: dataFeatures)
        if let transaction, base.transactions[transaction.appId].map({ $0.version >= transaction.version }) == true {
          return CommitOutcome(version: base.version, isReplay: true)
        }
        do { try checker.check(winner, version: base.version) } catch { throw error.platformError }
        try base.tableProtocol.checkWritable(active: base.activeFeatures, data: dataFeatures)
      }
      if attempt > 1 {
        let wait = Backoff(firstMilliseconds: 2, limitMilliseconds: 100)
          .delayMilliseconds(afterAttempt: attempt, unit: Double.random(in: 0..<1, using: &random))
        Thread.sleep(forTimeInterval: Double(wait) / 1000)
      }
    }
    throw PlatformError(
      .conflict, "the table is written so often that the commit lost \(Self.attemptLimit) races", path: path.text)
  }

  func commitInfo(_ plan: CommitPlan, level: IsolationLevel, readVersion: Int64?) -> CommitInfo {
    var info = CommitInfo()
    info.operation = plan.operation
    info.operationParameters = .object(plan.operationParameters)
    info.operationMetrics = .object((plan.operationMetrics ?? plan.fileMetrics).mapValues { .string($0) })
    info.engineInfo = "platform/\(PlatformVersion.current)"
    info.isBlindAppend = plan.isBlindAppend
    info.isolationLevel = level.rawValue
    info.readVersion = readVersion
    info.txnId = UUID().uuidString.lowercased()
    info.userName = plan.userName
    info.userMetadata = plan.userMetadata
    if let kept = plan.preservesRowIds { info.tags = ["delta.rowTracking.preserved": kept ? "true" : "false"] }
    return info
  }

  /// The lines of a commit: `commitInfo` first, row ids assigned, in-commit timestamps set.
  func prepared(_ plan: CommitPlan, _ info: CommitInfo, base: Snapshot?, version: Int64) throws -> ([Action], CommitInfo) {
    var info = info
    var actions = plan.actions
    var tableProtocol = base?.tableProtocol
    var metadata = base?.metadata
    var metadataIndex: Int?
    for (index, action) in actions.enumerated() {
      if case .protocol(let value) = action { tableProtocol = value }
      if case .metadata(let value) = action { (metadata, metadataIndex) = (value, index) }
    }
    let now = ProcessSupport.wallMilliseconds
    info.timestamp = now
    if let tableProtocol, let metadata {
      let properties = TableProperties(metadata.configuration)
      if tableProtocol.supports(.inCommitTimestamp), properties.hasInCommitTimestamps {
        let wasOn = base.map { $0.tableProtocol.supports(.inCommitTimestamp) && $0.properties.hasInCommitTimestamps } ?? false
        var time = now
        if let base {
          let previous = wasOn ? try inCommitTimestamp(of: base) : try fileTime(base.version)
          time = max(now, previous.addingReportingOverflow(1).partialValue)
        }
        info.inCommitTimestamp = time
        info.timestamp = time
        if !wasOn, version > 0, let metadataIndex {
          var changed = metadata
          changed.configuration["delta.inCommitTimestampEnablementVersion"] = String(version)
          changed.configuration["delta.inCommitTimestampEnablementTimestamp"] = String(time)
          actions[metadataIndex] = .metadata(changed)
        }
      }
      if RowTracking.isAssigned(tableProtocol, properties) {
        let start =
          base
          ?? Snapshot(
            version: -1, tableProtocol: tableProtocol, metadata: metadata, schema: StructType(fields: []), filesByPath: [:],
            transactions: [:], domains: [:], tombstones: [:])
        actions = try RowTracking.assign(actions, base: start, version: version)
        // Appended and removed rows need nothing kept.
        if info.tags == nil, plan.isBlindAppend { info.tags = ["delta.rowTracking.preserved": "true"] }
      }
    }
    return ([.commitInfo(info)] + actions, info)
  }

  private func inCommitTimestamp(of base: Snapshot) throws -> Int64 {
    if let time = base.commitInfo?.inCommitTimestamp { return time }
    for case .commitInfo(let info) in try commit(base.version) {
      if let time = info.inCommitTimestamp { return time }
    }
    throw PlatformError(.invalidFile, "version \(base.version) of the table has no in-commit timestamp", path: path.text)
  }

  private func fileTime(_ version: Int64) throws -> Int64 { try store.head(commitPath(version))?.modifiedMilliseconds ?? 0 }

  /// Makes `actions` the version behind `base`. Returns false when another writer has this version.
  private func put(_ actions: [Action], version: Int64, identity: String?, behind files: [UnsyncedFile], base: Snapshot) throws -> Bool {
    guard let coordinated = try coordinated(base) else { return try put(actions, version: version, identity: identity, behind: files) }
    return try coordinated.put(actions, version: version, identity: identity, behind: files)
  }

  /// Writes one commit file. Returns false when another writer has this version.
  func put(_ actions: [Action], version: Int64, identity: String?, behind files: [UnsyncedFile] = []) throws -> Bool {
    let file = try commitPath(version)
    do {
      try store.putIfAbsent(file, Action.encode(actions), behind: files)
      return true
    } catch {
      // The answer may have been lost after the write: the file's own identity tells whose it is.
      let failure = PlatformError.from(error)
      do {
        return try commit(version).contains { if case .commitInfo(let own) = $0 { own.txnId == identity } else { false } }
      } catch let reading as PlatformError where reading.code == .notFound {
        throw failure
      }
    }
  }
}
