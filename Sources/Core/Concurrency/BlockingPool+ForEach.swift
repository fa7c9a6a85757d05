// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

extension BlockingPool {
  private struct Progress {
    var next = 0
    var running = 0
    var failure: (any Error)?
  }

  private final class Loop: Sendable {
    let state = Mutex(Progress())
    let idle = DispatchSemaphore(value: 0)
    let count: Int
    let body: @Sendable (Int) throws -> Void

    init(_ count: Int, _ body: @escaping @Sendable (Int) throws -> Void) {
      self.count = count
      self.body = body
    }

    /// Takes numbers until none is left. A helper says when it ends, so that the caller can wait for it.
    func run(isHelper: Bool) {
      while true {
        let index = state.withLock { state -> Int? in
          guard state.failure == nil, state.next < count else { return nil }
          state.next += 1
          state.running += isHelper ? 1 : 0
          return state.next - 1
        }
        guard let index else { return }
        var failure: (any Error)?
        do { try body(index) } catch { failure = error }
        let isLast = state.withLock { state in
          if state.failure == nil { state.failure = failure }
          state.running -= isHelper ? 1 : 0
          return isHelper && state.running == 0
        }
        if isLast { idle.signal() }
      }
    }
  }

  /// Calls `body` with 0..<count on this thread and at most `atOnce` - 1 of the pool's; blocks until all have returned.
  /// Where the pool is busy this thread does all of it, so that calls from the pool's own threads come to an end too.
  /// - Throws: the first error of `body`; what has not begun by then does not begin.
  public func forEach(_ count: Int, atOnce: Int, _ body: @escaping @Sendable (Int) throws -> Void) throws {
    guard count > 1, atOnce > 1 else {
      for index in 0..<max(count, 0) { try body(index) }
      return
    }
    let loop = Loop(count, body)
    for _ in 1..<min(atOnce, count) {
      do { try submit { loop.run(isHelper: true) } } catch { break }  // the queue is full: fewer help
    }
    loop.run(isHelper: false)
    // Helpers that have not begun find nothing to do; those that have are waited for.
    while loop.state.withLock({ $0.running > 0 }) { loop.idle.wait() }
    if let failure = loop.state.withLock({ $0.failure }) { throw failure }
  }
}
