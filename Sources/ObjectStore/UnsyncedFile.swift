// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// A file that has its bytes and its name, but that a loss of power may still take away. Who makes it known to others, in the log
/// of a table for instance, waits for `sync` first; until then there is time for other work while the disk writes.
public final class UnsyncedFile: Sendable {
  private struct State {
    var descriptor: Int32
    var hasStarted = false
    /// The answer of the first `sync`: the system tells of a failed write once only.
    var result: Result<Void, PlatformError>?
  }

  public let path: String
  private let state: Mutex<State>

  /// - Parameters:
  ///   - descriptor: of the file, open for writing; this closes it.
  ///   - path: absolute.
  public init(descriptor: Int32, path: String) {
    self.path = path
    state = Mutex(State(descriptor: descriptor))
  }

  deinit { state.withLock { if $0.descriptor >= 0 { _ = close($0.descriptor) } } }

  /// Has the disk begin, without waiting for it. What several files are begun with takes hardly longer than one.
  public func start() {
    state.withLock { state in
      guard state.result == nil, !state.hasStarted else { return }
      state.hasStarted = true
      LocalFile.startWriting(state.descriptor)
    }
  }

  /// Returns when the file and its entry in its folder are on the disk.
  public func sync() throws {
    let result = state.withLock { state -> Result<Void, PlatformError> in
      if let result = state.result { return result }
      let result: Result<Void, PlatformError>
      do {
        guard fsync(state.descriptor) == 0 else { throw LocalFile.failure("write", path) }
        try LocalFile.syncFolder((path as NSString).deletingLastPathComponent)
        result = .success(())
      } catch { result = .failure(PlatformError.from(error)) }
      close(state.descriptor)
      state.descriptor = -1
      state.result = result
      return result
    }
    try result.get()
  }
}
