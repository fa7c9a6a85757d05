// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore

/// One change of several tables: all of them change, or none does.
public struct MultiTableCommit: Sendable {
  /// What happens to one table.
  public struct Part: Sendable {
    public var table: CoordinatedTable
    public var plan: CommitPlan
    /// The version that the plan was decided on.
    public var base: Snapshot

    public init(_ table: CoordinatedTable, _ plan: CommitPlan, base: Snapshot) {
      self.table = table
      self.plan = plan
      self.base = base
    }
  }

  public var parts: [Part]
  static let attemptLimit = 50

  /// - Parameter parts: of different tables with the same coordinator.
  public init(_ parts: [Part]) { self.parts = parts }

  /// The versions that have recorded `transaction`, when it was committed before: all of the tables have one then, or none has.
  public static func replayed(_ transaction: AppTransaction, _ tables: some Sequence<(CoordinatedTable, Snapshot)>) throws -> [Int64]? {
    let found = try tables.map { table, latest in try table.table.replayed(transaction, latest)?.version }
    return found.contains { $0 == nil } ? nil : found.compactMap { $0 }
  }

  /// Commits. Other commits that came in between are checked as for one table (`ConflictChecker`).
  /// - Returns: the version of each part, in their order. All are decided; publishing may still be under way.
  /// - Throws: `conflict` when a part does not fit behind what others committed, or after too many lost races: nothing happened.
  ///   `unavailable` or `timeout` when the coordinator's answer was lost and it does not answer now either: unknown.
  public func run() throws -> [Int64] {
    guard let coordinator = parts.first?.table.coordinator else { return [] }
    guard Set(parts.map(\.table.id)).count == parts.count else {
      throw PlatformError(.invalidArgument, "a commit over several tables names each of them once")
    }
    var bases = parts.map(\.base)
    var checkers: [ConflictChecker] = []
    var levels: [IsolationLevel] = []
    for part in parts {
      try CommitValidation.check(part.plan.actions, base: part.base, data: part.table.table.dataFeatures)
      levels.append(part.plan.isolation ?? ConflictChecker.level(part.plan.actions, table: part.base.properties.isolationLevel))
      checkers.append(ConflictChecker(reads: part.plan.reads, actions: part.plan.actions, isolation: levels[levels.count - 1], base: part.base))
    }
    for attempt in 1...Self.attemptLimit {
      let progress = try coordinator.progress(of: parts.map(\.table.id))
      for index in parts.indices {
        try advance(&bases[index], checkers[index], parts[index].table, progress[parts[index].table.id] ?? TableProgress())
      }
      var written: [(actions: [Action], identity: String?)] = []
      for (part, (base, level)) in zip(parts, zip(bases, levels)) {
        let info = part.table.table.commitInfo(part.plan, level: level, readVersion: part.base.version)
        let (actions, noted) = try part.table.table.prepared(part.plan, info, base: base, version: base.version + 1)
        written.append((actions, noted.txnId))
      }
      let versions = bases.map { $0.version + 1 }
      var staged = StagedVersions(coordinator)
      for index in parts.indices {
        try staged.add(
          written[index].actions, version: versions[index], identity: written[index].identity, behind: parts[index].plan.unsynced, to: parts[index].table)
      }
      guard try staged.decide() else {
        if attempt > 1 { Thread.sleep(forTimeInterval: Double.random(in: 0..<min(0.1, 0.002 * Double(attempt)))) }
        continue
      }
      try staged.publish()
      for (index, part) in parts.enumerated() {
        // The commit stands, with its checkpoint or without.
        guard (try? bases[index].advance(written[index].actions, data: part.table.table.dataFeatures)) != nil else { continue }
        _ = part.table.table.checkpointIfDue(bases[index])
      }
      return versions
    }
    throw PlatformError(.conflict, "the tables are written so often that the commit lost \(Self.attemptLimit) races")
  }

  /// Brings `base` up to the newest version, checking what others did.
  private func advance(_ base: inout Snapshot, _ checker: ConflictChecker, _ table: CoordinatedTable, _ progress: TableProgress) throws {
    try table.publish(progress.unpublished)
    while progress.latest.map({ base.version < $0 }) ?? true {
      guard let found = try table.table.commitIfPresent(base.version + 1) else {
        guard progress.latest == nil else {
          throw PlatformError(.invalidFile, "version \(base.version + 1) is missing from the table's log", path: table.table.path.text)
        }
        break
      }
      let winner = base.resolved(found)
      try base.advance(winner, data: table.table.dataFeatures)
      do { try checker.check(winner, version: base.version) } catch {
        var conflict = error.platformError
        conflict.path = table.table.path.text
        throw conflict
      }
      try base.tableProtocol.checkWritable(active: base.activeFeatures, data: table.table.dataFeatures)
    }
    guard base.tableProtocol.supports(.coordinatedCommits) else {
      throw PlatformError(
        .invalidArgument, "the table's versions are not given out by a coordinator", hint: "Adopt it first.", path: table.table.path.text)
    }
  }
}
