// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DeltaLog
import Foundation
import Logging
import ObjectStore
import Synchronization

/// What commits leave to be done behind them: old files of the log go once a checkpoint makes them superfluous, and small files become
/// larger ones in tables with `delta.autoOptimize.autoCompact`. One thing at a time, so that statements keep the machine; a statement never
/// waits for any of it.
final class TableUpkeep: Sendable {
  enum Work: Hashable, Sendable {
    case cleanLog(location: String)
    case compact(table: String)
  }

  /// A compaction that takes longer is ended; what it has committed stays.
  static let timeLimit: Duration = .seconds(1800)
  /// Small files of one partition that make compaction worth its while.
  static let fileLimit = 50
  /// Work that waits; more is left for a later commit to ask for.
  static let queueLimit = 256
  /// The same work is done again after that time at the earliest.
  static let pause: Duration = .seconds(60)

  private struct State {
    var waiting: [Work] = []
    /// When work was done last; entries older than the pause go.
    var done: [Work: ContinuousClock.Instant] = [:]
  }
  private let state = Mutex(State())

  /// What decides about the work behind a commit.
  struct Facts: Sendable {
    var cleansLog: Bool
    var checkpointInterval: Int64
    var needsCompaction: Bool

    init(_ snapshot: Snapshot) {
      cleansLog = snapshot.properties.cleansExpiredLogs
      checkpointInterval = snapshot.properties.checkpointInterval
      needsCompaction = snapshot.properties.flag("delta.autoOptimize.autoCompact") && TableUpkeep.hasSmallFiles(snapshot)
    }
  }

  /// To be called after a commit. Takes no time to speak of: work is only noted.
  /// - Parameters:
  ///   - facts: of the table as it was about when the commit was made.
  ///   - version: the commit's.
  func note(_ entry: TableEntry, _ facts: Facts, version: Int64) {
    if facts.cleansLog, version > 0, version % facts.checkpointInterval == 0 { add(.cleanLog(location: entry.location)) }
    if facts.needsCompaction { add(.compact(table: entry.name.sql)) }
  }

  static func hasSmallFiles(_ snapshot: Snapshot) -> Bool {
    guard snapshot.filesByPath.count >= fileLimit else { return false }
    let small = (snapshot.properties.targetFileSizeBytes ?? (128 << 20)) / 2
    var counts: [[String: String?]: Int] = [:]
    for file in snapshot.filesByPath.values where file.size < small {
      let count = (counts[file.partitionValues] ?? 0) + 1
      if count >= fileLimit { return true }
      counts[file.partitionValues] = count
    }
    return false
  }

  /// Also where the catalog gives out the table's versions: what goes is long since part of its log.
  static func cleanLog(_ location: String) throws -> [ObjectPath] {
    try LakeTables.open(location, LakeTables.writtenFeatures.union([.coordinatedCommits])).cleanUpLog()
  }

  func add(_ work: Work, now: ContinuousClock.Instant = .now) {
    state.withLock { state in
      guard state.waiting.count < Self.queueLimit, !state.waiting.contains(work), state.done[work].map({ now - $0 >= Self.pause }) ?? true else { return }
      state.waiting.append(work)
    }
  }

  func next(now: ContinuousClock.Instant = .now) -> Work? {
    state.withLock { state in
      guard !state.waiting.isEmpty else { return nil }
      state.done = state.done.filter { now - $0.value < Self.pause }
      let work = state.waiting.removeFirst()
      state.done[work] = now
      return work
    }
  }

  /// Ends when the task is cancelled.
  /// - Parameter compact: runs OPTIMIZE on a table.
  func run(logger: Logger, compact: @Sendable (_ table: String) async throws -> Void) async {
    while !Task.isCancelled {
      guard let work = next() else {
        try? await Task.sleep(for: .milliseconds(500))  // cancelled: the loop condition ends it
        continue
      }
      do {
        switch work {
        case .cleanLog(let location):
          let gone = try await BlockingPool.shared.run { try Self.cleanLog(location) }
          if !gone.isEmpty { logger.info("old files of a table's log are gone", metadata: ["table": "\(location)", "files": "\(gone.count)"]) }
        case .compact(let table):
          try await compact(table)
          logger.info("small files of a table were put together", metadata: ["table": "\(table)"])
        }
      } catch {
        // The next commit asks again.
        logger.warning("upkeep of a table failed", metadata: ["work": "\(work)", "error": "\(error)"])
      }
    }
  }
}

extension ThreePartName {
  /// As a statement names it.
  var sql: String { [catalog, schema, name].map { "`" + $0 + "`" }.joined(separator: ".") }
}
