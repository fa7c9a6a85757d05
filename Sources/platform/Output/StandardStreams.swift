// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc

/// The program's output, for readers that may go away at any moment.
enum StandardStreams {
  /// How a shell reports a program that a broken pipe has ended.
  private static let brokenPipe: Int32 = 141

  /// Writes all of `data`. When nobody reads any more there is nothing left to do: the program ends, as others do.
  static func out(_ data: Data) {
    guard write(data, to: STDOUT_FILENO) else { _exit(brokenPipe) }
  }

  static func out(_ text: String) { out(Data(text.utf8)) }

  /// Notes that nobody reads are lost.
  static func error(_ text: String) { _ = write(Data(text.utf8), to: STDERR_FILENO) }

  private static func write(_ data: Data, to descriptor: Int32) -> Bool {
    data.withUnsafeBytes { bytes in
      var sent = 0
      while sent < bytes.count, let base = bytes.baseAddress {
        let count = Glibc.write(descriptor, base + sent, bytes.count - sent)
        if count >= 0 {
          sent += count
        } else if errno == EAGAIN {
          var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
          _ = poll(&wait, 1, 1000)
        } else if errno != EINTR {
          return false
        }
      }
      return true
    }
  }
}
