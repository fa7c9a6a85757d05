// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Files that survive a power cut: written beside their place, synced, renamed, the folder synced.
enum DurableFile {
  static func write(_ data: Data, to path: String) throws {
    try data.withUnsafeBytes { try write([$0], to: path) }
  }

  /// Writes the buffers one after the other.
  static func write(_ parts: [UnsafeRawBufferPointer], to path: String) throws {
    let temporary = "\(path).\(getpid()).tmp"
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw failure("create", path) }
    do {
      defer { close(descriptor) }
      for part in parts {
        var done = 0
        while done < part.count, let base = part.baseAddress {
          let count = Foundation.write(descriptor, base + done, min(part.count - done, 1 << 30))
          if count < 0 && errno == EINTR { continue }
          guard count > 0 else { throw failure("write", path) }
          done += count
        }
      }
      guard fsync(descriptor) == 0 else { throw failure("sync", path) }
    } catch {
      unlink(temporary)
      throw error
    }
    try move(temporary, to: path)
  }

  /// Renames and syncs the folder above.
  static func move(_ from: String, to path: String) throws {
    guard rename(from, path) == 0 else { throw failure("rename", path) }
    let folder = (path as NSString).deletingLastPathComponent
    let descriptor = open(folder.isEmpty ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure("open", folder) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw failure("sync", folder) }
  }

  private static func failure(_ verb: String, _ path: String) -> PlatformError {
    PlatformError(.unavailable, "cannot \(verb) the file: \(String(cString: strerror(errno)))", path: path)
  }
}
