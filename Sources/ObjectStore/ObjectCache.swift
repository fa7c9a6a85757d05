// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Copies of remote objects on this machine's disk, shared by its processes. Named by what they hold (place, size and the store's
/// tag), so that a replaced object is another copy and nothing is ever out of date.
///
/// Bounded: what was not used for the longest time goes first. Whoever uses a copy holds a second name of it (a hard link), so
/// that it can be removed at any moment. Calls block.
public struct ObjectCache: Sendable {
  public let folder: String
  public let limitBytes: Int

  /// - Parameter folder: made when it is needed; only this user can read it.
  public init(folder: String, limitBytes: Int) {
    self.folder = folder
    self.limitBytes = limitBytes
  }

  /// Gives `destination`, which does not exist, the bytes of an object. It must not be written to.
  /// - Parameter identity: names the store and the object for all processes, as in `s3://bucket/key`.
  /// - Returns: whether the copy was there.
  /// - Throws: what the store throws; `unavailable` when the object is replaced again and again.
  @discardableResult
  public func provide(_ path: ObjectPath, of store: any ObjectStorage, identity: String, at destination: String) throws -> Bool {
    for _ in 0..<3 {
      guard let info = try store.head(path) else { throw PlatformError(.notFound, "object not found", path: identity) }
      guard info.size <= limitBytes else {
        if try store.download(path, to: destination) == info.size { return false }
        unlink(destination)
        continue
      }
      let name = SHA256Digest.hex("\(identity)\n\(info.size)\n\(info.tag ?? "\(info.modifiedMilliseconds)")")
      let copy = "\(folder)/\(name.prefix(2))/\(name)"
      if try take(copy, size: info.size, at: destination) { return true }
      try makeFolder((copy as NSString).deletingLastPathComponent)
      // Another process may do the same at the same time: the later one replaces the copy by an equal one.
      guard try store.download(path, to: copy) == info.size, try store.head(path)?.tag == info.tag else {
        unlink(copy)  // replaced meanwhile: it is not what its name says
        continue
      }
      guard try take(copy, size: info.size, at: destination) else { continue }
      trim()
      return false
    }
    throw PlatformError(.unavailable, "the object was replaced again and again while it was read", path: identity)
  }

  /// A second name for a copy, and a mark that it was used.
  private func take(_ copy: String, size: Int, at destination: String) throws -> Bool {
    var info = stat()
    guard lstat(copy, &info) == 0, info.st_mode & S_IFMT == S_IFREG, Int(info.st_size) == size else { return false }
    if link(copy, destination) != 0 {
      switch errno {
      case ENOENT: return false
      case EXDEV, EMLINK, EPERM:
        do { try FileManager.default.copyItem(atPath: copy, toPath: destination) } catch {
          throw PlatformError(.unavailable, "cannot copy a cached object: \(error.localizedDescription)", path: destination)
        }
      default: throw LocalFile.failure("use a cached object", destination)
      }
    }
    // Without the mark it only looks older than it is.
    utimensat(AT_FDCWD, copy, nil, 0)
    return true
  }

  private func makeFolder(_ path: String) throws {
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch { throw PlatformError(.permissionDenied, "cannot create the folder of the object cache", path: path) }
  }

  /// What the copies take, in bytes.
  public var sizeInBytes: Int { copies().reduce(0) { $0 + $1.size } }

  private func copies() -> [(path: String, size: Int, used: Double)] {
    var found: [(path: String, size: Int, used: Double)] = []
    let manager = FileManager.default
    for part in (try? manager.contentsOfDirectory(atPath: folder)) ?? [] where part.utf8.count == 2 {  // no folder: no copies
      for name in (try? manager.contentsOfDirectory(atPath: "\(folder)/\(part)")) ?? [] {
        let path = "\(folder)/\(part)/\(name)"
        var info = stat()
        guard lstat(path, &info) == 0, info.st_mode & S_IFMT == S_IFREG else { continue }
        found.append((path, Int(info.st_size), Double(info.st_mtim.tv_sec) + Double(info.st_mtim.tv_nsec) * 1e-9))
      }
    }
    return found
  }

  /// Removes the copies that were not used for the longest time until the rest takes nine tenths of the limit.
  private func trim() {
    var all = copies()
    var total = all.reduce(0) { $0 + $1.size }
    guard total > limitBytes else { return }
    all.sort { $0.used < $1.used }
    for copy in all where total > limitBytes / 10 * 9 {
      // Another process may have been faster.
      unlink(copy.path)
      total -= copy.size
    }
  }
}
