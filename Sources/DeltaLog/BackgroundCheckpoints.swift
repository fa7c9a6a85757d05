// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// Writes the checkpoints of one table behind its commits, so that the writer whose commit makes one due does not wait for it.
/// One at a time: one that falls due meanwhile is left out, as the next one holds all that it would have held.
final class BackgroundCheckpoints: Sendable {
  private struct State {
    var isWriting = false
    var problem: PlatformError?
  }

  private static let writers = BlockingPool(name: "delta-checkpoint", threads: 2)
  private let state = Mutex(State())
  private let written = DispatchGroup()

  /// Begins to write what `write` writes, unless another is being written.
  /// - Returns: what went wrong with an earlier one, once.
  func begin(_ write: @escaping @Sendable () throws -> Void) -> PlatformError? {
    let (isFree, problem) = state.withLock { state in
      defer {
        state.problem = nil
        state.isWriting = true
      }
      return (!state.isWriting, state.problem)
    }
    guard isFree else { return problem }
    written.enter()
    do {
      try Self.writers.submit { [self] in
        let outcome = Result { try write() }
        end(outcome)
      }
    } catch { end(.failure(error)) }
    return problem
  }

  private func end(_ outcome: Result<Void, any Error>) {
    state.withLock { state in
      state.isWriting = false
      if case .failure(let error) = outcome { state.problem = PlatformError.from(error) }
    }
    written.leave()
  }

  /// Returns when no checkpoint is being written; false when that takes longer than `seconds`.
  func wait(seconds: Int) -> Bool { written.wait(timeout: .now() + .seconds(seconds)) == .success }
}
