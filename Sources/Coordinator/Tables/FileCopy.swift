// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Copying a data file so that the copy appears complete or not at all.
enum FileCopy {
  /// Blocks. A target of the same size is left as it is.
  static func copy(_ source: String, to target: String) throws {
    let from = open(source, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard from >= 0 else { throw PlatformError.system("open the file to copy", source) }
    defer { close(from) }
    guard let size = regularSize(source) else { throw PlatformError(.invalidFile, "what is to be copied is no plain file", path: source) }
    if regularSize(target) == size { return }
    let folder = (target as NSString).deletingLastPathComponent
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let temporary = folder + "/.copy-" + UUID().uuidString.lowercased()
    let to = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard to >= 0 else { throw PlatformError.system("make the copy", target) }
    var isDone = false
    defer {
      close(to)
      if !isDone { unlink(temporary) }
    }
    var left = size
    try withUnsafeTemporaryAllocation(byteCount: 1 << 20, alignment: 4096) { buffer in
      while left > 0 {
        let count = read(from, buffer.baseAddress, min(left, buffer.count))
        if count < 0 && errno == EINTR { continue }
        guard count >= 0 else { throw PlatformError.system("read the file to copy", source) }
        guard count > 0 else { throw PlatformError(.unavailable, "the file became shorter while it was copied", path: source) }
        var done = 0
        while done < count {
          let part = write(to, buffer.baseAddress?.advanced(by: done), count - done)
          if part < 0 && errno == EINTR { continue }
          guard part > 0 else { throw PlatformError.system("write the copy", target) }
          done += part
        }
        left -= count
      }
    }
    guard fsync(to) == 0, rename(temporary, target) == 0 else { throw PlatformError.system("finish the copy", target) }
    isDone = true
    let parent = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard parent >= 0 else { throw PlatformError.system("open the folder", folder) }
    defer { close(parent) }
    guard fsync(parent) == 0 else { throw PlatformError.system("make the copy durable", folder) }
  }

  /// nil for anything but a plain file; links are not followed.
  private static func regularSize(_ path: String) -> Int? {
    guard let facts = try? FileManager.default.attributesOfItem(atPath: path), facts[.type] as? FileAttributeType == .typeRegular else { return nil }
    return facts[.size] as? Int
  }
}
