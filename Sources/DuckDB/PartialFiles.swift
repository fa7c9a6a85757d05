// SPDX-License-Identifier: Apache-2.0

import CDuckDB
import Core
import Foundation
import Synchronization

/// A file of which not all bytes are there yet.
public protocol PartialFile: AnyObject, Sendable {
  /// Returns when the bytes of `range`, cut at the file's end, are in the file. Blocks; called by several of the engine's threads at once.
  func provide(_ range: Range<Int>) throws
}

/// Files that get their bytes when the engine reads them. The engine opens such a file like any other: before each of its reads the file's owner
/// is asked for the range. To everybody but the engine, what is not there yet is zeros.
public enum PartialFiles {
  private struct Key: Hashable {
    var device: UInt64
    var inode: UInt64
  }

  private static let files = Mutex<[Key: [any PartialFile]]>([:])

  /// Whether this build of the engine can be given such files.
  /// - Throws: `badConfiguration` when there is no engine.
  public static var isSupported: Bool { get throws { try Engine.shared().api.intercepts_reads } }

  /// Whether there are such files now.
  public static var isInUse: Bool { files.withLock { !$0.isEmpty } }

  /// A file at `path`, in use from now on until `withdraw`.
  /// - Throws: `notFound`, `unavailable` when the file cannot be looked at.
  public static func register(_ file: any PartialFile, at path: String) throws {
    let key = try key(path)
    files.withLock { files in
      files[key, default: []].append(file)
      cd_set_read_hook { device, inode, offset, count in PartialFiles.read(device, inode, offset, count) }
    }
  }

  /// Forgets these files.
  public static func withdraw(_ gone: [any PartialFile]) {
    let ids = Set(gone.map { ObjectIdentifier($0) })
    guard !ids.isEmpty else { return }
    files.withLock { files in
      files = files.compactMapValues { list in
        let rest = list.filter { !ids.contains(ObjectIdentifier($0)) }
        return rest.isEmpty ? nil : rest
      }
      if files.isEmpty { cd_set_read_hook(nil) }
    }
  }

  private static func key(_ path: String) throws -> Key {
    var info = stat()
    guard stat(path, &info) == 0 else { throw PlatformError.system("look at the file", path) }
    return Key(device: UInt64(info.st_dev), inode: UInt64(info.st_ino))
  }

  /// - Returns: 0 when the engine may read.
  private static func read(_ device: UInt64, _ inode: UInt64, _ offset: Int64, _ count: Int) -> Int32 {
    guard let owners = files.withLock({ $0[Key(device: device, inode: inode)] }), offset >= 0, count >= 0 else { return 0 }
    // Any of those who share the file will do; one may have been cancelled.
    for file in owners {
      // Each keeps what went wrong: the engine only learns that it cannot read.
      do {
        try file.provide(Int(offset)..<Int(offset) + count)
        return 0
      } catch { continue }
    }
    return -1
  }
}
