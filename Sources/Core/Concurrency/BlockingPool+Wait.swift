// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

extension BlockingPool {
  private final class Answer<T: Sendable>: Sendable {
    let value = Mutex<Result<T, any Error>?>(nil)
    let isThere = DispatchSemaphore(value: 0)
  }

  /// Runs asynchronous work for a caller that blocks. Never on a thread of Swift's own pool, which the work may need.
  /// - Throws: what `body` throws; `timeout` after `patience`: the work is cancelled then, but may have happened.
  public static func wait<T: Sendable>(atMost patience: Duration, for what: String, _ body: @escaping @Sendable () async throws -> T) throws -> T {
    let answer = Answer<T>()
    let task = Task {
      let result: Result<T, any Error>
      do { result = .success(try await body()) } catch { result = .failure(error) }
      answer.value.withLock { $0 = result }
      answer.isThere.signal()
    }
    let limit = DispatchTime.now() + .milliseconds(Int(patience.components.seconds * 1000))
    guard answer.isThere.wait(timeout: limit) == .success, let result = answer.value.withLock({ $0 }) else {
      task.cancel()
      throw PlatformError(.timeout, "no answer from \(what) within \(patience)")
    }
    return try result.get()
  }
}
