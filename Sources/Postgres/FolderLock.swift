// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Keeps two callers apart, in this process and in others, by `flock` on a file. The kernel gives the lock back when its holder
/// dies. The file holds the process identifier of whoever took it last, for messages.
struct FolderLock: Sendable {
  private let descriptor: Int32

  /// Waits until the lock is free.
  /// - Throws: `unavailable` PLT-1104 naming the holder when the time is over; `badConfiguration` PLT-1104 when the file cannot be made.
  static func take(_ path: String, what: String, within bound: Duration) async throws -> FolderLock {
    let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else {
      throw PlatformError(.badConfiguration, "cannot lock: \(String(cString: strerror(errno)))", number: "PLT-1104", path: path)
    }
    let deadline = ContinuousClock.now + bound
    do {
      while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
        let reason = errno
        guard reason == EWOULDBLOCK || reason == EINTR else {
          throw PlatformError(.badConfiguration, "cannot lock: \(String(cString: strerror(reason)))", number: "PLT-1104", path: path)
        }
        guard ContinuousClock.now < deadline else {
          throw PlatformError(
            .unavailable, "process \(holder(descriptor)) is starting \(what) and has not finished within \(bound)",
            hint: "Wait for it, or end it.", number: "PLT-1104")
        }
        try await Task.sleep(for: .milliseconds(50))
      }
      let text = "\(getpid())\n"
      guard ftruncate(descriptor, 0) == 0, pwrite(descriptor, text, text.utf8.count, 0) == text.utf8.count else {
        throw PlatformError(.resourceExhausted, "cannot write: \(String(cString: strerror(errno)))", path: path)
      }
    } catch {
      close(descriptor)
      throw error
    }
    return FolderLock(descriptor: descriptor)
  }

  /// Call once.
  func release() { close(descriptor) }

  private static func holder(_ descriptor: Int32) -> String {
    var bytes = [UInt8](repeating: 0, count: 32)
    let count = pread(descriptor, &bytes, bytes.count, 0)
    return Int32(String(decoding: bytes.prefix(max(0, count)), as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines))
      .map(String.init) ?? "(unknown)"
  }
}
