// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore

/// By whom and under which name a table's versions are given out.
public struct TableCoordination: Sendable {
  /// By which the coordinator knows the table.
  public var id: String
  public var coordinator: any CommitCoordinator

  public init(id: String, coordinator: any CommitCoordinator) {
    self.id = id
    self.coordinator = coordinator
  }
}

/// A table whose versions a coordinator gives out, so that one commit can span several tables.
///
/// A commit lies in `_delta_log/_staged_commits` first, is decided by the coordinator, and is then copied to its place in the
/// log ("published") by whoever comes first: its writer, or the next reader. A writer that dies before the decision leaves a file
/// that nobody reads; one that dies after it leaves work that the next reader does.
public struct CoordinatedTable: Sendable {
  /// By which the coordinator knows the table.
  public let id: String
  public let table: DeltaTable
  let coordinator: any CommitCoordinator

  public init(_ table: DeltaTable, id: String, coordinator: any CommitCoordinator) {
    self.id = id
    self.coordinator = coordinator
    self.table = DeltaTable(
      store: table.store, path: table.path, parquet: table.parquet, dataFeatures: table.dataFeatures.union([.coordinatedCommits]), cache: table.cache)
  }

  /// Gives the versions of the table into the coordinator's hands: writers that do not know this stay out from then on, those
  /// that have begun included. Once done it stays so. Repeating it changes nothing.
  /// - Returns: the version from which on it holds.
  @discardableResult
  public func adopt() throws -> Int64 {
    var base = try table.latest()
    while !base.tableProtocol.supports(.coordinatedCommits) {
      let plan = CommitPlan([.protocol(base.tableProtocol.adding([.coordinatedCommits]))], reads: .everything, operation: "UPGRADE PROTOCOL")
      do { _ = try table.commit(plan, onto: &base) } catch let error as PlatformError where error.code == .conflict {
        base = try table.latest()  // somebody committed, perhaps the same
      }
    }
    return base.version
  }

  /// The tables at one moment: a commit that spans them is in all of the snapshots or in none.
  public static func snapshots(_ tables: [CoordinatedTable]) throws -> [Snapshot] {
    guard let coordinator = tables.first?.coordinator else { return [] }
    let progress = try coordinator.progress(of: tables.map(\.id))
    return try tables.map { try $0.snapshot(progress[$0.id] ?? TableProgress()) }
  }

  /// Publishes what is decided, and reads the table up to there.
  func snapshot(_ progress: TableProgress) throws -> Snapshot {
    try publish(progress.unpublished)
    guard table.cache != nil else { return try table.snapshot(version: progress.latest) }
    let latest = try table.latest()
    return try progress.latest.flatMap { $0 == latest.version ? nil : try table.snapshot(version: $0) } ?? latest
  }

  func stagedPath(_ fileName: String) throws -> ObjectPath {
    guard PathText.components(fileName).count == 1 else {
      throw PlatformError(.invalidFile, "'\(fileName.prefix(200))' is not the name of a staged commit", path: table.path.text)
    }
    return try table.path.appending("_delta_log/_staged_commits/\(fileName)")
  }

  /// Copies decided commits to their places in the log. Any number of processes may do so at the same time.
  /// - Throws: `conflict` PLT-2308 when somebody wrote such a version past the coordinator.
  public func publish(_ commits: [DecidedCommit]) throws {
    guard let last = commits.last else { return }
    for commit in commits {
      let place = try table.commitPath(commit.version)
      let data: Data
      do { data = try table.store.get(stagedPath(commit.fileName)) } catch let error as PlatformError where error.code == .notFound {
        // Somebody has published it and tidied up.
        if try table.store.head(place) != nil { continue }
        throw PlatformError(.invalidFile, "the decided version \(commit.version) of the table has no file", path: table.path.text)
      }
      do { try table.store.putIfAbsent(place, data) } catch {
        let reason = PlatformError.from(error)
        guard let there = try? table.store.get(place) else { throw reason }  // what went wrong first says more
        guard there == data else {
          throw PlatformError(
            .conflict, "version \(commit.version) of the table was written past the coordinator that gives out its versions",
            hint: "Find the writer that ignores the table feature \(TableFeature.coordinatedCommits).", number: "PLT-2308", path: place.text)
        }
      }
    }
    try coordinator.published(id, through: last.version)
    for commit in commits {
      try? table.store.delete(stagedPath(commit.fileName))  // left behind it only takes space
    }
  }
}

