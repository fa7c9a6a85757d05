// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// Where the process of an executor answers its worker: one whole message after the other, from any thread.
final class ExecutorChannel: Sendable {
  private let descriptor: Mutex<Int32>

  /// Answers travel on a copy of standard output; anything that a library prints from now on ends up in the log.
  init() {
    descriptor = Mutex(dup(STDOUT_FILENO))
    dup2(STDERR_FILENO, STDOUT_FILENO)
  }

  /// Blocks while the pipe is full. A worker that is gone is not told any more: standard input then ends too, and with it the process.
  func send(_ message: Data) {
    descriptor.withLock { descriptor in
      message.withUnsafeBytes { bytes in
        var rest = bytes[...]
        while !rest.isEmpty {
          let count = write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
          if count < 0 && errno != EINTR { return }
          rest = rest.dropFirst(max(0, count))
        }
      }
    }
  }
}
