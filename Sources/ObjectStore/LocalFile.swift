// SPDX-License-Identifier: Apache-2.0

import CSupport
import Core
import Foundation

/// System calls on files that give `PlatformError`s.
enum LocalFile {
  /// A new file that is fsynced before it gets its name; an existing one is replaced.
  static func write(_ data: Data, to file: String) throws {
    try write(to: file) { descriptor in try append(data, to: descriptor, name: file) }
  }

  /// As above, by a closure that writes to a descriptor.
  static func write(to file: String, _ body: (Int32) throws -> Void) throws {
    let temporary = (file as NSString).deletingLastPathComponent + "/.~" + UUID().uuidString
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw failure("write", file) }
    defer { unlink(temporary) }  // gone already when all went well
    do {
      defer { close(descriptor) }
      try body(descriptor)
      guard fsync(descriptor) == 0 else { throw failure("write", file) }
    }
    guard rename(temporary, file) == 0 else { throw failure("write", file) }
  }

  /// A file without a promise that it outlives the machine, under its name from the beginning; what was there is lost.
  static func writeUnsynced<T>(to file: String, _ body: (Int32) throws -> T) throws -> T {
    let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw failure("write", file) }
    defer { close(descriptor) }
    return try body(descriptor)
  }

  /// As `write`; `orElse` sees what went wrong, and may decide that nothing is written instead.
  static func write(to file: String, _ body: (Int32) throws -> Void, orElse: (any Error) throws -> Void) throws {
    do { try write(to: file, body) } catch { try orElse(error) }
  }

  /// Writes `data` at `offset`.
  static func write(_ data: Data, at offset: Int, to descriptor: Int32, name: String) throws {
    try data.withUnsafeBytes { bytes in
      var done = 0
      while done < bytes.count {
        let count = pwrite(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(offset + done))
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { throw failure("write", name) }
        done += count
      }
    }
  }

  static func append(_ data: Data, to descriptor: Int32, name: String) throws {
    try data.withUnsafeBytes { bytes in
      var done = 0
      while done < bytes.count {
        let count = Foundation.write(descriptor, bytes.baseAddress! + done, bytes.count - done)
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { throw failure("write", name) }
        done += count
      }
    }
  }

  /// Reads up to `count` bytes at `offset`; fewer at the end of the file.
  static func read(_ descriptor: Int32, offset: Int, count: Int, name: String) throws -> Data {
    var data = Data(count: count)
    var done = 0
    try data.withUnsafeMutableBytes { buffer in
      while done < buffer.count {
        let read = pread(descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset + done))
        if read < 0 && errno == EINTR { continue }
        guard read >= 0 else { throw failure("read", name) }
        if read == 0 { break }
        done += read
      }
    }
    return done == count ? data : data.prefix(done)
  }

  /// Has the system begin to write what the file holds. Without effect on what `fsync` promises, so that its failure says nothing.
  static func startWriting(_ descriptor: Int32) { ps_start_writing(descriptor) }

  /// Makes the folder's entries durable.
  static func syncFolder(_ folder: String) throws {
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure("sync", folder) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw failure("sync", folder) }
  }

  /// The error for `errno`.
  static func failure(_ verb: String, _ path: String) -> PlatformError {
    let number = errno
    switch number {
    case ENOENT, ENOTDIR: return PlatformError(.notFound, "object not found", path: path)
    case EEXIST: return PlatformError(.alreadyExists, "object exists already", path: path)
    default: return .system(verb, path, errno: number)
    }
  }
}
