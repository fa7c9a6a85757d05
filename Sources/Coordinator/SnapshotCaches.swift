// SPDX-License-Identifier: Apache-2.0

import DeltaLog
import Synchronization

/// A snapshot cache for each table that was read lately.
final class SnapshotCaches: Sendable {
  private struct State {
    var caches: [String: (cache: SnapshotCache, used: UInt64)] = [:]
    var clock: UInt64 = 0
  }

  private let state = Mutex(State())
  private let limit: Int

  /// - Parameter limit: tables that are kept; the one that was not used for longest goes.
  init(limit: Int = 256) { self.limit = max(1, limit) }

  /// - Parameter location: the table's folder. A table that takes its place is noticed by the cache itself.
  func cache(_ location: String) -> SnapshotCache {
    state.withLock { state in
      state.clock += 1
      let found = state.caches[location]?.cache ?? SnapshotCache(groupsAppends: true, checkpointsBehind: true)
      state.caches[location] = (found, state.clock)
      if state.caches.count > limit, let oldest = state.caches.min(by: { $0.value.used < $1.value.used })?.key {
        state.caches[oldest] = nil
      }
      return found
    }
  }
}
