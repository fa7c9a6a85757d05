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

  /// A part that is written and waits for the decision.
  private struct Staged {
    var commit: DecidedCommit
    var identity: String?
    var path: ObjectPath
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
      var staged: [Staged] = []
      do {
        for index in parts.indices { staged.append(try stage(parts[index], bases[index], levels[index])) }
      } catch {
        discard(staged)
        throw error
      }
      do {
        try coordinator.decide(staged.map(\.commit))
      } catch let error as PlatformError where error.code == .conflict {
        discard(staged)
        if attempt > 1 { Thread.sleep(forTimeInterval: Double.random(in: 0..<min(0.1, 0.002 * Double(attempt)))) }
        continue
      } catch {
        // The answer may be lost. All were decided or none, so the first part tells.
        guard try isDecided(staged[0], parts[0].table, coordinator) else {
          // A decision that is still under way would need the files, so they stay.
          throw error
        }
      }
      for (part, file) in zip(parts, staged) {
        // Decided is decided: what fails here, the next reader does.
        try? part.table.publish([file.commit])
      }
      return staged.map(\.commit.version)
    }
    throw PlatformError(.conflict, "the tables are written so often that the commit lost \(Self.attemptLimit) races")
  }

  /// Brings `base` up to the newest version, checking what others did.
  private func advance(_ base: inout Snapshot, _ checker: ConflictChecker, _ table: CoordinatedTable, _ progress: TableProgress) throws {
    guard base.tableProtocol.supports(.coordinatedCommits) else {
      throw PlatformError(
        .invalidArgument, "the table's versions are not given out by a coordinator", hint: "Adopt it first.", path: table.table.path.text)
    }
    try table.publish(progress.unpublished)
    while progress.latest.map({ base.version < $0 }) ?? true {
      guard let winner = try table.table.commitIfPresent(base.version + 1) else {
        guard progress.latest == nil else {
          throw PlatformError(.invalidFile, "version \(base.version + 1) is missing from the table's log", path: table.table.path.text)
        }
        return
      }
      try base.advance(winner, data: table.table.dataFeatures)
      do { try checker.check(winner, version: base.version) } catch { throw error.platformError }
      try base.tableProtocol.checkWritable(active: base.activeFeatures, data: table.table.dataFeatures)
    }
  }

  private func stage(_ part: Part, _ base: Snapshot, _ level: IsolationLevel) throws -> Staged {
    let version = base.version + 1
    let info = part.table.table.commitInfo(part.plan, level: level, readVersion: part.base.version)
    let (actions, written) = try part.table.table.prepared(part.plan, info, base: base, version: version)
    let name = "\(DeltaTable.digits(version)).\(UUID().uuidString.lowercased()).json"
    let data = Action.encode(actions)
    let path = try part.table.stagedPath(name)
    try part.table.table.store.put(path, data)
    return Staged(
      commit: DecidedCommit(table: part.table.id, version: version, fileName: name, fileSize: Int64(data.count)), identity: written.txnId, path: path)
  }

  private func discard(_ staged: [Staged]) {
    for (part, file) in zip(parts, staged) { try? part.table.table.store.delete(file.path) }  // nobody reads a file that was not decided
  }

  private func isDecided(_ staged: Staged, _ table: CoordinatedTable, _ coordinator: any CommitCoordinator) throws -> Bool {
    let progress = try coordinator.progress(of: [table.id])[table.id] ?? TableProgress()
    if progress.unpublished.contains(where: { $0.fileName == staged.commit.fileName }) { return true }
    guard let latest = progress.latest, latest >= staged.commit.version else { return false }
    // Published by somebody else already: the log says whose it is.
    return try table.table.commit(staged.commit.version).contains {
      if case .commitInfo(let info) = $0 { info.txnId == staged.identity } else { false }
    }
  }
}
