// SPDX-License-Identifier: Apache-2.0

import Core
import ObjectStore
import Synchronization

/// Keeps the latest snapshot of one table between calls, so that a writer reads only what others have committed since.
///
/// Share one among all `DeltaTable` values of a table in a process. What it holds is checked against the log at each use: a
/// table that was replaced in the meantime is read anew.
public final class SnapshotCache: Sendable {
  /// A snapshot, and the commit file of its version: a table in its place would have another.
  struct Held: Sendable {
    var snapshot: Snapshot
    var mark: ObjectInfo
  }

  private let held = Mutex<Held?>(nil)
  private let turn = Mutex<Void>(())
  /// Gathers appends that come while another commits.
  let appends: AppendQueue?
  /// Writes checkpoints while the writers go on; nil: who commits writes the checkpoint that is due.
  let checkpoints: BackgroundCheckpoints?

  /// - Parameters:
  ///   - groupsAppends: appends of one process that meet become one version, which is many times faster than one after
  ///   the other. Each is answered when its rows are durable; the history shows them as one.
  ///   - checkpointsBehind: checkpoints are written behind the commits. What goes wrong with one is told by the commit that makes
  ///   the next one due. For processes that live on: one that ends leaves its checkpoint unwritten, which harms nothing.
  public init(groupsAppends: Bool = false, checkpointsBehind: Bool = false) {
    appends = groupsAppends ? AppendQueue() : nil
    checkpoints = checkpointsBehind ? BackgroundCheckpoints() : nil
  }

  /// Returns when no checkpoint is being written any more; false when that takes longer than `seconds`.
  public func waitForCheckpoints(seconds: Int) -> Bool { checkpoints?.wait(seconds: seconds) ?? true }

  /// One caller at a time. Blocks; `body` must not call it again.
  func exclusively<T>(_ body: () throws -> T) throws -> T { try turn.withLock { _ in try body() } }

  func exclusivelyNow<T>(_ body: () -> T) -> T { turn.withLock { _ in body() } }

  /// Hands the snapshot over, so that it is updated in place and not copied.
  func take() -> Held? {
    held.withLock { value in
      defer { value = nil }
      return value
    }
  }

  /// Keeps `snapshot` unless a newer one is there.
  func put(_ new: Held) {
    held.withLock { present in
      if (present?.snapshot.version ?? -1) < new.snapshot.version { present = new }
    }
  }

  /// Forgets the table.
  public func clear() { held.withLock { $0 = nil } }
}
