// SPDX-License-Identifier: Apache-2.0

import Core
import Glibc

/// A lock on a file that processes of one machine share; the system takes it back when its holder ends, however that happens.
final class FileLock {
  private let descriptor: Int32

  private init(_ descriptor: Int32) { self.descriptor = descriptor }

  deinit { close(descriptor) }

  /// - Parameter exclusive: nobody else may hold it; otherwise others may, who want it shared too.
  /// - Returns: nil when it cannot be had now.
  static func take(_ path: String, exclusive: Bool) throws -> FileLock? {
    while true {
      let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
      guard descriptor >= 0 else { throw PlatformError.system("lock", path) }
      let lock = FileLock(descriptor)
      while flock(descriptor, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0 {
        if errno == EWOULDBLOCK { return nil }
        guard errno == EINTR else { throw PlatformError.system("lock", path) }
      }
      // The file may have been removed meanwhile: then others lock another one.
      var (held, there) = (stat(), stat())
      if fstat(descriptor, &held) == 0, lstat(path, &there) == 0, held.st_ino == there.st_ino, held.st_dev == there.st_dev { return lock }
    }
  }

  /// Lets others share it. Somebody may have it alone for a moment in between.
  /// - Returns: false when somebody else has it alone.
  func share() -> Bool { flock(descriptor, LOCK_SH | LOCK_NB) == 0 }
}
