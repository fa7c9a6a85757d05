// SPDX-License-Identifier: Apache-2.0

import CSupport
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
    try syncFolder((path as NSString).deletingLastPathComponent)
  }

  /// Puts the folder `from` at `path`. What was there has its name afterwards, for the caller to remove; a reader of `path`
  /// finds the old folder or the new one at every moment. Both lie in one folder, which is synced. Returns whether there was one.
  ///
  /// Where the file system cannot exchange names, the old folder steps aside first, and `path` is absent for that moment.
  static func exchange(_ from: String, with path: String) throws -> Bool {
    let folder = (path as NSString).deletingLastPathComponent
    guard FileManager.default.fileExists(atPath: path) else {
      try move(from, to: path)
      return false
    }
    let code = ps_rename_exchange(from, path)
    if code == EINVAL || code == ENOSYS {
      let aside = from + ".aside"
      guard rename(path, aside) == 0, rename(from, path) == 0, rename(aside, from) == 0 else { throw failure("replace", path) }
    } else if code != 0 {
      throw failure("replace", path, code)
    }
    try syncFolder(folder)
    return true
  }

  /// Makes the names in a folder durable.
  static func syncFolder(_ folder: String) throws {
    let descriptor = open(folder.isEmpty ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure("open", folder) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw failure("sync", folder) }
  }

  /// Syncs every file of a folder, and the folder.
  static func syncContents(of folder: String) throws {
    for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
      let path = folder + "/" + name
      let descriptor = open(path, O_RDONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw failure("open", path) }
      defer { close(descriptor) }
      guard fsync(descriptor) == 0 else { throw failure("sync", path) }
    }
    try syncFolder(folder)
  }

  private static func failure(_ verb: String, _ path: String, _ code: Int32 = errno) -> PlatformError {
    let full = code == ENOSPC || code == EDQUOT
    return PlatformError(
      full ? .resourceExhausted : .unavailable, "cannot \(verb) the file: \(String(cString: strerror(code)))",
      hint: full ? "Free some space, or move the data folder; what was there before is intact." : "", number: full ? "PLT-3202" : "", path: path)
  }
}