extension CoordinatedTable {
  /// Makes `actions` the table's next version, by itself.
  /// - Returns: false when another commit has this version; the log has it then.
  func put(_ actions: [Action], version: Int64, identity: String?, behind files: [UnsyncedFile]) throws -> Bool {
    var staged = StagedVersions(coordinator)
    try staged.add(actions, version: version, identity: identity, behind: files, to: self)
    guard try staged.decide() else {
      try publish(coordinator.progress(of: [id])[id]?.unpublished ?? [])
      return false
    }
    try staged.publish()
    return true
  }
}

extension DeltaTable {
  /// The table with its coordinator, when that gives out the versions behind `base`.
  func coordinated(_ base: borrowing Snapshot) throws -> CoordinatedTable? {
    guard let coordination, base.tableProtocol.supports(.coordinatedCommits) else { return nil }
    return CoordinatedTable(self, id: coordination.id, coordinator: coordination.coordinator)
  }

  /// The version that gave the table's versions into the coordinator's hands, when the log still has it; otherwise that of `latest`.
  public func adoptedVersion(_ latest: Snapshot) throws -> Int64 {
    for version in stride(from: latest.version, through: 0, by: -1) {
      do {
        let isAdoption = try commit(version).contains {
          if case .protocol(let value) = $0 { value.supports(.coordinatedCommits) } else { false }
        }
        if isAdoption { return version }
      } catch let error as PlatformError where error.code == .notFound { break }  // cleaned up: it was long ago
    }
    return latest.version
  }

  /// `found` with what the coordinator has decided behind it. What is not in the log yet is put there: a writer that died between the
  /// decision and its publication left that to whoever looks next.
  func settled(_ found: consuming Snapshot) throws -> Snapshot {
    guard let table = try coordinated(found) else { return found }
    let progress = try table.coordinator.progress(of: [table.id])[table.id] ?? TableProgress()
    try table.publish(progress.unpublished)
    guard let latest = progress.latest, latest > found.version else { return found }
    return try update(found)
  }
}

/// Versions of one or more tables that are written beside the logs, to be decided at once.
struct StagedVersions {
  private struct One {
    var table: CoordinatedTable
    var commit: DecidedCommit
    var identity: String?
    var path: ObjectPath
  }

  private let coordinator: any CommitCoordinator
  private var all: [One] = []

  init(_ coordinator: any CommitCoordinator) { self.coordinator = coordinator }

  /// Writes a version where nobody reads it. What was written before is removed when that fails.
  mutating func add(_ actions: [Action], version: Int64, identity: String?, behind files: [UnsyncedFile], to table: CoordinatedTable) throws {
    do {
      let name = "\(DeltaTable.digits(version)).\(UUID().uuidString.lowercased()).json"
      let data = Action.encode(actions)
      let path = try table.stagedPath(name)
      for file in files { try file.sync() }
      try table.table.store.put(path, data)
      let isLast = actions.contains { if case .protocol(let value) = $0 { !value.supports(.coordinatedCommits) } else { false } }
      all.append(
        One(
          table: table, commit: DecidedCommit(table: table.id, version: version, fileName: name, fileSize: Int64(data.count), isLast: isLast),
          identity: identity, path: path))
    } catch {
      discard()
      throw error
    }
  }

  /// - Returns: false when one of the versions is taken: nothing has happened.
  /// - Throws: what the coordinator throws, when it is unknown whether it has decided: the files stay then.
  func decide() throws -> Bool {
    do {
      try coordinator.decide(all.map(\.commit))
    } catch let error as PlatformError where error.code == .conflict {
      discard()
      return false
    } catch {
      // The answer may be lost. All were decided or none, so the first tells.
      guard let first = all.first, try isDecided(first) else { throw error }
    }
    return true
  }

  /// Decided is decided: what fails here, the next reader does.
  /// - Throws: `conflict` PLT-2308 when somebody wrote such a version past the coordinator: no reader will ever see what was decided.
  func publish() throws {
    var past: PlatformError?
    for one in all {
      do { try one.table.publish([one.commit]) } catch let error as PlatformError where error.number == "PLT-2308" { past = error } catch {
        // As above.
      }
    }
    if let past { throw past }
  }

  private func discard() {
    for one in all { try? one.table.table.store.delete(one.path) }  // nobody reads a file that was not decided
  }

  private func isDecided(_ one: One) throws -> Bool {
    let progress = try coordinator.progress(of: [one.commit.table])[one.commit.table] ?? TableProgress()
    if progress.unpublished.contains(where: { $0.fileName == one.commit.fileName }) { return true }
    guard let latest = progress.latest, latest >= one.commit.version else { return false }
    // Published by somebody else already: the log says whose it is.
    return try one.table.table.commit(one.commit.version).contains {
      if case .commitInfo(let info) = $0 { info.txnId == one.identity } else { false }
    }
  }
}
