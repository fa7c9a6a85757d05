// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore

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
    return try table.snapshot(version: progress.latest)
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
