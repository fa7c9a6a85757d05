// SPDX-License-Identifier: Apache-2.0

import API
import Core
import Foundation
import Logging
import Synchronization

/// Ended statements with their results: the newest, for an hour, as much as memory and disk shall hold.
final class StatementResults: Sendable {
  static let lifetimeMilliseconds: Int64 = 3_600_000
  static let countLimit = 10_000
  static let residentLimit = 64 << 20
  static let diskLimit: Int64 = 16 << 30

  private struct State {
    var records: [String: StatementRecord] = [:]
    /// Oldest first; `head` counts those that are gone.
    var order: [String] = []
    var head = 0
    var residentBytes = 0
    var diskBytes: Int64 = 0

    mutating func removeOldest() -> StatementRecord? {
      guard head < order.count else { return nil }
      let record = records.removeValue(forKey: order[head])
      head += 1
      if head > 4096 {
        order.removeFirst(head)
        head = 0
      }
      guard let record else { return nil }
      residentBytes -= record.residentBytes
      if record.directory != nil { diskBytes -= record.view.chunks.reduce(0) { $0 + $1.bytes } }
      return record
    }
  }

  private let folder: String
  private let logger: Logger
  private let state = Mutex(State())

  init(folder: String, logger: Logger) {
    self.folder = folder
    self.logger = logger
  }

  /// Where an executor writes the chunks of a result.
  func directory(_ id: String, _ stage: Int) -> String { "\(folder)/\(id)-\(stage)" }

  static func read(_ directory: String, _ index: Int) async throws -> Data {
    try await BlockingPool.shared.run {
      guard let data = FileManager.default.contents(atPath: "\(directory)/\(index)") else {
        throw PlatformError(.notFound, "the result is no longer kept", hint: "Run the statement again.", number: "PLT-3231")
      }
      return data
    }
  }

  /// Removes a result that nobody is given.
  static func remove(_ directory: String) async {
    // Left behind when it fails: the next start clears the folder.
    _ = try? await BlockingPool.shared.run { try? FileManager.default.removeItem(atPath: directory) }
  }

  /// Removes what an earlier process left.
  func clear() async throws {
    try await BlockingPool.shared.run { [folder] in
      try? FileManager.default.removeItem(atPath: folder)  // not there: nothing to remove
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }
  }

  func keep(_ record: StatementRecord) {
    let removed = state.withLock { state -> [StatementRecord] in
      state.records[record.id] = record
      state.order.append(record.id)
      state.residentBytes += record.residentBytes
      if record.directory != nil { state.diskBytes += record.view.chunks.reduce(0) { $0 + $1.bytes } }
      var removed: [StatementRecord] = []
      while state.records.count > Self.countLimit || state.residentBytes > Self.residentLimit || state.diskBytes > Self.diskLimit,
        let oldest = state.removeOldest()
      {
        removed.append(oldest)
      }
      return removed
    }
    if !removed.isEmpty { forget(removed) }
  }

  func find(_ id: String) -> StatementRecord? { state.withLock { $0.records[id] } }

  /// Forgets what is older than an hour.
  func expire() async {
    let limit = ProcessSupport.wallMilliseconds - Self.lifetimeMilliseconds
    let removed = state.withLock { state -> [StatementRecord] in
      var removed: [StatementRecord] = []
      while state.head < state.order.count {
        let oldest = state.records[state.order[state.head]]
        if let oldest, (oldest.endedMilliseconds ?? .max) > limit { break }
        if let gone = state.removeOldest() { removed.append(gone) }
      }
      return removed
    }
    forget(removed)
  }

  private func forget(_ records: [StatementRecord]) {
    let folders = records.compactMap(\.directory)
    for record in records { record.close() }
    guard !folders.isEmpty else { return }
    do {
      try BlockingPool.shared.submit {
        for folder in folders { try? FileManager.default.removeItem(atPath: folder) }  // gone already: as wanted
      }
    } catch { logger.warning("old results stay until the next start", metadata: ["error": "\(error)"]) }
  }
}
