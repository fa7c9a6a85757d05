// SPDX-License-Identifier: Apache-2.0

import Core
import Synchronization

/// Keeps the latest snapshot of one table between calls, so that a writer reads only what others have committed since.
///
/// Share one among all `DeltaTable` values of a table in a process. What it holds is checked against the log at each use.
public final class SnapshotCache: Sendable {
  private let held = Mutex<Snapshot?>(nil)
  public init() {}

  /// Hands the snapshot over, so that it is updated in place and not copied.
  func take() -> Snapshot? {
    held.withLock { snapshot in
      defer { snapshot = nil }
      return snapshot
    }
  }

  /// Keeps `snapshot` unless a newer one is there.
  func put(_ snapshot: Snapshot) {
    held.withLock { present in
      if (present?.version ?? -1) < snapshot.version { present = snapshot }
    }
  }

  /// Forgets the table: it was dropped or replaced.
  public func clear() { held.withLock { $0 = nil } }
}
