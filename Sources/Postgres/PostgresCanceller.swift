// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import Core
import Foundation
import Synchronization

/// Sends cancel requests. `PQcancel` opens a connection of its own and waits for the server to close it, without a bound, so it
/// runs on one spare thread that nobody needs: a server that hangs holds that thread, and no other.
final class PostgresCanceller: Sendable {
  /// How long a caller waits to learn whether the request got through. It goes on by itself after that.
  private static let patience: Duration = .seconds(2)
  /// Requests that may wait behind one that hangs; more are not sent, and the closed connections have to tell the server.
  private static let queueLimit = 16

  private struct Request: @unchecked Sendable {  // made here, used and freed once, by the thread that sends it
    let pointer: OpaquePointer
  }

  private final class Outcome: Sendable {
    private let taken = Atomic<Bool>(false)
    private let done = DispatchSemaphore(value: 0)

    func set(_ value: Bool) {
      taken.store(value, ordering: .releasing)
      done.signal()
    }

    func wait(_ patience: Duration) -> Bool {
      done.wait(timeout: .now() + .milliseconds(patience.settingMilliseconds)) == .success && taken.load(ordering: .acquiring)
    }
  }

  private let thread = Mutex<BlockingPool?>(nil)

  /// Asks the server to stop what runs on `handle`.
  /// - Returns: whether the server took the request in time; it may be too late or have no effect even then.
  func cancel(_ handle: OpaquePointer) -> Bool {
    guard let pointer = PQgetCancel(handle) else { return false }
    let request = Request(pointer: pointer)
    let pool = thread.withLock { pool in
      let found = pool ?? BlockingPool(name: "pg-cancel", threads: 1, queueLimit: Self.queueLimit)
      pool = found
      return found
    }
    let outcome = Outcome()
    do {
      try pool.submit {
        var reason = [CChar](repeating: 0, count: 256)
        outcome.set(PQcancel(request.pointer, &reason, Int32(reason.count)) == 1)
        PQfreeCancel(request.pointer)
      }
    } catch {
      PQfreeCancel(pointer)
      return false
    }
    return outcome.wait(Self.patience)
  }
}
