// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Jobs
import Logging
import Synchronization

/// Events of nodes, which no record has: stored in groups behind what happened, and again until Postgres has taken them.
final class ClusterEventLog: Sendable {
  /// Events that may wait for Postgres; older ones are dropped.
  private static let limit = 10_000

  private let store: ClusterEventStore
  private let logger: Logger
  private let waiting = Mutex<[ClusterEvent]>([])

  init(store: ClusterEventStore, logger: Logger) {
    self.store = store
    self.logger = logger
  }

  func add(_ event: ClusterEvent) {
    waiting.withLock { events in
      events.append(event)
      if events.count > Self.limit { events.removeFirst(events.count - Self.limit) }
    }
  }

  /// Stores, and forgets what is too old, until the task is cancelled.
  func run() async {
    var pruned: ContinuousClock.Instant?
    while !Task.isCancelled {
      await flush()
      if pruned.map({ .now - $0 > .seconds(3600) }) ?? true {
        pruned = .now
        do { try await store.prune() } catch { logger.warning("old events stay for now", metadata: ["error": "\(error)"]) }
      }
      try? await Task.sleep(for: .milliseconds(300))  // cancelled: the loop condition ends it
    }
  }

  func flush() async {
    let events = waiting.withLock { events in
      defer { events = [] }
      return events
    }
    do { try await store.add(events) } catch {
      waiting.withLock { $0 = Array((events + $0).suffix(Self.limit)) }
    }
  }
}
