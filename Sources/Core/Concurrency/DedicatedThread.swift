// SPDX-License-Identifier: Apache-2.0

import CSupport
import Foundation
import Synchronization

/// One thread that runs an actor's jobs: bind an actor to it with `nonisolated var unownedExecutor`.
/// For actors that compute (a model step) or own a thread-bound handle.
public final class DedicatedThread: SerialExecutor {
  private let jobs = Mutex<[UnownedJob]>([])
  private let available = DispatchSemaphore(value: 0)

  public init(name: String) {
    let thread = Thread { [weak self, available] in
      ps_set_thread_name(name)
      while true {
        available.wait()
        guard let self else { return }
        let batch = jobs.withLock { queued in
          let taken = queued
          queued.removeAll(keepingCapacity: true)
          return taken
        }
        for job in batch { job.runSynchronously(on: asUnownedSerialExecutor()) }
      }
    }
    thread.stackSize = 16 << 20
    thread.start()
  }

  deinit { available.signal() }

  public func enqueue(_ job: consuming ExecutorJob) {
    let unowned = UnownedJob(job)
    jobs.withLock { $0.append(unowned) }
    available.signal()
  }

  public func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }
}
