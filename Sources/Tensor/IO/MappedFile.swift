// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// A file mapped read-only for as long as the object lives. Pages are read when touched and shared between processes.
///
/// The file must not be truncated while it is mapped: the platform replaces files by renaming, never in place.
public final class MappedFile: @unchecked Sendable {  // immutable after init; the mapping is read-only
  public let path: String
  /// All bytes of the file; empty when the file is empty. Valid while this object lives.
  public let bytes: UnsafeRawBufferPointer
  private let isMapped: Bool

  /// - Throws: `notFound`, `permissionDenied`, or `invalidFile` when it is not a regular file or cannot be mapped.
  public init(path: String) throws {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileFailure.opening(path, errno) }
    defer { close(descriptor) }
    var facts = stat()
    guard fstat(descriptor, &facts) == 0, facts.st_mode & S_IFMT == S_IFREG else {
      throw PlatformError(.invalidFile, "not a regular file", number: "PLT-4101", path: path)
    }
    let count = Int(facts.st_size)
    if count == 0 {
      bytes = UnsafeRawBufferPointer(start: nil, count: 0)
    } else {
      guard let base = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED else {
        throw PlatformError(
          .invalidFile, "cannot be mapped: \(String(cString: strerror(errno)))", number: "PLT-4101", path: path)
      }
      bytes = UnsafeRawBufferPointer(start: base, count: count)
    }
    self.path = path
    isMapped = true
  }

  /// A copy in memory of exactly these bytes, so that a checker of memory sees whoever reads beyond them.
  init(copying bytes: [UInt8], path: String) {
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 64)
    copy.copyBytes(from: bytes)
    self.bytes = UnsafeRawBufferPointer(copy)
    self.path = path
    isMapped = false
  }

  /// What the kernel may map at once around a page that is read.
  private static let mappedAround = 2 << 20

  /// Gives the memory of these bytes' pages back to the machine, and of those that were mapped around them. What is read of them later comes from the
  /// file again.
  func dropPages(_ start: UnsafeRawPointer, _ count: Int) {
    guard isMapped, let base = bytes.baseAddress, start >= base, count > 0, start + count <= base + bytes.count else { return }
    let first = max(0, (start - base) / Self.mappedAround - 1) * Self.mappedAround
    let end = min(bytes.count, start - base + count + Self.mappedAround)
    // Memory that is kept longer than need be is no failure.
    _ = madvise(UnsafeMutableRawPointer(mutating: base + first), end - first, MADV_DONTNEED)
  }

  deinit {
    guard isMapped else { return bytes.deallocate() }
    if let base = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: base), bytes.count) }
  }
}

/// Errors of file calls, from `errno`.
enum FileFailure {
  static func opening(_ path: String, _ code: Int32) -> PlatformError {
    switch code {
    case ENOENT: PlatformError(.notFound, "no such file", number: "PLT-4101", path: path)
    case EACCES, EPERM: PlatformError(.permissionDenied, "file may not be read", number: "PLT-4101", path: path)
    default: general("opening", path, code)
    }
  }

  static func general(_ action: String, _ path: String, _ code: Int32) -> PlatformError {
    let kind: PlatformError.Code = code == ENOSPC || code == EDQUOT ? .resourceExhausted : .unavailable
    return PlatformError(kind, "\(action) failed: \(String(cString: strerror(code)))", path: path)
  }
}
