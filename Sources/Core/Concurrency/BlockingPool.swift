// SPDX-License-Identifier: Apache-2.0

import CSupport
import Foundation
import Synchronization

/// A few named threads for calls that block or compute for longer than a millisecond (libpq, DuckDB, files), so that
/// Swift's cooperative pool, which has one thread a core, never waits for them.
///
/// The queue is bounded: a call above the bound is refused with `resourceExhausted` instead of growing memory.
public final class BlockingPool: Sendable {
  private struct State {
    var jobs: [@Sendable () -> Void] = []
    var head = 0
    var stopped = false
    var count: Int { jobs.count - head }
  }

  private let state = Mutex(State())
  private let available = DispatchSemaphore(value: 0)
  private let name: String
  private let queueLimit: Int
  private let threadCount: Int

  public init(name: String, threads: Int, queueLimit: Int = 10_000) {
    precondition(threads > 0 && queueLimit > 0)
    self.name = name
    self.queueLimit = queueLimit
    self.threadCount = threads
    for index in 0..<threads {
      let thread = Thread { [weak self, available, name] in
        ps_set_thread_name("\(name)-\(index)")
        while true {
          available.wait()
          guard let job = self?.take() else { return }
          job()
        }
      }
      thread.stackSize = 8 << 20
      thread.start()
    }
  }

  deinit { for _ in 0..<threadCount { available.signal() } }

  /// A pool shared by file work and other short blocking calls of this process.
  public static let shared = BlockingPool(name: "blocking", threads: 8)

  private func take() -> (@Sendable () -> Void)? {
    state.withLock { state in
      guard state.head < state.jobs.count else { return nil }
      let job = state.jobs[state.head]
      state.head += 1
      if state.head > 1024 && state.head * 2 > state.jobs.count {
        state.jobs.removeFirst(state.head)
        state.head = 0
      }
      return job
    }
  }

  /// Queues `body` without waiting for it.
  /// - Throws: `resourceExhausted` when the queue is full.
  public func submit(_ body: @escaping @Sendable () -> Void) throws {
    let accepted = state.withLock { state in
      guard state.count < queueLimit else { return false }
      state.jobs.append(body)
      return true
    }
    guard accepted else {
      throw PlatformError(.resourceExhausted, "\(name): \(queueLimit) calls are already waiting", hint: "Try again later.")
    }
    available.signal()
  }

  /// Runs `body` on a thread of the pool and returns its result. `body` is not interrupted by task cancellation.
  public func run<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
    try await withCheckedThrowingContinuation { continuation in
      do {
        try submit { continuation.resume(with: Result { try body() }) }
      } catch {
        continuation.resume(throwing: error)
      }
    }
  }
}
